"""``understudy finetune``: a transformer, a linear layer on a frozen one, or TF-IDF."""

from __future__ import annotations

from understudy.data.splits import Splits
from understudy.data.tasks import metric_faults
from understudy.errors import ConfigError
from understudy.recipes.train.finetune.adapted import Adapted
from understudy.recipes.train.finetune.classification import TfidfBaseline
from understudy.recipes.train.finetune.contrast import ContrastiveEncoder, choose_for
from understudy.recipes.train.finetune.frozen import FrozenEncoder
from understudy.recipes.train.finetune.transformer import Transformer
from understudy.runs.inputs import read_rows
from understudy.runs.skeleton import TrainingRecipe, Work
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
        if self.features == "frozen":
            return FrozenEncoder(self, data)
        if self.contrastive == "always":
            return ContrastiveEncoder(self, data)
        work = Transformer(self, data)
        if self.contrastive == "never":
            return work
        choice = choose_for(self, data, work.model, work.start, work.names)
        if choice.contrastive:
            return ContrastiveEncoder(self, data, why=choice.why)
        work.why_no_pairs = choice.why
        return work
