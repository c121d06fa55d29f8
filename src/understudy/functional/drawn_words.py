"""A teacher's distribution over a vocabulary, kept as a few words drawn from it: small on disk and unbiased."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.functional.chunks import by_rows, in_chunks
from understudy.functional.vocabulary_loss import Head, float_logits


def draw_words(logits: Tensor, offsets: Tensor, *, count: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    r"""Draw words from :math:`p = \mathrm{softmax}(t/T)` at each position, and compute the entropy of p.

    The draws of a position are evenly spaced (systematic sampling): the words are laid end to end on [0, 1), each as
    long as its probability, and the word at :math:`(u + j) / n` is taken for j from 0 to n - 1. On average over u a
    word is drawn :math:`n \, p` times, as in n independent draws. It is never off by more than one draw; independent
    draws are off by :math:`\sqrt{n p (1 - p)}`.

    Args:
        logits: ``(positions, vocabulary)``.
        offsets: u, in [0, 1), ``(positions,)``.
        count: n, the draws a position.
        temperature: T > 0.

    Returns:
        Word ids, int64 ``(positions, count)``, and entropies in nats, float32 ``(positions,)``.

    Reference:
        Anshumann et al. 2025, arXiv 2503.16870 (independent draws); Madow 1949, "On the theory of systematic sampling,
        II".

    Example:
        >>> words, entropy = draw_words(torch.tensor([[0.0, 0.0, -99.0]]), torch.tensor([0.5]), count=4)
        >>> words.tolist(), round(entropy.item(), 4)
        ([[0, 0, 1, 1]], 0.6931)
    """
    logs = F.log_softmax(logits.double() / temperature, dim=-1)
    likely = logs.exp()
    ends = likely.cumsum(-1)
    picks = (offsets[:, None].double() + torch.arange(count, device=logits.device)) / count
    # The last end is 1 up to rounding, and a pick may be rounded to 1. At or beyond the last end there is no word.
    picks = picks.clamp(max=1 - 2**-52)
    words = torch.searchsorted(ends, picks * ends[:, -1:], right=True)
    return words, -(likely * logs).nan_to_num(0.0).sum(-1).float()


def drawn_kl(logits: Tensor, words: Tensor, entropy: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""An unbiased estimate of :func:`understudy.functional.logit_distances.forward_kl`, from words that the teacher drew.

    .. math:: T^2 \Big( -\frac{1}{n} \sum_j \log \mathrm{softmax}(s/T)_{w_j} - H(p) \Big)

    Value and gradient are both unbiased. A single value can be below zero.

    Args:
        logits: the student's, ``(positions, vocabulary)``.
        words, entropy: the teacher's, from :func:`draw_words`.
        temperature: T, the same as for the draws.

    Returns:
        ``(positions,)``, in nats, unreduced.

    Example:
        >>> drawn_kl(torch.zeros(1, 2), torch.tensor([[0, 1]]), torch.tensor([0.6931471806]))
        tensor([0.])
    """
    scaled = logits / temperature
    drawn = scaled.gather(-1, words).mean(-1)
    return (scaled.logsumexp(-1) - drawn - entropy) * temperature**2


def chunked_cross_entropy_and_drawn_kl(
    hidden: Tensor,
    head: Head,
    words: Tensor,
    entropy: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int = 512,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and :func:`drawn_kl` of the same positions, from one pass of the head.

    Args:
        hidden: the student's, ``(positions, width)``.
        head: hidden states to logits.
        words, entropy: the teacher's, from :func:`draw_words`.
        targets: ``(positions,)``, word ids.
        temperature: T, the same as for the draws.
        chunk: see :func:`understudy.functional.chunks.in_chunks`.

    Returns:
        Cross-entropy and distance, ``(positions,)`` each.

    Example:
        >>> words, entropy, targets = torch.tensor([[0, 1]]), torch.tensor([0.6931471806]), torch.tensor([1])
        >>> chunked_cross_entropy_and_drawn_kl(torch.zeros(1, 2), lambda hidden: hidden, words, entropy, targets)
        (tensor([0.6931]), tensor([0.]))
    """

    def both(hidden: Tensor, words: Tensor, entropy: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
        return by_rows(
            lambda logits, words, entropy, targets: (
                F.cross_entropy(logits, targets, reduction="none"),
                drawn_kl(logits, words, entropy, temperature=temperature),
            ),
            float_logits(head, hidden),
            words,
            entropy,
            targets,
        )

    right, apart = in_chunks(both, hidden, words, entropy, targets, chunk=chunk)
    return right, apart
