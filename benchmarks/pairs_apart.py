"""Pairs of texts: should a sentence encoder read them joined or apart, before and after fine-tuning, and who can tell?

STS-B, MRPC and RTE; 8 labels a class, 100 and 1,000 labels; 500 test rows. A cell is one set, one number of labels, one
way to train and one seed. It is trained once and kept in the result file, so that the script can be stopped and started
again. The default takes one of the two ways; which one, it finds on the training rows alone. The other is trained beside it.
First, probes alone on rows that are kept from the training files, of SICK too: the vectors are computed once.

    python benchmarks/pairs_apart.py --threads 1
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from defaults import a_class, columns_of, pieces, selecting
from defaults import rows_of as rows_of_file
from evidence import DATA, ROOT, Setting, begin, target, write

SETS = ("stsb", "mrpc", "rte")
SIZES = ("8_a_class", "100", "1000")
TEST_ROWS = 500
PROBED = (("stsb", "score"), ("mrpc", "label"), ("rte", "label"), ("sick", "label"), ("sick", "score"))
KEPT, POOL, DRAWS = 600, 2000, {"8_a_class": 3, "100": 3, "1000": 1}
"""Rows of a training file on which probes are tried, all that are drawn from it, and how often."""
TFIDF, DEFAULT = "tfidf", "default"
JOINED, APART = "fine-tuned, joined", "fine-tuned, apart"
WAYS: dict[str, dict[str, Any]] = {
    TFIDF: {"model": "tfidf"},
    "frozen, joined": {"features": "frozen", "pooling": "mean"},
    "frozen, apart": {"features": "frozen", "pooling": "apart"},
    DEFAULT: {},
    JOINED: {"pooling": "mean"},
    APART: {"pooling": "apart"},
}
"""Each with its settings. What the default takes is not trained again."""

Cell = tuple[str, str, str, int]


def rows_of(setting: Setting, name: str, labels: str, seed: int) -> Path:
    """The rows of the benchmark of the defaults, with fewer test rows."""
    source = pieces(setting, name, labels, seed)
    folder = setting.runs / "pairs_apart" / source.name
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "test"):
        lines = (source / f"{part}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"{part}.jsonl").write_text("".join(lines[:TEST_ROWS] if part == "test" else lines), encoding="utf-8")
    return folder


def probes(setting: Setting, name: str, column: str) -> list[dict[str, Any]]:
    """Points and cross-validated losses of a probe of joined pairs and of one of pairs read apart, by number of labels."""
    import torch

    from penalty import answers, encoder_vectors
    from understudy.functional.scoring import score
    from understudy.models.probe.choice import cross_validated
    from understudy.models.probe.pairs import cross_validated_pairs
    from understudy.models.students.apart import compared

    rows = rows_of_file(ROOT / DATA / name / "train.csv")
    random.Random(77).shuffle(rows)
    rows = [columns_of(name, row) for row in rows[: setting.pick(POOL, 300)]]
    rows = [{key: row[key] for key in ("sentence1", "sentence2", column)} for row in rows]
    task, texts, labels = answers(rows)
    joined = encoder_vectors(texts)
    u, v = (torch.from_numpy(encoder_vectors([(pair[side],) for pair in texts])) for side in (0, 1))
    ways = {"joined": (joined, cross_validated), "apart": (compared(u, v).numpy(), cross_validated_pairs)}
    last = len(rows) - setting.pick(KEPT, 100)
    found = []
    for size in SIZES[column == "score" :]:
        reached: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for draw in range(DRAWS[size]):
            numbers = list(range(last))
            random.Random(draw).shuffle(numbers)
            if size == "8_a_class":
                drawn = a_class([{**rows[number], "number": number} for number in numbers], 8)
                numbers = [row["number"] for row in drawn]
            inside = np.array(numbers if size == "8_a_class" else numbers[: int(size)])
            for way, (vectors, fit) in ways.items():
                probe = fit(vectors[inside], labels[inside], task, seed=draw)
                told = vectors[last:] @ probe.weight.T + probe.bias
                points = 100 * float(score(task.metrics[0], told, labels[last:]))
                reached[way].append((points, float(probe.losses.mean())))
        means = {
            way: dict(zip(("points", "loss"), map(float, np.mean(pairs, axis=0)))) for way, pairs in reached.items()
        }
        found.append({"set": name, "labels_are": column, "labels": size, "draws": DRAWS[size], **means})
    return found


def cells(setting: Setting) -> Iterator[Cell]:
    """All cells, seed 0 of all before the others."""
    for seed in setting.seeds:
        for labels in SIZES:
            for name in SETS:
                if (name, labels) != ("stsb", "8_a_class"):
                    yield from ((name, labels, way, seed) for way in WAYS)


def measured(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Train a cell; its scores and its time. The run folder goes."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    name, labels, way, seed = cell
    given: dict[str, Any] = {"model": str(bundled_encoder()), "baseline": False, **WAYS[way]}
    output = setting.runs / "pairs_apart" / "now"
    todo = Finetune(
        data=str(rows_of(setting, name, labels, seed)), seed=seed, output=str(output), overwrite=True, **given
    )
    began = time.process_time()
    record = todo.run()
    shutil.rmtree(output, ignore_errors=True)
    trained = next(iter(record.training.values()), {})
    return {
        "cell": list(cell),
        "metrics": record.models[0]["metrics"]["test"],
        "cpu_s": time.process_time() - began,
        "steps": trained.get("steps"),
        "start": trained.get("start"),
    }


def taken(row: dict[str, Any]) -> str:
    """The way that the default took."""
    return APART if (row["start"] or {}).get("pooling") == "apart" else JOINED


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each set, number of labels and seed: the points of every way, and of what the default takes."""
    by_cell = {tuple(row["cell"]): row for row in rows}
    found = []
    for name, labels, way, seed in by_cell:
        known = {other: by_cell.get((name, labels, other, seed)) for other in WAYS}
        if way != DEFAULT:
            continue
        known[taken(by_cell[name, labels, way, seed])] = known[DEFAULT]
        points = {other: selecting(row) for other, row in known.items() if row is not None}
        if len(points) == len(WAYS):
            took = taken(by_cell[name, labels, way, seed])
            found.append({"set": name, "labels": labels, "seed": seed, **points, "took": took})
    return found


def report(setting: Setting, rows: list[dict[str, Any]], probed: list[dict[str, Any]], *, complete: bool) -> None:
    """Write what is there by now."""
    summary = compared(rows)

    def mean(values: list[float]) -> float | None:
        return statistics.fmean(values) if values else None

    gains = [row[DEFAULT] - row[JOINED] for row in summary]
    missed = [row[DEFAULT] - max(row[JOINED], row[APART]) for row in summary]
    leads = [row[DEFAULT] - row[TFIDF] for row in summary]
    write(
        setting,
        "pairs_apart",
        question=__doc__ or "",
        config={"ways": WAYS, "test_rows": setting.pick(TEST_ROWS, 60)},
        raw=rows,
        summary={"cells": summary, "probes": probed},
        targets=[
            target("points of the default over joined pairs, mean", mean(gains), at_least=0.0),
            target("points of the default below the better of both ways, mean", mean(missed), at_least=-1.0),
            target("points of the default over TF-IDF, mean", mean(leads), at_least=0.0),
        ],
        complete=complete,
        seeds=setting.seeds,
    )


def main() -> None:
    """Train the cells that the result file does not have yet, and write after each."""
    setting = begin(__doc__)
    path = setting.results / "pairs_apart.json"
    there: Any = {"raw": [], "summary": {"probes": []}}
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
    rows, probed = there["raw"], there["summary"]["probes"]
    for name, column in PROBED[: setting.pick(len(PROBED), 1)] if not probed else ():
        probed += probes(setting, name, column)
    known = {tuple(row["cell"]): row for row in rows}
    todo = [cell for cell in cells(setting) if cell not in known]
    todo = [cell for cell in todo if not setting.quick or cell[:2] == ("stsb", "100")]
    for number, cell in enumerate(todo):
        name, labels, way, seed = cell
        if way in (JOINED, APART) and taken(known[name, labels, DEFAULT, seed]) == way:
            continue
        print(f"\n== {cell}, {number + 1} of {len(todo)}", flush=True)
        known[cell] = measured(setting, cell)
        rows.append(known[cell])
        report(setting, rows, probed, complete=False)
    report(setting, rows, probed, complete=True)


if __name__ == "__main__":
    main()
