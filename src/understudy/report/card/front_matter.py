"""The front matter of a card: what the hub reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from understudy.models.files.names import STUDENTS, UNTRAINED_LANGUAGE_MODELS
from understudy.report.card.embeddings import EMBEDDING_MODEL
from understudy.report.card.language import LANGUAGE_MODELS, language_words
from understudy.report.scores import Record, is_distilled

_HUB_METRICS = {
    "f1_macro": "f1",
    "f1_micro": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
"""The hub's names of our metrics, where they differ."""
_FILES = {".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", ".gz"}


def front_matter(record: Record) -> str:
    """The front matter as YAML, so that no name can break out of its value."""
    return as_yaml(front_facts(record))


def as_yaml(facts: dict[str, Any]) -> str:
    """Facts of a front matter as they stand in a card."""
    return yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)


def hub_metric(metric: str) -> str:
    """The hub's name of a metric."""
    return _HUB_METRICS.get(metric, metric)


def front_facts(record: Record) -> dict[str, Any]:
    """What the front matter of a run's card says."""
    config, metrics = record.get("config") or {}, record["task"]["metrics"]
    distilled = is_distilled(record)
    named = (config.get("teacher") if distilled else config.get("model")) or []
    bases = [name for name in ([named] if isinstance(named, str) else named) if is_hub_id(name)]
    kind = record["task"]["kind"]
    pipeline = language_words(record).pipeline if kind in LANGUAGE_MODELS else "text-classification"
    if kind == EMBEDDING_MODEL:
        pipeline = "feature-extraction"
    facts: dict[str, Any] = {
        "library_name": "understudy",
        **({"pipeline_tag": pipeline} if pipeline else {}),
        "tags": ["understudy", pipeline or "adapter", *(["knowledge-distillation"] if distilled else [])],
        "metrics": list(dict.fromkeys(map(hub_metric, metrics))),
    }
    if bases:
        facts["base_model"] = bases[0] if len(bases) == 1 else bases
    return facts


def is_hub_id(name: str) -> bool:
    """Whether a model's name can only be one of the hub: it has the form of an id and is no file or folder of this machine."""
    first, *rest = name.split("/")
    shaped = re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name) is not None
    local = Path(name).exists() or (rest and (first == "runs" or Path(first).is_dir())) or Path(name).suffix in _FILES
    return shaped and not local and first not in (*STUDENTS, *UNTRAINED_LANGUAGE_MODELS)
