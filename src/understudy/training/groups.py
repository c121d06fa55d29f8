"""Parameter groups and the optimizer that steps them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class LazyAdamW(torch.optim.AdamW):
    """AdamW whose sparse gradients touch their own rows alone.

    A table of 30,000 words of which a batch uses 1,000 needs neither a gradient nor a moment nor a decay for the other
    29,000. Dense gradients take torch's fused step. The rows' moments are not decayed while they are away, as in
    ``torch.optim.SparseAdam``; their bias correction counts the steps of the whole table.

    Reference:
        Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    gradient = parameter.grad.coalesce()
                    self._step_rows(parameter, gradient.indices()[0], gradient.values(), group)
                    parameter.grad = None  # done: the dense step below passes it by
        return super().step(closure)

    def _step_rows(self, parameter: Tensor, rows: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, (beta1, beta2) = state["step"].item(), group["betas"]
        first = state["exp_avg"][rows].lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        state["exp_avg"][rows] = first
        state["exp_avg_sq"][rows] = second
        denominator = (second / (1 - beta2**step)).sqrt_().add_(group["eps"])
        update = (first / (1 - beta1**step)).div_(denominator)
        values = parameter[rows].mul_(1 - group["lr"] * group["weight_decay"])
        parameter[rows] = values.sub_(update, alpha=group["lr"])


def clip_gradients(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
    """Scale all gradients, sparse ones included, so that their common 2-norm is at most `max_norm`; the norm before.

    ``torch.nn.utils.clip_grad_norm_`` does not take sparse gradients.
    """
    values: list[Tensor] = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad._values())
        else:
            values.append(parameter.grad)
    if not values:
        return torch.tensor(0.0)
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(values)))
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(values, scale)
    return norm


def parameter_groups(model: nn.Module, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices decay, biases and norms do not. Frozen parameters are in neither.

    Returns:
        Groups as ``torch.optim`` takes them, each with ``initial_lr``, which the schedule multiplies.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [{**group, "lr": learning_rate, "initial_lr": learning_rate} for group in groups if group["params"]]


def build_optimizer(model: nn.Module, *, learning_rate: float, weight_decay: float = 0.01) -> LazyAdamW:
    """AdamW over :func:`parameter_groups`, fused."""
    return LazyAdamW(parameter_groups(model, learning_rate=learning_rate, weight_decay=weight_decay), fused=True)
