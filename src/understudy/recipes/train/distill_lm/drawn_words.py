"""A teacher that reads each text once (``distill-lm --teacher_words``): what it draws, on the record and in the plan."""

from __future__ import annotations

from functools import partial

from accelerate.utils import broadcast_object_list

from understudy.atomic import remove_files
from understudy.errors import ConfigError
from understudy.folders.contents import TEACHER_WORDS
from understudy.objectives.teachers.drawing import Drawing, Draws
from understudy.objectives.teachers.language import LanguageTeacher
from understudy.recipes.train.masked_texts import MaskedTexts
from understudy.report.numbers import human_bytes
from understudy.runs.session import Session, go_on
from understudy.settings.train.distill_lm import DistillLMSettings


class DrawnWords:
    """The words that a teacher draws for the masked tokens of a corpus, under the masks of every epoch.

    Args:
        settings: of the run; its ``teacher_words`` is the number of words a token.
        teacher: draws them.
        texts: the corpus.
        epochs: of all stages of training.
    """

    def __init__(
        self, settings: DistillLMSettings, teacher: LanguageTeacher, texts: MaskedTexts, *, epochs: int
    ) -> None:
        self._settings, self._teacher, self._texts, self._epochs = settings, teacher, texts, epochs

    @property
    def rounds(self) -> int:
        """How often the teacher reads the texts: once for each set of masks."""
        return min(self._epochs, self._settings.mask_rounds or self._epochs)

    def line(self) -> str:
        """What will be drawn, for the plan."""
        tokens = self.rounds * len(self._texts.parts["train"].ids) * self._settings.mask_probability
        size = human_bytes(round(tokens * self._drawing("no").bytes_a_token))
        line = f"{self._settings.teacher_words} words for each masked token, {self.rounds} times; about {size} on disk"
        return line + "; the time below is for a teacher that reads in every epoch" * (self.rounds < self._epochs)

    def draw(self, session: Session) -> list[Draws]:
        """Draw the words of every round, or find them in the cache.

        Raises:
            ConfigError: if the time budget ends first; what is drawn by then is kept for ``--resume``.
        """
        drawing, record = self._drawing(session.accelerator.mixed_precision), session.run.record
        scratch, main = session.run.folder / "teacher_words", session.accelerator.is_main_process
        texts = len(self._texts.parts["train"])
        drawn = dict.fromkeys(range(self.rounds), 0)
        found: list[Draws] = []

        def on_texts(number: int, count: int) -> None:
            if f"masks {number}" not in record.answered_before:  # all that this run draws counts, kills included
                record.answered_before[f"masks {number}"] = count
                session.run.save()
            drawn[number] = count
            session.display.update(sum(drawn.values()))

        def ends() -> bool:
            return session.stop.signal_number is not None or session.stop.out_of_time()

        session.display.start("teacher draws", self.rounds * texts)
        with session.run.timed("draw_words_s"):
            for number in range(self.rounds):
                draw = partial(drawing.draw, number, max_tokens=self._texts.max_tokens, scratch=scratch)
                draws = draw(on_texts=partial(on_texts, number), should_stop=ends) if main else None
                ended = [draws is None]
                broadcast_object_list(ended)
                session.stop_if_asked()
                if ended[0]:
                    raise ConfigError(
                        f"the time budget ended when the teacher had drawn words for {sum(drawn.values()):,} of {self.rounds * texts:,} texts; they are kept. Give a longer --time_budget. {go_on(session.run.folder, session.settings)}"
                    )
                draws = draws or draw()  # from the cache
                assert draws is not None
                found.append(draws)
        session.display.close()
        before = [record.answered_before.get(f"masks {number}", 0) for number in drawn]
        record.teacher_forward_texts = sum(drawn.values()) - sum(before)
        if session.run.writes:
            session.run.save()
            remove_files(scratch, TEACHER_WORDS)
        return found

    def _drawing(self, precision: str) -> Drawing:
        assert self._settings.teacher_words is not None
        return Drawing(
            self._teacher,
            self._texts.parts["train"],
            self._texts.batches.masking,
            names=self._texts.names,
            count=self._settings.teacher_words,
            temperature=self._settings.temperature,
            precision=precision,
        )
