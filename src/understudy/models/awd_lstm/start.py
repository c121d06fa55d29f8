"""The classifier's head of an AWD-LSTM that begins as a linear model of the pooled vectors."""

from __future__ import annotations

import numpy as np
import torch

from understudy.models.awd_lstm.head import PoolingHead


@torch.no_grad()
def start_pooling_head(head: PoolingHead, vectors: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> bool:
    r"""Let a head begin as ``vectors @ weight.T + bias``, in evaluation exactly so on the given rows.

    As many hidden units as there are outputs carry the linear model's answers :math:`\ell_k` through the ReLU, shifted so
    that they stay above zero; the output layer turns them back.

    .. math:: h_k = \mathrm{relu}\big((\ell_k - m_k) / s_k + c_k\big)

    The other units stay as they are and are not read at first. The norms get the statistics of these rows, and count
    them as seen.

    Args:
        vectors: pooled vectors of training rows, ``(rows, 3 * width)``.
        weight: ``(outputs, 3 * width)``.
        bias: ``(outputs,)``.

    Returns:
        False, and nothing is changed, if there are more outputs than hidden units.
    """
    outputs = len(weight)
    if outputs > len(head.hidden.weight):
        return False
    like = head.output.weight
    rows, weights, biases = (torch.from_numpy(part).to(like) for part in (vectors, weight, bias))
    logits = rows @ weights.T + biases
    middle, spread = logits.mean(0), logits.std(0, correction=0)
    spread = torch.where(spread > 1e-6 * logits.abs().amax(0), spread, 1.0)
    shift = 1 - ((logits - middle) / spread).amin(0)
    read = head.pooled_norm.begin_with(rows)
    deviations = (head.pooled_norm.running_var + head.pooled_norm.eps).sqrt()
    weights = weights / spread[:, None]
    head.hidden.weight[:outputs] = weights * deviations
    head.hidden.bias[:outputs] = (biases - middle) / spread + shift + weights @ head.pooled_norm.running_mean
    norm = head.hidden_norm
    norm.begin_with(head.hidden(read).relu())
    carried = slice(None, outputs)
    head.output.weight.zero_()
    head.output.weight[:, carried] = torch.diag((norm.running_var[carried] + norm.eps).sqrt() * spread)
    head.output.bias.copy_(middle + (norm.running_mean[carried] - shift) * spread)
    return True
