"""What ``understudy distill --embeddings_only`` uses of the settings of ``distill``: no labels, and no training in steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.data.readers.formats.reading import reading_faults
from understudy.data.readers.places.names import is_held
from understudy.settings.configuration import given
from understudy.settings.models import model_faults

_USED = {
    *("teacher", "embeddings_only", "unlabeled", "text", "separator", "columns", "encoding", "max_length"),
    *("static.embedding", "output", "overwrite", "resume", "dry_run", "seed", "threads", "quiet"),
}
"""Settings that say something about an embedding model."""


def embeddings_faults(settings: Any) -> list[str]:
    """What is wrong with the settings of a distillation without labels, as far as it shows without reading anything."""
    faults = reading_faults(settings.reading)
    if len(settings.teacher) != 1:
        faults.append(
            "--embeddings_only is of one encoder. Name one with --teacher: a model folder, a run or a hub id."
        )
    for name in settings.teacher:
        faults += model_faults(name)
    pool = settings.unlabeled
    if isinstance(pool, str) and not is_held(pool) and not Path(pool).expanduser().exists():
        faults.append(f"{pool}: no such file. Check the path of --unlabeled.")
    if settings.student != "static" and settings.student != type(settings)().student:
        faults.append(f"--embeddings_only makes a static model, so --student {settings.student} is left out.")
    if idle := [name for name in given(settings) if name not in _USED and name != "student"]:
        flags = ", ".join(f"--{name}" for name in idle)
        why = " Texts without labels are named with --unlabeled." if {"data", "train"} & set(idle) else ""
        faults.append(f"{flags}: nothing is trained on labels with --embeddings_only. Leave it out.{why}")
    return faults
