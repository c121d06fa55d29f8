"""Words that the teacher draws once: what does an epoch cost without it, what do they weigh, and how far off is the gradient?

The step is that of ``distill-lm`` with soft targets and masked words, a teacher of six layers and a student of three. Its
gradient is compared with that of the teacher's whole distribution, on the same texts under the same masks: relative error
of one step, and of the mean over many, which falls towards zero if the draws are right on average. Draws that lie evenly
are compared with independent ones.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distilbert import BATCH, LENGTH, STUDENT, TEACHER
from evidence import Setting, begin, fresh_cache, in_turn, target, train, write

TEXTS, ROUNDS = 320, 5
COUNTS = (4, 16, 64, 256)
"""Words a hidden token."""
TIMED = 64
DRAWS = 32
"""Times that words are drawn for one batch."""
GRADIENT_TEXTS = 16


def prepared(setting: Setting, count: int, texts: int) -> Any:
    """Teacher, student and texts."""
    from understudy.recipes.train.distill_lm.recipe import DistillLM

    recipe = DistillLM(
        data=setting.data("wikipedia_en"),
        limit_train=texts,
        teacher=TEACHER,
        student=STUDENT,
        batch_size=BATCH,
        max_length=LENGTH,
        cosine_weight=0.0,
        teacher_words=count,
        mask_rounds=1,
    )
    return recipe.prepare(recipe.read())


def drawn(work: Any, count: int) -> dict[str, Any]:
    """Have the teacher draw its words: seconds, and bytes a token of the text."""
    import time

    from understudy.objectives.teachers.drawing import Drawing
    from understudy.objectives.teachers.drawn import DrawnBatches

    texts, masking = work.texts.parts["train"], work.texts.batches.masking
    drawing = Drawing(
        work.taught,
        texts,
        masking,
        names=work.texts.names,
        count=count,
        temperature=work.settings.temperature,
        precision="no",
    )
    start = time.perf_counter()
    with fresh_cache(), tempfile.TemporaryDirectory() as scratch:
        draws = drawing.draw(0, max_tokens=work.texts.max_tokens, scratch=Path(scratch))
    work.drawn = DrawnBatches(work.texts.batches)
    work.drawn.rounds = [draws]
    return {"seconds": time.perf_counter() - start, "bytes_a_token": draws.table.nbytes / len(texts.ids)}


def epochs(work: Any, rounds: int) -> dict[str, list[float]]:
    """Seconds of an epoch with the teacher at work, and with its words alone, in turn."""

    def epoch(batches: Any) -> Callable[[], float]:
        return lambda: train(work.objective, batches, epochs=1, learning_rate=1e-5, terms=work.objective.terms).seconds

    return in_turn({"teacher at work": epoch(work.batches), "its words": epoch(work.drawn)}, rounds=rounds)


def gradient_errors(work: Any, counts: tuple[int, ...], draws: int) -> list[dict[str, Any]]:
    """Relative errors of the soft targets' gradient, of one step and of the mean over many."""
    import numpy as np

    from understudy.data.tasks import NO_LABEL
    from understudy.functional.drawn_words import draw_words, drawn_kl
    from understudy.functional.logit_distances import forward_kl

    model, temperature = work.model.eval(), work.settings.temperature
    batch = work.texts.batches.batch(np.arange(GRADIENT_TEXTS), 0)
    chosen = batch.labels != NO_LABEL
    states = work.objective._look(batch.inputs).last[chosen]
    logits = work.objective.head(states)
    teacher = work.taught.head(work.taught(batch.inputs).last[chosen]).detach()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def gradient(loss: Tensor) -> Tensor:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return torch.cat([part.flatten() for part in found if part is not None]).double()

    exact = gradient(forward_kl(logits, teacher, temperature=temperature).mean())
    generator = torch.Generator().manual_seed(0)

    def even(count: int) -> tuple[Tensor, Tensor]:
        offsets = torch.rand(len(teacher), generator=generator, dtype=torch.float64)
        return draw_words(teacher, offsets, count=count, temperature=temperature)

    def independent(count: int) -> tuple[Tensor, Tensor]:
        likely = (teacher / temperature).softmax(-1)
        words = torch.multinomial(likely, count, replacement=True, generator=generator)
        return words, torch.distributions.Categorical(likely).entropy()

    rows = []
    for count in counts:
        for name, draw in (("even", even), ("independent", independent)):
            total, errors = torch.zeros_like(exact), []
            for _ in range(draws):
                words, entropy = draw(count)
                found = gradient(drawn_kl(logits, words, entropy, temperature=temperature).mean())
                errors.append(((found - exact).norm() / exact.norm()).item())
                total += found / draws
            mean = ((total - exact).norm() / exact.norm()).item()
            rows.append({"count": count, "draws": name, "error": statistics.fmean(errors), "error_of_the_mean": mean})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Seconds first, then gradients."""
    setting = begin(__doc__)
    texts = setting.pick(TEXTS, 64)
    work = prepared(setting, TIMED, texts)
    reading = drawn(work, TIMED)
    measured = epochs(work, setting.pick(ROUNDS, 1))
    seconds = {name: statistics.median(times) for name, times in measured.items()}
    share = seconds["its words"] / seconds["teacher at work"]
    draws = setting.pick(DRAWS, 3)
    errors = gradient_errors(work, COUNTS[: setting.pick(len(COUNTS), 2)], draws)
    largest = max(row["error_of_the_mean"] / (row["error"] / draws**0.5) for row in errors)
    write(
        setting,
        "drawn_words",
        question=__doc__ or "",
        config={
            "teacher": "minilm-mlm",
            "student": STUDENT,
            "texts": texts,
            "batch_size": BATCH,
            "max_length": LENGTH,
            "words_timed": TIMED,
            "words": COUNTS,
            "draws": draws,
        },
        raw={"seconds": measured, "reading": reading, "gradients": errors},
        summary={
            "epoch_without_over_with_the_teacher": share,
            "bytes_a_token": reading["bytes_a_token"],
            "whole_distribution_bytes_a_token": reading["bytes_a_token"]
            * 4
            * work.objective.head.vocabulary
            / work.drawn.rounds[0].table.itemsize,
            "reading_over_an_epoch_with_the_teacher": reading["seconds"] / seconds["teacher at work"],
        },
        targets=[
            target("an epoch on drawn words over one with the teacher at work", share, at_most=1.0),
            # of independent errors the mean's is 1 of these units
            target("error of the mean gradient over its expectation if unbiased", largest, at_most=1.5),
        ],
    )


if __name__ == "__main__":
    main()
