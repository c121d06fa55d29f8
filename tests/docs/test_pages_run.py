"""Every command and snippet of the README and of ``docs/`` runs, page by page and in order, on tiny data.

A page is found by itself. Its blocks run in one folder: those of a shell in bash, where ``understudy`` is forked from a
process that has its modules, and Python as a script. Recipes are made smaller where they begin to run
(:mod:`small_runs`), hub ids are tiny models under the same path (:mod:`page_files`), and hidden comments
(:mod:`page_blocks`) say what data a page begins with and which blocks cannot run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import page_files
import pytest
from page_blocks import PAGES, ROOT, SHELL, Block, blocks, form, given
from small_runs import PAGE

import forked

NOT_RUN = {
    "README.md": 2,
    "docs/browser.md": 2,
    "docs/cluster.md": 3,
    "docs/glue.md": 1,
    "docs/pretrain.md": 1,
    "docs/serve.md": 4,
    "docs/ship.md": 2,
    "docs/training.md": 1,
}
"""How many blocks of a page are marked as not run. A block that newly cannot run is counted here, with a reason there."""

HOW = """
A block that cannot run has `<!-- not run: the reason -->` on the line before it, and is counted in NOT_RUN of
tests/docs/test_pages_run.py. What a page begins with is named in `<!-- given: reviews.csv runs/teacher -->`; a YAML
block that the page calls a file has `<!-- file: steps.yaml -->` before it. What can be given (tests/docs/page_files.py):
"""
SNIPPET = """
import sys, torch
torch.set_num_threads(1)
import small_runs
small_runs.begin()
sys.path.insert(0, "")
import __main__
exec(compile(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1], "exec"), vars(__main__))
"""
COMMAND = """
import sys, torch
torch.set_num_threads(1)
import small_runs
small_runs.begin()
from understudy.cli import main
sys.exit(main(sys.argv[1:]))
"""
UNDERSTUDY = f"""#!{sys.executable} -ISE
import sys
sys.path[:0] = [{str(Path(forked.__file__).parent)!r}]
import forked
sys.path[:] = PATH
code = forked.start({COMMAND!r}, *sys.argv[1:], stdin=0, stdout=1, stderr=2).wait()
sys.exit(code if code >= 0 else 128 - code)
"""
PIP = "#!/bin/bash\n"
"""Nothing is installed: what pages install is there, and its names are checked below."""


def name_of(page: Path) -> str:
    """How a page is called: ``README.md``, ``docs/data.md``."""
    return str(page.relative_to(ROOT))


class Workshop(NamedTuple):
    """What all pages share."""

    shelf: Path
    """Where what pages are given is made, and kept."""
    programs: Path
    """The commands that a page's shell finds first."""
    hub: list[str]
    files: dict[str, Any]

    def known(self) -> list[str]:
        """The names of what can be given."""
        return sorted([*self.files, *page_files.RUNS])

    def give(self, name: str, place: Path) -> None:
        """Put data or a run into a page's folder."""
        kept = self.shelf / name
        if not kept.exists():
            self.make(name)
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if kept.is_dir() else shutil.copy)(kept, place / name)

    def make(self, name: str) -> None:
        """Make it on the shelf, with what it is made of."""
        if name in self.files:
            self.files[name](self.shelf / name)
            return
        command = page_files.RUNS[name]
        for other in [*page_files.NEEDED.get(name, []), *re.findall(r"--data (\S+)", command)]:
            if not (self.shelf / other).exists():
                self.make(other)
        done = self.run(Block("bash", command, 0), self.shelf)
        assert done.returncode == 0, f"{command}\n{done.stdout}"

    def run(self, block: Block, place: Path, page: str = "") -> subprocess.CompletedProcess[str]:
        """Run a block in a folder; its output and errors are in one."""
        env = {**os.environ, PAGE: page}
        if block.language in SHELL:
            env |= {"PATH": f"{self.programs}:/usr/bin:/bin", "PS4": "$ "}
            command = ["bash", "-xeo", "pipefail", "-c", block.shell]
            return subprocess.run(
                command, cwd=place, env=env, text=True, timeout=300, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
        script = self.programs / f"{page.replace('/', '-')}.py"
        script.write_text("\n" * block.line + block.code, encoding="utf-8")
        here = os.getcwd()
        os.chdir(place)
        try:
            done = forked.run(SNIPPET, script, env=env)
        finally:
            os.chdir(here)
        done.stdout += done.stderr
        return done


@pytest.fixture(scope="module")
def workshop(reviews: Path, tiny_bert: Path, byte_level: Any, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Tiny models, data to be made, and the programs of a page's shell."""
    programs = tmp_path_factory.mktemp("programs")
    for name, text in {"understudy": UNDERSTUDY.replace("PATH", repr(sys.path)), "pip": PIP}.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    shelf = tmp_path_factory.mktemp("shelf")
    hub = list(page_files.write_models(shelf, tiny_bert, byte_level))
    words = (tiny_bert / "tokenizer.json").read_text(encoding="utf-8")
    known = sorted(set(re.findall(r'"([a-z]+)": \d+', words)))
    return Workshop(shelf, programs, hub, page_files.files(page_files.Toys(reviews), known))


@pytest.fixture
def place(workshop: Workshop, tmp_path: Path) -> Iterator[Path]:
    """A page's folder, with the models that any page may name."""
    folder = tmp_path / "page"
    for name in workshop.hub:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(workshop.shelf / name)
    (folder / "recipes").symlink_to(ROOT / "recipes")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(block.runs for block in blocks(page.read_text(encoding="utf-8")))],
    ids=name_of,
)
def test_a_page_runs(page: Path, workshop: Workshop, place: Path) -> None:
    text, name = page.read_text(encoding="utf-8"), name_of(page)
    hint = HOW + ", ".join(workshop.known())
    for thing in given(text):
        assert thing in workshop.known(), f"{name}: nobody can give '{thing}'.{hint}"
        workshop.give(thing, place)
    printed = ""
    for block in blocks(text):
        if block.output:
            shown = " ".join(form(block.code))
            assert shown in " ".join(form(printed)), f"{name}, line {block.line}: this is printed now:\n{printed}"
        if block.file:
            (place / block.file).write_text(block.code, encoding="utf-8")
        if not block.runs:
            continue
        done = workshop.run(block, place, name)
        printed = done.stdout
        said = "\n".join(done.stdout.splitlines()[-40:])
        assert done.returncode == 0, (
            f"{name}, the block at line {block.line}: exit code {done.returncode}\n{said}\n{hint}"
        )


def test_blocks_that_do_not_run_are_counted() -> None:
    counted = {
        name_of(page): sum(bool(block.not_run) for block in blocks(page.read_text(encoding="utf-8"))) for page in PAGES
    }
    marked = {name: count for name, count in counted.items() if count}
    assert marked == NOT_RUN, HOW.split(". What")[0]


def test_what_pages_install_exists() -> None:
    """Extras that ``pip install`` names in a page are extras of the package."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for page in PAGES:
        for names in re.findall(r"understudy\[([\w,-]+)\]", page.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= set(extras), f"{name_of(page)}: [{names}]"
