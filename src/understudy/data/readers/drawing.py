"""Which training rows are used where fewer are asked for than there are."""

from __future__ import annotations

import numpy as np

from understudy.data.readers.faults import Faults
from understudy.data.splits import Rows
from understudy.data.subsets import draw_rows


def check_classes(limit: int | None, classes: int, faults: Faults, *, of: str = "") -> None:
    """Add a fault if fewer rows are asked for than there are classes.

    Args:
        of: what they are the classes of, before the message.
    """
    if limit is not None and limit < classes:
        faults.add(
            f"{of}--limit_train {limit} is fewer rows than there are classes ({classes}). Draw at least one of each."
        )


def draw(rows: Rows, limit: int | None, seed: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the training rows in use, and of the labelled rows not in use. Unlabelled rows are always used."""
    everything = np.arange(len(rows))
    labelled = np.flatnonzero(rows.labelled)
    if limit is None:
        return everything, everything[:0]
    if limit >= len(labelled):
        notes.append(f"train: all {len(labelled):,} labelled rows are used, --limit_train asks for {limit:,}.")
        return everything, everything[:0]
    assert rows.labels is not None
    single = rows.labels.dtype.kind == "i"
    drawn = draw_rows(labelled, rows.labels[labelled] if single else None, limit, seed)
    how = f"balanced over {len(np.unique(rows.labels[labelled]))} classes" if single else "at random"
    notes.append(f"train: {limit:,} of {len(labelled):,} labelled rows were drawn {how} (seed {seed}).")
    left_out = np.setdiff1d(labelled, drawn, assume_unique=True)
    return np.setdiff1d(everything, left_out, assume_unique=True), left_out
