"""``understudy finetune``: a transformer, a linear layer on a frozen one, or TF-IDF."""

from __future__ import annotations

from understudy.data.splits import Splits
from understudy.errors import ConfigError
from understudy.recipes.train.finetune.adapted import Adapted
from understudy.recipes.train.finetune.classification import TfidfBaseline
from understudy.recipes.train.finetune.frozen import FrozenEncoder
from understudy.recipes.train.finetune.transformer import Transformer
from understudy.runs.inputs import read_rows
from understudy.runs.skeleton import TrainingRecipe, Work
from understudy.runs.subject import metric_faults
from understudy.settings.train.finetune import FinetuneSettings


class Finetune(TrainingRecipe, FinetuneSettings):
    """Train a pretrained transformer on labelled rows, or one of two cheap baselines; the fields are the flags."""

    def read(self) -> Splits:
        """Read and check the rows."""
        return read_rows(self, seed=self.seed, metric=self.metric)

    def prepare(self, data: Splits) -> Work:
        """Load and check the model."""
        if faults := metric_faults(self.metric, data.task.metrics):
            raise ConfigError(*faults)
        if self.model == "tfidf":
            return TfidfBaseline(self, data)
        if self.adapts:
            return Adapted(self, data)
        return (FrozenEncoder if self.features == "frozen" else Transformer)(self, data)
