"""How much faster, and in how much less memory, is a step whose vocabulary heads run on the masked positions alone?

A step of masked-LM training, and one of distillation by three losses (soft targets, masked words, cosine), of a 6-layer
encoder of width 384 and a student of three of its layers. *Masked* is what this package does. *All positions* is what
one writes with the models' own outputs, as DistilBERT's code does: scores over the vocabulary for every token, of teacher
and student. Steps are timed in turn in one process; each peak of memory is that of a process of its own.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from evidence import Setting, begin, in_turn, product_rate, target, write

TEXTS, TOKENS, SHARE, TEMPERATURE = 16, 128, 0.15, 2.0
WEIGHTS = {"soft_targets": 5.0, "masked_lm": 2.0, "cosine": 1.0}
FULL = {"vocabulary": 30522, "width": 384, "heads": 12, "layers": 6, "student_layers": 3}
QUICK = {"vocabulary": 2000, "width": 48, "heads": 4, "layers": 4, "student_layers": 2}
STEPS_FOR_MEMORY = 3


class Bench:
    """Teacher, student, one batch, and a step of every kind."""

    def __init__(self, sizes: dict[str, int]) -> None:
        import numpy as np
        from transformers import BertConfig, BertForMaskedLM

        from understudy.data.batches.masked import masked_batch
        from understudy.data.batches.masking import Masking
        from understudy.data.tokens.encode import Encoded
        from understudy.models.shrink.cut import cut_layers, evenly
        from understudy.objectives.distill_lm import DistillMaskedLM
        from understudy.objectives.masked_lm import MaskedLM
        from understudy.objectives.teachers.language import LanguageTeacher, TaughtBatch
        from understudy.training.optimizers.groups import build_optimizer

        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=sizes["vocabulary"],
            hidden_size=sizes["width"],
            num_hidden_layers=sizes["layers"],
            num_attention_heads=sizes["heads"],
            intermediate_size=4 * sizes["width"],
        )
        self.teacher = BertForMaskedLM(config).eval().requires_grad_(False)
        self.student = cut_layers(self.teacher, evenly(sizes["layers"], sizes["student_layers"]))
        self.student.train().requires_grad_(True)
        first = 5
        ids = np.random.default_rng(0).integers(first, sizes["vocabulary"], TEXTS * TOKENS).astype(np.int32)
        texts = Encoded(ids, np.arange(TEXTS + 1) * TOKENS, None, pad_id=0, padding_side="right", fingerprint="")
        masking = Masking(4, np.arange(sizes["vocabulary"]) >= first, SHARE, seed=0)
        self.batch = masked_batch(texts, np.arange(TEXTS), masking, epoch=0, names=["input_ids", "attention_mask"])
        self.masked = self.batch.counts["masked"]
        listened = LanguageTeacher(self.teacher)
        self.taught = TaughtBatch(**vars(self.batch), teacher=listened)
        options: dict[str, Any] = {
            "teacher_head": listened.head,
            "teacher_width": sizes["width"],
            "pad_id": 0,
            "weights": WEIGHTS,
            "temperature": TEMPERATURE,
        }
        self.language = MaskedLM(self.student)
        self.triple = DistillMaskedLM(self.student, **options, ce_positions="masked")
        self.triple_all = DistillMaskedLM(self.student, **options, ce_positions="all")
        self.optimizer = build_optimizer(self.student, learning_rate=1e-6)

    def arms(self) -> dict[str, Callable[[], Tensor]]:
        """The loss of a step of each kind, by name."""
        return {
            "masked-LM, masked": lambda: self._of(self.language, self.batch),
            "masked-LM, all positions": self._plain_language,
            "triple, masked": lambda: self._of(self.triple, self.taught.to("cpu")),
            "triple, all positions": self._plain_triple,
            "triple, all positions in chunks": lambda: self._of(self.triple_all, self.taught.to("cpu")),
        }

    def step(self, loss: Callable[[], Tensor]) -> None:
        """Forward, backward, and the optimizer's step, as the loop takes them: dropout is the loop's own for all kinds."""
        from understudy.training.dropout import FastDropout

        self.optimizer.zero_grad(set_to_none=True)
        with FastDropout():
            loss().backward()
        self.optimizer.step()

    def _of(self, objective: Any, batch: Any) -> Tensor:
        return torch.stack([term.weight * term.sum / batch.counts[term.per] for term in objective(batch)]).sum()

    def _plain_language(self) -> Tensor:
        return self.student(**self.batch.inputs, labels=self.batch.labels).loss

    def _plain_triple(self) -> Tensor:
        return self.plain(everywhere=True)

    def plain(self, *, everywhere: bool) -> Tensor:
        """The three losses from the models' own scores of all tokens, after DistilBERT's published code."""
        assert self.batch.labels is not None
        with torch.no_grad():
            theirs = self.teacher(**self.batch.inputs, output_hidden_states=True)
        ours = self.student(**self.batch.inputs, output_hidden_states=True)
        real = self.batch.inputs["attention_mask"].bool() if everywhere else self.batch.labels != -100
        student, teacher = ours.logits[real] / TEMPERATURE, theirs.logits[real] / TEMPERATURE
        divergence = F.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="batchmean")
        words = F.cross_entropy(ours.logits.flatten(0, 1), self.batch.labels.flatten())
        states = [out.hidden_states[-1].flatten(0, 1) for out in (ours, theirs)]
        cosine = F.cosine_embedding_loss(*states, torch.ones(len(states[0])))
        losses = {"soft_targets": TEMPERATURE**2 * divergence, "masked_lm": words, "cosine": cosine}
        return torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()

    def exactness(self) -> float:
        """How far the masked step's loss is from that of all positions, restricted afterwards; relative, dropout off."""
        self.student.eval()
        with torch.no_grad():
            pairs = [
                (self._of(self.triple, self.taught.to("cpu")), self.plain(everywhere=False)),
                (self._of(self.triple_all, self.taught.to("cpu")), self.plain(everywhere=True)),
                (self._of(self.language, self.batch), self._plain_language()),
            ]
        self.student.train()
        return max(abs(one.item() - other.item()) / abs(other.item()) for one, other in pairs)


def necessary(sizes: dict[str, int], masked: int) -> dict[str, float]:
    """Floating-point operations of the matrix products that a triple-loss step cannot do without.

    A product of (m, k) and (k, n) takes 2mkn. A layer has four of width by width, two of width by four times that, and
    for each text scores and their sum over values. The student's count three times: forward, and two in the backward.
    """
    tokens, width = TEXTS * TOKENS, sizes["width"]
    layer = 2 * tokens * (4 * width**2 + 8 * width**2) + 4 * TEXTS * TOKENS**2 * width
    head = 2 * masked * (width**2 + width * sizes["vocabulary"])
    passes = sizes["layers"] + 3 * sizes["student_layers"]
    return {"layers": float(passes * layer), "heads": float(4 * head)}


def rates(sizes: dict[str, int], masked: int) -> dict[str, float]:
    """Operations a second of the commonest product of the layers, and of that of the heads."""
    width = sizes["width"]
    shapes = {"layers": (TEXTS * TOKENS, width, 4 * width), "heads": (masked, width, sizes["vocabulary"])}
    return {name: product_rate(*shape) for name, shape in shapes.items()}


def seconds(action: Callable[[], None]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def peak_mb(setting: Setting, arm: str) -> dict[str, float]:
    """The peak of memory of a process that takes some steps of a kind, and what it had before."""
    command = [sys.executable, __file__, "--worker", arm, *["--quick"] * setting.quick]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def worker(arm: str, sizes: dict[str, int]) -> None:
    """Take some steps; print the peaks before and after."""
    bench = Bench(sizes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for _ in range(STEPS_FOR_MEMORY):
        bench.step(bench.arms()[arm])
    print(json.dumps({"before": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    """Memory first, then time."""
    setting = begin(__doc__)
    sizes = QUICK if setting.quick else FULL
    bench = Bench(sizes)
    arms = bench.arms()
    memory = {name: peak_mb(setting, name) for name in arms}
    for loss in arms.values():  # the first step of each finds its memory
        bench.step(loss)
    contenders: dict[str, Callable[[], Any]] = {
        name: lambda loss=loss: seconds(lambda: bench.step(loss)) for name, loss in arms.items()
    }
    measured = in_turn(
        contenders | {"products": lambda: rates(sizes, bench.masked)}, rounds=setting.pick(full=9, quick=2)
    )
    operations = necessary(sizes, bench.masked)
    rate = {name: statistics.median(found[name] for found in measured["products"]) for name in operations}
    least = sum(operations[name] / rate[name] for name in operations)
    times = {name: statistics.median(measured[name]) for name in arms}
    faster = {kind: times[f"{kind}, all positions"] / times[f"{kind}, masked"] for kind in ("masked-LM", "triple")}
    smaller = {
        kind: memory[f"{kind}, masked"]["peak"] / memory[f"{kind}, all positions"]["peak"]
        for kind in ("masked-LM", "triple")
    }
    difference = bench.exactness()
    write(
        setting,
        "masked_step",
        question=__doc__ or "",
        config=sizes
        | {
            "texts": TEXTS,
            "tokens": TOKENS,
            "masked": bench.masked,
            "weights": WEIGHTS,
            "temperature": TEMPERATURE,
            "optimizer": "AdamW, its step included",
        },
        raw={"seconds": {name: measured[name] for name in arms}, "rates": measured["products"], "memory_mb": memory},
        summary={
            "seconds": times,
            "peak_mb": {name: row["peak"] for name, row in memory.items()},
            "faster": faster,
            "memory": smaller,
            "necessary_gflop": {name: value / 1e9 for name, value in operations.items()},
            "gflop_a_second": {name: value / 1e9 for name, value in rate.items()},
            "necessary_seconds": least,
            "loss_difference": difference,
        },
        targets=[
            target("triple-loss step, times as fast as with heads on all positions", faster["triple"], at_least=2.5),
            target(
                "triple-loss step over the time of its necessary products", times["triple, masked"] / least, at_most=1.5
            ),
            target("peak memory of the triple-loss step over that of all positions", smaller["triple"], at_most=0.5),
            target("largest relative difference of a loss from that of all positions", difference, at_most=1e-6),
        ],
        complete=math.isfinite(difference),
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], QUICK if "--quick" in sys.argv else FULL)
    else:
        main()
