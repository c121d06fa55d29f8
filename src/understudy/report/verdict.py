"""Which model to ship, in one sentence, from the paired comparisons on a record.

One rule decides: a model counts as better than another if the whole interval of their paired difference says so. What
is cheaper is shipped unless a dearer model is better in this sense. In `finetune`:

1. Neither the model nor the probe is better than TF-IDF: TF-IDF is enough.
2. The model is not better than the probe: the probe is as good (or better).
3. Otherwise the model.

In `distill`:

1. TF-IDF, or else the probe, is better than the teacher: the teacher is below it, and is to be mended first.
2. Neither the student nor the same student without teacher is better than TF-IDF: TF-IDF is enough.
3. The student is not better than the same student without teacher: it is said.
4. Otherwise the student.

In `prune`: the pruned model, unless the model that it was made of is better.

"Not better" is no reason to ship the cheaper model where the rows could not have shown it: if the dearer one leads by two
points or more, and the interval is wider than ten, the two cannot be told apart, and this is the verdict. So it is on fewer
than ten rows, whatever they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from understudy.evaluation.paired import LEVEL
from understudy.report.metric_names import LOWER_IS_BETTER, is_share, metric_name
from understudy.report.numbers import human_bytes, number
from understudy.report.scores import (
    ALONE,
    PROBE,
    PRUNED,
    STUDENT,
    TEACHER,
    TFIDF,
    UNPRUNED,
    Record,
    main_name,
    model_named,
    score_of,
    selecting_metric,
    shown_split,
)

_PLAIN = {
    "tfidf": "TF-IDF is enough: ship it",
    "probe": "the probe is as good: ship it",
    "probe is better": "the probe is better: ship it",
    "teacher below tfidf": "the teacher is below TF-IDF: mend the teacher first",
    "teacher below probe": "the teacher is below the probe: mend the teacher first",
    "alone": "the distilled student is not better than the same student without teacher",
    "model": "ship the model",
    "student": "ship the student",
    "pruned": "ship the pruned model: it is not shown to be worse than the unpruned one",
    "unpruned": "the unpruned model is better: prune less, or train more",
    "undecided": "the models cannot be told apart on so few rows: test with more",
}
"""What each verdict says, without its numbers."""
_NAMES = {TFIDF: "TF-IDF", PROBE: "the probe", ALONE: "the same student without teacher", TEACHER: "the teacher"}
MUCH = 0.02
"""An interval that reaches this far above 0 leaves open whether the dearer model is worth its price."""
WIDE = 0.1
"""An interval this wide decides nothing. That of models that disagree on one row in seven is, with fewer than some 400 rows."""

_FEW = 100
"""With fewer rows the interval itself is uncertain: of models that answer alike on a dozen it has no width at all."""
_TOO_FEW = 10
"""With fewer rows nothing is decided: two models of which one errs on none of three and the other on all may be equal."""


class Verdict(NamedTuple):
    """Which model to ship, and why."""

    kind: str
    """``tfidf``, ``probe``, ``probe is better``, ``teacher below tfidf``, ``teacher below probe``, ``alone``, ``student``,
    ``pruned``, ``unpruned``, ``model`` or ``undecided``."""
    sentence: str


def verdict(record: Record) -> Verdict | None:
    """The verdict of a run; None where there is nothing to compare its model with.

    Args:
        record: the parsed ``record.json``.

    Example:
        >>> compared = {"model": "model", "other": "tfidf", "difference": 0.01, "interval": [-0.01, 0.03], "rows": 500}
        >>> models = [{"name": name, "metrics": {"test": {"accuracy": 0.9}}} for name in ("model", "tfidf")]
        >>> verdict({"task": {"metrics": ["accuracy"]}, "models": models, "comparisons": [compared]}).sentence
        'TF-IDF is enough: ship it (the model is at +1.0 points, -1.0 to +3.0; 99 % interval, 500 test rows; more rows may tell).'
    """
    if not record["models"] or not record.get("comparisons"):
        return None
    found = _Comparisons(record)
    main = main_name(record)
    if beside := found.of_too_few(main):
        return found.undecided(main, beside)
    if main == PRUNED:
        if found.untold(UNPRUNED, PRUNED):
            return found.undecided(UNPRUNED, PRUNED)
        kind = "unpruned" if found.better(UNPRUNED, PRUNED) else "pruned"
        return (
            _verdict(kind, f"the pruned one is at {found.lead(PRUNED, UNPRUNED)}", found.rows())
            if found.has(PRUNED, UNPRUNED)
            else None
        )
    return _of_distillation(found) if main == STUDENT else _of_training(found, main)


def family_verdict(record: Record) -> str | None:
    """The verdicts of a family's runs in one sentence; None where its runs reached none.

    Example:
        >>> family_verdict({"verdicts": {"probe": 2, "model": 1}})
        '2 of 3 runs: the probe is as good: ship it. 1 of 3 runs: ship the model.'
    """
    counts = record.get("verdicts") or {}
    total = sum(counts.values())
    if not total:
        return None
    if len(counts) == 1:
        return (
            f"All {total} runs: {_PLAIN[next(iter(counts))]}."
            if total > 1
            else f"{_begun(_PLAIN[next(iter(counts))])}."
        )
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    return " ".join(f"{count} of {total} runs: {_PLAIN[kind]}." for kind, count in ordered)


def counted_verdicts(records: Sequence[Record]) -> dict[str, int]:
    """In how many runs each verdict was reached."""
    counts: dict[str, int] = {}
    for record in records:
        if (found := verdict(record)) is not None:
            counts[found.kind] = counts.get(found.kind, 0) + 1
    return counts


def doubt_of_teacher(metric: str, difference: float, low: float, high: float, rows: int) -> str | None:
    """What to say before training of a teacher that is not better than TF-IDF on the validation rows; None if it is.

    Args:
        metric: the one that selects.
        difference: the teacher's score less TF-IDF's; then the ends of its interval.
        rows: how many validation rows have a label.

    Example:
        >>> doubt_of_teacher("accuracy", 0.05, 0.01, 0.09, 300)
        >>> doubt_of_teacher("accuracy", 0.02, -0.01, 0.05, 300)
        'It is not certain that the teacher is better than TF-IDF (+2.0 points, -1.0 to +5.0; 99 % interval, 300 validation rows): a student is rarely better than its teacher.'
    """
    if _shown(metric, low, high):
        return None
    numbers = f"{_apart(metric, difference, low, high)}; {_percent(LEVEL)} interval, {rows:,} validation rows"
    if _shown(metric, difference, difference):
        return f"It is not certain that the teacher is better than TF-IDF ({numbers}): a student is rarely better than its teacher."
    return f"The teacher is not better than TF-IDF ({numbers}): mend the teacher first, because a student is rarely better than its teacher."


class _Comparisons:
    """The paired differences of a record, by the names of two models in either order."""

    def __init__(self, record: Record) -> None:
        self.record, self.metric = record, selecting_metric(record)
        self._known: dict[tuple[str, str], tuple[float, float, float]] = {}
        self._rows, self._level = 0, LEVEL
        for entry in record["comparisons"]:
            values = [number(value) for value in (entry["difference"], *entry["interval"])]
            middle, low, high = (0.0 if value is None else value for value in values)
            self._known[entry["model"], entry["other"]] = (middle, low, high)
            self._known[entry["other"], entry["model"]] = (0.0 - middle, 0.0 - high, 0.0 - low)  # no -0.0
            self._rows, self._level = entry["rows"], entry.get("level", LEVEL)

    def has(self, one: str, other: str) -> bool:
        """Whether the two models were compared."""
        return (one, other) in self._known

    def better(self, one: str, other: str) -> bool:
        """Whether one model is better than the other; False where they were not compared."""
        return self.has(one, other) and _shown(self.metric, *self._known[one, other][1:])

    def lead(self, one: str, other: str) -> str:
        """How far one model's score is from the other's, with the interval."""
        return _apart(self.metric, *self._known[one, other])

    def untold(self, one: str, other: str) -> bool:
        """Whether one model leads another by much, on rows too few to show more than that."""
        if not self.has(one, other) or self.metric in LOWER_IS_BETTER:  # errors have no scale of their own
            return False
        middle, low, high = self._known[one, other]
        return middle >= MUCH and low <= 0 and high - low > WIDE

    def of_too_few(self, main: str) -> str | None:
        """What the model was compared with on too few rows for any verdict; None if there are enough."""
        if self._rows >= _TOO_FEW:
            return None
        return next((other for other in (TFIDF, PROBE, ALONE, UNPRUNED) if self.has(main, other)), None)

    def furthest_untold(self, names: Sequence[str], other: str) -> str | None:
        """Of the models that so lead another, the one with the longest lead; the first one of equal leads."""
        ahead = [name for name in names if self.untold(name, other)]
        return max(ahead, key=lambda name: self._known[name, other][0], default=None)

    def undecided(self, one: str, other: str) -> Verdict:
        """The verdict on two models that the rows do not tell apart."""
        first, second = (
            _NAMES.get(name, f"the {name}{' model' if name in (PRUNED, UNPRUNED) else ''}") for name in (one, other)
        )
        said = f"{_begun(first)} and {second} cannot be told apart on so few rows: test with more"
        return Verdict("undecided", f"{said} ({first} is at {self.lead(one, other)}; {self._interval()}).")

    def keeps_probe(self) -> bool:
        """Whether what was trained did not gain on the probe that it began as, so that the probe was saved."""
        phases = (self.record.get("training") or {}).values()
        return any((phase.get("start") or {}).get("kept") == "probe" for phase in phases)

    def _may_be_much(self, one: str, other: str) -> bool:
        """Whether the interval leaves it open that one model is better than the other by much: of errors, by much of theirs."""
        _, low, high = self._known[one, other]
        if self.metric not in LOWER_IS_BETTER:
            return high > MUCH
        models = [model_named(self.record, name) for name in (one, other)]
        errors = [score for model in models if model and (score := score_of(self.record, model)) is not None]
        return bool(errors) and -low > MUCH * min(errors)

    def rows(self, one: str = "", other: str = "") -> str:
        """What the intervals are, and whether more rows may show one model to be better than the other."""
        open_yet = self._rows < _FEW or (self.has(one, other) and self._may_be_much(one, other))
        return self._interval() + ("; more rows may tell" if open_yet else "")

    def _interval(self) -> str:
        return f"{_percent(self._level)} interval, {self._rows:,} {shown_split(self.record)} row{'s' if self._rows > 1 else ''}"


def _of_training(found: _Comparisons, main: str) -> Verdict | None:
    if found.has(main, TFIDF) and not found.better(main, TFIDF) and not found.better(PROBE, TFIDF):
        if ahead := found.furthest_untold((PROBE, main), TFIDF):
            return found.undecided(ahead, TFIDF)
        return _verdict("tfidf", f"the {main} is at {found.lead(main, TFIDF)}", found.rows(main, TFIDF))
    if found.has(main, PROBE) and not found.better(main, PROBE):
        kind = "probe is better" if found.better(PROBE, main) else "probe"
        more = human_bytes((model_named(found.record, PROBE) or {}).get("head_bytes"))
        if found.keeps_probe():  # fine-tuning gained nothing, and went back to it
            return _verdict(kind, f"{more} more than the encoder", f"the {main} that was saved is the probe")
        if found.untold(main, PROBE):
            return found.undecided(main, PROBE)
        numbers = f"the {main} is at {found.lead(main, PROBE)}"
        return _verdict(kind, f"{more} more than the encoder", numbers, found.rows(main, PROBE))
    leads = [
        f"{found.lead(main, other)}, against {_NAMES[other]}" for other in (PROBE, TFIDF) if found.has(main, other)
    ]
    return _verdict("model", *leads, found.rows()) if leads else None


def _of_distillation(found: _Comparisons) -> Verdict | None:
    for other in (TFIDF, PROBE):
        if found.better(other, TEACHER):
            return _verdict(f"teacher below {other}", f"it is at {found.lead(TEACHER, other)}", found.rows())
    if found.has(STUDENT, TFIDF) and not found.better(STUDENT, TFIDF) and not found.better(ALONE, TFIDF):
        if ahead := found.furthest_untold((STUDENT, ALONE), TFIDF):
            return found.undecided(ahead, TFIDF)
        return _verdict("tfidf", f"the student is at {found.lead(STUDENT, TFIDF)}", found.rows(STUDENT, TFIDF))
    if found.untold(STUDENT, ALONE):
        return found.undecided(STUDENT, ALONE)
    if found.has(STUDENT, ALONE) and not found.better(STUDENT, ALONE):
        return _verdict("alone", f"it is at {found.lead(STUDENT, ALONE)}", found.rows(STUDENT, ALONE))
    beaten = [other for other in (ALONE, TFIDF) if found.has(STUDENT, other)]
    beside = [TEACHER] if found.has(STUDENT, TEACHER) else []
    leads = [f"{found.lead(STUDENT, other)}, against {_NAMES[other]}" for other in (*beaten, *beside)]
    return _verdict("student", *leads, found.rows()) if beaten else None


def _verdict(kind: str, *reasons: str) -> Verdict:
    return Verdict(kind, f"{_begun(_PLAIN[kind])} ({'; '.join(reasons)}).")


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _shown(metric: str, low: float, high: float) -> bool:
    """Whether the whole interval of a difference says that the first of two models is better."""
    return high < 0 if metric in LOWER_IS_BETTER else low > 0


def _apart(metric: str, difference: float, low: float, high: float) -> str:
    if is_share(metric):
        return f"{100 * difference:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
    return f"{difference:+.3f} {metric_name(metric, short=True)}, {low:+.3f} to {high:+.3f}"


def _percent(level: float) -> str:
    return f"{100 * level:g} %"
