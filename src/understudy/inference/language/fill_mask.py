"""A masked language model and a text with gaps in; the likeliest words for each gap out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.encoder import TextEncoder
from understudy.data.tokens.word_pieces import word_pieces
from understudy.errors import DataError
from understudy.models.structure.hidden_states import hidden_states
from understudy.models.structure.vocabulary_head import vocabulary_head
from understudy.models.vocabulary.embeddings import table_rows


@dataclass(frozen=True)
class Filling:
    """A token for a gap, its probability, and the text with the token in the gap.

    Where the gap directly follows a word in the text, a piece that continues a word is joined to it, and a token that
    begins a word stays as it is decoded.
    """

    token: str
    probability: float
    text: str


class Filler:
    """A masked language model, ready to fill gaps. It is put into evaluation mode.

    Args:
        max_length: tokens read of a text, special tokens included; the rest is cut off.
    """

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.head = vocabulary_head(model)
        self.encoder = TextEncoder(tokenizer, max_length=max_length)
        self._known = table_rows(tokenizer)
        self._alone = word_pieces(tokenizer, size=self._known).closes

    def check(self, texts: Sequence[str]) -> None:
        """Check that every text has a gap, and none beyond what the model reads.

        Raises:
            DataError: with a sentence for each text that is wrong.
        """
        mask, faults = str(self.tokenizer.mask_token), []
        for text in texts:
            gaps, read = text.count(mask), self.encoder.one(text)[0].count(self.tokenizer.mask_token_id)
            if not gaps:
                faults.append(
                    f"'{_short(text)}': has no gap to fill. Write {mask}, this model's mask token, where a word is missing."
                )
            elif read < gaps:
                faults.append(
                    f"'{_short(text)}': {gaps - read} of its {gaps} {mask} lie beyond the {self.encoder.max_length} tokens that this model reads. Shorten the text."
                )
        if faults:
            raise DataError(*faults)

    def fill(self, text: str, *, top: int = 5) -> list[list[Filling]]:
        """The likeliest words for each gap of a text, in order. Each gap is filled while the others are still masked.

        Returns:
            One list for each gap: `top` words (at most the whole vocabulary), the likeliest first.

        Raises:
            DataError: if the text has no gap, or one beyond what the model reads.
        """
        self.check([text])
        ids = self.encoder.one(text)[0]
        input_ids = torch.tensor([ids])
        inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        with torch.inference_mode():
            hidden = hidden_states(self.model, inputs)[input_ids == self.tokenizer.mask_token_id]
            shares = self.head(hidden).float().softmax(-1)[:, : self._known]
            best = shares.topk(min(top, shares.shape[-1]), dim=-1)
        before = [ids[place - 1] for place, token in enumerate(ids) if token == self.tokenizer.mask_token_id]
        return [
            [self._filling(text, gap, before[gap], number, share) for number, share in zip(numbers, found)]
            for gap, (numbers, found) in enumerate(zip(best.indices.tolist(), best.values.tolist()))
        ]

    def _filling(self, text: str, gap: int, before: int, number: int, share: float) -> Filling:
        token = word = self.tokenizer.decode([number]).strip()
        mask = str(self.tokenizer.mask_token)
        parts = text.split(mask)
        left, right = mask.join(parts[: gap + 1]), mask.join(parts[gap + 1 :])
        if left[-1:].strip() and not (self._alone[before] or self._alone[number]):
            word = self.tokenizer.decode([before, number]).removeprefix(self.tokenizer.decode([before]))
        return Filling(token, share, left + word + right)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
