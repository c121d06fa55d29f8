"""A graph with int8 weights whose products have fixed ranges, read off a few texts: static quantisation."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.deploy.onnx.int8 import dynamic, kind_of, quantize_tables, quietly
from understudy.errors import ModelError, require


def calibrated_graph(graph: Any, nodes: Collection[str], *, feeds: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """A copy of a graph in which the weights of these nodes are int8, and so is what products read, in fixed ranges.

    The range of what a product reads is that of the smallest and the largest number that it read for `feeds`; numbers
    beyond are cut. LSTMs become int8 as without calibration, and tables by row.

    Args:
        graph: an ONNX model whose nodes have names, see :func:`understudy.deploy.onnx.int8.parts_of`.
        nodes: names of nodes.
        feeds: inputs of the graph, at least one.

    Raises:
        ModelError: if `feeds` are not inputs of the graph.
        UnderstudyError: if what it needs is not installed.
    """
    check_feeds(graph, feeds)
    onnx: Any = require("onnx", extra="onnx")
    made = type(graph)()
    made.CopyFrom(graph)
    weights = {one.name: one for one in made.graph.initializer}
    kinds = {node.name: kind_of(node, weights) for node in made.graph.node if node.name in nodes}
    if products := [name for name, kind in kinds.items() if kind == "linear"]:
        made = _static(onnx, made, [node.name for node in made.graph.node if node.name not in set(products)], feeds)
    if lstms := [name for name, kind in kinds.items() if kind == "lstm"]:
        made = dynamic(onnx, made, [node.name for node in made.graph.node if node.name not in set(lstms)])
    quantize_tables(onnx, made, set(nodes))
    return made


def check_feeds(graph: Any, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Check that inputs are those of a graph: its names, int64 ``(rows, tokens)`` of one shape.

    Raises:
        ModelError: for the first one that is not.
    """
    names = {value.name for value in graph.graph.input}
    if not feeds:
        raise ModelError("there is no text to calibrate on. Give some with --calibrate FILE.")
    for number, feed in enumerate(feeds):
        shapes = {np.asarray(value).shape for value in feed.values()}
        types = {np.asarray(value).dtype for value in feed.values()}
        sound = (
            set(feed) == names and len(shapes) == 1 and len(next(iter(shapes))) == 2 and types == {np.dtype(np.int64)}
        )
        if not sound:
            told = ", ".join(
                f"{name} {np.asarray(value).dtype} {np.asarray(value).shape}" for name, value in feed.items()
            )
            raise ModelError(
                f"calibration input {number} must have {', '.join(sorted(names))}, int64 (rows, tokens) of one shape each, but has {told or 'nothing'}. Encode the texts with the model's own tokenizer."
            )


class _Feeds:
    """Inputs, one after the other, as ONNX Runtime asks for them."""

    def __init__(self, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._left = iter(feeds)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """The next one; None after the last."""
        return next(self._left, None)


def _static(onnx: Any, graph: Any, others: list[str], feeds: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """What ONNX Runtime makes of a graph, without these nodes."""
    require("onnxruntime", extra="onnx")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # slow, and an extra

    with tempfile.TemporaryDirectory() as folder, quietly():
        path = Path(folder) / "model.onnx"
        quantize_static(
            graph,
            path,
            _Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=others,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return onnx.load(str(path))
