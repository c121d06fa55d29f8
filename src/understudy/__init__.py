"""Understudy: train small language models to stand in for large ones, and show the evidence.

The recipes are dataclasses with a ``run()``; :func:`load` reads whatever they wrote.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.loading import load as load
    from understudy.loading import register as register
    from understudy.recipes.bench import Bench as Bench
    from understudy.recipes.demo import Demo as Demo
    from understudy.recipes.distill import Distill as Distill
    from understudy.recipes.distill_lm import DistillLM as DistillLM
    from understudy.recipes.fill_mask import FillMask as FillMask
    from understudy.recipes.finetune import Finetune as Finetune
    from understudy.recipes.generate import Generate as Generate
    from understudy.recipes.lr_find import FindForFinetune as FindForFinetune
    from understudy.recipes.lr_find import FindForPretrain as FindForPretrain
    from understudy.recipes.params import Params as Params
    from understudy.recipes.predict import Predict as Predict
    from understudy.recipes.pretrain import Pretrain as Pretrain
    from understudy.record import RunRecord as RunRecord

__version__ = "0.1.0"

_PUBLIC = {
    "Bench": "understudy.recipes.bench",
    "Demo": "understudy.recipes.demo",
    "Distill": "understudy.recipes.distill",
    "DistillLM": "understudy.recipes.distill_lm",
    "FillMask": "understudy.recipes.fill_mask",
    "FindForFinetune": "understudy.recipes.lr_find",
    "FindForPretrain": "understudy.recipes.lr_find",
    "Finetune": "understudy.recipes.finetune",
    "Generate": "understudy.recipes.generate",
    "Params": "understudy.recipes.params",
    "Predict": "understudy.recipes.predict",
    "Pretrain": "understudy.recipes.pretrain",
    "RunRecord": "understudy.record",
    "load": "understudy.loading",
    "register": "understudy.loading",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``import understudy`` stays instant."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'understudy' has no attribute '{name}'")
