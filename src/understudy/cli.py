"""The command line. What it does not need for a command is not imported: ``--help`` is instant."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from understudy.commands import BY_NAME, COMMANDS, settings_class
from understudy.cores import wait_briefly
from understudy.errors import ConfigError, Interrupted, UnderstudyError, gathered
from understudy.terminal.lines import say, show
from understudy.version import VERSION

_HELP = {"-h", "--help", "--help_all"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 2 the user's mistake, 1 ours, 128 + n stopped by signal n."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _write_utf8()
    wait_briefly()  # before torch is loaded
    try:
        return _dispatch(arguments)
    except UnderstudyError as error:
        return _refuse(error.faults)
    except Interrupted as error:
        say(f"understudy: {error}. {error.remedy}")
        return 128 + error.signal_number
    except KeyboardInterrupt:
        say("understudy: stopped by Ctrl-C.")
        return 130
    except BrokenPipeError:
        # the reader (`| head`) has what it wanted; Python's own flush at exit would complain once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            if error.filename is None:
                raise
            return _refuse([f"{error.filename}: {error.strerror}. Check the path and its permissions."])
        place = f" of {error.filename}" if error.filename else ""
        return _refuse(
            [
                f"no space left on the device{place}. Free some (a run then goes on with --resume), or name another --output or UNDERSTUDY_CACHE."
            ]
        )


def _write_utf8() -> None:
    """Write UTF-8 whatever the locale says: a code page of Windows or ASCII has no character for many a label and text."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


def _refuse(faults: Sequence[str]) -> int:
    for fault in faults:
        say(f"understudy: {fault}")
    return 2


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {*_HELP, "help"}:
        show(_overview())
        return 0
    if arguments[0] == "--version":
        show(VERSION)
        return 0
    command, rest = _command(arguments)
    if command == "validate":
        return _validate(rest)
    parts = [row.name for row in COMMANDS if row.name.startswith(f"{command} ")]
    if parts and (not rest or rest[0] in _HELP):
        show("usage: " + "\n       ".join(f"understudy {part} [flags]" for part in parts))
        show(f"\n`understudy {parts[0]} --help` shows its flags.")
        return 0
    if _HELP & set(rest):
        return _help(command, rest)
    from understudy.parsing import parse, recipe_of

    made = parse(command, rest)
    if isinstance(made, int):
        return made
    _refuse_early(made)
    if "torch" not in sys.modules and sys.stderr.isatty():
        say(f"understudy {command}: loading PyTorch …")
    recipe_of(command, made).run()
    return 0


def _refuse_early(settings: Any) -> None:
    """Report what is wrong with settings, paths and columns before torch is loaded, which takes seconds."""
    from understudy.settings.configuration import check

    check(settings)
    from understudy.runs.inputs import look_first

    look_first(settings)


def _refuse_together(settings: Any) -> None:
    """What ``validate`` refuses before torch is loaded: every fault of settings and data, if there is one that shows so early."""
    from understudy.runs.inputs import look_first
    from understudy.settings.configuration import check
    from understudy.settings.data import CorpusSettings, DataSettings

    if not isinstance(settings, DataSettings | CorpusSettings):
        check(settings)
        return
    if settings.data_faults():
        return
    faults: list[str] = []
    with gathered(faults):
        check(settings)
    with gathered(faults):
        look_first(settings, whole=bool(faults))
    if faults:
        raise ConfigError(*dict.fromkeys(faults))


def _help(command: str, arguments: list[str]) -> int:
    settings = settings_class(command)
    from understudy.help import command_help

    show(command_help(BY_NAME[command], settings, everything="--help_all" in arguments))
    return 0


def _command(arguments: list[str]) -> tuple[str, list[str]]:
    """The command, which may be two words, and what follows it."""
    words = 2 if any(row.name.startswith(f"{arguments[0]} ") for row in COMMANDS) else 1
    if any(word.startswith("-") for word in arguments[:words]):
        words = 1
    return " ".join(arguments[:words]), arguments[words:]


def _validate(arguments: list[str]) -> int:
    """``understudy validate distill --data …``: everything that can be wrong, found without training."""
    if not arguments or arguments[0] in _HELP:
        show(
            "usage: understudy validate COMMAND [the command's own flags]\n\nChecks the settings, the data and the models of a command without running it,\nand lists every fault.\n\n  understudy validate distill --data reviews.csv --teacher runs/teacher\n  understudy validate distill --config distill.yaml"
        )
        return 0
    command, rest = _command(arguments)
    if _HELP & set(rest):
        return _help(command, rest)
    from understudy.parsing import parse, recipe_of

    made = parse(command, rest)
    if isinstance(made, int):
        return made
    _refuse_together(made)
    from understudy.recipes.choose.validate import validate

    validate(command, recipe_of(command, made))
    return 0


def _overview() -> str:
    """All commands, under their headings."""
    width = max(len(command.name) for command in COMMANDS)
    lines = [f"understudy {VERSION}: small language models that stand in for large ones.", ""]
    lines += ["usage: understudy COMMAND [flags]", ""]
    for heading in dict.fromkeys(command.heading for command in COMMANDS):
        lines.append(f"{heading}:")
        lines += [f"  {row.name:<{width}}  {row.help}" for row in COMMANDS if row.heading == heading]
        lines.append("")
    lines.append("`understudy COMMAND --help` shows its flags. Start with `understudy demo`.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
