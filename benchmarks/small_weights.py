"""fp16, int8, calibrated int8 and 4-bit weights of an encoder and of a static model: bytes, points lost, time.

The encoder is fine-tuned on 10,000 rows of SST-2, the static model is distilled from it. Each is quantised to every target
with a gate that lets all through, and measured on the test rows; the contenders answer the same texts in turn, one thread.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evidence import Setting, begin, in_turn, run, target, write
from prune import folder_of, teacher

TARGETS: dict[str, dict[str, Any]] = {
    "fp16": {"to": "fp16"},
    "int8": {"to": "int8"},
    "int8, calibrated": {"to": "int8", "calibrate": "rows"},
    "int4-weight": {"to": "int4-weight"},
}
ROUNDS, TEXTS = 5, 400
CONFIG = {"targets": TARGETS, "rounds": ROUNDS, "texts": TEXTS}


def student(setting: Setting) -> str:
    """The static model's run."""
    from understudy.recipes.train.distill.recipe import Distill

    folder = folder_of(setting, "static", 0)
    run(
        Distill(
            data=setting.data("sst2"),
            teacher=[str(folder_of(setting, "teacher", 0))],
            student="static",
            limit_train=setting.pick(10_000, 200),
            baseline=False,
            references=False,
            output=str(folder),
        )
    )
    return str(folder)


def folders(setting: Setting, model: str, kind: str) -> dict[str, Path]:
    """The exported folder of a run, and one for each target that the model can become."""
    from understudy.recipes.ship.export import Export
    from understudy.recipes.ship.quantize import Quantize

    place = setting.runs / "small_weights" / kind
    found = {"fp32": place / "fp32"}
    if not found["fp32"].exists():
        Export(model=model, output=str(found["fp32"])).run()
    for name, options in TARGETS.items():
        if kind == "static" and "calibrate" in options:
            continue
        found[name] = place / name.replace(", ", "-")
        if not found[name].exists():
            Quantize(model=model, output=str(found[name]), max_drop=100.0, **options).run()
    return found


def measured(setting: Setting, model: str, kind: str) -> dict[str, Any]:
    """Bytes, accuracy on the test rows, and times, by target."""
    from understudy.functional.scoring import score
    from understudy.inference.exported.predictor import ExportedPredictor
    from understudy.recipes.ship.exportable import rows_of_run

    splits = rows_of_run(model)
    assert splits is not None
    rows = splits.test
    assert rows is not None
    texts = [rows.texts[i] for i in range(min(len(rows), setting.pick(TEXTS, 40)))]
    models = {name: ExportedPredictor(folder, threads=1) for name, folder in folders(setting, model, kind).items()}

    def timed(name: str) -> tuple[float, float]:
        one = models[name]
        alone = []
        for text in texts[:100]:
            began = time.perf_counter()
            one.logits([text])
            alone.append(time.perf_counter() - began)
        began = time.perf_counter()
        one.logits(texts)
        return 1000 * statistics.median(alone), len(texts) / (time.perf_counter() - began)

    times = in_turn({name: partial(timed, name) for name in models}, rounds=setting.pick(ROUNDS, 1))
    before = models["fp32"].logits(rows.texts)
    found = {}
    for name, one in models.items():
        logits = one.logits(rows.texts)
        found[name] = {
            "bytes": one.summary()["size_bytes"],
            "accuracy": score("accuracy", logits, rows.labels),
            "largest_difference_of_logits": float(np.abs(logits - before).max()),
            "p50_ms": [alone for alone, _ in times[name]],
            "texts_per_second": [rate for _, rate in times[name]],
        }
    return found


def main() -> None:
    """Both models, once."""
    setting = begin(__doc__)
    teacher(setting, 0)
    models = {"encoder": str(folder_of(setting, "teacher", 0)), "static": student(setting)}
    raw = {kind: measured(setting, model, kind) for kind, model in models.items()}
    summary = {
        kind: {
            name: {
                "bytes": entry["bytes"],
                "of_fp32": entry["bytes"] / found["fp32"]["bytes"],
                "points_lost": 100 * (found["fp32"]["accuracy"] - entry["accuracy"]),
                "p50_ms": min(entry["p50_ms"]),
                "texts_per_second": max(entry["texts_per_second"]),
            }
            for name, entry in found.items()
        }
        for kind, found in raw.items()
    }
    encoder = summary["encoder"]
    write(
        setting,
        "small_weights",
        question=__doc__ or "",
        config=CONFIG,
        raw=raw,
        summary=summary,
        targets=[
            target("bytes of fp16, as a share of fp32", encoder["fp16"]["of_fp32"], at_most=0.51),
            target("points lost in fp16", encoder["fp16"]["points_lost"], at_most=0.1),
            target("points lost in int8", encoder["int8"]["points_lost"], at_most=1),
        ],
    )


if __name__ == "__main__":
    main()
