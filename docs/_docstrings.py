"""Docstrings as the documentation's generator reads them: sections by its names, formulas and references in Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_FORMULA = re.compile(r"^\.\. math::(?P<first>.*)(?P<rest>(?:\n(?:[ \t]+.*|(?=\n[ \t])))*)", re.M)
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?([^`]+)`")


class Docstrings(griffe.Extension):
    """Rewrites every docstring once it is found, before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """What is said of one module, class, function or field."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
            text = _FORMULA.sub(lambda found: f"$$\n{(found['first'] + found['rest']).strip()}\n$$", text)
            obj.docstring.value = _ROLE.sub(r"`\1`", text)
