"""One model for several tasks: an encoder that all share with a head for each, or an encoder for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from understudy.errors import ModelError
from understudy.models.structure.layers import base_model
from understudy.models.students.student import Student


class MultiTaskModel(nn.Module):
    """Classifiers for several tasks, whose encoder is one and the same module, or is not.

    Each classifier stays what it is by itself: its answers and gradients are those of a model for one task.

    Args:
        models: a classifier of transformers (or a pooled one), or one of our students, for each task, by name.
        shared: whether they are to share the first one's encoder; the others' are dropped.

    Raises:
        ModelError: if they are to share, and a model has no encoder apart from its head.

    Reference:
        Liu et al. 2019, "MT-DNN", arXiv 1901.11504, section 3: shared layers below, task-specific ones above.
    """

    def __init__(self, models: Mapping[str, Any], *, shared: bool) -> None:
        super().__init__()
        self.names = tuple(models)
        self.shared = shared
        self.models = nn.ModuleList(models.values())
        if shared:
            for model in self.models:
                share_encoder(self.models[0], model)

    @property
    def config(self) -> Any:
        """The configuration of the first classifier; the encoder's part of it is that of all."""
        return self.models[0].config

    def task(self, name: str) -> Any:
        """The classifier of a task: the shared encoder with its own head.

        Raises:
            KeyError: if there is no such task.
        """
        if name not in self.names:
            raise KeyError(f"no task '{name}', only {', '.join(self.names)}")
        return self.models[self.names.index(name)]

    def task_with_shared_encoder(self, name: str) -> Any:
        """The first task's classifier, whose encoder is that of all.

        Args:
            name: of the model, for the message.

        Raises:
            ModelError: if each task has an encoder of its own.
        """
        if not self.shared:
            raise ModelError(
                f"{name}: has an encoder for each of its tasks. Name the model of one of them: a folder best-… or finetuned-… of its run."
            )
        return self.models[0]

    def get_input_embeddings(self) -> nn.Embedding | None:
        """The one table of token embeddings; None if each task has its own."""
        first: Any = self.models[0]
        return first.get_input_embeddings() if self.shared else None

    def saved_state(self) -> dict[str, Tensor]:
        """The tensors that are saved, each once: those of a shared encoder under the first task's name."""
        found: dict[int, tuple[str, Tensor]] = {}
        for name, value in self.state_dict(keep_vars=True).items():
            found.setdefault(id(value), (name, value))
        return {name: value.detach().contiguous() for name, value in found.values()}

    def distance(self, name: str) -> Tensor:
        r"""Half the squared distance of a task's encoder from the mean of all: what soft sharing penalises.

        .. math:: \tfrac12 \lVert \theta_t - \bar\theta \rVert^2, \quad \bar\theta = \tfrac1T \sum_s \theta_s

        The mean is treated as a constant, so that the gradient pulls this task's encoder alone.

        Returns:
            A scalar; 0 while all encoders are where they started.

        Reference:
            Duong et al. 2015, "Low Resource Dependency Parsing", ACL: parameters of two models tied by their distance.
        """
        encoders = [dict(nn.ModuleDict(encoder_parts(model)).named_parameters()) for model in self.models]
        own = encoders[self.names.index(name)]
        total = torch.zeros((), device=next(iter(own.values())).device)
        for key, parameter in own.items():
            mean = torch.stack([encoder[key].detach() for encoder in encoders]).mean(0)
            total = total + (parameter - mean).square().sum() / 2
        return total


def share_encoder(first: Any, other: Any) -> None:
    """Give a classifier the encoder of another one in place of its own.

    Raises:
        ModelError: if one of them has no encoder apart from its head.
    """
    shared, own = encoder_parts(first), encoder_parts(other)
    if shared.keys() != own.keys():
        raise ModelError(
            f"{type(other).__name__}: cannot share the encoder of {type(first).__name__}, which is built otherwise. Name models of one kind."
        )
    for name, part in shared.items():
        setattr(other, name, part)


def start_alike(first: Any, other: Any) -> None:
    """Give a classifier's encoder the weights of another's, those too that their checkpoint lacked.

    Raises:
        ModelError: if one of them has no encoder apart from its head.
    """
    own = encoder_parts(other)
    for name, part in encoder_parts(first).items():
        own[name].load_state_dict(part.state_dict())


def encoder_parts(model: Any) -> dict[str, nn.Module]:
    """What several tasks can share of a classifier, by the names that it has there.

    Of a model of transformers it is the encoder. Of a student it is everything below its head, whose hidden layer is
    another one for pairs than for single texts.

    Raises:
        ModelError: if there is no encoder apart from the head.
    """
    if isinstance(model, Student):
        head = {id(part) for part in model.head()}
        return {name: part for name, part in model.named_children() if id(part) not in head}
    return {model.base_model_prefix: encoder_of(model)}


def encoder_of(model: Any) -> Any:
    """The encoder of transformers inside a classifier.

    Raises:
        ModelError: if it has none apart from its head, as our students.
    """
    base = getattr(model, getattr(model, "base_model_prefix", "") or "", None)
    if not isinstance(base, nn.Module) or base is model or base_model(model) is not base:
        raise ModelError(
            f"{type(model).__name__}: has no encoder apart from its head that several tasks could share. Name an encoder of transformers, such as BERT."
        )
    return base
