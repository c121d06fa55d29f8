"""The API page names what there is, and the docs name no module that is gone."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def found(name: str) -> Any:
    """The object of a dotted name: a module, or an attribute of one."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(found(module), attribute)


def test_the_api_page_names_what_there_is() -> None:
    names = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), flags=re.M)
    assert len(names) > 80
    for name in names:
        assert found(name) is not None


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_pages_name_what_there_is(page: Path) -> None:
    for name in set(re.findall(r"\bunderstudy(?:\.[a-z_]+){2,}(?:\.[A-Z]\w+)?", page.read_text(encoding="utf-8"))):
        assert found(name) is not None
