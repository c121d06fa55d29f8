"""Int8 weights: rows of tables against arithmetic by hand, graphs against the same graphs in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from export_toys import NETWORKS, TASKS, network, ragged
from transformers import AutoModelForSequenceClassification, BertConfig

from understudy.deploy.onnx.awd_lstm import awd_lstm_graph
from understudy.deploy.onnx.encoders import encoder_graph
from understudy.deploy.onnx.int8 import int8_graph, int8_rows, parts_of
from understudy.deploy.onnx.students import bilstm_graph, static_graph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
OWN = {"bilstm": bilstm_graph, "static": static_graph, "awd_lstm": awd_lstm_graph}


def by_hand(table: np.ndarray) -> np.ndarray:
    """What a table is after its way through int8, a number at a time."""
    out = np.zeros_like(table, dtype=np.float64)
    for i, row in enumerate(table):
        largest = max(abs(float(value)) for value in row)
        for j, value in enumerate(row):
            if largest:
                out[i, j] = round(float(value) * 127 / largest) * largest / 127
    return out


def computed(graph: Any, seed: int = 0, *, pair: bool = False) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    inputs = {name: array for name, array in ragged(5, 13, seed, pair=pair).items() if name in names}
    (found,) = session.run(None, inputs)
    return np.asarray(found)


def test_rows_are_those_of_arithmetic_by_hand() -> None:
    rng = np.random.default_rng(0)
    table = (rng.normal(size=(60, 7)) * 10.0 ** rng.integers(-6, 6, (60, 1))).astype(np.float32)
    table[3] = 0
    table[4] = [1e-45, 0, 0, 0, 0, 0, 0]  # its scale would be zero
    rows, scales = int8_rows(table)
    assert (rows.dtype, scales.dtype, scales.shape) == (np.int8, np.float32, (60, 1))
    largest = np.abs(table).max(axis=1, keepdims=True)
    # a number in the middle of two may go either way, so half a step and a rounding is what may lie between
    assert (np.abs(rows * scales.astype(np.float64) - table) <= 0.5001 * largest / 127).sum() >= rows.size - 1
    usual = [i for i in range(60) if i != 4]
    np.testing.assert_allclose((rows * scales.astype(np.float64))[usual], by_hand(table)[usual], rtol=1e-5)
    assert np.abs(rows.astype(int)).max() == 127
    assert not rows[3].any()
    assert not rows[4].any()


@pytest.mark.parametrize("kind", ["single_label", "pair"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_table_in_a_graph_is_the_table_by_hand(name: str, kind: str) -> None:
    if kind == "pair" and "awd" in name:
        pytest.skip("an AWD-LSTM reads single texts")
    graph = OWN[name.split()[0].strip(",")](network(name, TASKS[kind]))
    parts = parts_of(graph)
    assert "table 1" in parts
    made = int8_graph(graph, parts["table 1"])
    (table,) = [one for one in graph.graph.initializer if any(one.name == node.input[0] for node in _gathers(graph))]
    expected = type(graph)()
    expected.CopyFrom(graph)
    (place,) = [one for one in expected.graph.initializer if one.name == table.name]
    numbers = by_hand(onnx.numpy_helper.to_array(table)).astype(np.float32)
    place.CopyFrom(onnx.numpy_helper.from_array(numbers, table.name))
    pair = kind == "pair"
    np.testing.assert_allclose(computed(made, pair=pair), computed(expected, pair=pair), atol=1e-5)
    assert table.name not in {one.name for one in made.graph.initializer}
    assert made.ByteSize() < graph.ByteSize()


def _gathers(graph: Any) -> list[Any]:
    return [node for node in graph.graph.node if node.op_type == "Gather"]


@pytest.mark.parametrize("name", ["bilstm", "awd_lstm", "awd_lstm backward"])
def test_lstms_and_products_become_int8(name: str) -> None:
    graph = OWN[name.split()[0]](network(name, TASKS["single_label"]))
    parts = parts_of(graph)
    layers = 1 if name == "bilstm" else sum(node.op_type == "LSTM" for node in graph.graph.node)
    assert list(parts) == ["table 1", *(f"lstm {i + 1}" for i in range(layers)), "linear 1", "linear 2"]
    made = int8_graph(graph, [node for nodes in parts.values() for node in nodes])
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("DynamicQuantizeLSTM") == layers
    assert kinds.count("MatMulInteger") == 2
    assert not {"LSTM", "Gemm"} & set(kinds)
    for seed in range(4):
        before, after = computed(graph, seed), computed(made, seed)
        assert 0 < np.abs(before - after).max() < 0.05 * np.abs(before).max()
    only = int8_graph(graph, parts["linear 2"])
    assert [node.op_type for node in only.graph.node].count("MatMulInteger") == 1
    assert [node.op_type for node in only.graph.node].count("LSTM") == layers
    np.testing.assert_array_equal(computed(int8_graph(graph, [])), computed(graph))


def test_an_encoder_has_a_part_for_each_layer_and_each_table() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=24, max_position_embeddings=40, num_labels=3)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    graph = encoder_graph(model, ["input_ids", "attention_mask"], longest=24)
    parts = parts_of(graph)
    assert {"bert.encoder.layer.0", "bert.encoder.layer.1", "bert.pooler.dense", "classifier"} <= set(parts)
    assert {part for part in parts if "embeddings" in part} >= {"bert.embeddings.word_embeddings"}
    assert [len(parts[f"bert.encoder.layer.{i}"]) for i in (0, 1)] == [6, 6]
    assert list(parts_of(graph, tables_only=True)) == [part for part in parts if "embeddings" in part]
    every = [node for nodes in parts.values() for node in nodes]
    before = computed(graph)
    assert 0 < np.abs(computed(int8_graph(graph, every)) - before).max() < 0.1 * np.abs(before).max()
    one = int8_graph(graph, parts["bert.encoder.layer.0"])
    assert [node.op_type for node in one.graph.node].count("MatMulInteger") == 6
