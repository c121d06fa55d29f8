"""A temperature is fitted to whatever validation rows there are: how strong a prior does it need where they are few?

The default of `finetune`, the probe and TF-IDF learn from some rows of a training file; 600 of its other rows tell how good
the probabilities are under each prior, beside no temperature and beside one that is fitted to the rows alone.

    python benchmarks/temperature.py --threads 1
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
from collections import defaultdict
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from defaults import DEFAULT, PROBE, TFIDF, columns_of, pieces, recipe, training_rows
from evidence import Setting, begin, earlier, is_measured, target, with_earlier, write

TELLING, SEED = 600, 3
"""Rows that tell, and the seed of draw and training: one that no other table of the defaults has."""
WAYS = (DEFAULT, PROBE, TFIDF)
SETS = ("sst2", "cola", "airline_tweets", "liar", "zh_waimai", "mrpc", "ag_news", "goemotions", "rte")
SHORT = ("sst2", "cola", "airline_tweets", "liar")
SIZES = {"100": SETS, "8_a_class": SETS, "1000": SHORT}
USUAL, WEIGHTS = (1.0, 1.5, 2.0, 3.0), (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
NONE, ALONE = "none", "rows alone"
CONFIG = {"telling": TELLING, "seed": SEED, "sizes": SIZES, "usual": USUAL, "weights": WEIGHTS}


class Measured(NamedTuple):
    """Logits and labels of the validation rows, and of those that tell."""

    validation: np.ndarray
    validation_labels: np.ndarray
    telling: np.ndarray
    telling_labels: np.ndarray


def others(setting: Setting, name: str, size: str) -> list[dict[str, Any]]:
    """Rows of the training file that are not among those that learn."""
    rows = training_rows(name)
    random.Random(SEED).shuffle(rows)
    lines = (pieces(setting, name, size, SEED) / "train.jsonl").read_text(encoding="utf-8").splitlines()
    learnt = {json.dumps(json.loads(line), sort_keys=True) for line in lines}
    found = [columns_of(name, row) for row in reversed(rows)]
    return [row for row in found if json.dumps(row, sort_keys=True) not in learnt][: setting.pick(TELLING, 40)]


def measured(setting: Setting, name: str, size: str, way: str) -> Measured:
    """Train once, and answer."""
    import understudy
    from understudy.evaluation import cost

    path = setting.runs / "temperature" / f"{name}-{size}-{way}.npz"
    if not path.exists():
        todo = recipe(setting, (name, size, way, SEED))
        with patch.object(cost, "measure", lambda model, texts: model.summary()):  # speed is not the question
            todo.run()
        validation, model = todo.read().validation, understudy.load(todo.output)
        rows = others(setting, name, size)
        pair = "sentence1" in rows[0]
        texts = [(row["sentence1"], row["sentence2"]) if pair else (row["text"],) for row in rows]
        answers = Measured(
            np.asarray(model.logits(list(validation.texts))),
            validation.labels,
            np.asarray(model.logits(texts)),
            labels_of(rows, [str(label) for label in model.task.labels]),
        )
        shutil.rmtree(todo.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **answers._asdict())
    return Measured(**np.load(path))


def labels_of(rows: list[dict[str, Any]], classes: list[str]) -> np.ndarray:
    """Classes by number, or zeros and ones of several labels; labels that no training row has are left out."""
    if "labels" in rows[0]:
        return np.array([[float(label in row["labels"]) for label in classes] for row in rows])
    return np.array([classes.index(str(row["label"])) for row in rows])


def loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Mean negative log-likelihood of a row, by SciPy."""
    from scipy.special import log_softmax

    scaled = logits.astype(np.float64) / temperature
    if labels.ndim == 2:
        return float((np.logaddexp(0, scaled) - labels * scaled).sum(1).mean())
    return float(-log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean())


def rated(found: Measured) -> dict[str, dict[str, float]]:
    """Loss and calibration error of the rows that tell, under every prior."""
    from understudy.evaluation.quality import calibration
    from understudy.functional import temperature as fitting

    def under(usual: float, weight: float) -> float:
        with patch.multiple(fitting, USUAL=usual, WEIGHT=weight):
            return fitting.fit_temperature(found.validation, found.validation_labels)

    chosen = {NONE: 1.0, ALONE: under(1.0, 1e-6)}
    chosen |= {prior(usual, weight): under(usual, weight) for usual in USUAL for weight in WEIGHTS}
    logits, labels = found.telling, found.telling_labels
    return {
        name: {
            "temperature": value,
            "loss": loss(logits, labels, value),
            "error": calibration(logits / value, labels)["ece"],
        }
        for name, value in chosen.items()
    }


def prior(usual: float, weight: float) -> str:
    return f"{usual:g}, weight {weight:g}"


def report(setting: Setting, rows: list[dict[str, Any]]) -> None:
    """Means over the sets, by the number of labels, of the default and of all three."""
    from understudy.functional import temperature as fitting

    means: dict[str, dict[str, dict[str, float]]] = {}
    for size in SIZES:
        for of, ways in (("default", (DEFAULT,)), ("all", WAYS)):
            some = [row["rated"] for row in rows if row["size"] == size and row["way"] in ways]
            gathered: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
            for one in some:
                for name, numbers in one.items():
                    for key in ("loss", "error"):
                        gathered[name][key].append(numbers[key])
            means[f"{size}, {of}"] = {
                name: {key: statistics.fmean(values) for key, values in numbers.items()}
                for name, numbers in gathered.items()
            }
    ours = prior(fitting.USUAL, fitting.WEIGHT)

    def gain(size: str) -> float | None:
        known = means[f"{size}, default"]
        return known[ours]["error"] - known[NONE]["error"] if known else None

    write(
        setting,
        "temperature",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={"taken": ours} | means,
        targets=[
            target(f"calibration error of the default above none, {size}", gain(size), at_most=0.0) for size in SIZES
        ],
        complete=not setting.quick and len(rows) == len(WAYS) * sum(map(len, SIZES.values())),
        seeds=[SEED],
    )


def main() -> None:
    """Cell by cell; what another machine has measured is not measured again."""
    setting = begin(__doc__)
    known = list(earlier(setting, "temperature", CONFIG).get("raw", []))
    rows: list[dict[str, Any]] = []
    for size, names in SIZES.items():
        for name in names[: setting.pick(len(names), 1)]:
            for way in WAYS:
                cell = {"name": name, "size": size, "way": way}
                if not is_measured(known, cell):
                    found = measured(setting, name, size, way)
                    rows.append(cell | {"validation": len(found.validation), "rated": rated(found)})
    report(setting, with_earlier(rows, known, by=("name", "size", "way")))


if __name__ == "__main__":
    main()
