"""``understudy pretrain``: a language model, new or trained already, on raw text."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt

from understudy.errors import UnderstudyError
from understudy.settings.configuration import as_dict, check
from understudy.settings.data import CorpusSettings, MaskingSettings
from understudy.settings.training import RunSettings, TrainSettings, model_faults

if TYPE_CHECKING:
    from understudy.data.readers.corpus import Corpus
    from understudy.recipes.train.pretrain.pretraining import Work
    from understudy.record import RunRecord

NEW = "awd_lstm"
"""What ``--model`` builds, where it does not load."""


@dataclass(kw_only=True)
class AWDLSTMOptions:
    """An AWD-LSTM: the sizes of a new one, and what keeps the states of any one small and slow."""

    embedding: Annotated[int, Gt(0)] = 200
    """Width of the token embeddings (the paper's: 400)."""
    hidden: Annotated[int, Gt(0)] = 512
    """Width of the layers (the paper's: 1152)."""
    layers: Annotated[int, Gt(0)] = 2
    """Number of layers (the paper's: 3)."""
    tied: bool = True
    """Predict with the table of the embeddings; the last layer is then as wide as they are."""
    alpha: Annotated[float, Ge(0)] = 2.0
    """The weight of activation regularisation: small states."""
    beta: Annotated[float, Ge(0)] = 1.0
    """The weight of temporal activation regularisation: states that change slowly."""


@dataclass(kw_only=True)
class Pretrain(CorpusSettings, MaskingSettings, TrainSettings, RunSettings):
    """Train a language model on raw text, or adapt one to the texts of a domain."""

    command: ClassVar[str] = "pretrain"
    model: str = ""
    """`awd_lstm` for a new one; or a run, a model folder or a hub id of a language model or an encoder, which is trained further."""
    awd_lstm: AWDLSTMOptions = field(default_factory=AWDLSTMOptions)
    tokenizer: str | None = None
    """Of a new model: bpe:N or words:N to train one on the texts, or a model whose tokenizer it takes (default: bpe:8000)."""
    vocabulary: str = "keep"
    """Of a trained model: keep; or learn one from the texts, new:N (pieces of words, such as new:16000) or words:N, and carry the model to it."""
    cased: bool = False
    """Keep case and accents in a tokenizer that is trained (default: in a new vocabulary as the model's own tokenizer does)."""
    drop_mult: Annotated[float, Ge(0)] | None = None
    """For an AWD-LSTM: scales all its dropouts (default: 1 for a new one, else the model's own)."""
    bptt: Annotated[int, Gt(0)] | None = None
    """For an AWD-LSTM: tokens that the gradient reaches back, on average (default: 70 for a new one, else the model's own)."""
    backward: bool = False
    """A new AWD-LSTM that reads from right to left; one that is trained further keeps its direction."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults() + self.train_faults()
        if not self.model:
            faults.append(f"no model: name {NEW}, a run, a model folder or a hub id with --model.")
        elif self.model == NEW:
            faults += self._tokenizer_faults() + self.masking_faults()
            if self.vocabulary != "keep":
                faults.append(
                    f"--vocabulary is for a model that is trained already, but {NEW} is a new one. Give --tokenizer bpe:N or words:N."
                )
        else:
            faults += model_faults(self.model)
            faults += [
                f"--{name} is for a new model, but {self.model} is trained already. Leave it out."
                for name in self._given_for_a_new_one()
            ]
            faults += self._vocabulary_faults()
        if self.bptt is not None and self.bptt < 10:
            faults.append(f"bptt must be at least 10, but is {self.bptt}: windows vary by about 5 tokens.")
        return faults

    def run(self) -> RunRecord:
        """Train, keep the weights that are best on the validation texts, report.

        Raises:
            UnderstudyError: for every fault of the settings, the texts or the model, before any training.
        """
        check(self)
        from understudy.recipes.train.pretrain.pretraining import conclude, open_on_texts, train
        from understudy.record import RunRecord
        from understudy.runs.plans import say_notes

        corpus = self.read()
        work = self.prepare(corpus)
        work.say_plan()
        if self.dry_run:
            say_notes([*corpus.notes, *work.notes])
            return RunRecord(command="pretrain", config=as_dict(self), seed=self.seed)
        with open_on_texts(self, corpus, work) as session:
            if session.run.record.finished:
                return session.run.record
            return conclude(session, corpus, work, train(session, corpus, work))

    def read(self) -> Corpus:
        """Read and check the texts."""
        return self.load(seed=self.seed)

    def prepare(self, corpus: Corpus) -> Work:
        """Build or load the model, and encode the texts for it."""
        from understudy.recipes.train.pretrain.pretraining import prepare

        return prepare(self, corpus)

    def _tokenizer_faults(self) -> list[str]:
        if self.tokenizer is None:
            return []
        if self.tokenizer.partition(":")[0] not in ("bpe", "words") and (
            "/" in self.tokenizer or Path(self.tokenizer).expanduser().exists()
        ):
            return [*model_faults(self.tokenizer), *(["--cased is for a tokenizer that is trained."] * self.cased)]
        from understudy.data.tokens.specs import parse_spec

        try:
            parse_spec(self.tokenizer)
        except UnderstudyError as error:
            return list(error.faults)
        return []

    def regularising_faults(self) -> list[str]:
        """The settings that any AWD-LSTM heeds and no other model does, where they are not as they come."""
        plain = AWDLSTMOptions()
        return [
            f"--awd_lstm.{name} is for an AWD-LSTM, which {self.model} is not. Leave it out."
            for name in ("alpha", "beta")
            if getattr(self.awd_lstm, name) != getattr(plain, name)
        ]

    def masking_faults(self) -> list[str]:
        """The settings that only a masked language model heeds, where they are not as they come; one sentence each."""
        return [
            f"--{name} is for a masked language model, which {self.model} is not. Leave it out."
            for name in self.masking_given()
        ]

    def _vocabulary_faults(self) -> list[str]:
        if self.vocabulary == "keep":
            return []
        from understudy.data.tokens.specs import parse_choice

        try:
            parse_choice(self.vocabulary)
        except UnderstudyError as error:
            return list(error.faults)
        return []

    def _given_for_a_new_one(self) -> list[str]:
        """The settings that only a new model heeds, where they are not as they come."""
        plain = AWDLSTMOptions()
        sizes = [f.name for f in fields(plain) if f.name not in ("alpha", "beta")]
        given = [f"awd_lstm.{name}" for name in sizes if getattr(self.awd_lstm, name) != getattr(plain, name)]
        cased = self.cased and self.vocabulary == "keep"
        own = {"tokenizer": self.tokenizer, "cased": cased, "backward": self.backward}
        return given + [name for name, value in own.items() if value]
