"""AdamW for dense and sparse gradients, clipping for both, and which models get sparse ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from understudy.models.structure.layers import output_table


class LazyAdamW(torch.optim.AdamW):
    """AdamW for dense and for sparse gradients.

    If a batch uses 1,000 rows of an embedding table of 30,000, the other 29,000 have no gradient. The parameter group
    of the table says what happens to them. If the group is ``lazy`` (the default), they do not change: moments and
    decay wait until the row is used again, as in ``torch.optim.SparseAdam``; the bias correction counts the steps of
    the whole table. Otherwise the step is AdamW's own over all rows. Dense gradients always take torch's step.

    Reference:
        Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every parameter that has a gradient. Sparse gradients are removed afterwards."""
        spread = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    gradient = parameter.grad.coalesce()
                    rows, values = gradient.indices()[0], gradient.values()
                    if group.get("lazy", True):
                        self._step_rows(parameter, rows, values, group)
                        parameter.grad = None  # the dense step below skips it
                    else:
                        parameter.grad = self._zeros(parameter).index_copy_(0, rows, values)
                        spread.append((parameter, rows))
        loss = super().step(closure)
        for parameter, rows in spread:
            self._zeros(parameter).index_fill_(0, rows, 0.0)
            parameter.grad = None
        return loss

    def _zeros(self, parameter: Tensor) -> Tensor:
        """A dense gradient of zeros. It is kept, because refilling it costs as much as the step."""
        kept: dict[Tensor, Tensor] = self.__dict__.setdefault("_kept", {})
        if parameter not in kept:
            kept[parameter] = torch.zeros_like(parameter)
        return kept[parameter]

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


def adamw(groups: list[dict[str, Any]], *, betas: tuple[float, float] = (0.9, 0.999)) -> LazyAdamW:
    """:class:`LazyAdamW`, fused, over the groups that :func:`.groups.parameter_groups` makes."""
    return LazyAdamW(groups, betas=betas, fused=True)


def clip_gradients(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
    """Scale all gradients, sparse ones included, so that their common 2-norm is at most `max_norm`.

    ``torch.nn.utils.clip_grad_norm_`` does not take sparse gradients.

    Returns:
        The norm before, a scalar.
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


def sparse_gradients(model: Any, wanted: bool) -> None:
    """Make the gradients of a model's token embeddings sparse, or dense again.

    A batch uses a fraction of the rows. On a CPU, gradients for the other rows take most of a small student's step and
    a twentieth of an encoder's. A table that the output also reads keeps dense gradients. Only :class:`LazyAdamW`
    takes sparse ones.
    """
    table = getattr(model, "get_input_embeddings", lambda: None)()
    if isinstance(table, nn.Embedding):
        table.sparse = wanted and output_table(model) is not table.weight
