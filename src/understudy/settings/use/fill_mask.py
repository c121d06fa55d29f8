"""Settings of ``understudy fill-mask``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Gt

from understudy.settings.flags import Shown
from understudy.settings.models import model_faults


@dataclass(kw_only=True)
class FillMaskSettings:
    """Fill the gaps of a text with a masked language model; each gap is filled separately."""

    command: ClassVar[str] = "fill-mask"
    positional: ClassVar[tuple[str, ...]] = ("model", "text")
    model: Annotated[str, Shown("MODEL", required=True)] = ""
    """A run, a model folder or a hub id; also as a bare word (`understudy fill-mask MODEL "text with [MASK]"`)."""
    text: Annotated[list[str], Shown("TEXT", required=True)] = field(default_factory=list)
    """Texts with the model's mask token where words are missing; also as bare words after the model."""
    top: Annotated[int, Gt(0)] = 5
    """Words shown for each gap."""
    json: bool = False
    """Print JSON instead of tables."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without loading weights."""
        example = 'as in: understudy fill-mask runs/lm "The film was [MASK]."'
        faults = model_faults(self.model) if self.model else [f"no model: name a run or a model folder, {example}"]
        return faults if self.text else [*faults, f"no text: write one with the model's mask token in it, {example}"]
