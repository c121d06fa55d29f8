"""Run the cases in this process and put down what came out: the command line, the files and the weights, no more."""

from __future__ import annotations

import contextlib
import csv
import gc
import hashlib
import io
import json
import logging
import os
import platform
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import yaml
from cases import RUNS
from golden_toys import build, build_faulty

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported

_ENVIRONMENT = {
    "COLUMNS": "200",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "OMP_NUM_THREADS": "1",
}
_MEASURED = {"versions", "hardware", "timings", "created", "seconds", "texts_per_second", "latency_ms"}
"""Keys of a record below which the values differ from run to run, or from machine to machine."""


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """As if a module were not installed. (`mock.patch.dict` would also forget all that is imported meanwhile.)"""
    before = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        if before is not None:
            sys.modules[module] = before


def _save_nothing(figure: Any, target: Any, **_: Any) -> None:
    """In the place of drawing, which is most of a toy run's time: the file is there, its picture is not."""
    if hasattr(target, "write"):
        target.write(b"PNG")
    else:
        Path(target).write_bytes(b"PNG")


def _anywhere(text: str, folder: Path) -> str:
    """Text without what differs from place to place."""
    for place in {str(folder), str(folder.resolve())}:
        text = text.replace(place, "{tmp}")
    return text


def run(folder: Path, line: str, *more: str, cache: str = "cache") -> Outcome:
    """Run a command line inside a folder, as on a machine without a GPU and without wandb.

    Args:
        folder: where it runs; its path becomes ``{tmp}`` in what was printed.
        line: the words, quoted as for a shell.
        more: words that follow.
        cache: the folder of what is kept between runs.
    """
    import torch
    from matplotlib.figure import Figure

    from understudy.cli import main

    torch.set_num_threads(1)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, _ENVIRONMENT | {"UNDERSTUDY_CACHE": str(folder / cache)}))
        stack.enter_context(_without("wandb"))
        stack.enter_context(mock.patch.object(torch.cuda, "is_available", return_value=False))
        stack.enter_context(mock.patch.object(Figure, "savefig", _save_nothing))
        stack.enter_context(
            mock.patch.object(gc, "collect", return_value=0)
        )  # at every stage: most of a toy run's time
        stack.enter_context(contextlib.chdir(folder))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        logger, handler = logging.getLogger("understudy"), logging.StreamHandler(err)
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        code = main([*shlex.split(line), *more])
    return Outcome(code, _anywhere(out.getvalue(), folder), _anywhere(err.getvalue(), folder))


class Workshop:
    """A folder in which runs are made when they are first asked for, with those that they build on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._faulty = False
        build(folder)
        gc.freeze()

    def made(self, name: str) -> Path:
        """The folder of a finished run."""
        place = self.folder / "runs" / name
        if not place.exists():
            self.with_runs(RUNS[name])
            # a cache of its own: what a record says must not depend on which runs came before
            ended = run(self.folder, RUNS[name], "--output", f"runs/{name}", cache=f"caches/{name}")
            if ended.code:
                raise RuntimeError(f"the run '{name}' ended with {ended.code}:\n{ended.err}")
        return place

    def with_runs(self, line: str) -> Path:
        """The workshop's folder, with the runs that a command line names."""
        for name in re.findall(r"\bruns/([\w-]+)", line):
            self.made(name)
        return self.folder

    def with_faults(self, line: str) -> Path:
        """The same, with the faulty files beside."""
        if not self._faulty:
            self.made("bert")
            self.made("tfidf")
            build_faulty(self.folder)
            self._faulty = True
        return self.with_runs(line)


def configuration(folder: Path, line: str) -> dict[str, Any]:
    """What ``--print_config`` prints for a command line."""
    ended = run(folder, line, "--print_config")
    if ended.code:
        raise RuntimeError(f"'{line} --print_config' ended with {ended.code}:\n{ended.err}")
    return yaml.safe_load(ended.out)


def flags(folder: Path, command: str) -> list[str]:
    """The flags that a command's whole help names; one that switches another off stands for it."""
    ended = run(folder, command, "--help_all")
    found = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", ended.out))
    return sorted({re.sub(r"(--|\.)no_", r"\1", flag) for flag in found})


def mistake(folder: Path, line: str) -> dict[str, Any]:
    """How a command that cannot be is refused."""
    ended = run(folder, line, cache="caches/mistakes")
    return {"code": ended.code, "error": ended.err.splitlines()}


def machine() -> dict[str, Any]:
    """What must be the same for weights to be the same to the bit."""
    import torch
    import transformers

    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "processor": processor(),
    }


def processor() -> str:
    """Who made the processor, and whether it multiplies tiles: each maker's has kernels of its own."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    maker = re.search(r"vendor_id\s*: (\w+)", told)
    return f"{maker[1] if maker else 'unknown'}{', AMX' if 'amx_tile' in told else ''}"


def described(place: Path) -> dict[str, Any]:
    """All that is compared of a run folder; of what a run did not write there is no entry."""
    found: dict[str, Any] = {"files": sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file())}
    if (place / "record.json").exists():
        record = json.loads((place / "record.json").read_text(encoding="utf-8"))
        found["record"] = shape(record)
        found["values"] = dict(_leaves(record))
    for path in sorted(place.glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            found[path.name] = next(csv.reader(file))
    if (place / "README.md").exists():
        text = re.sub(r"^```.*?^```", "", (place / "README.md").read_text(encoding="utf-8"), flags=re.M | re.S)
        found["headings"] = re.findall(r"^#+ .*", text, flags=re.M)
    model = place / "model" if (place / "model").exists() else place
    if any(model.glob("*.safetensors")):
        found["weights"] = weights(model)
    return found


def shape(value: Any) -> Any:
    """The keys of nested containers and the types of what they hold; of lists of models every one, else the first."""
    if isinstance(value, dict):
        made = {key: shape(inner) for key, inner in value.items()}
        if "name" in value:
            made["name"] = f"= {value['name']}"
        return made
    if isinstance(value, list):
        named = all(isinstance(item, dict) and "name" in item for item in value)
        return [shape(item) for item in (value if named else value[:1])]
    return "null" if value is None else type(value).__name__


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values, except for what is measured."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield name, value
        return
    for key, inner in items:
        if key not in _MEASURED:
            yield from _leaves(inner, f"{name}.{key}".removeprefix("."))


def weights(folder: Path) -> dict[str, Any]:
    """A fingerprint of all tensors (names, types, shapes, bytes), and a few numbers of each."""
    from safetensors.torch import load_file

    digest, numbers = hashlib.sha256(), {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in sorted(load_file(path).items()):
            digest.update(f"{path.name} {name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
            real = tensor.double().flatten()
            numbers[name] = {
                "shape": list(tensor.shape),
                "mean": round(real.mean().item(), 6),
                "std": round(real.std(correction=0).item(), 6),
                "first": [round(number, 6) for number in real[:3].tolist()],
            }
    return {"sha256": digest.hexdigest(), "tensors": numbers}
