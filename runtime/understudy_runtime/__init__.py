"""The answers of models that understudy exported, without torch.

Example::

    from understudy_runtime import load

    load("exported/student").predict(["A quiet, lovely film."])[0].label
"""

from __future__ import annotations

from pathlib import Path

from understudy_runtime.answers import Prediction
from understudy_runtime.errors import ModelError, UnderstudyError
from understudy_runtime.predictor import ExportedPredictor
from understudy_runtime.version import VERSION

__all__ = ["ExportedPredictor", "ModelError", "Prediction", "UnderstudyError", "__version__", "load"]
__version__ = VERSION


def load(
    folder: str | Path, *, threads: int | None = None, fast: bool = True, graph: str | None = None
) -> ExportedPredictor:
    """An exported model, ready to answer: the same labels, probabilities and logits as ``understudy.load`` gives.

    Args:
        folder: what ``understudy export MODEL --output FOLDER`` wrote.
        threads: of the processor, for one batch (as ONNX Runtime chooses).
        fast: whether nanotoken encodes, where it is installed and gives the ids of ``tokenizers``.
        graph: ``model.onnx`` or ``model.ort``, to compute with that graph what NumPy would compute alone.

    Raises:
        ModelError: if the folder is no exported model, is damaged, or was written by another version.
    """
    return ExportedPredictor(folder, threads=threads, fast=fast, graph=graph)
