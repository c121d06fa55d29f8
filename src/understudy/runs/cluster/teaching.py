"""A teacher on every machine of a Ray cluster: batches of texts go out, their logits come back."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.errors import ModelError, require
from understudy.objectives.teachers.cached import TextBatch, answer_batch
from understudy.objectives.teachers.load import load_teacher
from understudy.runs.cluster.connection import connected
from understudy.runs.cluster.machines import check_machines
from understudy.runs.cluster.parts import answered_parts
from understudy.terminal.lines import show

_PART_TEXTS = 256
"""Texts of a part, at least: handing one out takes some hundredths of a second."""


class SameTeacher(NamedTuple):
    """What finds a teacher on another machine, and tells it from others of its name."""

    name: str
    """A run, a model folder or a hub id."""
    task: Task
    max_length: int | None
    """Tokens that it reads of a text; None for as many as it was trained with."""
    of_several: str | None
    """Of a model for several tasks, the one that teaches."""
    fingerprint: str
    """That of the model where the command was given."""
    means: bool
    """Whether the means of the last states follow its outputs."""


class TeacherOfParts:
    """A teacher, loaded where this is made.

    Args:
        teacher: which one it must be.
        threads: that it computes with.

    Raises:
        ModelError: if it cannot be loaded here, or is another model.
    """

    def __init__(self, teacher: SameTeacher, threads: int) -> None:
        torch.set_num_threads(threads)
        name, task, length, of_several, fingerprint, self.means = teacher
        self.model = load_teacher(name, task, max_length=length, of_several=of_several).model
        if self.model.fingerprint() != fingerprint:
            raise ModelError(
                f"{name}: is another model than where the command was given. Put it on storage that all machines of the cluster share."
            )
        if torch.cuda.is_available():
            self.model.to("cuda")

    def __call__(self, batches: list[TextBatch]) -> list[np.ndarray]:
        """The answers for each batch: float32 ``(texts, width)``."""
        return [answer_batch(self.model, Texts.of(batch), means=self.means) for batch in batches]


def taught_on_ray(
    teacher: SameTeacher, batches: Iterable[tuple[int, TextBatch]]
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Have numbered batches answered by a teacher on every core of a cluster.

    An actor has one thread, as a worker of :meth:`understudy.objectives.teachers.cached.CachedTeacher.label` has, so that on
    machines of one kind the bits are the same.

    Yields:
        The number of a batch and its answers, in any order.

    Raises:
        UnderstudyError: if the cluster cannot be joined, or a machine lacks what is needed.
    """
    with connected() as cluster:
        check_machines(require("ray", extra="cluster"))
        show(f"  labelling on {cluster.line}")
        numbers = dict[int, list[int]]()
        parts = ((number, work) for number, (numbers[number], work) in enumerate(_grouped(batches)))
        with closing(answered_parts(cluster, partial(TeacherOfParts, teacher, 1), parts, threads=1)) as done:
            for part, answers in done:
                yield from zip(numbers[part], answers, strict=True)


def _grouped(batches: Iterable[tuple[int, TextBatch]]) -> Iterator[tuple[list[int], list[TextBatch]]]:
    """Batches in a row, until they have enough texts for a part.

    Example:
        >>> [(numbers, len(some)) for numbers, some in _grouped((n, [("a",)] * 200) for n in range(3))]
        [([0, 1], 2), ([2], 1)]
    """
    numbers, some, texts = list[int](), list[TextBatch](), 0
    for number, batch in batches:
        numbers.append(number)
        some.append(batch)
        texts += len(batch)
        if texts >= _PART_TEXTS:
            yield numbers, some
            numbers, some, texts = [], [], 0
    if some:
        yield numbers, some
