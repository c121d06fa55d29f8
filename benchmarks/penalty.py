"""Few labels: do ten validation rows choose the penalty of TF-IDF and of a frozen probe, or folds of the training rows?

Rows of the training files alone: some learn, 600 others are predicted. Both ways fit the same rows; a tenth of them is the
validation split, whose answers only the first way uses.
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from defaults import TEST_FILES, a_class, columns_of, training_rows
from evidence import Setting, begin, target, write

REPORTING = 600
POOL = 1600
"""Rows of a set from which those that learn are drawn."""
SETS = tuple(name for name in TEST_FILES if name != "amazon_reviews/books")
SIZES = ("8_a_class", "100")
DRAWS = 4


def answers(rows: list[dict[str, Any]]) -> tuple[Any, list[tuple[str, ...]], np.ndarray]:
    """Task, texts and labels of rows."""
    from understudy.data.tasks import Task

    sides = ("text",) if "text" in rows[0] else ("sentence1", "sentence2")
    columns, texts = tuple((side,) for side in sides), [tuple(row[side] for side in sides) for row in rows]
    if "score" in rows[0]:
        task = Task(text=columns, label="score", kind="regression")
        return task, texts, np.array([row["score"] for row in rows], np.float32)
    if "labels" in rows[0]:
        names = tuple(sorted({label for row in rows for label in row["labels"]}))
        several = [[float(name in row["labels"]) for name in names] for row in rows]
        return (
            Task(text=columns, label="labels", kind="multi_label", labels=names),
            texts,
            np.array(several, np.float32),
        )
    names = tuple(sorted({row["label"] for row in rows}))
    found = np.array([names.index(row["label"]) for row in rows])
    return Task(text=columns, label="label", kind="single_label", labels=names), texts, found


def encoder_vectors(texts: list[tuple[str, ...]]) -> np.ndarray:
    """The mean of the encoder's last states of each text."""
    from understudy.data.tokens.encode import encode
    from understudy.inference.logits import logits
    from understudy.models.files.classifiers import load_encoder
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer
    from understudy.models.structure.inputs import settle_inputs
    from understudy.runs.judging.probe import mean_features

    tokenizer, features = load_tokenizer(str(bundled_encoder())), mean_features(load_encoder(str(bundled_encoder())))
    names = settle_inputs(features, tokenizer)
    return logits(features, encode(texts, tokenizer, max_length=256), names=names, device="cpu")


def scored(way: str, fit: Callable[[], Callable[[], np.ndarray]], task: Any, labels: np.ndarray) -> float:
    """The task's score, in points, of a fit whose penalty is chosen in a way."""
    from understudy.functional.scoring import score
    from understudy.models import linear

    enough = linear._ENOUGH_TO_CHOOSE
    linear._ENOUGH_TO_CHOOSE = 1 if way == "validation" else enough
    try:
        predict = fit()
    finally:
        linear._ENOUGH_TO_CHOOSE = enough
    return 100 * float(score(task.metrics[0], predict(), labels))


def measured(setting: Setting, name: str) -> list[dict[str, Any]]:
    """Both models, both ways, of one set."""
    from understudy.models.linear import fit_linear
    from understudy.models.tfidf import Tfidf

    rows = training_rows(name)
    random.Random(77).shuffle(rows)
    rows = rows[: setting.pick(POOL + REPORTING, 300)]
    reporting = setting.pick(REPORTING, 100)
    task, texts, labels = answers([columns_of(name, row) for row in rows])
    vectors = encoder_vectors(texts)
    told, found = slice(len(rows) - reporting, len(rows)), []
    for size in SIZES:
        if task.kind == "regression" and size == "8_a_class":
            continue
        for seed in range(DRAWS):
            numbered = [{**row, "number": number} for number, row in enumerate(rows[:-reporting])]
            random.Random(seed).shuffle(numbered)
            drawn = a_class(numbered, 8) if size == "8_a_class" else numbered[:100]
            random.Random(seed).shuffle(drawn)
            own = np.array([row["number"] for row in drawn])
            cut = max(2, len(own) // 10)
            validation, train = own[:cut], own[cut:]

            def tfidf(train: np.ndarray = train, validation: np.ndarray = validation) -> Callable[[], np.ndarray]:
                choosing = ([texts[i] for i in validation], labels[validation])
                model = Tfidf.fit([texts[i] for i in train], labels[train], task, validation=choosing)
                return lambda: model.logits(texts[told])

            def probe(train: np.ndarray = train, validation: np.ndarray = validation) -> Callable[[], np.ndarray]:
                choosing = (vectors[validation], labels[validation])
                weight, bias = fit_linear(vectors[train], labels[train], task, validation=choosing)
                return lambda: vectors[told] @ weight.T + bias

            for model, fit in (("tfidf", tfidf), ("probe", probe)):
                ways = {way: scored(way, fit, task, labels[told]) for way in ("validation", "folds")}
                found.append({"set": name, "labels": size, "draw": seed, "model": model, **ways})
    return found


def main() -> None:
    """All sets."""
    setting = begin(__doc__)
    raw = [row for name in SETS[: setting.pick(len(SETS), 2)] for row in measured(setting, name)]
    gains = defaultdict(list)
    for row in raw:
        gains[row["model"], row["labels"]].append(row["folds"] - row["validation"])
    summary = {
        f"{model}, {labels}": {"gain": statistics.fmean(found), "cells": len(found)}
        for (model, labels), found in gains.items()
    }
    write(
        setting,
        "penalty",
        question=__doc__ or "",
        config={"sets": SETS, "sizes": SIZES, "draws": DRAWS, "reporting_rows": setting.pick(REPORTING, 100)},
        raw=raw,
        summary=summary,
        targets=[
            target(f"points that folds gain, {name}", found["gain"], at_least=0.0) for name, found in summary.items()
        ],
        complete=True,
    )


if __name__ == "__main__":
    main()
