"""An ONNX graph written node by node, from rows of token ids to logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from understudy.errors import require

OPSET = 18
"""Of the operators: ONNX Runtime has it since 1.14 (2023)."""
IDS, MASK, SEGMENTS, LOGITS = "input_ids", "attention_mask", "token_type_ids", "logits"


class Builder:
    """Nodes and constants of one graph.

    Values are named by strings. Inputs are int64 ``(batch, length)``, both dynamic; the output is float32
    ``(batch, outputs)``. Rows are padded on the right.

    Args:
        inputs: their names.

    Raises:
        UnderstudyError: if the package ``onnx`` is not installed.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        self._onnx: Any = require("onnx", extra="onnx")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """A constant; a tensor of torch or anything that NumPy takes."""
        plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        array: np.ndarray = np.array(plain, dtype, order="C")
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The output of an operator, or the list of its outputs if there are several."""
        names = [f"n{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def axes(self, *numbers: int) -> str:
        """A constant list of axes."""
        return self.constant(numbers, np.int64)

    def linear(self, rows: str, layer: Any) -> str:
        """A layer of ``nn.Linear`` on ``(batch, width)``."""
        return self.node("Gemm", rows, self.constant(layer.weight), self.constant(layer.bias), transB=1)

    def as_float(self, value: str) -> str:
        """A value as float32."""
        return self.node("Cast", value, to=self._onnx.TensorProto.FLOAT)

    def as_int32(self, value: str) -> str:
        """A value as int32."""
        return self.node("Cast", value, to=self._onnx.TensorProto.INT32)

    def lengths(self) -> str:
        """The number of real tokens of each row: int64 ``(batch,)``."""
        return self.node("ReduceSum", MASK, self.axes(1), keepdims=0)

    def lstm(self, below: str, lengths: str, cells: Sequence[Any], direction: str) -> list[str]:
        """One LSTM layer: ``Y`` ``(tokens, directions, batch, width)`` and the last states ``(directions, batch, width)``.

        Args:
            below: ``(tokens, batch, width)``.
            lengths: int32 ``(batch,)``; what comes after them is zero and does not count.
            cells: an ``nn.LSTM`` of one layer for each direction.
            direction: ``forward``, ``reverse`` or ``bidirectional``, as ONNX says it.
        """
        width = cells[0].hidden_size
        w = np.stack([_gates(cell.weight_ih_l0, width) for cell in cells])
        r = np.stack([_gates(cell.weight_hh_l0, width) for cell in cells])
        b = np.stack(
            [np.concatenate([_gates(cell.bias_ih_l0, width), _gates(cell.bias_hh_l0, width)]) for cell in cells]
        )
        inputs = (below, self.constant(w), self.constant(r), self.constant(b), lengths)
        found: list[str] = self.node("LSTM", *inputs, outputs=2, hidden_size=width, direction=direction)
        return found

    def model(self, logits: str, outputs: int) -> Any:
        """The whole model, checked.

        Args:
            logits: the value that it returns, ``(batch, outputs)``.
        """
        helper, types = self._onnx.helper, self._onnx.TensorProto
        self._nodes.append(helper.make_node("Identity", [logits], [LOGITS]))
        rows = [helper.make_tensor_value_info(name, types.INT64, ["batch", "length"]) for name in self.inputs]
        end = [helper.make_tensor_value_info(LOGITS, types.FLOAT, ["batch", outputs])]
        graph = helper.make_graph(self._nodes, "understudy", rows, end, self._constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        made.producer_name = "understudy"
        self._onnx.checker.check_model(made)
        return made


def _gates(value: Any, width: int) -> np.ndarray:
    """The rows of a torch LSTM's array (input, forget, cell, output) in ONNX's order (input, output, forget, cell)."""
    array = value.detach().cpu().float().numpy()
    i, f, c, o = (array[k * width : (k + 1) * width] for k in range(4))
    return np.concatenate([i, o, f, c])
