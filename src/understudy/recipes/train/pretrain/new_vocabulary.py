"""``pretrain --vocabulary``: a vocabulary learnt from the texts, and the model carried over to it."""

from __future__ import annotations

from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from understudy.data.texts import Texts
from understudy.data.tokens.specs import parse_choice
from understudy.data.tokens.vocabulary import retrain_tokenizer
from understudy.models.vocabulary.transplant import transplant


class Carried(NamedTuple):
    """A model with the chosen vocabulary, and a note on where the rows of its table come from."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    notes: list[str]


def carry(
    model: Any, tokenizer: PreTrainedTokenizerBase, texts: Texts, *, vocabulary: str, cased: bool = False
) -> Carried:
    """A language model with the vocabulary that ``--vocabulary`` asks for.

    Args:
        texts: a new vocabulary is learnt from them.
        vocabulary: ``keep``, ``new:N`` or ``words:N``.
        cased: keep case and accents, even where the model's own tokenizer drops them.

    Raises:
        ConfigError: if the choice is malformed or its size too small.
        ModelError: if the architecture does not allow for another vocabulary.
    """
    spec = parse_choice(vocabulary)
    if spec is None:
        return Carried(model, tokenizer, [])
    made = retrain_tokenizer((text for (text,) in texts), spec, like=tokenizer, cased=cased)
    carried, rows = transplant(model, tokenizer, made)
    asked = int(spec.partition(":")[2])
    fewer = f" (the texts have no more; {asked:,} were asked for)" if len(made) < asked else ""
    return Carried(
        carried,
        made,
        [
            f"vocabulary: {len(made):,} tokens learnt from the training texts{fewer}, {len(tokenizer):,} before. {rows.kept:,} are in both and keep their rows, {rows.composed:,} start at the mean of the old pieces that they are made of, {rows.averaged:,} at the mean of all old rows."
        ],
    )
