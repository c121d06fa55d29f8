"""``understudy generate``: a text continued by a language model."""

from __future__ import annotations

from understudy.errors import ModelError
from understudy.inference.language.generation import Writer
from understudy.models.language import language_kind, load_next_token_model
from understudy.settings.configuration import check
from understudy.settings.use.generate import GenerateSettings
from understudy.terminal.lines import give


class Generate(GenerateSettings):
    """Continue texts with a language model: an AWD-LSTM, or a causal one of transformers."""

    def run(self) -> list[str]:
        """Continue the texts and print them.

        Raises:
            UnderstudyError: if the model does not continue texts, or a text is too long for it.
        """
        check(self)
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
            give(text)
        return written
