"""The words that a pruned model keeps."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from understudy.data.readers.corpus import load_corpus
from understudy.data.readers.formats.reading import Reading
from understudy.data.texts import Texts
from understudy.errors import ModelError
from understudy.inference.predictor import Predictor
from understudy.models.structure.layers import word_embeddings
from understudy.models.vocabulary.subset import subset_model, subset_tokenizer


class Words(NamedTuple):
    """A model and its tokenizer over fewer tokens, and what is to be said of them."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    facts: dict[str, Any]


def fewer_words(before: Predictor, corpora: list[str], *, name: str, reading: Reading) -> Words:
    """A copy of a model with the tokens that texts use.

    Args:
        corpora: files, folders or hub data sets.
        name: of the model, for messages.

    Raises:
        DataError: if the texts cannot be read.
        ModelError: if the vocabulary cannot be reduced.
    """
    texts = _texts(corpora, reading)
    try:
        subset = subset_tokenizer(before.tokenizer, texts)
        model = subset_model(before.model, before.tokenizer, subset)
    except ModelError as error:
        raise ModelError(*(f"{name}: {fault}" for fault in error.faults)) from None
    tables = [word_embeddings(one).weight for one in (before.model, model)]
    facts = {
        "texts": len(texts),
        "used": subset.used,
        "before": len(tables[0]),
        "after": len(tables[1]),
        "kept": hashlib.sha256(subset.kept.tobytes()).hexdigest(),
        "bytes_saved": sum(table.numel() * table.element_size() * sign for table, sign in zip(tables, (1, -1))),
    }
    return Words(model, subset.tokenizer, facts)


def _texts(corpora: list[str], reading: Reading) -> Texts:
    """All texts of all splits, each as one text."""
    found = [part for name in corpora for part in load_corpus(name, reading=reading).texts().values()]
    return Texts.concat(found)
