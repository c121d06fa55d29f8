"""Classes of words that occur in like contexts, found in the texts: parts of speech without a tagger to download."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from understudy.data.augment.clusters import cluster_numbers, neighbour_counts, word_vectors

_MARKS = r"!-/:-@\[-^`{-~¡«»¿،؛؟।॥\u2010-\u205e\u3000-\u303f"
_CHARACTER = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_LETTER = rf"[^\s{_MARKS}{_CHARACTER}]"
_WORD = re.compile(
    rf"""
      \[\w+\] | <\w+>                       # special tokens: [MASK], <unk>
    | \d+ (?: [.,:] \d+ )+                  # 3.5  1,000  10:30
    | ['’] (?: s | m | d | ll | re | ve | t ) \b
    | {_LETTER}+ (?: (?: - | ['’](?!s\b) ) {_LETTER}+ )*
    | [{_CHARACTER}]                        # scripts without spaces
    | \S
    """,
    re.VERBOSE,
)

_FREQUENT = 10
"""A word with at least so many occurrences is classed by its neighbours, a rarer one by its ending."""

_TYPES = 10
"""How many rare words must share an ending to make it a class."""

_LONGEST_ENDING = 3


def word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each word and punctuation mark. Every character that is not white space belongs to one.

    Example:
        >>> [text[a:b] for text in ["The film's 3.5 stars, well-earned."] for a, b in word_spans(text)]
        ['The', 'film', "'s", '3.5', 'stars', ',', 'well-earned', '.']
    """
    return [match.span() for match in _WORD.finditer(text)]


class WordClasses:
    """Words by class, each with its frequency. Swapped words are drawn from here.

    Frequent words are classed by their left and right neighbours: positive pointwise mutual information, reduced by a
    truncated singular value decomposition and clustered by k-means. Each word weighs the square root of its frequency,
    so the words that make up most of a text are distinguished best. Rare words have too few neighbours; they are
    classed by case and by the longest ending that enough of them share. Numbers, clitics ('s, 't) and punctuation marks
    have classes of their own.

    Reference:
        Schütze 1995, Distributional part-of-speech tagging, arXiv cmp-lg/9503009.
    """

    def __init__(self, clusters: Sequence[Mapping[str, int]], others: Mapping[str, int]) -> None:
        """Make classes of words with their counts: the clusters as given, the other words by their form."""
        by_looks = _by_looks(others)
        self._looks = {key: len(clusters) + number for number, key in enumerate(by_looks)}
        self.members: list[dict[str, int]] = [
            dict(sorted(words.items(), key=lambda item: (-item[1], item[0])))
            for words in (*clusters, *by_looks.values())
        ]
        self._class = {word: number for number, words in enumerate(self.members) for word in words}
        self._words = [list(words) for words in self.members]
        self._cumulative = [np.cumsum(list(words.values())) / sum(words.values()) for words in self.members]

    def __len__(self) -> int:
        """The number of classes, clusters and others."""
        return len(self.members)

    @classmethod
    def fit(
        cls, texts: Iterable[tuple[str, ...]], *, classes: int = 64, vocabulary: int = 10_000, seed: int = 0
    ) -> WordClasses:
        """Find clusters of frequent words and classes of rare words in `texts`.

        Args:
            texts: rows of texts; read twice.
            classes: the number of clusters of frequent words; fewer if there are fewer words.
            vocabulary: only so many of the most frequent words are classed and can be drawn.
            seed: for the decomposition and the clustering.

        Example:
            >>> lines = [(f"{d} {n} {v}",) for d in ("a", "the") for n in ("cat", "dog") for v in ("ran", "sat")] * 5
            >>> found = WordClasses.fit(lines, classes=3)
            >>> found.of("cat") == found.of("dog") != found.of("ran") == found.of("sat")
            True
        """
        counts: Counter[str] = Counter()
        for words in _sentences(texts):
            counts.update(words)
        ranked = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:vocabulary])
        described = [word for word, count in ranked.items() if count >= _FREQUENT and _kind(word) == "word"]
        clusters: list[dict[str, int]] = []
        if described:
            counted = neighbour_counts(_sentences(texts), list(ranked), described)
            vectors = word_vectors(counted, seed=seed)
            weights = [ranked[word] ** 0.5 for word in described]
            numbers = cluster_numbers(vectors, weights, classes, seed=seed)
            clusters = [{} for _ in range(max(numbers) + 1)]
            for word, number in zip(described, numbers):
                clusters[number][word] = ranked.pop(word)
        return cls([words for words in clusters if words], ranked)

    def of(self, word: str) -> int | None:
        """The class of `word`. An unknown word is classed by its form; None if no class has that form."""
        known = self._class.get(word)
        if known is not None:
            return known
        return next((self._looks[key] for key in _looks(word) if key in self._looks), None)

    def draw(self, word: str, uniform: float) -> str:
        """Draw a word of the same class by frequency; `word` itself if it has no class.

        As in the paper, the drawn word may be the word itself.

        Args:
            uniform: the draw, from 0 to 1: a position in the cumulative frequencies of the class.
        """
        number = self.of(word)
        if number is None:
            return word
        position = int(np.searchsorted(self._cumulative[number], uniform, side="right"))
        return self._words[number][min(position, len(self._words[number]) - 1)]


def _by_looks(words: Mapping[str, int]) -> dict[tuple[str, str], dict[str, int]]:
    """Words by kind or case, and by the longest ending that enough of them share."""
    types = Counter(key for word in words for key in _looks(word))
    classes: dict[tuple[str, str], dict[str, int]] = {}
    for word, count in words.items():
        key = next(key for key in _looks(word) if types[key] >= _TYPES or not key[1])
        classes.setdefault(key, {})[word] = count
    return dict(sorted(classes.items()))


def _kind(word: str) -> str:
    """Whether `word` is a number, a clitic (attached to the word before it), a punctuation mark or a word."""
    if any(char.isdigit() for char in word):
        return "number"
    if word[0] in "'’" and len(word) > 1:
        return "clitic"
    return "word" if any(char.isalpha() for char in word) else "mark"


def _looks(word: str) -> Iterator[tuple[str, str]]:
    """Kind and ending of a word, from the longest ending to none. The kind of a plain word is its case."""
    kind = _kind(word)
    if kind == "word":
        kind = "upper" if word.isupper() and len(word) > 1 else "capital" if word[0].isupper() else "lower"
        for length in range(min(_LONGEST_ENDING, len(word) - 2), 0, -1):
            yield kind, word[-length:].lower()
    yield kind, ""


def _sentences(texts: Iterable[tuple[str, ...]]) -> Iterator[list[str]]:
    """The words of each text."""
    for row in texts:
        for text in row:
            yield _WORD.findall(text)
