"""The end of a search: the students of the last rung in their formats, the choice, its folder, and what is reported."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.atomic import OUTPUT, new_folder
from understudy.data.splits import Splits
from understudy.errors import ModelError, UnderstudyError
from understudy.evaluation import cost
from understudy.evaluation.front import pareto_front
from understudy.evaluation.halving import Offer, best_offer, share, used
from understudy.evaluation.quality import as_entry, evaluate
from understudy.folders.run import Run
from understudy.functional.scoring import higher_is_better, score
from understudy.inference.answering import Answering
from understudy.loading import load
from understudy.recipes.choose.search.looking import costs_of, formats_that_fit, limits_of
from understudy.recipes.choose.search.measuring import answers_of, in_format, teacher_of
from understudy.recipes.choose.search.records import folder_of, trial_record, validation_score
from understudy.record import RunRecord
from understudy.report.card.write import write_card
from understudy.report.scores import STUDENT, TEACHER
from understudy.report.searching.sentences import verdict_of_search
from understudy.report.searching.table import search_table
from understudy.settings.choose.search import SearchSettings
from understudy.terminal.lines import show
from understudy.terminal.screen import draw


def finish_search(
    run: Run,
    settings: SearchSettings,
    splits: Splits,
    reached: Mapping[str, int],
    *,
    last: int,
    failed: Mapping[str, Exception],
) -> bool:
    """Choose among the students of the last rung, write the model's folder, report; whether one was chosen.

    Args:
        reached: the last rung on which each student was trained.
        last: the last rung.
        failed: the trials that failed, by the names of their folders.
    """
    finalists = [name for name, number in reached.items() if number == last]
    findings = run.record.findings
    with tempfile.TemporaryDirectory() as place:
        offers, formats, faults = _offers(run, splits, finalists, Path(place), last)
        best = best_offer(offers)
        findings["trials"] = _trials(run, reached, best, offers, failed, last)
        findings["left_out"] = faults
        findings["front"] = _fronts(findings["trials"], findings["metric"])
        if best is not None:
            findings["chosen"] = {"name": best.name, "format": best.format}
            model = _write_model(run, best, last, formats)
            _report(run, settings, splits, best, model)
    run.save()
    if best is None and not failed:
        raise ModelError(f"no student of the last rung can be shipped: {'; '.join(faults.values()) or 'none is left'}.")
    record = run.record.as_dict()
    draw(search_table(record))
    if best is not None:
        write_card(run.folder, record)
        show(f"Everything is in {run.folder}")
        show(verdict_of_search(record))
    return best is not None


def _offers(
    run: Run, splits: Splits, finalists: list[str], place: Path, last: int
) -> tuple[list[Offer], dict[tuple[str, str], Path], dict[str, str]]:
    """The students of the last rung in all formats that fit, the folders of those that were made, and what could not be."""
    findings, rows = run.record.findings, splits.validation
    metric, limits = findings["metric"], limits_of(findings)
    sign = 1 if higher_is_better(metric) else -1
    offers, folders, faults = list[Offer](), dict[tuple[str, str], Path](), dict[str, str]()
    for name in finalists:
        record = trial_record(run.folder, name, last)
        assert record is not None
        model = load(run.folder / folder_of(name, last))
        for kind in formats_that_fit(findings, name):
            known = findings["measured"][name]["formats"][kind]
            value, size = validation_score(record), known["size_bytes"]
            if kind != "pytorch":
                try:
                    made = in_format(model, kind, rows, place / folder_of(name, last))
                except UnderstudyError as error:
                    faults[f"{name}, {kind}"] = f"{name} as {kind}: {' '.join(error.faults)}"
                    continue
                folders[name, kind], size = place / folder_of(name, last) / kind, made.summary()["size_bytes"]
                value = score(metric, made.logits(list(rows.texts)), rows.labels) if kind == "int8" else value
            offers.append(Offer(name, kind, sign * value, used({**known, "size_bytes": size}, limits)))
    return offers, folders, faults


def _write_model(run: Run, best: Offer, last: int, folders: Mapping[tuple[str, str], Path]) -> Answering:
    """Copy the chosen model to the search's own folder, and read it back."""
    source = folders.get((best.name, best.format), run.folder / folder_of(best.name, last) / "model")
    with new_folder(run.folder / "model", remedy=OUTPUT, replace=True) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
    model: Answering = load(run.folder)
    return model


def _report(run: Run, settings: SearchSettings, splits: Splits, best: Offer, model: Answering) -> None:
    """Put the chosen model and the teacher on the record; here the test rows are read, and nothing is chosen any more."""
    teachers = teacher_of(settings, splits)
    parts = {"validation": splits.validation} | ({} if splits.test is None else {"test": splits.test})
    found: dict[str, Any] = {STUDENT: {}, TEACHER: {}}
    for split, rows in parts.items():
        answers = {STUDENT: model.logits(list(rows.texts)), TEACHER: answers_of(teachers, rows.texts)}
        for name, outputs in answers.items():
            temperature = model.temperature if name == STUDENT else teachers.temperature
            found[name][split] = evaluate(
                outputs, rows.labels, splits.task, intervals=True, temperature=temperature, seed=settings.seed
            )
    texts = splits.reporting()[1].texts
    costs = {STUDENT: cost.measure(model, texts), TEACHER: cost.measure(teachers.ordered(), texts)}
    kind = {STUDENT: best.format, TEACHER: "pytorch"}
    run.record.models = [
        {"name": name, "format": kind[name], **costs[name], **as_entry(scores)} for name, scores in found.items()
    ]


def _trials(
    run: Run,
    reached: Mapping[str, int],
    best: Offer | None,
    offers: list[Offer],
    failed: Mapping[str, Exception],
    last: int,
) -> list[dict[str, Any]]:
    """Every student, the cheapest first: in which format, what it costs in that, how far it came, and what it scored there.

    What was trained and is in no offer has the score of its PyTorch model, so it stands with the costs of that.
    """
    findings, costs = run.record.findings, costs_of(run.record.findings)
    metric, measured, limits = findings["metric"], findings["measured"], limits_of(findings)
    higher, teacher = higher_is_better(metric), findings["teacher"]["metrics"][metric]
    rows = []
    for name in sorted(measured, key=lambda one: (costs.get(one, float("inf")), one)):
        known, own = measured[name], [offer for offer in offers if offer.name == name]
        of_own = best_offer(own)
        kinds = sorted(known["formats"], key=lambda kind: (used(known["formats"][kind], limits), kind))
        kind = of_own.format if of_own is not None else "pytorch" if name in reached else kinds[0] if kinds else None
        row: dict[str, Any] = {"name": name, "format": kind, "used": costs.get(name)}
        if kind in known["formats"]:
            row |= {key: known["formats"][kind][key] for key in ("latency_ms", "size_bytes")}
        faults = [str(failed[one]) for number in range(1, last + 1) if (one := folder_of(name, number)) in failed]
        if name in reached:
            record = trial_record(run.folder, name, reached[name])
            assert record is not None
            value = validation_score(record)
            if of_own is not None and kind == "int8":
                value = of_own.score if higher else -of_own.score
            row |= {"rung": reached[name], "score": value, "share": share(value, teacher, higher_is_better=higher)}
            row["seconds"] = _training_seconds(record)
        row["state"] = _state(name, known, costs, reached, best, faults)
        if faults:
            row["why"] = " ".join(faults)
        elif "cannot" in known:
            row["why"] = known["cannot"]
        rows.append(row)
    return rows


def _training_seconds(record: RunRecord) -> float | None:
    """What a trial's training took; the teacher's labelling and the scoring in the end are left out."""
    phases = [phase["seconds"] for phase in record.training.values() if "seconds" in phase]
    return sum(phases) if phases else record.timings.get("train_s")


def _state(
    name: str,
    known: Mapping[str, Any],
    costs: Mapping[str, float],
    reached: Mapping[str, int],
    best: Offer | None,
    faults: list[str],
) -> str:
    if best is not None and name == best.name:
        return "chosen"
    if faults:
        return "failed"
    if "cannot" in known:
        return "cannot be built"
    if name not in costs or costs[name] > 1:
        return "does not fit"
    return "trained" if name in reached else "not trained"


def _fronts(trials: list[dict[str, Any]], metric: str) -> dict[str, list[str]]:
    """Of what was trained, what nothing else makes superfluous: by latency and by size.

    A student whose format was not measured has no costs and is left out.
    """
    known = {row["name"]: row for row in trials if "score" in row and "latency_ms" in row}
    sign = 1 if higher_is_better(metric) else -1
    quality = {name: sign * row["score"] for name, row in known.items()}
    return {
        axis: pareto_front({name: row[key] for name, row in known.items()}, quality)
        for axis, key in (("latency", "latency_ms"), ("size", "size_bytes"))
    }
