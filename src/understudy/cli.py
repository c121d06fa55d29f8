"""The command line. Help, printed configurations and faults of settings load no torch."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

from understudy.commands import BY_NAME, COMMANDS, recipe_class, settings_class
from understudy.errors import ConfigError, Interrupted, UnderstudyError, nearest
from understudy.help import command_help, overview
from understudy.record import to_yaml
from understudy.settings.configuration import as_dict, build, read_config
from understudy.settings.elsewhere import elsewhere
from understudy.settings.shown import flags
from understudy.version import VERSION

_HELP = {"-h", "--help", "--help_all"}
_OWN_FLAGS = {"--config", "--print_config", *_HELP}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 2 the user's mistake, 1 ours, 128 + n stopped by signal n."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except UnderstudyError as error:
        return _refuse(error.faults)
    except Interrupted as error:
        print(f"understudy: {error}. {error.remedy}", file=sys.stderr)
        return 128 + error.signal_number
    except KeyboardInterrupt:
        print("understudy: stopped by Ctrl-C.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader (`| head`) has what it wanted; Python's own flush at exit would complain once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        place = f" of {error.filename}" if error.filename else ""
        return _refuse(
            [
                f"no space left on the device{place}. Free some, or name another --output or UNDERSTUDY_CACHE; --resume then goes on."
            ]
        )


def _refuse(faults: Sequence[str]) -> int:
    for fault in faults:
        print(f"understudy: {fault}", file=sys.stderr)
    return 2


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {*_HELP, "help"}:
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(VERSION)
        return 0
    command, rest = _command(arguments)
    if command == "validate":
        return _validate(rest)
    parts = [row.name for row in COMMANDS if row.name.startswith(f"{command} ")]
    if parts and (not rest or rest[0] in _HELP):
        print("usage: " + "\n       ".join(f"understudy {part} [flags]" for part in parts))
        print(f"\n`understudy {parts[0]} --help` shows its flags.")
        return 0
    made = parse(command, rest)
    if isinstance(made, int):
        return made
    _recipe(command, made).run()
    return 0


def _command(arguments: list[str]) -> tuple[str, list[str]]:
    """The command, which may be two words, and what follows it."""
    words = 2 if any(row.name.startswith(f"{arguments[0]} ") for row in COMMANDS) else 1
    if any(word.startswith("-") for word in arguments[:words]):
        words = 1
    return " ".join(arguments[:words]), arguments[words:]


def _recipe(command: str, settings: Any) -> Any:
    """The recipe with these settings. This loads what the recipe needs."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return recipe_class(command)(**values)


def parse(command: str, arguments: list[str]) -> Any:
    """The settings that a command line describes, or the exit code where it only asks to be shown something.

    Raises:
        ConfigError: for unknown flags, keys and wrong values, all together.
    """
    settings = settings_class(command)
    if _HELP & set(arguments):
        print(command_help(BY_NAME[command], settings, everything="--help_all" in arguments))
        return 0
    arguments, config = _take_value(arguments, "--config")
    arguments, shows = _take_bare(arguments, "--print_config")
    arguments = _named(settings, arguments)
    _check_flags(command, settings, arguments)
    import tyro  # a tenth of a second that --help does without

    default: Any = tyro.MISSING_NONPROP
    if config is not None:
        default = build(settings, read_config(config, command), origin=config)
    try:
        made = tyro.cli(settings, args=arguments, default=default, prog=f"understudy {command}", use_underscores=True)
    except SystemExit as error:
        return int(error.code or 0)
    if shows:
        print(to_yaml(command, as_dict(made)), end="")
        return 0
    return made


def _validate(arguments: list[str]) -> int:
    """``understudy validate distill --data …``: everything that can be wrong, found without training."""
    if not arguments or arguments[0] in _HELP:
        print(
            "usage: understudy validate COMMAND [the command's own flags]\n\nChecks the settings, the data and the models of a command without running it, and lists every fault.\n\n  understudy validate distill --data reviews.csv --teacher runs/teacher\n  understudy validate distill --config distill.yaml"
        )
        return 0
    command, rest = _command(arguments)
    made = parse(command, rest)
    if isinstance(made, int):
        return made
    from understudy.recipes.choose.validate import validate  # with torch, which parsing does without

    validate(command, _recipe(command, made))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
