"""What does labelling once save? Five epochs with the cached teacher against the same loop with the online teacher."""

from __future__ import annotations

import copy
import statistics
import time
from typing import Any

import numpy as np
import torch

from ag_news import same_rows, teacher
from evidence import Setting, begin, fresh_cache, in_turn, target, train, write

ROWS = 2000
EPOCHS = 5
ROUNDS = 2
MAX_LENGTH = 256
STUDENTS = ("static", "bilstm")
BATCH_SIZE = 32


class Lesson:
    """One student, one teacher, the first rows of AG News."""

    def __init__(self, setting: Setting, student: str) -> None:
        import understudy
        from understudy.data.readers.sources import load_splits
        from understudy.data.tokens.encode import input_names
        from understudy.recipes.train.students.classifier import build_student
        from understudy.settings.student_options import BiLSTMOptions, LayersOptions, StaticOptions

        taught_by = teacher(setting)
        self.rows = setting.pick(ROWS, 64)
        taken = load_splits(same_rows(setting)).train.take(np.arange(self.rows))
        self.texts, self.labels = taken.texts, taken.labels
        self.predictor = understudy.load(taught_by)
        self.student = build_student(
            student,
            self.predictor.task,
            teacher=taught_by,
            texts=self.texts,
            tokenizer="teacher",
            embeddings="teacher",
            options=[BiLSTMOptions(), StaticOptions(), LayersOptions()],
            seed=0,
        )
        self.names = input_names(self.student.model, self.student.tokenizer)

    def _encoded(self) -> Any:
        from understudy.data.tokens.encode import encode

        return encode(self.texts, self.student.tokenizer, max_length=MAX_LENGTH)

    def _batches(self, taught_by: Any) -> Any:
        from understudy.data.batches.bucketed import BucketedBatches
        from understudy.inference.logits import token_budget

        return BucketedBatches(
            self._encoded(),
            self.labels,
            names=self.names,
            batch_size=BATCH_SIZE,
            max_tokens=token_budget("cpu"),
            seed=0,
            teacher=taught_by,
        )

    def _fit(self, taught_by: Any, epochs: int) -> Any:
        from understudy.functional.logit_distances import logit_mse
        from understudy.objectives.distill import DistillClassifier

        objective = DistillClassifier(copy.deepcopy(self.student.model), "single_label", logit_mse, alpha=0.0)
        return train(objective, self._batches(taught_by), epochs=epochs, learning_rate=self.student.learning_rate)

    def _online(self) -> Any:
        from understudy.objectives.teachers.teacher import OnlineTeacher

        return OnlineTeacher(self.predictor.model, self._encoded(), self.predictor.names)

    def cached(self, epochs: int = EPOCHS) -> dict[str, float]:
        """Seconds of the whole job from an empty cache, and the texts that went through the teacher; then once more."""
        from understudy.objectives.teachers.cached import CachedTeacher

        with fresh_cache():
            start = time.perf_counter()
            known = CachedTeacher.label(self.predictor, self.texts)
            self._fit(known, epochs)
            seconds = time.perf_counter() - start
            again = CachedTeacher.label(self.predictor, self.texts)
        return {
            "seconds": seconds,
            "forward_texts": known.forward_texts,
            "second_run": again.forward_texts,
            "distinct": known.distinct_texts,
        }

    def online(self) -> dict[str, float]:
        """Seconds of the same job with the teacher called for every batch of every epoch."""
        with fresh_cache():
            start = time.perf_counter()
            taught_by = self._online()
            self._fit(taught_by, EPOCHS)
            return {"seconds": time.perf_counter() - start, "forward_texts": taught_by.forward_texts}

    def teacher_alone(self) -> float:
        """T: seconds a row of the teacher over the batches of an epoch, with nothing around it."""
        with fresh_cache():
            taught_by = self._online()
            batches = self._batches(taught_by)
            start = time.perf_counter()
            for _ in batches.windows(0):
                pass
            return (time.perf_counter() - start) / self.rows

    def student_alone(self) -> float:
        """s: seconds a row of the student's training, the answers being in memory."""
        with fresh_cache():
            self._encoded()
            answers = torch.zeros(self.rows, self.predictor.task.outputs)
            return self._fit(lambda rows: answers[rows], 1).seconds / self.rows


def main() -> None:
    """Both students, all four measurements in turn."""
    setting = begin(__doc__)
    raw: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    targets = []
    for student in STUDENTS:
        lesson = Lesson(setting, student)
        one_epoch = lesson.cached(epochs=1)
        contenders = {
            "teacher alone": lesson.teacher_alone,
            "student alone": lesson.student_alone,
            "cached": lesson.cached,
            "online": lesson.online,
        }
        found = in_turn(contenders, rounds=setting.pick(ROUNDS, 1))
        t, s = (statistics.median(found[name]) for name in ("teacher alone", "student alone"))
        cached, online = (statistics.median(run["seconds"] for run in found[name]) for name in ("cached", "online"))
        ideal = EPOCHS * (t + s) / (t + EPOCHS * s)
        counts = {run["forward_texts"] for run in found["cached"]} | {one_epoch["forward_texts"]}
        raw[student] = {"one_epoch": one_epoch, **found}
        summary[student] = {
            "T_ms_a_row": 1000 * t,
            "s_ms_a_row": 1000 * s,
            "cached_s": cached,
            "online_s": online,
            "speedup": online / cached,
            "ideal_speedup": ideal,
            "share_of_ideal": online / cached / ideal,
            "forward_texts": sorted(counts),
            "distinct_texts": one_epoch["distinct"],
        }
        once = max(abs(count - one_epoch["distinct"]) for count in counts)
        again = max(run["second_run"] for run in found["cached"])
        targets += [
            target(f"{student}: speedup at {EPOCHS} epochs over the ideal one", online / cached / ideal, at_least=0.9),
            target(f"{student}: texts forwarded more or less than once, at 1 and at {EPOCHS} epochs", once, at_most=0),
            target(f"{student}: texts forwarded in the second run", again, at_most=0),
        ]
        if student == "static":
            targets.append(target("static: speedup", online / cached, at_least=3.0))
        write(
            setting,
            "teacher_cache",
            question=__doc__ or "",
            config={
                "rows": lesson.rows,
                "epochs": EPOCHS,
                "rounds": setting.pick(ROUNDS, 1),
                "batch_size": BATCH_SIZE,
                "ideal": "5 (T + s) / (T + 5 s)",
                "what_is_timed": "encoding, labelling and training from an empty cache; medians over the rounds",
            },
            raw=raw,
            summary=summary,
            targets=targets,
            complete=student == STUDENTS[-1],
        )


if __name__ == "__main__":
    main()
