"""Transfer-set generation against the probabilities, classes and laws of the paper."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.augment.augment import LONGEST_NGRAM, augment
from understudy.data.augment.word_classes import WordClasses

LETTERS = "abcdefghij"


def planted(size: int = 10) -> WordClasses:
    """Two classes of words that never look alike: a0 a1 ... and b0 b1 ..., every word equally frequent."""
    return WordClasses([{f"x{LETTERS[i]}": 1 for i in range(size)}, {f"y{LETTERS[i]}": 1 for i in range(size)}], {})


def long_rows(rows: int = 200, words: int = 50) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(0)
    pick = lambda: f"{rng.choice(['x', 'y'])}{rng.choice(list(LETTERS))}"  # noqa: E731
    return [(" ".join(pick() for _ in range(words)),) for _ in range(rows)]


def within_three_sigma(hits: int, trials: int, probability: float) -> bool:
    return abs(hits - trials * probability) <= 3 * np.sqrt(trials * probability * (1 - probability))


def test_words_are_masked_and_swapped_as_often_as_asked() -> None:
    rows = long_rows()
    made = list(
        augment(
            rows,
            copies=1,
            seed=3,
            mask_probability=0.2,
            swap_probability=0.3,
            ngram_probability=0,
            mask_token="<m>",
            classes=planted(),
        )
    )
    assert len(made) == len(rows)
    pairs = [(old, new) for (a,), (b,) in zip(rows, made) for old, new in zip(a.split(), b.split(), strict=True)]
    masked = sum(new == "<m>" for _, new in pairs)
    swapped = sum(new not in (old, "<m>") for old, new in pairs)
    assert within_three_sigma(masked, len(pairs), 0.2)
    assert within_three_sigma(swapped, len(pairs), 0.3 * 9 / 10)  # one draw in ten is the word itself
    assert all(new[0] == old[0] for old, new in pairs if new != "<m>"), "a swap left its class"


def test_swaps_follow_the_frequencies_within_the_class() -> None:
    classes = WordClasses([{"xa": 6, "xb": 3, "xc": 1}, {"ya": 5, "yb": 5}], {})
    rows = [(" ".join(["xc"] * 40 + [f"u{LETTERS[i % 10]}{LETTERS[i // 10]}"]),) for i in range(100)]
    made = augment(rows, copies=1, seed=0, mask_probability=0, swap_probability=1, ngram_probability=0, classes=classes)
    drawn = Counter(word for (text,) in made for word in text.split()[:-1])
    observed = [drawn[word] for word in ("xa", "xb", "xc")]
    expected = np.array([0.6, 0.3, 0.1]) * sum(observed)
    assert set(drawn) == {"xa", "xb", "xc"}
    assert scipy.stats.chisquare(observed, expected).pvalue > 0.001


def test_ngrams_come_as_often_and_as_long_as_the_paper_says() -> None:
    rows = [(" ".join(f"w{i}q{j}" for j in range(30)),) for i in range(2000)]
    every = list(augment(rows, copies=1, seed=1, mask_probability=0, swap_probability=0, ngram_probability=1))
    lengths = Counter(len(text.split()) for (text,) in every)
    assert set(lengths) == set(range(1, LONGEST_NGRAM + 1))
    assert scipy.stats.chisquare(list(lengths.values())).pvalue > 0.001
    originals = {row[0].split()[0].split("q")[0]: row[0] for row in rows}
    assert all(f" {text} " in f" {originals[text.split('q')[0]]} " for (text,) in every), "not words in a row"
    starts = [int(text.split()[0].split("q")[1]) / (30 - len(text.split())) for (text,) in every]
    assert abs(np.mean(starts) - 0.5) < 3 * np.sqrt(1 / 12 / len(starts))

    # Unchanged copies equal their originals and are left out: the rest are cut texts.
    some = list(augment(rows, copies=1, seed=1, mask_probability=0, swap_probability=0, ngram_probability=0.25))
    assert within_three_sigma(len(some), len(rows), 0.25)


def test_a_pair_changes_first_second_and_both_in_turn() -> None:
    rows = [("xa " * 40 + LETTERS[i], "yb " * 40 + LETTERS[i]) for i in range(5)]
    made = list(augment(rows, copies=6, seed=0, swap_probability=0, ngram_probability=0, mask_probability=0.5))
    assert len(made) == 30
    for number, (first, second) in enumerate(made):
        old_first, old_second = rows[number // 6]
        changed = (first != old_first, second != old_second)
        assert changed == [(True, False), (False, True), (True, True)][number % 3]


def test_neither_duplicates_nor_originals_come_back() -> None:
    rows = [("xa xb",), ("xb xa",), ("xa  xb",), ("xa",)]
    made = list(augment(rows, copies=200, seed=0, mask_probability=0.3, swap_probability=0.3, classes=planted(2)))
    assert len(set(made)) == len(made)
    assert not set(made) & set(rows)
    words = ("xa", "xb", "[MASK]")
    possible = {(f"{a} {b}",) for a in words for b in words} | {(word,) for word in words}
    assert {(" ".join(text.split()),) for (text,) in made} == possible - set(rows)


def test_a_copy_depends_on_seed_position_and_number_alone() -> None:
    rows = long_rows(rows=20)
    make = lambda rows, copies, seed: list(augment(rows, copies=copies, seed=seed, classes=planted()))  # noqa: E731
    whole = make(rows, 4, 7)
    assert make(rows, 4, 7) == whole
    assert make(rows, 4, 8) != whole
    fewer_rows = make(rows[:5], 4, 7)
    assert fewer_rows == whole[: len(fewer_rows)]
    assert set(make(rows, 2, 7)) < set(whole)
    other_start = make([("ya yb",), *rows[1:]], 4, 7)
    assert other_start[-40:] == whole[-40:]


def test_found_classes_are_the_same_each_time() -> None:
    rows = long_rows(rows=50)
    assert list(augment(rows, copies=3, seed=0)) == list(augment(rows, copies=3, seed=0))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    rows=st.lists(st.tuples(st.text(alphabet=st.characters(codec="utf-8"), max_size=30)), max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_text_survives_and_none_is_empty(rows: list[tuple[str, ...]], seed: int) -> None:
    for (text,) in augment(rows, copies=3, seed=seed, ngram_probability=0.5):
        assert text.strip()


def test_empty_and_one_word_texts() -> None:
    assert list(augment([], copies=2, seed=0)) == []
    assert list(augment([("",), (" \n",)], copies=2, seed=0, mask_probability=1, swap_probability=0)) == []
    assert list(augment([("word", "")], copies=3, seed=0, mask_probability=1, swap_probability=0)) == []
    assert list(augment([("word",)], copies=9, seed=0, mask_probability=1, swap_probability=0)) == [("[MASK]",)]


def test_what_stands_between_words_stays() -> None:
    [(text,)] = augment(
        [("He's  ill\t-- truly, (3.5 days).",)],
        copies=1,
        seed=0,
        mask_probability=1,
        swap_probability=0,
        ngram_probability=0,
        mask_token="_",
    )
    assert text == "__  _\t__ __ __ ___"


def test_a_clitic_is_not_swapped_for_a_word() -> None:
    rows = [(f"it's what {name} said, isn't it",) for name in ("ann", "bob", "cleo")] * 10
    made = augment(rows, copies=20, seed=0, mask_probability=0, swap_probability=1, ngram_probability=0)
    assert all(re.search(r"\w's", text) for (text,) in made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 0}, "copies must be positive, but is 0"),
        ({"mask_probability": 1.5}, "mask_probability must lie between 0 and 1, but is 1.5"),
        ({"ngram_probability": -0.1}, "ngram_probability must lie between 0 and 1, but is -0.1"),
        ({"mask_probability": 0.7, "swap_probability": 0.7}, "mask_probability \\+ swap_probability"),
    ],
)
def test_wrong_options_are_named_at_once(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augment([("a b",)], **{"copies": 1, "seed": 0, **options})  # type: ignore[arg-type]
