"""The texts that a student learns from: training rows, the pool, varied copies."""

from __future__ import annotations

from functools import partial

import numpy as np

from understudy.data.augment.augment import VERSION, augment
from understudy.data.splits import Splits
from understudy.data.tasks import NO_LABEL
from understudy.data.texts import Texts
from understudy.objectives.teachers.teacher import Teacher
from understudy.settings.train.distill import AugmentationOptions


def all_texts(splits: Splits, *, copies: int, options: AugmentationOptions, mask_token: str) -> Texts:
    """Training texts, the pool, and the varied copies, in this order.

    Args:
        copies: varied copies of each training text; they are cached.
        mask_token: replaces masked words in the copies.
    """
    train = splits.train.texts
    parts = [train]
    if splits.unlabeled is not None:
        parts.append(splits.unlabeled)
    if copies:
        make = partial(
            augment,
            train,
            copies=copies,
            seed=options.seed,
            mask_probability=options.mask,
            swap_probability=options.swap,
            ngram_probability=options.ngram,
            mask_token=mask_token,
        )
        made = Texts.cached(f"copies {VERSION} of {train.fingerprint}: {make.keywords}", make)
        if len(made):
            parts.append(made)
    return Texts.concat(parts)


def all_labels(known: np.ndarray, texts: int) -> np.ndarray:
    """The labels of the training rows, followed by missing ones up to the number of texts.

    Args:
        known: as :class:`understudy.data.splits.Rows` has them.

    Example:
        >>> all_labels(np.array([1, 0]), 3).tolist()
        [1, 0, -100]
    """
    missing = NO_LABEL if known.dtype.kind == "i" else np.nan
    out = np.full((texts, *known.shape[1:]), missing, known.dtype)
    out[: len(known)] = known
    return out


def answered(teacher: Teacher, texts: int) -> np.ndarray:
    """Whether a teacher has an answer for each of the texts, bool ``(texts,)``."""
    found: np.ndarray = ~teacher(np.arange(texts)).isnan().any(-1).numpy()
    return found


def taught_rows(known: np.ndarray, labelled: np.ndarray, *, from_labels: bool) -> np.ndarray:
    """The numbers of the texts that something is learnt from: those with a teacher's answer, or with a label.

    Args:
        known: whether each text has an answer.
        labelled: whether each of the first texts has a label.
        from_labels: whether labels are learnt from.

    Example:
        >>> known, labelled = np.array([True, False, False, True]), np.array([True, True])
        >>> taught_rows(known, labelled, from_labels=True).tolist(), taught_rows(known, labelled, from_labels=False).tolist()
        ([0, 1, 3], [0, 3])
    """
    useful = known.copy()
    if from_labels:
        useful[np.flatnonzero(labelled)] = True
    return np.flatnonzero(useful)
