"""The command line: a table of names and recipes. Importing it imports no torch."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import os
import sys
import typing
from collections.abc import Sequence
from typing import Any

from understudy import __version__
from understudy.errors import ConfigError, Interrupted, UnderstudyError, nearest

COMMANDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Train": {
        "demo": (
            "understudy.recipes.train.demo",
            "Demo",
            "the whole job on the documentation of this machine's packages",
        ),
        "finetune": (
            "understudy.settings.train.finetune",
            "Finetune",
            "train a transformer, or a baseline, on labelled rows",
        ),
        "pretrain": (
            "understudy.settings.train.pretrain",
            "Pretrain",
            "train a language model on raw text, or adapt one",
        ),
        "distill": (
            "understudy.settings.train.distill",
            "Distill",
            "train a small student to answer as a teacher does",
        ),
        "distill-lm": (
            "understudy.settings.train.distill_lm",
            "DistillLM",
            "make one small pretrained model of a larger one",
        ),
        "run": ("understudy.recipes.train.pipeline", "", "the commands of a YAML file, one after the other"),
    },
    "Choose": {
        "bench": ("understudy.recipes.choose.bench", "Bench", "parameters, size, latency and throughput of any model"),
        "lr-find finetune": (
            "understudy.settings.choose.lr_find",
            "FindForFinetune",
            "the learning rate, by experiment",
        ),
        "lr-find pretrain": ("understudy.settings.choose.lr_find", "FindForPretrain", "the same, for a language model"),
        "params": (
            "understudy.recipes.choose.params",
            "Params",
            "parameters by component and bytes, of one model or several",
        ),
        "validate": ("understudy.recipes.choose.validate", "", "check a command's settings and data without training"),
    },
    "Use": {
        "predict": ("understudy.recipes.use.predict", "Predict", "label the texts of files or of standard input"),
        "generate": ("understudy.recipes.use.generate", "Generate", "continue a text with a language model"),
        "fill-mask": ("understudy.recipes.use.fill_mask", "FillMask", "the likeliest words for the gaps of a text"),
    },
    "Ship": {
        "import fastai": ("understudy.recipes.ship.import_fastai", "ImportFastai", "a fast.ai language model as ours"),
    },
}
"""Heading -> command -> module, recipe, one line of help."""

_OWN_FLAGS = {"--config", "--print_config", "--help"}


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
        # The reader (`| head`) has what it wanted; Python's own flush at exit would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _refuse(
            [
                f"no space left on the device{f' of {error.filename}' if error.filename else ''}. Free some, or name another --output or UNDERSTUDY_CACHE; --resume then goes on."
            ]
        )


def _refuse(faults: Sequence[str]) -> int:
    for fault in faults:
        print(f"understudy: {fault}", file=sys.stderr)
    return 2


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    command, rest = _command(arguments)
    if command == "validate":
        return _validate(rest)
    if command == "run":
        return _run(rest)
    if rest in ([], ["-h"], ["--help"]) and (parts := [name for name in _table() if name.startswith(f"{command} ")]):
        print("usage: " + "\n       ".join(f"understudy {part} [flags]" for part in parts))
        print(f"\n`understudy {parts[0]} --help` shows its flags.")
        return 0
    result = parse(command, rest)
    if isinstance(result, int):
        return result
    result.run()
    return 0


def _table() -> dict[str, tuple[str, str, str]]:
    return {name: row for group in COMMANDS.values() for name, row in group.items()}


def _command(arguments: list[str]) -> tuple[str, list[str]]:
    """The command, which may be two words, and what follows it."""
    words = 2 if any(name.startswith(f"{arguments[0]} ") for name in _table()) else 1
    if any(word.startswith("-") for word in arguments[:words]):
        words = 1
    return " ".join(arguments[:words]), arguments[words:]


def recipe_class(command: str) -> type[Any]:
    """The recipe behind a command.

    Raises:
        ConfigError: if there is no such command, or it has no recipe.
    """
    table = _table()
    if command not in table:
        raise ConfigError(f"unknown command '{command}'.{nearest(command, table)} The commands are {', '.join(table)}.")
    module, name, _ = table[command]
    if not name:
        raise ConfigError(f"'{command}' has no settings of its own, so it can be neither a step nor validated.")
    return typing.cast(type[Any], getattr(importlib.import_module(module), name))


def parse(command: str, arguments: list[str]) -> Any:
    """The recipe that a command line describes, or the exit code where it only asks to be shown something.

    Raises:
        ConfigError: for unknown flags, keys and wrong values, all together.
    """
    import tyro

    from understudy.record import to_yaml
    from understudy.settings.configuration import as_dict, build, read_config

    recipe = recipe_class(command)
    arguments, config = _take_value(arguments, "--config")
    arguments, shows = _take_bare(arguments, "--print_config")
    arguments = _named(recipe, arguments)
    _check_flags(recipe, arguments)
    default: Any = tyro.MISSING_NONPROP
    if config is not None:
        default = build(recipe, read_config(config, command), origin=config)
    try:
        made = tyro.cli(
            recipe,
            args=arguments,
            default=default,
            prog=f"understudy {command}",
            use_underscores=True,
            description=f"{recipe.__doc__}\n\n--config FILE reads these settings from YAML (flags override it); --print_config prints them.",
        )
    except SystemExit as error:
        return int(error.code or 0)
    if shows:
        print(to_yaml(command, as_dict(made)), end="")
        return 0
    return made


def _validate(arguments: list[str]) -> int:
    """``understudy validate distill --data …``: everything that can be wrong, found without training."""
    from understudy.recipes.choose.validate import validate

    if not arguments or arguments[0] in {"-h", "--help"}:
        print(
            "usage: understudy validate COMMAND [the command's own flags]\n\nChecks the settings, the data and the models of a command without running it, and lists every fault.\n\n  understudy validate distill --data reviews.csv --teacher runs/teacher\n  understudy validate distill --config distill.yaml"
        )
        return 0
    command, rest = _command(arguments)
    made = parse(command, rest)
    if isinstance(made, int):
        return made
    validate(command, made)
    return 0


def _run(arguments: list[str]) -> int:
    """``understudy run FILE``: the file names the commands."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(
            "usage: understudy run FILE [--resume | --overwrite]\n\nRuns the commands of a YAML file one after the other: documents between lines of ---, each with its command,\nits output, and settings as --config takes them. All are read before the first begins.\n\n  --resume     passes by what is finished and goes on with what was stopped\n  --overwrite  replaces what earlier runs left in the outputs\n\n  understudy run recipes/ulmfit.yaml --resume"
        )
        return 0
    from understudy.recipes.train.pipeline import read_steps, run_steps

    given, resume = _take_bare(arguments, "--resume")
    given, overwrite = _take_bare(given, "--overwrite")
    if faults := [f"unknown flag {flag}.{nearest(flag, ['--resume', '--overwrite'])}" for flag in given[1:]]:
        raise ConfigError(*faults)
    if not given or given[0].startswith("-"):
        raise ConfigError("no file: name the YAML file that holds the steps, as in: understudy run recipes/ulmfit.yaml")
    run_steps(read_steps(given[0], recipe_class), resume=resume, overwrite=overwrite)
    return 0


def _flags(recipe: type, prefix: str = "") -> set[str]:
    hints = typing.get_type_hints(recipe)
    names: set[str] = set()
    for f in dataclasses.fields(recipe):
        if dataclasses.is_dataclass(hints[f.name]):
            names |= _flags(typing.cast(type, hints[f.name]), f"{prefix}{f.name}.")
        else:
            names.add(f"--{prefix}{f.name}")
            if hints[f.name] is bool:
                names.add(f"--{prefix}no_{f.name}")
    return names


def _check_flags(recipe: type, arguments: list[str]) -> None:
    known = _flags(recipe) | _OWN_FLAGS
    given = [a.split("=", 1)[0] for a in arguments if a.startswith("--") and len(a) > 2]
    faults = [
        f"unknown flag {flag}.{nearest(flag, known)}"
        for flag in given
        if flag.replace("-", "_").replace("__", "--", 1) not in known
    ]
    if faults:
        raise ConfigError(*faults)


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


def _named(recipe: type, arguments: list[str]) -> list[str]:
    """Bare words at the beginning as the flags that they stand for; the last of these takes all that are left.

    A recipe names them, in order, in a class variable ``positional``.
    """
    names: tuple[str, ...] = getattr(recipe, "positional", ())
    count = next((i for i, argument in enumerate(arguments) if argument.startswith("--")), len(arguments))
    words, flags = arguments[:count], arguments[count:]
    for i, name in enumerate(names[: len(words)]):
        taken = words[i:] if i == len(names) - 1 else words[i : i + 1]
        flags = [f"--{name}", *taken, *flags]
    return flags if names else arguments


def _overview() -> str:
    lines = [
        f"understudy {__version__}: small language models that stand in for large ones.",
        "",
        "usage: understudy COMMAND [flags]",
        "",
    ]
    width = max(map(len, _table()))
    for heading, group in COMMANDS.items():
        lines.append(f"{heading}:")
        lines += [f"  {name:<{width}}  {row[2]}" for name, row in group.items()]
        lines.append("")
    lines.append("`understudy COMMAND --help` shows its flags. Start with `understudy demo`.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
