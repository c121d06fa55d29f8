"""Whether a page answers as the model does: its own code, run by Node, against the exported model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.data.tasks import Text
from understudy.data.tokens.backend import as_string
from understudy.errors import ModelError
from understudy.inference.answers import predictions
from understudy.inference.exported.predictor import ExportedPredictor

_SCRIPT = Path(__file__).parent / "check.js"
_WAIT_S = 600
_MOST_OTHER = 0.01
"""The share of texts that may get other ids or, with small weights, another label; and of the largest number that one may differ by."""


@dataclass(frozen=True)
class Agreement:
    """What was compared, and what differed."""

    texts: int
    other_ids: int
    """Texts that the page's tokenizer splits otherwise."""
    other_labels: int
    difference: float
    """The largest difference of a logit, over texts with the same ids."""


def agreement(folder: Path, source: ExportedPredictor, texts: Sequence[Text]) -> Agreement | None:
    """Have the page's code answer texts and compare; None where Node is not installed.

    Args:
        folder: of the page.
        source: the exported model that the page was made of.

    Raises:
        ModelError: if it cannot answer, or answers otherwise.
    """
    node = shutil.which("node")
    if node is None:
        return None
    given = json.dumps([list(text) if isinstance(text := as_string(row), tuple) else text for row in texts])
    command = [node, str(_SCRIPT), str(folder.absolute())]
    try:
        done = subprocess.run(command, input=given, capture_output=True, encoding="utf-8", timeout=_WAIT_S, check=False)
        answers = json.loads(done.stdout) if done.returncode == 0 else None
        told = done.stderr
    except (subprocess.TimeoutExpired, ValueError) as error:
        answers, told = None, str(error)
    if answers is None:
        raise ModelError(
            f"the page's own code cannot answer for this model ({_reason(told)}). Export it with --format onnx."
        )
    same = np.array(
        [
            source.encoder.one(text)[0] == one["ids"] or not source.encoder.one(text)[0]
            for text, one in zip(texts, answers)
        ]
    )
    expected = np.concatenate([source.logits([text]) for text in texts])
    found = np.array([one["logits"] for one in answers], np.float32).reshape(expected.shape)
    labels = [
        [one.label for one in predictions(logits, source.task, temperature=source.temperature)]
        for logits in (expected, found)
    ]
    return Agreement(
        texts=len(texts),
        other_ids=int((~same).sum()),
        other_labels=0 if source.task.kind == "regression" else sum(one != other for one, other in zip(*labels)),
        difference=float(np.abs(found - expected)[same].max(initial=0)),
    )


def check_agreement(
    folder: Path, found: Agreement, source: ExportedPredictor, texts: Sequence[Text], *, tolerance: float
) -> None:
    """Refuse a page that answers otherwise.

    Args:
        tolerance: with float32 weights, the largest difference of a logit, times the largest logit where that is above 1.
            Small weights of a regression may make a hundredth.

    Raises:
        ModelError: if more than one text in a hundred gets other ids or another label, or a logit differs by more than that.
    """
    if found.other_ids > _MOST_OTHER * found.texts:
        raise ModelError(
            f"{folder}: is not written, because @huggingface/tokenizers, which reads texts in a browser, splits {found.other_ids:,} of {found.texts:,} texts otherwise than this model's tokenizer. Distil it into a student with word pieces or words of its own: --student bilstm or static."
        )
    largest = max(1.0, float(np.abs(source.logits(texts)).max()))
    exact, regression = source.facts.quantized is None, source.task.kind == "regression"
    most = largest * (tolerance if exact else _MOST_OTHER if regression else np.inf)
    if found.other_labels > _MOST_OTHER * found.texts or found.difference > most:
        raise ModelError(
            f"{folder}: is not written, because the page answers otherwise than the model: a logit differs by {found.difference:.1e} and {found.other_labels:,} of {found.texts:,} labels differ. Please report this model."
        )


def _reason(told: str) -> str:
    """The line of Node's report that says what went wrong.

    Example:
        >>> _reason("bag.js:31\\n  if (!type) throw new Error(`x`);\\n\\nError: bag.npz is damaged.\\n    at readArray")
        'Error: bag.npz is damaged.'
    """
    lines = [line.strip() for line in told.splitlines() if re.match(r"\W*\w*Error\b", line)]
    return (lines[0] if lines else " ".join(told.split()))[:200] or "no reason given"
