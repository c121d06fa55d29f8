"""``--help`` for people: flags in groups, required ones first, one default each, no noise of types."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

from understudy.commands import Command
from understudy.settings.flags import GROUPS, Flag, flags

_COLUMN = 28
"""Where the text of a flag starts."""
_OF_ALL = (
    ("--config FILE", "Read settings from a YAML file; flags override it."),
    ("--print_config", "Print the settings as YAML and stop."),
)


def command_help(command: Command, settings: type, *, everything: bool = False) -> str:
    """The flags of a command, by group.

    Args:
        everything: rare flags too.
    """
    known = flags(settings)
    shown = [flag for flag in known if everything or not flag.shown.rare]
    required = [flag for flag in shown if flag.shown.required]
    words = " ".join(_usage(flag, settings) for flag in required)
    lines = [f"usage: understudy {command.name} {words} [flags]".replace("  ", " "), ""]
    lines += [*_wrapped(inspect.cleandoc(settings.__doc__ or ""), 0), ""]
    if required:
        lines += ["Required:", *(line for flag in required for line in _lines(flag)), ""]
    for group in GROUPS:
        rows = [flag for flag in shown if flag.shown.group == group and not flag.shown.required]
        if rows or group == GROUPS[-1]:
            lines += [f"{group}:", *(line for flag in rows for line in _lines(flag))]
            if group == GROUPS[-1]:
                lines += [line for name, text in _OF_ALL for line in _row(name, text)]
            lines.append("")
    if len(shown) < len(known):
        lines.append(f"--help_all shows {len(known) - len(shown)} more flags.")
    return "\n".join(lines).rstrip()


def _usage(flag: Flag, settings: type) -> str:
    value = _value(flag)
    several = " ..." if typing.get_origin(_without_none(flag.hint)) is list else ""
    bare = flag.name in getattr(settings, "positional", ())
    return f"{value}{several}" if bare else f"--{flag.name} {value}{several}"


def _lines(flag: Flag) -> list[str]:
    """One flag: its name, place holder, text and default."""
    group, dot, field = flag.name.rpartition(".")
    name = f"--{group}{dot}no_{field}" if flag.default is True else f"--{flag.name}"
    value = "" if flag.hint is bool else f" {_value(flag)}"
    several = " ..." if typing.get_origin(_without_none(flag.hint)) is list else ""
    text = flag.shown.off if flag.default is True else help_text(flag)
    return _row(f"{name}{value}{several}", text)


def help_text(flag: Flag) -> str:
    """The text of a flag with its default in parentheses at the end, where it has one."""
    text = " ".join(_docstrings(flag.owner).get(flag.field, "").split())
    default = flag.default
    if default is None or isinstance(default, bool) or default in ("", []):
        return text
    shown = (
        " ".join(map(str, default))
        if isinstance(default, list)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )
    return f"{text[:-1]} ({shown})." if text.endswith(".") else f"{text} ({shown})"


def _value(flag: Flag) -> str:
    """The place holder of a flag's value."""
    if flag.shown.value:
        return flag.shown.value
    hint = _without_none(flag.hint)
    if typing.get_origin(hint) is list:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is Literal:
        return "|".join(map(str, typing.get_args(hint)))
    base = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    return {int: "N", float: "X"}.get(base, "TEXT")


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [part for part in typing.get_args(hint) if part is not type(None)]
        return _without_none(rest[0]) if len(rest) == 1 else hint
    if hasattr(hint, "__metadata__"):
        return _without_none(typing.get_args(hint)[0])
    return hint


def _row(name: str, text: str) -> list[str]:
    """A flag and its text in two columns; a long name has a line of its own."""
    lines = _wrapped(text, _COLUMN) or [""]
    if len(name) + 4 > _COLUMN:
        return [f"  {name}", *lines]
    return [f"  {name:<{_COLUMN - 2}}{lines[0].lstrip()}", *lines[1:]]


def _wrapped(text: str, indent: int) -> list[str]:
    width = max(60, min(shutil.get_terminal_size((80, 24)).columns, 100))
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n")]
    wrapped = (textwrap.wrap(part, width - indent, break_on_hyphens=False) for part in paragraphs)
    return [" " * indent + line for part in _separated(wrapped) for line in part]


def _separated(parts: Iterator[list[str]]) -> Iterator[Sequence[str]]:
    for number, part in enumerate(parts):
        if number:
            yield [""]
        yield part


@cache
def _docstrings(kind: type) -> dict[str, str]:
    """The string below each field of a class, read from its source."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, text in zip(tree.body, tree.body[1:]):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = str(text.value.value)
    return found
