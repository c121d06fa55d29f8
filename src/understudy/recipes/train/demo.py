"""``understudy demo``: the whole job on data that every machine has."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from understudy.data.pydocs import write_pydocs
from understudy.errors import Interrupted
from understudy.folders.run import Run
from understudy.models.files.names import bundled_encoder
from understudy.recipes.train.distill.recipe import Distill
from understudy.recipes.train.finetune.recipe import Finetune
from understudy.record import RunRecord
from understudy.runs.seeds import run_child
from understudy.runs.session import check_inputs, open_folder
from understudy.runs.threads.choice import as_begun
from understudy.settings.configuration import check
from understudy.settings.train.demo import DemoSettings
from understudy.terminal.lines import show


class Demo(DemoSettings):
    """The whole job in a few minutes: which library does a paragraph of documentation belong to?

    A family of two runs, the teacher and its student, on paragraphs from the packages installed here.
    """

    def run(self) -> RunRecord:
        """Write the data, fine-tune the teacher, distil it; an interrupted demo goes on where it was.

        Raises:
            UnderstudyError: if the teacher's package is not installed or the folder cannot be used.
            Interrupted: on SIGTERM or Ctrl-C.
        """
        check(self)
        teacher = self.teacher or bundled_encoder()
        if self.overwrite:  # what is there goes only when the data can be made
            with TemporaryDirectory() as scratch:
                self._write(Path(scratch))
        with as_begun(self), open_folder(self) as run:
            if run.record.finished:
                show(f"{run.folder}: the demo is finished already. Give --overwrite to run it again.")
                return run.record
            try:
                return self._run(run, teacher)
            except Interrupted as error:
                error.remedy = "Go on with the same command (without --overwrite)."
                raise

    def _run(self, run: Run, teacher: str) -> RunRecord:
        check_inputs(run, [teacher])
        data = str(run.folder / "data")
        show("1 of 3: paragraphs from the documentation of the packages installed here")
        counts = self._write(run.folder / "data")
        show("  " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
        show(f"2 of 3: a teacher, fine-tuned on the {self.labelled:,} labelled ones")
        finetune = Finetune(
            data=data,
            model=teacher,
            pooling="mean",
            start="head",  # at this rate, from a probe it ends below the probe
            epochs=self.teacher_epochs,
            learning_rate=2e-4,  # a small encoder on few rows: better on validation paragraphs than 5e-5 and 1e-4
            batch_size=16,
            max_length=self.max_length,
            baseline=False,
            seed=self.seed,
            threads=self.threads,
        )
        run_child(run, "teacher", finetune)
        show("3 of 3: a BiLSTM, with the teacher over all paragraphs and without it")
        distill = Distill(
            data=data,
            teacher=[str(run.folder / "teacher")],
            unlabeled=str(run.folder / "data" / "pool.txt"),
            epochs=self.epochs,
            max_length=self.max_length,
            seed=self.seed,
            threads=self.threads,
        )
        found = run_child(run, "student", distill)
        own = run.record
        run.record = replace(
            found, command=own.command, config=own.config, given=own.given, children=own.children, created=own.created
        )
        show(_next_steps(run.folder))
        return run.finish()

    def _write(self, folder: Path) -> dict[str, int]:
        return write_pydocs(folder, labelled=self.labelled, test=self.test, pool=self.pool, seed=self.seed)


def _next_steps(folder: Path) -> str:
    student = folder / "student"
    return f"""
What to do next:
  look at     {student}/README.md and the plots beside it
  use it      echo "Return the inverse of a matrix." | understudy predict --model {shlex.quote(str(student))}
  your data   understudy finetune --data reviews.csv --model your-bert --output runs/teacher
              understudy distill --data reviews.csv --teacher runs/teacher --unlabeled pool.txt --output runs/student"""
