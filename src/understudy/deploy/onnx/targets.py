"""What the weights of a graph can become: the one table of ``quantize --to``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from understudy.deploy.onnx.calibrated import calibrated_graph
from understudy.deploy.onnx.fp16 import as_float16, fp16_graph
from understudy.deploy.onnx.int4 import int4_blocks, int4_graph
from understudy.deploy.onnx.int8 import int8_graph, int8_rows


class Target(NamedTuple):
    """A type of weights."""

    name: str
    kinds: tuple[str, ...]
    """Of nodes, see :func:`understudy.deploy.onnx.int8.kind_of`."""
    graph: Callable[[Any, Collection[str]], Any]
    """From a graph and the names of nodes to a graph in which their weights are of this type."""
    table: Callable[[np.ndarray], dict[str, np.ndarray]]
    """From the table of a static model to the arrays that :class:`understudy.inference.exported.bag.Bag` reads."""


def _int8(table: np.ndarray) -> dict[str, np.ndarray]:
    rows, scales = int8_rows(table)
    return {"table_int8": rows, "table_scale": scales}


def _int4(table: np.ndarray) -> dict[str, np.ndarray]:
    packed, scales = int4_blocks(table)
    return {"table_int4": packed, "table_scale": scales, "table_width": np.array(table.shape[1])}


INT8 = Target("int8", ("table", "linear", "lstm"), int8_graph, _int8)
INT4 = Target("int4-weight", ("table", "linear"), int4_graph, _int4)
FP16 = Target("fp16", ("table", "linear", "lstm"), fp16_graph, lambda table: {"table_fp16": as_float16(table)})
TARGETS = {one.name: one for one in (INT8, INT4, FP16)}


def calibrated_int8(feeds: Sequence[Mapping[str, np.ndarray]]) -> Target:
    """int8 whose products have fixed ranges, read off a few inputs.

    Args:
        feeds: inputs of the graph.
    """
    return INT8._replace(name="int8, calibrated", graph=partial(calibrated_graph, feeds=feeds))
