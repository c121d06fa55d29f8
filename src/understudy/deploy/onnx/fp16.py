"""A graph with float16 weights: half the bytes on disk. What they are multiplied with stays float32."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from understudy.deploy.onnx.int8 import kind_of, without_unused
from understudy.errors import require

_LARGEST = float(np.finfo(np.float16).max)


def as_float16(weights: np.ndarray) -> np.ndarray:
    """Weights rounded to float16; what is too large becomes the largest number that there is.

    Example:
        >>> as_float16(np.array([0.1, 1e6], np.float32)).tolist()
        [0.0999755859375, 65504.0]
    """
    return np.clip(weights, -_LARGEST, _LARGEST).astype(np.float16)


def fp16_graph(graph: Any, nodes: Collection[str]) -> Any:
    """A copy of a graph in which the weights of these nodes are float16.

    Rows of a table are cast when they are looked up. The weights of products and LSTMs are cast once, when ONNX Runtime
    reads the graph: it computes as before, and as fast.

    Args:
        graph: an ONNX model whose nodes have names, see :func:`understudy.deploy.onnx.int8.parts_of`.
        nodes: names of nodes.
    """
    onnx: Any = require("onnx", extra="onnx")
    made = type(graph)()
    made.CopyFrom(graph)
    helper, types = onnx.helper, onnx.TensorProto
    weights = {one.name: one for one in made.graph.initializer}
    kept, ready = list[Any](), set[str]()

    def halved(name: str) -> str:
        if name not in ready:
            ready.add(name)
            array = as_float16(onnx.numpy_helper.to_array(weights[name]))
            made.graph.initializer.append(onnx.numpy_helper.from_array(array, f"{name}_fp16"))
        return f"{name}_fp16"

    for node in made.graph.node:
        kind = kind_of(node, weights) if node.name in nodes else None
        if kind == "table":
            table, ids = node.input
            end = node.output[0]
            kept.append(helper.make_node("Gather", [halved(table), ids], [f"{end}_fp16"], name=f"{node.name}_rows"))
            kept.append(helper.make_node("Cast", [f"{end}_fp16"], [end], to=types.FLOAT, name=f"{node.name}_cast"))
            continue
        if kind is not None:
            for place in (1, 2) if kind == "lstm" else (1,):
                name, end = node.input[place], f"{node.name}_weight{place}"
                kept.append(helper.make_node("Cast", [halved(name)], [end], to=types.FLOAT, name=f"{end}_cast"))
                node.input[place] = end
        kept.append(node)
    return without_unused(made, kept)
