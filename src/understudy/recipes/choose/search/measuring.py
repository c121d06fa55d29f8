"""What a student costs, measured before it is trained: an untrained one of its shape answers texts one by one."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.data.splits import Rows, Splits
from understudy.data.texts import Texts
from understudy.deploy.onnx.export import export_onnx
from understudy.deploy.onnx.quantize import quantize_onnx, shrink_onnx
from understudy.errors import ConfigError, UnderstudyError
from understudy.evaluation import cost
from understudy.evaluation.cost import spread_texts
from understudy.evaluation.halving import used
from understudy.evaluation.quality import evaluate
from understudy.inference.answering import Answering
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.objectives.teachers.cached import CachedTeacher
from understudy.recipes.choose.search.trials import texts_of, trial
from understudy.recipes.train.distill.teachers import Teachers
from understudy.settings.choose.search import FORMATS, Format, SearchSettings
from understudy.terminal.lines import show

_LATENCY_TEXTS, _TOGETHER, _COMPARED = 100, 64, 16
"""Single texts that are timed, texts that are answered together, and texts on which an export is compared."""
NO_DROP = 100.0
"""Points: an int8 model is judged by its own score, beside the others', and not by how much it lost."""


def formats_of(settings: SearchSettings) -> tuple[list[Format], str | None]:
    """The formats that are tried, and a note on those that could be if more was installed."""
    if settings.formats:
        return list(settings.formats), None
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if not missing:
        return list(FORMATS), None
    return (
        ["pytorch"],
        f"the formats onnx and int8 are not tried, because {' and '.join(missing)} is not installed. Run: pip install 'understudy[onnx]'",
    )


def teacher_of(settings: SearchSettings, splits: Splits) -> Teachers:
    """The teacher, loaded and checked.

    Raises:
        ConfigError: if it cannot teach this task.
    """
    faults: list[str] = []
    found = Teachers([str(settings.teacher)], [], splits.task, max_length=settings.max_length, faults=faults)
    if faults:
        raise ConfigError(*faults)
    return found


def measure_teacher(teachers: Teachers, splits: Splits) -> dict[str, Any]:
    """The teacher's scores on the validation rows, and what it costs."""
    rows = splits.validation
    scores = evaluate(answers_of(teachers, rows.texts), rows.labels, splits.task)
    return {"metrics": scores.metrics, **_cost(teachers.ordered(), rows.texts)}


def answers_of(teachers: Teachers, texts: Texts) -> np.ndarray:
    """The teacher's answers, from the cache where they are known: ``(texts, outputs)``."""
    ((model, columns, _),) = teachers.models.values()
    return CachedTeacher.label(model, texts, columns=columns)(np.arange(len(texts))).numpy()


def measure_all(settings: SearchSettings, splits: Splits, *, formats: Sequence[Format]) -> dict[str, dict[str, Any]]:
    """Every student of a search, untrained: by name ``formats`` (cost by format), ``seconds`` of a full training, texts
    and epochs of it; or ``cannot``, the reason why it cannot be built.
    """
    found = {}
    for number, one in enumerate(settings.candidates()):
        show(f"  measuring {one.name}, {number + 1} of {len(settings.students)}")
        alone = replace(settings, students=[one.name], rungs=1, rung=1)
        found[one.name] = _measured(alone, splits, formats)
    return found


def _measured(settings: SearchSettings, splits: Splits, formats: Sequence[Format]) -> dict[str, Any]:
    try:
        work = trial(settings, splits)
        model = work.untrained()
        wanted: Sequence[Format] = formats if isinstance(model, Predictor) else ["pytorch"]
        found, faults = dict[str, Any](), dict[str, str]()
        with tempfile.TemporaryDirectory() as folder:
            for name in wanted:
                try:
                    made = in_format(model, name, splits.validation, Path(folder), trained=False)
                    found[name] = _cost(made, splits.validation.texts)
                except UnderstudyError as error:
                    faults[name] = " ".join(error.faults)
    except UnderstudyError as error:
        return {"cannot": " ".join(error.faults), "formats": {}}
    known = {"formats": found, "seconds": work.seconds(), "texts": texts_of(splits), "epochs": work.passes}
    return known | ({"left_out": faults} if faults else {})


def in_format(
    model: Predictor | LinearPredictor, name: Format, rows: Rows, place: Path, *, trained: bool = True
) -> Answering:
    """A model in one of its formats; what is exported is written to a folder of the format's name.

    Args:
        place: a folder for the formats of this model; int8 is made of what is exported there.
        rows: labelled rows: a trained model in int8 is held against the model that it was made of.
        trained: whether there is anything to hold.

    Raises:
        UnderstudyError: if the model cannot have this format.
    """
    if name == "pytorch":
        return model
    assert isinstance(model, Predictor)
    if not (place / "onnx").exists():
        export_onnx(place / "onnx", model, spread_texts(rows.texts, _COMPARED))
    made = ExportedPredictor(place / "onnx", threads=torch.get_num_threads())
    if name == "onnx":
        return made
    if not trained:
        return shrink_onnx(place / name, made)
    labelled = rows.take(np.flatnonzero(rows.labelled))
    quantize_onnx(place / name, made, labelled, origin="validation rows", max_drop=NO_DROP)
    return ExportedPredictor(place / name, threads=made.threads)


def _cost(model: Answering, texts: Texts) -> dict[str, Any]:
    """What a model costs, as numbers by name; the median time of a text is ``latency_ms``."""
    measured = cost.measure(model, texts, latency_texts=_LATENCY_TEXTS, throughput_texts=_TOGETHER)
    return {**measured, "latency_ms": measured["latency_ms"]["p50"]}


def least_used(known: Mapping[str, Any], limits: Mapping[str, float]) -> tuple[str, float] | None:
    """The format in which a student uses the least of the budget, and how much; None if it has none."""
    shares = {name: used(measured, limits) for name, measured in known["formats"].items()}
    return min(shares.items(), key=lambda entry: entry[1], default=None)


def nearest_miss(measured: Mapping[str, Any], limits: Mapping[str, float]) -> tuple[str, str] | None:
    """Of students that do not fit, the one that comes closest, and in which format; None if none could be built."""
    shares = {name: best for name, known in measured.items() if (best := least_used(known, limits)) is not None}
    if not shares:
        return None
    name = min(shares, key=lambda one: (shares[one][1], one))
    return name, shares[name][0]
