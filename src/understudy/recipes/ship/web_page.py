"""``understudy export --format web``: a trained model as a page that answers on the visitor's device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from understudy.data.tasks import Text
from understudy.deploy.onnx.export import TOLERANCE, export_onnx
from understudy.deploy.onnx.quantize import quantize_onnx
from understudy.deploy.web.agreement import Agreement
from understudy.deploy.web.folder import write_web
from understudy.errors import ModelError
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.predictor import Predictor
from understudy.recipes.ship.exportable import validation_rows
from understudy.report.numbers import human_bytes
from understudy.settings.ship.export import ExportSettings
from understudy.terminal.lines import say, show


def export_page(
    settings: ExportSettings, model: Predictor | ExportedPredictor, texts: Sequence[Text], *, origin: str
) -> Path:
    """Export, make the weights int8 where the score allows, write the page, check it; the folder.

    Args:
        texts: on which model, exported model and page must agree.
        origin: what most of them are.

    Raises:
        UnderstudyError: if the model cannot be exported, quantised as it was asked for, or computed by the page.
    """
    output = Path(settings.output).expanduser()
    with tempfile.TemporaryDirectory() as temporary:
        source = model
        if not isinstance(source, ExportedPredictor):
            made = Path(temporary) / "exported"
            export_onnx(made, source, texts)
            source = ExportedPredictor(made, threads=torch.get_num_threads())
        source = _with_type(settings, source, Path(temporary) / "int8")
        loaded, found = write_web(
            *(output, source, texts),
            title=_title(settings.model),
            tolerance=TOLERANCE,
            npm_folder=settings.npm_folder,
        )
    kind = source.facts.quantized.to if source.facts.quantized else "fp32"
    show(
        f"{output}: a page with {source.facts.of} in {kind}; a visitor loads {human_bytes(sum(loaded.values()))}. {_told(found, origin, source)}"
    )
    show(f"Try it: python -m http.server --bind 127.0.0.1 --directory {output} 8000, then open http://127.0.0.1:8000")
    return output


def _with_type(settings: ExportSettings, source: ExportedPredictor, place: Path) -> ExportedPredictor:
    """The exported model with weights of the type that was asked for or, if none was, int8 where that can be shown to hold.

    Raises:
        ModelError: if int8 was asked for and cannot be had, or the model has weights of another type already.
    """
    if (quantized := source.facts.quantized) is not None:
        if settings.to is not None and not quantized.to.startswith(settings.to):
            raise ModelError(
                f"{settings.model}: its weights are {quantized.to} already. Name the model that it was made of, or leave --to out."
            )
        return source
    if settings.to == "fp32":
        return source
    rows = validation_rows(settings.model, source.task)
    if rows is None or not rows.labelled.any():
        if settings.to == "int8":
            raise ModelError(
                f"{settings.model}: what int8 weights cost must be measured, but there are no validation rows of a run here. Run understudy quantize with --texts FILE, and give the folder that it makes to understudy export --format web."
            )
        say("  The weights stay fp32: there are no validation rows of a run on which int8 could be checked.")
        return source
    rows = rows.take(np.flatnonzero(rows.labelled))
    try:
        quantize_onnx(place, source, rows, origin="validation rows of its run", max_drop=settings.max_drop)
    except ModelError as error:
        # written to a folder of its own that nobody has heard of, and --texts of this command has no labels
        told = " ".join(error.faults).replace(f"{place}: is not written, because ", "int8 weights are not taken: ")
        told = told.partition(" Give more labelled rows")[0]
        if settings.to == "int8":
            raise ModelError(
                f"{settings.model}: {told} Give a larger --max_drop; or run understudy quantize with more labelled rows (--texts FILE), and give the folder that it makes to understudy export --format web."
            ) from None
        say(f"  The weights stay fp32; {told}")
        return source
    return ExportedPredictor(place, threads=source.threads)


def _title(model: str) -> str:
    """What a page calls a model: the name of its folder, or of the run."""
    path = Path(model).expanduser().absolute()
    return path.parent.name if path.name == "model" else path.name


def _told(found: Agreement | None, origin: str, source: ExportedPredictor) -> str:
    if found is None:
        return "Node.js is not installed, so its answers were not compared with the model's."
    number = source.task.kind == "regression"
    said = f"Run by Node.js, its {'numbers' if number else 'logits'} differ by {found.difference:.1e} at most on {found.texts:,} texts, {origin} among them"
    others = [f"{found.other_ids:,} are split otherwise"] * bool(found.other_ids)
    others += [f"{found.other_labels:,} get another label"] * bool(found.other_labels)
    if others:
        return f"{said}; {' and '.join(others)}."
    return f"{said}." if number else f"{said}; all labels are the same."
