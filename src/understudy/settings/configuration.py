"""Plain values to settings and back: YAML files, flags, and every fault in a sentence."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from understudy.commands import BY_NAME
from understudy.errors import ConfigError, UnderstudyError, nearest, shortened
from understudy.record import flat
from understudy.settings.documents import read_documents
from understudy.settings.flags import field_types
from understudy.settings.foreign_names import elsewhere
from understudy.settings.values import unusable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Settings = TypeVar("Settings")


def as_dict(settings: Any) -> dict[str, Any]:
    """The fields as plain containers: what ``config.yaml`` holds."""
    return dataclasses.asdict(settings)


def given(settings: Any) -> dict[str, Any]:
    """The settings that differ from their defaults, flat: ``{"epochs": 5, "bilstm.hidden": 64}``."""
    plain = flat(as_dict(type(settings)()))
    return {name: value for name, value in flat(as_dict(settings)).items() if value != plain[name]}


def read_config(path: str, command: str) -> dict[str, Any]:
    """A YAML file of settings. Its ``command`` key, if any, must name this command; `lr-find finetune` takes finetune's.

    Raises:
        ConfigError: if the file is missing, is not YAML, is not a mapping, or belongs to another command.
    """
    documents = read_documents(path)
    if len(documents) > 1:
        raise ConfigError(f"{path}: holds {len(documents)} steps. Run them all: understudy run {shlex.quote(path)}")
    (content,) = documents
    named = content.pop("command", command)
    if named not in (command, command.rpartition(" ")[2]):
        way = (
            f"Run: understudy {named} --config {shlex.quote(path)}"
            if str(named) in BY_NAME
            else f"There is no such command.{nearest(str(named), BY_NAME)} Correct it, or leave it out."
        )
        raise ConfigError(f"{path}: is a configuration of '{named}', not of '{command}'. {way}")
    return content


def build(recipe: type[Settings], values: Mapping[str, Any], *, origin: str = "the configuration") -> Settings:
    """A recipe from plain values, with every unknown key and wrong value reported together.

    Raises:
        ConfigError: with one sentence a fault.
    """
    from pydantic import ValidationError

    unknown = _unknown_keys(recipe, values, origin)
    known = _with_lists(recipe, values)
    faults = {**dict(_truths(recipe, known)), **dict(unusable(known))}
    try:
        made = _adapter(typing.cast(Any, recipe)).validate_python(known)
        faults |= unusable(as_dict(made))  # a number may have been written as a text
    except ValidationError as error:
        found: dict[str, list[Any]] = {}
        for fault in error.errors():
            found.setdefault(_field(recipe, fault["loc"]) or "the configuration", []).append(fault)
        for name, some in found.items():
            faults.setdefault(name, _sentences(name, some)[0])
    if unknown or faults:
        raise ConfigError(*unknown, *faults.values())
    return made


def convert(hint: Any, value: Any, *, name: str) -> Any:
    """A value of a type from its text: ``convert(int, "5", name="epochs")``.

    Raises:
        ConfigError: if the text is not of that type.
    """
    from pydantic import ValidationError

    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        raise ConfigError(*_sentences(name, error.errors())) from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What checks values of a type. To make it of a recipe takes longer than to use it."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def check(recipe: Any) -> None:
    """Report every fault of a recipe together: values first, then what its own ``faults()`` finds.

    A single value where a list is expected becomes a list of one, a path of :mod:`pathlib` its name, and rows in Python
    become a name, see :func:`understudy.data.readers.places.in_python.hold`.

    Raises:
        ConfigError: with one sentence a fault.
        DataError: if rows in Python cannot be read.
    """
    faults: list[str] = []
    _name_rows(recipe)
    try:
        made = build(type(recipe), as_dict(recipe))
        for field_ in dataclasses.fields(recipe):
            setattr(recipe, field_.name, getattr(made, field_.name))
    except ConfigError as error:
        faults += error.faults
    try:
        named = {fault.partition(" ")[0] for fault in faults}
        faults += [fault for fault in recipe.faults() if fault.partition(" ")[0] not in named]
    except UnderstudyError as error:
        faults += error.faults
    except (TypeError, ValueError, AttributeError):
        if not faults:  # a value of a wrong type has its own sentence already
            raise
    if faults:
        raise ConfigError(*dict.fromkeys(faults))


def _name_rows(recipe: Any) -> None:
    """Put names in the place of rows that were given in Python."""
    for field in getattr(recipe, "rows_in", ()):
        value = getattr(recipe, field)
        several = field in getattr(recipe, "several_in", ()) and isinstance(value, list)
        several = several and not any(isinstance(part, tuple | dict) for part in value)  # those are rows
        parts = value if several else [value]
        if all(part is None or isinstance(part, str | os.PathLike) for part in parts):
            continue
        # what only Python callers give needs Arrow, and `--help` must not wait for it
        from understudy.data.readers.places.in_python import named

        made = [named(part, field) for part in parts]
        setattr(recipe, field, made if several else made[0])


def _unknown_keys(recipe: type, values: Mapping[str, Any], origin: str, prefix: str = "") -> list[str]:
    known = {f.name: f for f in dataclasses.fields(recipe)}
    hints = field_types(recipe)
    faults = []
    for key, value in values.items():
        if key not in known:
            meant = elsewhere(str(key), known) or nearest(str(key), known)
            faults.append(f"unknown key '{prefix}{key}' in {origin}.{meant}")
        elif dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            faults += _unknown_keys(typing.cast(type, hints[key]), value, origin, f"{prefix}{key}.")
    return faults


def _truths(recipe: type, values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The settings that are yes or no where a number belongs, which Python counts as 1 or 0, with a sentence on each."""
    hints = field_types(recipe)
    for key, value in values.items():
        name, hint = f"{prefix}{key}", hints.get(key)
        if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
            yield from _truths(typing.cast(type, hint), value, f"{name}.")
        parts = value if isinstance(value, list | tuple) else [value]
        kinds = _kinds(hint)
        if {int, float} & kinds and bool not in kinds and any(isinstance(part, bool) for part in parts):
            yield name, f"{name} must be a number, but is {shortened(value)}."


def _kinds(hint: Any) -> set[Any]:
    """A type and all that it is made of."""
    return {hint}.union(*map(_kinds, typing.get_args(hint))) if typing.get_origin(hint) is not typing.Literal else set()


def _with_lists(recipe: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """A bare value where a list belongs is a list of one, a number among strings a string; unknown keys are left out."""
    hints = field_types(recipe)
    known = {key: value for key, value in values.items() if key in hints}
    for key, value in known.items():
        if isinstance(value, os.PathLike):
            known[key] = value = os.fspath(value)
        elif isinstance(value, list | tuple) and any(isinstance(item, os.PathLike) for item in value):
            known[key] = value = [os.fspath(item) if isinstance(item, os.PathLike) else item for item in value]
        kinds = (hints[key], *typing.get_args(hints[key]))  # a list, or a list or None
        if isinstance(value, Mapping) and list[str] in kinds:  # `class_weights: {spam: 5}`
            known[key] = value = [f"{name}={item}" for name, item in value.items()]
        if any(typing.get_origin(kind) is list for kind in kinds) and isinstance(value, str | int | float):
            known[key] = value = [value]
        if list[str] in kinds and isinstance(value, list):  # YAML reads the 1 of `unfreeze: [1, all]` as a number
            known[key] = [str(item) if type(item) in (int, float) else item for item in value]
    return known


def _field(recipe: type, place: tuple[int | str, ...]) -> str:
    """The name of the setting at a place; below it come numbers in a list, and the types that were tried."""
    if not place or place[0] not in (hints := field_types(recipe)):
        return ""
    name = str(place[0])
    inner = hints[name]
    below = _field(typing.cast(type, inner), place[1:]) if dataclasses.is_dataclass(inner) else ""
    return f"{name}.{below}" if below else name


def _sentences(name: str, faults: Sequence[Any]) -> list[str]:
    """What values must be: one that fits none of several types has a fault for each of them."""
    rules: dict[str, tuple[Any, list[str]]] = {}
    for fault in faults:
        rule = fault["msg"].removeprefix("Input should be ").partition(", unable to parse")[0]
        rule = rule.replace("a valid integer", "an integer").replace("a valid ", "a ")
        if "exceeded maximum size" in rule:  # a number of more digits than Python reads
            rule = "an integer of fewer digits"
        rules.setdefault(repr(fault["input"]), (fault["input"], []))[1].append(rule)
    return [_sentence(name, " or ".join(dict.fromkeys(found)), given) for given, found in rules.values()]


def _sentence(name: str, rule: str, given: Any) -> str:
    tail = nearest(given, re.findall(r"'([^']*)'", rule)) if isinstance(given, str) else ""
    return f"{name} must be {rule}, but is {shortened(given)}.{tail}"
