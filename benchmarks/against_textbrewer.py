"""The same teacher, the same BiLSTM, the same rows and epochs: TextBrewer's trainers against ours.

TextBrewer is used as its own examples do: texts padded to a fixed length, a shuffling DataLoader, AdamW with a linear
schedule, the squared error of logits. Its caching trainer is also given batches padded to their longest text.
It is a dependency of this benchmark alone: pip install --no-deps textbrewer==0.2.1.post1 tensorboard
"""

from __future__ import annotations

import copy
import logging
import statistics
import tempfile
import time
from typing import Any

import numpy as np
import torch

from ag_news import same_rows, teacher
from evidence import Setting, begin, fresh_cache, in_turn, spread, target, train, write

ROWS, TEST_ROWS = 2000, 2000
EPOCHS = 5
BATCH_SIZE = 32
MAX_LENGTH = 128
ROUNDS = 2
SIZES = {
    "300 wide": {"embedding": 300, "lstm": 150, "hidden": 256},
    "128 wide": {"embedding": 128, "lstm": 128, "hidden": 128},
}
"""Of the BiLSTM: as in Tang et al. 2019, and our default. The slow trainers run with the first only, once."""


def need_textbrewer() -> Any:
    """The package, or the line that installs it."""
    try:
        import textbrewer
    except ImportError as error:
        raise SystemExit(f"{error}. Run: pip install --no-deps textbrewer==0.2.1.post1 tensorboard") from None
    logging.getLogger("Distillation").setLevel(logging.WARNING)
    return textbrewer


class Match:
    """What both sides are given."""

    def __init__(self, setting: Setting, sizes: dict[str, int]) -> None:
        import understudy
        from understudy.data.readers.sources import load_splits
        from understudy.data.tokens.encode import input_names
        from understudy.recipes.train.students.classifier import build_student
        from understudy.settings.student_options import BiLSTMOptions, LayersOptions, StaticOptions

        taught_by = teacher(setting)
        splits = load_splits(same_rows(setting))
        self.epochs = setting.pick(EPOCHS, 2)
        train_rows = splits.train.take(np.arange(setting.pick(ROWS, 64)))
        self.texts, self.labels = train_rows.texts, train_rows.labels
        self.test = splits.test.take(np.arange(min(len(splits.test), TEST_ROWS)))
        self.predictor = understudy.load(taught_by)
        self.predictor.max_length = MAX_LENGTH
        self.student = build_student(
            "bilstm",
            self.predictor.task,
            teacher=taught_by,
            texts=self.texts,
            tokenizer="teacher",
            embeddings="teacher",
            options=[BiLSTMOptions(**sizes), StaticOptions(), LayersOptions()],
            seed=0,
        )
        self.names = input_names(self.student.model, self.student.tokenizer)

    def scored(self, model: Any, seconds: float) -> dict[str, float]:
        """The time beside the accuracy on the test rows."""
        from understudy.evaluation.quality import evaluate
        from understudy.inference.predictor import Predictor

        logits = Predictor(model, self.student.tokenizer, self.predictor.task, MAX_LENGTH).logits(self.test.texts)
        return {
            "seconds": seconds,
            "accuracy": evaluate(logits, self.test.labels, self.predictor.task).metrics["accuracy"],
        }

    def ours(self) -> dict[str, float]:
        """Labels once, then batches of like lengths; encoding and an empty cache included."""
        from understudy.data.batches.bucketed import BucketedBatches
        from understudy.data.tokens.encode import encode
        from understudy.functional.logit_distances import logit_mse
        from understudy.inference.logits import token_budget
        from understudy.objectives.distill import DistillClassifier
        from understudy.objectives.teachers.cached import CachedTeacher

        torch.manual_seed(0)
        model = copy.deepcopy(self.student.model)
        with fresh_cache():
            start = time.perf_counter()
            batches = BucketedBatches(
                encode(self.texts, self.student.tokenizer, max_length=MAX_LENGTH),
                self.labels,
                names=self.names,
                batch_size=BATCH_SIZE,
                max_tokens=token_budget("cpu"),
                seed=0,
                teacher=CachedTeacher.label(self.predictor, self.texts),
            )
            objective = DistillClassifier(model, "single_label", logit_mse, alpha=0.0)
            train(objective, batches, epochs=self.epochs, learning_rate=self.student.learning_rate)
            seconds = time.perf_counter() - start
        return self.scored(model, seconds)

    def theirs(self, *, caching: bool, padding: str = "max_length") -> dict[str, float]:
        """TextBrewer's BasicDistiller."""
        from transformers import get_linear_schedule_with_warmup

        textbrewer = need_textbrewer()
        torch.manual_seed(0)
        model = copy.deepcopy(self.student.model)
        tokenizer = self.student.tokenizer

        def together(rows: list[Any]) -> dict[str, Any]:
            return dict(tokenizer.pad(rows, padding=padding, max_length=MAX_LENGTH, return_tensors="pt"))

        def adaptor(batch: Any, outputs: Any) -> dict[str, Any]:
            return {"logits": outputs.logits}

        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            rows = [tokenizer(text, truncation=True, max_length=MAX_LENGTH) for (text,) in self.texts]
            loader = torch.utils.data.DataLoader(rows, batch_size=BATCH_SIZE, shuffle=True, collate_fn=together)
            steps = len(loader) * self.epochs
            distiller = textbrewer.BasicDistiller(
                train_config=textbrewer.TrainingConfig(output_dir=folder, device="cpu"),
                distill_config=textbrewer.DistillationConfig(
                    temperature=1, kd_loss_type="mse", hard_label_weight=0, is_caching_logits=caching
                ),
                model_T=self.predictor.model,
                model_S=model,
                adaptor_T=adaptor,
                adaptor_S=adaptor,
            )
            with distiller:
                distiller.train(
                    torch.optim.AdamW(model.parameters(), lr=self.student.learning_rate),
                    loader,
                    num_epochs=self.epochs,
                    scheduler_class=get_linear_schedule_with_warmup,
                    scheduler_args={"num_warmup_steps": steps // 10, "num_training_steps": steps},
                    max_grad_norm=1.0,
                )
            seconds = time.perf_counter() - start
        return self.scored(model, seconds)


def main() -> None:
    """Ours and its caching trainer in turn, for both sizes; then its online trainer, and ours again beside it."""
    setting = begin(__doc__)
    need_textbrewer()
    found: dict[str, dict[str, list[Any]]] = {}
    for name, sizes in SIZES.items():
        match = Match(setting, sizes)
        contenders = {"understudy": match.ours, "caching": lambda match=match: match.theirs(caching=True)}
        found[name] = in_turn(contenders, rounds=setting.pick(ROUNDS, 1))
        report(setting, match, found)
    match = Match(setting, SIZES["300 wide"])
    slow = {
        "understudy": match.ours,
        "online": lambda: match.theirs(caching=False),
        "caching, padded to the longest": lambda: match.theirs(caching=True, padding="longest"),
    }
    found["300 wide, once"] = in_turn(slow, rounds=1)
    report(setting, match, found)


def report(setting: Setting, match: Match, found: dict[str, dict[str, list[Any]]]) -> None:
    """Write down what has been measured by now."""
    seconds = {
        part: {name: statistics.median(run["seconds"] for run in runs) for name, runs in of.items()}
        for part, of in found.items()
    }
    accuracy = {
        part: {name: spread([run["accuracy"] for run in runs]) for name, runs in of.items()}
        for part, of in found.items()
    }
    targets = []
    for part, name, limit in (*((size, "caching", 1 / 3) for size in SIZES), ("300 wide, once", "online", 1 / 6)):
        share = seconds[part]["understudy"] / seconds[part][name] if part in seconds else None
        above = accuracy[part]["understudy"]["mean"] - accuracy[part][name]["mean"] if part in seconds else None
        targets.append(target(f"{part}: time over that of its {name} trainer", share, at_most=limit))
        targets.append(target(f"{part}: accuracy above its {name} trainer's", above, at_least=0.0))
    write(
        setting,
        "against_textbrewer",
        question=__doc__ or "",
        config={
            "rows": len(match.texts),
            "test_rows": len(match.test),
            "epochs": match.epochs,
            "batch_size": BATCH_SIZE,
            "max_length": MAX_LENGTH,
            "rounds": setting.pick(ROUNDS, 1),
            "bilstm": SIZES,
            "textbrewer": "0.2.1.post1",
            "what_is_timed": "tokenising, labelling and training; medians over the rounds",
        },
        raw=found,
        summary={"seconds": seconds, "accuracy": accuracy},
        targets=targets,
        complete="300 wide, once" in found,
    )


if __name__ == "__main__":
    main()
