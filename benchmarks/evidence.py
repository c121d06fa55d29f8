"""What the benchmarks share: where data and results lie, recipes that run once, contenders in turn, result files."""

from __future__ import annotations

import argparse
import csv
import datetime
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = os.environ.get("UNDERSTUDY_DATA", "../shared/data")
"""The folder of the data sets, relative to the repository."""


@dataclass(frozen=True)
class Setting:
    """What a script was asked for. ``quick`` only tries it: a few hundred rows, and folders of its own."""

    seeds: tuple[int, ...]
    threads: int | None
    quick: bool

    @property
    def runs(self) -> Path:
        """The folder of run folders."""
        return Path("runs/benchmarks-quick" if self.quick else "runs/benchmarks")

    @property
    def results(self) -> Path:
        """The folder of result files."""
        return self.runs / "results" if self.quick else Path("benchmarks/results")

    def data(self, name: str) -> str:
        """The folder of a data set; of its first rows if this is quick."""
        whole = f"{DATA}/{name}"
        if not self.quick:
            return whole
        folder = self.runs / "data" / name
        for path in sorted((ROOT / whole).glob("*.csv*")):
            _copy_head(path, folder / path.name.removesuffix(".gz"), rows=480 if "train" in path.name else 160)
        for path in sorted((ROOT / whole).glob("*.txt*")):
            _copy_lines(path, folder / path.name.removesuffix(".gz"), lines=240 if "train" in path.name else 40)
        return str(folder)

    def pick(self, full: int, quick: int) -> int:
        """A size: the real one, or the one that only shows that the script works."""
        return quick if self.quick else full


def begin(description: str | None) -> Setting:
    """Read the command line, go to the repository's root, set the number of threads."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds, where a script has some"
    )
    parser.add_argument("--threads", type=int, help="processor threads (default: torch's own choice)")
    parser.add_argument("--quick", action="store_true", help="only try the script, at a tiny size")
    given = parser.parse_args()
    os.chdir(ROOT)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if given.threads:
        import torch

        os.environ["OMP_NUM_THREADS"] = str(given.threads)
        torch.set_num_threads(given.threads)
    return Setting(tuple(given.seeds), given.threads, given.quick)


def _copy_head(source: Path, path: Path, *, rows: int) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    opener: Any = gzip.open if source.suffix == ".gz" else open
    with (
        opener(source, "rt", encoding="utf-8", newline="") as file,
        open(path, "w", encoding="utf-8", newline="") as copy,
    ):
        writer = csv.writer(copy)
        for number, row in enumerate(csv.reader(file)):
            if number > rows:
                break
            writer.writerow(row)


def _copy_lines(source: Path, path: Path, *, lines: int) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    opener: Any = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8") as file:
        path.write_text("".join(line for line, _ in zip(file, range(lines))), encoding="utf-8")


def write_rows(path: Path, rows: Any, labels: tuple[str, ...]) -> None:
    """Labelled rows of single texts, as a CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((text, labels[label]) for (text,), label in zip(rows.texts, rows.labels))


# Recipes, each run once


def run(recipe: Any) -> Any:
    """A recipe's record: of the finished run where there is one; an unfinished one goes on."""
    from understudy.runs.session import open_folder

    if finished(Path(recipe.output)) is not None:
        return open_folder(replace(recipe, resume=True)).record
    print(f"\n== {recipe.output}", flush=True)
    return replace(recipe, resume=True).run()


def validation_score(recipe: Any, metric: str) -> float:
    """Train and stop before anything is read off the test rows; a chosen run goes on from there."""
    from understudy.record import RunRecord
    from understudy.runs.session import open_session

    recipe, path = replace(recipe, resume=True), Path(recipe.output) / "record.json"
    record = RunRecord.load(path) if path.exists() else None
    if record is None or "train" not in record.training:
        print(f"\n== {recipe.output} (validation only)", flush=True)
        work = recipe.prepare(recipe.read())
        with open_session(recipe, work) as session:
            work.train(session)
            session.run.save()
            record = session.run.record
    return record.training["train"]["metrics"][metric]


def finished(folder: Path) -> Any:
    """The record of a finished run, or None: what there is to report by now."""
    from understudy.record import RunRecord

    path = folder / "record.json"
    record = RunRecord.load(path) if path.exists() else None
    return record if record is not None and record.finished else None


def score_of(record: Any, model: str, metric: str = "accuracy") -> float | None:
    """A model's score on the test split; None if the record does not have it."""
    names = [entry["name"] for entry in record.models]
    return record.model(model)["metrics"]["test"][metric] if model in names else None


def cost(record: Any, model: str) -> dict[str, Any]:
    """A model's size and speed, as its run measured them."""
    entry = record.model(model)
    keys = ("parameters", "embedding_parameters", "size_bytes", "texts_per_second", "latency_ms", "threads")
    return {key: entry[key] for key in keys}


# Measuring


def in_turn(contenders: Mapping[str, Callable[[], Any]], *, rounds: int) -> dict[str, list[Any]]:
    """Call all contenders once a round, so that whatever else the machine does meets them alike.

    Who begins changes from round to round.
    """
    names = list(contenders)
    found: dict[str, list[Any]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            began = time.perf_counter()
            found[name].append(contenders[name]())
            print(f"round {number + 1} of {rounds}: {name}: {time.perf_counter() - began:.1f} s", flush=True)
    return found


def product_rate(m: int, k: int, n: int) -> float:
    """Operations a second of the product of an (m, k) and a (k, n) matrix in float32, over half a second."""
    import torch

    one, other = torch.randn(m, k), torch.randn(k, n)
    torch.mm(one, other)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 0.5:
        torch.mm(one, other)
        count += 1
    return 2 * m * k * n * count / (time.perf_counter() - start)


@contextmanager
def fresh_cache() -> Iterator[Path]:
    """An empty cache, until the end of the block."""
    before = os.environ.get("UNDERSTUDY_CACHE")
    folder = tempfile.mkdtemp(prefix="understudy-cache-")
    os.environ["UNDERSTUDY_CACHE"] = folder
    try:
        yield Path(folder)
    finally:
        os.environ.pop("UNDERSTUDY_CACHE")
        if before is not None:
            os.environ["UNDERSTUDY_CACHE"] = before
        shutil.rmtree(folder, ignore_errors=True)


def train(
    objective: Any,
    batches: Any,
    *,
    epochs: int,
    learning_rate: float,
    optimizer: Any = None,
    save_steps: int | None = None,
    terms: Sequence[str] = ("label_loss", "distillation"),
    accelerator: Any = None,
) -> Any:
    """:func:`understudy.training.loop.fit` as the recipes call it, without an evaluation and in a folder that goes away.

    Args:
        accelerator: with the precision; float32 without one.
    """
    from functools import partial

    from understudy.training.loop import fit
    from understudy.training.optimizers.groups import build_optimizer
    from understudy.training.optimizers.lazy_adamw import sparse_gradients
    from understudy.training.progress.log import ProgressLog, progress_columns
    from understudy.training.schedules import linear
    from understudy.training.stages import Stage

    sparse_gradients(objective.model, True)
    make = optimizer or partial(build_optimizer, objective, learning_rate=learning_rate)
    columns = progress_columns(terms)
    with tempfile.TemporaryDirectory() as folder:
        return fit(
            objective,
            batches,
            [Stage("all", epochs, make)],
            save_steps=save_steps,
            folder=Path(folder),
            log=ProgressLog(Path(folder) / "progress.csv", columns),
            schedule=partial(linear, warmup=0.1),
            accelerator=accelerator,
        )


# Results


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, standard deviation (of the sample; None for a single value) and n of what is there by now."""
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "n": len(known),
    }


def target(
    what: str, measured: float | None, *, at_least: float | None = None, at_most: float | None = None
) -> dict[str, Any]:
    """A measured number beside what it should be; ``met`` is None while there is no number."""
    met = None
    if measured is not None:
        met = (at_least is None or measured >= at_least) and (at_most is None or measured <= at_most)
    limit = {"at_least": at_least, "at_most": at_most}
    return {
        "what": what,
        **{key: value for key, value in limit.items() if value is not None},
        "measured": measured,
        "met": met,
    }


@contextmanager
def beside_work(place: str) -> Iterator[None]:
    """Inside, another process keeps a core busy, if this is the busy place."""
    if place == "quiet":
        yield
        return
    computes = "import os\nbegun_by = os.getppid()\nwhile os.getppid() == begun_by: pass"  # ends with this process
    other = subprocess.Popen([sys.executable, "-c", computes])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def is_measured(rows: Sequence[Mapping[str, Any]], cell: Mapping[str, Any]) -> bool:
    """Whether one of the measurements is that of a cell."""
    return any(cell.items() <= row.items() for row in rows)


def earlier(setting: Setting, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the result file holds if it was measured under this very configuration, else nothing.

    So one machine can go on with the seeds that another, whose run folders are gone, had no time for.
    """
    path = setting.results / f"{name}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known if known.get("config") == json.loads(json.dumps(dict(config))) else {}


def with_earlier(
    rows: Sequence[dict[str, Any]], known: Sequence[dict[str, Any]], *, by: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of now over those of before, told apart by these columns, in their order."""
    merged = {tuple(row[column] for column in by): row for row in (*known, *rows)}
    return [merged[key] for key in sorted(merged)]


def write(
    setting: Setting,
    name: str,
    *,
    question: str,
    config: Mapping[str, Any],
    raw: Any,
    summary: Any,
    targets: Sequence[Mapping[str, Any]],
    complete: bool = True,
    seeds: Sequence[int] = (0,),
) -> None:
    """Write ``<name>.json``; said again on the terminal in short.

    Args:
        seeds: those that `raw` has numbers of.
        complete: whether all that was asked for is there.
    """
    import torch

    from understudy.atomic import write_bytes
    from understudy.record import hardware, versions

    result = {
        "question": question,
        "date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        "complete": complete,
        "quick": setting.quick,
        "seeds": list(seeds),
        "config": dict(config),
        "targets": list(targets),
        "summary": summary,
        "raw": raw,
        "versions": versions(),
        "hardware": hardware(threads=torch.get_num_threads(), accelerator=None),
    }
    setting.results.mkdir(parents=True, exist_ok=True)
    path = setting.results / f"{name}.json"
    write_bytes(path, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
    print(f"\n{path} ({'complete' if complete else 'partial'})")
    for row in targets:
        bounds = " ".join(f"{key.replace('_', ' ')} {row[key]:g}" for key in ("at_least", "at_most") if key in row)
        measured = "not yet" if row["measured"] is None else f"{row['measured']:.4g}"
        verdict = {True: "met", False: "NOT met", None: ""}[row["met"]]
        print(f"  {row['what']}: {measured} ({bounds}) {verdict}", flush=True)
