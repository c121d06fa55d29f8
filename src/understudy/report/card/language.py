"""What only the card of a language model shows."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from understudy.report.card.facts import folder_path
from understudy.report.card.markdown import Markdown, one_line
from understudy.report.numbers import human_bytes, human_count
from understudy.report.scores import BEFORE_TRAINING, Record, main_model, model_names
from understudy.report.shown_settings import shareable


class LanguageModelWords(NamedTuple):
    """How a card describes a kind of language model."""

    what: str
    does: str
    """What to try it with; empty for what says no words by itself."""
    unit: str
    """What its scores are means over."""
    command: str
    """Shows it at work; ``{0}`` stands for the folder, ``{1}`` for the model's mask token."""
    auto: str
    """The class of transformers that loads it; empty where none does."""
    pipeline: str
    """The hub's name of what it does; empty where there is none."""


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
_ENCODER = LanguageModelWords("encoder", "", "masked token", "", "AutoModel", "feature-extraction")
_ADAPTER = LanguageModelWords("adapter for a masked language model", "", "masked token", "", "", "")


def language_words(record: Record) -> LanguageModelWords:
    """How a card describes what a run of a language model saved, which may be its encoder or an adapter alone."""
    main, config = _main(record), record.get("config") or {}
    if main.get("headless"):
        return _ENCODER
    # a family has no entries of its own, but its settings tell
    family_adapts = (
        not main and record["command"] == "pretrain" and (config.get("adapter") or config.get("load_adapter"))
    )
    if main.get("model_type") == "adapter" or family_adapts:
        return _ADAPTER
    return LANGUAGE_MODELS[record["task"]["kind"]]


def language_noun(record: Record) -> str:
    """What the model of a record is, in words."""
    # a model that is trained further keeps its direction, whatever the settings say
    backward = _main(record).get("backward") or (record.get("config") or {}).get("backward")
    return language_words(record).what + (" that reads from right to left" if backward else "")


def language_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that only ``language_card.md.j2`` uses."""
    path, words, main = one_line(folder_path(folder)), language_words(record), main_model(record)
    ours = str(main.get("model_type", "")).startswith("understudy_")
    adapter = words is _ADAPTER
    shell = _stacking(record, path) if adapter else _shell_example(words, path, str(main.get("mask_token") or "[MASK]"))
    return {
        "what": language_noun(record),
        "extent": _extent(main, adapter=adapter),
        "adapter": adapter,
        "does": words.does,
        "unit": words.unit,
        "ours": ours,
        "before": next((name for name in model_names(record) if name.endswith(BEFORE_TRAINING)), ""),
        "shell_example": Markdown(shell),
        "python_example": Markdown(_python_example(words, path, ours=ours) if words.auto else ""),
    }


def _main(record: Record) -> Mapping[str, Any]:
    """The entry of the model that the run was for; empty for a family of runs."""
    return main_model(record) if record["models"] else {}


def _extent(main: Mapping[str, Any], *, adapter: bool) -> str:
    """How large what the folder holds is: a sentence or two."""
    whole, own = main.get("parameters"), main.get("own_parameters")
    if not adapter or not whole or not own:
        return f"It has {human_count(whole)} parameters."
    size = human_bytes(main.get("own_bytes"))
    return f"It has {human_count(own)} parameters ({size}). The model, which has {human_count(whole - own)}, stays as it is and is not in the folder."


def _stacking(record: Record, path: str) -> str:
    """The command that trains a classifier on an adapter: by one for the task on top of it, or by training it further."""
    base = one_line(shareable((record.get("config") or {}).get("model")))
    way = "--adapter pfeiffer --stack_on" if main_model(record).get("stacks", True) else "--load_adapter"
    return f"understudy finetune --model {shlex.quote(base)} {way} {shlex.quote(path)} --data reviews.csv"


def _shell_example(words: LanguageModelWords, path: str, mask: str) -> str:
    quoted = shlex.quote(path)
    at_work = f"{words.command.format(quoted, mask)}\n" if words.command else ""
    return f"{at_work}understudy finetune --model {quoted} --data reviews.csv"


def _python_example(words: LanguageModelWords, path: str, *, ours: bool) -> str:
    where = json.dumps(f"{path}/model", ensure_ascii=False)
    lines = [
        f"from transformers import {words.auto}, AutoTokenizer",
        *(["import understudy", "", "understudy.register()"] if ours else [""]),
        f"model = {words.auto}.from_pretrained({where})",
        f"tokenizer = AutoTokenizer.from_pretrained({where})",
    ]
    return "\n".join(lines)
