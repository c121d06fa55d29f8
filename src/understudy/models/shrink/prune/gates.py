"""Gates on heads and neurons: hooks that multiply what they put out, for as long as they are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from understudy.models.shrink.prune.blocks import headed_blocks


@contextmanager
def gated(model: Any, *, heads: Sequence[Tensor] = (), neurons: Sequence[Tensor] = ()) -> Iterator[None]:
    r"""Inside, the outputs of heads and neurons are multiplied by gates.

    .. math:: \sum_h \xi_h \, W^O_h \, \mathrm{Att}_h(x) + b, \quad \sum_n \xi_n \, w_n \, a_n(x) + b

    Args:
        model: of a family that :func:`understudy.models.shrink.prune.blocks.headed_blocks` knows.
        heads: for each layer ``(heads,)``, or ``(rows, heads)`` with gates of its own for each row of a batch; no gates
            where there are none.
        neurons: the same for neurons.

    Raises:
        ModelError: if the family is not known.
    """
    with ExitStack() as stack:
        for layer, block in enumerate(headed_blocks(model)):
            for gates, module in ((heads, block.output), (neurons, block.outer)):
                if gates:
                    handle = module.register_forward_pre_hook(partial(_multiplied, gates[layer]))
                    stack.callback(handle.remove)
        yield


def _multiplied(gates: Tensor, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The input of a linear layer, ``(rows, tokens, gates * width)``, with each part multiplied by its gate."""
    states: Tensor = args[0]
    each = gates if gates.dim() == 2 else gates[None]
    parts = states.unflatten(-1, (each.shape[1], -1)) * each[:, None, :, None]
    return (parts.flatten(-2), *args[1:])
