"""``understudy pretrain``: a language model, new or already trained, on raw text."""

from __future__ import annotations

from understudy.data.readers.corpus import Corpus
from understudy.data.tasks import metric_faults
from understudy.errors import ConfigError
from understudy.functional.metrics import LANGUAGE_MODEL_METRICS
from understudy.models.language import LanguageKind, language_kind
from understudy.recipes.train.pretrain.adapted import AdaptedWords
from understudy.recipes.train.pretrain.causal import Blocks, Streams
from understudy.recipes.train.pretrain.masked import HiddenWords
from understudy.recipes.train.pretrain.work import LanguageWork
from understudy.runs.inputs import read_texts
from understudy.runs.skeleton import TrainingRecipe
from understudy.settings.train.pretrain import NEW, PretrainSettings

_WORKS: dict[LanguageKind, type[LanguageWork]] = {"recurrent": Streams, "causal": Blocks, "masked": HiddenWords}


class Pretrain(TrainingRecipe, PretrainSettings):
    """Train a language model on raw text, or adapt one to the texts of a domain; the fields are the flags."""

    def read(self) -> Corpus:
        """Read and check the texts."""
        return read_texts(self, seed=self.seed)

    def prepare(self, data: Corpus) -> LanguageWork:
        """Build or load the model, and encode the texts for it."""
        if faults := metric_faults(self.metric, LANGUAGE_MODEL_METRICS):
            raise ConfigError(*faults)
        kind = "recurrent" if self.model == NEW else language_kind(self.model)
        faults = [] if kind == "masked" else self.masking_faults()
        faults += [] if kind == "recurrent" else self.regularising_faults()
        if self.adapts and kind != "masked":
            faults.append(
                f"--adapter is for a masked language model, which {self.model} is not. Leave it out, or name an encoder."
            )
        if faults:
            raise ConfigError(*faults)
        return AdaptedWords(self, data) if self.adapts else _WORKS[kind](self, data)
