"""``python -m understudy_runtime serve FOLDER …``: exported models behind HTTP, without torch."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

from understudy_runtime.errors import UnderstudyError, require
from understudy_runtime.limits import TOKEN, Limits, known_token
from understudy_runtime.lines import say
from understudy_runtime.predictor import ExportedPredictor


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code: 0 stopped by a signal, 2 the user's mistake."""
    asked = _parser().parse_args(arguments)
    try:
        for module in ("fastapi", "uvicorn", "httptools", "prometheus_client"):
            require(module, extra="serve", package="understudy-runtime")
        from understudy_runtime.running import serve
        from understudy_runtime.served import ServedFolder

        limits = Limits(**{field.name: getattr(asked, field.name) for field in fields(Limits)})
        faults = limits.faults()
        if asked.threads is not None and asked.threads < 1:
            faults.append(f"--threads is {asked.threads}, but must be at least 1. Leave it out for as many as suit.")
        if not 0 <= asked.reload_seconds < math.inf:
            faults.append(f"--reload_seconds is {asked.reload_seconds}, but must not be below 0. 0 is for never.")
        if faults:
            raise UnderstudyError(*faults)
        serve(
            [
                ServedFolder(name, folder, partial(ExportedPredictor, folder, threads=asked.threads))
                for name, folder in map(_named, asked.folders)
            ],
            host=asked.host,
            port=asked.port,
            token=known_token(asked.token),
            limits=limits,
            reload_seconds=asked.reload_seconds,
            explainer=lambda model: None,
            say=say,
        )
    except UnderstudyError as error:
        for fault in error.faults:
            say(f"understudy_runtime: {fault}")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m understudy_runtime", description="Models without torch.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve", help="answer over HTTP", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    serve.add_argument("folders", nargs="+", metavar="FOLDER", help="an exported model, or NAME=FOLDER")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen at; 0.0.0.0 for every network")
    serve.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    serve.add_argument("--token", help=f"what callers must send (else {TOKEN}, else none)")
    serve.add_argument("--threads", type=int, help="processor threads of a batch")
    serve.add_argument("--reload_seconds", type=float, default=2.0, help="how often folders are looked at; 0 for never")
    for field in fields(Limits):
        kind = type(field.default)
        serve.add_argument(f"--{field.name}", type=kind, default=field.default, help="see docs/serve.md", metavar="N")
    return parser


def _named(word: str) -> tuple[str, Path]:
    """The name and the folder of a model: what is before ``=``, or the folder's own name."""
    name, equals, folder = word.partition("=")
    if equals and name and not Path(word).exists():
        return name, Path(folder)
    return Path(word).resolve().name, Path(word)


if __name__ == "__main__":
    sys.exit(main())
