"""Distilling 5,000 texts of AG News into a bilstm, alone and beside a process that keeps a core busy: how long does it take?

By the defaults, and by those of an earlier version: ten epochs from the word table, a thread a core that keeps its core
while it waits, one student after the other, and neither a probe beside them nor temperatures. Then single training steps
under three ways to wait. A measurement is kept as soon as it is made, and made once, so that the script can be stopped
and started again.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evidence import (
    DATA,
    Setting,
    begin,
    beside_work,
    earlier,
    finished,
    fresh_cache,
    is_measured,
    run,
    score_of,
    target,
    write,
)
from understudy.atomic import CACHE, new_folder
from understudy.cores import wait_briefly

LABELLED, POOL, HELD_OUT, ROUNDS = 1000, 4000, 1000, 3
CORES = len(os.sched_getaffinity(0))
BEFORE = "e2cdfae"
"""The commit of the earlier version, whose source is taken from the history of this repository."""
ARMS = ("default", "before")
WAITING = {"libgomp's own": {"GOMP_SPINCOUNT": "300000"}, "ours": {}, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}
PLACES = ("quiet", "busy")
DISTILLATIONS = [{"arm": arm, "place": place} for place in PLACES for arm in ARMS]
STEPS = [
    {"kind": kind, "waiting": waiting, "place": place}
    for kind in ("bilstm", "encoder")
    for waiting in WAITING
    for place in PLACES
]
CONFIG = {
    "texts": f"{LABELLED} labelled, {POOL} in the pool, {HELD_OUT} validation and {HELD_OUT} test rows",
    "before": BEFORE,
    "clock": "of the whole command with an empty cache: start of Python, labelling, both students, scores",
    "busy": "beside a Python process that computes without end",
    "cores": CORES,
}


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


def command_line(data: Path, taught_by: str) -> list[str]:
    """The command, but for where it writes: one version refuses to write over what another one has written."""
    line = [str(Path(sys.executable).with_name("understudy")), "distill", "--data", str(data), "--teacher", taught_by]
    return [*line, "--unlabeled", str(data / "pool.txt"), "--overwrite"]


def earlier_version(setting: Setting) -> Path:
    """The folder of the earlier version's package."""
    folder = setting.runs / "busy_machine" / f"before-{BEFORE}"
    if not folder.exists():
        packed = subprocess.run(["git", "archive", "--format=tar", BEFORE, "src"], check=True, capture_output=True)
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files, new_folder(folder, remedy=CACHE) as temporary:
            files.extractall(temporary, filter="data")
    return folder.resolve() / "src"


def nobody_chose() -> dict[str, str]:
    """The environment without what says how many threads there are, and how they wait."""
    chosen = {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}
    return {name: value for name, value in os.environ.items() if name not in chosen}


def distil(setting: Setting, line: list[str], *, arm: str, place: str, seed: int) -> dict[str, Any]:
    """One whole distillation: seconds of the command and of its parts, and the student's score."""
    version = {"PYTHONPATH": str(earlier_version(setting))} if arm == "before" else {}
    output = setting.runs / "busy_machine" / f"student-{arm}"
    with fresh_cache() as cache, beside_work(place):
        start = time.perf_counter()
        subprocess.run(
            [*line, "--output", str(output), "--seed", str(seed)],
            env=nobody_chose() | version | {"UNDERSTUDY_CACHE": str(cache)},
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


def step(*, kind: str, waiting: str, place: str) -> dict[str, float]:
    """The median seconds of a training step on all cores, in a process of its own."""
    with beside_work(place):
        done = subprocess.run(
            [sys.executable, __file__, "--step", kind],
            env=nobody_chose() | WAITING[waiting],
            check=True,
            capture_output=True,
            text=True,
        )
    return {"seconds": float(json.loads(done.stdout))}


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


def median(rows: list[dict[str, Any]], of: Mapping[str, str], key: str) -> float | None:
    """The median of a number over the rounds of one measurement; None where there is none yet."""
    found = [row[key] for row in rows if of.items() <= row.items()]
    return statistics.median(found) if found else None


def ratios(rows: list[dict[str, Any]], key: str, one: Mapping[str, str], other: Mapping[str, str]) -> list[float]:
    """A number of one measurement over that of another, round by round: a machine is compared with itself."""
    found = {row["round"]: row[key] for row in rows if one.items() <= row.items()}
    return [found[row["round"]] / row[key] for row in rows if other.items() <= row.items() and row["round"] in found]


def report(setting: Setting, rows: list[dict[str, Any]], *, complete: bool) -> None:
    """Write down what has been measured by now."""

    def medians(key: str, which: list[dict[str, str]]) -> dict[str, float | None]:
        return {", ".join(of.values()): median(rows, of, key) for of in which}

    quiet, busy = ({"arm": "default", "place": place} for place in PLACES)
    before = {"arm": "before", "place": "quiet"}
    compared = {
        "time beside a busy core, of that on a quiet machine": (ratios(rows, "seconds", busy, quiet), {"at_most": 1.4}),
        "time on a quiet machine, of that before": (ratios(rows, "seconds", quiet, before), {"at_most": 0.6}),
        "accuracy of the student, of that before": (ratios(rows, "accuracy", quiet, before), {"at_least": 1.0}),
    }
    write(
        setting,
        "busy_machine",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={
            "seconds": medians("seconds", DISTILLATIONS),
            "accuracy": medians("accuracy", DISTILLATIONS),
            "seconds of a step": medians("seconds", STEPS),
            "ratios of each round": {what: found for what, (found, _) in compared.items()},
        },
        targets=[
            target(what, statistics.mean(found) if found else None, **wanted)
            for what, (found, wanted) in compared.items()
        ],
        complete=complete,
        seeds=sorted({row["round"] for row in rows}),
    )


def main() -> None:
    """Distil by each arm in each place and time single steps, round by round."""
    wait_briefly()  # before torch is loaded
    if sys.argv[1:2] == ["--step"]:
        time_steps(sys.argv[2])
        return
    setting = begin(__doc__)
    data = write_data(setting)
    line = command_line(data, teacher(setting, data))
    rows: list[dict[str, Any]] = list(earlier(setting, "busy_machine", CONFIG).get("raw", []))
    rounds = setting.pick(ROUNDS, 1)
    for number, of in itertools.product(range(rounds), DISTILLATIONS + STEPS):
        if is_measured(rows, of | {"round": number}):
            continue
        found = distil(setting, line, **of, seed=number) if "arm" in of else step(**of)
        rows.append(of | {"round": number} | found)
        report(setting, rows, complete=not setting.quick and len(rows) == rounds * len(DISTILLATIONS + STEPS))
        print(f"round {number + 1} of {rounds}: {', '.join(of.values())}: {found['seconds']:.3g} s", flush=True)


if __name__ == "__main__":
    main()
