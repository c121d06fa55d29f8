"""How students are built: the options of each kind, and what can be wrong with them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Lt

from understudy.data.tokens.specs import parse_spec
from understudy.errors import gathered, nearest
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults

_TOKENIZERS = ("auto", "teacher")
EMBEDDINGS = ("auto", "contextual", "teacher", "random")
"""What ``--embeddings`` can be beside a file of word vectors."""


@dataclass(kw_only=True)
class TableOptions:
    """A student with an embedding table of its own. Each kind is a subclass, in :data:`TABLE_STUDENTS`."""

    name: ClassVar[str]
    """The value of `--student`, and the field of the settings that holds these options."""
    learning_rate: ClassVar[float]
    """Peak rate where the settings name none."""
    model: ClassVar[str]
    """``module:class`` of the model, imported when one is built."""
    embedding: Annotated[int, Gt(0)] = 128
    """Width of the token embeddings."""
    hidden: Annotated[int, Ge(0)] = 128
    """Width of the hidden layer; 0 for none."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Dropout before the output."""

    def sizes(self) -> dict[str, Any]:
        """These options under the names of the model's configuration."""
        return {"embedding_size": self.embedding, "hidden_size": self.hidden, "dropout": self.dropout}


@dataclass(kw_only=True)
class BiLSTMOptions(TableOptions):
    """The BiLSTM student."""

    name: ClassVar[str] = "bilstm"
    learning_rate: ClassVar[float] = 2e-3
    model: ClassVar[str] = "understudy.models.students.bilstm:BiLSTM"
    lstm: Annotated[int, Gt(0)] = 128
    """Width of the LSTM's state, in each direction."""
    hidden: Annotated[int, Gt(0)] = 128
    """Width of the hidden layer."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2
    """Dropout on the embeddings and before the output."""

    def sizes(self) -> dict[str, Any]:
        """These options under the names of the model's configuration."""
        return {**super().sizes(), "lstm_size": self.lstm}


@dataclass(kw_only=True)
class StaticOptions(TableOptions):
    """The bag-of-embeddings student."""

    name: ClassVar[str] = "static"
    learning_rate: ClassVar[float] = 3e-3
    model: ClassVar[str] = "understudy.models.students.static:StaticBag"
    embedding: Annotated[int, Gt(0)] = 300
    """Width of the token embeddings."""
    hidden: Annotated[int, Ge(0)] = 256
    """Width of the hidden layer; 0 for none."""


@dataclass(kw_only=True)
class LayersOptions:
    """The student cut from its teacher."""

    name: ClassVar[str] = "layers"
    keep: Annotated[list[int], Shown("LAYER")] = field(default_factory=list)
    """The teacher's layers to keep, counted from 0 (instead of a number of them)."""
    choose: Literal["evenly", "alternate", "first", "last"] = "evenly"
    """Which layers layers:N keeps: at even distances, both ends included; every second, third …; the first or last N."""
    hidden: Annotated[int, Gt(0)] | None = None
    """Also narrow the hidden size to this, a multiple of the number of heads."""
    start: Literal["teacher", "svd", "random"] = "teacher"
    """Initial weights: teacher (with --layers.hidden: its strongest units), svd (the principal directions of its embeddings) or random."""


@dataclass(kw_only=True)
class AlbertOptions:
    """The student in ALBERT's shape: a factorised embedding table, and one block that all layers share."""

    name: ClassVar[str] = "albert"
    embedding: Annotated[int, Gt(0)] = 128
    """Width of the embedding table, which a linear map takes to the hidden size."""
    layers: Annotated[int, Gt(0)] | None = None
    """Passes through the block (as many as the teacher has layers)."""
    hidden: Annotated[int, Gt(0)] | None = None
    """Also narrow the hidden size to this, a multiple of the number of heads."""
    share: str = "mean"
    """What the shared block starts from: the mean of the teacher's layers, or one of them by its number; none: each layer has its own block."""
    start: Literal["teacher", "random"] = "teacher"
    """Initial weights: teacher (tables by truncated SVD of the training texts' embeddings) or random."""


TABLE_STUDENTS: tuple[type[TableOptions], ...] = (BiLSTMOptions, StaticOptions)
"""Students of one task with a table of their own. Every list of students derives from this tuple and the next two."""
STUDENTS = (*(options.name for options in TABLE_STUDENTS), LayersOptions.name)
"""What ``distill --student`` builds, by name; another value is a model folder or a hub id."""
LANGUAGE_STUDENTS = (LayersOptions.name, AlbertOptions.name)
"""The same for ``distill-lm --student``."""


def options_of(settings: Any) -> list[Any]:
    """The options of every kind of student that settings have: the groups that are named after a student."""
    groups = (getattr(settings, field.name) for field in dataclasses.fields(settings))
    return [group for group in groups if getattr(group, "name", None) in (*STUDENTS, *LANGUAGE_STUDENTS)]


def is_table(kind: str) -> bool:
    """Whether a student has an embedding table of its own."""
    return kind in STUDENTS and kind != LayersOptions.name


def student_faults(spec: str, options: Sequence[Any], *, tokenizer: str, embeddings: str) -> list[str]:
    """What is wrong with a student of a task, before anything is loaded: its name, or options that it does not use.

    Args:
        options: those of every kind of student, as they were given.
    """
    kind = LayersOptions.name if spec.split(":")[0] == LayersOptions.name else spec
    layers = next(group for group in options if isinstance(group, LayersOptions))
    faults = (
        layers_faults(spec, layers) if kind == LayersOptions.name else [] if is_table(kind) else _named_faults(spec)
    )
    if kind == LayersOptions.name or not faults:  # otherwise it is unknown which student was meant
        given = {"--tokenizer": tokenizer, "--embeddings": embeddings}
        unused = [] if is_table(kind) else [flag for flag, value in given.items() if value != "auto"]
        faults += _unused(spec, kind, options, unused)
    return faults + _table_faults(tokenizer, embeddings)


def language_student_faults(spec: str, options: Sequence[Any]) -> list[str]:
    """What is wrong with a student of a language model, before anything is loaded."""
    kind = spec.split(":")[0]
    groups = {group.name: group for group in options}
    if kind == LayersOptions.name:
        faults = layers_faults(spec, groups[kind])
    elif spec == AlbertOptions.name:
        faults = _albert_faults(groups[spec])
    elif Path(spec).expanduser().exists() or "/" in spec:
        faults = model_faults(spec)
    else:
        return [
            f"student must be layers:N, albert, a model folder or a hub id such as org/name, but is {spec!r}.{nearest(kind, LANGUAGE_STUDENTS)}"
        ]
    return faults + _unused(spec, kind, options)


def layers_faults(spec: str, layers: LayersOptions) -> list[str]:
    """What is wrong with a student cut from its teacher, as far as it shows without the teacher."""
    numbered = re.fullmatch(r"layers:[1-9]\d*", spec) is not None
    if not numbered and not (spec == LayersOptions.name and layers.keep):
        return [f"student layers needs a number, as in layers:3, or --layers.keep 0 2 4, but is {spec!r}."]
    if numbered and layers.keep:
        return [
            f"student {spec} says how many layers to keep, but --layers.keep lists them. Give --student layers with --layers.keep."
        ]
    if layers.keep and layers.choose != "evenly":
        return [
            "--layers.choose says which layers a layers:N keeps, but --layers.keep names them. Leave one of them out."
        ]
    if layers.start == "svd" and layers.hidden is None:
        return ["--layers.start svd says how a narrower student starts. Give --layers.hidden too, or leave it out."]
    return []


def changed(options: Any, prefix: str) -> list[str]:
    """The flags of a group of options that differ from their defaults.

    Example:
        >>> changed(StaticOptions(hidden=0), "static")
        ['--static.hidden']
    """
    plain = type(options)()
    names = [f.name for f in dataclasses.fields(options)]
    return [f"--{prefix}.{name}" for name in names if getattr(options, name) != getattr(plain, name)]


def _unused(spec: str, kind: str, options: Sequence[Any], more: Sequence[str] = ()) -> list[str]:
    flags = [flag for group in options if group.name != kind for flag in changed(group, group.name)]
    return [f"--student {spec} does not use {flag}. Leave it out." for flag in [*flags, *more]]


def _table_faults(tokenizer: str, embeddings: str) -> list[str]:
    """What is wrong with the values of ``--tokenizer`` and ``--embeddings``."""
    faults: list[str] = []
    if tokenizer not in _TOKENIZERS:
        with gathered(faults):
            parse_spec(tokenizer)
        faults = [fault + nearest(tokenizer, _TOKENIZERS) for fault in faults]
    if embeddings not in EMBEDDINGS and not Path(embeddings).expanduser().is_file():
        faults.append(
            f"embeddings must be {', '.join(EMBEDDINGS)} or a file of word vectors, but there is no file {embeddings!r}.{nearest(embeddings, EMBEDDINGS)}"
        )
    return faults


def _named_faults(spec: str) -> list[str]:
    """What is wrong with a student that is a model folder or a hub id."""
    if Path(spec).expanduser().exists() or "/" in spec:
        return model_faults(spec)
    named = ", ".join(options.name for options in TABLE_STUDENTS)
    return [
        f"student must be {named}, layers:N, a model folder or a hub id such as org/name, but is {spec!r}.{nearest(spec, STUDENTS)}"
    ]


def _albert_faults(albert: AlbertOptions) -> list[str]:
    faults = []
    if albert.share not in ("mean", "none") and not albert.share.isdecimal():
        faults.append(
            f"albert.share must be mean, none or the number of one of the teacher's layers, but is {albert.share!r}.{nearest(albert.share, ('mean', 'none'))}"
        )
    if albert.start == "random" and albert.share.isdecimal():
        faults.append(
            "--albert.share names the layer that the shared block starts from, but --albert.start random takes nothing from the teacher. Leave one of them out."
        )
    return faults
