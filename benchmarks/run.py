"""Run the benchmarks: seed 0 of everything first, then the other seeds.

    python benchmarks/run.py --detach                # in the background; prints where the log is
    python benchmarks/run.py --only sst2 --seeds 0   # some of it

It can be stopped at any time and started again: finished runs are found, unfinished ones go on from their checkpoint.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
FOLDER = HERE.parent / "runs" / "benchmarks"

QUALITY = (
    *("few_labels", "penalty", "pairs_apart", "defaults", "between", "held_out", "temperature"),
    *("ag_news", "ag_news_1000", "sst2", "student_defaults", "student_sizes", "distilbert", "keeping_more"),
    *("switches", "twi", "domain", "fake_news", "glue", "adapters", "prune"),
)
"""These train, at several seeds."""
MEASURED = (
    "latency",
    "compare",
    "compare_kills",
    "search",
    "false_alarms",
    "demo",
    "batching",
    "teacher_cache",
    "against_textbrewer",
    "against_simpletransformers",
    "exactness",
    "memory",
    "kills",
    "mutations",
    "albert_arithmetic",
    "albert_start",
    "masked_step",
    "drawn_words",
    "compiled_step",
    "awd_lstm_speed",
    "freezing",
    "start_up",
    "mistakes_at_once",
    "embeddings",
    "frozen_checkpoint",
    "checksums",
    "busy_machine",
    "verdict",
    "adapter_facts",
    "adapter_interchange",
    "ladder",
    "small_weights",
    "runtime_install",
    "serve",
    "fast_ids",
    "browser",
)
"""These measure, once."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=[*QUALITY, *MEASURED], default=[*QUALITY, *MEASURED], metavar="NAME"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's own choice)")
    parser.add_argument("--again", action="store_true", help="measure again what has been measured")
    parser.add_argument(
        "--quick", action="store_true", help="only try the scripts, at a tiny size, into runs/benchmarks-quick"
    )
    parser.add_argument("--detach", action="store_true", help="run in the background")
    return parser.parse_args()


def jobs(only: list[str], seeds: list[int]) -> list[tuple[str, int | None]]:
    """Scripts and seeds, in order.

    Example:
        >>> jobs(["sst2", "latency"], [0, 1])
        [('sst2', 0), ('latency', None), ('sst2', 1)]
    """
    quality = [name for name in QUALITY if name in only]
    planned: list[tuple[str, int | None]] = [(name, seeds[0]) for name in quality]
    planned += [(name, None) for name in MEASURED if name in only]
    return planned + [(name, seed) for seed in seeds[1:] for name in quality]


def measured(name: str) -> bool:
    """Whether a script has left a complete result."""
    path = RESULTS / f"{name}.json"
    return path.exists() and bool(json.loads(path.read_text(encoding="utf-8"))["complete"])


def execute(name: str, seed: int | None, given: argparse.Namespace) -> int:
    """One script in a process of its own; its output goes to a log of its own."""
    command = [sys.executable, str(HERE / f"{name}.py")]
    command += [] if seed is None else ["--seeds", str(seed)]
    command += ["--threads", str(given.threads)] if given.threads else []
    command += ["--quick"] if given.quick else []
    environment = os.environ | ({"OMP_NUM_THREADS": str(given.threads)} if given.threads else {})
    with open(FOLDER / "logs" / f"{name}.log", "ab") as log:
        return subprocess.run(
            command, cwd=HERE.parent, env=environment, stdout=log, stderr=subprocess.STDOUT
        ).returncode


def detach() -> None:
    """Start the same command in the background, in a session of its own."""
    log = FOLDER / "logs" / "run.log"
    command = [sys.executable, "-u", *(argument for argument in sys.argv if argument != "--detach")]
    with open(log, "ab") as file:
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    print(
        f"running as process {started.pid}; log: {log.relative_to(HERE.parent)}; stop it with: kill -- -{started.pid}"
    )


def main() -> int:
    """Go through the jobs; one that fails does not keep the others from running."""
    given = options()
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    if given.detach:
        detach()
        return 0
    lock = open(FOLDER / "run.lock", "w")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("the benchmarks are running already")
        return 1
    planned = jobs(given.only, given.seeds)
    failed = []
    for number, (name, seed) in enumerate(planned, 1):
        what = name if seed is None else f"{name}, seed {seed}"
        if seed is None and not given.quick and not given.again and measured(name):
            print(f"{number}/{len(planned)} {what}: measured already", flush=True)
            continue
        print(f"{datetime.datetime.now():%H:%M:%S} {number}/{len(planned)} {what} …", flush=True)
        start = time.monotonic()
        code = execute(name, seed, given)
        state = "done" if code == 0 else f"FAILED with {code}, see logs/{name}.log"
        print(
            f"{datetime.datetime.now():%H:%M:%S} {number}/{len(planned)} {what}: {state} after {time.monotonic() - start:.0f} s",
            flush=True,
        )
        failed += [what] if code else []
    print(f"failed: {', '.join(failed)}" if failed else "all done", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
