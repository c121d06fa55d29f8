"""How a setting is shown by ``--help``: its group, its place holder, whether it is common."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

GROUPS = ("Data", "Model", "Teacher", "Student", "Method", "Sweep", "Training", "Run")
"""The headings of ``--help``, in their order."""


@dataclass(frozen=True)
class Shown:
    """An annotation of a settings field: ``epochs: Annotated[int, Gt(0), Shown("N")] = 3``.

    Args:
        value: the place holder of the value (default: by the type).
        group: the heading (default: that of the class that has the field).
        required: must be given; shown first and in the usage line.
        rare: only shown by ``--help_all``.
        off: of a switch that is on by default: what ``--no_x`` does.
    """

    value: str | None = None
    group: str | None = None
    required: bool = False
    rare: bool = False
    off: str = ""


@dataclass(frozen=True)
class Flag:
    """A field of a settings class, or of a group of options in it, as the command line has it."""

    name: str
    """Dotted for a field of a group: ``bilstm.hidden``."""
    hint: Any
    default: Any
    owner: type
    """The class whose field it is: its source holds the help text."""
    shown: Shown

    @property
    def field(self) -> str:
        """The name of the field itself."""
        return self.name.rpartition(".")[2]


def flags(settings: type) -> list[Flag]:
    """All flags of a settings class, groups of options included, in the order of its fields."""
    return list(_all_flags(settings))


@cache
def field_types(settings: type) -> Mapping[str, Any]:
    """The type of each field of a class, without what annotates it.

    Example:
        >>> dict(field_types(Shown))["rare"]
        <class 'bool'>
    """
    return types.MappingProxyType(typing.get_type_hints(settings))


@cache
def _all_flags(settings: type) -> tuple[Flag, ...]:
    # to evaluate the annotations of so many fields takes longer than all else that is done with a command line
    return tuple(_flags(settings, "", Shown()))


def _flags(settings: type, prefix: str, outer: Shown) -> Iterator[Flag]:
    hints = typing.get_type_hints(settings, include_extras=True)
    for field in dataclasses.fields(settings):
        hint, owner = hints[field.name], _owner(settings, field.name)
        shown = next((found for found in _metadata(hint) if isinstance(found, Shown)), Shown())
        group = shown.group or outer.group or getattr(owner, "group", "Method")
        shown = dataclasses.replace(shown, group=group, rare=shown.rare or outer.rare)
        bare = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
        if dataclasses.is_dataclass(bare):
            yield from _flags(typing.cast(type, bare), f"{prefix}{field.name}.", shown)
            continue
        default = field.default if field.default is not dataclasses.MISSING else None
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        yield Flag(f"{prefix}{field.name}", bare, default, owner, shown)


def _owner(settings: type, name: str) -> type:
    """The class of the inheritance chain that defines a field, the most derived class first."""
    return next(kind for kind in settings.__mro__ if name in inspect.get_annotations(kind))


def _metadata(hint: Any) -> Iterator[Any]:
    """What annotates a type, or one of the types that it is a union of."""
    yield from getattr(hint, "__metadata__", ())
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        for part in typing.get_args(hint):
            yield from _metadata(part)
