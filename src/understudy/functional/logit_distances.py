"""Distances between a student's and a teacher's logits: pure and unreduced; the teacher is always a constant."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_cross_entropy(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Cross-entropy of the softened student against the softened teacher, scaled by T².

    .. math:: -T^2 \sum_c \mathrm{softmax}(t/T)_c \, \log \mathrm{softmax}(s/T)_c

    The factor T² keeps the size of the gradient independent of the temperature.

    Args:
        student_logits: ``(..., classes)``.
        teacher_logits: ``(..., classes)``; treated as a constant.
        temperature: T > 0. Above 1 the teacher's opinion of the wrong classes counts for more.

    Returns:
        ``(...)``, in nats, unreduced. Equal inputs give the teacher's entropy times T², not zero. For a loss that is
        zero there, with the same gradient, see :func:`forward_kl`.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Reference:
        Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2 and 2.1.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> round(soft_cross_entropy(logits, logits).item(), 4)
        0.3653
    """
    student, teacher = _log_softmax_pair(student_logits, teacher_logits, temperature)
    return -(teacher.exp() * student).sum(-1) * temperature**2


def forward_kl(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence of the softened student from the softened teacher, scaled by T².

    .. math:: T^2 \, \mathrm{KL}(p \,\|\, q) = T^2 \sum_c p_c (\log p_c - \log q_c),
              \quad p = \mathrm{softmax}(t/T), \; q = \mathrm{softmax}(s/T)

    Each class is weighted by the teacher's probability, so the student has to cover everything the teacher finds
    likely.

    Args:
        student_logits: ``(..., classes)``.
        teacher_logits: ``(..., classes)``; treated as a constant.
        temperature: T > 0.

    Returns:
        ``(...)``, in nats, unreduced; zero where the two distributions are equal.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Reference:
        Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2 and 2.1 (without the teacher's entropy, which is
        constant).

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> forward_kl(logits, logits, temperature=3.0).item()
        0.0
        >>> round(forward_kl(torch.zeros(1, 2), logits).item(), 4)
        0.3278
    """
    student, teacher = _log_softmax_pair(student_logits, teacher_logits, temperature)
    return _kl(teacher, student) * temperature**2


def reverse_kl(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence of the softened teacher from the softened student, scaled by T².

    .. math:: T^2 \, \mathrm{KL}(q \,\|\, p) = T^2 \sum_c q_c (\log q_c - \log p_c),
              \quad p = \mathrm{softmax}(t/T), \; q = \mathrm{softmax}(s/T)

    Each class is weighted by the student's probability, so a student too small for all modes of the teacher settles
    on some of them.

    Args:
        student_logits: ``(..., classes)``.
        teacher_logits: ``(..., classes)``; treated as a constant.
        temperature: T > 0.

    Returns:
        ``(...)``, in nats, unreduced; zero where the two distributions are equal.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Reference:
        Gu, Dong, Wei & Huang 2023, "MiniLLM", arXiv 2306.08543, section 2.1.

    Example:
        >>> round(reverse_kl(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]])).item(), 4)
        0.4338
    """
    student, teacher = _log_softmax_pair(student_logits, teacher_logits, temperature)
    return _kl(student, teacher) * temperature**2


def jensen_shannon(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Jensen-Shannon divergence of the softened student and the softened teacher, scaled by T².

    .. math:: \tfrac{T^2}{2} \mathrm{KL}(p \,\|\, m) + \tfrac{T^2}{2} \mathrm{KL}(q \,\|\, m),
              \quad m = \tfrac12 (p + q)

    It is symmetric and at most T² log 2, however wrong the teacher is about a row.

    Args:
        student_logits: ``(..., classes)``.
        teacher_logits: ``(..., classes)``; treated as a constant.
        temperature: T > 0.

    Returns:
        ``(...)``, in nats, unreduced; zero where the two distributions are equal.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Reference:
        Lin 1991, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37 (1),
        equation 4.1 with equal weights.

    Example:
        >>> far = jensen_shannon(torch.tensor([[40.0, 0.0]]), torch.tensor([[0.0, 40.0]]))
        >>> round(far.item(), 4) == round(math.log(2), 4)
        True
    """
    student, teacher = _log_softmax_pair(student_logits, teacher_logits, temperature)
    middle = torch.logaddexp(student, teacher) - math.log(2)
    return (_kl(teacher, middle) + _kl(student, middle)) / 2 * temperature**2


def logit_mse(student_logits: Tensor, teacher_logits: Tensor, *, centre: bool = False) -> Tensor:
    r"""Mean squared difference of the logits.

    .. math:: \frac1C \sum_c (s_c - t_c)^2

    It is the *mean over the outputs* of a row, so its size does not depend on the number of labels. (The paper uses the
    squared norm, which is C times as large.) With one output it is the squared error of a regression.

    Args:
        student_logits: ``(..., outputs)``.
        teacher_logits: ``(..., outputs)``; treated as a constant.
        centre: first subtract each row's mean from both. Softmax ignores that mean, so the student need not learn it.
            Do not use it for multi-label outputs, where the mean matters.

    Returns:
        ``(...)``, unreduced.

    Raises:
        ValueError: if the shapes differ.

    Reference:
        Ba & Caruana 2014, arXiv 1312.6184, equation 1; Tang et al. 2019, arXiv 1903.12136, section 3.1.

    Example:
        >>> logit_mse(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]]))
        tensor([5.])
        >>> logit_mse(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]]), centre=True)
        tensor([1.])
    """
    _check(student_logits, teacher_logits)
    difference = student_logits - teacher_logits.detach()
    if centre:
        difference = difference - difference.mean(-1, keepdim=True)
    return difference.square().mean(-1)


def bernoulli_kl(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Mean Kullback-Leibler divergence of independent yes/no labels, scaled by T².

    .. math:: \frac{T^2}{C} \sum_c p_c \log\frac{p_c}{q_c} + (1 - p_c) \log\frac{1 - p_c}{1 - q_c},
              \quad p = \sigma(t/T), \; q = \sigma(s/T)

    It does for any number of labels a row what :func:`forward_kl` does for one.

    Args:
        student_logits: ``(..., labels)``.
        teacher_logits: ``(..., labels)``; treated as a constant.
        temperature: T > 0.

    Returns:
        ``(...)``, in nats, unreduced; zero where the logits are equal.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Reference:
        Hinton, Vinyals & Dean 2015, arXiv 1503.02531, section 2.1, with a two-way softmax over (logit, 0) for each
        label.

    Example:
        >>> round(bernoulli_kl(torch.zeros(1, 1), torch.tensor([[2.0]])).item(), 4)
        0.3278
    """
    _check(student_logits, teacher_logits, temperature)
    student, teacher = student_logits / temperature, teacher_logits.detach() / temperature
    yes = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    no = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return (yes + no).mean(-1) * temperature**2


def hard_cross_entropy(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    r"""Cross-entropy of the student on the class that the teacher finds likeliest: pseudo-labels.

    .. math:: -\log \mathrm{softmax}(s)_{\arg\max_c t_c}

    Args:
        student_logits: ``(rows, classes)``.
        teacher_logits: ``(rows, classes)``.

    Returns:
        ``(rows,)``, in nats, unreduced.

    Raises:
        ValueError: if the shapes differ.

    Reference:
        Lee 2013, "Pseudo-Label", ICML workshop on challenges in representation learning.

    Example:
        >>> round(hard_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]])).item(), 4)
        0.6931
    """
    _check(student_logits, teacher_logits)
    return F.cross_entropy(student_logits, teacher_logits.argmax(-1), reduction="none")


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _log_softmax_pair(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    _check(student, teacher, temperature)
    return (student / temperature).log_softmax(-1), (teacher.detach() / temperature).log_softmax(-1)


def _check(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> None:
    if student.shape != teacher.shape or student.dim() == 0:
        raise ValueError(
            f"logits must have one shape, (..., classes), but the student's is {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}"
        )
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive, but is {temperature}")
