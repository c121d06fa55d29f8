"""A linear layer on an encoder that does not learn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from understudy.data.splits import Rows, Splits
from understudy.data.tokens.encode import encode
from understudy.inference.logits import logits
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_encoder
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.linear import fit_linear
from understudy.models.structure.inputs import settle_inputs
from understudy.models.students.pooled import PooledClassifier
from understudy.recipes.train.finetune.classification import Classification
from understudy.runs.session import Session
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length
from understudy.settings.train.finetune import FinetuneSettings


class FrozenEncoder(Classification):
    """Logistic regression on the mean vectors of an encoder that does not learn."""

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        super().__init__(settings, splits)
        self.tokenizer, self.encoder = load_tokenizer(settings.model), load_encoder(settings.model)
        check_tokenizer(self.encoder, self.tokenizer, name=settings.model)
        self.length = text_length(self.encoder, self.tokenizer, settings.max_length)
        # with the identity for a head, the outputs are the pooled vectors themselves
        width = self.encoder.config.hidden_size
        self.features = PooledClassifier.assemble(self.encoder, torch.eye(width), torch.zeros(width))
        self.names = settle_inputs(self.features, self.tokenizer)

    def plan_lines(self) -> Mapping[str, str]:
        """How many rows go through the encoder."""
        rows = len(self.splits.train) + len(self.splits.validation)
        return {"rows": f"{rows:,}, each once through the frozen encoder", "encoder": self.settings.model}

    def train(self, session: Session) -> Predictor:
        """Embed the rows, fit the linear layer, put both together."""
        task, features = self.splits.task, self.features.to(session.device)

        def vectors(part: str, rows: Rows) -> np.ndarray:
            encoded = encode(rows.texts, self.tokenizer, max_length=self.length)
            for note in said_of_cuts({part: encoded}, self.length, more=how_to_read_more(self.encoder)):
                session.run.say(note)
            return logits(
                features, encoded, names=self.names, device=session.device, on_batch=lambda _: session.stop_if_asked()
            )

        with session.run.timed("train_s"):
            validation = (vectors("validation", self.splits.validation), self.splits.validation.labels)
            train = self.splits.train
            weight, bias = fit_linear(vectors("train", train), train.labels, task, validation=validation)
        model = PooledClassifier.assemble(features.encoder, torch.from_numpy(weight), torch.from_numpy(bias))
        return Predictor(model, self.tokenizer, task, self.length)
