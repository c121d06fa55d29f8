"""The graphs of our small students: BiLSTM and static bag."""

from __future__ import annotations

from typing import Any

import numpy as np

from understudy.deploy.onnx.builder import IDS, MASK, SEGMENTS, Builder

_FLOOR = -1.0
"""Below all states of an LSTM, which lie in (−1, 1)."""


def bilstm_graph(model: Any) -> Any:
    """The ONNX model of a :class:`understudy.models.students.bilstm.BiLSTM`: one LSTM node for both directions."""
    config = model.config
    graph = Builder(_inputs(config))
    embedded = graph.node("Gather", graph.constant(model.embeddings.weight), IDS)
    states, _ = graph.lstm(
        graph.node("Transpose", embedded, perm=[1, 0, 2]),
        graph.as_int32(graph.lengths()),
        [model.forward_lstm, model.backward_lstm],
        "bidirectional",
    )
    # (tokens, 2, batch, width) to (batch, tokens, 2 * width): both directions of a token beside each other
    beside = graph.node("Transpose", states, perm=[2, 0, 1, 3])
    flat = graph.node("Reshape", beside, graph.constant([0, 0, 2 * config.lstm_size], np.int64))
    floor = graph.constant(_FLOOR)
    pooled = [
        graph.node("ReduceMax", graph.node("Where", _wide(graph, mask), flat, floor), graph.axes(1), keepdims=0)
        for mask in _masks(graph, config.pair)
    ]
    return graph.model(_head(graph, model, _joined(graph, pooled)), config.num_labels)


def static_graph(model: Any) -> Any:
    """The ONNX model of a :class:`understudy.models.students.static.StaticBag`, computed as :func:`bag_arrays` says."""
    arrays = bag_arrays(model)
    graph = Builder(_inputs(model.config))
    rows = graph.node("Gather", graph.constant(arrays["table"]), IDS)
    pooled = []
    for mask in _masks(graph, model.config.pair):
        weights = graph.as_float(mask)
        total = graph.node("ReduceSum", weights, graph.axes(1), keepdims=1)
        share = graph.node("Div", weights, graph.node("Max", total, graph.constant(1.0)))
        mean = graph.node("MatMul", graph.node("Unsqueeze", share, graph.axes(1)), rows)
        pooled.append(graph.node("Squeeze", mean, graph.axes(1)))
    found = _joined(graph, pooled)
    if "bias" in arrays:
        found = graph.node("Add", found, graph.constant(arrays["bias"]))
    if "hidden_weight" in arrays:
        found = graph.node(
            "Gemm", found, graph.constant(arrays["hidden_weight"]), graph.constant(arrays["hidden_bias"]), transB=1
        )
    if "weight" in arrays:
        if "bias" in arrays or "hidden_weight" in arrays:
            found = graph.node("Relu", found)
        found = graph.node(
            "Gemm", found, graph.constant(arrays["weight"]), graph.constant(arrays["output_bias"]), transB=1
        )
    return graph.model(found, model.config.num_labels)


def bag_arrays(model: Any) -> dict[str, np.ndarray]:
    r"""The arrays of a static student, see :class:`understudy.inference.exported.bag.Bag`.

    .. math:: W \, \tfrac1n \textstyle\sum_i e_i + b = \tfrac1n \textstyle\sum_i W e_i + b

    So the first linear layer goes into the table, where it is not wider than the embeddings and no product of two texts
    stands between them.
    """
    first = model.classifier if model.hidden is None else model.hidden
    table, weight, bias = (
        value.detach().cpu().float().numpy() for value in (model.embeddings.weight, first.weight, first.bias)
    )
    folded = not model.config.pair and len(weight) <= table.shape[1]
    arrays = {"table": table @ weight.T, "bias": bias} if folded else {"table": table}
    if model.hidden is not None:
        if not folded:
            arrays |= {"hidden_weight": weight, "hidden_bias": bias}
        weight, bias = (value.detach().cpu().float().numpy() for value in model.classifier.parameters())
    if model.hidden is not None or not folded:
        arrays |= {"weight": weight, "output_bias": bias}
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def _inputs(config: Any) -> tuple[str, ...]:
    return (IDS, MASK, SEGMENTS) if config.pair else (IDS, MASK)


def _masks(graph: Builder, pair: bool) -> list[str]:
    """Which tokens belong to each text of a row: bool ``(batch, length)`` a text."""
    real = graph.node("Equal", MASK, graph.constant(1, np.int64))
    if not pair:
        return [real]
    return [graph.node("And", real, graph.node("Equal", SEGMENTS, graph.constant(text, np.int64))) for text in (0, 1)]


def _wide(graph: Builder, mask: str) -> str:
    return graph.node("Unsqueeze", mask, graph.axes(2))


def _joined(graph: Builder, pooled: list[str]) -> str:
    """The pooled vector of a text, or ``[u, v, |u − v|, u · v]`` of a pair."""
    if len(pooled) == 1:
        return pooled[0]
    u, v = pooled
    apart = graph.node("Abs", graph.node("Sub", u, v))
    joined: str = graph.node("Concat", u, v, apart, graph.node("Mul", u, v), axis=1)
    return joined


def _head(graph: Builder, model: Any, pooled: str) -> str:
    if model.hidden is not None:
        pooled = graph.node("Relu", graph.linear(pooled, model.hidden))
    return graph.linear(pooled, model.classifier)
