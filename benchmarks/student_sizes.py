"""Would a student of other widths, or with a vocabulary of its own, be the better default for short texts and a pool?

1,000 labels, a tenth of them for validation, and a pool of 4,000 texts; 1,000 others tell. All are rows of the training
files, and none of them is in the tables of `student_defaults.py`. The teacher is fine-tuned by default.

    python benchmarks/student_sizes.py --threads 1
"""

from __future__ import annotations

from typing import Any

from evidence import Setting, begin, earlier, finished, is_measured, run, score_of, spread, target, write
from student_defaults import DEVELOPMENT, LABELS, POOL, rows_of, write_texts

TELLING = 1000
NAMES = ("sst2", "airline_tweets", "ag_news")
DEFAULT = "default"
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "bilstm": {
        DEFAULT: {},
        "half the state": {"bilstm": {"lstm": 64}},
        "twice the state": {"bilstm": {"lstm": 256}},
        "twice the table": {"bilstm": {"embedding": 256}},
        "8,000 words": {"tokenizer": "words:8000"},
        "8,000 pieces": {"tokenizer": "bpe:8000"},
    },
    "static": {
        DEFAULT: {},
        "a third of the table": {"static": {"embedding": 100}},
        "no hidden layer": {"static": {"hidden": 0}},
        "20,000 words": {"tokenizer": "words:20000"},
        "8,000 pieces": {"tokenizer": "bpe:8000"},
    },
}
CONFIG = {"labels": DEVELOPMENT, "pool": POOL, "telling": TELLING, "variants": VARIANTS, "sets": NAMES}
NEEDED = 0.01
"""By how much another setting must be better on average, and nowhere worse by more, to be worth a change."""


def files(setting: Setting, name: str) -> dict[str, str]:
    """Where the rows of a set are, by the names of the settings: those that `student_defaults.py` skips, and its leavings."""
    folder = setting.runs / "student_sizes" / name
    found = {part: folder / f"{part}.csv" for part in ("train", "unlabeled", "test")}
    if not found["test"].exists():
        rows, _ = rows_of(name)
        folder.mkdir(parents=True, exist_ok=True)
        pool, telling = setting.pick(POOL, 200), setting.pick(TELLING, 60)
        rest = rows[DEVELOPMENT + LABELS + POOL :]
        write_texts(found["train"], rows[: setting.pick(DEVELOPMENT, 120)])
        write_texts(found["unlabeled"], [row[:1] for row in rest[:pool]])
        write_texts(found["test"], rest[pool : pool + telling])
    return {part: str(path) for part, path in found.items()}


def teacher(setting: Setting, name: str) -> str:
    """The bundled encoder, fine-tuned by default."""
    from understudy import Finetune
    from understudy.models.files.names import bundled_encoder

    folder, given = setting.runs / "student_sizes" / name / "teacher", files(setting, name)
    if finished(folder) is None:
        del given["unlabeled"]
        run(Finetune(model=bundled_encoder(), output=str(folder), **given))
    return str(folder)


def distil(setting: Setting, name: str, student: str, variant: str) -> dict[str, Any]:
    """One student: accuracy, parameters and seconds of training."""
    from understudy import Distill
    from understudy.settings.configuration import build

    output = setting.runs / "student_sizes" / name / f"{student}-{list(VARIANTS[student]).index(variant)}"
    given = {"teacher": [teacher(setting, name)], "student": student, "baseline": False, "output": str(output)}
    record = run(build(Distill, {**given, **files(setting, name), **VARIANTS[student][variant]}))
    model = next(model for model in record.models if model["name"] == "student")
    return {
        "accuracy": score_of(record, "student"),
        "teacher": score_of(record, "teacher"),
        "parameters": model["parameters"],
        "seconds": record.timings["student_s"],
    }


def report(setting: Setting, rows: list[dict[str, Any]]) -> None:
    """Write what is there by now."""
    cells = {(row["set"], row["student"], row["variant"]): row for row in rows}
    summary = {}
    for student, variants in VARIANTS.items():
        for variant in variants:
            pairs = [
                (cells[name, student, variant], cells[name, student, DEFAULT])
                for name in NAMES
                if {(name, student, variant), (name, student, DEFAULT)} <= cells.keys()
            ]
            gains = [one["accuracy"] - default["accuracy"] for one, default in pairs]
            summary[f"{student}, {variant}"] = {
                "accuracy": spread([one["accuracy"] for one, _ in pairs]),
                "gain": spread(gains),
                "worst": min(gains, default=None),
                "times": spread([one["seconds"] / default["seconds"] for one, default in pairs]),
                "parameters": spread([one["parameters"] for one, _ in pairs]),
            }
    better = [
        name
        for name, found in summary.items()
        if found["gain"]["n"] and found["gain"]["mean"] >= NEEDED and found["worst"] > -NEEDED
    ]
    write(
        setting,
        "student_sizes",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={**summary, "better than the default": better},
        targets=[
            target(
                "settings that are better than the default by a point, and nowhere worse by one", len(better), at_most=0
            )
        ],
        complete=len(rows) == len(NAMES) * sum(map(len, VARIANTS.values())),
        seeds=(0,),
    )


def main() -> None:
    """Set by set; a student that is measured is measured once."""
    setting = begin(__doc__)
    rows = list(earlier(setting, "student_sizes", CONFIG).get("raw", []))
    for name in NAMES:
        for student, variants in VARIANTS.items():
            for variant in variants:
                key = {"set": name, "student": student, "variant": variant}
                if not is_measured(rows, key):
                    rows.append(key | distil(setting, name, student, variant))
                    report(setting, rows)


if __name__ == "__main__":
    main()
