"""A corpus for masked language models: encoded, masked differently in each epoch, scored under fixed masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.batches.contract import Batch
from understudy.data.batches.masked import MaskedBlocks, MaskedLines, fixed_batches
from understudy.data.batches.masking import Masking
from understudy.data.texts import Texts
from understudy.data.tokens.encode import Encoded, encode
from understudy.errors import ConfigError, DataError
from understudy.inference.logits import token_budget
from understudy.models.structure.hidden_states import can_pack, hidden_states
from understudy.models.structure.inputs import settle_inputs
from understudy.objectives.masked_lm import masked_scores
from understudy.runs.devices import processes
from understudy.runs.text_limits import said_of_cuts, text_length

_FIXED_SEED = 0
"""Seed of the masks that models are scored on: the same for every run, whatever its seed and masking."""

_TRIES = 100
"""Epochs whose masks are tried until one masks a token, where the validation texts are few and short."""


class MaskedSettings(Protocol):
    """The settings of masking, rows and batches that a recipe has."""

    blocks: Any
    mask_probability: float
    whole_words: bool
    mask_rounds: int | None
    batch_size: int
    max_tokens: int | None
    max_length: int | None
    seed: int


class MaskedTexts:
    """The parts of a corpus for one masked language model, or for several that read the same tokens.

    Attributes:
        length: tokens of a row at most, special ones included.
        parts: the encoded texts by name, ``train`` and ``validation`` among them.
        batches: of training, each epoch with other masks.
        notes: what was cut or counted, and what the models do not allow.

    Raises:
        ConfigError: if a model cannot read `max_length` tokens, or there are fewer rows than processes.
        DataError: if no token of one of the parts can be masked.
    """

    def __init__(
        self,
        settings: MaskedSettings,
        texts: Mapping[str, Texts],
        models: Sequence[Any],
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.tokenizer = tokenizer
        self.length = min(text_length(model, tokenizer, settings.max_length) for model in models)
        self.max_tokens = settings.max_tokens or token_budget(processes().device)
        self.notes: list[str] = []
        # a single text has one segment, which is every model's default
        taken = [settle_inputs(model, tokenizer, answers=hidden_states) for model in models]
        self.names = tuple(name for name in ("input_ids", "attention_mask") if all(name in names for names in taken))
        pack = settings.blocks == "pack"

        self.parts = {name: self._encoded(part, name, split=pack and name == "train") for name, part in texts.items()}
        self.batches = self._batches(settings, models)
        self._fixed = {name: self._fixed_epoch(name) for name in self.parts if name != "train"}
        if not self.batches.masking.maskable[self.parts["train"].ids].any():
            raise _no_known_token("train")

    @property
    def rows(self) -> str:
        """What a row of a batch is called."""
        return "blocks" if isinstance(self.batches, MaskedBlocks) else "texts"

    def scores(self, model: Any, part: str, device: torch.device) -> dict[str, float]:
        """Loss, perplexity and accuracy of a model on a part of the corpus, under fixed masks."""
        return masked_scores(model, self.shown(part), device=device)

    def shown(self, part: str) -> Iterator[Batch]:
        """The batches of a part of the corpus under fixed masks."""
        return self._shown(part, self._fixed[part])

    def _encoded(self, texts: Texts, name: str, *, split: bool) -> Encoded:
        """A part of the corpus as token ids; long texts are cut, or split into several rows, and counted."""
        encoded = encode(texts, self.tokenizer, max_length=self.length, split=split)
        if split and len(encoded) > len(texts):
            self.notes.append(
                f"{name}: {len(texts):,} texts make {len(encoded):,} of at most {self.length} tokens; the long ones were split."
            )
        elif not split:
            ways = "--blocks pack goes on with it, --max_length" if name == "train" else "--max_length"
            self.notes += said_of_cuts({name: encoded}, self.length, more=f"{ways} moves the limit")
        return encoded

    def _batches(self, settings: MaskedSettings, models: Sequence[Any]) -> MaskedLines | MaskedBlocks:
        masking = Masking.of(
            self.tokenizer,
            probability=settings.mask_probability,
            whole_words=settings.whole_words,
            seed=settings.seed,
            rounds=settings.mask_rounds,
        )
        state = processes()
        options: dict[str, Any] = {
            "names": self.names,
            "batch_size": settings.batch_size,
            "max_tokens": self.max_tokens,
            "seed": settings.seed,
            "world_size": state.num_processes,
            "rank": state.process_index,
        }
        pack = settings.blocks == "pack"
        for model in models if pack else ():
            if not can_pack(model, max_length=self.length):
                pack = False
                self.notes.append(
                    f"--blocks pack: a '{model.config.model_type}' model cannot keep the texts of a block apart, so each text has a row of its own."
                )
                break
        try:
            batches = (
                MaskedBlocks(self.parts["train"], masking, max_length=self.length, **options)
                if pack
                else MaskedLines(self.parts["train"], masking, **options)
            )
            batches.steps(0)
        except ValueError as error:
            raise ConfigError(f"{error}. Give a larger --batch_size, or more text.") from None
        return batches

    def _shown(self, part: str, epoch: int) -> Iterator[Batch]:
        masking = Masking.of(self.tokenizer, seed=_FIXED_SEED)
        return fixed_batches(self.parts[part], masking, names=self.names, max_tokens=self.max_tokens, epoch=epoch)

    def _fixed_epoch(self, part: str) -> int:
        """The first epoch whose masks hide a token of a part: 0, unless there is hardly any text.

        Raises:
            DataError: if no token of it can be masked.
        """
        for epoch in range(_TRIES):
            if any(batch.counts["masked"] for batch in self._shown(part, epoch)):
                return epoch
        raise _no_known_token(part)


def _no_known_token(part: str) -> DataError:
    return DataError(
        f"{part}: the model's tokenizer knows no token of it, so none can be masked. Give text in a language that the model reads, or more of it."
    )
