"""A tokenizer and a model over some of the tokens: those that a corpus uses, and what every text may need.

Texts that need no other token are cut as before. That is so by construction, and it is checked on every text of the
corpus:

- WordPiece takes the longest piece that fits. A piece that was never taken was never the longest that fits.
- BPE merges the pair of the lowest rank. What is kept has all merges that were ever made, so no other pair comes first.
- Unigram takes the cut of the highest score. Among fewer cuts it is still the highest. (The score of an unknown character
  depends on the lowest score of all pieces, so that piece stays.)
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from understudy.data.texts import Texts
from understudy.data.tokens.encoder import TextEncoder
from understudy.data.tokens.pieces import special_ids
from understudy.errors import ModelError
from understudy.models.files.tokenizers import read_tokenizer
from understudy.models.vocabulary.kept_tokens import merges_of, needed
from understudy.models.vocabulary.origins import Origins
from understudy.models.vocabulary.transplant import transplant

_KINDS = ("WordPiece", "BPE", "Unigram", "WordLevel")


class Subset(NamedTuple):
    """A tokenizer with some of the tokens of another."""

    tokenizer: PreTrainedTokenizerBase
    kept: np.ndarray
    """The old id of each new one, int64 ``(tokens,)``, rising."""
    used: int
    """How many of them the texts use; the others are special, single characters and what the pieces are merged of."""


def subset_tokenizer(tokenizer: PreTrainedTokenizerBase, texts: Texts) -> Subset:
    """The tokenizer with the tokens that `texts` use, and with all special tokens and single characters.

    The order of the tokens stays, so ids up to that of the padding token stay too.

    Args:
        tokenizer: WordPiece, BPE, Unigram or whole words, with a ``tokenizer.json``. It is not changed.
        texts: what must be cut as before.

    Raises:
        ModelError: if the tokenizer is of another kind, knows nothing of the texts, or would cut one of them otherwise.
    """
    content = _content(tokenizer)
    kind = content["model"].get("type")
    if kind not in _KINDS:
        raise ModelError(
            f"its tokenizer is of the kind {kind}, and only {', '.join(_KINDS)} can be reduced. Leave --vocabulary out."
        )
    encoder = TextEncoder(tokenizer, max_length=None)
    counts = np.zeros(max(tokenizer.get_vocab().values()) + 1, np.int64)
    for part in encoder.parts(texts):
        counts += np.bincount(part.ids, minlength=len(counts))
    used = set(np.flatnonzero(counts).tolist())
    if used <= special_ids(tokenizer):
        raise ModelError(
            f"its tokenizer knows no word of these {len(texts):,} texts, so nothing but special tokens would be kept. Give --vocabulary texts in the language of the model."
        )
    kept = np.array(sorted(needed(tokenizer, content, used, texts)))
    made = _written(tokenizer, _reduced(content, kept))
    _check_ids(tokenizer, made, kept)
    _check_texts(encoder, TextEncoder(made, max_length=None), kept, texts)
    return Subset(made, kept, len(used))


def subset_model(model: Any, old: PreTrainedTokenizerBase, subset: Subset) -> Any:
    """A copy of a model whose tables have the rows of the kept tokens, to the bit.

    Raises:
        ModelError: if the architecture cannot be moved to another vocabulary.
    """
    ids = torch.from_numpy(subset.kept)
    every = torch.arange(len(ids))
    rows = Origins(ids=ids, offsets=torch.arange(len(ids) + 1), tokens=every, same=every, old=ids)
    return transplant(model, old, subset.tokenizer, rows=rows).model


def _content(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What ``tokenizer.json`` would hold.

    Raises:
        ModelError: if the tokenizer is written in Python.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"its tokenizer ({type(tokenizer).__name__}) is written in Python, so its vocabulary cannot be reduced. Leave --vocabulary out."
        )
    found: dict[str, Any] = json.loads(backend.to_str())
    return found


def _reduced(content: dict[str, Any], kept: np.ndarray) -> dict[str, Any]:
    """The content with these tokens alone, renumbered in their order."""
    new = {int(old): number for number, old in enumerate(kept)}
    model = dict(content["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [piece for old, piece in enumerate(model["vocab"]) if old in new]
        model["unk_id"] = None if model.get("unk_id") is None else new[model["unk_id"]]
    else:
        model["vocab"] = {token: new[old] for token, old in model["vocab"].items() if old in new}
    if model["type"] == "BPE":
        model["merges"] = merges_of(model)
    added = [{**token, "id": new[token["id"]]} for token in content["added_tokens"]]
    return {
        **content,
        "model": model,
        "added_tokens": added,
        "post_processor": _renumbered(content.get("post_processor"), new),
        "padding": None,
        "truncation": None,
    }


def _renumbered(processor: Any, new: dict[int, int]) -> Any:
    """What adds special tokens, with their new ids."""
    if not isinstance(processor, dict):
        return processor
    made = dict(processor)
    if "processors" in made:
        made["processors"] = [_renumbered(one, new) for one in made["processors"]]
    for name in ("sep", "cls"):  # BERT's and RoBERTa's
        if isinstance(made.get(name), list):
            token, old = made[name]
            made[name] = [token, new[old]]
    if isinstance(made.get("special_tokens"), dict):  # of a template
        made["special_tokens"] = {
            name: {**known, "ids": [new[old] for old in known["ids"]]} for name, known in made["special_tokens"].items()
        }
    return made


def _written(tokenizer: PreTrainedTokenizerBase, content: dict[str, Any]) -> PreTrainedTokenizerBase:
    """The tokenizer of a content, read as any other is, with the settings of `tokenizer`."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        path = Path(folder) / "tokenizer.json"
        names = set(tokenizer.vocab_files_names.values()) - {path.name}
        for name in names:  # with the old ids
            (Path(folder) / name).unlink(missing_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        settings = Path(folder) / "tokenizer_config.json"
        told = json.loads(settings.read_text(encoding="utf-8"))
        told.pop("added_tokens_decoder", None)
        settings.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        made = read_tokenizer(folder)
    made.name_or_path = made.init_kwargs["name_or_path"] = ""
    made.padding_side, made.truncation_side = tokenizer.padding_side, tokenizer.truncation_side
    return made


def _check_ids(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, kept: np.ndarray) -> None:
    chosen = set(kept.tolist())
    expected = {token: number for token, number in old.get_vocab().items() if number in chosen}
    found = {token: int(kept[number]) for token, number in new.get_vocab().items() if number < len(kept)}
    if found != expected or len(new.get_vocab()) != len(expected):
        raise ModelError(
            f"its tokenizer ({type(old).__name__}) does not read a smaller vocabulary as it is written, so it cannot be reduced. Leave --vocabulary out."
        )


def _check_texts(old: TextEncoder, new: TextEncoder, kept: np.ndarray, texts: Texts) -> None:
    """Check that every text is cut as before.

    Raises:
        ModelError: if one is not; it is shown.
    """
    for one, other in zip(old.parts(texts), new.parts(texts), strict=True):
        same = np.array_equal(one.lengths, other.lengths) and np.array_equal(one.ids, kept[other.ids])
        if not same:
            raise ModelError(
                f"its vocabulary cannot be reduced: {_first_odd(old, new, kept, texts)!r} would be cut into other tokens. Please report this tokenizer."
            )


def _first_odd(old: TextEncoder, new: TextEncoder, kept: np.ndarray, texts: Sequence[Any] | Iterable[Any]) -> str:
    odd = next((text for text in texts if old.one(text)[0] != kept[new.one(text)[0]].tolist()), ("",))
    return str(odd[0])[:60]
