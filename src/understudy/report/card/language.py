"""What only the card of a language model shows."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from understudy.report.card.facts import folder_path
from understudy.report.card.markdown import Markdown, one_line
from understudy.report.scores import BEFORE_TRAINING, Record, main_model, model_names


class LanguageModelWords(NamedTuple):
    """How a card describes a kind of language model."""

    what: str
    does: str
    unit: str
    """What its scores are means over."""
    command: str
    """Shows it at work; ``{0}`` stands for the folder, ``{1}`` for the model's mask token."""
    auto: str
    """The class of transformers that loads it."""
    pipeline: str
    """The hub's name of what it does."""


LANGUAGE_MODELS = {
    "language_model": LanguageModelWords(
        *("language model", "let it continue a text", "token", 'understudy generate {0} "Once upon a time"'),
        *("AutoModelForCausalLM", "text-generation"),
    ),
    "masked_language_model": LanguageModelWords(
        *("masked language model", "let it fill in a word", "masked token"),
        *('understudy fill-mask {0} "This is a {1}."', "AutoModelForMaskedLM", "fill-mask"),
    ),
}
"""By the ``kind`` of the record's task."""


def language_noun(record: Record) -> str:
    """What the model of a record is, in words."""
    what = LANGUAGE_MODELS[record["task"]["kind"]].what
    return what + (" that reads from right to left" if (record.get("config") or {}).get("backward") else "")


def language_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that only ``language_card.md.j2`` uses."""
    path, words = one_line(folder_path(folder)), LANGUAGE_MODELS[record["task"]["kind"]]
    ours = str(main_model(record).get("model_type", "")).startswith("understudy_")
    return {
        "what": language_noun(record),
        "does": words.does,
        "unit": words.unit,
        "ours": ours,
        "before": next((name for name in model_names(record) if name.endswith(BEFORE_TRAINING)), ""),
        "shell_example": Markdown(_shell_example(words, path, str(main_model(record).get("mask_token") or "[MASK]"))),
        "python_example": Markdown(_python_example(words, path, ours=ours)),
    }


def _shell_example(words: LanguageModelWords, path: str, mask: str) -> str:
    quoted = shlex.quote(path)
    return f"{words.command.format(quoted, mask)}\nunderstudy finetune --model {quoted} --data reviews.csv"


def _python_example(words: LanguageModelWords, path: str, *, ours: bool) -> str:
    where = json.dumps(f"{path}/model", ensure_ascii=False)
    lines = [
        f"from transformers import {words.auto}, AutoTokenizer",
        *(["import understudy", "", "understudy.register()"] if ours else [""]),
        f"model = {words.auto}.from_pretrained({where})",
        f"tokenizer = AutoTokenizer.from_pretrained({where})",
    ]
    return "\n".join(lines)
