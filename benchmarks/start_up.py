"""How long until help is there? `understudy --help` and every command's, beside a bare `python -c pass`, in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from functools import partial

from evidence import begin, in_turn, target, write

ROUNDS = 15


def seconds(*words: str) -> float:
    """The time that a Python process takes from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """All commands in turn, several rounds; medians."""
    from understudy.commands import COMMANDS

    setting = begin(__doc__)
    ours = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
    contenders = {"python -c pass": partial(seconds, "-c", "pass")}
    contenders["understudy --help"] = partial(seconds, "-c", ours, "--help")
    for row in COMMANDS:
        contenders[f"understudy {row.name} --help"] = partial(seconds, "-c", ours, *row.name.split(), "--help")
    raw = in_turn(contenders, rounds=setting.pick(ROUNDS, 2))
    medians = {name: statistics.median(values) for name, values in raw.items()}
    bare = medians["python -c pass"]
    slowest = max(value for name, value in medians.items() if name.startswith("understudy ") and name.count(" ") > 1)
    write(
        setting,
        "start_up",
        question=__doc__ or "",
        config={"rounds": setting.pick(ROUNDS, 2)},
        raw=raw,
        summary={"median_s": medians},
        targets=[
            target(
                "seconds of understudy --help beyond a bare Python", medians["understudy --help"] - bare, at_most=0.1
            ),
            target("seconds of the slowest command's --help", slowest, at_most=0.5),
        ],
    )


if __name__ == "__main__":
    main()
