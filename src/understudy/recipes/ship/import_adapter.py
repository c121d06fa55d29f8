"""``understudy import adapter``: adapters of AdapterHub and PEFT as ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from understudy.adapters.base_names import check_named_base
from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.files import NAME, fill_head, save_adapter
from understudy.adapters.heads import headed
from understudy.adapters.hub.as_ours import facts_of_hub, is_ours, of_pairs
from understudy.adapters.hub.names import fetched
from understudy.adapters.hub.reading import read_hub_adapter
from understudy.adapters.inject import add_adapter, load_tensors
from understudy.adapters.peft.files import is_peft, read_peft
from understudy.adapters.peft.methods import add_peft
from understudy.data.tasks import Kind, Task
from understudy.errors import ConfigError, ModelError
from understudy.inference.adapted import AdaptedPredictor
from understudy.models.files.classifiers import load_encoder
from understudy.models.files.lengths import max_length
from understudy.models.files.names import ADAPTER
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.structure.layers import base_model
from understudy.runs.saving import save_classifier
from understudy.settings.configuration import check
from understudy.settings.ship.import_adapter import ImportAdapterSettings
from understudy.terminal.lines import say, show

_TEXTS = ("A quiet, lovely film.", "Nobody knew what to make of it, and the reviews were mixed at best.", "no")
"""What is answered before and after saving."""


class ImportAdapter(ImportAdapterSettings):
    """Make an adapter of AdapterHub or PEFT one of ours. No code in these files is executed."""

    def run(self) -> Path:
        """Read, check against the base, save; the folder.

        Raises:
            UnderstudyError: if a file cannot be read, or adapter and base do not belong together.
        """
        check(self)
        folder = fetched(self.adapter, base=self.model, kind=self.kind)
        if is_ours(folder):
            raise ModelError(f"{self.adapter}: was written by understudy, so it need not be imported. Use it as it is.")
        model, facts = self._of_peft(folder) if is_peft(folder) else self._of_hub(folder)
        tokenizer = load_tokenizer(self.model)
        check_tokenizer(model, tokenizer, name=self.model)
        length = max_length(getattr(base_model(model), "config", None), tokenizer, None)
        facts = replace(facts, max_length=length)
        output = Path(self.output).expanduser()
        if facts.task is None:
            save_adapter(output, model, facts)
            show(f"{output}: {_named(facts)} without a head. Train one on it:")
            show(f"  understudy finetune --model {self.model} --load_adapter {output} --data ROWS")
            return output
        task = facts.task
        texts: Any = [(text, text) if task.is_pair else text for text in _TEXTS]
        save_classifier(output, AdaptedPredictor(model, tokenizer, facts), texts)
        labels = ", ".join(task.labels) or "a number"
        show(f"{output}: {_named(facts)} of {self.model}; it answers {labels}.")
        show(f"Go on with:\n  understudy predict --model {output} --input FILE")
        return output

    def _of_hub(self, folder: Path) -> tuple[Any, AdapterFacts]:
        if self.multi_label:
            raise ConfigError("--multi_label is for adapters of PEFT: AdapterHub's files say it. Leave it out.")
        found = read_hub_adapter(folder)
        task = None if found.task is None else self._named(found.task)
        model = (
            load_encoder(self.model) if task is None else headed(self.model, task, "first_token", found.head_options)
        )
        facts = facts_of_hub(found, model, base=self.model, task=task, length=1, origin=str(folder))
        self._compare(found.base, facts.base, folder, key="model_name")
        add_adapter(model, NAME, found.design)
        load_tensors(model, NAME, found.tensors, origin=str(folder))
        if task is not None:
            _fill(model, {f"head.{key}": value for key, value in found.head.items()}, origin=folder)
        return model, facts

    def _of_peft(self, folder: Path) -> tuple[Any, AdapterFacts]:
        found = read_peft(folder)
        last = [value for key, value in sorted(found.head.items()) if key.endswith("weight") and value.dim() == 2]
        task = None
        if last:
            outputs = min(len(value) for value in last)  # one output is a number, as transformers has it
            kind: Kind = "multi_label" if self.multi_label else "single_label" if outputs > 1 else "regression"
            labels = () if kind == "regression" else tuple(f"LABEL_{i}" for i in range(outputs))
            task = self._named(Task(text=(("text",),), label="label", kind=kind, labels=labels))
        model = load_encoder(self.model) if task is None else headed(self.model, task, "architecture", {})
        base = Base.of(model, self.model)
        self._compare(found.base, base, folder, key="base_model_name_or_path")
        add_peft(model, NAME, found.method, found.design, origin=str(folder))
        prefix = f"{model.base_model_prefix}."
        tensors = {key.removeprefix(prefix): value for key, value in found.tensors.items()}
        load_tensors(model, NAME, tensors, origin=str(folder))
        if task is not None:
            if task.kind == "single_label":
                say(
                    "  PEFT's files do not say whether a text may have several labels: it gets one here (see --multi_label)."
                )
            inner = {key.removeprefix(prefix) for key in found.head if key.startswith(prefix)}
            model.new_in_encoder = frozenset({*getattr(model, "new_in_encoder", ()), *inner})
            _fill(model, found.head, origin=folder)
        facts = AdapterFacts(
            method=found.method,
            design=found.design,
            base=base,
            task=task,
            head=None if task is None else "architecture",
            max_length=1,
        )
        return model, facts

    def _compare(self, told: str, base: Base, folder: Path, *, key: str) -> None:
        """Compare the base that the files name with ``--model``; where that cannot be done it is said.

        Raises:
            ModelError: if they are different checkpoints.
        """
        place = f"'{key}' in {folder / ADAPTER}"
        origin = str(folder)
        if not check_named_base(told, self.model, base.model_type, origin=origin, place=place, force=self.force):
            say(f"  {folder}: was trained in {told}. Nothing here tells whether that is {self.model}: see that it is.")

    def _named(self, task: Task) -> Task:
        """The task with the labels of ``--labels``, if there are any, and of pairs with ``--pair``.

        Raises:
            ConfigError: if they are not as many as the outputs.
        """
        task = of_pairs(task) if self.pair else task
        if not self.labels:
            return task
        if len(self.labels) != task.outputs or not task.labels:
            raise ConfigError(f"--labels names {len(self.labels)} labels, but the head has {task.outputs} outputs.")
        return replace(task, labels=tuple(self.labels), metrics=())


def _named(facts: AdapterFacts) -> str:
    return f"{'an' if facts.title[0] == 'i' else 'a'} {facts.title} adapter"


def _fill(model: Any, tensors: dict[str, torch.Tensor], *, origin: Path) -> None:
    """Give a model's head the weights of an imported one."""
    fill_head(model, tensors, what=f"{origin}: its head", to=type(model).__name__, remedy="Name another --model.")
