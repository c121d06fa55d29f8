"""The graphs of encoders, by torch's exporter: what transformers has, with a head on the first token or on the mean."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from understudy.deploy.onnx.builder import LOGITS, OPSET
from understudy.errors import ModelError, require
from understudy.models.structure.layers import evaluating

_ROWS, _TOKENS = 3, 8
"""The shape of the example. Sizes 0 and 1 would be taken for constants."""


class _Logits(nn.Module):
    """A classifier with its inputs in an order, and logits instead of an output object."""

    def __init__(self, model: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits ``(rows, outputs)``."""
        logits: Tensor = self.model(**dict(zip(self.names, inputs))).logits
        return logits


def encoder_graph(model: Any, names: Sequence[str], *, longest: int) -> Any:
    """The ONNX model of a classifier on an encoder, with dynamic numbers of rows and tokens.

    Args:
        names: its inputs, see :func:`understudy.models.structure.inputs.settle_inputs`.
        longest: the most tokens of a row.

    Raises:
        ModelError: if torch cannot export this architecture.
        UnderstudyError: if ``onnx`` or ``onnxscript`` is not installed.
    """
    onnx: Any = require("onnx", extra="onnx")
    require("onnxscript", extra="onnx")
    rows, tokens = torch.export.Dim("batch"), torch.export.Dim("length", max=max(longest, _TOKENS))
    example = tuple(torch.ones(_ROWS, min(_TOKENS, max(longest, 2)), dtype=torch.int64) for _ in names)
    shapes = (tuple({0: rows, 1: tokens} for _ in names),)
    try:
        with _quietly(), evaluating(model), torch.inference_mode(False), torch.no_grad():
            program: Any = torch.onnx.export(
                _Logits(model, names),
                example,
                input_names=list(names),
                output_names=[LOGITS],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # whatever an architecture makes of it
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise ModelError(
            f"a '{model.config.model_type}' model cannot be exported: torch's exporter refuses it ({reason}). Distil it into a student that can (layers:N of BERT, RoBERTa, DistilBERT or ModernBERT, bilstm, static)."
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program.save(str(path))
        return onnx.load(str(path))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Inside, the exporter's progress, its advice and its warnings are not shown."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before):
                logger.setLevel(level)
