"""What a command reads: labelled rows, raw text, and which tokens of it are masked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt, Le

from understudy.data.class_weights import class_weight_faults
from understudy.data.readers.formats.reading import Reading, reading_faults
from understudy.settings.flags import Shown


@dataclass(kw_only=True)
class ReadingSettings:
    """How files are read, where their names and bytes do not say it."""

    group: ClassVar[str] = "Data"
    separator: Annotated[str | None, Shown("SIGN|tab|comma|semicolon|bar", rare=True)] = None
    """What separates the columns of csv, tsv and txt tables (found from their rows)."""
    columns: Annotated[list[str], Shown("COLUMN", rare=True)] = field(default_factory=list)
    """Names of the columns, in order, of tables without a header line."""
    encoding: Annotated[str | None, Shown("NAME", rare=True)] = None
    """Encoding of files of text, such as cp1252 (UTF-8, or what their byte-order mark says)."""

    @property
    def reading(self) -> Reading:
        """The three as one."""
        return Reading.of(self.separator, self.columns, self.encoding)

    def texts_faults(self, *, read: bool, flags: Sequence[str] = (), files: str = "--texts") -> list[str]:
        """What is wrong with the flags on how a file of texts is read.

        Args:
            read: whether there is such a file.
            flags: those that are about it as well, besides the three.
            files: the flags that name it.
        """
        given = [name for name in (*flags, "separator", "columns", "encoding") if getattr(self, name)]
        unused = [] if read else given
        return reading_faults(self.reading) + [
            f"--{name} says how {files} is read, but there is no such file. Name one, or leave --{name} out."
            for name in unused
        ]


@dataclass(kw_only=True)
class DataSettings(ReadingSettings):
    """Where the labelled rows come from."""

    group: ClassVar[str] = "Data"
    rows_in: ClassVar[tuple[str, ...]] = ("data", "train", "validation", "test")
    """Settings that may also be rows in Python: data frames, lists, data sets."""
    data: Annotated[str | None, Shown("PATH", required=True)] = None
    """Labelled rows: a file, a folder of splits, an archive of either, or a hub data set."""
    train: Annotated[str | None, Shown("FILE")] = None
    """Training rows, instead of those of --data."""
    validation: Annotated[str | None, Shown("FILE")] = None
    """Validation rows (a tenth of the training rows, held out at random)."""
    test: Annotated[str | None, Shown("FILE")] = None
    """Test rows: read once, at the end."""
    text: Annotated[list[str], Shown("COLUMN")] = field(default_factory=list)
    """Text columns: one, two for a pair, `title+description` to join some (found by their usual names)."""
    label: Annotated[list[str] | None, Shown("COLUMN")] = None
    """The label column, or several of 0 and 1, one for each label (found by its usual name)."""
    kind: Annotated[Literal["single_label", "multi_label", "regression"] | None, Shown(rare=True)] = None
    """What the labels are (as the column shows)."""
    limit_train: Annotated[int, Gt(0)] | None = None
    """Use only N training rows, drawn by the seed, balanced over the classes."""
    class_weights: Annotated[list[str], Shown("X", rare=True)] = field(default_factory=list)
    """balanced, or CLASS=X for some classes: what a row counts in losses, TF-IDF and probes (1)."""

    def data_read(self) -> list[str]:
        """The names of the data that the command reads."""
        return [name for name in (self.data, self.train, self.validation, self.test) if name is not None]

    def data_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        if self.data is None and self.train is None:
            return [
                "no data: name a file, a folder or a hub data set with --data (or a file with --train).",
                *reading_faults(self.reading),
                *class_weight_faults(self.class_weights),
            ]
        return reading_faults(self.reading) + class_weight_faults(self.class_weights)


@dataclass(kw_only=True)
class CorpusSettings(ReadingSettings):
    """Where raw text comes from."""

    group: ClassVar[str] = "Data"
    rows_in: ClassVar[tuple[str, ...]] = ("data", "train", "validation", "test")
    """Settings that may also be rows in Python: data frames, lists, data sets."""
    data: Annotated[str | None, Shown("PATH", required=True)] = None
    """Texts: a file (one text a line, or a table), a folder of train, validation and test files, or a hub data set."""
    train: Annotated[str | None, Shown("FILE")] = None
    """Training texts, instead of those of --data."""
    validation: Annotated[str | None, Shown("FILE")] = None
    """Validation texts (a tenth of the training texts, at most 2,000, held out at random)."""
    test: Annotated[str | None, Shown("FILE")] = None
    """Test texts: read once, at the end."""
    text: Annotated[list[str], Shown("COLUMN")] = field(default_factory=list)
    """The text column of tables, `title+description` to join some (found by its usual name)."""
    limit_train: Annotated[int, Gt(0)] | None = None
    """Use only N training texts, drawn by the seed."""

    def data_read(self) -> list[str]:
        """The names of the data that the command reads."""
        return [name for name in (self.data, self.train, self.validation, self.test) if name is not None]

    def data_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        if self.data is None and self.train is None:
            return [
                "no texts: name a file, a folder or a hub data set with --data (or a file with --train).",
                *reading_faults(self.reading),
            ]
        return reading_faults(self.reading)


@dataclass(kw_only=True)
class MaskingSettings:
    """How texts become rows for a masked language model, and which of their tokens are masked."""

    group: ClassVar[str] = "Method"
    blocks: Annotated[Literal["line", "pack"], Shown(rare=True)] = "line"
    """Masked language models: line makes each text a row, cut at --max_length; pack fills rows of that length with several texts, kept apart."""
    mask_probability: Annotated[float, Gt(0), Le(0.5)] = 0.15
    """Masked language models: share of the tokens that are masked, drawn again in each epoch."""
    whole_words: bool = False
    """Masked language models: mask all pieces of a word together."""
    mask_rounds: Annotated[int, Gt(0), Shown(rare=True)] | None = None
    """Masked language models: repeat the masks after N epochs (never)."""

    def masking_given(self) -> list[str]:
        """The names of these settings that differ from their defaults."""
        return [f.name for f in dataclasses.fields(MaskingSettings) if getattr(self, f.name) != f.default]
