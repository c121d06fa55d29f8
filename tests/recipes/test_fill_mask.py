"""``understudy fill-mask`` against transformers' own pipeline, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    pipeline,
)

from understudy.cli import main
from understudy.inference.language.fill_mask import Filler


@pytest.fixture(scope="module")
def masked(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model with opinions."""
    folder = tmp_path_factory.mktemp("masked")
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(BertConfig.from_pretrained(tiny_bert))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder


def fill(*arguments: str, capsys: pytest.CaptureFixture[str]) -> list[dict]:
    assert main(["fill-mask", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_mask_is_answered_as_transformers_answers(masked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["the [MASK] was good", "a very [MASK] film is a [MASK] play"]
    entries = fill(str(masked), *texts, "--top", "4", capsys=capsys)
    reference = pipeline("fill-mask", model=str(masked), top_k=4)
    assert [entry["text"] for entry in entries] == texts
    for entry, expected in zip(entries, [[reference(texts[0])], reference(texts[1])], strict=True):
        for gap, answers in zip(entry["masks"], expected, strict=True):
            assert [filling["token"] for filling in gap] == [answer["token_str"] for answer in answers]
            assert [filling["probability"] for filling in gap] == pytest.approx(
                [answer["score"] for answer in answers], rel=1e-4
            )
    first, second = entries[1]["masks"]
    assert first[0]["text"] == f"a very {first[0]['token']} film is a [MASK] play"
    assert second[0]["text"] == f"a very [MASK] film is a {second[0]['token']} play"


def test_what_is_typed_onto_a_word_joins_it_or_stands_apart() -> None:
    special, words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], ["walk", "##ing", "home", ".", "路"]
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate([*special, *words])}, unk_token="[UNK]"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    roles: dict[str, str] = {f"{token[1:-1].lower()}_token": token for token in special}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    filler = Filler(BertForMaskedLM(BertConfig(vocab_size=10, **sizes)), tokenizer, max_length=16)

    def filled(text: str) -> dict[str, str]:
        return {filling.token: filling.text for filling in filler.fill(text, top=10)[0] if filling.token in words}

    expected = {"walk": "walk walk.", "##ing": "walking.", "home": "walk home.", ".": "walk..", "路": "walk路."}
    assert filled("walk[MASK].") == expected
    assert filled("路[MASK].") == {word: f"路{word}." for word in words}  # a script without spaces
    assert filled("walk [MASK].") == {word: f"walk {word}." for word in words}


def test_the_table_has_a_line_a_word(masked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill-mask", str(masked), "a [MASK] and a [MASK]", "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "probability" in lines[0]
    assert len([line for line in lines if " a " in line]) == 6


def test_more_words_than_there_are_gives_them_all(masked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = fill("--model", str(masked), "--text", "[MASK]", "--top", "999", capsys=capsys)
    assert len(entry["masks"][0]) == 27
    assert sum(filling["probability"] for filling in entry["masks"][0]) == pytest.approx(1, abs=1e-5)


def test_texts_without_a_mask_are_named_with_the_models_own(
    masked: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fill-mask", str(masked), "a good film", "a [MASK] film", "a <mask> film"]) == 2
    said = capsys.readouterr().err
    assert "'a good film': has no gap to fill. Write [MASK], this model's mask token" in said
    assert "'a <mask> film': has no gap" in said
    assert "'a [MASK] film'" not in said

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert, mask_token="<mask>")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    RobertaForMaskedLM(RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=40, **sizes)).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    assert main(["fill-mask", str(tmp_path), "a [MASK] film"]) == 2
    assert "Write <mask>, this model's mask token" in capsys.readouterr().err


def test_a_mask_beyond_what_the_model_reads_is_said(masked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill-mask", str(masked), "a [MASK] " + "film " * 70 + "[MASK]"]) == 2
    assert "1 of its 2 [MASK] lie beyond the 64 tokens" in capsys.readouterr().err


def test_a_model_without_a_trained_head_is_refused(tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill-mask", str(tiny_bert), "a [MASK] film"]) == 2
    assert "no trained masked-LM head" in capsys.readouterr().err


def test_all_that_is_missing_is_said_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill-mask"]) == 2
    said = capsys.readouterr().err
    assert "no model" in said
    assert "no text" in said
