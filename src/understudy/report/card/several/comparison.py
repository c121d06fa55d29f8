"""What only the card of a comparison shows: tables of worth and cost, every pair with its tests, and the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from understudy.report.card.facts import facts_of_every_card
from understudy.report.card.markdown import Markdown
from understudy.report.card.several.family import child_link
from understudy.report.comparison.curves import said_crossings
from understudy.report.comparison.pictures import NAMES
from understudy.report.comparison.recommending import human_p, recommendation
from understudy.report.comparison.tables import compared_rows
from understudy.report.metric_names import LOWER_IS_BETTER, capitalised, human_score, is_share, metric_name
from understudy.report.numbers import number
from understudy.report.scores import Record, selecting_metric

_TITLES = {
    "scores": "Final scores",
    "front-size": "Quality against size",
    "front-latency": "Quality against latency",
    "labels": "Quality against labels",
    "curves-steps": "Learning curves by step",
    "curves-seconds": "Learning curves by time",
    "run-time": "Time of training",
    "convergence": "Steps to convergence",
}


def comparison_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that ``comparison_card.md.j2`` uses."""
    metric, findings = selecting_metric(record), record.get("findings") or {}
    seeds = findings.get("seeds") or [0]
    metrics = record["task"]["metrics"]
    rows = list(compared_rows(record))
    return facts_of_every_card(folder, record) | {
        "seeds": len(seeds),
        "fewer": any(row.fewer for row in rows),
        "metric": _headed(metric),
        "others": [_headed(other) for other in metrics[1:]],
        "unit": "points" if is_share(metric) else metric_name(metric, short=True),
        "rows": rows,
        "pairs": list(_pairs(record)),
        "counted": any(entry.get("mcnemar") for entry in record.get("comparisons") or []),
        "min_delta": number(record["config"].get("min_delta")) or 0,
        "recommendation": recommendation(record),
        "crossings": list(said_crossings(record)),
        "watts": f"{number(findings.get('watts')) or 0:g}",
        "same_batches": [", ".join(group) for group in findings.get("same_batches") or []],
        "tuned": list(_tuned(record)),
        "missing": list(findings.get("missing") or []),
        "children": [child_link(folder, child) for child in record.get("children") or []],
        "plots": [
            (_TITLES[name], Markdown(f"plots/{quote(name)}.png"), Markdown(f"plots/{quote(name)}.svg"))
            for name in NAMES
            if (folder / "plots" / f"{name}.png").is_file()
        ],
        "phases": [],
        "labelling": "",
    }


def _tuned(record: Record) -> Iterator[Mapping[str, str]]:
    """What was found for each model that was tuned."""
    metric, known = selecting_metric(record), (record.get("findings") or {}).get("tuning") or {}
    sign = -1 if metric in LOWER_IS_BETTER else 1  # of a loss the trials have the other sign
    for name, found in (known.get("best") or {}).items():
        trials = known["trials"][name]
        scores = [score for trial in trials if (score := number(trial["score"])) is not None]
        yield {
            "model": name,
            "settings": ", ".join(f"{setting} {_short(value)}" for setting, value in found.items()),
            "score": human_score(metric, sign * max(scores, default=0.0), unit=False),
            "trials": str(len(trials)),
        }


def _short(value: float) -> str:
    """A setting as people write it: whole numbers whole.

    Example:
        >>> _short(1024), _short(0.000123456)
        ('1024', '0.000123')
    """
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def _headed(metric: str) -> str:
    return capitalised(metric_name(metric, short=True)) + (" (%)" if is_share(metric) else "")


def _pairs(record: Record) -> Iterator[Mapping[str, str]]:
    """Every pair: its difference with the interval, and its tests."""
    scale, digits = (100, 1) if is_share(selecting_metric(record)) else (1, 3)
    for entry in record.get("comparisons") or []:
        middle, low, high = (number(value) or 0.0 for value in (entry["difference"], *entry["interval"]))
        tests = entry.get("mcnemar") or []
        counts = [f"{test['only_first']} : {test['only_second']}, p {human_p(test['p'])}" for test in tests]
        yield {
            "pair": f"{entry['model']} − {entry['other']}",
            "difference": f"{scale * middle:+.{digits}f}",
            "interval": f"{scale * low:+.{digits}f} to {scale * high:+.{digits}f}",
            "p": human_p(entry["p"]).removeprefix("= "),
            "p_holm": human_p(entry["p_holm"]).removeprefix("= "),
            "mcnemar": "; ".join(counts),
        }
