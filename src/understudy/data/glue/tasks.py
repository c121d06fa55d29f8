"""The tasks of GLUE as a table: columns, labels in GLUE's order, metrics, files. No torch and no data is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from understudy.data.tasks import Kind

HUB = "nyu-mll/glue"
"""The data set on the hub that holds all tasks."""
ALL = "all"
"""The name that stands for every task that is there."""
_ZIPS = "https://dl.fbaipublicfiles.com/glue/data"


class Answers(NamedTuple):
    """One file of a submission: what a model answers for one test file."""

    file: str
    """Its name in the zip, without ``.tsv``."""
    split: str
    """``test``, or ``test_mismatched``."""
    rows: int
    """The number of rows that the leaderboard expects."""


class GlueTask(NamedTuple):
    """One task of GLUE.

    Example:
        >>> GLUE["mrpc"].folder, GLUE["mrpc"].metrics, GLUE["rte"].labels
        ('MRPC', ('accuracy', 'f1'), ('entailment', 'not_entailment'))
    """

    name: str
    """As on the hub: ``sst2``."""
    folder: str
    """As the official files have it: ``SST-2``."""
    about: str
    text: tuple[tuple[str, ...], ...]
    """Columns of the texts, the usual ones first: each entry has one name, or two for a pair."""
    label: tuple[str, ...]
    """Names of the label column, the usual ones first."""
    labels: tuple[str, ...]
    """In GLUE's order, as the official files and the leaderboard write them; empty for a regression."""
    metrics: tuple[str, ...]
    """In the order of the paper; the first one is the primary one, which selects."""
    answers: tuple[Answers, ...]
    hub_labels: tuple[str, ...] = ()
    """The names that the hub gives the labels, where they are others."""
    score_range: tuple[float, float] | None = None
    """Of a regression: the lowest and the highest score."""
    source: str = ""
    """Where its official files are."""
    how: str = ""
    """What is to be made of those files, if they are not read as they are: sentences for a message."""
    tolerant: bool = False
    """Whether its official files have broken rows, which everyone leaves out."""

    @property
    def kind(self) -> Kind:
        """A regression if it has scores, otherwise one class a row."""
        return "regression" if self.score_range else "single_label"

    @property
    def arity(self) -> int:
        """Texts of a row."""
        return len(self.text[0])

    @property
    def aliases(self) -> dict[str, str]:
        """What else may stand for a label: the hub's name, and the number of its place.

        Example:
            >>> GLUE["rte"].aliases["1"], GLUE["cola"].aliases["acceptable"]
            ('not_entailment', '1')
        """
        numbers = {str(place): label for place, label in enumerate(self.labels)}
        return numbers | dict(zip(self.hub_labels, self.labels)) | {label: label for label in self.labels}


_PAIR = ("sentence1", "sentence2")
_NLI = (_PAIR, ("premise", "hypothesis"), ("Premise", "Hypothesis"))
_NO_YES, _RTE, _MNLI = ("0", "1"), ("entailment", "not_entailment"), ("entailment", "neutral", "contradiction")
_SENTENCE = (("sentence",), ("text",))

_TABLE = (
    GlueTask(
        *("cola", "CoLA", "acceptability of a sentence", _SENTENCE, ("label",), _NO_YES, ("matthews",)),
        (Answers("CoLA", "test", 1063),),
        ("unacceptable", "acceptable"),
        source=f"{_ZIPS}/CoLA.zip",
    ),
    GlueTask(
        *("sst2", "SST-2", "sentiment of a review's phrase", _SENTENCE, ("label",), _NO_YES, ("accuracy",)),
        (Answers("SST-2", "test", 1821),),
        ("negative", "positive"),
        source=f"{_ZIPS}/SST-2.zip",
    ),
    GlueTask(
        *("mrpc", "MRPC", "paraphrases in the news", (("#1 String", "#2 String"), _PAIR), ("label", "Quality")),
        *(_NO_YES, ("accuracy", "f1"), (Answers("MRPC", "test", 1725),), ("not_equivalent", "equivalent")),
        source="https://dl.fbaipublicfiles.com/senteval/senteval_data/msr_paraphrase_train.txt (and _test.txt)",
        how=" These two are not read under those names: save the second as test.tsv; of the first, save the rows whose two ids are in GLUE's dev_ids.tsv (https://dl.fbaipublicfiles.com/glue/data/mrpc_dev_ids.tsv) as dev.tsv, and the others as train.tsv.",
    ),
    GlueTask(
        *("stsb", "STS-B", "similarity from 0 to 5", (_PAIR,), ("score", "label"), (), ("pearson", "spearman")),
        (Answers("STS-B", "test", 1379),),
        score_range=(0.0, 5.0),
        source=f"{_ZIPS}/STS-B.zip",
    ),
    GlueTask(
        *("qqp", "QQP", "duplicate questions", (("question1", "question2"), _PAIR), ("label", "is_duplicate")),
        *(_NO_YES, ("accuracy", "f1"), (Answers("QQP", "test", 390965),), ("not_duplicate", "duplicate")),
        source=f"{_ZIPS}/QQP-clean.zip",
        tolerant=True,
    ),
    GlueTask(
        *("mnli", "MNLI", "inference, in several genres", _NLI),
        ("gold_label", "label", "Label"),  # the last is that of the diagnostic set
        *(_MNLI, ("accuracy",)),
        (Answers("MNLI-m", "test", 9796), Answers("MNLI-mm", "test_mismatched", 9847)),
        source=f"{_ZIPS}/MNLI.zip",
    ),
    GlueTask(
        *("qnli", "QNLI", "whether a sentence answers a question", (("question", "sentence"), _PAIR), ("label",)),
        *(_RTE, ("accuracy",), (Answers("QNLI", "test", 5463),)),
        source=f"{_ZIPS}/QNLIv2.zip",
    ),
    GlueTask(
        *("rte", "RTE", "inference, few rows", _NLI, ("label",), _RTE, ("accuracy",), (Answers("RTE", "test", 3000),)),
        source=f"{_ZIPS}/RTE.zip",
    ),
    GlueTask(
        *("wnli", "WNLI", "what a pronoun stands for", _NLI, ("label",), _NO_YES, ("accuracy",)),
        (Answers("WNLI", "test", 146),),
        ("not_entailment", "entailment"),
        source=f"{_ZIPS}/WNLI.zip",
    ),
    GlueTask(
        *("ax", "diagnostic", "the diagnostic set, for a model of MNLI", _NLI, ("label", "Label"), _MNLI),
        *(("matthews",), (Answers("AX", "test", 1104),)),
        source=f"{_ZIPS}/AX.tsv",
    ),
)

GLUE = {task.name: task for task in _TABLE}
"""The nine tasks, and the diagnostic set ``ax``, by name."""
NINE = tuple(name for name in GLUE if name != "ax")
"""The tasks that are trained on, in the order of GLUE's table."""
DIAGNOSTIC = "diagnostic"
"""The part of MNLI's rows that is the diagnostic set, where it tells its labels."""
ONE_FILE = ("diagnostic", "ax")
"""What the one file of the diagnostic set is called, but for case."""
WITH_LABELS = "diagnosticfull"
"""What it is called where it tells the labels, but for case and signs."""
BESIDE = ("wnli",)
"""Tasks that no average counts: WNLI's development rows contradict its training rows."""
_OTHER_NAMES = {
    "sst": "sst2",
    "sts": "stsb",
    "mnlimm": "mnli",
    "mnlim": "mnli",
    "diagnostic": "ax",
    "diagnostics": "ax",
}


def simple_name(name: str) -> str:
    """A name without case and signs.

    Example:
        >>> simple_name("STS-B")
        'stsb'
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def glue_task(name: str) -> GlueTask | None:
    """The task of that name, however it is written; None if GLUE has none.

    Example:
        >>> glue_task("SST-2").name, glue_task("sts_b").folder, glue_task("imdb")
        ('sst2', 'STS-B', None)
    """
    simple = simple_name(name)
    return GLUE.get(_OTHER_NAMES.get(simple, simple))


def folder_names(task: GlueTask) -> Sequence[str]:
    """What the folder of a task may be called, but for case and signs."""
    return [task.name, *(other for other, name in _OTHER_NAMES.items() if name == task.name)]
