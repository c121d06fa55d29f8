"""What an exported folder says of itself: the task, how texts are read, how the graph is fed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from understudy.data.tasks import Task
from understudy.errors import ModelError

FORMAT = 1
"""Of the folder. It is raised when an older reader would misread a newer folder."""
GRAPH, BAG, SAMPLE, TOKENIZER = "model.onnx", "bag.npz", "sample.json", "tokenizer.json"
"""The graph; of a static model its arrays for NumPy; texts to check nanotoken on; the tokenizer."""
MOBILE = "model.ort"
"""The graph in the format of ONNX Runtime Mobile."""
PROBABILITIES = {"single_label": "softmax", "multi_label": "sigmoid", "regression": "none"}
"""By kind of task, what makes probabilities of logits that were divided by the temperature."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, kw_only=True)
class QuantizedFacts:
    """How the weights of a folder were made smaller, and what that cost on labelled rows.

    Bytes are those of the file that answers, without this record, which the graph holds too.
    """

    to: str
    """``int8``, ``int8, calibrated``, ``int4-weight`` or ``fp16``."""
    left: tuple[str, ...]
    """The parts that are float32 still, because the score fell too much with them made smaller."""
    parts: int
    """How many parts there are."""
    bytes_before: int
    bytes_after: int
    metric: str
    rows: int
    """The labelled rows that both models answered."""
    origin: str
    """What these rows are."""
    before: float
    after: float
    """The scores."""
    low: float
    high: float
    """The ends of the interval of ``before - after``, over resampled rows."""
    level: float
    """The share of resampled differences that the interval holds."""
    max_drop: float
    """The highest upper end that was accepted, in points: hundredths of the metric."""


@dataclass(frozen=True, kw_only=True)
class ExportedFacts:
    """Everything beside graph and tokenizer that an answer depends on, and what is worth knowing of the model."""

    of: str
    """The kind of model that was exported, as in :func:`understudy.models.files.names.kind_of`."""
    task: Task
    max_length: int
    temperature: float
    inputs: tuple[str, ...]
    """Names of the graph's inputs, int64 ``(rows, tokens)`` each. Without ``attention_mask``, rows of a batch must have
    one length."""
    pad_id: int
    pad_segment: int
    padding_side: str
    truncation_side: str
    spell_special: bool
    """Whether the names of special tokens in a text are read as ordinary text."""
    max_tokens: int
    """Padded tokens of a batch."""
    parameters: int
    embedding_parameters: int
    difference: float
    """The largest difference of a logit from PyTorch's, over the texts that were compared; of a quantised model from the
    float32 graph's."""
    compared: int
    """How many texts were compared."""
    quantized: QuantizedFacts | None = None
    """Of a quantised model."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        told = asdict(self)
        return {"kind": "onnx", "format": FORMAT, **told, "probabilities": PROBABILITIES[self.task.kind]}

    def as_config(self) -> str:
        """The folder's config.json."""
        return json.dumps({"model_type": "understudy_onnx", "understudy": self.as_dict()}, indent=1) + "\n"

    def as_metadata(self) -> dict[str, str]:
        """What the graph itself says, so that it can be used without the folder: strings by name."""
        return {
            "understudy": json.dumps(self.as_dict(), ensure_ascii=False),
            "labels": json.dumps(self.task.labels, ensure_ascii=False),
            "kind": self.task.kind,
            "probabilities": PROBABILITIES[self.task.kind],
            "temperature": repr(self.temperature),
            "max_length": str(self.max_length),
            "pad_id": str(self.pad_id),
            "padding_side": self.padding_side,
        }

    @classmethod
    def read(cls, folder: Path) -> ExportedFacts:
        """The facts of a folder.

        Raises:
            ModelError: if its config.json cannot be read, is not that of an exported model, or has another format.
        """
        try:
            told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            own = told["understudy"]
            kind, version = own["kind"], own["format"]
        except FileNotFoundError:
            raise ModelError(
                f"{folder}: is not an exported model: it holds no config.json. Make one with understudy export MODEL --output FOLDER."
            ) from None
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            raise ModelError(
                f"{folder}: is not an exported model: its config.json does not say so. Make one with understudy export MODEL --output FOLDER."
            ) from None
        if kind != "onnx":
            raise ModelError(
                f"{folder}: holds a model of the kind '{kind}', which is not an exported one. Make one with understudy export {folder} --output FOLDER."
            )
        if version != FORMAT:
            raise ModelError(
                f"{folder}: was written in format {version!r:.40} by another version of understudy, but this one reads format {FORMAT}. Export the model again, or install that version."
            )
        try:
            return _checked(own)
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError(
                f"{folder}: what its config.json holds under 'understudy' is damaged ({error}). Copy the folder again, or export the model again."
            ) from None


def _checked(own: dict[str, Any]) -> ExportedFacts:
    """The facts as they were read.

    Raises:
        ValueError, LookupError, TypeError: if they make no sense.
    """
    inputs = tuple(own["inputs"])
    if inputs[:1] != ("input_ids",) or not set(inputs) <= set(_INPUTS):
        raise ValueError(f"its inputs must be among {', '.join(_INPUTS)}, but are {inputs!r:.80}")
    for name, sides in {"padding_side": ("left", "right"), "truncation_side": ("left", "right")}.items():
        if own[name] not in sides:
            raise ValueError(f"its {name} must be left or right, but is {own[name]!r:.40}")
    for name, least in {"max_length": 1, "pad_id": 0, "pad_segment": 0, "max_tokens": 1}.items():
        if type(own[name]) is not int or own[name] < least:
            raise ValueError(f"its {name} must be a whole number of at least {least}, but is {own[name]!r:.40}")
    temperature = own["temperature"]
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 1e-3 <= temperature <= 1e3:
        raise ValueError(f"its temperature must be a number from 0.001 to 1000, but is {temperature!r:.40}")
    return ExportedFacts(
        of=str(own["of"]),
        task=Task.from_dict(own["task"]),
        max_length=own["max_length"],
        temperature=float(temperature),
        inputs=inputs,
        pad_id=own["pad_id"],
        pad_segment=own["pad_segment"],
        padding_side=own["padding_side"],
        truncation_side=own["truncation_side"],
        spell_special=own["spell_special"] is True,
        max_tokens=own["max_tokens"],
        parameters=int(own["parameters"]),
        embedding_parameters=int(own["embedding_parameters"]),
        difference=float(own["difference"]),
        compared=int(own["compared"]),
        quantized=_quantized(own.get("quantized")),
    )


def _quantized(told: dict[str, Any] | None) -> QuantizedFacts | None:
    return None if told is None else QuantizedFacts(**{**told, "left": tuple(map(str, told["left"]))})
