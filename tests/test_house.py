"""The rules of the house: who may import whom, how large a room and a module may be, one name for one thing."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import understudy

ROOT = Path(understudy.__file__).parent
PATHS = sorted(ROOT.rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in PATHS
}
LAYERS = [
    "cli",
    "recipes",
    "runs",
    "settings",
    "deploy",
    "loading",
    "report",
    "training",
    "objectives",
    "inference",
    "evaluation",
    "adapters",
    "models",
    "data",
    "functional",
    "record",
]
"""From the top down; a module may import what stands below its line, and what stands on it."""
SAME = {
    "__init__": "cli",
    "help": "cli",
    "parsing": "cli",
    "commands": "settings",
    "atomic": "record",
    "checksums": "record",
    "errors": "record",
    "terminal": "record",
}
SAME |= {"failpoints": "record", "version": "record", "folders": "record", "cores": "record"}
MOST_MODULES, MOST_LINES, LONGEST_FUNCTION, MEDIAN = 12, 300, 80, 130


def level(module: str) -> int:
    """The line of :data:`LAYERS` that a module stands on."""
    part = module.split(".")[1] if "." in module else "__init__"
    return LAYERS.index(SAME.get(part, part))


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Every module with its syntax tree."""
    for name, path in MODULES.items():
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and module of every import of ours: inside functions and for type checkers alone, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in inner]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.partition(".")[0] == "understudy")


def lines_of(path: Path) -> int:
    """The length of a module."""
    return len(path.read_text(encoding="utf-8").splitlines())


def test_imports_go_down_only() -> None:
    upward = [
        f"{name}, line {line}: imports {other}"
        for name, tree in trees()
        for line, other in imported(tree)
        if level(other) < level(name)
    ]
    assert not upward


def test_there_is_no_circle_of_imports() -> None:
    edges = {name: {other for _, other in imported(tree) if other in MODULES} - {name} for name, tree in trees()}
    while leaves := {name for name, others in edges.items() if not others & set(edges)}:
        edges = {name: others for name, others in edges.items() if name not in leaves}
    rest = set(edges)
    while idle := {name for name in rest if not any(name in edges[other] for other in rest)}:
        rest -= idle  # it leads into a circle and is not part of one
    assert not rest


def test_settings_and_help_load_no_torch() -> None:
    names = [name for name in MODULES if name.startswith("understudy.settings")]
    code = f"import sys, importlib; [importlib.import_module(name) for name in {names}]; import understudy.help; heavy = {{'torch', 'transformers', 'tokenizers', 'accelerate', 'pyarrow', 'sklearn', 'scipy', 'datasets'}} & set(sys.modules); assert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_faults_of_settings_are_found_without_torch() -> None:
    code = (
        "import sys; from understudy.cli import main; assert main(['validate', 'distill', '--student', 'bilstmm']) == 2"
    )
    code = "import sys; from understudy.settings.train.distill import DistillSettings; from understudy.settings.train.pretrain import PretrainSettings; print(DistillSettings(student='bilstmm', unfreeze=['gradual'], tokenizer='words:x', optimizer='nt_asgd', track='tensorboard').faults(), PretrainSettings(model='awd_lstm', tokenizer='bpe:9').faults()); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Did you mean 'bilstm'?" in done.stdout


def test_only_the_terminals_room_prints() -> None:
    """Elsewhere a label or a file's name could reach the terminal with its control characters."""
    printing = [
        f"{name}, line {node.lineno}: {node.func.id}"
        for name, tree in trees()
        if not name.startswith("understudy.terminal")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "Console"}
    ]
    assert not printing


def test_rooms_and_modules_are_small() -> None:
    rooms = Counter(str(path.parent.relative_to(ROOT)) for path in PATHS if path.name != "__init__.py")
    assert not {room: count for room, count in rooms.items() if count > MOST_MODULES}
    lengths = {name: lines_of(path) for name, path in MODULES.items()}
    assert not {name: count for name, count in lengths.items() if count > MOST_LINES}
    assert statistics.median(lines_of(path) for path in PATHS if path.name != "__init__.py") <= MEDIAN
    junk = {"utils", "util", "helpers", "common", "misc"}
    assert not junk & {path.stem for path in PATHS} | junk & {path.name for path in ROOT.rglob("*") if path.is_dir()}


def test_functions_are_short() -> None:
    long = {
        f"{name}:{node.name}": node.end_lineno - node.lineno
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > LONGEST_FUNCTION  # type: ignore[operator]
    }
    assert not long


def test_a_class_name_stands_for_one_thing() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for name, tree in trees():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name)
    assert not {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_a_name_of_a_test_file_stands_for_one_file() -> None:
    """Tests are collected without packages, so that a second file of a name is an error wherever it lies."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("*.py"))
    twice = sorted(name for name, number in names.items() if number > 1 and name != "conftest.py")
    assert not twice, f"test files of one name: {twice}"


def test_everything_public_is_documented_and_typed() -> None:
    bare = []
    for name, tree in trees():
        assert ast.get_docstring(tree), name
        for owner in tree.body:
            private = getattr(owner, "name", "").startswith("_")
            inner = owner.body if isinstance(owner, ast.ClassDef) and not private else []
            for node in [owner, *inner]:
                if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                    continue
                overload = any(ast.unparse(mark) == "overload" for mark in node.decorator_list)
                typed = isinstance(node, ast.ClassDef) or node.returns is not None
                if not (typed and (overload or ast.get_docstring(node))):
                    bare.append(f"{name}:{node.name}")
    assert not bare


@pytest.mark.parametrize(
    ("function", "home"),
    [("open_run", "understudy.runs.session"), ("open_session", "understudy.runs.skeleton")],
)
def test_runs_are_opened_in_one_place(function: str, home: str) -> None:
    callers = {
        name
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == function
    }
    assert callers == {home}
