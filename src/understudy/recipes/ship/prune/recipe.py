"""``understudy prune``: heads, neurons, words and small weights that a trained model does without."""

from __future__ import annotations

from understudy.data.splits import Splits
from understudy.errors import DataError
from understudy.recipes.ship.exportable import rows_of_run
from understudy.recipes.ship.prune.work import Pruning
from understudy.runs.inputs import read_rows
from understudy.runs.skeleton import TrainingRecipe
from understudy.settings.ship.prune import PruneSettings


class Prune(TrainingRecipe, PruneSettings):
    """Remove attention heads, neurons, words or small weights of a trained model, and train what is left."""

    def read(self) -> Splits:
        """Read and check the rows: those that are named, or those of the run that trained the model.

        Raises:
            DataError: if they cannot be read, or are not there any more.
        """
        if self.data is not None or self.train is not None:
            return read_rows(
                self,
                seed=self.seed,
                metric=self.metric,
                unlabeled=self.unlabeled,
                allow_unlabelled=self.recovery == "distill",
            )
        found = rows_of_run(self.model)
        if found is None:
            raise DataError(
                f"{self.model}: the rows of the run that trained it are not there. Name labelled rows with --data."
            )
        return found.selected_by(self.metric)

    def prepare(self, data: Splits) -> Pruning:
        """Load and check the model, drop the words that are not used."""
        return Pruning(self, data)
