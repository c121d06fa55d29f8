"""All pictures of a comparison, as PNG and as SVG."""

from __future__ import annotations

from pathlib import Path

from understudy.report.comparison.bars import final_scores, run_times, steps_to_convergence
from understudy.report.comparison.curves import learning_curves_of_all, quality_by_labels
from understudy.report.comparison.fronts import front_of
from understudy.report.scores import Record

NAMES = ("scores", "front-size", "front-latency", "labels", "curves-steps", "curves-seconds", "run-time", "convergence")
"""Of the files, in the order in which a card shows them."""


def draw_comparison(folder: Path, record: Record) -> list[Path]:
    """Draw what there are numbers for into ``plots/``; a picture without any is not drawn, and an old one of it removed.

    Args:
        folder: of the comparison; its runs lie in it.
        record: its parsed ``record.json``.

    Returns:
        The files that were written.
    """
    plots = Path(folder) / "plots"
    runs = {
        name: [Path(folder) / run / "progress.csv" for run in of]
        for name, of in ((record.get("findings") or {}).get("runs") or {}).items()
    }
    drawn = [
        *final_scores(record, plots / "scores"),
        *front_of(record, plots / "front-size", axis="size"),
        *front_of(record, plots / "front-latency", axis="latency"),
        *quality_by_labels(record, plots / "labels"),
        *learning_curves_of_all(record, runs, plots / "curves-steps", by="step"),
        *learning_curves_of_all(record, runs, plots / "curves-seconds", by="seconds"),
        *run_times(record, plots / "run-time"),
        *steps_to_convergence(record, plots / "convergence"),
    ]
    for name in NAMES:
        for path in (plots / f"{name}.png", plots / f"{name}.svg"):
            if path not in drawn:
                path.unlink(missing_ok=True)
    return drawn
