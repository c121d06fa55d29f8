"""What TF-IDF counts, against scikit-learn's analyzers."""

from __future__ import annotations

import pytest
from sklearn.feature_extraction.text import CountVectorizer

from understudy.models.terms import character_terms, fitting_terms, terms_of, word_terms


def test_words_are_those_of_scikit_learn() -> None:
    analyze = CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b").build_analyzer()
    text = "I don't like it: naïve, 2 stars!"
    assert sorted(word_terms(text)) == sorted(analyze(text))


def test_characters_are_those_of_scikit_learn() -> None:
    analyze = CountVectorizer(analyzer="char", ngram_range=(1, 2)).build_analyzer()
    for text in ("送餐快味道好", "อร่อยมาก", "美味しかった", "カレー"):
        assert sorted(character_terms(text)) == sorted(analyze(text))


def test_other_scripts_stay_words_among_characters() -> None:
    found = character_terms("我爱 New York 的KFC2号店")
    assert {"我", "我爱", "new", "york", "new york", "的", "kfc2", "号店"} <= set(found)
    assert "york 的" not in found
    assert "爱n" not in found


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["送餐快", "KFC ok"], "words"),
        (["送餐快，味道好", "KFC"], "characters"),
        (["a good film"], "words"),
        (["아주 맛있어요"], "words"),
        (["ดีมาก"], "characters"),
        (["123", "!!"], "words"),
        ([], "words"),
    ],
)
def test_the_letters_decide(texts: list[str], expected: str) -> None:
    assert fitting_terms(texts) == expected


def test_there_are_two_kinds() -> None:
    assert terms_of("words") is word_terms
    with pytest.raises(ValueError, match="must be words or characters"):
        terms_of("letters")  # type: ignore[arg-type]
