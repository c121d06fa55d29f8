"""The heads of models with adapters: from an encoder's states to the outputs of a task."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from understudy.adapters.hub.architectures import PREFIXES
from understudy.adapters.layers.bottleneck import FUNCTIONS
from understudy.data.tasks import Task
from understudy.errors import ModelError, shortened
from understudy.models.files.classifiers import (
    load_apart_classifier,
    load_classifier,
    load_encoder,
    load_mean_classifier,
)
from understudy.models.files.stored_task import set_task
from understudy.models.structure.layers import base_model
from understudy.models.students.apart import ApartClassifier, compared
from understudy.models.students.pair_rows import PairLayout, split_pairs
from understudy.models.students.pooled import PooledClassifier, PooledEncoder, mean_pooled

Head = Literal["architecture", "mean", "apart", "first_token"]
"""The architecture's own; a linear layer on the mean of the states, or on the comparison of the means of the two texts of a pair;
AdapterHub's layers on the first token's state."""


class FirstTokenHead(nn.Module):
    """AdapterHub's head: one or more linear layers on the first token's last state, with a function before each but the first.

    Args:
        width: of the states.
        outputs: of the task.
        layers: how many linear layers.
        function: a name in :data:`understudy.adapters.layers.bottleneck.FUNCTIONS`.
        bias: whether the last layer has a bias.
    """

    def __init__(self, width: int, outputs: int, *, layers: int = 2, function: str = "tanh", bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(width, width) for _ in range(layers - 1))
        self.linear.append(nn.Linear(width, outputs, bias=bias))
        self.name, self.function = function, FUNCTIONS[function]

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Outputs ``(rows, outputs)`` for states ``(rows, tokens, width)``; no mask is read."""
        read = states[:, 0]
        for i, linear in enumerate(self.linear):
            read = linear(read if i == 0 else self.function(read))
        return read


class MeanHead(nn.Module):
    """A linear layer on the mean of the real tokens' last states.

    Args:
        width: of the states.
        outputs: of the task.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, outputs)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Outputs ``(rows, outputs)`` for states ``(rows, tokens, width)`` and their mask ``(rows, tokens)``."""
        return self.classifier(mean_pooled(states, mask))


class ApartHead(nn.Module):
    """A linear layer on the comparison of two means of states: an encoder has read each text of a pair by itself.

    Args:
        width: of the states.
        outputs: of the task.
        layout: of the tokenizer.
        pad_id: what shorter texts are padded with.
    """

    def __init__(self, width: int, outputs: int, *, layout: PairLayout, pad_id: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(ApartClassifier.widths * width, outputs)
        self.layout, self.pad_id = layout, pad_id

    def split(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the encoder is to read for a batch of joined pairs: all first texts, then all second ones."""
        ids, mask, segments = inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"]
        ids, mask = split_pairs(ids, mask, segments, self.layout, pad_id=self.pad_id)
        return {"input_ids": ids, "attention_mask": mask}

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Outputs ``(rows, outputs)`` for states ``(2 * rows, tokens, width)`` and their mask ``(2 * rows, tokens)``."""
        first, second = mean_pooled(states, mask).chunk(2)
        return self.classifier(compared(first, second))


def by_reading(heads: Mapping[str, nn.Module], pairs: Mapping[str, bool]) -> list[tuple[str, ...]]:
    """Names in groups whose rows are encoded and read alike: single texts, joined pairs, pairs whose texts are read apart.

    Args:
        heads: by name.
        pairs: the names to group, and whether their rows are pairs.
    """
    groups: dict[tuple[bool, bool], list[str]] = {}
    for name, pair in pairs.items():
        groups.setdefault((pair, isinstance(heads[name], ApartHead)), []).append(name)
    return list(map(tuple, groups.values()))


class FirstTokenClassifier(nn.Module):
    """An encoder of transformers with a :class:`FirstTokenHead`."""

    base_model_prefix = "encoder"

    def __init__(self, encoder: Any, head: FirstTokenHead, task: Task) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.config = encoder.config
        set_task(self.config, task)
        self._takes_segments = "token_type_ids" in inspect.signature(encoder.forward).parameters

    def get_input_embeddings(self) -> nn.Embedding:
        """The encoder's table of token embeddings."""
        found: nn.Embedding = self.encoder.get_input_embeddings()
        return found

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits ``(rows, outputs)`` of a batch ``(rows, tokens)``."""
        inputs = {"token_type_ids": token_type_ids} if self._takes_segments and token_type_ids is not None else {}
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **inputs)[0]
        return SequenceClassifierOutput(logits=self.head(states))


def headed(base: str, task: Task, head: Head, options: dict[str, Any]) -> Any:
    """A base with a head for a task, which is newly initialised; torch's generator is as before afterwards.

    Args:
        base: the base's name.
        options: of a :class:`FirstTokenHead`; the layout of an :class:`ApartHead`.

    Raises:
        ModelError: if the base cannot be loaded.
    """
    with torch.random.fork_rng(devices=[]):
        if head == "mean":
            return load_mean_classifier(base, task)
        if head == "apart":
            return load_apart_classifier(base, task, PairLayout.of(options["layout"]))
        if head == "architecture":
            return load_classifier(base, task)
        encoder = load_encoder(base)
        return FirstTokenClassifier(encoder, FirstTokenHead(encoder.config.hidden_size, task.outputs, **options), task)


def head_of(model: Any) -> tuple[Head, dict[str, Any]]:
    """What a classifier's head reads, and the options with which :func:`headed` makes it again."""
    if isinstance(model, ApartClassifier):
        return "apart", {"layout": model.config.pair_layout.as_list()}
    return "mean" if isinstance(model, PooledClassifier) else "architecture", {}


def check_head(head: Head | None, options: Mapping[str, Any], task: Task | None) -> None:
    """Check what a file says of a head, as far as that shows without its weights.

    Raises:
        LookupError, TypeError or ValueError: if it cannot be.
    """
    if head == "apart":
        if task is not None and not task.is_pair:
            raise ValueError("its head reads pairs apart, but its task has one text")
        layout = PairLayout.of(options["layout"])
        if min(layout.before, layout.between, layout.after, *layout.starts, *layout.ends) < 0:
            raise ValueError(f"the layout of its pairs is {shortened(layout.as_list())}")
    elif head == "first_token":
        layers = options.get("layers", 2)
        known = {"layers": type(layers) is int and layers > 0, "bias": type(options.get("bias", True)) is bool}
        known["function"] = options.get("function", "tanh") in FUNCTIONS
        if odd := [name for name in options if not known.get(name)]:
            raise ValueError(f"of its head it says {odd[0]}: {shortened(options[odd[0]])}")


_PARTS = {
    **dict.fromkeys(("bert", "albert"), (("pooler.dense", "pooler"), "tanh", "classifier")),
    **dict.fromkeys(("roberta", "xlm-roberta", "mpnet"), (("classifier.dense",), "tanh", "classifier.out_proj")),
    "electra": (("classifier.dense",), "gelu", "classifier.out_proj"),
    "distilbert": (("pre_classifier",), "relu", "classifier"),
    "deberta-v2": (("pooler.dense",), "gelu", "classifier"),
}
"""Of the architectures' own heads: the names of the first layer, the function, the name of the second layer."""


def first_token_head(model: Any) -> FirstTokenHead:
    """A model's head as a :class:`FirstTokenHead` of the same weights, which are copied.

    Raises:
        ModelError: if the head reads more than the first token, or computes something else.
    """
    if isinstance(model, FirstTokenClassifier):
        return copy.deepcopy(model.head)
    base = base_model(model)
    parts = _PARTS.get(base.config.model_type)
    if parts is None or isinstance(model, PooledEncoder):
        raise ModelError(
            f"{type(model).__name__}: its head is more than layers on the first token's state, so it cannot be written in that form. Train with the architecture's own head (--pooling head) of one of these: {', '.join(PREFIXES)}."
        )
    names, usual, last = parts
    inside = {**dict(base.named_modules()), **dict(model.named_modules())}
    dense = next(inside[name] for name in names if isinstance(inside.get(name), nn.Linear))
    out = inside[last]
    head = FirstTokenHead(dense.in_features, out.out_features, function=_function(base, usual)).to(out.weight.device)
    head.linear[0].load_state_dict(dense.state_dict())
    head.linear[1].load_state_dict(out.state_dict())
    return head.eval()


def head_of_tensors(
    encoder: Any, head: Head, task: Task, options: dict[str, Any], tensors: Mapping[str, Tensor], *, origin: str
) -> nn.Module:
    """A head for an encoder's states, from the weights that an adapter's folder has for it.

    A pooler that is part of the base is the base's own, not a copy.

    Args:
        options: of a :class:`FirstTokenHead`; the layout of an :class:`ApartHead`.
        tensors: as :func:`understudy.models.structure.layers.head_tensors` names them.
        origin: where they are from, for messages.

    Raises:
        ModelError: if they do not fit, or the architecture's head is more than layers on the first token's state.
    """
    width = int(encoder.config.hidden_size)
    if head == "mean":
        made: nn.Module = MeanHead(width, task.outputs)
        named = dict(tensors)
    elif head == "apart":
        layout = PairLayout.of(options["layout"])
        made = ApartHead(width, task.outputs, layout=layout, pad_id=encoder.config.pad_token_id or 0)
        named = dict(tensors)
    elif head == "first_token":
        made = FirstTokenHead(width, task.outputs, **options)
        named = {key.removeprefix("head."): value for key, value in tensors.items()}
    else:
        made, named = _of_architecture(encoder, width, task.outputs, tensors, origin=origin)
    own = made.state_dict()
    odd = sorted(own.keys() ^ named.keys()) or [key for key in own if own[key].shape != named[key].shape]
    if odd:
        raise ModelError(
            f"{origin}: its head does not fit this base: see '{odd[0]}'. Name the base that it was trained on."
        )
    made.load_state_dict(named)
    return made


def _of_architecture(
    encoder: Any, width: int, outputs: int, tensors: Mapping[str, Tensor], *, origin: str
) -> tuple[FirstTokenHead, dict[str, Tensor]]:
    parts = _PARTS.get(encoder.config.model_type)
    if parts is None:
        raise ModelError(
            f"{origin}: the head of a '{encoder.config.model_type}' is more than layers on the first token's state, so several of them cannot share a base. Load it alone (understudy.load), or train with --pooling mean."
        )
    names, usual, last = parts
    pooler = {
        f"{name}.{key}": value
        for name, part in encoder.named_modules()
        if name in names
        for key, value in part.state_dict().items()
    }
    found = pooler | (saved := {_without_prefix(key, names): value for key, value in tensors.items()})
    first = next((name for name in names if f"{name}.weight" in found), names[0])
    places = {f"{first}.{kind}": f"linear.0.{kind}" for kind in ("weight", "bias")}
    places |= {f"{last}.{kind}": f"linear.1.{kind}" for kind in ("weight", "bias")}
    own = {places.get(key, key): value for key, value in found.items() if key in places or key not in pooler}
    made = FirstTokenHead(width, outputs, function=_function(encoder, usual))
    if f"{first}.weight" in pooler and f"{first}.weight" not in saved:
        made.linear[0] = encoder.get_submodule(first)
    return made, own


def _function(encoder: Any, usual: str) -> str:
    """The function between a head's layers; DeBERTa's is in its configuration."""
    told = str(getattr(encoder.config, "pooler_hidden_act", usual))
    if told in FUNCTIONS:
        return told
    raise ModelError(f"the head of this {type(encoder).__name__} computes '{told}', which is not known here.")


def _without_prefix(key: str, names: tuple[str, ...]) -> str:
    """The name of a head's tensor without the encoder's: ``bert.pooler.dense.weight`` is the pooler's."""
    inner = key.partition(".")[2]
    return inner if any(inner.startswith(f"{name}.") for name in names) else key
