"""What heads and neurons are worth: how much the loss would change without them, to first order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from understudy.models.shrink.prune.blocks import headed_blocks
from understudy.models.shrink.prune.gates import gated
from understudy.models.structure.first_token import classifier_logits
from understudy.models.structure.layers import evaluating


class Importance(NamedTuple):
    """Of each layer, float64: ``(heads,)`` and ``(neurons,)``, in units of the loss."""

    heads: list[Tensor]
    neurons: list[Tensor]


def importance(
    model: Any,
    batches: Iterable[tuple[Mapping[str, Tensor], Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Importance:
    r"""The expected absolute gradient of the loss with respect to a gate on each head and on each neuron.

    .. math::
        I_h = \mathbb{E}_x \left| \frac{\partial \mathcal{L}(x)}{\partial \xi_h} \right|
            = \mathbb{E}_x \left| \mathrm{Att}_h(x)^\top \frac{\partial \mathcal{L}(x)}{\partial \mathrm{Att}_h(x)} \right|

    The gate of a head multiplies its output, that of a neuron its activation, at all tokens of a text. Gates are one, so
    the gradient is the change of the loss of that text, to first order, if the gate were closed. Dropout is off.

    Args:
        model: a classifier of a family that :func:`understudy.models.shrink.prune.blocks.headed_blocks` knows.
        batches: inputs of the model, and the labels of their rows.
        loss: from logits ``(rows, outputs)`` and labels to ``(rows,)``.

    Raises:
        ModelError: if the family is not known.
        ValueError: if there are no rows.

    Reference:
        Michel, Levy & Neubig 2019, arXiv 1905.10650, equation 2 (heads); Molchanov et al. 2017, arXiv 1611.06440,
        section 2.2 (the same criterion for neurons).
    """
    blocks = headed_blocks(model)
    weight = blocks[0].output.weight
    sizes = [block.heads for block in blocks] + [block.neurons for block in blocks]
    sums = [torch.zeros(size, dtype=torch.float64) for size in sizes]
    count = 0
    with evaluating(model), torch.enable_grad():
        for inputs, labels in batches:
            rows = len(labels)
            gates = [torch.ones(rows, size, dtype=weight.dtype, device=weight.device) for size in sizes]
            for gate in gates:
                gate.requires_grad_()
            with gated(model, heads=gates[: len(blocks)], neurons=gates[len(blocks) :]):
                total = loss(classifier_logits(model, inputs), labels).sum()
            for part, gradient in zip(sums, torch.autograd.grad(total, gates)):
                part += gradient.detach().double().abs().sum(0).cpu()
            count += rows
    if not count:
        raise ValueError("the importance of heads and neurons is measured on rows, but there are none")
    means = [part / count for part in sums]
    return Importance(means[: len(blocks)], means[len(blocks) :])
