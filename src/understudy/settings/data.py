"""The settings that say what a command reads: labelled rows, raw text, and what of it is hidden."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Gt, Le


@dataclass(kw_only=True)
class DataSettings:
    """Where the rows come from."""

    data: str | None = None
    """Labelled rows: a file, a folder of splits, or a hub data set."""
    train: str | None = None
    """A training file (instead of, or over, what --data has)."""
    validation: str | None = None
    """A validation file. Without one, a tenth of the training rows is cut off by the seed."""
    test: str | None = None
    """A test file: read once, at the end."""
    text: list[str] = field(default_factory=list)
    """Text columns: one name, two for a pair, `title+description` to join; found by themselves if named as usual."""
    label: str | None = None
    """The label column; found by itself if named as usual."""
    kind: Literal["single_label", "multi_label", "regression"] | None = None
    """What the labels are; by default seen from the column."""
    limit_train: Annotated[int, Gt(0)] | None = None
    """Use only so many training rows, drawn by the seed, balanced over the classes."""

    def data_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        if self.data is None and self.train is None:
            return ["no data: name a file, a folder or a hub data set with --data (or a file with --train)."]
        return []

    def load(
        self, *, seed: int, unlabeled: str | None = None, pool_rest: bool = False, allow_unlabelled: bool = False
    ) -> Any:
        """Read and check everything; see :func:`understudy.data.readers.sources.load_splits`."""
        from understudy.data.readers.sources import load_splits

        return load_splits(
            self.data,
            train=self.train,
            validation=self.validation,
            test=self.test,
            unlabeled=unlabeled,
            text=self.text,
            label=self.label,
            kind=self.kind,
            limit_train=self.limit_train,
            seed=seed,
            pool_rest=pool_rest,
            allow_unlabelled=allow_unlabelled,
        )


@dataclass(kw_only=True)
class CorpusSettings:
    """Where raw text comes from."""

    data: str | None = None
    """Texts: a file (one text a line, or a table), a folder of train, validation and test files, or a hub data set."""
    train: str | None = None
    """A file of training texts (instead of, or over, what --data has)."""
    validation: str | None = None
    """A file of validation texts. Without one, a tenth of the training texts, 2,000 at most, is cut off by the seed."""
    test: str | None = None
    """A file of test texts: read once, at the end."""
    text: list[str] = field(default_factory=list)
    """The text column of tables, `title+description` to join some; found by itself if named as usual."""
    limit_train: Annotated[int, Gt(0)] | None = None
    """Use only so many training texts, drawn by the seed."""

    def data_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        if self.data is None and self.train is None:
            return ["no texts: name a file, a folder or a hub data set with --data (or a file with --train)."]
        return []

    def load(self, *, seed: int) -> Any:
        """Read and check everything; see :func:`understudy.data.readers.corpus.load_corpus`."""
        from understudy.data.readers.corpus import load_corpus

        return load_corpus(
            self.data,
            train=self.train,
            validation=self.validation,
            test=self.test,
            text=self.text,
            limit_train=self.limit_train,
            seed=seed,
        )


@dataclass(kw_only=True)
class MaskingSettings:
    """How texts become rows for a masked language model, and what of them is hidden."""

    blocks: Literal["line", "pack"] = "line"
    """For a masked language model: a text a row, cut at --max_length; or texts packed into rows of that length, kept apart."""
    mask_probability: Annotated[float, Gt(0), Le(0.5)] = 0.15
    """For a masked language model: the share of the tokens that it must guess, drawn anew each epoch."""
    whole_words: bool = False
    """For a masked language model: hide all the pieces of a word together."""
    mask_rounds: Annotated[int, Gt(0)] | None = None
    """For a masked language model: epochs after which the same masks come again (default: never)."""

    def masking_given(self) -> list[str]:
        """The names of these settings that are not as they come."""
        return [f.name for f in dataclasses.fields(MaskingSettings) if getattr(self, f.name) != f.default]
