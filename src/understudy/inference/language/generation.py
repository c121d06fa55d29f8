"""A text and a language model in; the continued text out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.encoder import TextEncoder
from understudy.data.tokens.end_of_text import end_of_text_id
from understudy.data.tokens.pieces import special_ids
from understudy.errors import ConfigError
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.models.vocabulary.embeddings import table_rows


def sample(
    scores: Tensor, *, temperature: float = 1.0, top_k: int = 0, generator: torch.Generator | None = None
) -> int:
    """Draw a token from its scores.

    .. math:: p_i \\propto \\exp(s_i / T) \\text{ for the k largest } s_i, \\; 0 \\text{ for the others}

    Args:
        scores: ``(vocabulary,)``, logits; minus infinity for tokens that must not be drawn.
        temperature: T. Below 1 sharpens the distribution; 0 is greedy.
        top_k: k; 0 for the whole vocabulary.
        generator: torch's own by default.

    Example:
        >>> sample(torch.tensor([0.0, 3.0, 1.0]), temperature=0)
        1
    """
    if temperature == 0:
        return int(scores.argmax())
    values, tokens = scores.double().topk(min(top_k, len(scores))) if top_k else (scores.double(), None)
    below = values - values.max()  # a tiny temperature must not lead to infinity minus infinity
    chosen = int(torch.multinomial((below / temperature).softmax(-1), 1, generator=generator))
    return chosen if tokens is None else int(tokens[chosen])


class Writer:
    """Continues texts with an AWD-LSTM or with a causal language model of transformers.

    It stops at a token that ends a text. A model that reads backward writes what comes before the text.
    """

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.backward = bool(getattr(model.config, "backward", False))
        self._encoder = TextEncoder(tokenizer, max_length=None)
        ends = {end_of_text_id(tokenizer), *(tokenizer.sep_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id)}
        self._ends = {token for token in ends if token is not None}
        self._special = special_ids(tokenizer)
        self._never = sorted(self._special - self._ends)
        self._known = table_rows(tokenizer)  # tables are often larger than their vocabulary

    def write(
        self, text: str, *, max_tokens: int = 50, temperature: float = 1.0, top_k: int = 50, seed: int = 0
    ) -> str:
        """A text with its continuation.

        Args:
            text: the beginning; may be empty.
            max_tokens: the most tokens to write.
            temperature, top_k: as in :func:`sample`.
            seed: of the draws.

        Raises:
            ConfigError: if text and continuation together are more than the model can read.
        """
        ids = self.prompt(text)
        self._check_room(len(ids), max_tokens)
        generator = torch.Generator().manual_seed(seed)
        new: list[int] = []
        with torch.inference_mode():
            for scores in self._scores(ids, new):
                token = sample(scores, temperature=temperature, top_k=top_k, generator=generator)
                if token in self._ends:
                    break
                new.append(token)
                if len(new) >= max_tokens:
                    break
        return self._joined(text, ids, new)

    def prompt(self, text: str) -> list[int]:
        """The tokens of a text to be continued, without the end that its tokenizer adds; for an empty text, a beginning."""
        ids = self._encoder.one(text)[0]
        if ids and ids[-1] in {self.tokenizer.sep_token_id, self.tokenizer.eos_token_id}:
            ids = ids[:-1]
        if not ids:
            begin = self.tokenizer.bos_token_id
            return [end_of_text_id(self.tokenizer) if begin is None else int(begin)]
        if self.backward:  # no beginning of the text, or nothing could come before it
            return [token for token in reversed(ids) if token not in self._special] or [end_of_text_id(self.tokenizer)]
        return ids

    def _scores(self, ids: list[int], new: list[int]) -> Iterator[Tensor]:
        """The scores of each next token. The caller appends the chosen token to `new` before it asks for the next scores."""
        memory: Any = None
        read = ids
        while True:
            input_ids = torch.tensor([read], device=self.model.device)
            if isinstance(self.model, AWDLSTMForCausalLM):
                output = self.model(input_ids, memory)
                memory = output.state
            else:
                output = self.model(input_ids=input_ids, past_key_values=memory, use_cache=True)
                memory = output.past_key_values
            scores = output.logits[0, -1].float().cpu()
            scores[self._never] = -torch.inf
            scores[self._known :] = -torch.inf
            yield scores
            read = new[-1:]

    def _check_room(self, tokens: int, more: int) -> None:
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if not isinstance(limit, int) or tokens + more <= limit:
            return
        way = f"Give --max_tokens {limit - tokens} or less." if tokens < limit else "Give a shorter text."
        raise ConfigError(
            f"the text has {tokens:,} tokens and {more:,} more are asked for, but this model reads {limit:,} in all. {way}"
        )

    def _joined(self, text: str, ids: list[int], new: list[int]) -> str:
        """The given text with the new tokens; the decoded whole where the text cannot be found in it."""
        before, after = (new[::-1], ids[::-1]) if self.backward else (ids, new)
        whole = self.tokenizer.decode([*before, *after], skip_special_tokens=True)
        known = self.tokenizer.decode(after if self.backward else before, skip_special_tokens=True)
        if self.backward:
            return f"{whole.removesuffix(known)}{text}" if whole.endswith(known) else whole
        return f"{text}{whole.removeprefix(known)}" if whole.startswith(known) else whole
