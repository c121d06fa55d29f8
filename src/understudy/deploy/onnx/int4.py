"""A graph with 4-bit weights: tables and products in blocks of 32 numbers, each with a scale of its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from understudy.deploy.onnx.int8 import kind_of, without_unused
from understudy.errors import require
from understudy.inference.exported.bag import BLOCK, ZERO

_LARGEST = 7
_CONTRIBUTED = "com.microsoft"
"""The operators that ONNX Runtime adds to ONNX's own."""


def int4_blocks(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""A matrix in blocks of 32 numbers of a row, each number in 4 bits.

    .. math:: s = \tfrac17 \max_j |w_j|, \quad q_j = \mathrm{round}(w_j / s) + 8

    Two numbers share a byte, the first one in its lower half. The last block of a row is filled up with zeros.

    Args:
        matrix: ``(rows, width)``.

    Returns:
        uint8 ``(rows, blocks, 16)`` and float32 ``(rows, blocks)``. A block of zeros has the scale 1.

    Example:
        >>> packed, scales = int4_blocks(np.array([[0.7, -0.7, 0.1]], np.float32))
        >>> packed[0, 0, :2].tolist(), scales.round(3).tolist()
        ([31, 137], [[0.10000000149011612]])
    """
    rows, width = matrix.shape
    blocks = -(-width // BLOCK)
    whole = np.zeros((rows, blocks * BLOCK), np.float32)
    whole[:, :width] = matrix
    parts = whole.reshape(rows, blocks, BLOCK)
    largest = np.abs(parts).max(-1)
    scales = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    scales[scales == 0] = 1
    numbers = (np.clip(np.rint(parts / scales[..., None]), -_LARGEST, _LARGEST) + ZERO).astype(np.uint8)
    return numbers[..., ::2] | numbers[..., 1::2] << 4, scales


def int4_graph(graph: Any, nodes: Collection[str]) -> Any:
    """A copy of a graph in which the weights of these nodes have 4 bits.

    Args:
        graph: an ONNX model whose nodes have names, see :func:`understudy.deploy.onnx.int8.parts_of`.
        nodes: names of tables and products. There is no 4-bit LSTM.
    """
    onnx: Any = require("onnx", extra="onnx")
    made = type(graph)()
    made.CopyFrom(graph)
    weights = {one.name: one for one in made.graph.initializer}
    kept, ready = list[Any](), set[str]()

    def packed(name: str, matrix: np.ndarray, *, table: bool = False) -> tuple[str, str]:
        names = (f"{name}_int4", f"{name}_scale")
        if name not in ready:
            ready.add(name)
            numbers, scales = int4_blocks(matrix)
            if table:  # without what fills up the last block
                numbers = np.ascontiguousarray(numbers.reshape(len(numbers), -1)[:, : -(-matrix.shape[1] // 2)])
            arrays = zip((numbers, scales), names)
            made.graph.initializer.extend(onnx.numpy_helper.from_array(*one) for one in arrays)
        return names

    for node in made.graph.node:
        kind = kind_of(node, weights) if node.name in nodes else None
        if kind == "table":
            table, ids = node.input
            matrix = onnx.numpy_helper.to_array(weights[table])
            kept += _table(onnx, node, packed(table, matrix, table=True), ids, matrix.shape[1])
        elif kind == "linear":
            matrix = onnx.numpy_helper.to_array(weights[node.input[1]])
            over = next((bool(one.i) for one in node.attribute if one.name == "transB"), False)
            rows = matrix if over else matrix.T
            kept += _product(onnx, node, packed(f"{node.input[1]}_{int(over)}", rows), rows.shape)
        else:
            kept.append(node)
    if ready and not any(one.domain == _CONTRIBUTED for one in made.opset_import):
        made.opset_import.append(onnx.helper.make_opsetid(_CONTRIBUTED, 1))
    return without_unused(made, kept)


def _table(onnx: Any, node: Any, names: tuple[str, str], ids: str, width: int) -> list[Any]:
    """Rows that are looked up in 4 bits; of an odd width the last number is cut off again."""
    helper, end = onnx.helper, node.output[0]
    out = f"{end}_even" if width % 2 else end
    options = {"gather_axis": 0, "quantize_axis": 1, "block_size": BLOCK, "bits": 4}
    made = [
        helper.make_node(
            "GatherBlockQuantized",
            [names[0], ids, names[1]],
            [out],
            name=f"{node.name}_int4",
            domain=_CONTRIBUTED,
            **options,
        )
    ]
    if width % 2:
        constants = {"from": 0, "to": width, "axis": -1}
        for name, value in constants.items():
            tensor = onnx.numpy_helper.from_array(np.array([value]))
            made.insert(0, helper.make_node("Constant", [], [f"{end}_{name}"], value=tensor, name=f"{end}_{name}_is"))
        cut = [out, *(f"{end}_{name}" for name in constants)]
        made.append(helper.make_node("Slice", cut, [end], name=f"{node.name}_cut"))
    return made


def _product(onnx: Any, node: Any, names: tuple[str, str], shape: tuple[int, ...]) -> list[Any]:
    """A product with 4-bit weights, and the bias of a Gemm."""
    end, bias = node.output[0], node.input[2] if len(node.input) > 2 and node.input[2] else None
    out = end if bias is None else f"{end}_product"
    made = [
        onnx.helper.make_node(
            "MatMulNBits",
            [node.input[0], *names],
            [out],
            name=f"{node.name}_int4",
            domain=_CONTRIBUTED,
            K=shape[1],
            N=shape[0],
            bits=4,
            block_size=BLOCK,
        )
    ]
    if bias is not None:
        made.append(onnx.helper.make_node("Add", [out, bias], [end], name=f"{node.name}_bias"))
    return made
