"""``understudy fill-mask``: a text with gaps in, the likeliest words for each gap out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from understudy.errors import ModelError
from understudy.inference.language.fill_mask import Filler
from understudy.models.files.lengths import max_length
from understudy.models.files.names import pretrain
from understudy.models.masked import load_masked_model
from understudy.report.tables.fillings import fillings_table
from understudy.settings.configuration import check
from understudy.settings.use.fill_mask import FillMaskSettings
from understudy.terminal.lines import give
from understudy.terminal.screen import draw_or_return


class FillMask(FillMaskSettings):
    """Fill the gaps of a text with a masked language model; each gap gets its own answers."""

    def run(self) -> list[dict[str, Any]]:
        """Fill the gaps; one entry a text.

        Raises:
            UnderstudyError: if the model cannot fill gaps, or a text has none.
        """
        check(self)
        found = load_masked_model(self.model)
        if found.note is not None:
            raise ModelError(
                f"{self.model}: has no trained masked-LM head, so it cannot fill gaps. Train it first ({pretrain(self.model)}), or name a masked language model."
            )
        length = max_length(found.model.config, found.tokenizer, None)
        filler = Filler(found.model, found.tokenizer, max_length=length)
        filler.check(self.text)
        entries: list[dict[str, Any]] = [
            {"text": text, "masks": [[asdict(filling) for filling in gap] for gap in filler.fill(text, top=self.top)]}
            for text in self.text
        ]
        if self.json:
            give(json.dumps(entries, indent=1, ensure_ascii=False))
            return entries
        return draw_or_return(entries, *map(fillings_table, entries))
