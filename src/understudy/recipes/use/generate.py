"""``understudy generate``: a text continued by a language model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Lt

from understudy.errors import ModelError
from understudy.settings.configuration import check
from understudy.settings.training import model_faults


@dataclass(kw_only=True)
class Generate:
    """Continue texts with a language model: an AWD-LSTM, or a causal one of transformers."""

    positional: ClassVar[tuple[str, ...]] = ("model", "text")
    model: str = ""
    """A run, a model folder or a hub id; also as a bare word (`understudy generate MODEL "text to continue"`)."""
    text: list[str] = field(default_factory=list)
    """Texts to continue; also as bare words after the model. An empty one begins anew."""
    max_tokens: Annotated[int, Gt(0)] = 50
    """Tokens written at most; less where the text comes to its end."""
    temperature: Annotated[float, Ge(0), Lt(math.inf)] = 1.0
    """Below 1 the likely becomes likelier; 0 always takes the likeliest."""
    top_k: Annotated[int, Ge(0)] = 50
    """Draw among so many likeliest tokens; 0 for all."""
    seed: Annotated[int, Ge(0)] = 0
    """Of the draws."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        example = 'as in: understudy generate runs/lm "Once upon a time"'
        faults = model_faults(self.model) if self.model else [f"no model: name a run or a model folder, {example}"]
        return faults if self.text else [*faults, f"no text: write how it is to begin, {example}"]

    def run(self) -> list[str]:
        """Continue the texts and print them.

        Raises:
            UnderstudyError: if the model does not continue texts, or a text is too long for it.
        """
        check(self)
        from understudy.inference.generation import Writer
        from understudy.models.language import language_kind, load_next_token_model

        if language_kind(self.model) == "masked":
            raise ModelError(
                f"{self.model}: fills gaps and does not continue texts. Use understudy fill-mask, or name a causal model such as GPT-2 or an AWD-LSTM."
            )
        writer = Writer(*load_next_token_model(self.model))
        written = [
            writer.write(
                text, max_tokens=self.max_tokens, temperature=self.temperature, top_k=self.top_k, seed=self.seed
            )
            for text in self.text
        ]
        for text in written:
            print(text)
        return written
