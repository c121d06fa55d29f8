"""``understudy distill-lm``: one small pretrained model from a larger one and raw text, to be fine-tuned for anything."""

from __future__ import annotations

from understudy.data.readers.corpus import Corpus
from understudy.recipes.train.distill_lm.work import LanguageDistillation
from understudy.runs.inputs import read_texts
from understudy.runs.skeleton import TrainingRecipe
from understudy.settings.train.distill_lm import DistillLMSettings


class DistillLM(TrainingRecipe, DistillLMSettings):
    """Train a small masked language model to read and predict as its teacher does, from raw text alone.

    The student is built and taught; the weights that are best on the validation texts are kept; both are compared.
    """

    def read(self) -> Corpus:
        """Read and check the texts."""
        return read_texts(self, seed=self.seed)

    def prepare(self, data: Corpus) -> LanguageDistillation:
        """Load the teacher, build the student, encode the texts for both."""
        return LanguageDistillation(self, data)
