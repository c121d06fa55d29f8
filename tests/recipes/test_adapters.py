"""``understudy finetune --adapter``: an adapter and a head are trained and saved, the encoder stays as it is."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import forked
import understudy
from understudy.adapters.fingerprints import encoder_fingerprint
from understudy.adapters.inject import adapter_tensors, encoder_tensors
from understudy.cli import main
from understudy.errors import ModelError
from understudy.inference.adapted import AdaptedPredictor
from understudy.models.files.classifiers import load_encoder
from understudy.record import RunRecord

pytestmark = pytest.mark.usefixtures("quick_throughout")

HAS_PEFT = importlib.util.find_spec("peft") is not None
KINDS = ["houlsby", "pfeiffer", "parallel"]
WITH_PEFT = [pytest.param(k, marks=pytest.mark.skipif(not HAS_PEFT, reason="needs peft")) for k in ("lora", "ia3")]
OPTIONS = ["--reduction", "2", "--learning_rate", "0.01", "--epochs", "4", "--batch_size", "8", "--no_baseline"]


def command(reviews: Path, larger_bert: Path, folder: Path, *more: str) -> list[str]:
    return ["finetune", "--data", str(reviews), "--model", str(larger_bert), "--output", str(folder), *more]


@pytest.fixture(scope="module")
def trained(reviews: Path, larger_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind that was written here."""
    folder = tmp_path_factory.mktemp("adapters")
    for kind in KINDS:
        assert main(command(reviews, larger_bert, folder / kind, "--adapter", kind, *OPTIONS)) == 0
    return {kind: folder / kind for kind in KINDS}


def rows(reviews: Path) -> list[dict[str, str]]:
    with open(reviews / "test.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", KINDS)
def test_only_adapter_and_head_are_saved_and_answer_as_scored(
    kind: str, trained: dict[str, Path], reviews: Path, larger_bert: Path
) -> None:
    run = trained[kind]
    files = {path.name for path in (run / "model").iterdir()}
    assert files == {"adapter_config.json", "adapter.safetensors", "head.safetensors", "checksums.json"}
    model: Any = understudy.load(run)
    assert isinstance(model, AdaptedPredictor)
    assert model.facts.kind == kind
    encoder = load_encoder(str(larger_bert))
    assert all(
        torch.equal(tensor, encoder.state_dict()[name])
        for name, tensor in encoder_tensors(model.model)
        if "pooler" not in name
    )
    assert model.facts.base.fingerprint == encoder_fingerprint(encoder)
    record = RunRecord.load(run / "record.json")
    (entry,) = record.models
    own = sum(p.numel() for p in adapter_tensors(model.model, "task").values()) + 2 * 32 + 2
    assert entry["trainable_parameters"] == entry["own_parameters"] == own
    stored = sum(
        t.numel() for file in ("adapter", "head") for t in load_file(run / "model" / f"{file}.safetensors").values()
    )
    assert stored == own
    test = rows(reviews)
    right = [answer.label == row["label"] for answer, row in zip(model.predict([row["text"] for row in test]), test)]
    assert sum(right) / len(right) == pytest.approx(entry["metrics"]["test"]["accuracy"])
    assert sum(right) / len(right) >= 0.6
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "are the adapter and the head that were trained; the others are those of the base" in card
    assert f"| adapter | {kind} |" in card
    assert any("parameters learned" in note for note in record.notes)


@pytest.mark.parametrize("kind", WITH_PEFT)
@pytest.mark.filterwarnings("ignore")
def test_peft_puts_lora_and_ia3_into_the_encoder(kind: str, reviews: Path, larger_bert: Path, tmp_path: Path) -> None:
    options = ["--learning_rate", "0.02", "--epochs", "4", "--batch_size", "8", "--no_baseline"]
    assert main(command(reviews, larger_bert, tmp_path / "run", "--adapter", kind, *options)) == 0
    model: Any = understudy.load(tmp_path / "run")
    (entry,) = RunRecord.load(tmp_path / "run" / "record.json").models
    sizes = {"lora": 4 * 2 * 2 * 8 * 32, "ia3": 4 * (2 * 32 + 64)}
    assert entry["own_parameters"] == sizes[kind] + 2 * 32 + 2
    weights = load_encoder(str(larger_bert)).state_dict()
    found = dict(encoder_tensors(model.model))
    assert all(torch.equal(found[name], value) for name, value in weights.items() if "pooler" not in name)
    test = rows(reviews)
    right = [answer.label == row["label"] for answer, row in zip(model.predict([row["text"] for row in test]), test)]
    assert sum(right) / len(right) == pytest.approx(entry["metrics"]["test"]["accuracy"])
    if kind == "lora":  # a rank that no memory has room for
        changed_facts(tmp_path / "run" / "model", design=model.facts.design | {"r": 10**12})
        with pytest.raises(ModelError, match="its rank is 1000000000000, more than four times the width"):
            understudy.load(tmp_path / "run")


def test_dropped_layers_and_half_the_bytes_and_going_on(
    trained: dict[str, Path], reviews: Path, larger_bert: Path, tmp_path: Path
) -> None:
    more = ["--load_adapter", str(trained["houlsby"]), "--drop_adapters", "0-1", "3", "--adapter_half"]
    assert main(command(reviews, larger_bert, tmp_path / "run", *more, "--epochs", "1", "--no_baseline")) == 0
    weights = load_file(tmp_path / "run" / "model" / "adapter.safetensors")
    assert {key.split(".")[1] for key in weights} == {"2"}
    assert {value.dtype for value in weights.values()} == {torch.float16}
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.models[0]["own_bytes"] == 2 * record.models[0]["own_parameters"]
    assert any("its head is kept" in note for note in record.notes)
    assert record.training["train"]["learning_rate"] == 1e-3
    model: Any = understudy.load(tmp_path / "run")
    assert model.facts.design["leave_out"] == [0, 1, 3]
    before: Any = understudy.load(trained["houlsby"])
    moved = adapter_tensors(model.model, "task")["layer.2.output.up.weight"]
    started = adapter_tensors(before.model, "task")["layer.2.output.up.weight"]
    assert 0 < (moved - started).abs().max() < 0.02


def test_the_mean_of_the_states_and_norms_of_its_own(reviews: Path, larger_bert: Path, tmp_path: Path) -> None:
    more = ["--adapter", "pfeiffer", "--pooling", "mean", "--adapter_norms", *OPTIONS]
    assert main(command(reviews, larger_bert, tmp_path / "run", *more)) == 0
    weights = load_file(tmp_path / "run" / "model" / "adapter.safetensors")
    assert weights["layer.0.attention.own_norm.weight"].std() > 0
    assert RunRecord.load(tmp_path / "run" / "record.json").models[0]["metrics"]["test"]["accuracy"] >= 0.6


def test_an_adapter_teaches(trained: dict[str, Path], reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "student"
    options = [
        "--student",
        "static",
        "--static.embedding",
        "12",
        "--static.hidden",
        "8",
        "--epochs",
        "1",
        "--no_baseline",
    ]
    teach = ["distill", "--data", str(reviews), "--teacher", str(trained["houlsby"]), "--output", str(out), *options]
    assert main(teach) == 0
    teacher = next(model for model in RunRecord.load(out / "record.json").models if model["name"] == "teacher")
    own = RunRecord.load(trained["houlsby"] / "record.json").models[0]
    assert teacher["metrics"]["test"]["accuracy"] == own["metrics"]["test"]["accuracy"]


def test_killed_and_resumed_it_ends_with_the_same_bits(
    trained: dict[str, Path], reviews: Path, larger_bert: Path, tmp_path: Path
) -> None:
    """The checkpoint holds what learns and its moments, not the base."""
    more = ["--adapter", "houlsby", *OPTIONS, "--save_steps", "7"]
    again = command(reviews, larger_bert, tmp_path / "killed", *more)
    died = forked.understudy(*again, failpoint="train.step:31")
    assert died.returncode == -signal.SIGKILL, died.stderr
    checkpoint = tmp_path / "killed" / "checkpoints" / "train.pt"
    kept = torch.load(checkpoint, weights_only=True)
    learning = sum(value.numel() for value in kept["model"].values())
    own = sum(t.numel() for t in load_file(trained["houlsby"] / "model" / "adapter.safetensors").values()) + 66
    assert learning == own
    assert main([*again, "--resume"]) == 0
    for name in ("adapter", "head"):
        file = f"model/{name}.safetensors"
        assert (trained["houlsby"] / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()


# --- bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reduction", "4"], "--reduction: this is for adapters. Give --adapter, or leave it out."),
        (["--adapter", "houlsby", "--freeze", "0"], "with an adapter the whole encoder is frozen"),
        (
            ["--adapter", "houlsby", "--contrastive", "always"],
            "--contrastive always trains the encoder, but with an adapter it stays as it is",
        ),
        (
            ["--adapter", "houlsby", "--features", "frozen"],
            "an adapter is trained inside an encoder, but --features frozen",
        ),
        (["--adapter", "houlsby", "--drop_adapters", "low"], "'low' is neither a layer (3) nor a range"),
        (
            ["--adapter", "houlsby", "--drop_adapters", "9"],
            "there is no layer 9 in this BertModel, whose layers are 0 to 3",
        ),
        (["--adapter", "houlsby", "--drop_adapters", "0-3"], "all 4 layers are left out"),
        (["--adapter", "houlsby", "--rank", "4"], "--rank: this is for another kind of adapter than houlsby"),
        (["--adapter", "lora", "--reduction", "4"], "--reduction: this is for another kind of adapter than lora"),
        (["--load_adapter", "nowhere"], "nowhere: no such folder"),
        (["--load_adapter", "{reviews}"], "is no adapter: it holds no adapter_config.json"),
        (["--load_adapter", "{run}", "--reduction", "4"], "--reduction: the adapter of --load_adapter is what it is"),
        (["--model", "{run}"], "is an adapter and no model of its own"),
        (["--adapter", "houlsby", "--reductions", "0-1:4"], "'0-1:4' must be a layer or a range of layers"),
        (["--adapter", "houlsby", "--reductions", "0-1=4", "1=2"], "--reductions names layer 1 more than once"),
        (["--adapter", "houlsby", "--reductions", "9=4"], "there is no layer 9 in this BertModel"),
        (["--adapter", "lora", "--drop_adapters", "9"], "there is no layer 9 in this BertModel"),
        (["--adapter", "ia3", "--drop_adapters", "9"], "there is no layer 9 in this BertModel"),
        (["--adapter", "lora", "--drop_adapters", "0-3"], "all 4 layers are left out"),
        (["--adapter", "ia3", "--drop_adapters", "0-3"], "all 4 layers are left out"),
        (["--adapter", "houlsby", "--drop_adapters", "3-1"], "--drop_adapters: 3-1 counts down. Write 1-3."),
        (["--adapter", "houlsby", "--reductions", "3-1=8"], "--reductions: 3-1 counts down. Write 1-3."),
        (
            ["--adapter", "houlsby", "--reduction", "0.0001"],
            "reduction must be greater than or equal to 0.25, but is 0.0001",
        ),
        (
            ["--adapter", "houlsby", "--reductions", "1=0.1"],
            "'1=0.1' must be a layer or a range of layers and a number",
        ),
        (["--adapter", "lora", "--rank", "33"], "a lora of rank 33 computes no more than one of rank 32"),
    ],
)
def test_flags_that_cannot_be(
    flags: list[str],
    message: str,
    trained: dict[str, Path],
    reviews: Path,
    larger_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [flag.format(reviews=reviews, run=trained["houlsby"]) for flag in flags]
    model = [] if "--model" in flags else ["--model", str(larger_bert)]
    assert main(["finetune", "--data", str(reviews), *model, "--output", str(tmp_path / "run"), *named]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def copied(run: Path, to: Path) -> Path:
    return Path(shutil.copytree(run / "model", to))


def changed_facts(folder: Path, **changed: Any) -> None:
    path = folder / "adapter_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["understudy"] |= changed
    path.write_text(json.dumps(told), encoding="utf-8")


def test_a_folder_that_was_damaged(trained: dict[str, Path], tmp_path: Path, larger_bert: Path) -> None:
    whole = copied(trained["houlsby"], tmp_path / "whole")
    own = json.loads((whole / "adapter_config.json").read_text(encoding="utf-8"))["understudy"]
    cases: list[tuple[str, Any, str]] = [
        ("cut", lambda f: (f / "adapter.safetensors").write_bytes(b"1234"), "checksum is wrong"),
        (
            "no-sums",
            lambda f: ((f / "checksums.json").unlink(), (f / "adapter.safetensors").write_bytes(b"1234")),
            "cannot be read",
        ),
        ("gone", lambda f: (f / "head.safetensors").unlink(), "head.safetensors was saved there, but is missing"),
        ("text", lambda f: (f / "adapter_config.json").write_text("{"), "cannot be read as JSON"),
        ("foreign", lambda f: (f / "adapter_config.json").write_text("{}"), "was not written by understudy"),
        ("method", lambda f: changed_facts(f, method="magic"), "is damaged, or was written by another version"),
        ("format", lambda f: changed_facts(f, format=99), "its format is 99, but this version reads 1"),
        ("design", lambda f: changed_facts(f, design={}), "no design of an adapter"),
        (
            "endless",
            lambda f: changed_facts(f, design=own["design"] | {"scaling": "nan"}),
            "scaling must be a finite number",
        ),
        (
            "switch",
            lambda f: changed_facts(f, design=own["design"] | {"attention": "no"}),
            "must be true or false",
        ),
        (
            "cube",
            lambda f: changed_facts(f, head="first_token", head_options={"function": "cube"}),
            "of its head it says function: 'cube'",
        ),
        (
            "foo",
            lambda f: changed_facts(f, head="first_token", head_options={"layers": 2, "foo": 1}),
            "of its head it says foo: 1",
        ),
        (
            "single",
            lambda f: changed_facts(f, head="apart", head_options={"layout": [[1], [2], 1, 1, 1]}),
            "its head reads pairs apart, but its task has one text",
        ),
        ("wide", lambda f: changed_facts(f, design=own["design"] | {"reduction": 8.0}), "does not fit BertModel"),
        (
            "base",
            lambda f: changed_facts(f, base=own["base"] | {"name": "./nowhere"}),
            "its base cannot be loaded",
        ),
        (
            "other",
            lambda f: changed_facts(f, base=own["base"] | {"fingerprint": "0" * 64}),
            "whose weights are not those of this one",
        ),
        (
            "layers",
            lambda f: changed_facts(f, base=own["base"] | {"layers": 12}),
            "its layers is 12, but this base's is 4",
        ),
        (
            "beyond",
            lambda f: changed_facts(f, design=own["design"] | {"leave_out": [9]}),
            r"beyond/.*it names the layer 9",
        ),
        (
            "kept",
            lambda f: changed_facts(f, base=own["base"] | {"kept": [2, 9]}),
            r"kept/.* kept of its base are \[2, 9\]",
        ),
        (
            "names",
            lambda f: changed_facts(f, base=own["base"] | {"kept": ["a"]}),
            r"names/.* kept of its base are \['a'\]",
        ),
        (
            "inverse",
            lambda f: changed_facts(f, design=own["design"] | {"invertible": []}),
            r"inverse/.*no design of an",
        ),
        ("print", lambda f: changed_facts(f, base=own["base"] | {"fingerprint": None}), r"print/.*is of another type"),
        ("fused", lambda f: changed_facts(f, method="fusion", design={}), r"fused/.*it is a fusion of no adapters"),
        (
            "long",
            lambda f: changed_facts(f, max_length=5000),
            r"long: its max_length is 5000, but its base reads at most",
        ),
        ("short", lambda f: changed_facts(f, max_length=0), r"short/.*its max_length is 0"),
        (
            "type",
            lambda f: changed_facts(f, base=own["base"] | {"model_type": "xlnet"}),
            "its model_type is xlnet",
        ),
    ]
    for name, damage, message in cases:
        folder = copied(trained["houlsby"], tmp_path / name)
        damage(folder)
        with pytest.raises(ModelError, match=message):
            understudy.load(folder)
