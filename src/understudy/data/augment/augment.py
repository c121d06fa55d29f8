"""Transfer-set generation: more text for the teacher to label, made from the texts at hand.

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
"""To be raised when the same arguments give other rows."""

LONGEST_NGRAM = 5
"""The length of an n-gram sample is drawn from 1 to this."""

_SIDES = ((True, False), (False, True), (True, True))
"""Which texts of a pair its copies change, in turn: the first, the second, both."""


class TextRows(Protocol):
    """Rows of one or two texts that can be read more than once: a list of tuples, or ``Texts``."""

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
    """Make new rows from `texts`: words are masked, words are swapped within their class, and n-grams are cut out.

    For each word, X ~ U(0, 1) is drawn. Below p_mask the word becomes the mask token. From p_mask to p_mask + p_swap it
    becomes a word of its class, drawn by frequency. Then, with probability p_ngram, n from 1 to 5 consecutive words are
    kept (all words, if there are fewer) and the rest is dropped. The copies of a pair change the first text, the second
    and both, in turn. A copy that equals an original or an earlier copy is left out, so a row may get fewer than
    `copies` new rows. A row with an empty text gets none.

    Rows are made on demand; memory grows by one hash of eight bytes a row. A copy depends only on the seed, the
    position of its row, its own number and the word classes. More copies therefore include the fewer ones.

    Args:
        texts: rows of one or two texts, read twice (three times if the classes have to be found).
        copies: attempts a row; 20 in the paper.
        seed: for the augmentation only, so that runs with different training seeds share one labelled set.
        mask_probability: p_mask.
        swap_probability: p_swap (p_pos in the paper).
        ngram_probability: p_ngram, applied once to each changed text.
        mask_token: the text of the tokenizer's mask token.
        classes: a substitute for parts of speech. None: found in `texts` by :meth:`WordClasses.fit`.

    Returns:
        An iterator of rows with as many texts as the original rows.

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
    """The rows of :func:`augment`, whose arguments are checked."""
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
    """One text after masking, swapping and n-gram sampling. The characters between its words are kept."""
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
    """A short hash of a row that ignores white space. A collision (1 in 10^5 for ten million rows) costs one copy."""
    joined = "\0".join(" ".join(text.split()) for text in row)
    return int.from_bytes(hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=8).digest())
