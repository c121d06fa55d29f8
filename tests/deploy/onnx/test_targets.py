"""float16, 4 bits and calibrated int8: against arithmetic by hand, and against the float32 graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_toys import NETWORKS, TASKS, network, predictor, ragged
from transformers import AutoModelForSequenceClassification, BertConfig

import understudy
from understudy.data.splits import Rows
from understudy.data.texts import Texts
from understudy.deploy.onnx.awd_lstm import awd_lstm_graph
from understudy.deploy.onnx.calibrated import calibrated_graph, check_feeds
from understudy.deploy.onnx.encoders import encoder_graph
from understudy.deploy.onnx.export import export_onnx
from understudy.deploy.onnx.fp16 import as_float16, fp16_graph
from understudy.deploy.onnx.int4 import int4_blocks, int4_graph
from understudy.deploy.onnx.int8 import parts_of
from understudy.deploy.onnx.quantize import quantize_onnx
from understudy.deploy.onnx.students import bilstm_graph, static_graph
from understudy.deploy.onnx.targets import FP16, INT4, TARGETS, calibrated_int8
from understudy.errors import ModelError
from understudy.inference.exported.bag import from_int4
from understudy.inference.exported.predictor import ExportedPredictor

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
OWN = {"bilstm": bilstm_graph, "static": static_graph, "awd_lstm": awd_lstm_graph}
WORDS = ["the", "film", "was", "good", "play", "bad", "a", "fine", "song", "and", "dull", "book"]


def computed(graph: Any, seed: int = 0, *, pair: bool = False) -> np.ndarray:
    """Logits of random rows."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    inputs = {name: array for name, array in ragged(5, 13, seed, pair=pair).items() if name in names}
    (found,) = session.run(None, inputs)
    return np.asarray(found)


def every(graph: Any, kinds: Any) -> list[str]:
    """All nodes that can be made smaller."""
    return [node for nodes in parts_of(graph, kinds=kinds).values() for node in nodes]


def weight_bytes(graph: Any) -> int:
    """The bytes of a graph's weights; of so small a graph the nodes are the most."""
    return sum(one.ByteSize() for one in graph.graph.initializer)


@pytest.fixture(scope="module")
def encoder() -> Any:
    """A BERT, widths of which some are no multiples of a block."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=64, max_position_embeddings=40, num_labels=3)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


@pytest.fixture(scope="module")
def graph(encoder: Any) -> Any:
    """Its graph."""
    return encoder_graph(encoder, ["input_ids", "attention_mask"], longest=24)


def with_weights(graph: Any, change: Any) -> Any:
    """A graph whose matrices went through a change and back: what a smaller graph must compute."""
    names = set(every(graph, ("table", "linear", "lstm")))  # nodes get names, so before it is copied
    made = type(graph)()
    made.CopyFrom(graph)
    tables = {node.input[0] for node in made.graph.node if node.name in names and node.op_type == "Gather"}
    lstms = {
        name for node in made.graph.node if node.op_type == "LSTM" and node.name in names for name in node.input[1:3]
    }
    over = {
        node.input[1]: any(one.name == "transB" and one.i for one in node.attribute)
        for node in made.graph.node
        if node.name in names and node.op_type in ("MatMul", "Gemm")
    }
    for one in made.graph.initializer:
        if one.name in tables or one.name in over or one.name in lstms:
            array = onnx.numpy_helper.to_array(one)
            by_row = one.name in tables or over.get(one.name, True)
            found = change(array, by_row)
            one.CopyFrom(onnx.numpy_helper.from_array(found.astype(np.float32), one.name))
    return made


def by_hand(matrix: np.ndarray) -> np.ndarray:
    """What a matrix is after its way through 4 bits, a number at a time."""
    out = np.zeros(matrix.shape)
    for i, row in enumerate(matrix):
        for start in range(0, len(row), 32):
            block = [float(value) for value in row[start : start + 32]]
            largest = max(map(abs, block))
            for j, value in enumerate(block):
                if largest:
                    out[i, start + j] = round(value * 7 / largest) * largest / 7
    return out


def in_blocks(matrix: np.ndarray) -> np.ndarray:
    """The same, as it is packed; that these are the numbers by hand has a test of its own."""
    return from_int4(*int4_blocks(matrix), matrix.shape[1])


@pytest.mark.parametrize("width", [1, 31, 32, 40, 64])
def test_blocks_are_those_of_arithmetic_by_hand(width: int) -> None:
    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(20, width)) * 10.0 ** rng.integers(-3, 4, (20, 1))).astype(np.float32)
    matrix[3] = 0
    packed, scales = int4_blocks(matrix)
    assert (packed.dtype, packed.shape, scales.shape) == (np.uint8, (20, -(-width // 32), 16), (20, -(-width // 32)))
    found = from_int4(packed, scales, width)
    close = np.isclose(found, by_hand(matrix), rtol=1e-4, atol=0)
    assert close.sum() >= matrix.size - 1  # a number in the middle of two may go either way
    assert not found[3].any()


def test_an_encoder_in_4_bits_is_the_one_by_hand(graph: Any) -> None:
    made = int4_graph(graph, every(graph, INT4.kinds))
    expected = with_weights(graph, lambda m, by_row: in_blocks(m) if by_row else in_blocks(m.T).T)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("MatMulNBits") == 14
    assert weight_bytes(made) < 0.3 * weight_bytes(graph)
    for seed in range(3):
        np.testing.assert_allclose(computed(made, seed), computed(expected, seed), atol=2e-4)
    np.testing.assert_array_equal(computed(int4_graph(graph, [])), computed(graph))


def test_an_encoder_in_float16_is_the_one_by_hand(graph: Any) -> None:
    made = fp16_graph(graph, every(graph, FP16.kinds))
    expected = with_weights(graph, lambda m, by_row: m.astype(np.float16))
    np.testing.assert_allclose(computed(made), computed(expected), atol=1e-4)
    assert weight_bytes(made) < 0.6 * weight_bytes(graph)


@pytest.mark.parametrize("kind", ["single_label", "pair"])
@pytest.mark.parametrize("name", NETWORKS)
def test_own_graphs(name: str, kind: str) -> None:
    if kind == "pair" and "awd" in name:
        pytest.skip("an AWD-LSTM reads single texts")
    pair = kind == "pair"
    own = OWN[name.split()[0].strip(",")](network(name, TASKS[kind]))
    half = with_weights(own, lambda m, by_row: m.astype(np.float16))
    found = computed(fp16_graph(own, every(own, FP16.kinds)), pair=pair)
    np.testing.assert_allclose(found, computed(half, pair=pair), atol=1e-4)
    parts = parts_of(own, kinds=INT4.kinds)
    assert not any("lstm" in part for part in parts)
    assert np.isfinite(computed(int4_graph(own, every(own, INT4.kinds)), pair=pair)).all()


def test_what_is_too_large_for_float16_is_the_largest() -> None:
    assert as_float16(np.array([1e9, -1e9, 1.0], np.float32)).tolist() == [65504.0, -65504.0, 1.0]


def feeds_of(count: int) -> list[dict[str, np.ndarray]]:
    """Inputs of single rows."""
    found = [ragged(1, 5 + seed, seed) for seed in range(count)]
    return [{name: feed[name].astype(np.int64) for name in ("input_ids", "attention_mask")} for feed in found]


def test_a_calibrated_graph_computes_in_fixed_ranges(graph: Any) -> None:
    made = calibrated_graph(graph, every(graph, ("table", "linear", "lstm")), feeds=feeds_of(8))
    kinds = {node.op_type for node in made.graph.node}
    assert "QuantizeLinear" in kinds
    assert "DynamicQuantizeLinear" not in kinds
    for seed in range(3):
        before, after = computed(graph, seed), computed(made, seed)
        assert 0 < np.abs(before - after).max() < 0.3 * np.abs(before).max()
    # a row's logits do not depend on the other rows of its batch, as they do where the range is that of the batch
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = {name: ragged(4, 9, 5)[name] for name in ("input_ids", "attention_mask")}
    alone = np.concatenate(
        [session.run(None, {name: part[i : i + 1] for name, part in batch.items()})[0] for i in range(4)]
    )
    np.testing.assert_allclose(session.run(None, batch)[0], alone, atol=1e-4)


def test_an_lstm_is_dynamic_beside_calibrated_products() -> None:
    own = bilstm_graph(network("bilstm", TASKS["single_label"]))
    made = calibrated_graph(own, every(own, ("table", "linear", "lstm")), feeds=feeds_of(4))
    kinds = {node.op_type for node in made.graph.node}
    assert "DynamicQuantizeLSTM" in kinds
    assert np.isfinite(computed(made)).all()


@pytest.mark.parametrize(
    "feeds",
    [
        [],
        [{"input_ids": np.ones((1, 4), np.int64)}],
        [{"input_ids": np.ones((1, 4), np.int64), "attention_mask": np.ones((1, 5), np.int64)}],
        [{"input_ids": np.ones(4, np.int64), "attention_mask": np.ones(4, np.int64)}],
        [{"input_ids": np.ones((1, 4)), "attention_mask": np.ones((1, 4), np.int64)}],
    ],
)
def test_calibration_data_of_the_wrong_shape_is_refused(feeds: Any, graph: Any) -> None:
    with pytest.raises(ModelError, match=r"calibrat"):
        check_feeds(graph, feeds)


@pytest.mark.parametrize("target", ["int4-weight", "fp16", "calibrated"])
@pytest.mark.parametrize("name", ["static", "static, wide head", "bilstm", "encoder"])
def test_folders_pass_the_gate_and_are_read_back(name: str, target: str, encoder: Any, tmp_path: Path) -> None:
    task = TASKS["single_label"]
    rng = np.random.default_rng(0)
    texts = [(" ".join(rng.choice(WORDS, rng.integers(1, 13))),) for _ in range(40)]
    own = predictor(encoder if name == "encoder" else network(name, task), task)
    export_onnx(tmp_path / "fp32", own, texts[:8])
    source = ExportedPredictor(tmp_path / "fp32", threads=1)
    rows = Rows(Texts.of(texts), source.logits(texts).argmax(1), "rows.csv")
    chosen = TARGETS.get(target) or calibrated_int8([source.inputs_of(text) for text in texts[:8]])
    facts = quantize_onnx(tmp_path / "small", source, rows, origin="rows", max_drop=100, target=chosen)
    assert facts.quantized is not None
    assert facts.quantized.to == chosen.name
    found = understudy.load(tmp_path / "small")
    before, after = source.logits(rows.texts), found.logits(rows.texts)
    most = 0.002 if target == "fp16" else 0.6
    assert 0 < np.abs(before - after).max() < most * max(1, np.abs(before).max())
    if name.startswith("static"):
        drawn = ExportedPredictor(tmp_path / "small", graph="model.onnx").logits(rows.texts)
        np.testing.assert_allclose(after, drawn, atol=1e-4)
        one = found.logits([texts[0][0]])
        np.testing.assert_allclose(one[0], after[0], atol=1e-5)
