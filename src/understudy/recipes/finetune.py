"""``understudy finetune``: a transformer, or a baseline, on labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from understudy.recipes.settings import DataSettings, RunSettings, TrainSettings, check, model_faults

if TYPE_CHECKING:
    from understudy.data.splits import Splits
    from understudy.record import RunRecord


@dataclass(kw_only=True)
class Finetune(DataSettings, TrainSettings, RunSettings):
    """Train a pretrained transformer on labelled rows, or one of two cheap baselines."""

    model: str = ""
    """A model folder, a run, a hub id of any BERT-family encoder, or `tfidf` (TF-IDF with a linear model)."""
    features: Literal["trained", "frozen"] = "trained"
    """trained: all weights learn. frozen: logistic regression on the mean vectors of the frozen encoder."""
    baseline: bool = True
    """Also fit TF-IDF with a linear model on the same rows, for the table."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults()
        if not self.model:
            faults.append("no model: name a model folder, a hub id, or tfidf with --model.")
        elif self.model != "tfidf":
            faults += model_faults(self.model)
        if self.model == "tfidf" and self.features == "frozen":
            faults.append("--features frozen needs an encoder, but --model is tfidf. Name an encoder, or leave --features out.")
        return faults

    def run(self) -> RunRecord:
        """Train, keep the weights that are best on validation, report on the test split.

        Raises:
            UnderstudyError: for every fault of the settings, the data or the model, before any training.
        """
        check(self)
        from understudy.recipes.workbench import open_workbench

        splits = self.load(seed=self.seed)
        if self.model == "tfidf":
            return self._run_tfidf(splits)
        if self.features == "frozen":
            return self._run_frozen(splits)
        trainee = _Trainee(self, splits)
        trainee.say_plan()
        if self.dry_run:
            return _planned(self)
        with open_workbench("finetune", self, splits) as bench:
            if bench.run.record.finished:
                return bench.run.record
            trainee.train(bench)
            return _conclude(bench, splits, trainee.predictor(), baseline=self.baseline)

    def _run_tfidf(self, splits: Splits) -> RunRecord:
        from understudy.recipes.workbench import fit_tfidf, open_workbench, say_plan

        say_plan({"train": f"{len(splits.train):,} rows", "model": "TF-IDF with a linear model"})
        if self.dry_run:
            return _planned(self)
        with open_workbench("finetune", self, splits) as bench:
            if bench.run.record.finished:
                return bench.run.record
            with bench.run.timed("train_s"):
                model = fit_tfidf(splits.train, splits)
            return _conclude(bench, splits, model, baseline=False)

    def _run_frozen(self, splits: Splits) -> RunRecord:
        import torch

        from understudy.data.encode import encode, input_names
        from understudy.inference import Predictor, logits
        from understudy.models.linear import fit_linear
        from understudy.models.load import load_encoder, load_tokenizer
        from understudy.models.pooled import PooledClassifier
        from understudy.recipes.workbench import open_workbench, say_plan, text_length

        tokenizer, encoder = load_tokenizer(self.model), load_encoder(self.model)
        length = text_length(encoder, tokenizer, self.max_length)
        say_plan({"train": f"{len(splits.train):,} rows, each once through the frozen encoder", "model": self.model})
        if self.dry_run:
            return _planned(self)
        with open_workbench("finetune", self, splits) as bench:
            if bench.run.record.finished:
                return bench.run.record
            width = encoder.config.hidden_size
            # with the identity for a head, the outputs are the pooled vectors themselves
            features = PooledClassifier.assemble(encoder, torch.eye(width), torch.zeros(width)).to(bench.device)

            def vectors(rows: Any) -> Any:
                encoded = encode(rows.texts, tokenizer, max_length=length)
                return logits(features, encoded, names=input_names(features, tokenizer), device=bench.device)

            with bench.run.timed("train_s"):
                validation = (vectors(splits.validation), splits.validation.labels)
                weight, bias = fit_linear(vectors(splits.train), splits.train.labels, splits.task, validation=validation)
            model = PooledClassifier.assemble(encoder, torch.from_numpy(weight), torch.from_numpy(bias))
            return _conclude(bench, splits, Predictor(model, tokenizer, splits.task, length), baseline=self.baseline)


class _Trainee:
    """A classifier, its encoded rows and its batches."""

    def __init__(self, recipe: Finetune, splits: Splits) -> None:
        import torch

        from understudy.data.batches import BucketedBatches
        from understudy.data.encode import encode, input_names
        from understudy.errors import ConfigError
        from understudy.models.load import load_classifier, load_tokenizer
        from understudy.objectives.supervised import Supervised
        from understudy.recipes.workbench import metric_faults, processes, text_length

        if faults := metric_faults(recipe, splits.task):
            raise ConfigError(*faults)
        self.recipe, self.splits = recipe, splits
        self.tokenizer = load_tokenizer(recipe.model)
        torch.manual_seed(recipe.seed)
        self.model = load_classifier(recipe.model, splits.task)
        self.length = text_length(self.model, self.tokenizer, recipe.max_length)
        self.names = input_names(self.model, self.tokenizer)
        self.learning_rate = recipe.learning_rate or 5e-5
        self.encoded = {
            name: encode(rows.texts, self.tokenizer, max_length=self.length)
            for name, rows in {"train": splits.train, "validation": splits.validation}.items()
        }
        state = processes()
        self.batches = BucketedBatches(
            self.encoded["train"],
            splits.train.labels,
            names=self.names,
            batch_size=recipe.batch_size,
            max_tokens=recipe.max_tokens,
            seed=recipe.seed,
            world_size=state.num_processes,
            rank=state.process_index,
        )
        self.objective = Supervised(self.model, splits.task.kind)

    def say_plan(self) -> None:
        """Print rows, tokens, steps, time and memory."""
        from understudy.recipes.workbench import say_plan, training_plan

        say_plan(training_plan(self.objective, self.batches, self.splits, self.recipe))

    def train(self, bench: Any) -> None:
        """Fit the classifier; it ends with its best weights."""
        from understudy.recipes.workbench import validation_scores

        bench.fit(
            self.objective,
            self.batches,
            phase="train",
            validation=validation_scores(self.encoded["validation"], self.splits.validation, self.splits.task, names=self.names, device=bench.device),
            learning_rate=self.learning_rate,
            epochs=self.recipe.epochs,
            budget_s=bench.stop.remaining(),
        )

    def predictor(self) -> Any:
        """The trained classifier as it will be used."""
        from understudy.inference import Predictor

        return Predictor(self.model, self.tokenizer, self.splits.task, self.length)


def _planned(recipe: Finetune) -> RunRecord:
    from understudy.recipes.settings import as_dict
    from understudy.record import RunRecord

    return RunRecord(command="finetune", config=as_dict(recipe), seed=recipe.seed)


def _conclude(bench: Any, splits: Splits, model: Any, *, baseline: bool) -> RunRecord:
    """Save the model, score it, set the baseline beside it, write the report."""
    from understudy.recipes.workbench import describe_tfidf, finish, reporting_rows, save

    if bench.run.writes:
        save(model, bench.run.folder / "model")
        bench.describe("model", model, model.logits(reporting_rows(splits)[1].texts), splits)
        if baseline:
            describe_tfidf(bench, splits)
    return finish(bench)
