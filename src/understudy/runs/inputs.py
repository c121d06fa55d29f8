"""The data that a recipe's settings name, read and checked."""

from __future__ import annotations

from understudy.data.readers.corpus import Corpus, load_corpus
from understudy.data.readers.sources import load_splits
from understudy.data.splits import Splits
from understudy.settings.data import CorpusSettings, DataSettings


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
    """
    return load_splits(
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
    ).selected_by(metric)


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
