"""The losses of distillation for masked language models: words, hidden states, attention and relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from understudy.data.batches.contract import Batch
from understudy.data.tasks import NO_LABEL
from understudy.functional.drawn_words import chunked_cross_entropy_and_drawn_kl
from understudy.functional.state_distances import (
    attention_mse,
    attention_scores,
    hidden_cosine,
    hidden_mse,
    relation_kl,
)
from understudy.functional.vocabulary_loss import (
    Head,
    chunked_cross_entropy,
    chunked_cross_entropy_and_distillation,
    chunked_distillation,
    positions_at_once,
)
from understudy.models.structure.insides import Insides, InsidesRecorder
from understudy.models.structure.vocabulary_head import vocabulary_head
from understudy.objectives.teachers.drawn import DrawnBatch
from understudy.objectives.teachers.language import TaughtBatch
from understudy.objectives.terms import Term

TERMS = ("soft_targets", "masked_lm", "cosine", "hidden", "attention", "relation")
"""The losses that can be combined, in the order of the terms."""

Pairs = Sequence[tuple[int, int]]
"""Numbers of matched layers (or depths): the student's and the teacher's."""


def matched_depths(layers: int, teacher_layers: int) -> list[tuple[int, int]]:
    """Pairs of depths, the student's and the teacher's, at the same share of the whole; 0 is the embeddings.

    Reference:
        Jiao et al. 2020, "TinyBERT", arXiv 1909.10351, section 3.2 (the uniform mapping).

    Example:
        >>> matched_depths(4, 12), matched_depths(3, 2)
        ([(0, 0), (1, 3), (2, 6), (3, 9), (4, 12)], [(0, 0), (1, 1), (2, 1), (3, 2)])
    """
    return [(depth, round(depth * teacher_layers / layers)) for depth in range(layers + 1)]


class DistillMaskedLM(nn.Module):
    r"""The weighted sum of up to six losses, each a mean over positions.

    .. math::
        \lambda_{ce} \, T^2 \mathrm{KL}(t/T \,\|\, s/T) + \lambda_{mlm} \, \mathrm{CE}(s, w)
        + \lambda_{cos} (1 - \cos(h^S, h^T))
        + \lambda_{hidden} \, \overline{\lVert h^S_m - h^T_{g(m)} \rVert^2}
        + \lambda_{attention} \, \overline{\lVert A^S_m - A^T_{g(m)} \rVert^2}
        + \lambda_{relation} \sum_{q, k, v} \mathrm{KL}(R^T \,\|\, R^S)

    The soft-target loss is averaged over the masked positions (or over all real tokens), the masked-LM loss over the
    masked positions, the others over the real tokens, the matched layers and their heads. A loss of weight zero is left
    out, with everything that only it needs. Where the widths differ, hidden states are compared through one learned
    linear map from the student's width to the teacher's. The map belongs to this objective and is dropped after
    training.

    Args:
        model: the student, a masked language model.
        teacher_head: from the teacher's last hidden states to its logits; called without gradients.
        teacher_width: width of the teacher's hidden states.
        pad_id: the id of padding.
        weights: of the losses, by name (:data:`TERMS`); at least one above zero.
        temperature: T, of the soft targets.
        ce_positions: the positions of the soft-target loss: ``masked``, or ``all`` real tokens as in DistilBERT.
        depths: pairs of depths whose hidden states are matched, see :func:`matched_depths`.
        attention: pairs of layers, counted from 0, whose attention is matched; both need the same number of heads.
        heads: number of attention heads of both, for `attention`.
        relation: the pair of layers, counted from 0, whose relations are matched.
        relation_heads: number of heads into which the vectors are cut for `relation`.
        chunk: see :func:`understudy.functional.vocabulary_loss.in_chunks` (default: by the size of the vocabulary).

    Raises:
        ValueError: if no weight is above zero, one is negative, or one is for an unknown loss.
        ModelError: if the student's head, or a part that is to be matched, cannot be found.

    Reference:
        Sanh et al. 2019, "DistilBERT", arXiv 1910.01108, section 2 (soft targets, masked LM, cosine); Jiao et al. 2020,
        "TinyBERT", arXiv 1909.10351, equations 7 to 9 (attention, hidden states, embeddings); Wang et al. 2021,
        "MiniLMv2", arXiv 2012.15828, section 3.1 (relations).
    """

    def __init__(
        self,
        model: Any,
        *,
        teacher_head: Head,
        teacher_width: int,
        pad_id: int,
        weights: Mapping[str, float],
        temperature: float = 2.0,
        ce_positions: Literal["masked", "all"] = "masked",
        depths: Pairs = (),
        attention: Pairs = (),
        heads: int = 1,
        relation: tuple[int, int] = (0, 0),
        relation_heads: int = 1,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        if unknown := set(weights) - set(TERMS):
            raise ValueError(
                f"the losses are {', '.join(TERMS)}, but weights are given for {', '.join(sorted(unknown))}"
            )
        if min(weights.values(), default=0) < 0 or not any(weights.values()):
            raise ValueError(
                f"weights must not be negative, and at least one must be above zero, but they are {dict(weights)}"
            )
        self.model = model
        self.weights = {name: weights[name] for name in TERMS if weights.get(name)}
        self.pad_id = pad_id
        self.temperature, self.everywhere = temperature, ce_positions == "all"
        self.head, self.teacher_head = vocabulary_head(model), teacher_head
        self.chunk = chunk or positions_at_once(self.head.vocabulary)
        self.depths = list(depths) if "hidden" in self.weights else []
        self.attention, self.heads = list(attention) if "attention" in self.weights else [], heads
        self.relation = relation if "relation" in self.weights else None
        self.relation_heads = relation_heads
        layers = {ours for ours, _ in self.attention} | ({relation[0]} if self.relation else set())
        self._look = InsidesRecorder(model, hidden={ours for ours, _ in self.depths}, vectors=layers)
        width = model.config.hidden_size
        mapped = width != teacher_width and not {"cosine", "hidden"}.isdisjoint(self.weights)
        self.projection = nn.Linear(width, teacher_width, bias=False) if mapped else nn.Identity()

    @property
    def terms(self) -> list[str]:
        """The names of the terms that :meth:`forward` returns."""
        return list(self.weights)

    def wanted(self) -> dict[str, set[int]]:
        """What the teacher must keep of its forward pass: the depths ``hidden`` and the layers ``vectors``."""
        layers = {theirs for _, theirs in self.attention} | ({self.relation[1]} if self.relation else set())
        return {"hidden": {theirs for _, theirs in self.depths}, "vectors": layers}

    def forward(self, batch: Batch) -> list[Term]:
        """The terms of a micro-batch. Where the teacher only drew words for it, these are soft targets and masked-LM loss."""
        assert batch.labels is not None, "this objective needs batches that say which tokens were hidden"
        student = self._look(batch.inputs)
        if isinstance(batch, DrawnBatch):
            found = self._drawn_words(student.last, batch, batch.labels)
            return [Term(name, weight, *found[name]) for name, weight in self.weights.items()]
        assert isinstance(batch, TaughtBatch), "this objective needs batches with a teacher"
        assert batch.insides is not None, "the teacher reads a batch when it is moved to its device"
        teacher = batch.insides
        real, visible = real_tokens(batch.inputs, self.pad_id)
        found = self._words(student.last, teacher.last, batch.labels, real)
        if "cosine" in self.weights:
            found["cosine"] = hidden_cosine(self.projection(student.last), teacher.last, real).sum(), "tokens"
        if self.depths:
            distances = (
                hidden_mse(self.projection(student.hidden[ours]), teacher.hidden[theirs], real).sum()
                for ours, theirs in self.depths
            )
            found["hidden"] = torch.stack(list(distances)).mean(), "tokens"
        if self.attention:
            found["attention"] = self._attention(student, teacher, visible), "tokens"
        if self.relation:
            found["relation"] = self._relations(student, teacher, visible), "tokens"
        return [Term(name, weight, *found[name]) for name, weight in self.weights.items()]

    def _words(self, student: Tensor, teacher: Tensor, labels: Tensor, real: Tensor) -> dict[str, tuple[Tensor, str]]:
        """The soft-target and the masked-LM loss, from one pass of the heads over the positions that they need."""
        soft, hard = "soft_targets" in self.weights, "masked_lm" in self.weights
        everywhere = self.everywhere and soft
        chosen = real if everywhere else labels != NO_LABEL
        per = "tokens" if everywhere else "masked"
        options: dict[str, Any] = {"temperature": self.temperature, "chunk": self.chunk}
        if soft and hard:
            entropy, apart = chunked_cross_entropy_and_distillation(
                student[chosen], self.head, teacher[chosen], self.teacher_head, labels[chosen], **options
            )
            return {"soft_targets": (apart.sum(), per), "masked_lm": (entropy.sum(), "masked")}
        if soft:
            apart = chunked_distillation(student[chosen], self.head, teacher[chosen], self.teacher_head, **options)
            return {"soft_targets": (apart.sum(), per)}
        if hard:
            entropy = chunked_cross_entropy(student[chosen], self.head, labels[chosen], chunk=self.chunk)
            return {"masked_lm": (entropy.sum(), per)}
        return {}

    def _drawn_words(self, student: Tensor, batch: DrawnBatch, labels: Tensor) -> dict[str, tuple[Tensor, str]]:
        """The soft-target and the masked-LM loss, from the words that the teacher drew for the hidden tokens."""
        assert batch.words is not None
        assert batch.entropy is not None
        chosen = labels != NO_LABEL
        entropy, apart = chunked_cross_entropy_and_drawn_kl(
            student[chosen],
            self.head,
            batch.words,
            batch.entropy,
            labels[chosen],
            temperature=self.temperature,
            chunk=self.chunk,
        )
        return {"soft_targets": (apart.sum(), "masked"), "masked_lm": (entropy.sum(), "masked")}

    def _attention(self, student: Insides, teacher: Insides, visible: Tensor) -> Tensor:
        distances = []
        for ours, theirs in self.attention:
            scores = [
                attention_scores(*insides.vectors[layer][:2], heads=self.heads)
                for insides, layer in ((student, ours), (teacher, theirs))
            ]
            distances.append(attention_mse(scores[0], scores[1], visible).sum() / self.heads)
        return torch.stack(distances).mean()

    def _relations(self, student: Insides, teacher: Insides, visible: Tensor) -> Tensor:
        assert self.relation is not None
        ours, theirs = student.vectors[self.relation[0]], teacher.vectors[self.relation[1]]
        distances = (
            relation_kl(one, other, heads=self.relation_heads, mask=visible).sum() for one, other in zip(ours, theirs)
        )
        return torch.stack(list(distances)).sum() / self.relation_heads


def real_tokens(inputs: Mapping[str, Tensor], pad_id: int) -> tuple[Tensor, Tensor]:
    """Which tokens are not padding, ``(rows, tokens)``, and which tokens each of them may attend to.

    The second is a mask for :mod:`understudy.functional.state_distances`. In packed rows the padding lies together at one end
    and attends to itself, as a text does; but a text never consists of padding only.

    Example:
        >>> ids = torch.tensor([[5, 6, 7, 0]])
        >>> text = torch.tensor([[1, 1, 2, 3]])
        >>> packed = (text[:, :, None] == text[:, None, :])[:, None]
        >>> real_tokens({"input_ids": ids, "attention_mask": packed}, pad_id=0)[0]
        tensor([[ True,  True,  True, False]])
    """
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
    if mask.dim() == 2:
        return mask, mask
    same, padding = mask[:, 0], inputs["input_ids"] == pad_id
    real = torch.ones_like(padding)
    for end in (0, -1):
        together = same[:, end]
        real &= ~(together & (padding | ~together).all(-1, keepdim=True))
    return real, same & real[:, :, None] & real[:, None, :]
