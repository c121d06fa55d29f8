"""Settings of ``understudy pretrain``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt

from understudy.data.tokens.specs import parse_choice, parse_spec
from understudy.errors import gathered
from understudy.settings.adapters import AdapterSettings
from understudy.settings.data import CorpusSettings, MaskingSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.run import RunSettings, SeedsSettings
from understudy.settings.training import TrainSettings

NEW = "awd_lstm"
"""The value of ``--model`` that builds a model instead of loading one."""


@dataclass(kw_only=True)
class AWDLSTMOptions:
    """An AWD-LSTM: the sizes of a new one, and the state regularisation of any AWD-LSTM."""

    embedding: Annotated[int, Gt(0)] = 200
    """Width of the token embeddings (the paper's: 400)."""
    hidden: Annotated[int, Gt(0)] = 512
    """Width of the layers (the paper's: 1152)."""
    layers: Annotated[int, Gt(0)] = 2
    """Number of layers (the paper's: 3)."""
    tied: Annotated[bool, Shown(off="Predict with a table of its own instead of that of the embeddings.")] = True
    """Predict with the table of the embeddings; the last layer is then as wide as they are."""
    alpha: Annotated[float, Ge(0)] = 2.0
    """Weight of activation regularisation, which keeps states small."""
    beta: Annotated[float, Ge(0)] = 1.0
    """Weight of temporal activation regularisation, which makes states change slowly."""


@dataclass(kw_only=True)
class PretrainSettings(CorpusSettings, MaskingSettings, AdapterSettings, TrainSettings, SeedsSettings, RunSettings):
    """Train a language model on raw text, or adapt one to the texts of a domain."""

    group: ClassVar[str] = "Model"
    command: ClassVar[str] = "pretrain"
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """awd_lstm for a new one; or a run, a model folder or a hub id of a language model or an encoder, which is trained further."""
    awd_lstm: Annotated[AWDLSTMOptions, Shown(rare=True)] = field(default_factory=AWDLSTMOptions)
    tokenizer: Annotated[str | None, Shown("bpe:N|words:N|MODEL")] = None
    """Tokenizer of a new model: train one on the texts, or take a model's (bpe:8000)."""
    vocabulary: Annotated[str, Shown("keep|new:N|words:N")] = "keep"
    """Vocabulary of a trained model: keep it, or learn one from the texts, such as new:16000 pieces of words, and carry the model over."""
    cased: bool = False
    """Keep case and accents in a tokenizer that is trained (in a new vocabulary: as the model's own tokenizer does)."""
    drop_mult: Annotated[float, Ge(0), Shown(rare=True)] | None = None
    """For an AWD-LSTM: scale all its dropouts by this (1 for a new one, otherwise the model's own)."""
    bptt: Annotated[int, Gt(0), Shown(rare=True)] | None = None
    """For an AWD-LSTM: tokens that the gradient reaches back, on average (70 for a new one, otherwise the model's own)."""
    backward: Annotated[bool, Shown(rare=True)] = False
    """Build an AWD-LSTM that reads from right to left; one that is trained further keeps its direction."""

    def models_read(self) -> list[str]:
        """The names of what else decides the result: the model, or the tokenizer of a new one."""
        if self.model != NEW:
            return [self.model]
        trained = self.tokenizer is None or self.tokenizer.partition(":")[0] in ("bpe", "words")
        return [] if trained else [str(self.tokenizer)]

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        faults = self.data_faults() + self.run_faults() + self.seeds_faults() + self.train_faults()
        if not self.model:
            faults.append(f"no model: name {NEW}, a run, a model folder or a hub id with --model.")
        elif self.model == NEW:
            faults += self._tokenizer_faults() + self.masking_faults()
            if self.vocabulary != "keep":
                faults.append(
                    f"--vocabulary is for a model that is trained already, but {NEW} is a new one. Give --tokenizer bpe:N or words:N instead."
                )
        else:
            faults += model_faults(self.model, built=(NEW,))
            faults += [
                f"--{name} is for a new model, but {self.model} is trained already. Leave it out."
                for name in self._given_for_a_new_one()
            ]
            faults += self._vocabulary_faults()
        if self.bptt is not None and self.bptt < 10:
            faults.append(f"bptt must be at least 10, but is {self.bptt}: windows vary by about 5 tokens.")
        return faults + self._adapter_faults()

    def _adapter_faults(self) -> list[str]:
        """What is wrong with an adapter, which answers no task here."""
        faults = self.adapter_faults(trains=f"--model {NEW}" if self.model == NEW else None)
        faults += [f"{flag} is for finetune. Leave it out." for flag in self.given_of_others("load_adapter")]
        if self.adapts and self.vocabulary != "keep":
            faults.append(
                "--vocabulary changes the model, but with an adapter it stays as it is. Leave one of them out."
            )
        return faults

    def _tokenizer_faults(self) -> list[str]:
        if self.tokenizer is None:
            return []
        if self.tokenizer.partition(":")[0] not in ("bpe", "words") and (
            "/" in self.tokenizer or Path(self.tokenizer).expanduser().exists()
        ):
            return [
                *model_faults(self.tokenizer),
                *(["--cased is for a tokenizer that is trained. Leave it out."] * self.cased),
            ]
        faults: list[str] = []
        with gathered(faults):
            parse_spec(self.tokenizer)
        if ":" not in self.tokenizer:
            way = "To take a model's, name its folder, or its hub id with the owner, such as openai-community/gpt2."
            faults = [f"{fault} {way}" for fault in faults]
        return faults

    def regularising_faults(self) -> list[str]:
        """Faults of settings that only an AWD-LSTM uses, where they differ from their defaults."""
        plain = AWDLSTMOptions()
        return [
            f"--awd_lstm.{name} is for an AWD-LSTM, which {self.model} is not. Leave it out."
            for name in ("alpha", "beta")
            if getattr(self.awd_lstm, name) != getattr(plain, name)
        ]

    def masking_faults(self) -> list[str]:
        """Faults of settings that only a masked language model uses, where they differ from their defaults."""
        return [
            f"--{name} is for a masked language model, which {self.model} is not. Leave it out."
            for name in self.masking_given()
        ]

    def _vocabulary_faults(self) -> list[str]:
        if self.vocabulary == "keep":
            return []
        faults: list[str] = []
        with gathered(faults):
            parse_choice(self.vocabulary)
        return faults

    def _given_for_a_new_one(self) -> list[str]:
        """The settings that only a new model uses and that differ from their defaults."""
        plain = AWDLSTMOptions()
        sizes = [f.name for f in fields(plain) if f.name not in ("alpha", "beta")]
        given = [f"awd_lstm.{name}" for name in sizes if getattr(self.awd_lstm, name) != getattr(plain, name)]
        cased = self.cased and self.vocabulary == "keep"
        own = {"tokenizer": self.tokenizer, "cased": cased, "backward": self.backward}
        return given + [name for name, value in own.items() if value]
