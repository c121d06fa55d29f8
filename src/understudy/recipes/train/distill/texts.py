"""The texts that a student learns from: training rows, the pool, varied copies."""

from __future__ import annotations

from functools import partial

import numpy as np

from understudy.data.augment.augment import VERSION, augment
from understudy.data.readers.faults import counted
from understudy.data.splits import Splits
from understudy.data.tasks import NO_LABEL
from understudy.data.texts import Texts
from understudy.objectives.teachers.teacher import Teacher
from understudy.settings.train.distill import AugmentationOptions


def real_texts(splits: Splits) -> Texts:
    """Training texts and the pool, in this order: what vocabularies and embeddings are made from."""
    return Texts.concat([part for part in (splits.train.texts, splits.unlabeled) if part is not None])


def all_texts(splits: Splits, *, copies: int, options: AugmentationOptions, mask_token: str, notes: list[str]) -> Texts:
    """Training texts, the pool, and the varied copies, in this order: what a teacher answers for.

    Args:
        copies: varied copies of each training text; they are cached.
        mask_token: replaces masked words in the copies.
        notes: is told of copies that have become a text of the validation or the test split. They are left out.
    """
    train, parts = splits.train.texts, [real_texts(splits)]
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
        held_out = [rows.texts.keys() for rows in (splits.validation, splits.test) if rows is not None]
        free = np.flatnonzero(~np.isin(made.keys(), np.concatenate(held_out)))
        if number := len(made) - len(free):
            notes.append(
                f"--augment: {counted(number, 'varied text')} left out: the text is in the validation or the test split."
            )
            made = made.take(free)
        if len(made):
            parts.append(made)
    return Texts.concat(parts)


def said_of_pool(pool: int, copies: int, *, alpha: float) -> str:
    """What there is beside the training rows, for the plan.

    Example:
        >>> said_of_pool(1500, 0, alpha=0.5), said_of_pool(0, 40, alpha=0)
        ('1,500 texts without labels', '0 texts without labels, and 40 varied copies of training texts')
    """
    said = f"{pool:,} texts without labels"
    if copies:
        said += f", and {copies:,} varied copies of training texts"
    return f"{said}, which teach nothing at --alpha 1" if alpha == 1 and pool else said


def said_of_left_out(texts: int, *, alpha: float) -> str:
    """A sentence about texts from which nothing is learnt."""
    why = "no label, which alone teaches at --alpha 1"
    if alpha < 1:
        why = "neither a teacher's answer nor a label to learn from"
    return f"student: {texts:,} texts have {why}, and are left out."


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
