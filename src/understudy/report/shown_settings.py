"""The settings that a model card shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.report.scores import Record

_MAIN = (
    *("data", "train", "validation", "test", "text", "label", "limit_train", "unlabeled", "pool_rest", "augment"),
    *(
        "teacher",
        "teacher_weights",
        "model",
        "features",
        "adapter",
        "reduction",
        "reductions",
        "load_adapter",
        "student",
        "tokenizer",
        "cased",
        "embeddings",
    ),
    *("backward", "bptt", "drop_mult"),
    *("heads", "neurons", "magnitude", "rounds", "recovery"),
    *("vocabulary", "blocks", "mask_probability", "whole_words", "start", "pooling"),
    *("ce_weight", "mlm_weight", "cosine_weight", "hidden_weight", "attention_weight", "relation_weight"),
    *("alpha", "distance", "temperature", "epochs", "batch_size", "learning_rate", "schedule", "warmup"),
    *("cycle_momentum", "discriminative", "freeze", "unfreeze", "unfreeze_epochs"),
    *("optimizer", "weight_decay", "clip", "max_length", "metric", "patience", "precision", "time_budget", "seed"),
)
"""Settings that are shown with their defaults too, in reading order."""

HIDDEN = [
    "output",  # the folder that the card lies in
    "overwrite",
    "resume",  # a resumed run ends with the same weights
    "dry_run",
    "quiet",  # what was printed
    "save_steps",  # how often a checkpoint is written, which changes no weight
    "track",  # where the curves were also sent
]
"""Settings that a card never shows, because they say nothing about the result."""


def shown_settings(record: Record) -> list[tuple[str, str]]:
    """The settings in a model card, as names and values.

    First the main settings that have a value, in reading order, each choice followed by its own options
    (``student``, ``bilstm.hidden``). Then every other setting in the record's ``given``, in its order, unless it is
    :data:`HIDDEN`.

    Args:
        record: a parsed ``record.json``; ``given`` holds the settings that differ from their command's default, those
            of a group with a dot. Older records have none.

    Example:
        >>> shown_settings({"config": {"epochs": 3, "freeze": []}, "given": {"mlm_weight": 1.0, "output": "runs/a"}})
        [('mlm_weight', '1.0'), ('epochs', '3')]
    """
    given: Mapping[str, Any] = record.get("given") or {}
    shown = dict(_main_settings(record.get("config") or {}, given))
    rest = {name: shareable(value) for name, value in given.items() if name not in shown and name not in HIDDEN}
    return [*shown.items(), *rest.items()]


def _main_settings(config: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The main settings that have a value or were given, and the options of a choice after it."""
    for name in _MAIN:
        value = given.get(name, config.get(name))
        if name not in given and (_is_empty(value) or value is False):
            continue
        yield name, shareable(value)
        choice = value.split(":")[0] if isinstance(value, str) else ""
        options = config.get(choice)
        if name in ("student", "model") and isinstance(options, Mapping):
            yield from (
                (f"{choice}.{option}", shareable(chosen)) for option, chosen in options.items() if not _is_empty(chosen)
            )


def _is_empty(value: object) -> bool:
    return value is None or value in ("", [], ())


def shareable(value: object) -> str:
    """A setting as a card shows it: of an absolute path only the last part, because the rest tells of someone's home.

    Example:
        >>> shareable(["/home/ada/teacher", "runs/other"]), shareable(None), shareable(0.5)
        ('teacher runs/other', 'none', '0.5')
        >>> shareable("mine=/home/ada/bert+lora")
        'mine=bert+lora'
    """
    if _is_empty(value):
        return "none"
    if isinstance(value, list | tuple):
        return " ".join(shareable(item) for item in value)
    text = str(value)
    name, named, path = text.partition("=")  # a model of a comparison
    if named and path[:1] in ("/", "~"):
        return f"{name}={Path(path).name}"
    return Path(text).name if len(text) > 1 and (text[0] in "/~" or re.match(r"[A-Za-z]:\\", text)) else text
