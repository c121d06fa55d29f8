"""The work behind ``understudy distill-lm``; :class:`understudy.settings.train.distill_lm.DistillLM` reads as its summary."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import nn

from understudy.data.batches.bucketed import BatchSource
from understudy.data.readers.corpus import Corpus
from understudy.data.tasks import Task
from understudy.data.tokens.encode import encode_in_memory
from understudy.data.tokens.encoder import TextEncoder
from understudy.errors import ConfigError, gathered
from understudy.functional.metrics import DISTANCE, LANGUAGE_MODEL_METRICS
from understudy.inference.logits import parameter_summary
from understudy.inference.predictor import Predictor
from understudy.models.files.load import save_model
from understudy.models.masked import load_masked
from understudy.models.shrink.cut import layer_count
from understudy.models.structure.blocks import scores_are_products, vector_width
from understudy.models.structure.layers import base_model, evaluating
from understudy.models.students.pooled import PooledClassifier
from understudy.objectives.distill_lm import DistillMaskedLM, matched_depths
from understudy.objectives.masked_lm import MaskedLM
from understudy.objectives.teachers.drawn import DrawnBatches
from understudy.objectives.teachers.language import LanguageTeacher, TaughtBatch, TaughtBatches
from understudy.recipes.train.distill_lm.drawn_words import drawing_line, drawn_words
from understudy.recipes.train.pretrain.masked_texts import MaskedTexts
from understudy.recipes.train.pretrain.pretraining import plan_lines, unknown_notes
from understudy.recipes.train.students.language import build_language_student
from understudy.record import RunRecord
from understudy.report.numbers import human_bytes
from understudy.report.tables import ALONE, STUDENT, TEACHER
from understudy.runs import session as workbench
from understudy.runs.learning import compiled, learning_plan
from understudy.runs.plans import say_plan
from understudy.runs.reading import text_length
from understudy.runs.session import Session, finish, metric_faults
from understudy.settings.train.distill_lm import DistillLM
from understudy.training.stages import FitResult

START = "student before training"
"""What the record calls the student as it was cut or built: what that has, no training need be thanked for."""

_RELATION_HEADS, _RELATION_WIDTH = 48, 8
"""The most heads that relations are cut into (as in MiniLMv2 for models of 768), and the least width of one."""
_MEASURED_TEXTS = 512
_SOME_TEXTS = 2000
"""That the embeddings of an ALBERT start from: some hundred thousand tokens, a few seconds."""


class LanguageDistillation:
    """A teacher, a student, and texts that both read, with everything checked that can be checked before training."""

    kind = "masked_language_model"

    def __init__(self, recipe: DistillLM, corpus: Corpus) -> None:
        self.recipe, self.corpus = recipe, corpus
        # without a loss over words the student's head learns nothing, and how well it guesses says nothing
        self.by_distance = not (recipe.ce_weight or recipe.mlm_weight)
        self.metrics = (DISTANCE, *LANGUAGE_MODEL_METRICS) if self.by_distance else LANGUAGE_MODEL_METRICS
        faults = metric_faults(recipe, self.metrics)
        torch.manual_seed(recipe.seed)
        with gathered(faults):
            found = load_masked(recipe.teacher)
            if found.note is not None and recipe.ce_weight:
                faults.append(
                    f"{recipe.teacher}: has no trained masked-LM head, so that it has no words to teach. Train it first (understudy pretrain --model {recipe.teacher}), or set --ce_weight 0 and learn from its states."
                )
            self.teacher, self.tokenizer = found.model, found.tokenizer
            student = build_language_student(
                recipe.student,
                self.teacher,
                self.tokenizer,
                layers=recipe.layers,
                albert=recipe.albert,
                seed=recipe.seed,
                teacher_has_head=found.note is None,
                texts=self._some_texts,
            )
            self.model = student.model
            # before the objective looks into the student: its eyes would be copied too
            self.alone = copy.deepcopy(self.model) if recipe.baseline else None
            faults += matching_faults(recipe, self.model, self.teacher)
        if faults:
            raise ConfigError(*faults)
        self.learning_rate, self.fresh = student.learning_rate, student.fresh
        self.texts = MaskedTexts(recipe, corpus.texts(), [self.model, self.teacher], self.tokenizer)
        self.headless = self.by_distance and student.random_head
        untrained = "nothing trains the student's masked-LM head: it is saved without one." if self.headless else None
        self.notes = [
            *(note for note in (found.note, student.note, untrained) if note),
            *self.texts.notes,
            *unknown_notes(self.texts.parts, self.tokenizer, remedy="give a teacher that reads such texts"),
        ]
        self.objective = self._objective()
        wanted = self.objective.wanted()
        self.taught = LanguageTeacher(self.teacher, hidden=wanted["hidden"], vectors=wanted["vectors"])
        self.batches = TaughtBatches(self.texts.batches, self.taught)
        self.drawn = DrawnBatches(self.texts.batches) if recipe.teacher_words else None
        self.plan = learning_plan(self.objective, recipe, learning_rate=self.learning_rate)
        self.groups = self.plan.with_own_rates
        # the one without teacher has masked words for its only term
        self.terms = list(dict.fromkeys([*self.objective.terms, *(["masked_lm"] if recipe.baseline else [])]))

    def _some_texts(self) -> list[torch.Tensor]:
        """Token ids of training texts at even distances."""
        texts = self.corpus.train
        some = texts.take(np.linspace(0, len(texts) - 1, min(_SOME_TEXTS, len(texts)), dtype=np.int64))
        length = text_length(self.teacher, self.tokenizer, self.recipe.max_length)
        encoded = encode_in_memory(TextEncoder(self.tokenizer, max_length=length), some)
        return [torch.from_numpy(encoded.row(i)) for i in range(len(encoded))]

    def say_plan(self) -> None:
        """Print teacher and student, texts, tokens, steps, time and memory."""
        teacher, student = parameter_summary(self.teacher), parameter_summary(self.model)
        share = student["parameters"] / teacher["parameters"]
        said = {
            "teacher": f"{self.recipe.teacher}, {teacher['parameters']:,} parameters",
            "student": f"{self.recipe.student}, {student['parameters']:,} parameters ({share:.0%})",
        }
        if self.drawn is not None:
            said["draws"] = drawing_line(self)
        said |= plan_lines(self.plan, self.batches, self.texts.parts, self.recipe, rows=self.texts.rows)
        if self.alone is not None:
            said["baseline"] = "then as many steps again without the teacher, which is not in the time above"
        said["memory"] += f"; {human_bytes(teacher['size_bytes'])} of memory more for the teacher"
        say_plan(said)

    def train(self, session: Session) -> dict[str, FitResult]:
        """Score teacher and student as they are, then teach the student; a copy of it learns without, if asked for.

        Returns:
            What came of each student, by its name; they end with their best weights.
        """
        self.teacher.to(session.device)
        self.objective.to(session.device)
        self.taught.autocast = session.accelerator.autocast
        for name, model in ((TEACHER, self.teacher), (START, self.model)):
            if session.run.writes and all(entry["name"] != name for entry in session.run.record.models):
                self._describe(session, name, model, self._scores(session, model, "validation"))
        with compiled(self.teacher, self.recipe):
            if self.drawn is not None:
                self.drawn.rounds = drawn_words(self, session)
            share = 1.0 if self.alone is None else 0.5
            results = {STUDENT: self._fit(session, STUDENT, self.objective, self.drawn or self.batches, share=share)}
        if self.drawn is None:
            session.run.record.teacher_forward_texts = results[STUDENT].rows
        if self.alone is not None:
            results[ALONE] = self._fit(session, ALONE, MaskedLM(self.alone), self.texts.batches)
        return results

    def _fit(
        self, session: Session, phase: str, objective: nn.Module, batches: BatchSource, *, share: float = 1.0
    ) -> FitResult:
        """Train one of the students, within a share of the time that is left."""
        remaining = session.stop.remaining()
        return session.fit(
            objective,
            batches,
            phase=phase,
            validation=lambda model: self._scores(session, model, "validation"),
            learning_rate=self.learning_rate,
            fresh=self.fresh,
            budget_s=None if remaining is None else max(remaining, 0.0) * share,
        )

    def conclude(self, session: Session, results: dict[str, FitResult]) -> RunRecord:
        """Save the student, read the test texts once, write the report."""
        if session.run.writes:
            shipped = base_model(self.model) if self.headless else self.model
            save_model(session.run.folder / "model", shipped, self.tokenizer, task=None, max_length=self.texts.length)
            models = {STUDENT: self.model, ALONE: self.alone}
            for name, result in results.items():
                self._describe(session, name, models[name], {metric: result.metrics[metric] for metric in self.metrics})
        return finish(session)

    def _objective(self) -> DistillMaskedLM:
        recipe, models = self.recipe, (self.model, self.teacher)
        layers, others = (layer_count(model) for model in models)
        depths = matched_depths(layers, others)
        return DistillMaskedLM(
            self.model,
            teacher_head=LanguageTeacher(self.teacher).head,
            teacher_width=self.teacher.config.hidden_size,
            pad_id=self.texts.parts["train"].pad_id,
            weights=recipe.weights(),
            temperature=recipe.temperature,
            ce_positions=recipe.ce_positions,
            depths=depths,
            # a block's attention is matched where its output is
            attention=[(ours - 1, theirs - 1) for ours, theirs in depths[1:] if theirs],
            heads=base_model(self.teacher).config.num_attention_heads,
            relation=(layers - 1, others - 1 if recipe.relation_layer is None else recipe.relation_layer),
            relation_heads=recipe.relation_heads or _common_heads(*_vector_widths(recipe, *models)),
        )

    def _scores(self, session: Session, model: Any, part: str) -> dict[str, float]:
        found = self.texts.scores(model, part, session.device)
        if not self.by_distance:
            return found
        return {DISTANCE: self._distance(part, session.device) if model is self.model else 0.0, **found}

    def _distance(self, part: str, device: torch.device) -> float:
        """The objective's own value on a part of the corpus."""
        sums, counts = dict[str, float](), dict[str, int]()
        with evaluating(self.objective), torch.no_grad():
            for batch in self.texts.shown(part):
                for name, count in batch.counts.items():
                    counts[name] = counts.get(name, 0) + count
                for term in self.objective(TaughtBatch(**vars(batch), teacher=self.taught).to(device)):
                    sums[term.per] = sums.get(term.per, 0.0) + term.weight * term.sum.item()
        return sum(value / max(counts[name], 1) for name, value in sums.items())

    def _describe(self, session: Session, name: str, model: Any, validation: dict[str, float]) -> None:
        """Put a model on the record: its scores, its size, and, unless it is as fast as another, how fast it reads."""
        metrics = {"validation": validation}
        if self.corpus.test is not None:
            with session.run.timed("evaluate_s"):
                metrics["test"] = self._scores(session, model, "test")
        cost: dict[str, Any] = {}
        if name in (STUDENT, TEACHER):
            with session.run.timed("bench_s"):
                cost = workbench.measure(self._reader(model, session), self._sample())
        entry = {"name": name, "model_type": model.config.model_type, **cost, **parameter_summary(model)}
        known = {entry["name"]: entry for entry in session.run.record.models} | {name: {**entry, "metrics": metrics}}
        session.run.record.models = [known[key] for key in (STUDENT, ALONE, START, TEACHER) if key in known]
        session.run.save()
        session.heed()

    def _reader(self, model: Any, session: Session) -> Predictor:
        """The encoder, from raw text to the mean of its last states: what every later use of it costs at least."""
        encoder = base_model(model)
        width = encoder.config.hidden_size
        pooled = PooledClassifier.assemble(encoder, torch.eye(width), torch.zeros(width)).to(session.device)
        task = Task(text=(("text",),), label="", kind="multi_label", labels=tuple(map(str, range(width))))
        return Predictor(pooled, self.tokenizer, task, self.texts.length)

    def _sample(self) -> list[tuple[str, ...]]:
        texts = self.corpus.validation
        return [texts[i] for i in range(min(_MEASURED_TEXTS, len(texts)))]


def matching_faults(recipe: DistillLM, student: Any, teacher: Any) -> list[str]:
    """What of a teacher's inside, which the weights ask for, this student cannot be compared with."""
    models, faults = (student, teacher), []
    if recipe.attention_weight:
        faults += _attention_faults(models)
    layers = layer_count(teacher)
    if recipe.relation_layer is not None and recipe.relation_layer >= layers:
        faults.append(
            f"relation_layer must be one of the teacher's layers, 0 to {layers - 1}, but is {recipe.relation_layer}."
        )
    with gathered(faults):
        widths = _vector_widths(recipe, *models)
        if recipe.relation_heads and any(width % recipe.relation_heads for width in widths):
            faults.append(
                f"relation_heads must divide the widths of student and teacher, {widths[0]} and {widths[1]}, but is {recipe.relation_heads}. For example: {_common_heads(*widths)}."
            )
    return faults


def _attention_faults(models: tuple[Any, Any]) -> list[str]:
    heads = [base_model(model).config.num_attention_heads for model in models]
    if heads[0] != heads[1]:
        return [
            f"--attention_weight compares head with head, but the student has {heads[0]} and the teacher {heads[1]}. Leave it at 0 and give --relation_weight, which minds neither heads nor widths."
        ]
    return [
        f"--attention_weight needs scores that are products of queries and keys alone, but those of a '{model.config.model_type}' are more. Leave it at 0 and give --relation_weight."
        for model in models
        if not scores_are_products(model)
    ]


def _vector_widths(recipe: DistillLM, student: Any, teacher: Any) -> tuple[int, int]:
    """Of queries, where relations are wanted; they cannot be found in every model."""
    return (vector_width(student), vector_width(teacher)) if recipe.relation_weight else (1, 1)


def _common_heads(*widths: int) -> int:
    """The most heads that divide all widths, within MiniLMv2's number and none narrower than need be.

    Example:
        >>> _common_heads(384, 768), _common_heads(312, 768), _common_heads(7, 9)
        (48, 24, 1)
    """
    common = math.gcd(*widths)
    most = min(_RELATION_HEADS, max(1, min(widths) // _RELATION_WIDTH))
    return max(heads for heads in range(1, most + 1) if common % heads == 0)
