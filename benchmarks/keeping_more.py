"""What lets a student of half the depth keep more of its teacher than distilbert.py's does? Several ways, one by one.

The student as it is cut, not distilled at all, is the floor: what is above it was learnt from the million tokens. Ways
are compared on validation rows, at one seed; the best of them is then fine-tuned at the others, and read on the test rows.
One way gets two million tokens besides, to see what tokens are worth; it does not compete with those that have one.
"""

from __future__ import annotations

import statistics
from typing import Any

import distilbert
from distilbert import (
    LENGTH,
    STUDENT,
    TASKS,
    TEACHER,
    distill,
    finetune,
    finetuned,
    folder_of,
    last_scores,
    of_task,
    points_of,
)
from evidence import Setting, begin, earlier, finished, run, target, with_earlier, write

DISTILLED: dict[str, dict[str, Any]] = {
    "relations alone": {"ce_weight": 0.0, "mlm_weight": 0.0, "cosine_weight": 0.0, "relation_weight": 1.0},
    "last states alone": {"ce_weight": 0.0, "mlm_weight": 0.0},
    "a fifth of the rate": {"learning_rate": "1e-4"},
    "states and attention": {"hidden_weight": 10.0, "attention_weight": 0.1},
}
"""With these settings of distill-lm. The last one's weights bring each term to about the size of the cosine's."""
AS_CUT, TAUGHT, PLAIN = "as cut", "taught on the task", "all three"
WAYS = (AS_CUT, PLAIN, TAUGHT, *DISTILLED)
"""What is distilled by all three losses is distilbert.py's own student; on the task it is taught by the teacher."""
LONGER: dict[str, dict[str, Any]] = {
    "relations alone on two million tokens": {**DISTILLED["relations alone"], "tokens": 2_000_000}
}
"""What is distilled on more tokens than the others, and competes with none."""
CONFIG = {
    **{name: value for name, value in distilbert.CONFIG.items() if name not in ("arms", "ablation_tasks")},
    "ways": list(WAYS),
    "distilled": DISTILLED,
    "longer": LONGER,
}


def as_cut(setting: Setting) -> None:
    """The teacher without half its layers, as a model folder."""
    from understudy.models.files.save import save_model
    from understudy.models.masked import load_masked_model
    from understudy.recipes.train.students.cut import cut_student
    from understudy.settings.student_options import LayersOptions

    folder = folder_of(setting, AS_CUT)
    if not folder.exists():
        teacher = load_masked_model(TEACHER)
        student = cut_student(teacher.model, STUDENT, LayersOptions())
        save_model(folder, student, teacher.tokenizer, task=None, max_length=LENGTH)


def make(setting: Setting, way: str) -> None:
    """The student that is fine-tuned."""
    if way == AS_CUT:
        as_cut(setting)
    elif options := (DISTILLED | LONGER).get(way):
        distill(setting, way, **options)
    else:
        distill(setting, PLAIN)


def learn(setting: Setting, way: str, task: str, seed: int) -> None:
    """Train a student on a task."""
    if way == TAUGHT:
        finetune(setting, "teacher", task, seed)
        be_taught(setting, task, seed)
    else:
        finetune(setting, way, task, seed)


def be_taught(setting: Setting, task: str, seed: int) -> None:
    """Train the student on the fine-tuned teacher's answers, where :func:`finetune` takes the labels."""
    from understudy.recipes.train.distill.recipe import Distill

    run(
        Distill(
            teacher=[str(finetuned(setting, "teacher", task, seed))],
            student=str(folder_of(setting, PLAIN)),
            **of_task(setting, TAUGHT, task, seed),
        )
    )


def known(setting: Setting) -> list[dict[str, Any]]:
    """The rows of the result file."""
    rows: list[dict[str, Any]] = earlier(setting, "keeping_more", CONFIG).get("raw", [])
    return rows


def scores(setting: Setting) -> list[dict[str, Any]]:
    """A row for every model that is fine-tuned by now, the teacher's among them."""
    rows = []
    for way, task, seed in (
        (way, task, seed) for way in ("teacher", *WAYS, *LONGER) for task in TASKS for seed in (0, 1, 2)
    ):
        record = finished(finetuned(setting, way, task, seed))
        if record is not None:
            model, phase = ("student", "student") if way == TAUGHT else ("model", "train")
            validation = points_of(record.training[phase]["metrics"], task)
            test = points_of(last_scores(record, model), task)
            rows.append({"way": way, "task": task, "seed": seed, "validation": validation, "test": test})
    return with_earlier(rows, known(setting), by=("way", "task", "seed"))


def mean(rows: list[dict[str, Any]], way: str, seed: int, split: str) -> float | None:
    """Over the tasks; None while one is missing."""
    found = [row[split] for row in rows if (row["way"], row["seed"]) == (way, seed)]
    return statistics.fmean(found) if len(found) == len(TASKS) else None


def best(rows: list[dict[str, Any]]) -> str | None:
    """The way that is best on the validation rows at seed 0; None while one is missing."""
    found = {way: mean(rows, way, 0, "validation") for way in WAYS}
    return None if None in found.values() else max(found, key=lambda way: found[way] or 0.0)


def report(setting: Setting) -> None:
    """Write down what is finished by now."""
    rows = scores(setting)
    summary: dict[str, Any] = {}
    for way in ("teacher", *WAYS, *LONGER):
        by_seed = {
            seed: {split: mean(rows, way, seed, split) for split in ("validation", "test")} for seed in (0, 1, 2)
        }
        shares = [
            by_seed[seed]["test"] / whole
            for seed in by_seed
            if by_seed[seed]["test"] is not None and (whole := mean(rows, "teacher", seed, "test")) is not None
        ]
        summary[way] = {"points": by_seed, "share_kept": statistics.fmean(shares) if shares else None}
    chosen = best(rows)
    kept = None if chosen is None else summary[chosen]["share_kept"]
    write(
        setting,
        "keeping_more",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={"ways": summary, "best_on_validation": chosen},
        targets=[target("share of the teacher's points that the best student keeps", kept, at_least=0.97)],
        complete=chosen is not None
        and all(mean(rows, way, seed, "test") is not None for way in (chosen, *LONGER) for seed in (0, 1, 2)),
        seeds=sorted({row["seed"] for row in rows}),
    )


def main() -> None:
    """Every way at the first seed; at the others the best one alone, once it is known, and the longer one."""
    setting = begin(__doc__)
    for seed in setting.seeds:
        chosen = best(scores(setting))
        for way in [*(WAYS if seed == 0 else [chosen] if chosen else []), *LONGER]:
            done = {row["task"] for row in scores(setting) if (row["way"], row["seed"]) == (way, seed)}
            for task in TASKS:
                if task not in done:
                    make(setting, way)
                    learn(setting, way, task, seed)
            report(setting)


if __name__ == "__main__":
    main()
