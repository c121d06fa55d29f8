"""Killed with SIGKILL at random moments and resumed each time: are the weights those of the undisturbed run, to the bit?

A static student, a transformer, and a family of two seeds.
"""

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

from ag_news import same_rows
from evidence import Setting, begin, run, target, write

KILLS = 20
PHASES = ("labelling", "training", "checkpoint writing", "model saving")
"""Aimed at in turn. One run is killed in each of them and finishes; then the next run begins."""
ROWS = {"train": 400, "validation": 100, "test": 100}
POOL = 400
EPOCHS = 3
ARMS: dict[str, tuple[str, ...]] = {
    "static": ("--student", "static"),
    "layers:2": ("--student", "layers:2"),
    "family": ("--student", "static", "--seeds", "0", "1"),
}
"""A student of a few tables, a transformer, and a family of two seeds, which is killed between its children too."""


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


def teacher(setting: Setting) -> str:
    """The run of a teacher of a thousand rows: how good it is does not matter here."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune import Finetune

    folder = setting.runs / "kills" / "teacher"
    options = {"limit_train": 1000, "max_length": 64, "epochs": 1, "baseline": False}
    run(Finetune(data=same_rows(setting), model=str(bundled_encoder()), output=str(folder), **options))
    return str(folder)


class Run:
    """One distillation with a run folder and a cache of its own."""

    def __init__(self, setting: Setting, arm: str, name: str, taught_by: str) -> None:
        name = f"{arm.replace(':', '')}-{name}"
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
        self.command += ["--data", rows, "--unlabeled", pool, "--teacher", taught_by, *ARMS[arm]]
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
        models = sorted(self.folder.rglob("model/model.safetensors"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in models)).hexdigest()

    def _temporary(self) -> list[Path]:
        """What is being written: the model, and checkpoints."""
        return [*self.folder.rglob(".model.*.tmp"), *self.folder.rglob("checkpoints/.*.tmp")]

    def phase(self) -> str:
        """What the run is doing, from what lies on disk."""
        written = {path.parent.name for path in self._temporary() if path not in self.leftovers}
        if "checkpoints" in written:
            return "checkpoint writing"
        if written:
            return "model saving"
        if any(self.folder.rglob("checkpoints/student-done.pt")):
            return "after training"
        if any(self.folder.rglob("checkpoints/student.pt")):
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


def _survived(setting: Setting, arm: str, taught_by: str, rng: random.Random) -> list[dict[str, Any]]:
    """Runs of one arm, each killed once in each phase, until there are kills enough."""
    kills = setting.pick(KILLS, 4)
    expected = Run(setting, arm, "undisturbed", taught_by).finish()
    rows: list[dict[str, Any]] = []
    while sum(len(row["killed_in"]) for row in rows) < kills:
        run = Run(setting, arm, "killed", taught_by)
        died: list[str] = []
        missed: list[str] = []
        for aim in PHASES:
            found = kill(run, aim, rng)
            died.append(found) if found else missed.append(aim)
        rows.append({"arm": arm, "killed_in": died, "missed": missed, "identical": run.finish() == expected})
        print(
            f"{arm}, killed in {', '.join(died)}: {'identical' if rows[-1]['identical'] else 'DIFFERENT'}", flush=True
        )
    return rows


def main() -> None:
    """Of each arm the undisturbed run, then runs that are killed once in each phase."""
    setting = begin(__doc__)
    taught_by = teacher(setting)
    rng = random.Random(0)
    kills = setting.pick(KILLS, 4)
    raw: list[dict[str, Any]] = []
    for arm in ARMS:
        raw += _survived(setting, arm, taught_by, rng)
        totals = {name: sum(len(row["killed_in"]) for row in raw if row["arm"] == name) for name in ARMS}
        different = sum(not row["identical"] for row in raw)
        write(
            setting,
            "kills",
            question=__doc__ or "",
            config={
                "arms": ARMS,
                "rows": ROWS,
                "pool": POOL,
                "epochs": setting.pick(EPOCHS, 2),
                "aimed_at": PHASES,
                "compared": "SHA-256 of model.safetensors, of all children in a family",
            },
            raw=raw,
            summary={
                "kills": totals,
                "runs": len(raw),
                "identical_runs": len(raw) - different,
                "kills_by_phase": Counter(phase for row in raw for phase in row["killed_in"]),
            },
            targets=[
                *(
                    target(f"SIGKILLs survived, {name}", total or None, at_least=kills)
                    for name, total in totals.items()
                ),
                target("runs whose weights differ", different, at_most=0),
            ],
            complete=all(total >= kills for total in totals.values()),
        )


if __name__ == "__main__":
    main()
