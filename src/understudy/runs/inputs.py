"""The data that a recipe's settings name, read and checked."""

from __future__ import annotations

import dataclasses
from typing import Any

from understudy.data.glue.read import glue_there, look_for_files
from understudy.data.glue.tasks import ALL, glue_task
from understudy.data.readers.corpus import Corpus, load_corpus
from understudy.data.readers.first_look import looks_wrong
from understudy.data.readers.sources import load_splits
from understudy.data.splits import Splits
from understudy.data.tasks import metric_faults
from understudy.errors import DataError, gathered
from understudy.settings.data import CorpusSettings, DataSettings
from understudy.settings.train.glue import GlueSettings


def read_rows(
    settings: DataSettings,
    *,
    seed: int,
    metric: str | None = None,
    unlabeled: str | None = None,
    pool_rest: bool = False,
    allow_unlabelled: bool = False,
) -> Splits:
    """Labelled rows; see :func:`understudy.data.readers.sources.load_splits`.

    Args:
        metric: comes first among the task's, so that it selects models and heads the reports.

    Raises:
        DataError: with every fault that was found.
        ConfigError: if there are weights for classes that there are not.
    """
    splits = load_splits(
        settings.data,
        train=settings.train,
        validation=settings.validation,
        test=settings.test,
        unlabeled=unlabeled,
        text=settings.text,
        label=settings.label,
        kind=settings.kind,
        limit_train=settings.limit_train,
        seed=seed,
        pool_rest=pool_rest,
        allow_unlabelled=allow_unlabelled,
        reading=settings.reading,
    )
    return splits.selected_by(metric).weighted(settings.class_weights)


def read_texts(settings: CorpusSettings, *, seed: int) -> Corpus:
    """Raw text; see :func:`understudy.data.readers.corpus.load_corpus`.

    Raises:
        DataError: with every fault that was found.
    """
    return load_corpus(
        settings.data,
        train=settings.train,
        validation=settings.validation,
        test=settings.test,
        text=settings.text,
        limit_train=settings.limit_train,
        seed=seed,
        reading=settings.reading,
    )


def look_first(settings: Any, *, whole: bool = False) -> None:
    """Refuse data whose paths and columns are certain to be refused, with every other fault of it. No torch is loaded.

    Args:
        whole: read the data even if they look right: there are other faults to be reported with theirs.

    Raises:
        DataError: with every fault that was found.
    """
    if isinstance(settings, GlueSettings):
        _look_at_tasks(settings)
        return
    if not isinstance(settings, DataSettings | CorpusSettings) or getattr(settings, "embeddings_only", False):
        return
    labelled = isinstance(settings, DataSettings)
    pool = getattr(settings, "unlabeled", None)
    files = {"train": settings.train, "validation": settings.validation, "test": settings.test}
    wrong = whole or looks_wrong(
        settings.data,
        files,
        unlabeled=pool,
        text=settings.text,
        label=(settings.label or ()) if isinstance(settings, DataSettings) else (),
        labelled=labelled,
        reading=settings.reading,
    )
    if wrong and isinstance(settings, DataSettings):
        if isinstance(settings.limit_train, list):  # compare's, of which each run has one
            settings = dataclasses.replace(settings, limit_train=max(settings.limit_train, default=None))
        # rows without a label are faults of those commands alone that have no pool
        read_rows(settings, seed=0, unlabeled=pool, allow_unlabelled=hasattr(settings, "unlabeled"))
    elif wrong and isinstance(settings, CorpusSettings):
        read_texts(settings, seed=0)


def _look_at_tasks(settings: GlueSettings) -> None:
    """The same for tasks of GLUE, whose files and metrics are known."""
    if settings.data is None or settings.submission is not None:
        return
    if settings.names() == [ALL]:
        glue_there(settings.data)
        return
    own, faults = settings.own_tasks(), list[str]()
    for name in settings.names():
        if name not in own and (task := glue_task(name)):
            faults += metric_faults(settings.metric, task.metrics)
            with gathered(faults):
                look_for_files(settings.data, name)
    if faults:
        raise DataError(*faults)
