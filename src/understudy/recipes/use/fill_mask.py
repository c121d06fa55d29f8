"""``understudy fill-mask``: a text with gaps in, the likeliest words for each gap out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Gt

from understudy.errors import ModelError
from understudy.settings.configuration import check
from understudy.settings.training import model_faults


@dataclass(kw_only=True)
class FillMask:
    """Fill the gaps of a text with a masked language model; of several gaps each is answered."""

    positional: ClassVar[tuple[str, ...]] = ("model", "text")
    model: str = ""
    """A run, a model folder or a hub id; also as a bare word (`understudy fill-mask MODEL "text with [MASK]"`)."""
    text: list[str] = field(default_factory=list)
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

    def run(self) -> list[dict[str, Any]]:
        """Fill the gaps; one entry a text.

        Raises:
            UnderstudyError: if the model cannot fill gaps, or a text has none.
        """
        check(self)
        from understudy.inference.fill_mask import Filler
        from understudy.models.files.lengths import max_length
        from understudy.models.masked import load_masked_model

        found = load_masked_model(self.model)
        if found.note is not None:
            raise ModelError(
                f"{self.model}: has no trained masked-LM head, so that it cannot fill gaps. Train it first (understudy pretrain --model {self.model}), or name a masked language model."
            )
        length = max_length(found.model.config, found.tokenizer, None)
        filler = Filler(found.model, found.tokenizer, max_length=length)
        filler.check(self.text)
        entries: list[dict[str, Any]] = [
            {"text": text, "masks": [[asdict(filling) for filling in gap] for gap in filler.fill(text, top=self.top)]}
            for text in self.text
        ]
        if self.json:
            print(json.dumps(entries, indent=1, ensure_ascii=False))
        else:
            from rich.console import Console

            from understudy.report.fillings import fillings_table

            for entry in entries:
                Console().print(fillings_table(entry))
        return entries
