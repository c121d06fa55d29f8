"""A linear layer on an encoder that does not learn."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.data.splits import Splits
from understudy.data.tokens.encode import Encoded
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_encoder
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.structure.inputs import settle_inputs
from understudy.recipes.train.finetune.classification import Classification
from understudy.recipes.train.finetune.start import check_pairs
from understudy.runs.judging.probe import features_of, linear_on_means
from understudy.runs.session import Session
from understudy.runs.text_limits import how_to_read_more, said_of_cuts, text_length, unread_notes
from understudy.settings.train.finetune import FinetuneSettings


class FrozenEncoder(Classification):
    """Logistic regression on the vectors of an encoder that does not learn."""

    def __init__(self, settings: FinetuneSettings, splits: Splits) -> None:
        super().__init__(settings, splits)
        self.tokenizer, self.encoder = load_tokenizer(settings.model), load_encoder(settings.model)
        check_tokenizer(self.encoder, self.tokenizer, name=settings.model)
        self.length = text_length(self.encoder, self.tokenizer, settings.max_length)
        asked = settings.pooling
        assert asked != "head", "the settings refuse it"
        check_pairs(asked, splits.task, settings.data)
        self.features = features_of(self.encoder, self.tokenizer, splits, pooling=asked)
        for way in self.features:  # what they refuse is said before anything is written
            settle_inputs(way, self.tokenizer)

    def plan_lines(self) -> Mapping[str, str]:
        """How many rows go through the encoder."""
        rows = len(self.splits.train) + len(self.splits.validation)
        return {"rows": f"{rows:,}, each once through the frozen encoder", "encoder": self.settings.model}

    def train(self, session: Session) -> Predictor:
        """Embed the rows, fit the linear layer, put both together."""

        def say_what_is_not_read(part: str, encoded: Encoded) -> None:
            cuts = said_of_cuts({part: encoded}, self.length, more=how_to_read_more(self.encoder))
            for note in [*cuts, *unread_notes({part: encoded}, self.tokenizer)]:
                session.run.say(note)

        with session.run.timed("train_s"):
            return linear_on_means(
                session,
                self.features,
                self.tokenizer,
                self.splits,
                train=self.splits.train,
                max_length=self.length,
                on_encoded=say_what_is_not_read,
            )
