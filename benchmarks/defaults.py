"""Is what a newcomer gets without changing a flag as good as the best of a grid, and never worse than the baselines?

Eleven data sets of many kinds; 8 labels a class, 100, 1,000 and (of two sets) 10,000 labels; at most 1,000 test rows.
A cell is one set, one number of labels, one way to train and one seed. It is trained once and kept in the result file,
so that the script can be stopped and started again.

    python benchmarks/defaults.py --threads 1
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from evidence import DATA, ROOT, Setting, begin, spread, target, write

TEST_ROWS = 1000
TEST_FILES = {
    "sst2": "test.csv",
    "cola": "dev.csv",
    "stsb": "test.csv",
    "airline_tweets": "test.csv",
    "liar": "test.csv",
    "rte": "dev.csv",
    "mrpc": "test.csv",
    "zh_waimai": "test.csv",
    "ag_news": "test.csv.gz",
    "goemotions": "test.jsonl",
    "amazon_reviews/books": "test.csv",
}
"""The sets, those of short texts first, and the file of each that is tested on."""
GRID_SETS = ("sst2", "cola", "stsb", "airline_tweets", "ag_news")
GRID = [
    (pooling, rate, steps) for steps in ("few", "many") for rate in (3e-5, 1e-4, 3e-4) for pooling in ("head", "mean")
]
BATCH = 16
STEPS = {"100": {"few": 60, "many": 180}, "1000": {"few": 170, "many": 510}}
LARGE = ("sst2", "ag_news")
"""With 10,000 labels too."""
FOREIGN = "zh_waimai"
"""The encoder has read no text in this language."""
TFIDF, PROBE, BEFORE, DEFAULT = "tfidf", "probe", "before", "default"
"""Ways beside those of the grid; `before` is three epochs of batches of 32 at 5e-5 from a random head."""
SIZES = ("8_a_class", "100", "1000", "10000")
SEEDED = SIZES[:2]
"""Numbers of labels for which the spread matters: these are trained with every seed."""

Cell = tuple[str, str, str, int]


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV or JSONL file, compressed or not."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        if path.name.removesuffix(".gz").endswith(".jsonl"):
            return [json.loads(line) for line in file]
        return list(csv.DictReader(file))


def training_rows(name: str) -> list[dict[str, Any]]:
    """All rows of a set's training file."""
    return rows_of(next(path for path in sorted((ROOT / DATA / name).iterdir()) if path.name.startswith("train")))


def pieces(setting: Setting, name: str, labels: str, seed: int) -> Path:
    """A folder with some training rows, drawn by the seed, and at most 1,000 test rows."""
    folder = setting.runs / "defaults" / "data" / f"{name.replace('/', '-')}-{labels}-{seed}"
    if (folder / "test.jsonl").exists():
        return folder
    train = training_rows(name)
    test = rows_of(ROOT / DATA / name / TEST_FILES[name])
    order = random.Random(seed)
    order.shuffle(train)
    random.Random(0).shuffle(test)
    train = a_class(train, int(labels.split("_")[0])) if labels.endswith("a_class") else train[: int(labels)]
    order.shuffle(train)
    write_pieces(folder, name, train, test[: setting.pick(TEST_ROWS, 60)])
    return folder


def write_pieces(folder: Path, name: str, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines. Of several labels, those that no training row has are left out of the test rows."""
    seen = {label for row in train for label in row.get("labels", ())}
    test = [row | {"labels": [one for one in row["labels"] if one in seen]} if "labels" in row else row for row in test]
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in (("train", train), ("test", test)):
        lines = [json.dumps(columns_of(name, row), ensure_ascii=False) + "\n" for row in rows]
        (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")


def a_class(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The first rows of each class; of a row with several labels, the first that still needs one counts."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        for label in row["labels"] if "labels" in row else [row["label"]]:
            if len(found[label]) < most:
                found[label].append(row)
                break
    return [row for some in found.values() for row in some]


def columns_of(name: str, row: dict[str, Any]) -> dict[str, Any]:
    if name == "ag_news":
        return {"text": f"{row['title']} {row['description']}".strip(), "label": row["label"]}
    kept = ("text", "sentence1", "sentence2", "label", "labels", "score")
    return {key: float(row[key]) if key == "score" else row[key] for key in kept if row.get(key) is not None}


def recipe(setting: Setting, cell: Cell) -> Any:
    """The fine-tuning of a cell."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    name, labels, way, seed = cell
    chosen: dict[str, Any] = {"model": str(bundled_encoder())}
    if way == TFIDF:
        chosen = {"model": "tfidf"}
    elif way == PROBE:
        chosen["features"] = "frozen"
    elif way == BEFORE:
        chosen |= {"start": "head", "pooling": "head", "epochs": 3, "batch_size": 32, "learning_rate": 5e-5}
    elif way != DEFAULT:
        pooling, rate, steps = json.loads(way)
        epochs = max(1, round(STEPS[labels][steps] * BATCH / (0.9 * int(labels))))
        chosen |= {"start": "head", "pooling": pooling, "learning_rate": rate, "epochs": epochs, "batch_size": BATCH}
    return Finetune(
        data=str(pieces(setting, name, labels, seed)),
        seed=seed,
        baseline=False,
        output=str(setting.runs / "defaults" / "now"),
        overwrite=True,
        **chosen,
    )


def cells(setting: Setting) -> Iterator[Cell]:
    """All cells: the default and what it must beat first, seed 0 of all before the others; then the grid."""
    for seed in setting.seeds:
        for labels in SIZES:
            for name in TEST_FILES:
                if (labels == "10000" and name not in LARGE) or (name, labels) == ("stsb", "8_a_class"):
                    continue
                if seed == setting.seeds[0] or labels in SEEDED or (name in LARGE and labels == "1000"):
                    yield from ((name, labels, way, seed) for way in (DEFAULT, TFIDF, PROBE))
                if seed == setting.seeds[0] and labels == "1000":
                    yield name, labels, BEFORE, seed
        if seed == setting.seeds[0]:
            for name in GRID_SETS:
                yield from ((name, labels, json.dumps(way), seed) for labels in ("100", "1000") for way in GRID)


def measured(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Train a cell; its scores, times and calibration. The run folder goes."""
    from understudy.evaluation import cost

    todo = recipe(setting, cell)
    briefly = partial(cost.measure, latency_texts=4, throughput_texts=16, warmup=1)  # speed is not the question
    began = time.process_time()
    with patch.object(cost, "measure", briefly):
        record = todo.run()
    took = time.process_time() - began
    shutil.rmtree(todo.output, ignore_errors=True)
    entry = record.models[0]
    return {
        "cell": list(cell),
        "metrics": entry["metrics"]["test"],
        "calibration_error": (entry.get("calibration") or {}).get("ece"),
        "train_s": record.timings.get("train_s"),
        "cpu_s": took,
        "steps": record.training.get("train", {}).get("steps"),
    }


def least_error(accuracy: float, rows: int, *, fitted_on: int = 0) -> float:
    """The calibration error that is measured on so many rows of a classifier with this accuracy whose probabilities are right.

    Two classes, margins that are normally distributed; the mean of 200 draws.

    Args:
        fitted_on: further rows on which the temperature is fitted; 0: it is known, and 1.
    """
    from understudy.evaluation.quality import calibration
    from understudy.functional.temperature import fit_temperature

    drawn = np.random.default_rng(0)
    margins = drawn.normal(size=(200, rows))
    low, high = 0.0, 50.0
    for _ in range(40):  # the spread of the margins at which so many answers are right
        middle = (low + high) / 2
        right = (1 / (1 + np.exp(-middle * np.abs(margins)))).mean()
        low, high = (middle, high) if right < accuracy else (low, middle)
    found = []
    for margin in low * np.concatenate([margins, drawn.normal(size=(200, fitted_on))], axis=1):
        labels = (drawn.random(len(margin)) < 1 / (1 + np.exp(-margin))).astype(int)
        logits = np.stack([np.zeros(len(margin)), margin], axis=1)
        fitted = fit_temperature(logits[rows:], labels[rows:]) if fitted_on else 1.0
        found.append(calibration(logits[:rows] / fitted, labels[:rows])["ece"])
    return float(np.mean(found))


def selecting(row: dict[str, Any]) -> float:
    """The score that selects models, in points."""
    return 100 * float(next(iter(row["metrics"].values())))


def compared(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Of each set and number of labels: the default beside the better baseline, beside the grid, beside the old default."""
    by_cell = {tuple(row["cell"]): row for row in rows}
    against: dict[str, list[dict[str, Any]]] = {"baselines": [], "grid": [], "before": []}
    for (name, labels, way, seed), row in by_cell.items():
        if way != DEFAULT:
            continue
        known = {other: by_cell.get((name, labels, other, seed)) for other in (TFIDF, PROBE, BEFORE)}
        entry = {"set": name, "labels": labels, "seed": seed, "default": selecting(row)}
        if known[TFIDF] and known[PROBE]:
            probe = selecting(known[PROBE])
            best = max(selecting(known[TFIDF]), probe)
            leads = {"lead": entry["default"] - best, "above the probe": entry["default"] - probe}
            against["baselines"].append({**entry, "best": best, **leads})
        grid = {
            way: by_cell[name, labels, json.dumps(way), seed]
            for way in GRID
            if (name, labels, json.dumps(way), seed) in by_cell
        }
        if len(grid) == len(GRID):
            way, best_row = max(grid.items(), key=lambda item: selecting(item[1]))
            best = selecting(best_row)
            against["grid"].append({**entry, "best": best, "best_way": list(way), "lead": entry["default"] - best})
        if known[BEFORE]:
            lead = entry["default"] - selecting(known[BEFORE])
            against["before"].append({**entry, "lead": lead, "times": row["cpu_s"] / known[BEFORE]["cpu_s"]})
    return against


def over_seeds(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The leads of every set and number of labels, over the seeds that there are."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in entries:
        found[entry["set"], entry["labels"]].append(entry["lead"])
    return [{"set": name, "labels": labels, "lead": spread(values)} for (name, labels), values in found.items()]


def report(setting: Setting, rows: list[dict[str, Any]], *, complete: bool) -> None:
    """Write what is there by now."""
    against = compared(rows)
    leads = {part: over_seeds(entries) for part, entries in against.items()}
    baselines, grid = (
        {cell["set"] + ", " + cell["labels"]: cell["lead"]["mean"] for cell in leads[part]}
        for part in ("baselines", "grid")
    )
    known = {cell: lead for cell, lead in baselines.items() if not cell.startswith(FOREIGN)}

    def mean(values: dict[str, float]) -> float | None:
        return statistics.fmean(values.values()) if values else None

    slower = [entry["times"] for entry in against["before"] if entry["lead"] <= 0]
    errors = {}
    for name in LARGE:
        drawn = [row for row in rows if row["cell"][:3] == [name, "1000", DEFAULT]]
        if drawn:
            accuracy = statistics.fmean(map(selecting, drawn)) / 100
            errors[name] = {
                "measured": spread([row["calibration_error"] for row in drawn]),
                "if probabilities were right": least_error(accuracy, TEST_ROWS),
                "if they were, but for a temperature fitted on 100 rows": least_error(
                    accuracy, TEST_ROWS, fitted_on=100
                ),
            }
    write(
        setting,
        "defaults",
        question=__doc__ or "",
        config={"grid": GRID, "batch": BATCH, "steps": STEPS, "test_rows": setting.pick(TEST_ROWS, 60)},
        raw=rows,
        summary={
            **against,
            "over seeds": leads,
            "without the set whose language the encoder does not know": {
                "mean": mean(known),
                "worst": min(known.items(), key=lambda item: item[1], default=None),
            },
            "above the probe": {
                labels: spread(
                    [entry["above the probe"] for entry in against["baselines"] if entry["labels"] == labels]
                )
                for labels in SIZES
            },
            "calibration_error": errors,
        },
        targets=[
            target("points over the better of TF-IDF and probe, mean", mean(baselines), at_least=2.0),
            target("the same, worst cell", min(baselines.values(), default=None), at_least=-1.0),
            target("points over the best of the grid, mean", mean(grid), at_least=-1.0),
            target("the same, worst cell", min(grid.values(), default=None), at_least=-3.0),
            target("times three epochs, where not better", max(slower, default=None), at_most=1.5),
            target(
                "largest calibration error of the default",
                max((error["measured"]["mean"] for error in errors.values()), default=None),
                at_most=0.03,
            ),
        ],
        complete=complete,
        seeds=setting.seeds,
    )


def main() -> None:
    """Train the cells that the result file does not have yet, and write after each."""
    setting = begin(__doc__)
    path = setting.results / "defaults.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["raw"] if path.exists() else []
    known = {tuple(row["cell"]) for row in rows}
    todo = [cell for cell in cells(setting) if cell not in known]
    todo = [cell for cell in todo if not setting.quick or cell[:2] in (("sst2", "100"), ("cola", "8_a_class"))]
    for number, cell in enumerate(todo):
        print(f"\n== {cell}, {number + 1} of {len(todo)}", flush=True)
        rows.append(measured(setting, cell))
        report(setting, rows, complete=number + 1 == len(todo))
    if not todo:
        report(setting, rows, complete=True)


if __name__ == "__main__":
    main()
