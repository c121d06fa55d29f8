"""Killed with SIGKILL at random moments and resumed each time: are the weights those of the undisturbed run, to the bit?"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ag_news import same_rows, teacher
from evidence import Setting, begin, target, write

KILLS = 20
PHASES = ("labelling", "training", "checkpoint writing", "model saving")
"""Aimed at in turn. One run is killed in each of them and finishes; then the next run begins."""
ROWS = {"train": 400, "validation": 100, "test": 100}
POOL = 400
EPOCHS = 3
STUDENT = "static"


def data(setting: Setting) -> tuple[str, str]:
    """A folder of a few rows and a pool beside it."""
    import csv

    from understudy.data.readers.sources import load_splits

    splits = load_splits(same_rows(setting))
    folder = setting.runs / "kills" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in ROWS.items():
        rows = getattr(splits, name)
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for i in range(min(count, len(rows))):
                writer.writerow([rows.texts[i][0], splits.task.labels[rows.labels[i]]])
    start = len(splits.train) - POOL if not setting.quick else 0
    pool = [splits.train.texts[i][0] for i in range(max(0, start), len(splits.train))]
    (folder / "pool.txt").write_text("\n".join(pool) + "\n", encoding="utf-8")
    return str(folder), str(folder / "pool.txt")


class Run:
    """One distillation with a run folder and a cache of its own."""

    def __init__(self, setting: Setting, name: str, taught_by: str) -> None:
        self.folder = setting.runs / "kills" / name
        self.cache = setting.runs / "kills" / f"{name}-cache"
        for path in (self.folder, self.cache):
            shutil.rmtree(path, ignore_errors=True)
        rows, pool = data(setting)
        self.command = [
            sys.executable,
            "-c",
            "import sys; from understudy.cli import main; sys.exit(main())",
            "distill",
        ]
        self.command += ["--data", rows, "--unlabeled", pool, "--teacher", taught_by, "--student", STUDENT]
        self.command += ["--epochs", str(setting.pick(EPOCHS, 2)), "--save_steps", "5", "--no-baseline", "--resume"]
        self.command += ["--output", str(self.folder)]

    def start(self) -> subprocess.Popen[bytes]:
        """Begin, or go on."""
        self.leftovers = set(self._temporary())  # of earlier kills: they say nothing of this process
        environment = os.environ | {"UNDERSTUDY_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self.command, env=environment, **quiet)

    def finish(self) -> str:
        """Let it run to its end; the hash of the weights."""
        code = self.start().wait()
        if code:
            raise SystemExit(f"{' '.join(self.command)} ended with {code}")
        return hashlib.sha256((self.folder / "model" / "model.safetensors").read_bytes()).hexdigest()

    def _temporary(self) -> list[Path]:
        """What is being written: the model, and checkpoints."""
        return [*self.folder.glob(".model.*.tmp"), *(self.folder / "checkpoints").glob(".*.tmp")]

    def phase(self) -> str:
        """What the run is doing, from what lies on disk."""
        checkpoints = self.folder / "checkpoints"
        written = {path.parent for path in self._temporary() if path not in self.leftovers}
        if checkpoints in written:
            return "checkpoint writing"
        if written:
            return "model saving"
        if (checkpoints / "student-done.pt").exists():
            return "after training"
        if (checkpoints / "student.pt").exists():
            return "training"
        if any(self.cache.glob("teacher_logits/*/sets/*.npy")):
            return "training"
        return "labelling" if any(self.cache.glob("teacher_logits/*/jobs/*/plan.npz")) else "reading"


def kill(run: Run, aim: str, rng: random.Random) -> str | None:
    """Start the run, wait for a phase and a random moment in it, kill; the phase it died in, or None if it was quicker.

    Writing is over in milliseconds, so the moment is drawn from few of them there.
    """
    process = run.start()
    delay = {"labelling": 4.0, "training": 2.0, "checkpoint writing": 0.01, "model saving": 0.02}[aim]
    died_in = None
    while process.poll() is None and died_in is None:
        if run.phase() == aim:
            time.sleep(rng.random() * delay)
            died_in = _kill(process, run.phase)
        time.sleep(0.0005)
    process.wait()
    return died_in


def _kill(process: subprocess.Popen[bytes], phase: Callable[[], str]) -> str | None:
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return phase()  # what it was writing still lies there


def main() -> None:
    """The undisturbed run, then runs that are killed once in each phase."""
    setting = begin(__doc__)
    taught_by = teacher(setting)
    rng = random.Random(0)
    kills = setting.pick(KILLS, 4)
    expected = Run(setting, "undisturbed", taught_by).finish()
    raw: list[dict[str, Any]] = []
    while sum(len(row["killed_in"]) for row in raw) < kills:
        run = Run(setting, "killed", taught_by)
        died: list[str] = []
        missed: list[str] = []
        for aim in PHASES:
            found = kill(run, aim, rng)
            died.append(found) if found else missed.append(aim)
        raw.append({"killed_in": died, "missed": missed, "identical": run.finish() == expected})
        print(f"killed in {', '.join(died)}: {'identical' if raw[-1]['identical'] else 'DIFFERENT'}", flush=True)
        total = sum(len(row["killed_in"]) for row in raw)
        write(
            setting,
            "kills",
            question=__doc__ or "",
            config={
                "student": STUDENT,
                "rows": ROWS,
                "pool": POOL,
                "epochs": setting.pick(EPOCHS, 2),
                "aimed_at": PHASES,
                "compared": "SHA-256 of model.safetensors",
            },
            raw=raw,
            summary={
                "kills": total,
                "runs": len(raw),
                "identical_runs": sum(row["identical"] for row in raw),
                "kills_by_phase": Counter(phase for row in raw for phase in row["killed_in"]),
            },
            targets=[
                target("SIGKILLs survived", total if all(row["identical"] for row in raw) else 0, at_least=kills),
                target("runs whose weights differ", sum(not row["identical"] for row in raw), at_most=0),
            ],
            complete=total >= kills,
        )


if __name__ == "__main__":
    main()
