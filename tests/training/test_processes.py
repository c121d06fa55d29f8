"""Several processes: the gradient is that of the whole batch, however it is cut and whichever process computes it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch

import forked
from understudy.record import RunRecord

SCRIPT = """
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from understudy.data.batches.by_length import bucketed_plan
from understudy.data.batches.contract import Batch
from understudy.objectives.distill import DistillClassifier
from understudy.functional.logit_distances import logit_mse
from understudy.training.progress.log import ProgressLog
from understudy.training.stages import Stage
from understudy.training.loop import fit

torch.set_num_threads(1)
folder = Path(sys.argv[1])
accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
rank, world = accelerator.process_index, accelerator.num_processes

class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 6, dtype=torch.float64)
        self.head = nn.Linear(6, 3, dtype=torch.float64)
        self.spare = nn.Linear(6, 3, dtype=torch.float64)  # a head that no batch uses
    def forward(self, input_ids):
        return SequenceClassifierOutput(logits=self.head(self.table(input_ids).mean(1)))

rng = np.random.default_rng(0)
lengths = rng.integers(2, 9, 70)
texts = [torch.from_numpy(rng.integers(0, 20, n)) for n in lengths]
labels = torch.from_numpy(rng.integers(0, 3, 70))
labels[torch.from_numpy(rng.permutation(70)[:40])] = -100
taught = torch.from_numpy(rng.normal(size=(70, 3)))

class Rows:
    def steps(self, epoch):
        return len(self.plan(epoch))
    def plan(self, epoch):
        return bucketed_plan(lengths, batch_size=16, max_tokens=24, seed=0, epoch=epoch, world_size=world, rank=rank)
    def windows(self, epoch, start=0):
        for step in self.plan(epoch)[start:]:
            yield [self.batch(rows) for rows in step]
    def batch(self, rows):
        ids = nn.utils.rnn.pad_sequence([texts[i] for i in rows], batch_first=True)
        ids = ids[:, : int(lengths[rows].min())]  # cut to the shortest: padding is not what is tested here
        counts = {"rows": len(rows), "taught": len(rows), "labelled": int((labels[rows] != -100).sum())}
        return Batch(inputs={"input_ids": ids[:, :2]}, counts=counts, labels=labels[rows], teacher_logits=taught[rows])

torch.manual_seed(0)
model = Toy()
def learns(*parts):
    def begin():
        for part in (model.table, model.head, model.spare):
            part.requires_grad_(part in parts)
        parameters = [parameter for part in parts for parameter in part.parameters()]
        return torch.optim.SGD([{"params": parameters, "lr": 0.5, "initial_lr": 0.5}], momentum=0.5)
    return begin

stages = [Stage("head", 1, learns(model.head)), Stage("all", 2, learns(model.table, model.head, model.spare))]
log = ProgressLog(folder / "progress.csv", ["phase", "epoch", "step", "seconds", "loss", "label_loss", "distillation", "learning_rate", "rows_per_second"], writes=accelerator.is_main_process)
fit(DistillClassifier(model, "single_label", logit_mse, alpha=0.3), Rows(), stages, folder=folder, log=log, accelerator=accelerator, clip=1.0)
if accelerator.is_main_process:
    torch.save(model.state_dict(), folder / f"world-{world}.pt")
accelerator.wait_for_everyone()
if world > 1:
    torch.distributed.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def launch(*program: object, processes: int) -> None:
    """Have Accelerate start a program in several processes."""
    options = {"num_processes": processes, "num_machines": 1, "mixed_precision": "no", "dynamo_backend": "no"}
    flags = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    flags += ["--main_process_port", str(free_port())]
    code = "from accelerate.commands.launch import main; main()"
    done = forked.run(code, "--multi_gpu", *flags, *program, env=os.environ | ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]


def together(code: str, folder: Path, *, world: int) -> None:
    """Run code in so many processes, with what Accelerate tells them when it starts them."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(world)}
    with open(folder / "said.txt", "w+", encoding="utf-8") as said:
        running = []
        for rank in range(world):
            own = {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}
            files = {"stdout": said.fileno(), "stderr": said.fileno()}
            running.append(forked.start(code, folder, env=os.environ | ENVIRONMENT | own, **files))
        ended = [process.wait(240) for process in running]
        said.seek(0)
        assert ended == [0] * world, said.read()[-3000:]


@pytest.mark.parametrize("processes", [2])
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path, processes: int) -> None:
    for world in (1, processes):
        together(SCRIPT, tmp_path, world=world)
    one = torch.load(tmp_path / "world-1.pt", weights_only=True)
    several = torch.load(tmp_path / f"world-{processes}.pt", weights_only=True)
    for name, weight in one.items():
        torch.testing.assert_close(
            several[name], weight, rtol=1e-6, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}"
        )
    torch.manual_seed(0)
    untouched = torch.nn.Embedding(20, 6, dtype=torch.float64).weight
    assert not torch.allclose(one["table.weight"], untouched)  # something was learned


def test_a_whole_command_runs_as_one_run_of_two_processes(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    flags = ["--data", reviews, "--model", tiny_bert, "--output", tmp_path / "run", "--epochs", "1", "--no-baseline"]
    launch("-m", "understudy.cli", "finetune", *flags, processes=2)
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.finished
    assert record.hardware["processes"] == 2
    assert record.training["train"]["rows"] == 120  # each row once: the processes shared them
    assert (tmp_path / "run" / "progress.csv").read_text(encoding="utf-8").count("phase,epoch") == 1


STREAMS = """
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from understudy.data.tokens.encode import Encoded
from understudy.data.batches.streams import StreamBatches
from understudy.errors import Interrupted
from understudy.models.awd_lstm.model import AWDLSTMConfig, AWDLSTMForCausalLM
from understudy.objectives.language_model import RecurrentLM
from understudy.training.progress.log import ProgressLog
from understudy.training.stop import Stop
from understudy.training.stages import Stage
from understudy.training.loop import fit

torch.set_num_threads(1)
folder = Path(sys.argv[1])
accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
rank, world = accelerator.process_index, accelerator.num_processes
rng = np.random.default_rng(0)
offsets = np.concatenate([[0], np.cumsum(rng.integers(3, 20, 60))])
encoded = Encoded(rng.integers(1, 15, offsets[-1]).astype(np.int32), offsets, None, 0, "right", "")

class Halting(StreamBatches):
    def windows(self, epoch, start=0):
        for number, window in enumerate(super().windows(epoch, start), start):
            if (epoch, number) == (1, 3) and self.stop is not None:
                self.stop.signal_number = 15  # in the middle of the second epoch's streams
            yield window

def train(resume):
    torch.manual_seed(0)
    config = AWDLSTMConfig(vocab_size=15, embedding_size=6, hidden_size=7, drop_mult=0.0)
    model = AWDLSTMForCausalLM(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    batches = Halting(encoded, streams=5, bptt=10, seed=0, max_tokens=20, world_size=world, rank=rank)
    batches.stop = Stop() if world > 1 and not resume else None
    columns = "phase epoch step seconds loss cross_entropy activation temporal learning_rate rows_per_second validation_score".split()
    log = ProgressLog(folder / f"progress-{world}.csv", columns, writes=accelerator.is_main_process)
    make = lambda: torch.optim.SGD([{"params": list(model.parameters()), "lr": 0.3, "initial_lr": 0.3}])
    fit(RecurrentLM(model), batches, [Stage("all", 2, make)], folder=folder / f"checkpoints-{world}", log=log,
        accelerator=accelerator, resume=resume, stop=batches.stop, evaluate=lambda model: {"score": 0.5}, metric="score")
    return model

if world > 1:
    try:
        train(False)
    except Interrupted:
        own = torch.load(next((folder / "checkpoints-2").glob(f"train-rank{rank}-*.pt")), weights_only=True)
        assert len(list((folder / "checkpoints-2").glob("train-best-*.pt"))) == 1  # of the first epoch
        assert sorted(own["carried"]["_extra_state"]) == (["0", "2"] if rank == 0 else ["0", "1"]), own["carried"].keys()
    else:
        raise SystemExit("it was not interrupted")
model = train(world > 1)
if accelerator.is_main_process:
    torch.save(model.state_dict(), folder / f"world-{world}.pt")
accelerator.wait_for_everyone()
if world > 1:
    torch.distributed.destroy_process_group()
"""


def test_each_process_goes_on_with_its_own_streams(tmp_path: Path) -> None:
    """Two processes that are stopped in mid-stream and resumed end with the weights of one process that was not stopped."""
    for world in (1, 2):
        (tmp_path / f"checkpoints-{world}").mkdir()
        together(STREAMS, tmp_path, world=world)
    one, two = (torch.load(tmp_path / f"world-{world}.pt", weights_only=True) for world in (1, 2))
    for name, weight in one.items():
        torch.testing.assert_close(
            two[name], weight, rtol=1e-6, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}"
        )
