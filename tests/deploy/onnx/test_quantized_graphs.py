"""Quantised folders: every kind of model and task, a gate that refuses, a search that leaves the bad part in float32."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_toys import NETWORKS, TASKS, network, predictor
from transformers import AutoModelForSequenceClassification, BertConfig

import understudy
from understudy.data.splits import Rows
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.deploy.onnx import quantize as quantize_module
from understudy.deploy.onnx.export import export_onnx
from understudy.deploy.onnx.int8 import int8_rows
from understudy.deploy.onnx.quantize import left_out, quantize_onnx, shrink_onnx
from understudy.errors import ModelError
from understudy.functional.scoring import score
from understudy.inference.exported.facts import ExportedFacts
from understudy.inference.exported.predictor import ExportedPredictor

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
WORDS = ["the", "film", "was", "good", "play", "bad", "a", "fine", "song", "and", "dull", "book"]
SMALL = {"bilstm": "bilstm", "static": "static, wide head", "static, folded": "static", "awd_lstm": "awd_lstm"}


def texts(rows: int, task: Task, seed: int = 0) -> list[tuple[str, ...]]:
    """Random texts of one to twelve known words."""
    rng = np.random.default_rng(seed)
    return [
        tuple(" ".join(rng.choice(WORDS, rng.integers(1, 13))) for _ in range(1 + task.is_pair)) for _ in range(rows)
    ]


def answers(model: Any, task: Task, some: Any) -> np.ndarray:
    """What a model itself says, as labels: it then scores 1."""
    logits = model.logits(some)
    if task.kind == "regression":
        return np.asarray(logits[:, 0])
    return np.asarray(logits.argmax(1) if task.kind == "single_label" else (logits > 0).astype(np.float32))


def source_of(model: Any, task: Task, folder: Path, rows: int = 80) -> tuple[ExportedPredictor, Rows]:
    """A model exported, and rows that it answers without a mistake."""
    given = texts(rows, task)
    own = predictor(model, task)
    export_onnx(folder, own, given[:8])
    return ExportedPredictor(folder, threads=1), Rows(Texts.of(given), answers(own, task, given), "rows.csv")


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", SMALL)
def test_every_kind_is_quantised_and_read_back(name: str, kind: str, tmp_path: Path) -> None:
    task = TASKS[kind]
    if task.is_pair and name == "awd_lstm":
        pytest.skip("an AWD-LSTM reads single texts")
    source, rows = source_of(network(SMALL[name], task), task, tmp_path / "fp32")
    facts = quantize_onnx(tmp_path / "int8", source, rows, origin="rows of a test", max_drop=100)
    found = understudy.load(tmp_path / "int8")
    assert isinstance(found, ExportedPredictor)
    assert found.facts == facts == ExportedFacts.read(tmp_path / "int8")
    before, after = source.logits(rows.texts), found.logits(rows.texts)
    assert 0 < np.abs(before - after).max() < 0.2 * np.abs(before).max()
    told = facts.quantized
    assert told is not None
    assert (told.to, told.left, told.rows, told.origin) == ("int8", (), 80, "rows of a test")
    metric = "f1_macro" if kind == "multi_label" else "pearson" if kind == "regression" else "accuracy"
    assert told.metric == metric
    assert told.before == pytest.approx(1, abs=1e-6)
    assert told.after == pytest.approx(score(metric, after, rows.labels), abs=1e-9)
    assert told.low <= told.before - told.after <= told.high
    assert told.bytes_before == source.summary()["size_bytes"]
    assert 0 <= found.summary()["size_bytes"] - told.bytes_after < 600  # the record itself, in the graph
    assert facts.difference == pytest.approx(np.abs(before - after).max(), abs=1e-6)
    assert found.fingerprint() != source.fingerprint()
    listed = json.loads((tmp_path / "int8" / "checksums.json").read_text())
    assert {"model.onnx", "tokenizer.json"} <= set(listed)
    empty = [("",) * len(task.text), *rows.texts[:2]]
    assert np.isfinite(found.logits(empty)).all()


def test_an_encoder_is_quantised(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=24, max_position_embeddings=40, num_labels=3)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    source, rows = source_of(model, TASKS["single_label"], tmp_path / "fp32", rows=40)
    facts = quantize_onnx(tmp_path / "int8", source, rows, origin="rows", max_drop=100)
    assert facts.of == "transformer"
    assert facts.quantized is not None
    assert facts.quantized.left == ()
    found = understudy.load(tmp_path / "int8")
    before = source.logits(rows.texts)
    assert 0 < np.abs(found.logits(rows.texts) - before).max() < 0.2 * np.abs(before).max()
    assert (found.predict_one("the film").label) in TASKS["single_label"].labels


def test_a_static_table_in_numpy_is_the_mean_of_rows_by_hand(tmp_path: Path) -> None:
    task = TASKS["single_label"]
    source, rows = source_of(network("static", task), task, tmp_path / "fp32")
    quantize_onnx(tmp_path / "int8", source, rows, origin="rows", max_drop=100)
    with np.load(tmp_path / "fp32" / "bag.npz") as plain, np.load(tmp_path / "int8" / "bag.npz") as small:
        assert set(small.files) == {*plain.files} - {"table"} | {"table_int8", "table_scale"}
        numbers, scales = int8_rows(plain["table"])
        np.testing.assert_array_equal(small["table_int8"], numbers)
        np.testing.assert_array_equal(small["table_scale"], scales)
        table = [[int(q) * float(scales[i, 0]) for q in row] for i, row in enumerate(numbers)]
        rest = {name: small[name] for name in small.files}
    bag, graph = ExportedPredictor(tmp_path / "int8"), ExportedPredictor(tmp_path / "int8", graph="model.onnx")
    np.testing.assert_allclose(bag.logits(rows.texts), graph.logits(rows.texts), atol=1e-5)
    ids, _ = bag.encoder.one("the film was good")
    mean = np.mean([table[i] for i in ids], axis=0) + rest["bias"]
    expected = np.maximum(mean, 0) @ rest["weight"].T + rest["output_bias"]
    np.testing.assert_allclose(bag.logits(["the film was good"])[0], expected, atol=1e-5)


def with_outlier(name: str, task: Task) -> Any:
    """A BiLSTM whose table has one huge column: the rest of a row is then lost in int8."""
    model = network(name, task)
    with torch.no_grad():
        model.embeddings.weight[:, 0] = 400.0
        for lstm in (model.forward_lstm, model.backward_lstm):
            lstm.weight_ih_l0[:, 0] = 0.0  # what the huge column says counts for nothing
    return model


def test_the_bad_part_is_left_in_float32(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = TASKS["regression"]
    source, rows = source_of(with_outlier("bilstm", task), task, tmp_path / "fp32")
    all_of_it = quantize_onnx(tmp_path / "all", source, rows, origin="rows", max_drop=100).quantized
    assert all_of_it is not None
    assert all_of_it.before - all_of_it.after > 0.2
    facts = quantize_onnx(tmp_path / "int8", source, rows, origin="rows", max_drop=25)
    told = facts.quantized
    assert told is not None
    assert "table 1" in told.left
    assert len(told.left) < told.parts == 4
    assert 100 * told.high <= 25
    assert "pearson may fall by" in capsys.readouterr().err
    graph = onnx.load(str(tmp_path / "int8" / "model.onnx"))
    shapes = {one.name: (tuple(one.dims), one.data_type) for one in graph.graph.initializer}
    assert ((50, 8), onnx.TensorProto.FLOAT) in shapes.values()
    assert ((50, 8), onnx.TensorProto.INT8) not in shapes.values()
    assert ExportedFacts.read(tmp_path / "int8").quantized == told


def test_the_gate_refuses_and_nothing_is_written(tmp_path: Path) -> None:
    """Rounded logits correlate with the right ones a little less, whatever is left out: 0 points are too few."""
    task = TASKS["regression"]
    source, rows = source_of(network("bilstm", task), task, tmp_path / "fp32")
    with pytest.raises(ModelError, match=r"is not written, because pearson falls too much.* in fp32") as told:
        quantize_onnx(tmp_path / "int8", source, rows, origin="rows", max_drop=0)
    assert "on 80 rows" in str(told.value)
    assert "--max_drop is 0. Give more labelled rows" in str(told.value)
    assert [path.name for path in tmp_path.iterdir()] == ["fp32"]


def test_a_broken_table_is_refused_where_it_is_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = int8_rows

    def reversed_rows(table: np.ndarray) -> Any:
        numbers, scales = make(table)
        return numbers[::-1].copy(), scales

    for place in ("targets", "int8"):
        monkeypatch.setattr(f"understudy.deploy.onnx.{place}.int8_rows", reversed_rows)
    task = TASKS["regression"]
    source, rows = source_of(network("static", task), task, tmp_path / "fp32")
    with pytest.raises(ModelError, match=r"pearson falls too much: with all weights in int8"):
        quantize_onnx(tmp_path / "int8", source, rows, origin="rows", max_drop=20)
    assert [path.name for path in tmp_path.iterdir()] == ["fp32"]
    source, rows = source_of(network("bilstm", task), task, tmp_path / "bilstm")
    facts = quantize_onnx(tmp_path / "int8", source, rows, origin="rows", max_drop=20)
    assert facts.quantized is not None
    assert facts.quantized.left == ("table 1",)  # the only part that is broken


def test_the_upper_end_decides_not_the_difference(tmp_path: Path) -> None:
    """One row of 80 changes its answer: 1.25 points, and the upper end is above that."""
    task = TASKS["single_label"]
    source, rows = source_of(network("static", task), task, tmp_path / "fp32")
    plain = source.logits(rows.texts)
    other = plain.copy()
    other[0] = np.roll(other[0], 1)
    gate = quantize_module._Gate("accuracy", rows, plain, 2.0)
    found = gate.drop(other)
    assert found.difference == pytest.approx(1 / 80)
    assert not gate.accepts(found)
    assert gate._replace(max_drop=100 * found.high).accepts(found)
    assert gate.accepts(gate.drop(plain))


def test_the_search_is_greedy_and_stops_when_it_fits() -> None:
    harm = {"a": 3.0, "b": 9.0, "c": 1.0, "d": 5.0}
    asked: list[str] = []

    def damage(part: str) -> float:
        asked.append(part)
        return harm[part]

    def within(most: float) -> Any:
        return lambda left: sum(harm[part] for part in harm if part not in left) <= most

    assert left_out([*harm], damage, within(20)) == []
    assert not asked
    assert left_out([*harm], damage, within(9)) == ["b"]
    assert left_out([*harm], damage, within(4)) == ["b", "d"]
    assert left_out([*harm], damage, within(1)) == ["a", "b", "d"]
    assert left_out([*harm], damage, within(0)) is None


def test_a_quantised_folder_is_not_quantised_again(tmp_path: Path) -> None:
    task = TASKS["single_label"]
    source, rows = source_of(network("static", task), task, tmp_path / "fp32")
    quantize_onnx(tmp_path / "int8", source, rows, origin="rows", max_drop=100)
    with pytest.raises(ModelError, match="is quantised already"):
        quantize_onnx(tmp_path / "x", ExportedPredictor(tmp_path / "int8"), rows, origin="rows", max_drop=100)
    folder = tmp_path / "copy"
    shutil.copytree(tmp_path / "int8", folder)
    told = json.loads((folder / "config.json").read_text())
    told["understudy"]["quantized"] = {"to": "int8", "left": []}
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="is damaged"):
        ExportedPredictor(folder)


def test_weights_beside_the_graph_are_refused(tmp_path: Path) -> None:
    task = TASKS["single_label"]
    source, rows = source_of(network("bilstm", task), task, tmp_path / "fp32")
    (tmp_path / "fp32" / "model.onnx.data").write_bytes(b"as of a model above 1.5 GB")
    with pytest.raises(ModelError, match="Distil it into a smaller model"):
        quantize_onnx(tmp_path / "x", source, rows, origin="rows", max_drop=100)


def test_the_format_for_phones_is_made_again(tmp_path: Path) -> None:
    task = TASKS["single_label"]
    given = texts(20, task)
    own = predictor(network("bilstm", task), task)
    export_onnx(tmp_path / "fp32", own, given[:8], mobile=True)
    rows = Rows(Texts.of(given), answers(own, task, given), "rows.csv")
    quantize_onnx(tmp_path / "int8", ExportedPredictor(tmp_path / "fp32", threads=1), rows, origin="rows", max_drop=100)
    mobile, plain = (ExportedPredictor(tmp_path / "int8", graph=f"model.{kind}") for kind in ("ort", "onnx"))
    np.testing.assert_allclose(mobile.logits(given), plain.logits(given), atol=1e-5)
    assert (
        mobile.summary()["size_bytes"]
        != ExportedPredictor(tmp_path / "fp32", graph="model.ort").summary()["size_bytes"]
    )


assert set(SMALL.values()) <= set(NETWORKS)


@pytest.mark.parametrize("name", ["bilstm", "static"])
def test_a_model_that_is_only_measured_is_the_one_that_a_lenient_gate_lets_through(name: str, tmp_path: Path) -> None:
    task = TASKS["single_label"]
    source, rows = source_of(network(SMALL[name], task), task, tmp_path / "fp32")
    quantize_onnx(tmp_path / "judged", source, rows, origin="rows of a test", max_drop=100)
    found = shrink_onnx(tmp_path / "measured", source)
    judged = ExportedPredictor(tmp_path / "judged", threads=1)
    np.testing.assert_array_equal(found.logits(rows.texts), judged.logits(rows.texts))
    assert found.summary()["size_bytes"] == pytest.approx(judged.summary()["size_bytes"], rel=0.2)  # less its facts
    assert found.summary()["size_bytes"] < source.summary()["size_bytes"]
    with pytest.raises(ModelError, match="is quantised already"):
        shrink_onnx(tmp_path / "again", judged)
