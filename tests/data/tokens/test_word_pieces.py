"""Words found from pieces, for each way in which tokenizers mark them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.data.tokens.word_pieces import word_pieces

TEXTS = ["the player plays unplayable plays", "replayed, (well-played) don't", "naïve café, 3.5 stars"]


def trained(kind: str, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """A tokenizer with so few merges that words are split into pieces."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if kind == "metaspace":
        return train_tokenizer(texts, "bpe:64", lowercase=False)
    if kind == "byte-level":
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=280, initial_alphabet=alphabet, special_tokens=special, show_progress=False
        )
    else:
        backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=70, special_tokens=special, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", mask_token="[MASK]")


def words_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """The text as the words that would be masked together."""
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    ids = np.array(encoding.input_ids)
    firsts = word_pieces(tokenizer, size=len(tokenizer)).first_places(ids, np.arange(len(ids)))
    spans = encoding.offset_mapping
    found = []
    for first in sorted(set(firsts.tolist())):
        inside = [spans[i] for i in np.flatnonzero(firsts == first)]
        found.append(text[min(a for a, _ in inside) : max(b for _, b in inside)].strip())
    return [word for word in found if word]


@pytest.mark.parametrize("kind", ["word pieces", "metaspace", "byte-level"])
def test_words_are_found_and_punctuation_stands_alone(kind: str) -> None:
    tokenizer = trained(kind, TEXTS)
    assert len(tokenizer(TEXTS[0]).input_ids) > 8  # words of several pieces
    assert words_of(tokenizer, TEXTS[0]) == TEXTS[0].split()
    assert words_of(tokenizer, "well-played, (replayed)") == ["well", "-", "played", ",", "(", "replayed", ")"]
    assert words_of(tokenizer, "naïve café") == ["naïve", "café"]


@pytest.mark.parametrize("kind", ["metaspace", "byte-level"])
def test_scripts_without_spaces_have_no_words_to_keep_whole(kind: str) -> None:
    tokenizer = trained(kind, ["好的电影不好", "好的 电影"])
    words = words_of(tokenizer, "好的电影")
    assert max(map(len, words)) < 4


def test_a_line_ends_the_word_before_it() -> None:
    tokenizer = trained("byte-level", ["milk\nbread\tbutter eggs"])
    assert words_of(tokenizer, "milk\nbread\tbutter eggs") == ["milk", "bread", "butter", "eggs"]


def test_whole_words_are_words() -> None:
    tokenizer = train_tokenizer(TEXTS, "words:40")
    assert words_of(tokenizer, "the player plays") == ["the", "player", "plays"]


def test_a_symbol_that_bert_leaves_in_its_word_goes_with_it() -> None:
    tokenizer = trained("word pieces", ["€20 ₹18 $35"])
    assert words_of(tokenizer, "€20 ₹18 $35") == ["€20", "₹18", "$", "35"]


def test_rows_do_not_run_into_each_other() -> None:
    tokenizer = trained("word pieces", TEXTS)
    pieces = word_pieces(tokenizer, size=len(tokenizer))
    inner = next(number for piece, number in tokenizer.get_vocab().items() if piece.startswith("##"))
    ids = np.array([inner, inner, inner])
    assert pieces.first_places(ids, np.array([0, 1, 0])).tolist() == [0, 0, 0]
    assert pieces.first_places(ids, np.array([5, 0, 1])).tolist() == [5, 0, 0]
