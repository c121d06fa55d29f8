"""What a comparison found: scores over seeds, differences with their tests, costs, the front, and equal conditions."""

from __future__ import annotations

import statistics
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import OutputError
from understudy.evaluation.front import dominated, knee, pareto_front
from understudy.evaluation.seeded import seeded_differences, seeded_scores
from understudy.evaluation.significance import holm, mcnemar
from understudy.folders.contents import ANSWERS
from understudy.folders.run import Run
from understudy.functional.scoring import higher_is_better
from understudy.recipes.choose.compare.conditions import ran_out, same_conditions
from understudy.recipes.choose.compare.contenders import PACE
from understudy.recipes.choose.compare.tuning import TUNING
from understudy.record import RunRecord
from understudy.report.aggregate import aggregate, reporting_split
from understudy.runs.seeds import finished_record
from understudy.settings.choose.ranges import ORDERING

LEVEL = 0.95
_MEANS = ("parameters", "embedding_parameters", "trainable_parameters", "size_bytes", "texts_per_second", "threads")
"""Facts of a model that are averaged over its seeds; most are the same for all."""


def sum_up(run: Run, settings: Any, everyone: Mapping[str, Any]) -> bool:
    """Put on the record what the finished runs found; whether there is any.

    Args:
        everyone: the runs, by the name of their folder (see :class:`understudy.recipes.choose.compare.family.Member`).
    """
    records = {name: record for name in everyone if (record := finished_record(run.folder / name)) is not None}
    if not records:
        return False
    by_rows: dict[int | None, dict[str, RunRecord]] = {}
    for name, record in records.items():
        by_rows.setdefault(everyone[name].rows, {})[name] = record
    most = next(iter(by_rows))  # the most rows come first
    _describe(run, list(by_rows[most].values()))
    record = run.record
    metric = record.task["metrics"][0]
    tuning = record.findings.get(TUNING)
    record.findings = ({} if tuning is None else {TUNING: tuning}) | {
        "metric": metric,
        "level": LEVEL,
        "watts": settings.watts,
        "seeds": settings.seeds or [settings.seed],
        "same_batches": same_conditions(records, {name: member.model.name for name, member in everyone.items()})
        if _same_batches_wanted(settings)
        else [],
        "distilled": _twins(settings),
        "began_as_teacher": [one.name for one in settings.contestants() if one.distilled and one.is_cut],
        "runs": {model: list(found) for model, found in _by_model(by_rows[most], everyone).items()},
        "missing": [name for name in everyone if name not in records],
    }
    if short := [name for name, found in records.items() if ran_out(found)]:
        run.say(
            f"the time budget ended the training of {', '.join(short)}: what they have is what they got in their share of it."
        )
    answers = {rows: _Answers(run.folder, found, everyone) for rows, found in by_rows.items()}
    record.comparisons = _differences(answers[most], metric, split=record.split, seed=settings.seed)
    record.findings["scores"] = _scores(answers[most], metric, seed=settings.seed)
    record.models = [_model(name, found, settings) for name, found in _by_model(by_rows[most], everyone).items()]
    record.findings |= _fronts(record.models, record.findings["scores"], metric)
    if len(by_rows) > 1:
        sizes = sorted((rows, answer) for rows, answer in answers.items() if rows is not None)
        record.findings["labels"] = {str(rows): _scores(answer, metric, seed=settings.seed) for rows, answer in sizes}
    run.save()
    return True


def _same_batches_wanted(settings: Any) -> bool:
    """Whether all models were to see the same batches: not if what makes batches was tuned for each."""
    return not settings.search or not {one.name for one in settings.tuned()} & set(ORDERING)


def _twins(settings: Any) -> dict[str, str]:
    """For each distilled model the same one without a teacher, where it takes part."""
    models = settings.contestants()
    alone = {one.spec: one.name for one in models if not one.distilled and one.adapter is None}
    return {one.name: alone[one.spec] for one in models if one.distilled and one.spec in alone}


def _describe(run: Run, records: Sequence[RunRecord]) -> None:
    """Task, data and means of the runs with the most rows."""
    record, first = run.record, records[0]
    record.task, record.versions, record.hardware = first.task, first.versions, first.hardware
    record.data = {
        name: {"rows": part["rows"], "fingerprint": part["fingerprint"]} for name, part in first.data.items()
    }
    parsed = [one.as_dict() for one in records]
    record.split, record.aggregate = reporting_split(parsed), aggregate(parsed)


def _by_model(records: Mapping[str, RunRecord], everyone: Mapping[str, Any]) -> dict[str, dict[str, RunRecord]]:
    """The runs of each model, models in the order of ``--models``."""
    found: dict[str, dict[str, RunRecord]] = {everyone[name].model.name: {} for name in everyone}
    for name, record in records.items():
        found[everyone[name].model.name][name] = record
    return {model: runs for model, runs in found.items() if runs}


class _Answers:
    """What models answered for the rows that report, by model and seed, and the labels of these rows by seed."""

    def __init__(self, folder: Path, records: Mapping[str, RunRecord], everyone: Mapping[str, Any]) -> None:
        self.outputs: dict[str, dict[int, np.ndarray]] = {}
        self.labels: dict[int, np.ndarray] = {}
        for model, runs in _by_model(records, everyone).items():
            for name in runs:
                answers, labels = _read_answers(folder / name / ANSWERS)
                self.outputs.setdefault(model, {})[everyone[name].seed] = answers
                self.labels[everyone[name].seed] = labels


def _read_answers(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A run's answers and the labels of their rows; the file's own checksums are compared."""
    try:
        with np.load(path) as file:
            return file["answers"], file["labels"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise OutputError(
            f"{path}: is damaged or missing ({error}). Delete the folder {path.parent}, and --resume trains it again."
        ) from None


def _scores(answers: _Answers, metric: str, *, seed: int) -> dict[str, dict[str, Any]]:
    """Each model's mean score over its seeds, with its interval."""
    found = seeded_scores(metric, answers.outputs, answers.labels, level=LEVEL, seed=seed)
    return {
        name: {"mean": score.difference, "interval": [score.low, score.high], "n": score.seeds}
        for name, score in found.items()
    }


def _differences(answers: _Answers, metric: str, *, split: str, seed: int) -> list[dict[str, Any]]:
    """Every pair: its difference, interval and tests."""
    found = seeded_differences(metric, answers.outputs, answers.labels, level=LEVEL, seed=seed)
    adjusted = holm({pair: difference.p for pair, difference in found.items()})
    entries = []
    for (one, other), difference in found.items():
        exact = [
            mcnemar(outputs, answers.outputs[other][number], answers.labels[number])
            for number, outputs in answers.outputs[one].items()
            if number in answers.outputs[other]
        ]
        entries.append(
            {
                "model": one,
                "other": other,
                "split": split,
                "metric": metric,
                "difference": difference.difference,
                "interval": [difference.low, difference.high],
                "level": LEVEL,
                "rows": difference.rows,
                "seeds": difference.seeds,
                "error_of_rows": difference.error_of_rows,
                "error_of_seeds": difference.error_of_seeds,
                "p": difference.p,
                "p_holm": adjusted[one, other],
                "mcnemar": [test._asdict() for test in exact if test is not None],
            }
        )
    return entries


def _model(name: str, runs: Mapping[str, RunRecord], settings: Any) -> dict[str, Any]:
    """One model's entry: the means of its facts and costs over its runs."""
    entries = [record.models[0] for record in runs.values()]
    facts = {key: _mean([entry.get(key) for entry in entries]) for key in _MEANS}
    latency = {key: _mean([entry["latency_ms"].get(key) for entry in entries]) for key in ("p50", "p99")}
    split, metrics = next(iter(entries[0]["metrics"].items()))
    means = {metric: _mean([entry["metrics"][split].get(metric) for entry in entries]) for metric in metrics}
    return {
        "name": name,
        **{
            key: round(value) if key != "texts_per_second" else value
            for key, value in facts.items()
            if value is not None
        },
        "latency_ms": latency,
        "metrics": {split: means},
        "training": _costs(runs, settings),
    }


def _costs(runs: Mapping[str, RunRecord], settings: Any) -> dict[str, Any]:
    """What training cost, on average over the runs: time, steps, speed, memory, energy."""
    found: list[dict[str, Any]] = []
    for record in runs.values():
        cost: dict[str, Any] = {"peak_memory_bytes": record.models[0].get("peak_memory_bytes")}
        training = next(iter(record.training.values()), {})
        cost["seconds"] = training.get("seconds", record.timings.get("train_s"))
        if cost["seconds"] is not None:  # a teacher's answers are part of what a distilled model costs
            cost["seconds"] += sum(record.timings.get(name, 0.0) for name in ("label_pool_s", "start_s"))
        cost["steps"], cost["learning_rate"] = training.get("steps"), training.get("learning_rate")
        cost |= training.get(PACE) or {}
        cost["energy_wh"] = _energy(record, cost["seconds"], settings.watts)
        found.append(cost)
    names = dict.fromkeys(name for cost in found for name in cost)
    return {name: mean for name in names if (mean := _mean([cost.get(name) for cost in found])) is not None}


def _energy(record: RunRecord, seconds: float | None, watts: float) -> float | None:
    """Watt-hours of training under the assumption that every thread draws so many watts; None with an accelerator."""
    if seconds is None or record.hardware.get("accelerator"):
        return None
    threads = record.hardware.get("training_threads", record.hardware.get("threads", 1))
    if record.models[0].get("model_type") == "tfidf":  # it is fitted on one thread, however many there are
        threads = 1
    return float(seconds) * float(threads) * watts / 3600


def _fronts(models: Sequence[Mapping[str, Any]], scores: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """The fronts of quality against size and latency, and the knee of the first, which no clock has a part in."""
    sign = 1 if higher_is_better(metric) else -1
    quality = {name: sign * score["mean"] for name, score in scores.items()}
    sizes = {model["name"]: float(model["size_bytes"]) for model in models if model.get("size_bytes")}
    times = {model["name"]: float(model["latency_ms"]["p50"]) for model in models if model["latency_ms"].get("p50")}
    return {
        "front": {"size": pareto_front(sizes, quality), "latency": pareto_front(times, quality)},
        "dominated": {"size": dominated(sizes, quality), "latency": dominated(times, quality)},
        "knee": knee(sizes, quality),
    }


def _mean(values: Sequence[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return statistics.fmean(known) if known else None
