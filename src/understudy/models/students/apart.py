"""A linear layer on what two texts have in common: an encoder reads each text of a pair by itself."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.models.students.pair_rows import PairLayout, split_pairs
from understudy.models.students.pooled import PooledConfig, PooledEncoder, mean_pooled


def compared(u: Tensor, v: Tensor) -> Tensor:
    r"""Features of two vectors: how far they are from each other, and their product, value by value.

    .. math:: [\,|\hat u - \hat v|,\ \hat u \odot \hat v\,], \quad \hat u = \sqrt{d}\, u / \lVert u \rVert

    The vectors are scaled, because what an encoder means is in the direction of its vectors: the mean of the product is
    then their cosine. Swapping the texts changes nothing.

    Args:
        u, v: ``(rows, width)``.

    Returns:
        ``(rows, 2 * width)``.

    Reference:
        Conneau et al. 2017, arXiv 1705.02364, section 3.1; Reimers & Gurevych 2019, "Sentence-BERT", arXiv 1908.10084,
        section 3.

    Example:
        >>> compared(torch.tensor([[3.0, 3.0]]), torch.tensor([[1.0, -1.0]])).round().tolist()
        [[0.0, 2.0, 1.0, -1.0]]
    """
    u, v = (F.normalize(vectors, dim=-1) * vectors.shape[-1] ** 0.5 for vectors in (u, v))
    return torch.cat([(u - v).abs(), u * v], dim=-1)


class ApartConfig(PooledConfig):
    """A configuration that also says where the tokenizer puts its special tokens."""

    model_type = "understudy_apart"

    pair: bool = True
    """A row has two texts; ``token_type_ids`` tells them apart."""
    layout: list[Any] | None = None
    """See :class:`understudy.models.students.pair_rows.PairLayout`."""

    @property
    def pair_layout(self) -> PairLayout:
        """The layout as an object."""
        return PairLayout.of(self.layout or [[], [], 0, 0, 0])


class ApartClassifier(PooledEncoder):
    """An encoder of transformers that reads the texts of a pair by themselves, and one linear layer on their comparison.

    It takes the ids of the joined pair, as other classifiers do, and splits each row into its two texts. Known as a
    bi-encoder, where a classifier of joined pairs is a cross-encoder.
    """

    config_class = ApartConfig
    widths = 2

    @classmethod
    def assemble(cls, encoder: Any, weight: Tensor, bias: Tensor, *, layout: PairLayout) -> ApartClassifier:
        """Build the classifier from an encoder and a linear layer that was fitted on its compared vectors.

        Args:
            encoder: an encoder of transformers, without a head. Its weights are copied.
            weight: ``(outputs, 2 * width)``.
            bias: ``(outputs,)``.
            layout: of the tokenizer, see :func:`understudy.models.students.pair_rows.pair_layout`.
        """
        config = ApartConfig(
            encoder=copy.deepcopy(encoder.config).to_dict(),
            num_labels=len(weight),
            layout=layout.as_list(),
        )
        return cls.around(config, encoder, weight, bias)

    def pool(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """The features that the linear layer reads: ``(rows, 2 * width)``."""
        return self.compare(*self.apart(input_ids, attention_mask, token_type_ids))

    def apart(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the encoder reads: ids and mask of all first texts, then of all second ones, ``(2 * rows, tokens)``."""
        if token_type_ids is None:
            raise ValueError("a model that reads pairs apart needs token_type_ids, which tell the two texts apart")
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        pad = self.config.encoder_config.pad_token_id or 0
        return split_pairs(input_ids, mask, token_type_ids, self.config.pair_layout, pad_id=pad)

    def compare(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The features of texts as :meth:`apart` has them: ``(rows, 2 * width)``."""
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        means, rows = mean_pooled(states, mask), ids.shape[0] // 2
        return compared(means[:rows], means[rows:])
