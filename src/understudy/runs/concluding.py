"""The end of a run: plots, model card, table."""

from __future__ import annotations

from understudy.folders.run import Run
from understudy.report import plots
from understudy.report.card.write import write_card
from understudy.report.tables.tasks import result_table
from understudy.report.verdict import verdict
from understudy.runs.session import Session
from understudy.terminal.lines import show
from understudy.terminal.notebook import in_notebook
from understudy.terminal.screen import draw


def finish(session: Session) -> None:
    """Write plots and model card, mark the run as finished, print the table."""
    run = session.run
    if run.writes:
        with run.timed("report_s"):
            plots.draw_all(run.folder, run.record.as_dict())
            write_card(run.folder, run.record.as_dict())
        session.stop_if_asked()
        run.finish()
        say_result(run)
    session.accelerator.wait_for_everyone()


def say_result(run: Run) -> None:
    """Print the table of a finished run, where everything is, and which model to ship.

    In a notebook the record itself is the table: what returns does not also print.
    """
    record = run.record.as_dict()
    if not in_notebook():
        draw(result_table(record))
    show(f"Everything is in {run.folder}")
    if (found := verdict(record)) is not None:
        show(found.sentence)
