"""``understudy pretrain`` of masked language models: every architecture, lines and blocks, kills, and what is refused."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from understudy.cli import main
from understudy.record import RunRecord
from understudy.training import trainer

pytestmark = pytest.mark.usefixtures("quick_throughout")

WEIGHTS = Path("model") / "model.safetensors"
SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
}
DISTILBERT = {"vocab_size": 30, "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 40}
ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "albert": lambda: transformers.AlbertConfig(**SIZES, embedding_size=8),
    "distilbert": lambda: transformers.DistilBertConfig(**DISTILBERT),
    "multilingual bert": lambda: transformers.BertConfig(**SIZES, directionality="bidi"),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, pad_token_id=0),
    "electra": lambda: transformers.ElectraConfig(**SIZES, embedding_size=8),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**SIZES, pad_token_id=0),
    "mobilebert": lambda: transformers.MobileBertConfig(
        **SIZES, embedding_size=8, intra_bottleneck_size=8, num_feedforward_networks=1
    ),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SIZES, pad_token_id=0, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3
    ),
}
UNPACKED = {"mobilebert"}


def sentences(count: int, seed: int) -> list[str]:
    """Every adjective has a noun of its own, so that there is something to learn."""
    rng = random.Random(seed)
    pairs = [("good", "film"), ("bad", "book"), ("fine", "song"), ("sad", "play")]
    return [
        " ".join(word for _ in range(rng.randint(1, 4)) for word in ("the", *rng.choice(pairs))) for _ in range(count)
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for seed, (name, count) in enumerate({"train": 64, "valid": 24, "test": 16}.items()):
        (folder / f"{name}.txt").write_text("\n".join(sentences(count, seed)) + "\n", encoding="utf-8")
    return folder


def pretrain(data: Path, model: Path, output: Path, *flags: str) -> RunRecord:
    command = ["pretrain", "--data", str(data), "--model", str(model), "--output", str(output)]
    assert main([*command, "--batch_size", "8", "--epochs", "1", *flags]) == 0
    return RunRecord.load(output / "record.json")


@pytest.mark.parametrize("blocks", ["line", "pack"])
def test_it_learns_and_the_model_is_transformers_own(
    blocks: str, corpus: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--blocks", blocks, "--epochs", "6", "--learning_rate", "0.01", "--max_length", "32"]
    record = pretrain(corpus, tiny_bert, tmp_path / "run", *flags)
    assert any("got one tied to its embeddings" in note for note in record.notes)
    entry = record.models[0]
    assert [model["name"] for model in record.models] == ["model"]  # the head is new: there was nothing to score before
    for part in ("validation", "test"):
        assert entry["metrics"][part]["accuracy"] > 0.5  # 27 words to choose from
        assert entry["metrics"][part]["perplexity"] == pytest.approx(
            torch.tensor(entry["metrics"][part]["loss"]).exp().item(), rel=1e-5
        )
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "run" / "model")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    capsys.readouterr()
    assert main(["fill-mask", str(tmp_path / "run"), "the good [MASK] the good film", "--top", "2"]) == 0
    assert "film" in capsys.readouterr().out


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_trains_and_is_saved(
    architecture: str, corpus: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(ARCHITECTURES[architecture]()).save_pretrained(start)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(start)
    flags = ["--blocks", "pack", "--limit_train", "32", "--max_length", "24", "--learning_rate", "0.01"]
    record = pretrain(corpus, start, tmp_path / "run", *flags)
    before, after = load_file(start / "model.safetensors"), load_file(tmp_path / "run" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) > len(before) / 2
    scores = {model["name"]: model["metrics"]["validation"] for model in record.models}
    assert scores["model"]["loss"] < scores["before training"]["loss"]
    assert any("cannot keep the texts of a block apart" in note for note in record.notes) == (architecture in UNPACKED)
    loaded, info = AutoModelForMaskedLM.from_pretrained(tmp_path / "run" / "model", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert type(loaded).__name__.endswith("ForMaskedLM")


def test_models_are_scored_on_the_same_masks_whatever_the_run(corpus: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """The seed of a run, its way of masking and of making rows do not change what it is judged by."""
    long = tmp_path / "long.txt"  # a text of several rows before the others
    long.write_text("the good film " * 20 + "\n" + (corpus / "valid.txt").read_text(encoding="utf-8"), encoding="utf-8")
    common = ["--max_length", "20", "--validation", str(long)]
    first = pretrain(corpus, tiny_bert, tmp_path / "first", *common)
    again = ["--seed", "5", "--whole_words", "--mask_probability", "0.4", "--blocks", "pack", *common]
    second = pretrain(corpus, tmp_path / "first", tmp_path / "second", *again)
    said = "validation: 1 of 25 texts have 20 tokens or more; the rest is not read (--max_length moves the limit)."
    assert said in second.notes
    scores = [record.models[0]["metrics"]["test"] for record in (first, second)]
    assert scores[0] != scores[1]
    before = next(model for model in second.models if model["name"] == "before training")
    assert before["metrics"]["validation"]["loss"] == pytest.approx(
        first.models[0]["metrics"]["validation"]["loss"], rel=1e-5
    )


class Killed(BaseException):
    """Nobody catches it."""


@pytest.mark.parametrize("flags", [["--blocks", "line"], ["--blocks", "pack", "--whole_words"]], ids=["line", "pack"])
def test_killed_and_resumed_it_ends_with_the_same_bits(
    flags: list[str], corpus: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two checkpoints: dropout, masks, packing and order go on as they would have."""
    flags = [*flags, "--epochs", "2", "--save_steps", "2", "--max_length", "24", "--limit_train", "40"]
    whole = pretrain(corpus, tiny_bert, tmp_path / "whole", *flags)
    steps: list[int] = []
    known = trainer.Trainer.step

    def dying(self: Any, *arguments: Any) -> None:
        steps.append(1)
        if len(steps) == whole.training["train"]["steps"] // 2:
            raise Killed
        known(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "step", dying)
        with pytest.raises(Killed):
            pretrain(corpus, tiny_bert, tmp_path / "killed", *flags)
    resumed = pretrain(corpus, tiny_bert, tmp_path / "killed", *flags, "--resume")
    assert (tmp_path / "killed" / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert resumed.models == whole.models
    assert resumed.training["train"]["steps"] == whole.training["train"]["steps"]


def test_a_classifier_starts_from_it(corpus: Path, reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    pretrain(corpus, tiny_bert, tmp_path / "lm", "--learning_rate", "0.01")
    command = ["finetune", "--data", str(reviews), "--model", str(tmp_path / "lm"), "--epochs", "1", "--no_baseline"]
    command += ["--pooling", "head"]
    assert main([*command, "--freeze", "embeddings", "--output", str(tmp_path / "classifier")]) == 0
    name = "bert.embeddings.word_embeddings.weight"
    table, same = (load_file(tmp_path / run / WEIGHTS)[name] for run in ("lm", "classifier"))
    assert torch.equal(table, same)


def test_long_lines_are_cut_or_go_on_and_are_counted(tiny_bert: Path, tmp_path: Path) -> None:
    lines = [*sentences(20, 0), "", "the good film " * 1000, ""]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "valid.txt").write_text("\n".join(sentences(8, 1)) + "\n", encoding="utf-8")
    shown = {}
    for blocks in ("line", "pack"):
        record = pretrain(tmp_path, tiny_bert, tmp_path / blocks, "--blocks", blocks, "--max_length", "32")
        assert any("2 empty lines left out" in note for note in record.notes)
        shown[blocks] = record.training["train"]["rows"]
        (note,) = [note for note in record.notes if note.startswith("train: ") and "32 tokens" in note]
        said = "1 of 21 texts have 32 tokens or more" if blocks == "line" else "21 texts make 120 of at most 32 tokens"
        assert said in note
    assert shown["line"] == 21
    assert shown["pack"] > 100  # 3,000 words, 30 in a row


def refused(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["pretrain", *arguments]) == 2
    return capsys.readouterr().err


def test_what_it_cannot_do_is_said(
    corpus: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--data", str(corpus), "--output", str(tmp_path / "run")]
    flags = ["--whole_words", "--blocks", "pack", "--mask_probability", "0.3"]
    said = refused(*common, "--model", "awd_lstm", *flags, capsys=capsys)
    for name in ("whole_words", "blocks", "mask_probability"):
        assert f"--{name} is for a masked language model, which awd_lstm is not" in said
    for flag, value in (("bptt", "70"), ("drop_mult", "0.5"), ("awd_lstm.alpha", "1")):
        assert f"{flag}" in refused(*common, "--model", str(tiny_bert), f"--{flag}", value, capsys=capsys)
    assert "mask_probability must be" in refused(
        *common, "--model", str(tiny_bert), "--mask_probability", "0", capsys=capsys
    )

    (tmp_path / "foreign.txt").write_text("уряд міста\nновий міст\n" * 4, encoding="utf-8")
    said = refused(
        *["--data", str(tmp_path / "foreign.txt"), "--model", str(tiny_bert)],
        *["--output", str(tmp_path / "run")],
        capsys=capsys,
    )
    assert "none can be masked. Give text in a language that the model reads" in said
    said = refused(
        *["--train", str(tmp_path / "foreign.txt"), "--validation", str(corpus / "valid.txt")],
        *["--model", str(tiny_bert), "--output", str(tmp_path / "run")],
        capsys=capsys,
    )
    assert "train: the model's tokenizer knows no token of it" in said

    shutil.copytree(tiny_bert, tmp_path / "maskless")
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(tmp_path / "maskless")
    said = refused(*common, "--model", str(tmp_path / "maskless"), capsys=capsys)
    assert "its tokenizer has no mask token" in said
    assert not (tmp_path / "run").exists()
