"""Whether a student can be compared with the inside of its teacher, and in how many heads."""

from __future__ import annotations

import math
from typing import Any

from understudy.errors import gathered
from understudy.models.shrink.cut import layer_count
from understudy.models.structure.blocks import scores_are_products, vector_width
from understudy.models.structure.layers import base_model
from understudy.settings.train.distill_lm import DistillLMSettings

_RELATION_HEADS, _RELATION_WIDTH = 48, 8
"""The most heads that relations are cut into (as in MiniLMv2 for models of width 768), and the smallest width of one."""


def matching_faults(settings: DistillLMSettings, student: Any, teacher: Any) -> list[str]:
    """Faults of losses that compare what student and teacher do not both have."""
    models, faults = (student, teacher), []
    if settings.attention_weight:
        faults += _attention_faults(models)
    layers = layer_count(teacher)
    if settings.relation_layer is not None and settings.relation_layer >= layers:
        faults.append(
            f"relation_layer must be one of the teacher's layers, 0 to {layers - 1}, but is {settings.relation_layer}."
        )
    with gathered(faults):
        widths = vector_widths(settings, *models)
        if settings.relation_heads and any(width % settings.relation_heads for width in widths):
            faults.append(
                f"relation_heads must divide the widths of student and teacher, {widths[0]} and {widths[1]}, but is {settings.relation_heads}. For example: {common_heads(*widths)}."
            )
    return faults


def _attention_faults(models: tuple[Any, Any]) -> list[str]:
    heads = [base_model(model).config.num_attention_heads for model in models]
    if heads[0] != heads[1]:
        return [
            f"--attention_weight compares head with head, but the student has {heads[0]} and the teacher {heads[1]}. Leave it at 0 and give --relation_weight, which depends on neither heads nor widths."
        ]
    return [
        f"--attention_weight needs scores that are products of queries and keys alone, but those of a '{model.config.model_type}' model have more in them. Leave it at 0 and give --relation_weight."
        for model in models
        if not scores_are_products(model)
    ]


def vector_widths(settings: DistillLMSettings, student: Any, teacher: Any) -> tuple[int, int]:
    """The widths of the queries where relations are compared, otherwise 1: not every model shows its queries."""
    return (vector_width(student), vector_width(teacher)) if settings.relation_weight else (1, 1)


def common_heads(*widths: int) -> int:
    """The largest number of heads that divides all widths, at most MiniLMv2's, each at least 8 wide.

    Example:
        >>> common_heads(384, 768), common_heads(312, 768), common_heads(7, 9)
        (48, 24, 1)
    """
    common = math.gcd(*widths)
    most = min(_RELATION_HEADS, max(1, min(widths) // _RELATION_WIDTH))
    return max(heads for heads in range(1, most + 1) if common % heads == 0)
