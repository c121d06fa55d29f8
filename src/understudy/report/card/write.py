"""The model card: ``README.md`` of a run folder, with everything needed to judge the model and to make it again."""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from understudy.atomic import write_bytes
from understudy.report.numbers import human_count, human_seconds, number
from understudy.report.tables.models import (
    ABSENT,
    TEACHER,
    Record,
    gap_sentence,
    main_model,
    metric_name,
    model_named,
    model_rows,
    selecting_metric,
    shown_split,
)

_MAIN_SETTINGS = (
    *("data", "train", "validation", "test", "text", "label", "limit_train", "unlabeled", "pool_rest", "augment"),
    *("teacher", "teacher_weights", "model", "features", "student", "tokenizer", "cased", "embeddings"),
    *("backward", "bptt", "drop_mult"),
    *("alpha", "distance", "temperature", "epochs", "batch_size", "learning_rate", "schedule", "warmup"),
    *("cycle_momentum", "discriminative", "freeze", "unfreeze", "unfreeze_epochs"),
    *("optimizer", "weight_decay", "clip", "max_length", "metric", "patience", "precision", "time_budget", "seed"),
)
"""Settings that say what was done, in reading order; the rest stands in ``config.yaml``."""

_HUB_METRICS = {
    "f1_macro": "f1",
    "f1_micro": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
_NO_HUB_ID = {"tfidf", "bilstm", "static", "awd_lstm"}
_FILES = {".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", ".gz"}
_KINDS = {
    "single_label": "one of {n} classes",
    "multi_label": "any number of {n} labels",
    "regression": "a number",
}


class _LanguageModel(NamedTuple):
    """How a card speaks of a kind of language model."""

    what: str
    does: str
    unit: str
    command: str
    auto: str
    pipeline: str


_LANGUAGE_MODELS = {
    "language_model": _LanguageModel(
        *("language model", "let it continue a text", "token", 'understudy generate {} "Once upon a time"'),
        *("AutoModelForCausalLM", "text-generation"),
    ),
    "masked_language_model": _LanguageModel(
        *("masked language model", "let it fill in a word", "masked token"),
        *('understudy fill-mask {} "This is a [MASK]."', "AutoModelForMaskedLM", "fill-mask"),
    ),
}
_PLOTS = {
    "quality-latency": "Quality against latency",
    "quality-size": "Quality against size",
    "learning-curves": "Learning curves",
    "confusion": "Confusion matrix",
    "reliability": "Reliability diagram",
}
_LABELS_SHOWN = 60
_BIDI_CONTROLS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


class Markdown(str):
    """Text that is Markdown already; every other value is escaped when the template writes it."""


def escape(value: object) -> Markdown:
    r"""A value as inline Markdown that shows it literally: one line, no markup, no HTML, no table cell of its own.

    Example:
        >>> escape("<b>|`_x_`\n# no")
        '&lt;b&gt;\\|\\`\\_x\\_\\` # no'
        >>> escape("1. first"), escape(12)
        ('1\\. first', '12')
    """
    if isinstance(value, Markdown):
        return value
    line = _one_line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)
    line = re.sub(r"^([#+=-])", r"\\\1", line)  # at the start of a line these begin a heading or a list
    return Markdown(re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line))


def code(value: object) -> Markdown:
    """A value as a code span; the fence is longer than any run of backticks inside.

    Example:
        >>> code("a`b"), code("plain")
        ('``a`b``', '`plain`')
    """
    line = _one_line(value) or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return Markdown(f"{fence}{pad}{line}{pad}{fence}")


def _one_line(value: object) -> str:
    characters = (" " if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} else c for c in str(value))
    return " ".join("".join(characters).translate(_BIDI_CONTROLS).split())


def write_card(folder: Path, record: Record) -> Path:
    """Write the model card into a run folder, with the plots that are there by relative links.

    Args:
        folder: the run folder.
        record: its parsed ``record.json``.

    Returns:
        The card's path, ``README.md`` in the folder.
    """
    folder = Path(folder)
    environment = Environment(
        loader=PackageLoader("understudy.report"),
        autoescape=False,
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    language = record["task"]["kind"] in _LANGUAGE_MODELS
    facts = _facts(folder, record) | (_of_language_model if language else _of_answering)(folder, record)
    text = environment.get_template("language_card.md.j2" if language else "card.md.j2").render(facts)
    path = folder / "README.md"
    write_bytes(path, text.encode())
    return path


def _of_answering(folder: Path, record: Record) -> dict[str, Any]:
    """What only the card of a model that answers has."""
    task, config = record["task"], record.get("config") or {}
    labels, path, pair = list(task.get("labels") or []), _one_line(_path(folder)), len(task["text"]) == 2
    return {
        "shell_example": Markdown(_shell_example(path, pair=pair)),
        "python_example": Markdown(_python_example(path, pair=pair)),
        "answer": _KINDS[task["kind"]].format(n=len(labels)),
        "pair": pair,
        "labels": labels[:_LABELS_SHOWN],
        "more_labels": max(len(labels) - _LABELS_SHOWN, 0),
        "max_length": config.get("max_length"),
    }


def _of_language_model(folder: Path, record: Record) -> dict[str, Any]:
    """What only the card of a language model has."""
    path, config = _one_line(_path(folder)), record.get("config") or {}
    model = _LANGUAGE_MODELS[record["task"]["kind"]]
    ours = str(main_model(record).get("model_type", "")).startswith("understudy_")
    quoted = shlex.quote(path)
    shell = f"{model.command.format(quoted)}\nunderstudy finetune --model {quoted} --data reviews.csv"
    where = json.dumps(f"{path}/model", ensure_ascii=False)
    register = "import understudy\n" if ours else ""
    python = f"from transformers import {model.auto}, AutoTokenizer\n{register}\n"
    python += "understudy.register()\n" if ours else ""
    python += f"model = {model.auto}.from_pretrained({where})\ntokenizer = AutoTokenizer.from_pretrained({where})"
    return {
        "what": model.what + (" that reads from right to left" if config.get("backward") else ""),
        "does": model.does,
        "unit": model.unit,
        "ours": ours,
        "shell_example": Markdown(shell),
        "python_example": Markdown(python),
    }


def _path(folder: Path) -> str:
    return folder.name if folder.is_absolute() else str(folder)


def _facts(folder: Path, record: Record) -> dict[str, Any]:
    """What every card shows."""
    task, config = record["task"], record.get("config") or {}
    rows = list(model_rows(record))
    distilled = model_named(record, TEACHER) is not None and main_model(record)["name"] != TEACHER
    return {
        "absent": ABSENT,
        "front_matter": Markdown(_front_matter(record, distilled=distilled)),
        "name": folder.resolve().name,
        "path": _path(folder),
        "rerun": Markdown(f"understudy {_one_line(record['command'])} --config config.yaml"),
        "origin": {key: _shareable(config.get(key) or "") for key in ("teacher", "student", "model")},
        "distilled": distilled,
        "size": human_count(main_model(record).get("parameters")),
        "split": shown_split(record),
        "metric": metric_name(selecting_metric(record)),
        "others": [metric_name(other, short=True) for other in task["metrics"][1:]],
        "has_kept": any(row.kept != ABSENT for row in rows),
        "rows": rows,
        "gap": gap_sentence(record),
        "plots": [
            (_PLOTS.get(plot.stem, plot.stem), Markdown(f"plots/{quote(plot.name)}"))
            for plot in sorted((folder / "plots").glob("*.png"), key=_plot_order)
        ],
        "settings": list(_settings(config)),
        "phases": [_phase(name, result) for name, result in (record.get("training") or {}).items()],
        "labelling": _labelling(record) if distilled else "",
        "timings": [
            (name.removesuffix("_s").replace("_", " "), human_seconds(seconds))
            for name, seconds in (record.get("timings") or {}).items()
        ],
        "data": [
            (split, f"{number(entry.get('rows')) or 0:,.0f}", str(entry.get("fingerprint") or ABSENT))
            for split, entry in (record.get("data") or {}).items()
        ],
        "notes": list(record.get("notes") or []),
        "environment": [
            (name, value)
            for part in ("versions", "hardware")
            for name, value in (record.get(part) or {}).items()
            if value is not None
        ],
    }


def _shell_example(path: str, *, pair: bool) -> str:
    texts = r"'first text\tsecond text\n'" if pair else r"'a text\nanother one\n'"
    return f"printf {texts} | understudy predict --model {shlex.quote(path)}"


def _python_example(path: str, *, pair: bool) -> str:
    texts = '[("first text", "second text")]' if pair else '["a text", "another one"]'
    return (
        f"import understudy\n\nmodel = understudy.load({json.dumps(path, ensure_ascii=False)})\nmodel.predict({texts})"
    )


def _phase(name: str, result: Mapping[str, Any]) -> str:
    """How a phase of training went, in a sentence."""
    steps, epochs, best, rate = (number(result.get(key)) for key in ("steps", "epochs", "best_step", "learning_rate"))
    stages = len(result.get("stages") or [])
    parts = [f"{steps:,.0f} steps" if steps else "", f"{epochs:.0f} epochs" if epochs else ""]
    parts += [f"{stages} stages" if stages > 1 else ""]
    parts += [f"peak learning rate {rate:g}" if rate else "", f"best at step {best:,.0f}" if best else ""]
    parts += [f"ended by the {result['stopped_by']}" if result.get("stopped_by", "epochs") != "epochs" else ""]
    return f"Training of {name}: " + ", ".join(part for part in parts if part) + "."


def _labelling(record: Record) -> str:
    count = number(record.get("teacher_forward_texts")) or 0
    did = (
        "read {} texts in training"
        if record.get("command") == "distill-lm"
        else "labelled {} distinct texts in this run"
    )
    return f"The teacher {did.format(f'{count:,.0f}')}; answers that it had given before were read from the cache."


def _front_matter(record: Record, *, distilled: bool) -> str:
    """What the hub reads: YAML, so that no name can break out of its value."""
    config, metrics = record.get("config") or {}, record["task"]["metrics"]
    named = (config.get("teacher") if distilled else config.get("model")) or []
    bases = [name for name in ([named] if isinstance(named, str) else named) if _is_hub_id(name)]
    language = _LANGUAGE_MODELS.get(record["task"]["kind"])
    pipeline = language.pipeline if language else "text-classification"
    facts: dict[str, Any] = {
        "library_name": "understudy",
        "pipeline_tag": pipeline,
        "tags": ["understudy", pipeline, *(["knowledge-distillation"] if distilled else [])],
        "metrics": list(dict.fromkeys(_HUB_METRICS.get(metric, metric) for metric in metrics)),
    }
    if bases:
        facts["base_model"] = bases[0] if len(bases) == 1 else bases
    return yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)


def _is_hub_id(name: str) -> bool:
    """Whether a model's name can only be the hub's: shaped like an id, and no file or folder of this machine."""
    first, *rest = name.split("/")
    shaped = re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", name) is not None
    local = Path(name).exists() or (rest and (first == "runs" or Path(first).is_dir())) or Path(name).suffix in _FILES
    return shaped and not local and first not in _NO_HUB_ID


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The main settings that have a value; a choice's own options (``bilstm.hidden``) follow the choice."""
    for key in _MAIN_SETTINGS:
        value = config.get(key)
        if value is None or value is False or value in ("", [], ()):
            continue
        yield key, _shareable(value)
        choice = value.split(":")[0] if isinstance(value, str) else ""
        options = config.get(choice)
        if key in ("student", "model") and isinstance(options, Mapping):
            for option, chosen in options.items():
                if chosen is not None and chosen not in ("", [], ()):
                    yield f"{choice}.{option}", _shareable(chosen)


def _shareable(value: object) -> str:
    """A setting as it may stand in a card: of an absolute path only the last part, which is no one's home folder."""
    if isinstance(value, list | tuple):
        return " ".join(_shareable(item) for item in value)
    text = str(value)
    return Path(text).name if len(text) > 1 and (text[0] in "/~" or re.match(r"[A-Za-z]:\\", text)) else text


def _plot_order(path: Path) -> tuple[int, str]:
    known = list(_PLOTS)
    return (known.index(path.stem) if path.stem in known else len(known)), path.name
