"""Every text in full and with an end, whether its tokenizer adds one or not."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from understudy.data.texts import Texts
from understudy.data.tokens.end_of_text import encode_streams
from understudy.data.tokens.fastai_words import fastai_tokenizer
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ModelError


def test_each_text_is_encoded_whole_with_its_end() -> None:
    texts = Texts.of(["a b c", "b"])
    ours = train_tokenizer(["a b c"], "words:20", marks_beginning=False)
    encoded = encode_streams(texts, ours)
    assert ours.convert_ids_to_tokens(encoded.ids.tolist()) == ["a", "b", "c", "[SEP]", "b", "[SEP]"]
    both = train_tokenizer(["a b c"], "words:20")
    assert both.convert_ids_to_tokens(encode_streams(texts, both).row(1).tolist()) == ["[CLS]", "b", "[SEP]"]


def test_a_tokenizer_that_marks_nothing_gets_an_end_or_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2, "<end>": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    like_gpt2 = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<end>")
    texts = Texts.of(["a b " * 500, "b"])
    encoded = encode_streams(texts, like_gpt2)
    assert encoded.lengths.tolist() == [1001, 2]
    assert encoded.row(1).tolist() == [2, 3]
    assert encoded.ids[1000] == 3
    with pytest.raises(ModelError, match="neither an end-of-sequence nor a separator token"):
        encode_streams(texts, PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"))


@pytest.mark.parametrize(
    ("marks", "roles", "expected"),
    [
        ("<s> $A", {"bos_token": "<s>", "eos_token": "</s>"}, ["<s>", "a", "b", "</s>"]),  # as Llama's
        ("<s> $A </s>", {"bos_token": "<s>", "eos_token": "</s>"}, ["<s>", "a", "b", "</s>"]),
        ("<s> $A", {"bos_token": "<s>"}, ["<s>", "a", "b"]),
        (
            "</s> $A",
            {"bos_token": "</s>", "eos_token": "</s>"},
            ["</s>", "a", "b"],
        ),  # as OPT's: it ends the text before
        ("<s> $A </s>", {"cls_token": "<s>", "sep_token": "</s>", "eos_token": "<end>"}, ["<s>", "a", "b", "</s>"]),
    ],
)
def test_a_beginning_alone_gets_an_end(marks: str, roles: dict[str, str], expected: list[str]) -> None:
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<s>", "</s>", "<end>", "a", "b"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single=marks, special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", **roles)
    encoded = encode_streams(Texts.of(["a b"]), tokenizer)
    assert tokenizer.convert_ids_to_tokens(encoded.row(0).tolist()) == expected


def test_streams_of_fastai_stay_as_its_models_were_trained() -> None:
    tokenizer = fastai_tokenizer(["xxunk", "xxpad", "xxbos", "xxeos", "a", "b"])
    assert tokenizer.eos_token == "xxeos"
    encoded = encode_streams(Texts.of(["a b", "b"]), tokenizer)
    assert tokenizer.convert_ids_to_tokens(encoded.ids.tolist()) == ["xxbos", "a", "b", "xxbos", "b"]
