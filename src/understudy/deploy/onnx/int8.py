"""A graph with int8 weights: tables by row, products and LSTMs by ONNX Runtime's dynamic quantisation."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import require

_PRODUCTS = ("MatMul", "Gemm", "LSTM")
"""What ONNX Runtime quantises: the weights are int8, the other factor becomes so while it computes."""
_LARGEST = 127
_BLOCK = re.compile(r"^(.*?\.\d+)(\.|$)")


def int8_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""A table whose rows are int8, each with a scale of its own.

    .. math:: s_i = \tfrac{1}{127} \max_j |t_{ij}|, \quad q_{ij} = \mathrm{round}(t_{ij} / s_i)

    So :math:`s_i q_{ij}` differs from :math:`t_{ij}` by half of :math:`s_i` at most.

    Args:
        table: ``(rows, width)``.

    Returns:
        int8 ``(rows, width)`` and float32 ``(rows, 1)``. A row of zeros has the scale 1.

    Example:
        >>> rows, scales = int8_rows(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
        >>> rows.tolist(), scales.round(4).tolist()
        ([[64, -127], [0, 0]], [[0.007899999618530273], [1.0]])
    """
    largest = np.abs(table).max(axis=1, keepdims=True, initial=0).astype(np.float32)
    scales = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    scales[scales == 0] = 1  # of numbers so small that their scale is none: the row is zero
    rows = np.clip(np.rint(table / scales), -_LARGEST, _LARGEST)
    return rows.astype(np.int8), scales


def parts_of(
    graph: Any, *, tables_only: bool = False, kinds: Collection[str] = ("table", "linear", "lstm")
) -> dict[str, list[str]]:
    """What of a graph can be made smaller: names for people to the names of nodes.

    A part is a table, an LSTM or a product; of an encoder all products of one layer. Nodes without a name get one.

    Args:
        graph: an ONNX model, from :mod:`understudy.deploy.onnx`.
        tables_only: leave products and LSTMs out.
        kinds: of nodes, see :func:`kind_of`.
    """
    weights = {one.name: one for one in graph.graph.initializer}
    parts, counts = dict[str, list[str]](), dict[str, int]()
    for number, node in enumerate(graph.graph.node):
        node.name = node.name or f"node_{number}"
        kind = kind_of(node, weights)
        if kind is None or kind not in kinds or (tables_only and kind != "table"):
            continue
        scope = _scope(node)
        if scope is None:
            counts[kind] = counts.get(kind, 0) + 1
            scope = f"{kind} {counts[kind]}"
        elif found := _BLOCK.match(scope):
            scope = found[1]
        parts.setdefault(scope, []).append(node.name)
    return parts


def kind_of(node: Any, weights: dict[str, Any]) -> str | None:
    """What a node is to be called, if its weights can be made smaller: ``table``, ``linear``, ``lstm``; None for any other.

    Args:
        weights: the graph's initializers, by name.
    """
    matrix = len(node.input) > 1 and node.input[1] in weights
    if node.op_type == "LSTM":
        return "lstm"
    if node.op_type in ("MatMul", "Gemm"):
        return "linear" if matrix and len(weights[node.input[1]].dims) == 2 else None
    if node.op_type == "Gather" and (table := weights.get(node.input[0])) is not None:
        by_row = all(one.name != "axis" or one.i == 0 for one in node.attribute)
        return "table" if by_row and len(table.dims) == 2 and table.data_type == 1 else None
    return None


def int8_graph(graph: Any, nodes: Collection[str]) -> Any:
    """A copy of a graph in which the weights of these nodes are int8.

    Weights of products are int8 by output channel, with 7 of the 8 bits used, because processors without VNNI lose the
    carry of a sum of two products of 8 bits: a graph answers alike on all.

    Args:
        graph: an ONNX model whose nodes have names, see :func:`parts_of`.
        nodes: names of nodes.

    Raises:
        UnderstudyError: if what it needs is not installed.
    """
    onnx: Any = require("onnx", extra="onnx")
    made = type(graph)()
    made.CopyFrom(graph)
    weights = {one.name: one for one in made.graph.initializer}
    chosen = [node for node in made.graph.node if node.name in nodes]
    products = [node.name for node in chosen if kind_of(node, weights) != "table"]
    if products:
        others = [node.name for node in made.graph.node if node.name not in set(products)]
        made = dynamic(onnx, made, others)
    quantize_tables(onnx, made, set(nodes))
    return made


def _scope(node: Any) -> str | None:
    """The module of PyTorch that a node was made of, as torch's exporter says; None for nodes of our own graphs."""
    told = next((one.value for one in node.metadata_props if one.key.endswith("name_scopes")), None)
    if told is None:
        return None
    try:
        names = [str(name) for name in ast.literal_eval(told)]
    except (ValueError, SyntaxError):
        return None
    return names[-2].removeprefix("model.") if len(names) > 1 and names[-2] else None


def dynamic(onnx: Any, graph: Any, others: list[str]) -> Any:
    """What ONNX Runtime makes of a graph, without these nodes."""
    require("onnxruntime", extra="onnx")
    from onnxruntime.quantization import QuantType, quantize_dynamic  # slow, and an extra

    with tempfile.TemporaryDirectory() as folder, quietly():
        path = Path(folder) / "model.onnx"
        quantize_dynamic(
            graph,
            path,
            op_types_to_quantize=list(_PRODUCTS),
            nodes_to_exclude=[
                *others,
                *(f"{name}_MatMul" for name in others),
            ],  # what it calls a Gemm that it takes apart
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(str(path))


def quantize_tables(onnx: Any, graph: Any, nodes: Collection[str]) -> None:
    """Make rows of tables int8, in place: what is looked up is cast and multiplied by the scale of its row."""
    weights = {one.name: one for one in graph.graph.initializer}
    made, ready = list[Any](), set[str]()
    helper, types, arrays = onnx.helper, onnx.TensorProto, onnx.numpy_helper
    for node in graph.graph.node:
        if node.name not in nodes or kind_of(node, weights) != "table":
            made.append(node)
            continue
        table, ids = node.input
        rows, scales, end = f"{table}_int8", f"{table}_scale", node.output[0]
        if table not in ready:
            ready.add(table)
            numbers = int8_rows(arrays.to_array(weights[table]))
            graph.graph.initializer.extend(arrays.from_array(*one) for one in zip(numbers, (rows, scales)))
        made += [
            helper.make_node("Gather", [rows, ids], [f"{end}_int8"], name=f"{node.name}_rows"),
            helper.make_node("Cast", [f"{end}_int8"], [f"{end}_float"], to=types.FLOAT, name=f"{node.name}_cast"),
            helper.make_node("Gather", [scales, ids], [f"{end}_scale"], name=f"{node.name}_scales"),
            helper.make_node("Mul", [f"{end}_float", f"{end}_scale"], [end], name=f"{node.name}_scaled"),
        ]
    if ready:
        without_unused(graph, made)


def without_unused(graph: Any, nodes: Iterable[Any]) -> Any:
    """Give a graph these nodes, in place, and drop the weights that none of them reads any more; the graph."""
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    used = {name for node in graph.graph.node for name in node.input} | {one.name for one in graph.graph.output}
    kept = [one for one in graph.graph.initializer if one.name in used]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    return graph


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Inside, the advice of ONNX Runtime, which goes to the root logger, is not shown."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
