"""The search for the compiler that torch.compile calls."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from understudy.models.structure import compiler
from understudy.models.structure.compiler import can_compile


@pytest.mark.parametrize(
    ("there", "named", "possible"),
    [
        (["g++"], None, True),
        (["clang++"], None, False),
        (["clang++"], "clang++", True),
        (["g++"], "g++-9", False),
        ([], None, False),
    ],
)
def test_it_looks_for_the_compiler_that_torch_calls(
    there: list[str], named: str | None, possible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    if named:
        monkeypatch.setenv("CXX", named)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(compiler.sys, "platform", "linux")
    monkeypatch.setattr(compiler.shutil, "which", lambda name: name if name in there else None)
    assert can_compile() is possible


def test_the_module_loads_no_torch() -> None:
    """Settings import it before anything heavy is loaded."""
    script = "import sys, understudy.models.structure.compiler; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
