"""Sizes and dropouts of an AWD-LSTM, and how much of a document it reads and learns from."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from understudy.errors import ConfigError

_RATES = tuple(f"{part}_dropout" for part in ("embedding", "input", "hidden", "weight", "output", "head"))


class AWDLSTMConfig(PreTrainedConfig):
    """Sizes and dropouts of an AWD-LSTM.

    ``drop_mult`` scales all dropouts. By default their proportions are those of ULMFiT's language model;
    :meth:`for_classification` sets those of its classifier. The paper's size is ``embedding_size=400, hidden_size=1152,
    num_hidden_layers=3``.

    Reference:
        Merity et al. 2018, arXiv 1708.02182; Howard & Ruder 2018, arXiv 1801.06146, and the code published with it.
    """

    model_type = "understudy_awd_lstm"

    vocab_size: int = 8000
    embedding_size: int = 200
    hidden_size: int = 512
    num_hidden_layers: int = 2
    tie_word_embeddings: bool = True
    """Predict with the embedding table. The last layer is then as wide as the embeddings."""
    backward: bool = False
    """The classifier reads each text from its end. The language model does not reverse: its streams must be reversed already."""
    embedding_dropout: float | int = 0.02
    """Drops whole words, at all of their places in one pass."""
    input_dropout: float | int = 0.25
    """Drops entries of the embeddings, locked over time."""
    hidden_dropout: float | int = 0.15
    """Drops entries of the states between layers, locked over time."""
    weight_dropout: float | int = 0.2
    """Drops hidden-to-hidden weights, drawn once a pass."""
    output_dropout: float | int = 0.1
    """Drops entries of the states that the prediction is made from, locked over time."""
    head_dropout: float | int = 0.1
    """Drops before the classifier's output layer."""
    drop_mult: float | int = 1.0
    """Scales all of these dropouts."""
    head_size: int = 50
    """Width of the layer between the pooled vector and the classifier's output."""
    bptt: int = 70
    """Tokens of a piece: how far the language model's gradient reaches back, and how much the classifier reads at a time."""
    gradient_tokens: int = 1440
    """The classifier's gradient reaches this many of the last tokens of a document."""
    pad_token_id: int | None = 0

    @property
    def widths(self) -> list[int]:
        """Widths of the embeddings and of the state of each layer."""
        last = self.embedding_size if self.tie_word_embeddings else self.hidden_size
        return [self.embedding_size, *[self.hidden_size] * (self.num_hidden_layers - 1), last]

    def rate(self, name: str) -> float:
        """A dropout times ``drop_mult``.

        Example:
            >>> AWDLSTMConfig(drop_mult=0.5).rate("input_dropout")
            0.125
        """
        return float(getattr(self, name) * self.drop_mult)

    def check_rates(self) -> None:
        """Check that every dropout, before and after scaling, is a probability.

        Raises:
            ConfigError: if one is not in [0, 1).
        """
        plain = {name: getattr(self, name) for name in _RATES}
        faults = [
            f"{name} must be at least 0 and less than 1, but is {rate:g}."
            for name, rate in plain.items()
            if not 0 <= rate < 1
        ]
        highest = max(plain, key=plain.__getitem__)
        if not faults and not 0 <= self.rate(highest) < 1:
            faults = [
                f"drop_mult must be at least 0 and less than {1 / plain[highest]:.3g}, where {highest} ({plain[highest]:g}) becomes 1, but is {self.drop_mult:g}."
            ]
        if faults:
            raise ConfigError(*faults)

    def for_classification(self, *, drop_mult: float = 0.5) -> None:
        """Set the dropouts to the proportions of ULMFiT's classifier (section 4.1, experimental setup).

        Args:
            drop_mult: their scale. fast.ai's classifiers start from 0.5, half of the paper's.
        """
        self.embedding_dropout, self.input_dropout, self.hidden_dropout = 0.05, 0.4, 0.3
        self.weight_dropout, self.output_dropout, self.head_dropout = 0.5, 0.4, 0.1
        self.drop_mult = drop_mult


def set_reading(model: Any, *, name: str, gradient_tokens: int | None, drop_mult: float | None) -> None:
    """Set how an AWD-LSTM learns from documents. None keeps the value of its configuration.

    Args:
        name: the model's name in messages.
        gradient_tokens: how many of a document's last tokens the gradient reaches. Ignored by other models, whose
            texts are cut at that length instead.
        drop_mult: the scale of all dropouts.

    Raises:
        ConfigError: if `drop_mult` is given and the model is not an AWD-LSTM, or if it makes a dropout of 1 or more.
    """
    config = model.config
    if not isinstance(config, AWDLSTMConfig):
        if drop_mult is not None:
            raise ConfigError(
                f"drop_mult scales the dropouts of an AWD-LSTM, but {name} is a '{config.model_type}' model. Leave --drop_mult out."
            )
        return
    if gradient_tokens is not None:
        config.gradient_tokens = gradient_tokens
    if drop_mult is not None:
        config.drop_mult = drop_mult
        config.check_rates()


def reads_whole(config: Any) -> bool:
    """Whether a model reads documents to their end, with memory that does not grow with their length."""
    return isinstance(config, AWDLSTMConfig)
