"""A record as a comparison leaves it."""

from __future__ import annotations

from itertools import combinations
from typing import Any

SIZES = {"bert": 400_000_000, "layers:3": 180_000_000, "bilstm": 5_000_000, "static": 9_000_000, "tfidf": 900_000}
SCORES = {"bert": 0.930, "layers:3": 0.925, "bilstm": 0.900, "static": 0.885, "tfidf": 0.880}


def comparison(
    scores: dict[str, float] = SCORES,
    *,
    sizes: dict[str, int] = SIZES,
    error: float = 0.004,
    metric: str = "accuracy",
    **findings: Any,
) -> dict[str, Any]:
    """A finished comparison of models with these scores; a difference of more than 3 errors is significant."""
    models = [
        {
            "name": name,
            "parameters": sizes[name] // 4,
            "size_bytes": sizes[name],
            "texts_per_second": 1e9 / sizes[name],
            "latency_ms": {"p50": sizes[name] / 1e7, "p99": sizes[name] / 1e6},
            "metrics": {"test": {metric: score, "f1_macro": score - 0.01}},
            "training": {
                "seconds": sizes[name] / 1e6,
                "steps": 300.0,
                "seconds_to_best": sizes[name] / 2e6,
                "steps_to_best": 150.0,
                "train_rows_per_second": 80.0,
                "peak_memory_bytes": 10**9,
                "energy_wh": 0.5,
            },
        }
        for name, score in scores.items()
    ]
    pairs = []
    for one, other in combinations(scores, 2):
        apart = scores[one] - scores[other]
        p = 0.001 if abs(apart) > 3 * error else 0.4
        ends = [apart - 2 * error, apart + 2 * error]
        tests = {"p": p, "p_holm": min(1.0, 2 * p), "rows": 1000, "seeds": 3}
        exact = [{"only_first": 12, "only_second": 9, "p": p}]
        pairs.append({"model": one, "other": other, "difference": apart, "interval": ends, **tests, "mcnemar": exact})
    known = {name: {"mean": score, "interval": [score - 0.01, score + 0.01], "n": 3} for name, score in scores.items()}
    return {
        "command": "compare",
        "config": {"models": list(scores), "seeds": [0, 1, 2]},
        "task": {
            "kind": "single_label",
            "text": [["text"]],
            "label": "y",
            "labels": ["a", "b"],
            "metrics": [metric, "f1_macro"],
        },
        "split": "test",
        "models": models,
        "aggregate": {name: {metric: {"mean": score, "sd": 0.003, "n": 3}} for name, score in scores.items()},
        "comparisons": pairs,
        "children": [f"{name}-seed-0/record.json" for name in ("bert", "tfidf")],
        "findings": {
            "metric": metric,
            "seeds": [0, 1, 2],
            "watts": 10.0,
            "scores": known,
            "front": {
                "size": ["tfidf", "bilstm", "layers:3", "bert"],
                "latency": ["tfidf", "bilstm", "layers:3", "bert"],
            },
            "dominated": {"size": {"static": "bilstm"}, "latency": {"static": "bilstm"}},
            "knee": "layers:3",
            "distilled": {},
            "same_batches": [["bert", "layers:3"]],
            "missing": [],
            **findings,
        },
    }
