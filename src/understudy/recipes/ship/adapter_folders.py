"""``understudy adapter list``, ``info``, ``merge`` and ``average``: what is done with adapters on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from rich.text import Text

from understudy.adapters.design import AdapterDesign
from understudy.adapters.facts import AdapterFacts, mean_facts
from understudy.adapters.files import BELOW, NAME, load_adapted, load_adapted_encoder, mean_of, stored_count
from understudy.adapters.folding import fold_parallel
from understudy.adapters.inject import adapter_tensors
from understudy.adapters.peft.methods import METHODS, merge_peft
from understudy.errors import ModelError, UnderstudyError
from understudy.inference.adapted import AdaptedPredictor
from understudy.inference.predictor import Predictor
from understudy.models.files.names import ADAPTER, adapter_folder, check_undamaged, run_name
from understudy.models.files.trained import TrainedModel
from understudy.report.metric_names import human_score, metric_name
from understudy.report.numbers import ABSENT, human_bytes, human_count
from understudy.report.tables.cells import lines, plain_table
from understudy.runs.saving import save_adapter_alone, save_classifier
from understudy.settings.configuration import check
from understudy.settings.ship.adapter_folders import (
    AdapterAverageSettings,
    AdapterInfoSettings,
    AdapterListSettings,
    AdapterMergeSettings,
)
from understudy.terminal.lines import say, show
from understudy.terminal.screen import draw_or_return

_TEXTS = ("A quiet, lovely film.", "Nobody knew what to make of it, and the reviews were mixed at best.", "no")


class AdapterList(AdapterListSettings):
    """List the adapters in a folder and below: kind, parameters, bytes, score, base."""

    def run(self) -> list[dict[str, Any]]:
        """Print a row for each; what is known of each."""
        check(self)
        found = []
        for path in sorted(Path(self.folder).expanduser().rglob(ADAPTER)):
            try:
                found.append(described(path.parent))
            except UnderstudyError as error:
                say(f"  {' '.join(error.faults)}")
        if not found:
            show(f"{self.folder}: no adapters.")
            return found
        return draw_or_return(found, _table(found))


class AdapterInfo(AdapterInfoSettings):
    """Say what an adapter is: kind, size, task, scores, and the base that it belongs to."""

    def run(self) -> dict[str, Any]:
        """Print it, a line a fact; the facts.

        Raises:
            UnderstudyError: if it cannot be read.
        """
        check(self)
        folder = adapter_folder(self.adapter)
        assert folder is not None
        told = described(folder)
        for name, value in told.items():
            show(f"  {name:<12}{value}")
        return told


class AdapterMerge(AdapterMergeSettings):
    """Fold a lora, an ia3 or a parallel adapter into its base: a plain model."""

    def run(self) -> Path:
        """Load, merge, save; the folder.

        Raises:
            UnderstudyError: if it cannot be loaded, or cannot be folded into anything.
        """
        check(self)
        trained = load_adapted(self.adapter, force=self.force)
        if trained.adapter.method == "fusion":
            raise ModelError(
                f"{self.adapter}: is a fusion, which is no part of any weight of the base. Use it as it is."
            )
        if trained.adapter.head == "first_token":
            raise ModelError(
                f"{self.adapter}: its head is AdapterHub's, which no plain model has. Use it as it is, or train one here on its base."
            )
        if trained.adapter.below is not None:
            raise ModelError(
                f"{self.adapter}: is stacked on another adapter, which cannot be added to a weight of the base. Train it without --stack_on."
            )
        before = _predictor(trained).logits(_texts(trained))
        if trained.adapter.method in METHODS:
            merge_peft(trained.model)
        else:
            fold_parallel(trained.model, NAME, AdapterDesign.from_dict(trained.adapter.design), origin=self.adapter)
        output = Path(self.output).expanduser()
        merged = _predictor(trained)
        save_classifier(output, merged, _texts(trained))
        change = float(abs(merged.logits(_texts(trained)) - before).max())
        show(
            f"{output}: the base with the {trained.adapter.kind} in its weights; its answers moved by {change:.1e} at most."
        )
        return output


class AdapterAverage(AdapterAverageSettings):
    """Make one adapter of several of one task and shape: the mean of their weights and of their heads'."""

    def run(self) -> Path:
        """Load, average, save; the folder.

        Raises:
            UnderstudyError: if they cannot be loaded, or are not of one task and one shape.
        """
        check(self)
        folders = [adapter_folder(name) for name in self.adapters]
        facts = [AdapterFacts.read(folder) for folder in folders if folder is not None]
        whole = mean_facts(self.adapters, facts, force=self.force)
        output = Path(self.output).expanduser()
        if whole.task is None:
            self._average_alone(output, whole)
            return output
        made: list[AdaptedPredictor] = []
        for name in self.adapters:
            trained = load_adapted(name, force=self.force)
            made.append(AdaptedPredictor(trained.model, trained.tokenizer, trained.adapter))
        _check_below(self.adapters, [one.model for one in made], whole)
        _fill(made[0].own(), [one.own() for one in made])
        average = AdaptedPredictor(made[0].model, made[0].tokenizer, replace(whole, base=made[0].facts.base))
        save_classifier(output, average, _texts(average))
        show(f"{output}: the mean of {len(made)} adapters.")
        return output

    def _average_alone(self, output: Path, whole: AdapterFacts) -> None:
        """The same for adapters without heads."""
        made = [load_adapted_encoder(name, force=self.force) for name in self.adapters]
        models = [one.model for one in made]
        _check_below(self.adapters, models, whole)
        _fill(adapter_tensors(models[0], NAME), [adapter_tensors(model, NAME) for model in models])
        save_adapter_alone(output, models[0], replace(whole, base=made[0].facts.base), half=False)
        show(f"{output}: the mean of {len(made)} adapters, without a head like them.")


@torch.no_grad()
def _fill(own: Mapping[str, torch.nn.Parameter], several: Sequence[Mapping[str, torch.nn.Parameter]]) -> None:
    """Give parameters the mean of those of several adapters."""
    for key, value in mean_of(several).items():
        own[key].copy_(value)


def _check_below(names: Sequence[str], models: Sequence[Any], facts: AdapterFacts) -> None:
    """Check that adapters that are stacked on others are stacked on the same one.

    Raises:
        ModelError: if they are not.
    """
    if facts.below is None:
        return
    first, *others = (adapter_tensors(model, BELOW) for model in models)
    for name, below in zip(names[1:], others):
        if not all(torch.equal(below[key], value) for key, value in first.items()):
            raise ModelError(
                f"{name}: is stacked on another adapter than {names[0]}. Only adapters that are stacked on the same one can be averaged."
            )


def described(folder: Path) -> dict[str, Any]:
    """What is known of an adapter: of its files, and of the record of the run that trained it.

    Raises:
        ModelError: if it cannot be read, or a file of it is damaged.
    """
    facts = AdapterFacts.read(folder)
    check_undamaged(folder, weights=True)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    record = next(_records(folder), {})
    entry: dict[str, Any] = next((model for model in record.get("models") or [] if "own_parameters" in model), {})
    scores: dict[str, Any] = next(iter((entry.get("metrics") or {}).values()), {})
    metric = next(iter(scores), None)
    own, whole = entry.get("own_parameters"), entry.get("parameters")
    if own is None:  # nothing trained it here: its files tell, and those of its base
        own = stored_count(*folder.glob("*.safetensors"))
        base = [] if facts.base.kept is not None else [*Path(facts.base.name).glob("*.safetensors")]
        whole = own + stored_count(*base) if base else None
    task = facts.task
    return {
        "adapter": str(folder.parent if folder.name == "model" else folder),
        "kind": facts.title,
        "parameters": human_count(own),
        "share": f"{100 * own / whole:.2g} % of {human_count(whole)}" if whole else ABSENT,
        "size": human_bytes(size),
        "task": "none: it has no head" if task is None else f"{task.kind}: {', '.join(task.labels) or task.label}",
        "score": ABSENT if metric is None else f"{metric_name(metric)} {human_score(metric, scores[metric])}",
        "base": facts.base.name,
        "fingerprint": facts.base.fingerprint[:16] or ABSENT,
    }


def _table(found: list[dict[str, Any]]) -> Table:
    """The adapters below each other. Each has several lines, so that there is room for their paths."""
    table = plain_table()
    table.leading = 1
    table.add_column("adapter", overflow="fold")
    table.add_column("kind")
    table.add_column(lines("parameters", "share", "size"), no_wrap=True)
    table.add_column(lines("score", "task"), overflow="fold")
    table.add_column(lines("base", "fingerprint"), overflow="fold")
    for row in found:
        path = Path(row["base"])
        base = f"…/{run_name(path)}" if path.is_absolute() else row["base"]
        table.add_row(
            Text(row["adapter"]),
            Text(row["kind"]),
            lines(row["parameters"], row["share"].partition(" of")[0], row["size"]),
            lines(row["score"], row["task"]),
            lines(base, row["fingerprint"][:8]),
        )
    return table


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for run in (folder, *([folder.parent] if folder.name == "model" else [])):
        try:
            told = json.loads((run / "record.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(told, dict):
            yield told


def _predictor(trained: TrainedModel) -> Predictor:
    return Predictor(
        trained.model, trained.tokenizer, trained.task, trained.max_length, temperature=trained.temperature
    )


def _texts(model: Any) -> list[Any]:
    return [(text, text) if model.task.is_pair else text for text in _TEXTS]
