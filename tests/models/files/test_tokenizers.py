"""Tokenizers by name, and tokenizers that do not fit a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import (
    PreTrainedTokenizerFast,
)

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.students.static import StaticBag, StaticConfig

Words = PreTrainedTokenizerFast


def test_stored_truncation_and_padding_are_switched_off(
    pretrained: Any, words: Words, tiny_classifier: Any, tmp_path: Path
) -> None:
    name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
    stored = Tokenizer.from_file(f"{name}/tokenizer.json")
    stored.enable_truncation(4)
    stored.enable_padding(length=6)
    stored.save(f"{name}/tokenizer.json")
    backend = load_tokenizer(name).backend_tokenizer
    assert (backend.truncation, backend.padding) == (None, None)
    assert len(backend.encode("the film was good and the play was bad").ids) == 11
    assert len(backend.encode("the film").ids) == 4


def test_no_tokenizer(tiny_classifier: Any, tmp_path: Path) -> None:
    tiny_classifier("bert").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="holds no tokenizer"):
        load_tokenizer(str(tmp_path))


def test_tokenizer_larger_than_the_table(student: Any, task: Task, words: Words) -> None:
    model = StaticBag(StaticConfig(vocab_size=8, embedding_size=4, num_labels=3))
    with pytest.raises(ModelError, match="has 8 rows"):
        check_tokenizer(model, words, name="m")
    check_tokenizer(student("static", task, words), words, name="m")


def test_tokenizer_of_another_model(words: Words) -> None:
    tokens = len(words.get_vocab())
    padded = StaticBag(StaticConfig(vocab_size=1024 + tokens, embedding_size=4, num_labels=3))
    check_tokenizer(padded, words, name="m")
    model = StaticBag(StaticConfig(vocab_size=1025 + tokens, embedding_size=4, num_labels=3))
    with pytest.raises(ModelError, match=rf"{tokens} tokens, but .* {1025 + tokens:,} rows: .*not belong together"):
        check_tokenizer(model, words, name="m")
