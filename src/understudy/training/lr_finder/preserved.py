"""Training that leaves no trace."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from understudy.training.checkpoint import random_state, set_random_state


@contextmanager
def preserved(
    objective: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator | None = None
) -> Iterator[None]:
    """Put everything back after ``with``, bit for bit, whatever was trained inside.

    What is put back: parameters, their gradients and whether they require one; buffers, including those that are not
    saved and those that were replaced; the extra state of modules (such as that of a recurrent network between windows
    of text); training and evaluation modes; the optimizer's state and groups; the loss scale; the generators of torch
    (CPU and CUDA), numpy and Python. Inside, there is a second copy of all weights in memory.

    Args:
        objective: what is trained.
        optimizer: its optimizer.
        accelerator: the owner of the loss scale, if there is one.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> before = layer.weight.item()
        >>> with preserved(layer, torch.optim.SGD(layer.parameters(), lr=1.0)), torch.no_grad():
        ...     _ = layer.weight.add_(1.0)
        >>> layer.weight.item() == before
        True
    """
    scaler = accelerator.scaler if accelerator is not None else None
    modules = list(objective.modules())
    modes = [module.training for module in modules]
    parameters = [(p, p.detach().clone(), p.grad, p.requires_grad) for p in objective.parameters()]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.clone())
        for module in modules
        for name, buffer in module._buffers.items()
    ]
    extras = [(module, copy.deepcopy(module.get_extra_state())) for module in modules if _has_extra_state(module)]
    learned = copy.deepcopy(optimizer.state_dict())
    scale = copy.deepcopy(scaler.state_dict()) if scaler is not None else None
    generators = random_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weights, gradient, learns in parameters:
                parameter.copy_(weights)
                parameter.grad, parameter.requires_grad = gradient, learns
            for module, name, buffer, content in buffers:
                if buffer is not None and content is not None:
                    buffer.copy_(content)
                module._buffers[name] = buffer
        for module, extra in extras:
            module.set_extra_state(extra)
        for module, mode in zip(modules, modes):
            module.training = mode
        optimizer.load_state_dict(learned)
        if scaler is not None and scale is not None:
            scaler.load_state_dict(scale)
        set_random_state(generators[0])
        np.random.set_state(generators[1])  # noqa: NPY002
        random.setstate(generators[2])


def _has_extra_state(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state
