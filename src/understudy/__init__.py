"""Understudy: train small language models to stand in for large ones, and show the evidence.

The recipes are dataclasses with a ``run()``; :func:`load` reads whatever they wrote.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.loading import load as load
    from understudy.loading import register as register
    from understudy.recipes.choose.bench import Bench as Bench
    from understudy.recipes.choose.params import Params as Params
    from understudy.recipes.train.demo import Demo as Demo
    from understudy.recipes.use.fill_mask import FillMask as FillMask
    from understudy.recipes.use.generate import Generate as Generate
    from understudy.recipes.use.predict import Predict as Predict
    from understudy.record import RunRecord as RunRecord
    from understudy.settings.choose.lr_find import FindForFinetune as FindForFinetune
    from understudy.settings.choose.lr_find import FindForPretrain as FindForPretrain
    from understudy.settings.train.distill import Distill as Distill
    from understudy.settings.train.distill_lm import DistillLM as DistillLM
    from understudy.settings.train.finetune import Finetune as Finetune
    from understudy.settings.train.pretrain import Pretrain as Pretrain

__version__ = "0.1.0"

_PUBLIC = {
    "Bench": "understudy.recipes.choose.bench",
    "Demo": "understudy.recipes.train.demo",
    "Distill": "understudy.settings.train.distill",
    "DistillLM": "understudy.settings.train.distill_lm",
    "FillMask": "understudy.recipes.use.fill_mask",
    "FindForFinetune": "understudy.settings.choose.lr_find",
    "FindForPretrain": "understudy.settings.choose.lr_find",
    "Finetune": "understudy.settings.train.finetune",
    "Generate": "understudy.recipes.use.generate",
    "Params": "understudy.recipes.choose.params",
    "Predict": "understudy.recipes.use.predict",
    "Pretrain": "understudy.settings.train.pretrain",
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
