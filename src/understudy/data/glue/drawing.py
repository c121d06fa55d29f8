"""Which training rows of a task of GLUE are used."""

from __future__ import annotations

import numpy as np

from understudy.data.glue.tasks import GlueTask
from understudy.data.readers.faults import Faults
from understudy.data.splits import Rows
from understudy.data.subsets import draw_rows


def check_limit(task: GlueTask, limit: int | None, faults: Faults) -> None:
    """Add a fault if fewer rows are asked for than the task has classes."""
    classes = len(task.labels)
    if limit is not None and limit < classes:
        faults.add(
            f"{task.name}: --limit_train {limit} is fewer rows than there are classes ({classes}). Draw at least one of each."
        )


def drawn(rows: Rows, limit: int | None, seed: int, notes: list[str]) -> Rows:
    """So many rows, balanced over the classes; all of them without a limit.

    Args:
        notes: is told what was drawn.
    """
    if limit is None:
        return rows
    if limit >= len(rows):
        notes.append(f"train: all {len(rows):,} labelled rows are used, --limit_train asks for {limit:,}.")
        return rows
    single = rows.labels.dtype.kind == "i"
    chosen = draw_rows(np.arange(len(rows)), rows.labels if single else None, limit, seed)
    how = f"balanced over {len(np.unique(rows.labels))} classes" if single else "at random"
    notes.append(f"train: {limit:,} of {len(rows):,} labelled rows were drawn {how} (seed {seed}).")
    return rows.take(chosen)
