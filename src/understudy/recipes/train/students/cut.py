"""A student cut from its teacher, as the settings describe it."""

from __future__ import annotations

from typing import Any

from understudy.models.shrink.cut import choose_layers, cut_layers, layer_count, random_copy
from understudy.models.shrink.narrow import narrow
from understudy.settings.student_options import LayersOptions


def cut_student(whole: Any, spec: str, layers: LayersOptions) -> Any:
    """The teacher with some of its layers, narrower if asked for, with its weights or random ones."""
    keep = layers.keep or choose_layers(layer_count(whole), int(spec.split(":")[1]), layers.choose)
    student = cut_layers(whole, keep)
    if layers.hidden is not None:
        return narrow(student, layers.hidden, start="units" if layers.start == "teacher" else layers.start)
    return random_copy(student) if layers.start == "random" else student
