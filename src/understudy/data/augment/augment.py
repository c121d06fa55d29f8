"""Transfer-set generation: more text for the teacher to label, made from the text there is.

Reference:
    Tang et al. 2019, Distilling Task-Specific Knowledge from BERT into Simple Neural Networks, arXiv 1903.12136,
    section 3.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from understudy.data.augment.word_classes import WordClasses, word_spans

VERSION = 1
"""Raised when other rows come of the same arguments."""
LONGEST_NGRAM = 5
"""n of an n-gram sample is drawn from 1 to this."""

_SIDES = ((True, False), (False, True), (True, True))
"""What the copies of a pair change, in turn: the first text, the second, both."""


class TextRows(Protocol):
    """Rows of one or two texts that can be gone through more than once: a list of tuples, or ``Texts``."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        """The rows, in order."""
        ...


def augment(
    texts: TextRows,
    *,
    copies: int,
    seed: int,
    mask_probability: float = 0.1,
    swap_probability: float = 0.1,
    ngram_probability: float = 0.25,
    mask_token: str = "[MASK]",
    classes: WordClasses | None = None,
) -> Iterator[tuple[str, ...]]:
    """New rows made from `texts`: words masked, words swapped within their class, n-grams cut out.

    For each word X ~ U(0, 1) is drawn: below p_mask the word becomes the mask token; from there to p_mask + p_swap it
    becomes a word of its class, drawn by frequency. Then, with p_ngram, n from 1 to 5 words in a row are kept (all of
    them where the text is shorter) and the rest is dropped. Of a pair the copies change the first text, the second,
    and both, in turn. A copy that equals an original or an earlier copy is left out, so fewer than ``copies`` rows a
    text may come; rows with an empty text get none.

    Rows are made one by one as they are asked for; what grows is one hash of eight bytes a row. A copy depends on the
    seed, the position of its text, its own number and the word classes alone: more copies only add to fewer.

    Args:
        texts: rows of one or two texts, read twice (three times where the classes are to be found).
        copies: attempts a row; 20 in the paper.
        seed: of the augmentation alone, so that runs with different training seeds share one labelled set.
        mask_probability: p_mask.
        swap_probability: p_swap (p_pos in the paper).
        ngram_probability: p_ngram, once a changed text.
        mask_token: the tokenizer's own, as text.
        classes: stand-in for parts of speech; found in `texts` by :meth:`WordClasses.fit` where none are given.

    Returns:
        An iterator of rows with as many texts as the originals.

    Raises:
        ValueError: if `copies` is not positive, a probability is outside 0 to 1, or p_mask + p_swap is above 1.

    Reference:
        Tang et al. 2019, arXiv 1903.12136, section 3.2.

    Example:
        >>> rows = [("a quiet , lovely film",)]
        >>> list(augment(rows, copies=1, seed=0, mask_probability=1, swap_probability=0, ngram_probability=0))
        [('[MASK] [MASK] [MASK] [MASK] [MASK]',)]
    """
    for name, value in (
        ("mask_probability", mask_probability),
        ("swap_probability", swap_probability),
        ("ngram_probability", ngram_probability),
        ("mask_probability + swap_probability", mask_probability + swap_probability),
    ):
        if not 0 <= value <= 1 + 1e-9:
            raise ValueError(f"{name} must lie between 0 and 1, but is {value}")
    if copies < 1:
        raise ValueError(f"copies must be positive, but is {copies}")
    if classes is None and swap_probability > 0 and mask_probability < 1:
        classes = WordClasses.fit(texts, seed=seed)
    return _augment(
        texts,
        copies=copies,
        seed=seed,
        limits=(mask_probability, mask_probability + swap_probability, ngram_probability),
        mask_token=mask_token,
        classes=classes,
    )


def _augment(
    texts: TextRows,
    *,
    copies: int,
    seed: int,
    limits: tuple[float, float, float],
    mask_token: str,
    classes: WordClasses | None,
) -> Iterator[tuple[str, ...]]:
    """The rows of :func:`augment`, its arguments checked."""
    seen = {_key(row) for row in texts}
    for index, row in enumerate(texts):
        spans = [word_spans(text) for text in row]
        if not all(spans):
            continue
        for copy in range(copies):
            rng = np.random.default_rng([seed, index, copy])
            sides = (True,) if len(row) == 1 else _SIDES[copy % len(_SIDES)]
            changed = tuple(
                _change(text, words, rng, limits=limits, mask_token=mask_token, classes=classes) if side else text
                for text, words, side in zip(row, spans, sides)
            )
            key = _key(changed)
            if key not in seen:
                seen.add(key)
                yield changed


def _change(
    text: str,
    spans: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    *,
    limits: tuple[float, float, float],
    mask_token: str,
    classes: WordClasses | None,
) -> str:
    """One text through masking, swapping and n-gram sampling; what stands between its words stays as it is."""
    mask_below, swap_below, ngram_probability = limits
    fate, swap = rng.random((2, len(spans)))
    cut, length, position = rng.random(3)
    first, last = 0, len(spans)
    if cut < ngram_probability:
        kept = min(1 + int(length * LONGEST_NGRAM), len(spans))
        first = int(position * (len(spans) - kept + 1))
        last = first + kept
    pieces: list[str] = []
    done = spans[first][0]
    for word in (np.flatnonzero(fate[first:last] < swap_below) + first).tolist():
        start, end = spans[word]
        if fate[word] < mask_below:
            new = mask_token
        else:
            new = classes.draw(text[start:end], swap[word]) if classes else text[start:end]
        pieces += [text[done:start], new]
        done = end
    return "".join(pieces) + text[done : spans[last - 1][1]]


def _key(row: Sequence[str]) -> int:
    """A short hash of a row, white space aside; a collision (one in 10^5 for ten million rows) costs one copy."""
    joined = "\0".join(" ".join(text.split()) for text in row)
    return int.from_bytes(hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=8).digest())
