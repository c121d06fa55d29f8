"""A record as a distillation leaves it, and the ``progress.csv`` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SCORES = {"teacher": 0.877, "student": 0.871, "student without teacher": 0.832, "tfidf": 0.802}


def entry(name: str, accuracy: float, *, parameters: int, embeddings: int, p50: float) -> dict[str, Any]:
    """A model's entry in a record."""
    return {
        "name": name,
        "parameters": parameters,
        "trainable_parameters": parameters,
        "embedding_parameters": embeddings,
        "size_bytes": 4 * parameters,
        "texts_per_second": 5210.4,
        "latency_ms": {"p50": p50, "p99": 2 * p50},
        "metrics": {"test": {"accuracy": accuracy, "f1_macro": accuracy - 0.003, "matthews": accuracy - 0.05}},
        "intervals": {"test": {"accuracy": [accuracy - 0.007, accuracy + 0.006]}},
        "confusion": [[90, 6, 4], [5, 80, 15], [2, 8, 90]],
        "calibration": {
            "ece": 0.0421,
            "bins": [
                {"confidence": 0.45, "accuracy": 0.52, "rows": 20},
                {"confidence": 0.7, "accuracy": 0.66, "rows": 80},
                {"confidence": 0.93, "accuracy": 0.9, "rows": 200},
            ],
        },
    }


@pytest.fixture
def record() -> dict[str, Any]:
    """A finished distillation with its four models."""
    return {
        "command": "distill",
        "config": {
            "data": "data/news",
            "teacher": ["runs/teacher"],
            "student": "bilstm",
            "bilstm": {"hidden": 96},
            "static": {"width": 64},
            "epochs": 5,
            "learning_rate": 0.001,
            "max_length": 128,
            "output": "runs/news",
        },
        "seed": 0,
        "finished": True,
        "versions": {"understudy": "0.1.0", "torch": "2.13.0"},
        "hardware": {"cpu": "A CPU @ 2 GHz", "threads": 2, "accelerator": None},
        "task": {
            "text": [["text"]],
            "label": "label",
            "kind": "single_label",
            "labels": ["World", "Sports", "Sci/Tech"],
            "metrics": ["accuracy", "f1_macro", "matthews"],
        },
        "data": {"train": {"rows": 1000, "fingerprint": "ab12" * 16}, "test": {"rows": 300, "fingerprint": "cd34" * 16}},
        "models": [
            entry("teacher", SCORES["teacher"], parameters=22_700_000, embeddings=11_900_000, p50=8.4),
            entry("student", SCORES["student"], parameters=4_200_000, embeddings=3_900_000, p50=0.84),
            entry("student without teacher", SCORES["student without teacher"], parameters=4_200_000, embeddings=3_900_000, p50=0.85),
            entry("tfidf", SCORES["tfidf"], parameters=120_000, embeddings=0, p50=0.31),
        ],
        "timings": {"label_pool_s": 241.2, "train_s": 83.1},
        "teacher_forward_texts": 25813,
        "notes": ["12 training rows also stand in the test split."],
        "training": {"student": {"steps": 1250, "epochs": 5, "best_step": 1200, "learning_rate": 0.001, "stopped_by": "epochs"}},
        "children": [],
    }  # fmt: skip


@pytest.fixture
def progress(tmp_path: Path) -> Path:
    """Two phases of training: rows of losses, rows of validation scores, and a last line cut by a kill."""
    lines = ["phase,epoch,step,seconds,loss,cross_entropy,learning_rate,rows_per_second,validation_accuracy"]
    for phase, top in (("student", 0.87), ("student without teacher", 0.83)):
        for step in range(10, 101, 10):
            lines.append(f"{phase},1,{step},{step / 10},{1 / step},{1 / step},{0.001 * (1 - step / 100)},320.5,")
            lines.append(f"{phase},1,{step},{step / 10},,,,,{top - 0.1 / step}")
    path = tmp_path / "progress.csv"
    path.write_text("\n".join([*lines, "student without tea"]), encoding="utf-8")
    return path


@pytest.fixture
def family(record: dict[str, Any]) -> dict[str, Any]:
    """Three distillations with different seeds, of which one had no TF-IDF and another one failed."""
    spread = {"student": (0.871, 0.0042), "student without teacher": (0.832, 0.0108), "teacher": (0.877, 0.0)}
    scores = {
        name: {
            metric: {"mean": mean - less, "sd": sd, "n": 3}
            for metric, less in (("accuracy", 0.0), ("f1_macro", 0.003), ("matthews", 0.05))
        }
        for name, (mean, sd) in spread.items()
    }
    scores["tfidf"] = {"accuracy": {"mean": 0.802, "sd": None, "n": 1}}
    return record | {
        "models": [],
        "training": {},
        "aggregate": scores,
        "split": "test",
        "children": [f"seed-{seed}/record.json" for seed in range(4)],
        "given": {"seeds": [0, 1, 2, 3], "output": "runs/news"},
        "notes": ["seed-3 failed: out of memory."],
    }
