"""What do checksums cost a run, and is a flipped bit in a cached or checkpointed file noticed wherever it stands?

Cost: the seconds in :func:`understudy.checksums.checksum`, which everything that is written or opened goes through, as a
share of the run: fine-tuning an encoder, distilling it, and distilling again when everything is in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from ag_news import same_rows
from evidence import Setting, begin, fresh_cache, in_turn, target, write, write_rows

ROUNDS = 3
ROWS = {"train": 400, "validation": 100, "test": 100}
FLIPS = 300
OF_CHECKPOINTS = 5
"""One flip in so many hits a checkpoint, the others hit the cache."""


@contextmanager
def clocked() -> Iterator[list[float]]:
    """The seconds of every checksum that is computed inside."""
    from understudy import checksums
    from understudy.objectives.teachers import drawing

    known, seconds = checksums.checksum, list[float]()

    def timed(file: Any, size: int) -> int:
        start = time.perf_counter()
        try:
            return known(file, size)
        finally:
            seconds.append(time.perf_counter() - start)

    checksums.checksum = drawing.checksum = timed
    try:
        yield seconds
    finally:
        checksums.checksum = drawing.checksum = known


def share(recipe: Callable[[], Any]) -> dict[str, float]:
    """How long a run takes, and how much of that its checksums."""
    with clocked() as seconds:
        start = time.perf_counter()
        recipe().run()
        whole = time.perf_counter() - start
    return {"seconds": whole, "checksums_s": sum(seconds), "files": len(seconds), "share": sum(seconds) / whole}


def data(setting: Setting) -> str:
    """A folder of a few rows."""
    from understudy.data.readers.sources import load_splits

    splits, folder = load_splits(same_rows(setting)), setting.runs / "checksums" / "data"
    for name, count in ROWS.items():
        rows = getattr(splits, name)
        some = replace(
            rows, texts=rows.texts[: setting.pick(count, 100)], labels=rows.labels[: setting.pick(count, 100)]
        )
        write_rows(folder / f"{name}.csv", some, splits.task.labels)
    return str(folder)


def costs(setting: Setting) -> dict[str, list[dict[str, float]]]:
    """A teacher, its student, and that student again from the cache, in turn."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.distill.recipe import Distill
    from understudy.recipes.train.finetune.recipe import Finetune

    folder = setting.runs / "checksums"
    options: dict[str, Any] = {"data": data(setting), "max_length": 64, "overwrite": True}
    teacher = partial(Finetune, **options, model=bundled_encoder(), epochs=1, output=str(folder / "teacher"))
    student = partial(Distill, **options, teacher=str(folder / "teacher"), student="static", epochs=3)
    contenders = {
        "finetune": teacher,
        "distill": partial(student, output=str(folder / "student")),
        "distill again": partial(student, output=str(folder / "again")),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for _ in range(setting.pick(ROUNDS, 1)):
        with fresh_cache():  # the order is that of the work, so no contender may begin
            for name, values in in_turn({n: partial(share, c) for n, c in contenders.items()}, rounds=1).items():
                found[name] += values
    return found


class Flips:
    """A toy distillation whose files are damaged, one bit at a time."""

    def __init__(self, setting: Setting) -> None:
        from understudy.evaluation import cost
        from understudy.report import plots

        plots.draw_all = lambda folder, record: []  # most of a toy run's time, and they read none of these files
        cost.measure = partial(cost.measure, latency_texts=5, throughput_texts=20, warmup=1)
        self.folder = (setting.runs / "checksums" / "flips").absolute()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.cache, self.kept = self.folder / "cache", self.folder / "kept"
        rows = ["--data", data(setting), "--limit_train", "200"]
        assert self.call("finetune", *rows, "--model", "tfidf", "--output", str(self.folder / "tfidf"))[0] == 0
        self.command = ["distill", *rows, "--teacher", str(self.folder / "tfidf"), "--student", "static"]
        self.command += ["--static.embedding", "16", "--epochs", "2", "--save_steps", "5", "--no_baseline"]
        self.run = self.folder / "run"
        self.expected = self.finished("--overwrite")
        shutil.copytree(self.cache, self.kept / "cache")
        self.killed()
        shutil.copytree(self.run, self.kept / "run")

    def call(self, *words: str) -> tuple[int, str]:
        """The command in this process: exit code and standard error."""
        from understudy.cli import main

        said = io.StringIO()
        os.environ["UNDERSTUDY_CACHE"] = str(self.cache)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = main(list(words))
        return code, said.getvalue()

    def finished(self, flag: str) -> tuple[int, str, str]:
        """Exit code, standard error, and the hash of the weights."""
        code, said = self.call(*self.command, "--output", str(self.run), flag)
        weights = self.run / "model" / "model.safetensors"
        return code, said, hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else ""

    def killed(self) -> None:
        """Leave a run that was killed in mid-training."""
        code = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
        words = [*self.command, "--output", str(self.run), "--overwrite"]
        environment = os.environ | {"UNDERSTUDY_FAILPOINT": "student.step:8"}
        done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True)
        if done.returncode != -signal.SIGKILL:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")

    def flip(self, rng: random.Random, *, checkpoint: bool) -> dict[str, Any]:
        """Flip a bit of one file and run the command again: what came of it."""
        for folder in (self.cache, self.run):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.kept / "cache", self.cache)
        if checkpoint:
            shutil.copytree(self.kept / "run", self.run)
        within = self.run / "checkpoints" if checkpoint else self.cache
        path = rng.choice(sorted(path for path in within.rglob("*") if path.is_file()))
        if path.parent.parent.name == "jobs":  # shards are read where there is no set
            shutil.rmtree(path.parent.parent.parent / "sets")
        content = bytearray(path.read_bytes())
        at, bit = rng.randrange(len(content)), rng.randrange(8)
        content[at] ^= 1 << bit
        path.write_bytes(content)
        code, said, weights = self.finished("--resume" if checkpoint else "--overwrite")
        named, same = f"{path}: " in said, code == 0 and weights == self.expected[2]
        if code == 2 and named:
            outcome = "refused by name"
        elif same:
            outcome = "made again, with a note" if named else "harmless"
        else:
            outcome = "NOT noticed"
        kind = path.relative_to(within).parts[0] if not checkpoint else "checkpoint"
        print(f"{kind}, {path.name}, bit {bit} of byte {at}: {outcome}", flush=True)
        return {"kind": kind, "file": path.name, "byte": at, "bit": bit, "outcome": outcome}


def main() -> None:
    """The cost of three runs, then the flips."""
    setting = begin(__doc__)
    found = costs(setting)
    flips, rng = Flips(setting), random.Random(0)
    count = setting.pick(FLIPS, 10)
    flipped = [flips.flip(rng, checkpoint=number % OF_CHECKPOINTS == 0) for number in range(count)]
    shares = {name: statistics.median(row["share"] for row in rows) for name, rows in found.items()}
    outcomes = Counter((row["kind"], row["outcome"]) for row in flipped)
    write(
        setting,
        "checksums",
        question=__doc__ or "",
        config={"rounds": setting.pick(ROUNDS, 1), "rows": ROWS, "flips": count},
        raw={"costs": found, "flips": flipped},
        summary={
            "median_share": shares,
            "outcomes": {f"{kind}: {outcome}": number for (kind, outcome), number in sorted(outcomes.items())},
        },
        targets=[
            *(target(f"share of checksums, {name}", value, at_most=0.02) for name, value in shares.items()),
            target("flips that were not noticed", sum(row["outcome"] == "NOT noticed" for row in flipped), at_most=0),
        ],
    )


if __name__ == "__main__":
    main()
