"""A trained classifier, loaded with everything that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.files.lengths import max_length
from understudy.models.files.names import fine_tune, kind_of_type, resolve
from understudy.models.files.pretrained import first_names, load_pretrained, read_pretrained
from understudy.models.files.quiet import explained
from understudy.models.files.stored_task import is_language_model, stored_task, stored_temperature
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.structure.layers import base_model


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained classifier and everything that is needed to use it.

    Multi-task models will have several tasks.
    """

    kind: str
    """What loads it, as in :func:`understudy.models.files.names.kind_of`: ``transformer``, ``bilstm``, …"""
    model: Any
    """In eval mode."""
    tokenizer: PreTrainedTokenizerBase
    task: Task
    max_length: int
    """How many tokens of a text the model reads, special tokens included."""
    temperature: float = 1.0
    """Divides the logits before they become probabilities."""
    adapter: Any = None
    """Of a base with an adapter, what is known of the adapter: :class:`understudy.adapters.facts.AdapterFacts`."""


def load_trained(name: str) -> TrainedModel:
    """A trained classifier: one that :func:`understudy.models.files.save.save_model` wrote, or one of transformers' own.

    For a checkpoint that was not written here the task is read from its labels, with one text in a column ``text``.

    Raises:
        ModelError: if the classifier cannot be loaded, or has no trained head.
    """
    path = resolve(name)
    loader, config = read_pretrained(path)
    if is_language_model(config):
        raise ModelError(
            f"{path}: is a language model, not a trained classifier. Fine-tune it first ({fine_tune(name)})."
        )
    model, lacking = load_pretrained(path, loader, config)
    if lacking:
        missing = sorted(lacking)
        remedy = (
            "Give a complete checkpoint." if _in_encoder(missing, model) else f"Fine-tune it first ({fine_tune(name)})."
        )
        raise ModelError(f"{path}: is not a trained classifier: it lacks {first_names(missing)}. {remedy}")
    tokenizer = load_tokenizer(path)
    check_tokenizer(model, tokenizer, name=path)
    with explained(path):
        task, temperature = stored_task(config), stored_temperature(config)
    assert task is not None  # a configuration always has labels: LABEL_0 and LABEL_1 by default
    own = getattr(config, "understudy", None) or {}
    length = max_length(config, tokenizer, own.get("max_length"))
    return TrainedModel(
        kind=str(own.get("kind") or kind_of_type(config.model_type)),
        model=model.eval(),
        tokenizer=tokenizer,
        task=task,
        max_length=own.get("max_length") or length,
        temperature=temperature,
    )


def _in_encoder(keys: list[str], model: Any) -> bool:
    base = base_model(model)
    inside = {id(parameter) for parameter in base.parameters()} if base is not model else set()
    parameters = dict(model.named_parameters())
    return any(id(parameters.get(key)) in inside and "pooler" not in key for key in keys)
