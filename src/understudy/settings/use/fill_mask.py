"""Settings of ``understudy fill-mask``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Gt

from understudy.models.files.names import mask_token, resolve
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
        if not self.text:
            faults.append(f"no text: write one with the model's mask token in it, {example}")
        elif not faults and (mask := mask_token(resolve(self.model))) is not None:
            faults += [no_gap(text, mask) for text in self.text if mask not in text]
        return faults


def no_gap(text: str, mask: str) -> str:
    """What is wrong with a text that has no gap.

    Example:
        >>> no_gap("The film was <mask>.", "[MASK]")
        "'The film was <mask>.': has no gap to fill. Write [MASK], this model's mask token, where a word is missing."
    """
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return f"'{short}': has no gap to fill. Write {mask}, this model's mask token, where a word is missing."
