"""Command lines to settings: flags checked, YAML read, everything that is wrong reported together. No torch is loaded."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
import typing
from typing import Any

from understudy.commands import COMMANDS, recipe_class, settings_class
from understudy.errors import ConfigError, gathered, nearest
from understudy.record import to_yaml
from understudy.settings.configuration import as_dict, build, convert, read_config
from understudy.settings.flags import field_types, flags
from understudy.settings.foreign_names import elsewhere
from understudy.terminal.lines import show

_OWN_FLAGS = {"--config", "--print_config", "--help", "--help_all"}


def parse(command: str, arguments: list[str]) -> Any:
    """The settings that a command line describes, or the exit code if it only asks for output, such as --print_config.

    Raises:
        ConfigError: for unknown flags, keys and wrong values, all together.
    """
    settings = settings_class(command)
    arguments, config = _take_value(arguments, "--config")
    arguments, shows = _take_bare(arguments, "--print_config")
    _refuse_own(arguments)
    arguments = _named(settings, arguments)
    _check_flags(command, settings, arguments)
    faults: list[str] = []
    values = read_flags(settings, arguments, faults)
    made = settings()
    if config is not None:
        with gathered(faults):
            made = build(settings, read_config(config, command), origin=config)
    if faults:
        raise ConfigError(*faults)
    made = _with_values(made, values)
    if shows:
        show(to_yaml(command, as_dict(made)).rstrip("\n"))
        return 0
    return made


def read_flags(settings: type, arguments: list[str], faults: list[str]) -> dict[str, Any]:
    """Flags as nested values of the fields' types. Whether a value is in its range is left to the settings' own check.

    Args:
        faults: values of another type, words without a flag, switches with a value, flags without one and lists that are
            given twice are added. Of a flag with one value the last one counts, as usual.

    Example:
        >>> from understudy.settings.train.distill import DistillSettings
        >>> read_flags(DistillSettings, ["--epochs", "5", "--no_baseline", "--bilstm.lstm=64", "--teacher", "a", "b"], [])
        {'epochs': 5, 'baseline': False, 'bilstm': {'lstm': 64}, 'teacher': ['a', 'b']}
    """
    known = {flag.name: flag for flag in flags(settings)}
    values: dict[str, Any] = {}
    lists: dict[str, list[list[str]]] = {}
    for word, given in _grouped(arguments, faults):
        name, on = word, True
        if name not in known:  # the check of flags let it through, so it switches something off
            group, field = _split(name)
            name, on = group + field.removeprefix("no_"), False
        flag = known[name]
        several = any(typing.get_origin(part) is list for part in (flag.hint, *typing.get_args(flag.hint)))
        if flag.hint is bool:
            if given:
                faults.append(f"--{word} is a switch and takes no value, but was given {' '.join(given)}.")
            _put(values, name, on)
        elif not several and len(given) != 1:
            was = f"but was given {' '.join(given)}" if given else "but none follows it"
            faults.append(f"--{word} takes one value, {was}.")
        else:
            if several:
                lists.setdefault(name, []).append(given)
            wrong: list[str] = []
            with gathered(wrong):
                hint = field_types(flag.owner)[flag.field]
                _put(values, name, convert(hint, given if several else given[0], name=name))
            if wrong and several and any("," in one for one in given):
                apart = " ".join(part for one in given for part in one.split(","))
                wrong[-1] += f" Values stand apart: --{word} {apart}."
            faults += wrong
    faults += [
        f"--{name} is given more than once. Write its values after one: --{name} {shlex.join(itertools.chain(*given))}."
        for name, given in lists.items()
        if len(given) > 1
    ]
    return values


def _grouped(arguments: list[str], faults: list[str]) -> list[tuple[str, list[str]]]:
    """Each flag, without hyphens in front and with underscores, and the words that follow it."""
    groups: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument[2:].partition("=")
            groups.append((name.replace("-", "_"), [value] if equals else []))
        elif groups:
            groups[-1][1].append(argument)
        else:
            faults.append(f"'{argument}' stands before any flag. Name the flag that it belongs to, as in --help.")
    return groups


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Set a dotted name in nested values."""
    *groups, field = name.split(".")
    for group in groups:
        values = values.setdefault(group, {})
    values[field] = value


def _with_values(settings: Any, values: dict[str, Any]) -> Any:
    """Settings with some values replaced, those of groups too."""
    inner = {
        key: _with_values(getattr(settings, key), value) for key, value in values.items() if isinstance(value, dict)
    }
    return dataclasses.replace(settings, **{**values, **inner})


def recipe_of(command: str, settings: Any) -> Any:
    """The recipe with these settings. This loads what the recipe needs."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return recipe_class(command)(**values)


def _flags_of(settings: type) -> dict[str, bool]:
    """The flags of a settings class, without hyphens in front, and whether each is a switch."""
    return {flag.name: flag.hint is bool for flag in flags(settings)}


def _check_flags(command: str, settings: type, arguments: list[str]) -> None:
    names = _flags_of(settings)
    known = {f"--{name}" for name in names} | _OWN_FLAGS
    known |= {f"--{group}no_{field}" for name, switch in names.items() if switch for group, field in [_split(name)]}
    given = [argument.split("=", 1)[0] for argument in arguments if argument.startswith("--") and len(argument) > 2]
    faults = [
        f"unknown flag {flag}.{_meant(flag, command, names, known)}"
        for flag in given
        if flag.replace("-", "_").replace("__", "--", 1) not in known
    ]
    if faults:
        raise ConfigError(*faults)


def _split(name: str) -> tuple[str, str]:
    """The group of a flag with its dot, or nothing, and the rest of its name."""
    group, dot, field = name.rpartition(".")
    return group + dot, field


def _meant(flag: str, command: str, names: dict[str, bool], known: set[str]) -> str:
    """What an unknown flag was probably meant to be."""
    name = flag.removeprefix("--").replace("-", "_")
    if here := elsewhere(name, names):
        return re.sub(r"'(\w+)'", r"--\1", here)
    owners = [row.name for row in COMMANDS if row.settings and name in _flags_of(settings_class(row.name))]
    if owners:
        return f" It is a flag of {', '.join(owners)}, not of {command}."
    return nearest(flag, known)


def _refuse_own(arguments: list[str]) -> None:
    """Refuse what is left of the flags that are no settings.

    Raises:
        ConfigError: if one is left.
    """
    for argument in arguments:
        flag = argument.partition("=")[0].replace("-", "_").replace("__", "--", 1)
        if flag in _OWN_FLAGS:
            said = "names one file, but is given twice" if flag == "--config" else "takes no value"
            raise ConfigError(f"{flag} {said}.")


def _take_value(arguments: list[str], flag: str) -> tuple[list[str], str | None]:
    for i, argument in enumerate(arguments):
        if argument.startswith(f"{flag}="):
            return arguments[:i] + arguments[i + 1 :], argument.split("=", 1)[1]
        if argument == flag:
            if i + 1 == len(arguments):
                raise ConfigError(f"{flag} needs a value: the path of a YAML file.")
            return arguments[:i] + arguments[i + 2 :], arguments[i + 1]
    return arguments, None


def _take_bare(arguments: list[str], flag: str) -> tuple[list[str], bool]:
    hyphened = flag[:2] + flag[2:].replace("_", "-")
    return [a for a in arguments if a not in {flag, hyphened}], flag in arguments or hyphened in arguments


def _named(settings: type, arguments: list[str]) -> list[str]:
    """Turn leading bare words into flags; the last flag takes all remaining words.

    Settings name them, in order, in a class variable ``positional``.
    """
    names: tuple[str, ...] = getattr(settings, "positional", ())
    count = next((i for i, argument in enumerate(arguments) if argument.startswith("--")), len(arguments))
    words, rest = arguments[:count], arguments[count:]
    for i, name in enumerate(names[: len(words)]):
        taken = words[i:] if i == len(names) - 1 else words[i : i + 1]
        rest = [f"--{name}", *taken, *rest]
    return rest if names else arguments
