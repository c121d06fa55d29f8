"""The graph of an AWD-LSTM classifier: a stack of LSTM nodes that read a document of any length, and its head."""

from __future__ import annotations

from typing import Any

from understudy.deploy.onnx.builder import IDS, MASK, Builder

_FLOOR = -1.0
"""Below all states of an LSTM, which lie in (−1, 1)."""


def awd_lstm_graph(model: Any) -> Any:
    """The ONNX model of a :class:`understudy.models.awd_lstm.model.AWDLSTMForSequenceClassification`.

    A model that reads backward gets nodes that read in reverse within each row's own length.
    """
    config, encoder = model.config, model.awd_lstm
    graph = Builder((IDS, MASK))
    direction = "reverse" if config.backward else "forward"
    lengths = graph.lengths()
    states = graph.node(
        "Transpose", graph.node("Gather", graph.constant(encoder.embeddings.weight), IDS), perm=[1, 0, 2]
    )
    last = ""
    for lstm in encoder.layers:
        found, last = graph.lstm(states, graph.as_int32(lengths), [lstm], direction)
        states = graph.node("Squeeze", found, graph.axes(1))
    real = graph.node("Unsqueeze", graph.node("Transpose", graph.as_float(MASK), perm=[1, 0]), graph.axes(2))
    present = graph.node("Greater", real, graph.constant(0.5))
    highest = graph.node(
        "ReduceMax", graph.node("Where", present, states, graph.constant(_FLOOR)), graph.axes(0), keepdims=0
    )
    total = graph.node("ReduceSum", graph.node("Mul", states, real), graph.axes(0), keepdims=0)
    count = graph.node("Max", graph.node("Unsqueeze", graph.as_float(lengths), graph.axes(1)), graph.constant(1.0))
    pooled = graph.node(
        "Concat", graph.node("Squeeze", last, graph.axes(0)), highest, graph.node("Div", total, count), axis=1
    )
    head = model.head
    above = graph.node("Relu", graph.linear(_norm(graph, pooled, head.pooled_norm), head.hidden))
    return graph.model(graph.linear(_norm(graph, above, head.hidden_norm), head.output), config.num_labels)


def _norm(graph: Builder, rows: str, norm: Any) -> str:
    """A batch-norm in evaluation, which is one product and one sum."""
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    moved: str = graph.node("Add", graph.node("Mul", rows, graph.constant(scale)), graph.constant(shift))
    return moved
