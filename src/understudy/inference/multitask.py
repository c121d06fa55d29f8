"""A model for several tasks, ready for raw text: one of its tasks answers at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from understudy.data.tasks import Task
from understudy.data.tokens.encoder import Text
from understudy.errors import ModelError, nearest
from understudy.inference.predictor import Predictor
from understudy.models.files.multitask import TrainedTasks


class TaskPredictors(Mapping[str, Predictor]):
    """The tasks of one model, by name: ``understudy.load(folder)["sst2"].predict(["a text"])``.

    All of them use one encoder, unless the model was trained with soft sharing; it is in memory once.
    """

    def __init__(self, trained: TrainedTasks, *, name: str = "this model") -> None:
        self.trained, self.name = trained, name
        self._known: dict[str, Predictor] = {}

    @property
    def tasks(self) -> Mapping[str, Task]:
        """What each task answers."""
        return self.trained.tasks

    def __getitem__(self, name: str) -> Predictor:
        """The model of one task.

        Raises:
            KeyError: if there is no such task. :meth:`task` says so in a sentence.
        """
        if name not in self._known:
            trained = self.trained
            model = trained.model.task(name)
            self._known[name] = Predictor(
                model,
                trained.tokenizer,
                trained.tasks[name],
                trained.max_length,
                temperature=trained.temperatures.get(name, 1.0),
            )
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.trained.tasks)

    def __len__(self) -> int:
        return len(self.trained.tasks)

    def task(self, name: str) -> Predictor:
        """The model of one task.

        Raises:
            ModelError: if there is no such task.
        """
        if name not in self.tasks:
            raise ModelError(
                f"{self.name}: was not trained for a task '{name}', only for {', '.join(self)}.{nearest(name, self)}"
            )
        return self[name]

    def predict(self, texts: Sequence[Text]) -> NoReturn:
        """Refuse: which task is meant must be said.

        Raises:
            ModelError: always.
        """
        raise self._unnamed("predict")

    def encode(self, texts: Sequence[Text]) -> NoReturn:
        """Refuse, as :meth:`predict` does.

        Raises:
            ModelError: always.
        """
        raise self._unnamed("encode")

    def _unnamed(self, method: str) -> ModelError:
        first = next(iter(self))
        return ModelError(
            f"{self.name}: was trained for several tasks ({', '.join(self)}). Name one: model[{first!r}].{method}(texts), or --task {first}."
        )
