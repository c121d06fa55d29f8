"""A linear layer on the mean of an encoder's last hidden states, or on a pair of means. ``--features frozen`` fits one."""

from __future__ import annotations

import copy
import inspect
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from understudy.models.shrink.prune.sizes import built


def mean_pooled(states: Tensor, mask: Tensor) -> Tensor:
    """The mean over the real tokens. The weights are divided before the sum, so float16 does not overflow.

    Args:
        states: ``(rows, tokens, width)``.
        mask: ``(rows, tokens)``, 1 at real tokens.

    Returns:
        ``(rows, width)``; zero for a row without any real token.

    Example:
        >>> mean_pooled(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]]))
        tensor([[2.]])
    """
    weights = mask / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.bmm(weights[:, None].to(states.dtype), states)[:, 0]


class PooledConfig(PreTrainedConfig):
    """A configuration that holds the whole configuration of the encoder, under ``encoder``."""

    model_type = "understudy_pooled"

    encoder: dict[str, Any] | None = None

    @property
    def encoder_config(self) -> Any:
        """The encoder's configuration as an object. Changes to it are kept and saved."""
        known = self.__dict__.get("_encoder_config")
        if known is None:
            settings = dict(self.encoder or {})
            known = AutoConfig.for_model(settings.pop("model_type"), **settings)
            self.__dict__["_encoder_config"] = known
        return known

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, for JSON."""
        settings = super().to_dict()
        settings.pop("_encoder_config", None)
        if self.encoder is not None:
            settings["encoder"] = self.encoder_config.to_dict()
        return settings


class PooledEncoder(PreTrainedModel):
    """An encoder of transformers, means of its last hidden states over real tokens, and one linear layer on them."""

    base_model_prefix = "encoder"
    widths: ClassVar[int]
    """How many times the encoder's width the linear layer reads."""

    def __init__(self, config: PooledConfig) -> None:
        super().__init__(config)
        self.encoder = built(AutoModel.from_config, config.encoder_config)
        if "add_pooling_layer" in inspect.signature(type(self.encoder).__init__).parameters:
            self.encoder.pooler = None  # nothing reads it, so it would be a layer that learns nothing
        self._takes_segments = "token_type_ids" in inspect.signature(self.encoder.forward).parameters
        self.classifier = nn.Linear(self.widths * config.encoder_config.hidden_size, config.num_labels)
        self.post_init()

    @classmethod
    def around(cls, config: PooledConfig, encoder: Any, weight: Tensor, bias: Tensor) -> Self:
        """Build a classifier of a configuration from an encoder and a linear layer.

        Args:
            config: holds that of the encoder.
            encoder: an encoder of transformers, without a head. Its weights are copied.
            weight: ``(outputs, widths * width)``.
            bias: ``(outputs,)``.
        """
        with torch.random.fork_rng(devices=[]):
            model = cls(config)
        # Only one of the two may have a pooler; nothing reads it.
        misfits = model.encoder.load_state_dict(encoder.state_dict(), strict=False)
        if not all("pooler" in key for key in (*misfits.missing_keys, *misfits.unexpected_keys)):
            made = model.encoder
            model.encoder = copy.deepcopy(encoder)  # adapters are in it, which its configuration does not make
            if getattr(made, "pooler", made) is None:
                model.encoder.pooler = None
        with torch.no_grad():
            model.classifier.weight.copy_(torch.as_tensor(weight))
            model.classifier.bias.copy_(torch.as_tensor(bias))
        return model.eval()

    def get_input_embeddings(self) -> nn.Embedding:
        """The encoder's table of token embeddings."""
        return self.encoder.get_input_embeddings()

    def pool(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """The vectors that the linear layer reads: ``(rows, widths * width)``."""
        raise NotImplementedError

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits ``(rows, outputs)`` of a batch ``(rows, tokens)``."""
        return SequenceClassifierOutput(logits=self.classifier(self.pool(input_ids, attention_mask, token_type_ids)))


class PooledClassifier(PooledEncoder):
    """An encoder of transformers, the mean of its last hidden states over the real tokens, and one linear layer."""

    config_class = PooledConfig
    widths = 1

    @classmethod
    def assemble(cls, encoder: Any, weight: Tensor, bias: Tensor) -> PooledClassifier:
        """Build the classifier from an encoder and a linear layer that was fitted on its pooled vectors.

        Args:
            encoder: an encoder of transformers, without a head. Its weights are copied.
            weight: ``(outputs, width)``.
            bias: ``(outputs,)``.
        """
        config = PooledConfig(encoder=copy.deepcopy(encoder.config).to_dict(), num_labels=len(weight))
        return cls.around(config, encoder, weight, bias)

    def pool(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """The vectors that the linear layer reads: ``(rows, width)``."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        inputs = {"token_type_ids": token_type_ids} if self._takes_segments and token_type_ids is not None else {}
        states = self.encoder(input_ids=input_ids, attention_mask=mask, **inputs).last_hidden_state
        return mean_pooled(states, mask)
