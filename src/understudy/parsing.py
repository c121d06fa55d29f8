"""Command lines to settings: flags checked, YAML read, everything that is wrong reported together. No torch is loaded."""

from __future__ import annotations

import dataclasses
from typing import Any

import tyro

from understudy.commands import COMMANDS, recipe_class, settings_class
from understudy.errors import ConfigError, nearest
from understudy.record import to_yaml
from understudy.settings.configuration import as_dict, build, read_config
from understudy.settings.elsewhere import elsewhere
from understudy.settings.shown import flags
from understudy.terminal.lines import show

_OWN_FLAGS = {"--config", "--print_config", "--help", "--help_all"}


def parse(command: str, arguments: list[str]) -> Any:
    """The settings that a command line describes, or the exit code where it only asks to be shown something.

    Raises:
        ConfigError: for unknown flags, keys and wrong values, all together.
    """
    settings = settings_class(command)
    arguments, config = _take_value(arguments, "--config")
    arguments, shows = _take_bare(arguments, "--print_config")
    arguments = _named(settings, arguments)
    _check_flags(command, settings, arguments)
    default: Any = tyro.MISSING_NONPROP
    if config is not None:
        default = build(settings, read_config(config, command), origin=config)
    try:
        made = tyro.cli(settings, args=arguments, default=default, prog=f"understudy {command}", use_underscores=True)
    except SystemExit as error:
        return int(error.code or 0)
    if shows:
        show(to_yaml(command, as_dict(made)).rstrip("\n"))
        return 0
    return made


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
        return here.replace("'", "--", 1).replace("'", "")
    if near := nearest(flag, known):
        return near
    owners = [row.name for row in COMMANDS if row.settings and name in _flags_of(settings_class(row.name))]
    return f" It is a flag of {', '.join(owners)}, not of {command}." if owners else ""


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
    """Bare words at the start as the flags that they stand for; the last of these takes all that are left.

    Settings name them, in order, in a class variable ``positional``.
    """
    names: tuple[str, ...] = getattr(settings, "positional", ())
    count = next((i for i, argument in enumerate(arguments) if argument.startswith("--")), len(arguments))
    words, rest = arguments[:count], arguments[count:]
    for i, name in enumerate(names[: len(words)]):
        taken = words[i:] if i == len(names) - 1 else words[i : i + 1]
        rest = [f"--{name}", *taken, *rest]
    return rest if names else arguments
