"""Which tokens a tokenizer needs to cut texts as before, beside those that it cuts them into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from transformers import PreTrainedTokenizerBase

from understudy.data.texts import Texts
from understudy.data.tokens.pieces import pieces, special_ids


def needed(tokenizer: PreTrainedTokenizerBase, content: Mapping[str, Any], used: set[int], texts: Texts) -> set[int]:
    """The ids of all tokens that are kept.

    Args:
        content: of ``tokenizer.json``.
        used: the tokens of the texts.
        texts: where WordPiece may know the beginning of a word that it does not know in whole.
    """
    model = content["model"]
    padding = tokenizer.pad_token_id
    kept = used | special_ids(tokenizer) | {token["id"] for token in content["added_tokens"]}
    kept |= set(range(padding + 1)) if padding is not None else set()  # some models need the padding at its id
    if model["type"] != "WordLevel":  # a word of one character is a word like any other
        kept |= {number for number, piece in pieces(tokenizer).items() if _is_single(piece.text)}
    if model["type"] == "WordPiece":
        kept |= _begun(tokenizer, model, texts)
    if model["type"] == "BPE":
        kept |= _merged(model, kept)
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        kept.add(scores.index(min(scores)))
        kept |= set() if model.get("unk_id") is None else {model["unk_id"]}
    unknown = model.get("unk_token")
    if unknown is not None and unknown in model["vocab"] and isinstance(model["vocab"], dict):
        kept.add(model["vocab"][unknown])
    return kept


def merges_of(model: Mapping[str, Any]) -> list[Any]:
    """The merges of a BPE whose parts and whose result are in its vocabulary, in their order."""
    vocabulary, prefix = model["vocab"], model.get("continuing_subword_prefix") or ""
    found = []
    for merge in model["merges"]:
        left, right = _pair(merge)
        if left in vocabulary and right in vocabulary and left + right.removeprefix(prefix) in vocabulary:
            found.append(merge)
    return found


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _is_single(text: bytes) -> bool:
    """Whether a piece is one byte or one character."""
    if len(text) <= 1:
        return True
    try:
        return len(text.decode()) == 1
    except UnicodeDecodeError:
        return False


def _merged(model: Mapping[str, Any], kept: set[int]) -> set[int]:
    """What the kept tokens are merged of.

    Within a token the merges are those of the token alone: a pair that reaches beyond it was never merged, or it would
    not have become this token.
    """
    vocabulary, prefix = model["vocab"], model.get("continuing_subword_prefix") or ""
    ends = model.get("end_of_word_suffix") or ""
    names = {number: token for token, number in vocabulary.items()}
    ranks = {_pair(merge): rank for rank, merge in enumerate(model["merges"])}
    found = set[int]()
    for number in kept & names.keys():
        for part in _parts(names[number], ranks, prefix, ends):
            if part in vocabulary:
                found.add(vocabulary[part])
    return found


def _parts(token: str, ranks: Mapping[tuple[str, str], int], prefix: str, ends: str) -> Iterator[str]:
    """Everything that a token is merged of, its characters first."""
    whole, last = (token.removesuffix(ends), ends) if ends and token.endswith(ends) else (token, "")
    inside = bool(prefix) and whole.startswith(prefix)
    characters = list(whole.removeprefix(prefix) if inside else whole)
    parts = [f"{prefix}{one}" if prefix and (inside or i) else one for i, one in enumerate(characters)]
    if parts:
        parts[-1] += last
    yield from parts
    while len(parts) > 1:
        rank, at = min((ranks.get((one, two), len(ranks)), i) for i, (one, two) in enumerate(pairwise(parts)))
        if rank == len(ranks):
            return
        parts[at : at + 2] = [parts[at] + parts[at + 1].removeprefix(prefix)]
        yield parts[at]


def _begun(tokenizer: PreTrainedTokenizerBase, model: Mapping[str, Any], texts: Texts) -> set[int]:
    """The pieces that begin words which become unknown further on: without them a shorter piece might fit, and then all.

    A word with a character that is unknown, or that is too long, stays unknown whatever is kept.
    """
    backend: Any = tokenizer.backend_tokenizer
    vocabulary, prefix = model["vocab"], model.get("continuing_subword_prefix") or ""
    found, seen = set[int](), set[str]()
    for row in texts:
        for text in row:
            plain = backend.normalizer.normalize_str(text) if backend.normalizer else text
            words = backend.pre_tokenizer.pre_tokenize_str(plain) if backend.pre_tokenizer else [(plain, None)]
            for word, _ in words:
                if word not in seen:
                    seen.add(word)
                    taken = _longest_pieces(word, vocabulary, prefix)
                    found |= {vocabulary[piece] for piece in taken}
    return found


def _longest_pieces(word: str, vocabulary: Mapping[str, int], prefix: str) -> list[str]:
    """The pieces that WordPiece takes before it finds none that fits; nothing for a word that it knows in whole."""
    taken, start = list[str](), 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = f"{prefix if start else ''}{word[start:end]}"
            if piece in vocabulary:
                taken.append(piece)
                start = end
                break
        else:
            return taken
    return []
