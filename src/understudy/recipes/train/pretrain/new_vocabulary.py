"""``pretrain --vocabulary``: a vocabulary learnt from the texts, and the model carried to it."""

from __future__ import annotations

from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from understudy.data.texts import Texts
from understudy.data.tokens.specs import parse_choice
from understudy.data.tokens.vocabulary import retrain_tokenizer
from understudy.models.vocabulary.transplant import transplant


class Carried(NamedTuple):
    """A model over the vocabulary that was chosen, and a sentence or none about where its rows come from."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    notes: list[str]


def carry(
    model: Any, tokenizer: PreTrainedTokenizerBase, texts: Texts, *, vocabulary: str, cased: bool = False
) -> Carried:
    """A language model with the vocabulary that ``--vocabulary`` asks for.

    Args:
        texts: what a new one is learnt from.
        vocabulary: ``keep``, ``new:N`` or ``words:N``.
        cased: keep case and accents even where the model's own tokenizer drops them.

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
    fewer = f" (the texts have no more, {asked:,} were asked for)" if len(made) < asked else ""
    return Carried(
        carried,
        made,
        [
            f"vocabulary: {len(made):,} tokens learnt from the training texts{fewer}, {len(tokenizer):,} before. {rows.kept:,} are known to both and keep their rows, {rows.composed:,} got the mean of the old pieces they are cut into, {rows.averaged:,} the mean of all old rows."
        ],
    )
