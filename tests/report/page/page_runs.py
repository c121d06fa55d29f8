"""Run folders as commands leave them, made without training: a comparison, single runs, families, their data."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from understudy.data.readers.sources import load_splits
from understudy.record import RunRecord
from understudy.runs.subject import Subject

HOSTILE = "</script><img src=x onerror=alert(1)>\"'<b>&amp;{{7*7}}"
"""What must be shown as it is, and nothing else."""
LABELS = ("Business", "Sci/Tech", "Sports", "World")


def write_rows(
    folder: Path, *, test: int = 60, hostile: bool = False, words: int = 12, kind: str = "single_label"
) -> Path:
    """A folder of train and test files whose test split holds ``test`` rows."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    labels = [HOSTILE, *LABELS[1:]] if hostile else list(LABELS)
    for name, rows in (("train", 80), ("test", test)):
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for row in range(rows):
                text = " ".join(f"word{number}" for number in random.integers(0, 500, words)) + f" {name}{row}"
                text = f"{HOSTILE} {text}" if hostile and row % 7 == 0 else text
                label: Any = labels[row % 4]
                if kind == "multi_label":
                    label = [labels[place] for place in range(4) if (row >> place) & 1 or place == row % 4]
                elif kind == "regression":
                    label = round(float(random.uniform(0, 5)), 2)
                file.write(json.dumps({"text": text, "score" if kind == "regression" else "label": label}) + "\n")
    return folder


def entry(name: str, score: float, metrics: list[str], size: int) -> dict[str, Any]:
    """A model's entry on a record."""
    return {
        "name": name,
        "parameters": size // 4,
        "size_bytes": size,
        "texts_per_second": 1e9 / size,
        "latency_ms": {"p50": size / 1e7, "p99": size / 1e6},
        "metrics": {"test": {metric: score - 0.01 * place for place, metric in enumerate(metrics)}},
        "intervals": {"test": {metrics[0]: [score - 0.03, score + 0.03]}},
    }


def progress(path: Path, *, top: float, phase: str = "train", metric: str = "accuracy") -> None:
    """A ``progress.csv``: a loss at every step, and an evaluation at every fifth."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["phase", "epoch", "step", "seconds", "loss", "rows_per_second", f"validation_{metric}"])
        for step in range(1, 31):
            lines.writerow([phase, 1, step, 2.0 * step, 2 / step, 120.5, ""])
            if step % 5 == 0:
                lines.writerow([phase, 1, step, 2.0 * step + 1.5, "", "", top - 0.3 / step])


def save(folder: Path, **values: Any) -> Path:
    """A run folder with this record."""
    folder.mkdir(parents=True, exist_ok=True)
    RunRecord(**{"seed": 0, "finished": True, "created": "2026-11-28T12:00:00", **values}).save(folder / "record.json")
    return folder


def described(data: Path) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    """The task and the data of rows as a record has them, and the labels of the test split."""
    splits = load_splits(str(data))
    subject = Subject.of_rows(splits)
    assert splits.test is not None
    return dict(subject.task), subject.data(), splits.test.labels


def write_comparison(
    folder: Path, data: Path, *, models: int = 4, seeds: tuple[int, ...] = (0,), names: list[str] | None = None
) -> Path:
    """A finished comparison of so many models on these rows, with the answers of every run."""
    random = np.random.default_rng(1)
    task, parts, labels = described(data)
    names = (
        names
        or ["encoder", "layers:3", "static", "tfidf", *(f"model {number}" for number in range(4, models))][:models]
    )
    metric = task["metrics"][0]
    scores = {name: 0.92 - 0.03 * place for place, name in enumerate(names)}
    sizes = {name: 10**8 // 3**place for place, name in enumerate(names)}
    config = {"data": str(data), "models": names, "seeds": list(seeds), "limit_train": [], "epochs": 2}
    shared = {"task": task, "data": parts, "config": config, "command": "compare"}
    runs: dict[str, list[str]] = {}
    for name in names:
        for seed in seeds:
            child = f"model-{names.index(name)}-seed-{seed}"
            runs.setdefault(name, []).append(child)
            model = entry(name, scores[name], task["metrics"], sizes[name])
            training = {
                "train": {"steps": 30, "seconds": 61.5, "pace": {"seconds_to_best": 40.0, "steps_to_best": 20.0}}
            }
            save(folder / child, **shared | {"models": [model], "training": training, "seed": seed})
            progress(folder / child / "progress.csv", top=scores[name], metric=metric)
            answers = given_answers(task, labels, random, noise=1.2 + 0.5 * names.index(name))
            np.savez_compressed(folder / child / "answers.npz", answers=answers, labels=labels)
    pairs = [
        {
            "model": one,
            "other": other,
            "split": "test",
            "metric": metric,
            "level": 0.95,
            "difference": scores[one] - scores[other],
            "interval": [-0.01, 0.2],
            "rows": len(labels),
            "seeds": len(seeds),
            "p": 0.01,
            "p_holm": 0.03,
            "mcnemar": [{"only_first": 12, "only_second": 4, "p": 0.02}],
        }
        for one, other in combinations(names, 2)
    ]
    training = {"seconds": 61.5, "steps": 30.0, "seconds_to_best": 40.0, "steps_to_best": 20.0, "energy_wh": 0.2}
    findings = {
        "metric": metric,
        "watts": 10.0,
        "seeds": list(seeds),
        "runs": runs,
        "missing": [],
        "distilled": {},
        "same_batches": [names[:2]],
        "scores": {
            name: {"mean": score, "interval": [score - 0.03, score + 0.03], "n": len(seeds)}
            for name, score in scores.items()
        },
        "front": {"size": names[::-1], "latency": names[::-1]},
        "dominated": {"size": {}, "latency": {}},
        "knee": names[1],
    }
    return save(
        folder,
        **shared
        | {
            "models": [
                entry(name, scores[name], task["metrics"], sizes[name]) | {"training": training} for name in names
            ],
            "comparisons": pairs,
            "children": [f"{child}/record.json" for of_model in runs.values() for child in of_model],
            "split": "test",
            "aggregate": {
                name: {metric: {"mean": score, "sd": 0.01, "n": len(seeds)}} for name, score in scores.items()
            },
            "findings": findings,
        },
    )


def given_answers(task: dict[str, Any], labels: np.ndarray, random: np.random.Generator, *, noise: float) -> np.ndarray:
    """Outputs that are mostly right, except for every ninth row, whose label is wrong."""
    labels = labels.copy()
    if task["kind"] == "single_label":
        labels[4::9] = (labels[4::9] + 1) % len(task["labels"])
    else:
        labels[4::9] = (1 if task["kind"] == "multi_label" else 5) - labels[4::9]
    if task["kind"] == "regression":
        return (labels + 0.3 * noise * random.normal(size=labels.shape)).astype(np.float32)[:, None]
    shape = (len(labels), len(task["labels"]))
    truth = np.eye(shape[1])[labels] if task["kind"] == "single_label" else labels
    return (4.0 * truth - 2.0 + noise * random.normal(size=shape)).astype(np.float32)


def write_distillation(folder: Path, data: Path, *, hostile: bool = False) -> Path:
    """A finished distillation, which keeps the mistakes of its student and no answers."""
    task, parts, _ = described(data)
    names = ["teacher", "student", "student without teacher", "tfidf"]
    scores = dict(zip(names, (0.91, 0.89, 0.84, 0.80), strict=True))
    models = [
        entry(name, score, task["metrics"], 10**8 // 4**place) for place, (name, score) in enumerate(scores.items())
    ]
    models[1]["confusion"] = [[10, 2, 1, 2], [1, 12, 1, 1], [0, 0, 15, 0], [3, 1, 1, 10]]
    pairs = [
        {
            "model": one,
            "other": other,
            "split": "test",
            "metric": "accuracy",
            "level": 0.99,
            "rows": 60,
            "difference": scores[one] - scores[other],
            "interval": [scores[one] - scores[other] - 0.01, scores[one] - scores[other] + 0.01],
        }
        for one, other in combinations(names, 2)
    ]
    text = HOSTILE if hostile else "a text that is taken for another"
    mistakes = [
        {
            "row": row,
            "texts": [f"{text} {row}"],
            "label": task["labels"][0],
            "answer": task["labels"][2],
            "confidence": 0.9,
        }
        for row in (3, 17)
    ]
    save(
        folder,
        command="distill",
        config={
            "data": str(data),
            "teacher": ["runs/teacher"],
            "student": "bilstm",
            "unlabeled": None,
            "pool_rest": False,
            "epochs": 5,
        },
        given={"epochs": 5},
        task=task,
        data=parts,
        models=models,
        comparisons=pairs,
        mistakes=mistakes,
        notes=["12 training rows also stand in the test split."],
        training={"student": {"steps": 30, "epochs": 5, "seconds": 61.0}},
        timings={"train_s": 61.0},
    )
    progress(folder / "progress.csv", top=0.9, phase="student")
    return folder


def write_search(folder: Path, data: Path) -> Path:
    """A finished search over two students on two rungs: the one that is better in the end was worse at first."""
    task, parts, _ = described(data)
    shared = {"command": "search", "task": task}
    scores = {("static:8", 1): 0.7, ("bilstm:8", 1): 0.6, ("bilstm:8", 2): 0.9}
    for (name, rung), score in scores.items():
        child = folder / f"rung-{rung}-{name.replace(':', '-')}"
        config = {"students": [name], "rung": rung, "data": str(data)}
        some = parts | {"train": {"rows": 40, "fingerprint": "ef" * 32}} if rung == 1 else parts
        save(child, **shared, config=config, data=some, models=[entry("student", score, task["metrics"], 10**5)])
        progress(child / "progress.csv", top=score, phase="student")
    names = {"static:8": 1, "bilstm:8": 2}
    costs = {"format": "pytorch", "latency_ms": 0.1, "size_bytes": 10**5, "seconds": 61.0}
    trials = [
        {"name": name, "rung": rung, "score": scores[name, rung], "share": 1.0, "state": "trained", **costs}
        for name, rung in names.items()
    ]
    trials[1]["state"] = "chosen"
    return save(
        folder,
        **shared,
        config={"students": list(names), "data": str(data)},
        data=parts,
        models=[entry(name, 0.9, task["metrics"], 10**5) for name in ("student", "teacher")],
        children=[f"rung-{rung}-{name.replace(':', '-')}/record.json" for name, rung in scores],
        findings={
            "metric": "accuracy",
            "budget": {"size_bytes": 1e6},
            "trials": trials,
            "front": {},
            "chosen": {"name": "bilstm:8", "format": "pytorch"},
        },
    )


def write_language_model(folder: Path) -> Path:
    """A finished pretraining, whose data are not there any more."""
    model = {
        "name": "model",
        "parameters": 10**6,
        "size_bytes": 4 * 10**6,
        "metrics": {"validation": {"loss": 3.2, "perplexity": 24.5}},
    }
    save(
        folder,
        command="pretrain",
        config={"data": "gone.txt", "model": "awd_lstm"},
        task={"kind": "language_model", "metrics": ["perplexity", "loss"]},
        data={"train": {"rows": 900, "fingerprint": "ab" * 32}, "validation": {"rows": 100, "fingerprint": "cd" * 32}},
        models=[model],
        training={"train": {"steps": 30, "seconds": 61.0}},
    )
    progress(folder / "progress.csv", top=30.0, metric="perplexity")
    return folder
