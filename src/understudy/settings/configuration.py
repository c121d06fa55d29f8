"""Plain values to settings and back: YAML files, flags, and every fault in a sentence."""

from __future__ import annotations

import dataclasses
import re
import shlex
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from understudy.commands import BY_NAME
from understudy.errors import ConfigError, UnderstudyError, nearest
from understudy.record import flat
from understudy.settings.elsewhere import elsewhere

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
        ConfigError: if it is missing, no YAML, no mapping, or another command's.
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


def read_documents(path: str) -> list[dict[str, Any]]:
    """The settings in a YAML file: one document, or several between lines of ``---``.

    Raises:
        ConfigError: if it is missing, no YAML, or one of them is no mapping.
    """
    try:
        documents = list(yaml.safe_load_all(Path(path).expanduser().read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Name a YAML file.") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not documents or not all(isinstance(document, dict) for document in documents):
        raise ConfigError(f"{path}: must hold 'name: value' lines.")
    return documents


def build(recipe: type[Settings], values: Mapping[str, Any], *, origin: str = "the configuration") -> Settings:
    """A recipe from plain values, with every unknown key and wrong value reported together.

    Raises:
        ConfigError: with one sentence a fault.
    """
    from pydantic import TypeAdapter, ValidationError

    faults = _unknown_keys(recipe, values, origin)
    try:
        made = TypeAdapter(recipe).validate_python(_with_lists(recipe, values))
    except ValidationError as error:
        faults += [_sentence(fault) for fault in error.errors()]
    if faults:
        raise ConfigError(*faults)
    return made


def check(recipe: Any) -> None:
    """Report every fault of a recipe together: values first, then what its own ``faults()`` finds.

    Values that only need another shape (one string for a list of one) are put into it.

    Raises:
        ConfigError: with one sentence a fault.
    """
    faults: list[str] = []
    try:
        made = build(type(recipe), as_dict(recipe))
        for field_ in dataclasses.fields(recipe):
            setattr(recipe, field_.name, getattr(made, field_.name))
    except ConfigError as error:
        faults += error.faults
    try:
        faults += recipe.faults()
    except UnderstudyError as error:
        faults += error.faults
    except (TypeError, ValueError, AttributeError):
        if not faults:  # a value of a wrong type has its own sentence already
            raise
    if faults:
        raise ConfigError(*dict.fromkeys(faults))


def _unknown_keys(recipe: type, values: Mapping[str, Any], origin: str, prefix: str = "") -> list[str]:
    known = {f.name: f for f in dataclasses.fields(recipe)}
    hints = typing.get_type_hints(recipe)
    faults = []
    for key, value in values.items():
        if key not in known:
            meant = elsewhere(str(key), known) or nearest(str(key), known)
            faults.append(f"unknown key '{prefix}{key}' in {origin}.{meant}")
        elif dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            faults += _unknown_keys(typing.cast(type, hints[key]), value, origin, f"{prefix}{key}.")
    return faults


def _with_lists(recipe: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """A bare value where a list belongs is a list of one, a number among strings a string; unknown keys are left out."""
    hints = typing.get_type_hints(recipe)
    known = {key: value for key, value in values.items() if key in hints}
    for key, value in known.items():
        if typing.get_origin(hints[key]) is list and isinstance(value, str | int | float):
            known[key] = value = [value]
        if hints[key] == list[str] and isinstance(value, list):  # YAML takes the 1 of `unfreeze: [1, all]` for a number
            known[key] = [str(item) if type(item) in (int, float) else item for item in value]
    return known


def _sentence(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"] if not isinstance(part, int)) or "the configuration"
    rule = fault["msg"].removeprefix("Input should be ").replace("a valid ", "a ")
    tail = nearest(fault["input"], re.findall(r"'([^']*)'", rule)) if isinstance(fault["input"], str) else ""
    return f"{name} must be {rule}, but is {fault['input']!r}.{tail}"
