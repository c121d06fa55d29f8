"""fast.ai's way of splitting texts, against fast.ai's rules written out."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from understudy.data.tokens.fastai_words import fastai_tokenizer, retrain_fastai
from understudy.errors import DataError

NEW = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep"]
OLD = ["_unk_", "_pad_", "t_up", "tk_rep", "tk_wrep"]


@cache
def backend_of(marks: tuple[str, ...]) -> Any:
    """The tokenizer underneath, made once: its rules take a while to compile."""
    return fastai_tokenizer(marks).backend_tokenizer


def cut(text: str, marks: list[str] = NEW) -> list[str]:
    """The tokens of a text, whatever the vocabulary."""
    backend = backend_of(tuple(marks))
    return [token for token, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))]


def by_the_rules(text: str) -> list[str]:
    """fast.ai 1's rules one after the other, for texts in which words, spaces and single marks are all there is.

    Written from the rules' descriptions: four or more of a character, four or more of a word, then words in capitals
    and capitalised words, which count as such from two letters on.
    """
    text = re.sub(r"(\S)(\1{3,})", lambda m: f" xxrep {len(m[2]) + 1} {m[1]} ", text)
    text = re.sub(r"(\b\w+\W+)(\1{3,})", lambda m: f" xxwrep {len(m[2].split()) + 1} {m[1]} ", text)
    found = []
    for token in re.findall(r"\w+|[^\w\s]", text):
        if token.isupper() and len(token) > 1:
            found.append("xxup")
        elif token[0].isupper() and len(token) > 1 and token[1:].islower():
            found.append("xxmaj")
        found.append(token.lower())
    return found


WORDS = [
    "The",
    "film",
    "NASA",
    "I",
    "A",
    "iPhone",
    "naïve",
    "École",
    "ÉCOLE",
    "goooood",
    "xyyyyyz",
    "of",
    "McDonald",
    "7",
]


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(WORDS), st.integers(1, 6), st.sampled_from([" ", ", ", "! ", "!!!!! ", "; "])),
        min_size=1,
        max_size=6,
    )
)
def test_texts_of_words_are_cut_by_the_rules(parts: list[tuple[str, int, str]]) -> None:
    text = "".join(f"{word} " * (count - 1) + word + mark for word, count, mark in parts)
    assert cut(text) == by_the_rules(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I didn't, WON'T or can’t", "i did n't , xxup wo xxup n't or ca n’t"),
        ("It's John's; they'll see", "xxmaj it 's xxmaj john 's ; they 'll see"),
        ("Mr. Smith of the U.S. at 5 a.m.", "xxmaj mr. xxmaj smith of the xxup u.s. at 5 a.m."),
        ("a well-known F-16 in 1990-95", "a well - known xxup f-16 in 1990 - 95"),
        ("$1,000.50 or 5km, 10% of the 3rd", "$ 1,000.50 or 5 km , 10 % of the 3rd"),
        ("either/or #tag", "either / or # tag"),
        ("Wait... what?", "xxmaj wait ... what ?"),
        ("the end.Start", "the end . xxmaj start"),
        ("AT&T and R&amp;D &lt;", "xxup at&t and r & & d <"),
        ("3 @.@ 5 and x @-@ y of <unk>", "3.5 and x - y of xxunk"),
        ("one<br />two", "one \n two"),
        ("a\n\nb", "a \n\n b"),
        ("-" * 70 + " x", "xxrep 20 - x"),
        ("", ""),
        ("  ", ""),
    ],
)
def test_cases_of_english(text: str, tokens: str) -> None:
    assert cut(text) == [token for token in tokens.split(" ") if token]


def test_the_rules_of_an_old_vocabulary() -> None:
    tokens = cut("The NASA OK!!!! ha ha ha ha ha", OLD)
    assert " ".join(tokens) == "the t_up nasa ok tk_rep 4 ! tk_wrep 4 ha ha"


def test_a_rule_is_in_force_where_its_mark_is_known() -> None:
    assert cut("The NASA!!!!", ["xxunk", "xxpad"]) == ["the", "nasa", "!", "!", "!", "!"]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text(alphabet="aAB éÉ/.'’!-\n&9%…☃𝒳", max_size=30))
def test_no_text_breaks_it_and_nothing_but_space_is_lost(text: str) -> None:
    """`tokenizers` has bugs in replacing empty matches; no characters may be lost except by the rules."""
    marks = ["xxunk", "xxpad", "xxmaj", "xxup"]
    assert len(backend_of(tuple(marks)).encode(text).ids) == len(cut(text, marks))
    kept = "".join(token for token in cut(text, marks) if token not in ("xxmaj", "xxup"))
    assert re.sub(r"\s", "", kept) == re.sub(r"\s", "", text.lower())


@pytest.fixture
def vocabulary() -> list[str]:
    """fast.ai's special tokens and a few words, filled up as fast.ai does."""
    return [*NEW, "1", "2", "the", "film", "the", ".", "xxfake", "xxfake", "xxfake"]


def test_ids_are_the_places_in_the_list(vocabulary: list[str], tmp_path: Path) -> None:
    tokenizer = fastai_tokenizer(vocabulary)
    assert len(tokenizer) == len(vocabulary)
    assert tokenizer("The film. Unheard")["input_ids"] == [2, 5, 13, 12, 14, 5, 0]
    assert (tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (
        0,
        1,
        2,
        3,
    )
    tokenizer.save_pretrained(tmp_path)
    again: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("The film. Unheard", "THE!!!! film"):
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_pairs_are_marked_as_fields(vocabulary: list[str]) -> None:
    tokenizer = fastai_tokenizer(vocabulary)
    ids = tokenizer("film", "the")["input_ids"]
    assert " ".join(tokenizer.convert_ids_to_tokens(ids)) == "xxbos xxfld 1 film xxfld 2 the"
    plain = fastai_tokenizer(["_unk_", "_pad_", "film"])
    assert plain("film", "film")["input_ids"] == [2, 2]


def test_other_words_keep_rules_marks_and_pairs(vocabulary: list[str]) -> None:
    like = fastai_tokenizer(vocabulary)
    made = retrain_fastai(["The NASA sang !!!!", "The song was sung", "Sing the song"], len(NEW) + 7, like=like)
    words = made.convert_ids_to_tokens(range(len(made)))
    assert words[: len(NEW)] == NEW
    assert set(words[len(NEW) :]) > {"1", "2", "the", "song"}
    assert len(words) == len(NEW) + 7
    ids = made("The SONG!!!!", "the 12")["input_ids"]
    assert " ".join(made.convert_ids_to_tokens(ids)).startswith("xxbos xxfld 1 xxmaj the xxup song xxrep")
    assert " ".join(made.convert_ids_to_tokens(ids)).endswith("xxfld 2 the xxunk")
    again = retrain_fastai(["The NASA sang !!!!", "The song was sung", "Sing the song"], len(NEW) + 7, like=made)
    assert again.get_vocab() == made.get_vocab()


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        (lambda words: [w for w in words if w != "xxunk"], r"no token for unk \(xxunk or _unk_"),
        (lambda words: words[9:], r"no token for unk .* and none for pad"),
    ],
)
def test_what_a_vocabulary_must_have(vocabulary: list[str], drop: Callable[[list[str]], list[str]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        fastai_tokenizer(drop(vocabulary))
