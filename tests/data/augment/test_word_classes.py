"""Word classes against planted ones, and the words that they consist of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from understudy.data.augment.word_classes import WordClasses, word_spans

SIZES = {"det": 4, "adjective": 25, "noun": 40, "verb": 30, "adverb": 12, "preposition": 6}
GRAMMAR = (
    ("det", "noun", "verb"),
    ("det", "adjective", "noun", "verb", "adverb"),
    ("det", "noun", "verb", "preposition", "det", "adjective", "noun"),
    ("det", "noun", "adverb", "verb", "det", "noun"),
)


def sentences(count: int = 4000) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """Sentences of a small grammar whose words are random letters, Zipfian within the class; and the true classes."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = {tag: ["".join(rng.choice(letters, 6)) for _ in range(size)] for tag, size in SIZES.items()}
    shares = {tag: (w := 1 / np.arange(1, size + 1)) / w.sum() for tag, size in SIZES.items()}
    rows = []
    for _ in range(count):
        rule = GRAMMAR[rng.integers(len(GRAMMAR))]
        rows.append((" ".join(rng.choice(words[tag], p=shares[tag]) for tag in rule),))
    return rows, {word: tag for tag, members in words.items() for word in members}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_classes_are_recovered(seed: int) -> None:
    rows, truth = sentences()
    found = WordClasses.fit(rows, classes=len(SIZES), seed=seed)
    known = [word for word in truth if found.of(word) is not None]
    assert len(known) > 100
    assert adjusted_rand_score([truth[word] for word in known], [found.of(word) for word in known]) > 0.9


def test_counts_are_those_of_the_text_and_every_word_has_one_class() -> None:
    rows, _ = sentences(500)
    found = WordClasses.fit(rows)
    words = [word for (text,) in rows for word in text.split()]
    members = [word for words_of_class in found.members for word in words_of_class]
    assert sorted(members) == sorted(set(words))
    assert all(count == words.count(word) for some in found.members for word, count in some.items())
    assert all(word in found.members[found.of(word)] for word in members)


def test_vocabulary_keeps_the_most_frequent_words() -> None:
    rows = [("often often often seldom",), ("often seldom once",)] * 10
    found = WordClasses.fit(rows, vocabulary=2)
    assert {word for words in found.members for word in words} == {"often", "seldom"}


def test_rare_and_unknown_words_go_by_case_and_ending() -> None:
    rare = {f"{start}{end}": 1 for start in (chr(97 + i) * 3 for i in range(25)) for end in ("ing", "ness", "ly")}
    rare |= {f"{chr(65 + i)}bc": 1 for i in range(5)} | {"12": 1, "3.5": 1, ",": 1, "!": 1, "'s": 1}
    found = WordClasses([{"the": 9}], rare)
    assert found.of("aaaing") == found.of("unseening") != found.of("aaaness") == found.of("unseenness")
    assert found.of("unseenly") == found.of("aaaly")
    assert found.of("Unseening") == found.of("Abc")
    assert found.of("2024") == found.of("3.5") != found.of(",") == found.of(";") != found.of("'s")
    assert found.draw("unseening", 0.5).endswith("ing")
    assert found.of("SHOUTED") is None
    assert found.draw("SHOUTED", 0.5) == "SHOUTED"


def test_draw_inverts_the_cumulated_frequencies() -> None:
    found = WordClasses([{"b": 1, "a": 3}], {})
    assert [found.draw("b", u) for u in (0.0, 0.74, 0.76, np.nextafter(1.0, 0.0))] == ["a", "a", "b", "b"]


@pytest.mark.parametrize("rows", [[], [("",)], [("one",)], [("a a a a a a a a a a a",)], [("! ! ? 1 2",)] * 9])
def test_small_texts_are_enough(rows: list[tuple[str, ...]]) -> None:
    found = WordClasses.fit(rows)
    assert sum(len(words) for words in found.members) == len({word for row in rows for word in row[0].split()})


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_every_character_but_white_space_is_in_one_word(text: str) -> None:
    spans = word_spans(text)
    assert all(a < b <= c for (a, b), (c, _) in zip(spans, [*spans[1:], (len(text), 0)]))
    covered = "".join(text[a:b] for a, b in spans)
    assert covered == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("does n't it 's", ["does", "n't", "it", "'s"]),
        ("O'Neill's 'best'", ["O'Neill", "'s", "'", "best", "'"]),
        ("1,000.5 at 10:30...", ["1,000.5", "at", "10:30", ".", ".", "."]),
        ("a [MASK] or <mask> here", ["a", "[MASK]", "or", "<mask>", "here"]),
        ("naïve—हिन्दी भाषा।", ["naïve", "—", "हिन्दी", "भाषा", "।"]),
        ("猫です。", ["猫", "で", "す", "。"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [text[a:b] for a, b in word_spans(text)] == words
