"""``understudy pretrain`` of models that say the next token: what it learns, survives, reports and refuses."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import yaml

import forked
import understudy
from understudy import record as records
from understudy.cli import main
from understudy.data.batches.streams import scoring_batches
from understudy.data.readers.sources import read_texts
from understudy.data.tokens.encode import Encoded
from understudy.data.tokens.end_of_text import encode_streams
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.language import language_kind, load_next_token_model
from understudy.objectives import language_model
from understudy.objectives.language_model import language_scores
from understudy.recipes.train.pretrain.recipe import Pretrain
from understudy.record import RunRecord
from understudy.runs.text_limits import unknown_notes
from understudy.settings.configuration import build
from understudy.training import trainer

SUBJECTS, VERBS = ("the cat", "a dog", "my friend", "the old man"), ("sees", "likes", "finds", "hears")
OBJECTS = ("a bird", "the house", "an apple", "the river")
TINY = {"model": "awd_lstm", "tokenizer": "words:40", "awd_lstm.embedding": 12, "awd_lstm.hidden": 16, "bptt": 12}
TINY |= {"batch_size": 4, "learning_rate": 0.02, "save_steps": 5}


def sentences(rng: random.Random) -> str:
    return " ".join(
        f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(OBJECTS)} ." for _ in range(rng.randint(1, 3))
    )


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of texts whose next word is easy to narrow down."""
    folder = tmp_path_factory.mktemp("texts")
    rng = random.Random(0)
    for name, rows in {"train": 130, "valid": 20, "test": 20}.items():
        (folder / f"{name}.txt").write_text("".join(f"{sentences(rng)}\n" for _ in range(rows)), encoding="utf-8")
    return folder


def command(values: dict[str, Any]) -> list[str]:
    """Settings as a command line has them."""
    said = ["pretrain"]
    for name, value in values.items():
        said += (
            [f"--{name}"] if value is True else [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        )
    return said


@pytest.fixture(scope="module")
def undisturbed(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new AWD-LSTM, trained for three epochs, to which nothing happened."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_CACHE", str(folder.parent / "cache"))
        assert main(command({"data": texts, **TINY, "epochs": 3, "output": folder})) == 0
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "progress.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_record_says_what_was_learnt(undisturbed: Path, texts: Path) -> None:
    record = RunRecord.load(undisturbed / "record.json")
    assert record.finished
    assert record.task == {"kind": "language_model", "metrics": ["loss", "perplexity", "accuracy"]}
    assert {name: entry["rows"] for name, entry in record.data.items()} == {"train": 130, "validation": 20, "test": 20}
    (entry,) = record.models
    assert entry["name"] == "model"
    assert entry["embedding_parameters"] == 12 * len(load_tokenizer(str(undisturbed)))
    assert entry["parameters"] == entry["trainable_parameters"] > entry["embedding_parameters"]
    assert set(entry["metrics"]) == {"validation", "test"}
    evaluations = [row for row in rows_of(undisturbed) if row["validation_loss"]]
    assert len(evaluations) == 3
    assert float(evaluations[-1]["validation_loss"]) < float(evaluations[0]["validation_loss"])
    assert entry["metrics"]["validation"]["loss"] == min(float(row["validation_loss"]) for row in evaluations)
    # a sentence leaves 4 + 4 + 4 choices and its rest is sure: far below the vocabulary's 40 words
    assert entry["metrics"]["test"]["perplexity"] < 9
    assert entry["metrics"]["test"]["accuracy"] > 0.35
    for name in ("cross_entropy", "activation", "temporal"):
        assert all(float(row[name]) > 0 for row in rows_of(undisturbed) if row["loss"])


def test_what_is_saved_has_the_scores_of_the_record(undisturbed: Path, texts: Path) -> None:
    understudy.register()
    model = transformers.AutoModelForCausalLM.from_pretrained(undisturbed / "model").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(undisturbed / "model")
    encoded: Encoded = encode_streams(read_texts(texts / "test.txt"), tokenizer)
    scores = language_scores(model, scoring_batches(encoded), device="cpu")
    assert scores == RunRecord.load(undisturbed / "record.json").models[0]["metrics"]["test"]
    assert language_kind(str(undisturbed)) == "recurrent"
    assert model.config.understudy["kind"] == "language_model"


def test_the_rate_follows_the_length_of_the_windows(undisturbed: Path) -> None:
    rates = [float(row["learning_rate"]) for row in rows_of(undisturbed) if row["loss"]]
    assert 0 < max(rates) < 0.02 * 3


def test_the_card_and_the_config_go_on(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = (undisturbed / "README.md").read_text(encoding="utf-8")
    assert "understudy generate" in card
    assert "understudy finetune --model" in card
    assert "AutoModelForCausalLM" in card
    assert "pipeline_tag: text-generation" in card
    assert "| awd\\_lstm.hidden | 16 |" in card
    assert (undisturbed / "plots" / "learning-curves.png").stat().st_size > 10_000
    config = yaml.safe_load((undisturbed / "config.yaml").read_text(encoding="utf-8"))
    assert (config["command"], config["awd_lstm"]["embedding"], config["bptt"]) == ("pretrain", 12, 12)
    assert main(["generate", str(undisturbed), "the cat", "--max_tokens", "3", "--temperature", "0"]) == 0
    words = capsys.readouterr().out.split()
    assert words[:2] == ["the", "cat"]
    assert words[2] in VERBS


class Killed(BaseException):
    """Nobody catches it."""


def at_step(patch: pytest.MonkeyPatch, number: int, then: Callable[[], None]) -> None:
    """Have something happen before the `number`-th step of this process."""
    known, calls = trainer.Trainer.step, []

    def counting(self: Any, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == number:
            then()
        known(self, *arguments)

    patch.setattr(trainer.Trainer, "step", counting)


def dies(patch: pytest.MonkeyPatch, run: list[str], number: int) -> None:
    """Play a death before the `number`-th step."""
    with patch.context() as inner:

        def die() -> None:
            inner.setattr(records.RunRecord, "save", lambda self, path: None)  # the dead write no more
            raise Killed

        at_step(inner, number, die)
        with pytest.raises(Killed):
            main(run)


def same(folder: Path, undisturbed: Path) -> None:
    """A run is what it would have been."""
    name = Path("model") / "model.safetensors"
    assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()
    found, expected = (RunRecord.load(path / "record.json") for path in (folder, undisturbed))
    assert found.finished
    assert found.models == expected.models
    assert [row["step"] for row in rows_of(folder) if row["validation_loss"]] == [
        row["step"] for row in rows_of(undisturbed) if row["validation_loss"]
    ]


@pytest.mark.usefixtures("quick")
def test_killed_in_mid_stream_it_ends_with_the_same_bits(
    undisturbed: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = command({"data": texts, **TINY, "epochs": 3, "output": tmp_path / "run"})
    checkpoint = tmp_path / "run" / "checkpoints" / "train.pt"
    died = forked.understudy(*run, failpoint="train.step:8")
    assert died.returncode == -signal.SIGKILL, died.stderr
    content = torch.load(checkpoint, weights_only=True)
    assert (content["state"]["step"], content["state"]["epoch"]) == (5, 0)
    ((first, parts),) = content["extra"]["_extra_state"].items()
    assert first == "0"
    assert [tuple(part.shape) for part in parts] == [(1, 4, 16), (1, 4, 16), (1, 4, 12), (1, 4, 12)]
    assert all(part.abs().max() > 0 for part in parts)
    with monkeypatch.context() as patch:  # of this process, which begins after the fifth
        at_step(patch, 9, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert main([*run, "--resume"]) == 128 + signal.SIGTERM
    assert torch.load(checkpoint, weights_only=True)["state"]["step"] == 14
    assert main([*run, "--resume"]) == 0
    same(tmp_path / "run", undisturbed)


@pytest.mark.usefixtures("quick")
def test_micro_batches_of_streams_have_states_of_their_own(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"data": texts, **TINY, "epochs": 1, "max_tokens": 30, "output": tmp_path / "whole"}
    assert main(command(values)) == 0
    run = command({**values, "output": tmp_path / "run"})
    dies(monkeypatch, run, 8)
    content = torch.load(tmp_path / "run" / "checkpoints" / "train.pt", weights_only=True)
    assert set(content["extra"]["_extra_state"]) == {"0", "2"}
    assert main([*run, "--resume"]) == 0
    same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.usefixtures("quick")
def test_a_large_vocabulary_is_scored_a_few_tokens_at_a_time(
    texts: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = build(Pretrain, {"data": str(texts), "model": str(undisturbed), "batch_size": 8})
    corpus = recipe.read()
    whole = recipe.prepare(corpus)
    monkeypatch.setitem(language_model._SCORES, "cpu", 30 * whole.model.config.vocab_size)
    cut = recipe.prepare(corpus)
    assert {len(window) for window in whole.batches.windows(0)} == {1}
    assert {len(window) for window in cut.batches.windows(0)} == {4}  # 12 tokens of 2 streams are 24
    device = torch.device("cpu")
    assert cut.scores(cut.model, "test", device) == pytest.approx(whole.scores(whole.model, "test", device), rel=1e-6)


@pytest.mark.usefixtures("quick")
def test_a_trained_model_is_adapted_and_set_beside_itself(undisturbed: Path, tmp_path: Path) -> None:
    rng = random.Random(5)
    lines = [f"{sentences(rng).replace('finds', 'likes').replace('the cat', 'my friend')}\n" for _ in range(120)]
    (tmp_path / "domain.txt").write_text("".join(lines), encoding="utf-8")
    values = {"data": tmp_path / "domain.txt", "model": undisturbed, "epochs": 2, "batch_size": 4, "drop_mult": 0.3}
    values |= {"learning_rate": "2e-3:1e-2", "schedule": "slanted_triangular", "unfreeze": ["1", "all"]}
    assert main(command({**values, "unfreeze_epochs": 1, "output": tmp_path / "run"})) == 0
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert [entry["name"] for entry in record.models] == ["model", "before training"]
    after, before = (entry["metrics"]["validation"]["loss"] for entry in record.models)
    assert after < before
    rates = record.training["train"]["learning_rates"]
    assert next(iter(rates.values())) == pytest.approx(2e-3)
    assert list(rates.values())[-1] == pytest.approx(1e-2)
    assert len(record.training["train"]["stages"]) == 2
    config = load_next_token_model(str(tmp_path / "run")).model.config
    assert (config.drop_mult, config.bptt, config.hidden_size) == (0.3, 12, 16)
    assert {f"learning_rate_{name.replace(' ', '_')}" for name in rates} <= set(rows_of(tmp_path / "run")[0])


@pytest.mark.usefixtures("quick")
def test_a_backward_model_learns_the_text_reversed(texts: Path, tmp_path: Path) -> None:
    """On texts that read the same backward, word by word, both directions learn the same."""
    rng = random.Random(1)
    words = [[rng.choice("abcdef") for _ in range(6)] for _ in range(60)]
    lines = [" ".join(row + row[::-1]) for row in words]
    (tmp_path / "forward.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "valid.txt").write_text("a b c d e f f e d c b a\n", encoding="utf-8")
    for backward in (False, True):
        values = {**TINY, "train": tmp_path / "forward.txt", "validation": tmp_path / "valid.txt", "epochs": 1}
        values |= {"backward": True} if backward else {}
        assert main(command({**values, "output": tmp_path / f"run-{backward}"})) == 0
    model = load_next_token_model(str(tmp_path / "run-True")).model
    assert model.config.backward
    forward, back = (RunRecord.load(tmp_path / f"run-{b}" / "record.json").models[0]["metrics"] for b in (False, True))
    assert forward["validation"]["loss"] != back["validation"]["loss"]  # [SEP] stands at the other end
    again = command({"train": tmp_path / "forward.txt", "model": tmp_path / "run-True", "backward": True})
    assert main(again) == 2


@pytest.fixture(scope="module")
def tiny_gpt2(texts: Path, undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-gpt2")
    tokenizer = load_tokenizer(str(undisturbed))
    end = tokenizer.sep_token_id
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=24, n_embd=16, n_layer=2, n_head=2, bos_token_id=end, eos_token_id=end
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.usefixtures("quick")
def test_a_causal_transformer_reads_blocks(
    texts: Path, tiny_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"data": texts, "model": tiny_gpt2, "max_length": 20, "epochs": 4, "batch_size": 4, "learning_rate": 0.01}
    assert main(command({**values, "save_steps": 4, "output": tmp_path / "whole"})) == 0
    record = RunRecord.load(tmp_path / "whole" / "record.json")
    after, before = (entry["metrics"]["validation"] for entry in record.models)
    assert before["perplexity"] > 20
    assert after["perplexity"] < 6
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole" / "model").config.model_type == "gpt2"
    run = command({**values, "save_steps": 4, "output": tmp_path / "run"})
    dies(monkeypatch, run, 12)
    assert main([*run, "--resume"]) == 0
    same(tmp_path / "run", tmp_path / "whole")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"data": texts, **TINY, "epochs": 2, "dry_run": True, "output": tmp_path / "run"}
    assert main(command(values)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "texts 130 to train on, 20 validation, 20 test" in said
    assert "of 4 streams, 2 epochs at most" in said
    assert "test: 3 texts are also among the training texts" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "no model: name awd_lstm, a run"),
        ({"model": "awd_lstn"}, "Did you mean 'awd_lstm'?"),
        ({"model": "awd_lstm", "tokenizer": "bp:8000"}, "tokenizer 'bp:8000' is neither words:N nor bpe:N"),
        (
            {"model": "awd_lstm", "tokenizer": "gpt2"},
            "name its folder, or its hub id with the owner, such as openai-community/gpt2.",
        ),
        ({"model": "awd_lstm", "tokenizer": "bpe:3"}, "must have more than the 5 special tokens"),
        ({"model": "awd_lstm", "bptt": 4}, "bptt must be at least 10, but is 4"),
        ({"model": "awd_lstm", "metric": "f1"}, "metric must be one of loss, perplexity, accuracy"),
        ({"model": "awd_lstm", "batch_size": 5000}, "Give a smaller --batch_size, or more text."),
        ({"model": "awd_lstm", "max_length": 64}, "--max_length is for models that read blocks"),
        ({"model": "awd_lstm", "drop_mult": 9}, "drop_mult must be at least 0 and less than 4"),
        ({"model": "awd_lstm", "awd_lstm.hidden": 0}, "awd_lstm.hidden must be greater than 0"),
        ({"model": "@lm", "awd_lstm.hidden": 99}, "--awd_lstm.hidden is for a new model"),
        ({"model": "@lm", "tokenizer": "bpe:90", "backward": True}, "--backward is for a new model"),
        ({"model": "@gpt2", "bptt": 70}, "--bptt is for an AWD-LSTM"),
        ({"model": "@gpt2", "awd_lstm.beta": 5}, "--awd_lstm.beta is for an AWD-LSTM, which"),
        ({"model": "@gpt2", "drop_mult": 0.5}, "drop_mult scales the dropouts of an AWD-LSTM"),
        ({"model": "@gpt2", "max_length": 100}, "reads at most 24 tokens"),
        ({"model": "@lm", "learning_rate": "1e-2:1e-4"}, "is the wrong way round"),
        ({"model": "@lm", "unfreeze": ["1", "9", "all"]}, "only 3 groups can learn"),
    ],
)
def test_mistakes_end_with_two_and_a_sentence(
    values: dict[str, Any],
    said: str,
    texts: Path,
    undisturbed: Path,
    tiny_gpt2: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"@lm": undisturbed, "@gpt2": tiny_gpt2}
    given = {name: places.get(value, value) if isinstance(value, str) else value for name, value in values.items()}
    assert main(command({"data": texts, "output": tmp_path / "run", **given})) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_text_file_of_one_line_and_no_texts_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.txt").write_text("a single line\n", encoding="utf-8")
    assert main(command({"data": tmp_path / "one.txt", "model": "awd_lstm"})) == 2
    assert "holds a single text, so no validation part can be cut off" in capsys.readouterr().err
    assert main(["pretrain", "--model", "awd_lstm"]) == 2
    assert "no texts: name a file, a folder or a hub data set with --data" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_part_without_a_token_to_predict_is_refused_before_training(
    part: str, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(texts, tmp_path / "texts")
    (tmp_path / "texts" / f"{part}.txt").write_text("\u200d\n", encoding="utf-8")  # cleaned away: the end alone is left
    assert main(command({"data": tmp_path / "texts", **TINY, "output": tmp_path / "run"})) == 2
    name = {"valid": "validation"}.get(part, part)
    assert f"{name}: the model's tokenizer makes 1 token of all its texts" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("quick")
def test_the_card_of_a_backward_model_that_is_trained_further_says_so(texts: Path, tmp_path: Path) -> None:
    values = {**TINY, "data": texts, "epochs": 1}
    assert main(command({**values, "backward": True, "output": tmp_path / "first"})) == 0
    further = {name: values[name] for name in ("data", "batch_size", "epochs")}
    assert main(command({**further, "model": tmp_path / "first", "output": tmp_path / "next"})) == 0
    entry = RunRecord.load(tmp_path / "next" / "record.json").model("model")
    assert entry["backward"] is True
    for run in ("first", "next"):
        assert "language model that reads from right to left" in (tmp_path / run / "README.md").read_text("utf-8")


def test_an_encoder_that_sees_ahead_is_not_taken_for_a_causal_model(
    tiny_bert: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert language_kind(str(tiny_bert)) == "masked"
    tokenizer = load_tokenizer(str(undisturbed))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(tokenizer), **sizes)
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    assert language_kind(str(tmp_path / "bert")) == "causal"
    assert main(["generate", str(tmp_path / "bert"), "the cat"]) == 2
    assert "sees the tokens that it should predict" in capsys.readouterr().err


def test_unknown_tokens_are_said_unless_they_end_texts_too() -> None:
    tokenizer = train_tokenizer(["a film"], "words:9")
    ids = np.array([tokenizer.unk_token_id, 5, 6, 5], np.int32)
    encoded = Encoded(ids, np.array([0, 4]), None, pad_id=0, padding_side="right", fingerprint="")
    rare = np.array([*[5] * 19, tokenizer.unk_token_id], np.int32)
    parts = {"train": encoded, "validation": replace(encoded, ids=rare, offsets=np.array([0, 20]))}
    train, validation = unknown_notes(parts, tokenizer)
    assert train.startswith("train: 25.0 % of the tokens are unknown. They are easy to predict")
    assert "--vocabulary new:16000" in train
    assert unknown_notes(parts, tokenizer, remedy="read others")[0].endswith("so scores say little: read others.")
    assert validation == "validation: 5.0 % of the tokens are unknown."
    tokenizer.eos_token = tokenizer.unk_token  # as GPT-2 has it
    assert unknown_notes(parts, tokenizer) == []
