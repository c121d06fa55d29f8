"""Distilling 5,000 texts of AG News into a bilstm, alone and beside a process that keeps a core busy: how long does it take?

Contenders take turns: today's default; one thread and one student after the other; and what was the default before, a
thread a core that keeps its core while it waits. Then single training steps under three ways to wait.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from evidence import DATA, Setting, begin, finished, fresh_cache, in_turn, run, score_of, target, write
from understudy.cores import wait_briefly

LABELLED, POOL, HELD_OUT, EPOCHS, ROUNDS = 1000, 4000, 1000, 10, 3
CORES = len(os.sched_getaffinity(0))
SPINNING = {"GOMP_SPINCOUNT": "300000"}
"""What libgomp does by itself: some milliseconds."""
ARMS: dict[str, tuple[list[str], dict[str, str]]] = {
    "default": ([], {}),
    "one thread, one after the other": (["--threads", "1"], {}),
    "before": (["--threads", str(CORES)], SPINNING),
}
WAITING = {"libgomp's own": SPINNING, "ours": {}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}
PLACES = ("quiet", "busy")
CONFIG = {
    "texts": f"{LABELLED} labelled, {POOL} in the pool, {HELD_OUT} validation and {HELD_OUT} test rows",
    "epochs": EPOCHS,
    "clock": "of the whole command with an empty cache: start of Python, labelling, both students, scores",
    "busy": "beside a Python process that computes without end",
    "rounds": ROUNDS,
}


@contextmanager
def beside_work(place: str) -> Iterator[None]:
    """Inside, another process keeps a core busy, if this is the busy place."""
    if place == "quiet":
        yield
        return
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def write_data(setting: Setting) -> Path:
    """The rows and the pool, cut from AG News."""
    folder = setting.runs / "busy_machine" / "data"
    labelled, pool, held_out = setting.pick(LABELLED, 120), setting.pick(POOL, 200), setting.pick(HELD_OUT, 80)
    if (folder / "pool.txt").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    train, test = _rows("train"), _rows("test")
    for name, source, count in (("train", train, labelled), ("validation", train, held_out), ("test", test, held_out)):
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *(next(source) for _ in range(count))])
    lines = [next(train)[0] for _ in range(pool)]
    (folder / "pool.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _rows(name: str) -> Iterator[tuple[str, str]]:
    """Title and description as one line, and the label."""
    with gzip.open(f"{DATA}/ag_news/{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield " ".join(f"{row['title']} {row['description']}".split()), row["label"]


def teacher(setting: Setting, data: Path) -> str:
    """The bundled encoder, fine-tuned once on the labelled rows."""
    from understudy import Finetune
    from understudy.models.files.names import bundled_encoder

    output = setting.runs / "busy_machine" / "teacher"
    run(
        Finetune(
            data=str(data),
            model=bundled_encoder(),
            pooling="mean",
            epochs=setting.pick(3, 1),
            learning_rate=2e-4,
            baseline=False,
            output=str(output),
        )
    )
    return str(output)


def command_line(setting: Setting, data: Path, taught_by: str, output: Path) -> list[str]:
    """The command, but for what the arms differ in."""
    line = [str(Path(sys.executable).with_name("understudy")), "distill", "--data", str(data), "--teacher", taught_by]
    line += ["--unlabeled", str(data / "pool.txt"), "--epochs", str(setting.pick(EPOCHS, 1))]
    return [*line, "--overwrite", "--output", str(output)]


def nobody_chose() -> dict[str, str]:
    """The environment without what says how many threads there are, and how they wait."""
    chosen = {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}
    return {name: value for name, value in os.environ.items() if name not in chosen}


def distil(setting: Setting, line: list[str], arm: str, place: str, output: Path) -> dict[str, Any]:
    """One whole distillation: seconds of the command and of its parts, and the student's score."""
    flags, environment = ARMS[arm]
    with fresh_cache() as cache, beside_work(place):
        start = time.perf_counter()
        subprocess.run(
            [*line, *flags],
            env=nobody_chose() | environment | {"UNDERSTUDY_CACHE": str(cache)},
            check=True,
            capture_output=True,
        )
        seconds = time.perf_counter() - start
    record = finished(output)
    return {
        "seconds": seconds,
        "timings": record.timings,
        "accuracy": score_of(record, "student"),
        "without teacher": score_of(record, "student without teacher"),
        "hardware": record.hardware,
        "load": os.getloadavg()[0],
    }


def step(kind: str, waiting: str, place: str) -> float:
    """The median seconds of a training step on all cores, in a process of its own."""
    with beside_work(place):
        done = subprocess.run(
            [sys.executable, __file__, "--step", kind],
            env=nobody_chose() | WAITING[waiting],
            check=True,
            capture_output=True,
            text=True,
        )
    return float(json.loads(done.stdout))


def time_steps(kind: str) -> None:
    """In that process: some seconds of steps of 32 texts of 40 tokens; prints the median."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig

    torch.set_num_threads(CORES)
    model: Any = BiLSTM(BiLSTMConfig(vocab_size=8000))
    if kind == "encoder":
        sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
        model = BertForSequenceClassification(BertConfig(vocab_size=8000, **sizes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.randint(5, 8000, (32, 40))
    times: list[float] = []
    end = time.perf_counter() + 6
    while len(times) < 4 or time.perf_counter() < end:
        start = time.perf_counter()
        model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.logsumexp(-1).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    print(statistics.median(times[1:]))


def median(rows: list[Mapping[str, Any]], key: str) -> float:
    """The median of a number over the rounds."""
    return statistics.median(row[key] for row in rows)


def main() -> None:
    """Distil by each arm in each place, then measure single steps."""
    wait_briefly()  # before torch is loaded
    if sys.argv[1:2] == ["--step"]:
        time_steps(sys.argv[2])
        return
    setting = begin(__doc__)
    data = write_data(setting)
    taught_by, output = teacher(setting, data), setting.runs / "busy_machine" / "student"
    line, rounds = command_line(setting, data, taught_by, output), setting.pick(ROUNDS, 1)
    whole = in_turn(
        {f"{arm}, {place}": partial(distil, setting, line, arm, place, output) for arm in ARMS for place in PLACES},
        rounds=rounds,
    )
    steps = in_turn(
        {
            f"{kind}, {waiting}, {place}": partial(step, kind, waiting, place)
            for kind in ("bilstm", "encoder")
            for waiting in WAITING
            for place in PLACES
        },
        rounds=rounds,
    )
    seconds = {name: median(rows, "seconds") for name, rows in whole.items()}
    accuracy = {name: median(rows, "accuracy") for name, rows in whole.items()}
    write(
        setting,
        "busy_machine",
        question=__doc__ or "",
        config=CONFIG | {"cores": CORES},
        raw={"distillations": whole, "steps": steps},
        summary={
            "seconds": seconds,
            "accuracy": accuracy,
            "seconds of a step": {name: statistics.median(values) for name, values in steps.items()},
            "load before each distillation": [row["load"] for rows in whole.values() for row in rows],
        },
        targets=[
            target(
                "time beside a busy core, of that on a quiet machine",
                seconds["default, busy"] / seconds["default, quiet"],
                at_most=1.4,
            ),
            target(
                "time on a quiet machine, of that before",
                seconds["default, quiet"] / seconds["before, quiet"],
                at_most=0.6,
            ),
            target(
                "accuracy of the student, less that before",
                accuracy["default, quiet"] - accuracy["before, quiet"],
                at_least=-0.01,
            ),
        ],
        complete=not setting.quick,
    )


if __name__ == "__main__":
    main()
