"""``understudy import adapter`` and ``understudy adapter export``: against what the other libraries wrote and answered."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

import understudy
from understudy.adapters.files import load_adapted
from understudy.adapters.heads import first_token_head
from understudy.adapters.hub import names
from understudy.adapters.hub.names import repositories
from understudy.adapters.hub.reading import read_hub_adapter
from understudy.adapters.inject import adapter_tensors
from understudy.cli import main
from understudy.errors import ModelError

SHARED = Path(__file__).parents[3] / "shared" / "models"
"""Written by the library itself; not part of the repository."""
HUB = SHARED / "adapterhub"
needs_files = pytest.mark.skipif(not HUB.is_dir(), reason="needs the files that AdapterHub wrote, which are not here")
needs_peft = pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft")
KINDS = {"double_seq_bn": "houlsby", "seq_bn": "pfeiffer", "par_bn": "parallel", "seq_bn_inv": "pfeiffer"}


def with_tokenizer(base: Path, folder: Path) -> Path:
    """A copy of a base with a tokenizer of its 50 ids."""
    shutil.copytree(base, folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    vocabulary = {f"w{i}": i for i in range(48)} | {"[UNK]": 48, "[PAD]": 49}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {name: with_tokenizer(HUB / name / "base", folder / name) for name in ("bert", "roberta", "distilbert")}


def imported(adapter: Path, base: Path, output: Path, *more: str) -> Path:
    assert main(["import", "adapter", str(adapter), "--model", str(base), "--output", str(output), *more]) == 0
    return output


@torch.no_grad()
def answers(folder: Path, expected: dict[str, Tensor]) -> Tensor:
    found: Any = understudy.load(folder)
    return found.model(input_ids=expected["input_ids"], attention_mask=expected["attention_mask"]).logits


@needs_files
@pytest.mark.parametrize("base", ["bert", "roberta", "distilbert"])
def test_what_the_library_wrote_answers_as_it_did(base: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """Both file formats, imported, and exported again."""
    expected = load_file(HUB / base / "expected.safetensors")
    for kind, ours in KINDS.items():
        for written in ("bin", "safetensors"):
            out = imported(HUB / base / f"{kind}-{written}", bases[base], tmp_path / f"{kind}-{written}")
            torch.testing.assert_close(answers(out, expected), expected[f"logits.{kind}"], rtol=0, atol=1e-5)
        facts = understudy.load(out).facts  # type: ignore[union-attr]
        assert facts.kind == ours
        assert facts.task.labels == ("no", "maybe", "yes")
        assert main(["adapter", "export", str(out), "--output", str(tmp_path / f"{kind}-again")]) == 0
        original, again = HUB / base / f"{kind}-safetensors", tmp_path / f"{kind}-again"
        for file in ("adapter.safetensors", "model_head.safetensors"):
            one, two = load_file(original / file), load_file(again / file)
            assert one.keys() == two.keys()
            assert all(torch.equal(value, two[key]) for key, value in one.items())
        for file in ("adapter_config.json", "head_config.json"):
            before, after = (json.loads((path / file).read_text()) for path in (original, again))
            assert before.keys() == after.keys()
            assert {key: before["config"][key] for key in after["config"]} | {"init_weights": ""} == after["config"] | {
                "init_weights": ""
            } or file == "head_config.json"
            assert before["model_class"] == after["model_class"]


@needs_files
@pytest.mark.parametrize("base", ["bert", "roberta", "distilbert"])
def test_what_the_library_wrote_is_loaded_beside_others(base: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """Both file formats, without an import."""
    model, texts = understudy.load_base(bases[base]), ["w1 w2 w3", "w7 w40 w5 w6 w2"]
    for kind in KINDS:
        own: Any = understudy.load(imported(HUB / base / f"{kind}-bin", bases[base], tmp_path / kind))
        for written in ("bin", "safetensors"):
            model.load_adapter(HUB / base / f"{kind}-{written}")
            torch.testing.assert_close(
                np.asarray(model.logits(texts)), np.asarray(own.logits(texts)), rtol=0, atol=1e-5
            )
    assert [answer.label in ("no", "maybe", "yes") for answer in model.predict(texts)] == [True, True]


@needs_files
def test_labels_that_are_out_of_order() -> None:
    """A real one: label "0" is output 1, and the first label that the file names is not output 0."""
    real = SHARED / "mbert-metaphor-adapter"
    found = read_hub_adapter(real)
    told = json.loads((real / "head_config.json").read_text())["config"]["label2id"]
    assert found.task is not None
    assert [found.task.labels.index(label) for label in told] == list(told.values())
    assert found.task.labels == ("1", "0")
    assert (found.design.kind, found.design.reduction, found.design.non_linearity) == ("pfeiffer", 16.0, "relu")
    assert len(found.tensors) == 12 * 4


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small AdapterHub folder of two layers of 32, with changes."""

    def write(
        config: dict[str, Any] | None = None,
        *,
        version: str | None = "adapters.1.3.0",
        where: str = "output.adapters",
        more: dict[str, Any] | None = None,
    ) -> Path:
        folder = tmp_path / "adapter"
        folder.mkdir(exist_ok=True)
        plain = {"mh_adapter": False, "output_adapter": True, "original_ln_before": True, "reduction_factor": 16}
        told = {"config": {**plain, **(config or {})}, "hidden_size": 32, "model_type": "bert", **(more or {})}
        told |= {} if version is None else {"version": version}
        (folder / "adapter_config.json").write_text(json.dumps(told))
        sizes = {
            "adapter_down.0.weight": (2, 32),
            "adapter_down.0.bias": (2,),
            "adapter_up.weight": (32, 2),
            "adapter_up.bias": (32,),
        }
        tensors = {
            f"bert.encoder.layer.{i}.{where}.t.{key}": torch.ones(size) for i in (0, 1) for key, size in sizes.items()
        }
        save_file(tensors, folder / "adapter.safetensors")
        return folder

    return write


def with_a_head(folder: Path, *, function: str = "tanh") -> Path:
    """The folder with a head of two labels."""
    about = {"head_type": "classification", "num_labels": 2, "layers": 2, "activation_function": function}
    (folder / "head_config.json").write_text(json.dumps({"config": {**about, "label2id": {"no": 0, "yes": 1}}}))
    rng = torch.Generator().manual_seed(0)
    sizes = {"1.weight": (32, 32), "1.bias": (32,), "4.weight": (2, 32), "4.bias": (2,)}
    head = {f"heads.t.{key}": torch.randn(size, generator=rng) for key, size in sizes.items()}
    save_file(head, folder / "model_head.safetensors")
    return folder


def test_names_and_functions_of_old_versions(written: Callable[..., Path]) -> None:
    """The library renames functions only where a file has no version at all, and never those of heads."""
    for where, place in (
        ("output.layer_text_task_adapters", "output"),
        ("attention.output.attention_text_lang_adapters", "attention"),
    ):
        found = read_hub_adapter(written({"non_linearity": "gelu"}, version=None, where=where))
        assert found.design.non_linearity == "gelu_new"
        assert {key.split(".")[2] for key in found.tensors} == {place}
        assert found.task is None
    assert read_hub_adapter(written({"non_linearity": "gelu_orig"}, version=None)).design.non_linearity == "gelu"
    for version in ("adapters.1.3.0", "2.0.1", "3.1.0"):
        assert read_hub_adapter(written({"non_linearity": "gelu"}, version=version)).design.non_linearity == "gelu"
    folder = with_a_head(written(version=None), function="gelu")
    assert read_hub_adapter(folder).head_options["function"] == "gelu"


def test_invertible_adapters_of_the_first_version(written: Callable[..., Path]) -> None:
    """They were told in a nested configuration, which adapters of tasks had too, without having one."""
    nested = {"invertible_adapter": {"block_type": "nice", "non_linearity": "relu", "reduction_factor": 4}}
    folder = written(nested, version=None)
    tensors = load_file(folder / "adapter.safetensors")
    sizes = {"0.weight": (4, 16), "0.bias": (4,), "2.weight": (16, 4), "2.bias": (16,)}
    whole = {
        f"bert.invertible_lang_adapters.t.{f}.{key}": torch.ones(size) for f in "FG" for key, size in sizes.items()
    }
    save_file({**tensors, **whole}, folder / "adapter.safetensors")
    found = read_hub_adapter(folder)
    assert found.design.invertible == 4.0
    assert sum(key.startswith("invertible.") for key in found.tensors) == 8
    assert read_hub_adapter(written(nested, version=None, more={"type": "text_task"})).design.invertible is None
    assert read_hub_adapter(written(nested, version=None, more={"type": "text_lang"})).design.invertible == 4.0
    with pytest.raises(ModelError, match="'inv_adapter' is 'glow'"):
        read_hub_adapter(written({"invertible_adapter": {"block_type": "glow", "reduction_factor": 2}}, version=None))


def test_an_albert_of_the_library_reads_what_attention_reads(written: Callable[..., Path]) -> None:
    """There the adapter after attention gets the attention's input; what was trained here cannot be written so."""
    config = {"mh_adapter": True, "original_ln_before": False}
    folder = written(config)
    assert read_hub_adapter(folder).design.attention_reads == "sublayer"
    told = json.loads((folder / "adapter_config.json").read_text()) | {"model_type": "albert"}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    design = read_hub_adapter(folder).design
    assert design.attention_reads == "input"
    assert design.kind == "houlsby"


def test_reductions_and_layers_that_are_left_out(written: Callable[..., Path]) -> None:
    design = read_hub_adapter(written({"reduction_factor": {"1": 8, "default": 16}, "leave_out": [3]})).design
    assert (design.reduction, dict(design.reductions), design.leave_out) == (16.0, {1: 8.0}, (3,))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"phm_layer": True}, "'phm_layer' is True, which is not computed here"),
        ({"use_gating": True}, "'use_gating' is True"),
        ({"scaling": "learned"}, "'scaling' is 'learned'"),
        ({"non_linearity": "mish"}, "'non_linearity' is 'mish'"),
        ({"inv_adapter": "glow"}, "'inv_adapter' is 'glow'"),
        ({"mh_adapter": True}, "'mh_adapter' is true beside"),
        ({"reduction_factor": "many"}, "says something that cannot be"),
        ({"output_adapter": False}, "an adapter needs a place"),
    ],
)
def test_what_is_not_computed_here_is_refused(
    config: dict[str, Any], message: str, written: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match=message):
        read_hub_adapter(written(config))


class Bomb:
    """What a pickle with code in it looks like."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_with_code_is_refused_and_nothing_runs(written: Callable[..., Path], tmp_path: Path) -> None:
    folder, trace = written(), tmp_path / "trace"
    (folder / "adapter.safetensors").unlink()
    torch.save({"bert.encoder.layer.0.output.adapters.t.adapter_up.bias": Bomb(trace)}, folder / "pytorch_adapter.bin")
    with pytest.raises(ModelError, match=r"holds more than weights, .* Nothing of it was executed"):
        read_hub_adapter(folder)
    (folder / "pytorch_adapter.bin").write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(ModelError):
        read_hub_adapter(folder)
    assert not trace.exists()


def test_damaged_files(written: Callable[..., Path], tiny_bert: Path) -> None:
    folder = written({"leave_out": [9]})
    with pytest.raises(ModelError, match=rf"{folder}: there is no layer 9 in this BertModel"):
        understudy.load_base(tiny_bert).load_adapter(folder)
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"must hold a JSON object, but holds list\. Copy the adapter again\."):
        read_hub_adapter(folder)
    folder = written()
    (folder / "adapter.safetensors").write_bytes(b"12345678")
    with pytest.raises(ModelError, match="is damaged"):
        read_hub_adapter(folder)
    (folder / "adapter.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds neither adapter.safetensors nor pytorch_adapter.bin"):
        read_hub_adapter(folder)
    (folder / "pytorch_adapter.bin").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(ModelError):
        read_hub_adapter(folder)


def test_a_damaged_pickle_is_said_to_be_damaged(written: Callable[..., Path]) -> None:
    """However it is cut: torch's reader of its older form raises nearly anything."""
    folder = written()
    tensors = load_file(folder / "adapter.safetensors")
    (folder / "adapter.safetensors").unlink()
    path = folder / "pytorch_adapter.bin"
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    assert read_hub_adapter(folder).design.kind == "pfeiffer"
    for length in range(2, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"is damaged|holds more than weights"):
            read_hub_adapter(folder)
    for place in range(2, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(ModelError):  # a flipped bit of a weight is a weight
            read_hub_adapter(folder)


@pytest.mark.parametrize(
    "text", [b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"<!DOCTYPE html>", b""]
)
def test_what_was_saved_in_place_of_a_pickle(text: bytes, written: Callable[..., Path]) -> None:
    folder = written()
    (folder / "adapter.safetensors").unlink()
    (folder / "pytorch_adapter.bin").write_bytes(text)
    with pytest.raises(ModelError, match=r"is no file of torch. Perhaps it is a Git LFS pointer, .* Download the file"):
        read_hub_adapter(folder)


def test_a_head_with_a_name_that_is_none(written: Callable[..., Path]) -> None:
    folder = with_a_head(written())
    head = load_file(folder / "model_head.safetensors")
    save_file({**head, "weight": torch.ones(2)}, folder / "model_head.safetensors")
    assert len(read_hub_adapter(folder).head) == 4
    save_file({"weight": torch.ones(2)}, folder / "model_head.safetensors")
    with pytest.raises(ModelError, match=r"its head has 0 layers, but head_config\.json says 2"):
        read_hub_adapter(folder)


def test_an_adapter_of_another_checkpoint_is_refused(
    written: Callable[..., Path], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its file tells no more of its base than the name, and another one of the same size would take it."""
    folder = written({"leave_out": [2, 3]}, more={"model_name": "bert-base-multilingual-cased"})
    other = shutil.copytree(tiny_bert, tmp_path / "bert-base-uncased")
    command = ["import", "adapter", str(folder), "--output", str(tmp_path / "out"), "--model"]
    assert main([*command, str(other)]) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert "belongs to another base: it was trained in bert-base-multilingual-cased, but this one is" in said
    assert f"correct 'model_name' in {folder / 'adapter_config.json'}" in said
    assert not (tmp_path / "out").exists()
    assert main([*command, str(other), "--force"]) == 0
    shutil.rmtree(tmp_path / "out")
    model: Any = understudy.load_base(other)
    with pytest.raises(ModelError, match="was trained in bert-base-multilingual-cased"):
        model.load_adapter(folder)
    assert model.load_adapter(folder, force=True) == "adapter"
    unknown = shutil.copytree(tiny_bert, tmp_path / "mine")
    assert main([*command, str(unknown)]) == 0
    assert "Nothing here tells whether that is" in capsys.readouterr().err.replace("\n", " ")
    told = json.loads((unknown / "config.json").read_text())
    (unknown / "config.json").write_text(json.dumps(told | {"_name_or_path": "google-bert/bert-base-cased"}))
    assert main([*command, str(unknown), "--overwrite"]) == 2
    (unknown / "config.json").write_text(
        json.dumps(told | {"_name_or_path": "google-bert/bert-base-multilingual-cased"})
    )
    capsys.readouterr()
    assert main([*command, str(unknown), "--overwrite"]) == 0
    assert "Nothing here tells" not in capsys.readouterr().err


@needs_files
def test_another_base_is_refused(bases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["import", "adapter", str(HUB / "bert" / "seq_bn-bin"), "--output", str(tmp_path / "out")]
    assert main([*command, "--model", str(bases["roberta"])]) == 2
    assert "its model_type is bert, but this base's is roberta" in capsys.readouterr().err.replace("\n", " ")
    assert main([*command, "--model", str(bases["bert"]), "--labels", "a", "b"]) == 2
    assert "--labels names 2 labels, but the head has 3 outputs" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_an_adapter_without_a_head_waits_for_one(
    written: Callable[..., Path], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = imported(written({"leave_out": [2, 3]}), tiny_bert, tmp_path / "out")
    assert not (out / "head.safetensors").exists()
    with pytest.raises(ModelError, match="is an adapter without a head, so it answers nothing by itself"):
        understudy.load(out)


def test_a_head_of_pairs_answers_pairs(
    written: Callable[..., Path], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written({"leave_out": [2, 3], "is_parallel": True, "original_ln_before": False})
    with_a_head(folder)
    pairs = [("a good film", "a bad one"), ("a film", "a good film")]
    out = imported(folder, tiny_bert, tmp_path / "pairs", "--pair")
    alone = understudy.load(out).logits(pairs)
    base = understudy.load_base(str(tiny_bert))
    base.load_adapter(folder, pair=True)
    assert np.array(base.logits(pairs)) == pytest.approx(alone, abs=1e-5)
    assert base.predict(pairs)[0].label in ("no", "yes")
    single = imported(folder, tiny_bert, tmp_path / "single")
    with pytest.raises(ValueError, match="must be a string"):
        understudy.load(single).logits(pairs)
    assert main(["adapter", "merge", str(out), "--output", str(tmp_path / "merged")]) == 2
    assert "its head is AdapterHub's, which no plain model has" in capsys.readouterr().err.replace("\n", " ")


def test_identifiers_of_before() -> None:
    bert = repositories("sentiment/sst-2@ukp", base="google-bert/bert-base-uncased", kind="houlsby")
    assert bert == ["AdapterHub/bert-base-uncased_sentiment_sst-2_houlsby"]
    roberta = repositories("sentiment/sst-2@ukp", base="roberta-base", kind="pfeiffer")
    assert roberta == ["AdapterHub/roberta-base-sst_pfeiffer"]
    with pytest.raises(ModelError, match="is no identifier of AdapterHub"):
        repositories("sst-2", base="roberta-base", kind="pfeiffer")


def test_a_language_adapter_is_looked_for_under_both_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first hub's language adapters the earlier ones are called otherwise than the rule says, the later ones are not."""
    asked: list[str] = []

    def download(found: str, **options: Any) -> str:
        asked.append(found)
        if found != "AdapterHub/bert-base-multilingual-cased_hy_wiki_pfeiffer":
            raise OSError("404 Client Error")
        return "/cache/hy"

    monkeypatch.setattr(names, "snapshot_download", download)
    base = "google-bert/bert-base-multilingual-cased"
    assert names.fetched("hy/wiki@ukp", base=base) == Path("/cache/hy")
    assert asked[0] == "AdapterHub/bert-base-multilingual-cased-hy-wiki_pfeiffer"
    with pytest.raises(ModelError, match=r"-en-wiki_houlsby and AdapterHub/\S+_en_wiki_houlsby could not be loaded"):
        names.fetched("en/wiki@ukp", base=base, kind="houlsby")


def test_names_that_are_nothing(tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["--model", str(tiny_bert), "--output", str(tmp_path / "out")]
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "adapter_config.json").write_text('{"understudy": {}}')
    for name, message in (
        ("./nowhere/x", "there is no such folder"),
        (str(tiny_bert), "holds no adapter_config.json"),
        (str(tmp_path / "ours"), "was written by understudy, so it need not be imported"),
    ):
        assert main(["import", "adapter", name, *rest]) == 2
        assert message in capsys.readouterr().err.replace("\n", " ")
    assert main(["adapter", "export", str(tiny_bert), "--output", str(tmp_path / "out")]) == 2
    assert "is no adapter" in capsys.readouterr().err


@needs_peft
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["lora", "ia3"])
def test_peft_reads_what_is_exported_and_its_checkpoints_are_read(
    kind: str, reviews: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    import peft

    run = tmp_path / "run"
    options = ["--adapter", kind, "--learning_rate", "0.05", "--epochs", "2", "--no_baseline"]
    options += ["--pooling", "head", "--start", "head"]
    assert main(["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--output", str(run), *options]) == 0
    assert main(["adapter", "export", str(run), "--output", str(tmp_path / "out")]) == 0
    plain = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=2)
    theirs = peft.PeftModel.from_pretrained(plain, str(tmp_path / "out")).eval()
    ids = torch.tensor([[2, 7, 9, 11, 3], [2, 5, 6, 3, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long(), "token_type_ids": torch.zeros_like(ids)}
    ours = load_adapted(str(run))
    with torch.no_grad():
        torch.testing.assert_close(theirs(**inputs).logits, ours.model(**inputs).logits, rtol=0, atol=1e-5)
    theirs.save_pretrained(tmp_path / "theirs")
    back = imported(tmp_path / "theirs", tiny_bert, tmp_path / "back", "--labels", "negative", "positive")
    again = load_adapted(str(back))
    assert again.task.labels == ours.task.labels
    for key, value in adapter_tensors(ours.model, "task").items():
        assert torch.equal(adapter_tensors(again.model, "task")[key], value)
    with torch.no_grad():
        torch.testing.assert_close(again.model(**inputs).logits, ours.model(**inputs).logits, rtol=0, atol=1e-6)


@needs_peft
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"task_type": "TOKEN_CLS"}, r"its task_type is 'TOKEN_CLS', whose head cannot be read here"),
        (
            {"init_lora_weights": "pissa_niter_4"},
            r"its init_lora_weights is 'pissa_niter_4', which changes the weights",
        ),
        (
            {"init_lora_weights": "olora"},
            r"its init_lora_weights is 'olora', .*path_initial_model_for_weight_conversion",
        ),
        ({"base_model_name_or_path": "google-bert/bert-base-cased"}, "it was trained in google-bert/bert-base-cased"),
        ({"init_lora_weights": "gaussian"}, None),
        ({"task_type": None}, None),
    ],
)
def test_what_a_checkpoint_of_peft_says_is_read(
    changed: dict[str, Any],
    message: str | None,
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A tagger is no classifier, and PiSSA and its kin change the base's own weights."""
    import peft

    base = shutil.copytree(tiny_bert, tmp_path / "bert-base-uncased")
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    peft.get_peft_model(plain, config).save_pretrained(tmp_path / "theirs")
    path = tmp_path / "theirs" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    command = ["import", "adapter", str(tmp_path / "theirs"), "--model", str(base), "--output", str(tmp_path / "out")]
    assert main(command) == (0 if message is None else 2)
    said = capsys.readouterr().err.replace("\n", " ")
    if message is not None:
        assert re.search(message, said)
        assert not (tmp_path / "out").exists()
    else:
        assert "do not say whether a text may have several labels" in said


@needs_peft
@pytest.mark.filterwarnings("ignore")
def test_several_labels_of_peft(
    written: Callable[..., Path], tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has a probability of its own where it is said that a text may have several."""
    import peft

    plain = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    peft.get_peft_model(plain, config).save_pretrained(tmp_path / "theirs")
    found = understudy.load(imported(tmp_path / "theirs", tiny_bert, tmp_path / "out", "--multi_label"))
    assert "do not say" not in capsys.readouterr().err
    assert (found.task.kind, len(found.task.labels)) == ("multi_label", 3)
    answer, logits = found.predict(["a good film"])[0], found.logits(["a good film"])[0]
    assert list(answer.probabilities.values()) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)
    hub = ["import", "adapter", str(written()), "--model", str(tiny_bert), "--output", str(tmp_path / "no")]
    assert main([*hub, "--multi_label"]) == 2
    assert "--multi_label is for adapters of PEFT" in capsys.readouterr().err


@needs_peft
@pytest.mark.filterwarnings("ignore")
def test_a_number_of_peft_stays_a_number(tiny_bert: Path, tmp_path: Path) -> None:
    rows = "".join(f"a film of {'good ' * (i % 5)}things,{i % 5 / 4}\n" for i in range(40))
    for name in ("train", "validation"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.csv").write_text(f"text,label\n{rows}")
    run = tmp_path / "run"
    words = ["finetune", "--data", str(tmp_path / "data"), "--model", str(tiny_bert), "--output", str(run)]
    words += ["--kind", "regression", "--adapter", "lora", "--epochs", "1", "--no_baseline"]
    assert main([*words, "--pooling", "head", "--start", "head"]) == 0
    assert main(["adapter", "export", str(run), "--output", str(tmp_path / "out")]) == 0
    back = understudy.load(imported(tmp_path / "out", tiny_bert, tmp_path / "back"))
    assert (back.task.kind, back.task.labels) == ("regression", ())
    texts = ["a film of good things", "a film"]
    assert back.logits(texts) == pytest.approx(understudy.load(run).logits(texts), abs=1e-5)


def test_a_head_of_an_architecture_is_layers_on_the_first_token() -> None:
    """What is exported as AdapterHub's head computes what the architecture's own head does."""
    path = Path(__file__).parents[1] / "adapters" / "adapter_toys.py"
    spec = importlib.util.spec_from_file_location("tiny_encoders", path)
    assert spec is not None
    assert spec.loader is not None
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    ids = torch.tensor([[5, 9, 23, 41, 7, 30]])
    for architecture in tiny.CONFIGS:
        model = tiny.build(architecture)
        if architecture == "modernbert":
            with pytest.raises(ModelError, match="more than layers on the first token"):
                first_token_head(model)
            continue
        with torch.no_grad():
            states = model.base_model(ids)[0]
            torch.testing.assert_close(first_token_head(model)(states), model(ids).logits, rtol=1e-4, atol=1e-5)
