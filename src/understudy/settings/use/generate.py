"""Settings of ``understudy generate``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Lt

from understudy.settings.flags import Shown
from understudy.settings.models import model_faults


@dataclass(kw_only=True)
class GenerateSettings:
    """Continue texts with a language model: an AWD-LSTM, or a causal one of transformers."""

    command: ClassVar[str] = "generate"
    positional: ClassVar[tuple[str, ...]] = ("model", "text")
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """A run, a model folder or a hub id; also as a bare word (`understudy generate MODEL "text to continue"`)."""
    text: Annotated[list[str], Shown("TEXT", required=True)] = field(default_factory=list)
    """Texts to continue; also as bare words after the model. An empty text starts from nothing."""
    max_tokens: Annotated[int, Gt(0)] = 50
    """Largest number of tokens to write; fewer where the text ends earlier."""
    temperature: Annotated[float, Ge(0), Lt(math.inf)] = 1.0
    """Below 1 sharpens the distribution; 0 is greedy."""
    top_k: Annotated[int, Ge(0)] = 50
    """Draw among the K likeliest tokens; 0 for all."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the draws."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        example = 'as in: understudy generate runs/lm "Once upon a time"'
        faults = model_faults(self.model) if self.model else [f"no model: name a run or a model folder, {example}"]
        return faults if self.text else [*faults, f"no text: write the text to continue, {example}"]
