"""``pretrain --vocabulary``: learnt from the texts, the model carried to it, trained, saved, resumed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast

from understudy.cli import main
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.models.files.save import save_model
from understudy.models.language import load_next_token_model
from understudy.record import RunRecord
from understudy.training import trainer

pytestmark = pytest.mark.usefixtures("quick_throughout")

WEIGHTS = Path("model") / "model.safetensors"
TEXTS = [
    "Kwame hunuu abofra no wɔ fie",
    "Abofra no hunuu film a ɛyɛ fɛ",
    "the film was good",
    "ɔbaa no de sika maa abofra no",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of which the toy models know a few words."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, count in {"train": 15, "valid": 6}.items():
        (folder / f"{name}.txt").write_text("\n".join(TEXTS * count) + "\n", encoding="utf-8")
    return folder


def pretrain(data: Path, model: Path, output: Path, *flags: str) -> RunRecord:
    command = ["pretrain", "--data", str(data), "--model", str(model), "--output", str(output)]
    assert main([*command, "--batch_size", "8", "--epochs", "1", *flags]) == 0
    return RunRecord.load(output / "record.json")


def counts(record: RunRecord) -> dict[str, int]:
    """The numbers of the note on the vocabulary."""
    (note,) = [note for note in record.notes if note.startswith("vocabulary: ")]
    pattern = r"vocabulary: (?P<size>\d+) tokens .*?, (?P<before>\d+) before\. (?P<kept>\d+) are in both .*, (?P<composed>\d+) start at .*, (?P<averaged>\d+) at the mean"
    match = re.search(pattern, note)
    assert match is not None, note
    return {name: int(value) for name, value in match.groupdict().items()}


def test_an_encoder_gets_pieces_of_its_texts(corpus: Path, tiny_bert: Path, tmp_path: Path) -> None:
    record = pretrain(corpus, tiny_bert, tmp_path / "run", "--vocabulary", "new:120")
    found = counts(record)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert found["size"] == len(tokenizer) <= 120
    assert found["kept"] + found["composed"] + found["averaged"] == found["size"]
    known = {"▁the", "▁film", "▁was", "▁good", "▁a"} & set(tokenizer.get_vocab())
    assert {"▁film", "▁good"} <= known  # the toy BERT knows whole words
    assert found["kept"] >= 5 + len(known)
    assert tokenizer.tokenize("Abofra no") == ["▁abofra", "▁no"]  # lower case, as the model's own
    model, info = AutoModelForMaskedLM.from_pretrained(tmp_path / "run" / "model", output_loading_info=True)
    assert not info["missing_keys"]
    assert model.config.vocab_size == found["size"]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_what_was_known_is_where_it_was(corpus: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """With frozen embeddings the rows that were carried are those that are saved."""
    lm = tmp_path / "lm"
    pretrain(corpus, tiny_bert, lm)  # gives it a head of its own
    pretrain(corpus, lm, tmp_path / "run", "--vocabulary", "words:40", "--learning_rate", "1e-12")
    name = "bert.embeddings.word_embeddings.weight"
    old, new = (load_file(run / WEIGHTS)[name] for run in (lm, tmp_path / "run"))
    was, now = (AutoTokenizer.from_pretrained(run / "model") for run in (lm, tmp_path / "run"))
    for word in ("the", "film", "good", "[MASK]", "[CLS]"):
        rows = new[now.convert_tokens_to_ids(word)], old[was.convert_tokens_to_ids(word)]
        torch.testing.assert_close(*rows, atol=1e-6, rtol=0)
    torch.testing.assert_close(new[now.convert_tokens_to_ids("abofra")], old.mean(0), atol=1e-6, rtol=0)


def test_case_is_kept_on_demand(corpus: Path, tiny_bert: Path, tmp_path: Path) -> None:
    pretrain(corpus, tiny_bert, tmp_path / "run", "--vocabulary", "new:150", "--cased")
    assert "▁Abofra" in AutoTokenizer.from_pretrained(tmp_path / "run" / "model").get_vocab()


def test_a_generator_keeps_its_bytes(corpus: Path, byte_level: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    byte_level.save_pretrained(tmp_path / "gpt2")
    record = pretrain(corpus, tmp_path / "gpt2", tmp_path / "run", "--vocabulary", "new:330")
    found = counts(record)
    assert found["kept"] >= 257  # every byte and the end of a text
    assert found["averaged"] == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    assert tokenizer.tokenize("Abofra no") == ["Abofra", "Ġno"]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model").config.vocab_size == found["size"]


def test_an_awd_lstm_of_words_gets_other_words(corpus: Path, tmp_path: Path) -> None:
    """ULMFiT's: known words keep their rows, in the table and in the bias, new ones get the mean."""
    torch.manual_seed(0)
    old = train_tokenizer(["the film was dreadful and long"], "words:30", marks_beginning=False)
    model = AWDLSTMForCausalLM(AWDLSTMConfig(vocab_size=len(old), embedding_size=8, hidden_size=12))
    torch.nn.init.normal_(model.lm_head.bias)
    save_model(tmp_path / "lm", model, old, task=None, max_length=100)
    flags = ["--vocabulary", "words:60", "--learning_rate", "1e-12"]
    found = counts(pretrain(corpus, tmp_path / "lm", tmp_path / "run", *flags))
    assert found["kept"] == 5 + 3
    assert (found["composed"], found["averaged"]) == (0, found["size"] - 8)
    made, new = load_next_token_model(str(tmp_path / "run"))
    assert new("film")["input_ids"] == [new.convert_tokens_to_ids("film"), new.sep_token_id]
    for word, source in {"film": "film", "the": "the", "abofra": None}.items():
        at, was = new.convert_tokens_to_ids(word), old.convert_tokens_to_ids(source) if source else slice(None)
        for got, table in (
            (made.awd_lstm.embeddings.weight, model.awd_lstm.embeddings.weight),
            (made.lm_head.bias, model.lm_head.bias),
        ):
            expected = table[was] if source else table.mean(0)
            torch.testing.assert_close(got[at], expected, atol=1e-6, rtol=0)


def test_positions_stay_where_they_are_counted_from_the_padding(corpus: Path, tmp_path: Path) -> None:
    """RoBERTa's padding is token 1, and so it is in the new vocabulary."""
    old = train_tokenizer(["the film was good"], "bpe:40", pad_id=1)
    config = transformers.RobertaConfig(
        vocab_size=len(old),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
        bos_token_id=2,
        eos_token_id=3,
    )
    transformers.RobertaForMaskedLM(config).save_pretrained(tmp_path / "roberta")
    old.save_pretrained(tmp_path / "roberta")
    record = pretrain(corpus, tmp_path / "roberta", tmp_path / "run", "--vocabulary", "new:100")
    assert counts(record)["kept"] > 5
    assert AutoTokenizer.from_pretrained(tmp_path / "run" / "model").pad_token_id == 1


class Killed(BaseException):
    """Nobody catches it."""


def test_killed_and_resumed_it_ends_with_the_same_bits(
    corpus: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--vocabulary", "new:120", "--save_steps", "2"]
    whole = pretrain(corpus, tiny_bert, tmp_path / "whole", *flags)
    steps: list[int] = []
    known = trainer.Trainer.step

    def dying(self: Any, *arguments: Any) -> None:
        steps.append(1)
        if len(steps) == 5:
            raise Killed
        known(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "step", dying)
        with pytest.raises(Killed):
            pretrain(corpus, tiny_bert, tmp_path / "killed", *flags)
    resumed = pretrain(corpus, tiny_bert, tmp_path / "killed", *flags, "--resume")
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert resumed.models == whole.models
    tables = [(tmp_path / run / "model" / "tokenizer.json").read_bytes() for run in ("killed", "whole")]
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("model", "flags", "said"),
    [
        ("tiny", ["--vocabulary", "bpe:300"], "vocabulary must be keep, new:N (pieces of words) or words:N"),
        ("tiny", ["--vocabulary", "new"], "Did you mean 'new:16000'?"),
        ("tiny", ["--cased"], "--cased is for a new model"),
        ("awd_lstm", ["--vocabulary", "new:300"], "Give --tokenizer bpe:N or words:N"),
    ],
)
def test_mistakes(
    model: str,
    flags: list[str],
    said: str,
    corpus: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = str(tiny_bert) if model == "tiny" else model
    command = ["pretrain", "--data", str(corpus), "--model", named, "--output", str(tmp_path / "run")]
    assert main([*command, *flags]) == 2
    assert said in capsys.readouterr().err
