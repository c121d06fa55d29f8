"""The card of a model on the hub: what the hub shows of it, and how to use it from there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.report.card.front_matter import as_yaml, front_facts, hub_metric, is_hub_id
from understudy.report.card.write import card_text
from understudy.report.metric_names import metric_name
from understudy.report.numbers import number
from understudy.report.scores import Record, main_model, shown_split
from understudy.report.shown_settings import shareable


def hub_card(folder: Path, record: Record, *, repository: str, languages: Sequence[str], licence: str | None) -> str:
    """The card of a run, for the hub. No text of the data is in it.

    Args:
        folder: the run folder.
        record: its parsed ``record.json``.
        repository: ``user/name``.
        languages: codes such as ``en``.
        licence: as the hub names it, such as ``apache-2.0``.
    """
    without_texts = {key: value for key, value in record.items() if key != "mistakes"}
    facts = _named(languages, licence) | front_facts(record) | _data(record)
    if index := model_index(record, repository.partition("/")[2]):
        facts["model-index"] = index
    text = card_text(folder, without_texts, front=as_yaml(facts), hub=_use(repository, pair=_is_pair(record)))
    title = folder.resolve().name
    return text.replace(f"\n# {title}\n", f"\n# {repository.partition('/')[2]}\n", 1)


def plain_hub_card(
    what: str, *, repository: str, pair: bool, pipeline: str, languages: Sequence[str], licence: str | None
) -> str:
    """The card of a model without a record, such as an exported one.

    Args:
        what: a sentence on the model.
        pair: whether it reads two texts.
        pipeline: what the hub calls its task.
    """
    facts = {"library_name": "understudy", "pipeline_tag": pipeline, "tags": ["understudy", pipeline]}
    name = repository.partition("/")[2]
    front = as_yaml(_named(languages, licence) | facts)
    return f"---\n{front}---\n\n# {name}\n\n{what}\n\n## How to use it\n\n{_use(repository, pair=pair)}\n"


def model_index(record: Record, name: str) -> list[dict[str, Any]]:
    """The scores of a run's main model on the split that the report shows, as the hub reads them; empty if it has none.

    Example:
        >>> scores = {"test": {"accuracy": 0.9, "f1_macro": 0.8}}
        >>> record = {"task": {"kind": "single_label", "metrics": ["accuracy", "f1_macro"]}, "config": {"data": "ag_news"},
        ...           "models": [{"name": "student", "metrics": scores}]}
        >>> (result,) = model_index(record, "small")[0]["results"]
        >>> result["dataset"], [(one["type"], one["value"]) for one in result["metrics"]]
        ({'name': 'ag_news', 'type': 'ag_news', 'split': 'test'}, [('accuracy', 0.9), ('f1', 0.8)])
    """
    split = shown_split(record)
    scores = (main_model(record).get("metrics") or {}).get(split) or {}
    metrics = [
        {"type": hub_metric(metric), "value": value, "name": metric_name(metric)}
        for metric in record["task"]["metrics"]
        if (value := number(scores.get(metric))) is not None
    ]
    if not metrics:
        return []
    data = _data_name(record)
    dataset = {"name": data, "type": re.sub(r"[^\w./-]+", "-", data) or "data", "split": split}
    # an adapter for a language has no pipeline; what was scored is the model with it in
    task = {"type": str(front_facts(record).get("pipeline_tag", "fill-mask"))}
    return [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}]


def _named(languages: Sequence[str], licence: str | None) -> dict[str, Any]:
    return ({"language": list(languages)} if languages else {}) | ({"license": licence} if licence else {})


def _data(record: Record) -> dict[str, Any]:
    """The data set, if it is one of the hub."""
    data = str((record.get("config") or {}).get("data") or "")
    return {"datasets": [data]} if "/" in data and is_hub_id(data) else {}


def _data_name(record: Record) -> str:
    """What the data are called: of a path its last part."""
    config: Mapping[str, Any] = record.get("config") or {}
    data = config.get("data") or config.get("train") or config.get("task") or "own data"
    named = shareable(data[0] if isinstance(data, list) and data else data)
    return named if is_hub_id(named) else (Path(named).name or named)


def _is_pair(record: Record) -> bool:
    return len(record["task"].get("text") or []) == 2


def _use(repository: str, *, pair: bool) -> str:
    texts = '[("first text", "second text")]' if pair else '["a text", "another one"]'
    return f"""```python
from huggingface_hub import snapshot_download
import understudy

model = understudy.load(snapshot_download("{repository}"))
model.predict({texts})
```"""
