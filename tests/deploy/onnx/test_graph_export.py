"""Exported folders: the answers of the model, what they say of themselves, and what of them is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_toys import NETWORKS, TASKS, TEXTS, network, predictor, texts_for
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import understudy
from understudy.data.tokens.fast import Encoding, FastTokenizer
from understudy.deploy.onnx import export as export_module
from understudy.deploy.onnx.export import export_onnx
from understudy.errors import ModelError
from understudy.inference.exported.facts import ExportedFacts
from understudy.inference.exported.predictor import ExportedPredictor

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def word_pieces() -> PreTrainedTokenizerFast:
    """A tokenizer as BERT's: what nanotoken knows."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,!", "film", "the"]
    tokens += [f"##{letter}" for letter in "aeionst"]
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory, word_pieces: Any) -> Path:
    """An exported static model."""
    folder = tmp_path_factory.mktemp("exported") / "static"
    task = TASKS["single_label"]
    export_onnx(folder, predictor(network("static", task), task, word_pieces, temperature=1.5), TEXTS)
    return folder


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_those_of_the_model(name: str, kind: str, tmp_path: Path) -> None:
    task = TASKS[kind]
    if task.is_pair and "awd" in name:
        pytest.skip("an AWD-LSTM reads single texts")
    temperature = 1.0 if kind == "regression" else 1.7
    model, texts = predictor(network(name, task), task, temperature=temperature), texts_for(task)
    facts = export_onnx(tmp_path / "out", model, texts)
    assert facts.difference < 1e-5
    assert facts.compared == len(texts)
    found = understudy.load(tmp_path / "out")
    assert isinstance(found, ExportedPredictor)
    assert found.task == task
    np.testing.assert_allclose(found.logits(texts), model.logits(texts), atol=1e-5)
    for one, other in zip(found.predict(texts), model.predict(texts)):
        assert one.probabilities.keys() == other.probabilities.keys()
        assert all(abs(other.probabilities[label] - share) < 1e-5 for label, share in one.probabilities.items())
        assert one.label == (pytest.approx(other.label, abs=1e-5) if kind == "regression" else other.label)
    alone = [found.predict_one(text).label for text in texts]
    assert alone == [
        pytest.approx(one.label, abs=1e-5) if kind == "regression" else one.label for one in found.predict(texts)
    ]
    assert found.logits([]).shape == (0, task.outputs)
    size = model.summary()
    assert found.summary()["parameters"] == size["parameters"]
    assert found.fingerprint() == understudy.load(tmp_path / "out").fingerprint()


def test_texts_of_all_lengths_are_answered_together_with_little_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASKS["single_label"]
    export_onnx(tmp_path / "out", predictor(network("bilstm", task), task), texts_for(task))
    found = ExportedPredictor(tmp_path / "out")
    texts = ["the film " * count for count in (1, 1, 1, 2, 2, 3, 12)]
    needed, computed = sum(found.inputs_of(text)["input_ids"].size for text in texts), list[int]()
    run = found._run

    def counted(inputs: dict[str, np.ndarray]) -> np.ndarray:
        computed.append(inputs["input_ids"].size)
        return run(inputs)

    monkeypatch.setattr(found, "_run", counted)
    assert found.logits(texts).shape == (len(texts), task.outputs)
    assert len(computed) < len(texts)
    assert sum(computed) < 1.5 * needed  # in one batch it would be three times as much


def test_the_graph_says_what_it_is(static: Path) -> None:
    session = onnxruntime.InferenceSession(str(static / "model.onnx"))
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["labels"]) == ["bad", "fair", "good"]
    assert (told["temperature"], told["probabilities"], told["kind"]) == ("1.5", "softmax", "single_label")
    own = json.loads(told["understudy"])
    assert own == json.loads((static / "config.json").read_text())["understudy"]
    assert own["of"] == "static"
    assert 0 <= own["difference"] < 1e-5


def test_a_static_model_is_the_same_in_numpy_and_as_a_graph(static: Path) -> None:
    bag, graph = ExportedPredictor(static), ExportedPredictor(static, graph="model.onnx")
    assert bag._session is None
    assert graph._bag is None
    np.testing.assert_allclose(bag.logits(TEXTS), graph.logits(TEXTS), atol=1e-6)
    assert bag.summary()["size_bytes"] == (static / "bag.npz").stat().st_size


@pytest.mark.parametrize("name", ["static", "bilstm", "awd_lstm"])
def test_the_format_for_phones_answers_alike(name: str, tmp_path: Path) -> None:
    task = TASKS["single_label"]
    model = predictor(network(name, task), task)
    facts = export_onnx(tmp_path / "out", model, TEXTS, mobile=True)
    assert facts.difference < 1e-5
    assert "model.ort" in json.loads((tmp_path / "out" / "checksums.json").read_text())
    mobile = ExportedPredictor(tmp_path / "out", graph="model.ort")
    np.testing.assert_allclose(mobile.logits(TEXTS), model.logits(TEXTS), atol=1e-5)
    assert mobile.summary()["size_bytes"] == (tmp_path / "out" / "model.ort").stat().st_size


def test_another_answer_is_refused_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["single_label"]

    def wrong(model: Any) -> Any:
        with torch.no_grad():
            model.classifier.bias += 0.01
        made = right(model)
        with torch.no_grad():
            model.classifier.bias -= 0.01
        return made

    right: Callable[[Any], Any] = export_module.bilstm_graph
    monkeypatch.setattr(export_module, "bilstm_graph", wrong)
    with pytest.raises(ModelError, match=r"a logit differs by 1\.0e-02"):
        export_onnx(tmp_path / "out", predictor(network("bilstm", task), task), TEXTS)
    assert not list(tmp_path.iterdir())


def test_labels_that_are_edited_must_be_as_many_as_the_outputs(static: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(static, folder)
    told = json.loads((folder / "config.json").read_text())
    task = told["understudy"]["task"]
    change(folder, task=task | {"labels": [f"new {label}" for label in task["labels"]]})
    assert all(one.label.startswith("new ") for one in ExportedPredictor(folder).predict(TEXTS))  # type: ignore[union-attr]
    change(folder, task=task | {"labels": task["labels"][:-1]})
    for some in (TEXTS, TEXTS[:1]):
        with pytest.raises(ModelError, match=r"has \d outputs, but config.json tells \d labels"):
            ExportedPredictor(folder).predict(some)


@pytest.mark.parametrize("texts", [["the film", "half \ud800 a character"], ["\udfff"]])
def test_half_of_a_character_is_said(static: Path, texts: list[str]) -> None:
    found = ExportedPredictor(static)
    for _ in range(3):  # nanotoken, where it is installed, from the second call on
        with pytest.raises(ValueError, match="half of a character"):
            found.predict(texts)


def change(folder: Path, **values: Any) -> None:
    """Write other facts into a folder's config.json."""
    told = json.loads((folder / "config.json").read_text())
    told["understudy"] |= values
    (folder / "config.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: change(folder, format=2), r"was written in format 2.*Export the model again"),
        (lambda folder: change(folder, kind="bilstm"), "not an exported one"),
        (lambda folder: change(folder, temperature=-1), "its temperature must be a number"),
        (lambda folder: change(folder, inputs=["pixels"]), "its inputs must be among"),
        (lambda folder: change(folder, padding_side="top"), "must be left or right"),
        (lambda folder: change(folder, max_length=0), "must be a whole number of at least 1"),
        (lambda folder: change(folder, task={}), "no task"),
        (lambda folder: (folder / "config.json").write_text("{"), "does not say so"),
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (lambda folder: (folder / "bag.npz").write_bytes(b"x"), r"bag\.npz is not what was saved"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "is missing"),
    ],
)
def test_damaged_folders_are_refused(static: Path, tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(static, folder)
    damage(folder)
    with pytest.raises(ModelError, match=message):
        ExportedPredictor(folder)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("model.onnx", "is no ONNX graph"),
        ("bag.npz", "cannot be read"),
        ("tokenizer.json", "cannot be read"),
        ("sample.json", "cannot be read"),
    ],
)
def test_files_of_something_else_are_refused_without_checksums(
    static: Path, tmp_path: Path, file: str, message: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(static, folder)
    (folder / "checksums.json").unlink()
    (folder / file).write_bytes(b"\x08\x01 nothing of the kind")
    with pytest.raises(ModelError, match=message):
        ExportedPredictor(folder, graph=file if file == "model.onnx" else None)


def test_arrays_of_another_model_are_said_when_they_are_asked(static: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(static, folder)
    (folder / "checksums.json").unlink()
    with np.load(folder / "bag.npz") as found:
        arrays = dict(found)
    for other in ({"table": arrays["table"][:2]}, {"table": arrays["table"][:, :3], "bias": arrays["bias"][:3]}):
        np.savez(folder / "bag.npz", **{**arrays, **other})
        model = ExportedPredictor(folder)
        for texts in (TEXTS, TEXTS[:1]):
            with pytest.raises(ModelError, match=r"bag.npz: cannot be computed .* Copy the folder again"):
                model.predict(texts)


def test_without_its_graph_it_is_an_exported_folder_still(static: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(static, folder)
    for name in ("model.onnx", "bag.npz", "checksums.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"model.onnx: is missing\. Copy the folder again"):
        understudy.load(folder)


def test_nanotoken_is_used_from_the_second_call_on(static: Path) -> None:
    pytest.importorskip("nanotoken")
    model, plain = ExportedPredictor(static), ExportedPredictor(static, fast=False)
    texts = [*TEXTS, "the filmiest, naïve FILM!", "x" * 300, "[CLS] film [SEP]", "\u4e2d film\u0301"]
    for _ in range(2):
        np.testing.assert_array_equal(model.logits(texts), plain.logits(texts))
    assert model.encoder._fast is not None
    assert plain.encoder._fast is None
    for text in texts:
        assert model.encoder.one(text) == plain.encoder.one(text)
    with pytest.raises(ValueError, match="half of a character"):
        model.logits(["half a character: \ud800"])


def test_a_tampered_table_is_not_used(
    static: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nanotoken = pytest.importorskip("nanotoken")
    from_json = nanotoken.Tokenizer.from_json

    def tampered(content: str) -> Any:
        told = json.loads(content)
        words = told["model"]["vocab"]
        words["q"], words["z"] = words["z"], words["q"]
        return from_json(json.dumps(told))

    monkeypatch.setattr(nanotoken.Tokenizer, "from_json", staticmethod(tampered))
    model = ExportedPredictor(static)
    found = [model.encoder.one("quiz") for _ in range(3)]
    assert found == [ExportedPredictor(static, fast=False).encoder.one("quiz")] * 3
    assert capsys.readouterr().err.count("nanotoken gives other ids than tokenizers") == 1


def test_a_sample_is_written_only_where_nanotoken_agrees(
    tmp_path: Path, word_pieces: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nanotoken")
    task = TASKS["single_label"]
    model = predictor(network("static", task), task, word_pieces)

    def zeros(self: FastTokenizer, texts: list[str], *, whole: bool = False) -> Encoding:
        found = self._tokenizer.encode_batch(texts)
        return Encoding(np.zeros(len(found.ids), np.int32), np.diff(found.offsets))

    monkeypatch.setattr(FastTokenizer, "encode", zeros)
    export_onnx(tmp_path / "out", model, TEXTS)
    assert not (tmp_path / "out" / "sample.json").exists()
    assert "it is not used" in capsys.readouterr().err


def test_other_tokenizers_have_no_sample(tmp_path: Path) -> None:
    task = TASKS["single_label"]
    export_onnx(tmp_path / "out", predictor(network("static", task), task), TEXTS)
    assert not (tmp_path / "out" / "sample.json").exists()


def test_a_model_whose_answers_are_not_numbers_is_refused(static: Path) -> None:
    model = ExportedPredictor(static)
    assert model._bag is not None
    model._bag.arrays = {**model._bag.arrays, "output_bias": np.full(3, np.nan, np.float32)}
    with pytest.raises(ModelError, match="not finite"):
        model.logits(["the"])


def test_facts_survive_being_written(static: Path, tmp_path: Path) -> None:
    facts = replace(ExportedPredictor(static).facts, max_length=9, spell_special=True, truncation_side="left")
    (tmp_path / "config.json").write_text(facts.as_config())
    assert ExportedFacts.read(tmp_path) == facts
