"""Understudy: train small language models to stand in for large ones, and show the evidence.

The recipes are dataclasses with a ``run()``; :func:`load` reads whatever they wrote.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from understudy.commands import COMMANDS
from understudy.version import VERSION

if TYPE_CHECKING:
    from understudy.loading import load as load
    from understudy.loading import load_base as load_base
    from understudy.loading import register as register
    from understudy.recipes.choose.bench import Bench as Bench
    from understudy.recipes.choose.compare.recipe import Compare as Compare
    from understudy.recipes.choose.lr_find import FindForFinetune as FindForFinetune
    from understudy.recipes.choose.lr_find import FindForPretrain as FindForPretrain
    from understudy.recipes.choose.params import Params as Params
    from understudy.recipes.choose.report import Report as Report
    from understudy.recipes.choose.search.recipe import Search as Search
    from understudy.recipes.ship.adapter_export import AdapterExport as AdapterExport
    from understudy.recipes.ship.adapter_folders import AdapterAverage as AdapterAverage
    from understudy.recipes.ship.adapter_folders import AdapterInfo as AdapterInfo
    from understudy.recipes.ship.adapter_folders import AdapterList as AdapterList
    from understudy.recipes.ship.adapter_folders import AdapterMerge as AdapterMerge
    from understudy.recipes.ship.export import Export as Export
    from understudy.recipes.ship.import_adapter import ImportAdapter as ImportAdapter
    from understudy.recipes.ship.import_fastai import ImportFastai as ImportFastai
    from understudy.recipes.ship.prune.recipe import Prune as Prune
    from understudy.recipes.ship.push import Push as Push
    from understudy.recipes.ship.quantize import Quantize as Quantize
    from understudy.recipes.ship.serve import Serve as Serve
    from understudy.recipes.train.demo import Demo as Demo
    from understudy.recipes.train.distill.recipe import Distill as Distill
    from understudy.recipes.train.distill_lm.recipe import DistillLM as DistillLM
    from understudy.recipes.train.finetune.recipe import Finetune as Finetune
    from understudy.recipes.train.glue.recipe import Glue as Glue
    from understudy.recipes.train.pipeline import Pipeline as Pipeline
    from understudy.recipes.train.pretrain.recipe import Pretrain as Pretrain
    from understudy.recipes.use.estimators import TextClassifier as TextClassifier
    from understudy.recipes.use.estimators import TextRegressor as TextRegressor
    from understudy.recipes.use.fill_mask import FillMask as FillMask
    from understudy.recipes.use.generate import Generate as Generate
    from understudy.recipes.use.predict import Predict as Predict
    from understudy.record import RunRecord as RunRecord

__version__ = VERSION

_PUBLIC = {
    **{row.public: f"understudy.recipes.{row.recipe.split(':')[0]}" for row in COMMANDS if row.recipe},
    "RunRecord": "understudy.record",
    "TextClassifier": "understudy.recipes.use.estimators",
    "TextRegressor": "understudy.recipes.use.estimators",
    "load": "understudy.loading",
    "load_base": "understudy.loading",
    "register": "understudy.loading",
}
__all__ = [*_PUBLIC, "__version__"]


def __dir__() -> list[str]:
    """The public names, for completion, before they are imported."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``import understudy`` stays instant."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'understudy' has no attribute '{name}'")
