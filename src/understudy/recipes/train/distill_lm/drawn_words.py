"""A teacher that reads once (``distill-lm --teacher_words``): its readings, the record of them, and the plan in words."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

from accelerate.utils import broadcast_object_list

from understudy.errors import ConfigError
from understudy.objectives.teachers.drawing import Drawing, Draws
from understudy.recipes.train.pretrain.masked_texts import NAMES
from understudy.report.numbers import human_bytes

if TYPE_CHECKING:
    from understudy.recipes.train.distill_lm.distillation import LanguageDistillation
    from understudy.runs.session import Session


def drawn_words(work: LanguageDistillation, session: Session) -> list[Draws]:
    """What the teacher draws under the masks of every round, or has drawn before.

    Raises:
        ConfigError: if the time budget ends before; what is drawn by then is kept for ``--resume``.
    """
    drawing, record = _drawing(work, session.accelerator.mixed_precision), session.run.record
    scratch, main = session.run.folder / "teacher_words", session.accelerator.is_main_process
    rounds, texts = _rounds(work), len(work.texts.parts["train"])
    drawn = dict.fromkeys(range(rounds), 0)
    found: list[Draws] = []

    def on_texts(number: int, count: int) -> None:
        if f"masks {number}" not in record.answered_before:  # what this run has drawn counts, whenever it was killed
            record.answered_before[f"masks {number}"] = count
            session.run.save()
        drawn[number] = count
        session.display.update(sum(drawn.values()))

    def ends() -> bool:
        return session.stop.signal_number is not None or session.stop.out_of_time()

    session.display.start("teacher draws", rounds * texts)
    with session.run.timed("draw_words_s"):
        for number in range(rounds):
            draw = partial(drawing.draw, number, max_tokens=work.texts.max_tokens, scratch=scratch)
            draws = draw(on_texts=partial(on_texts, number), should_stop=ends) if main else None
            ended = [draws is None]
            broadcast_object_list(ended)
            session.heed()
            if ended[0]:
                raise ConfigError(
                    f"the time budget ended when the teacher had drawn words for {sum(drawn.values()):,} of {rounds * texts:,} texts; they are kept. Go on with the same command, --output {session.run.folder}, --resume and a longer --time_budget."
                )
            draws = draws or draw()  # all there by now
            assert draws is not None
            found.append(draws)
    session.display.close()
    before = [record.answered_before.get(f"masks {number}", 0) for number in drawn]
    record.teacher_forward_texts = sum(drawn.values()) - sum(before)
    if session.run.writes:
        session.run.save()
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def drawing_line(work: LanguageDistillation) -> str:
    """What will be drawn, for the plan."""
    recipe, rounds = work.recipe, _rounds(work)
    tokens = rounds * len(work.texts.parts["train"].ids) * recipe.mask_probability
    size = human_bytes(round(tokens * _drawing(work, "no").bytes_a_token))
    line = f"{recipe.teacher_words} words for each hidden token, {rounds} times; about {size} on disk"
    return line + "; the time below is that of a teacher at work in every epoch" * (rounds < work.plan.epochs)


def _rounds(work: LanguageDistillation) -> int:
    """How often the teacher reads the texts: under each mask that the epochs, those of all stages, come to."""
    epochs = work.plan.epochs
    return min(epochs, work.recipe.mask_rounds or epochs)


def _drawing(work: LanguageDistillation, precision: str) -> Drawing:
    assert work.recipe.teacher_words is not None
    return Drawing(
        work.taught,
        work.texts.parts["train"],
        work.texts.batches.masking,
        names=NAMES,
        count=work.recipe.teacher_words,
        temperature=work.recipe.temperature,
        precision=precision,
    )
