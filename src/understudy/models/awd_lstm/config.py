"""The sizes and the dropouts of an AWD-LSTM, and how one is to read documents."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from understudy.errors import ConfigError

_RATES = tuple(f"{part}_dropout" for part in ("embedding", "input", "hidden", "weight", "output", "head"))


class AWDLSTMConfig(PreTrainedConfig):
    """Sizes and dropouts of an AWD-LSTM.

    ``drop_mult`` scales all dropouts; their proportions are those of ULMFiT's language model, and
    :meth:`for_classification` has those of its classifier. The paper's size is ``embedding_size=400, hidden_size=1152,
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
    """Predict with the table of the embeddings. The last layer is then as wide as they are."""
    backward: bool = False
    """The classifier reads each text from its end; the language model is fed streams that are reversed already."""
    embedding_dropout: float | int = 0.02
    """Of whole words, wherever they stand in a reading."""
    input_dropout: float | int = 0.25
    """Of the embeddings, locked over time."""
    hidden_dropout: float | int = 0.15
    """Between layers, locked over time."""
    weight_dropout: float | int = 0.2
    """Of the weights from state to state, one draw a reading."""
    output_dropout: float | int = 0.1
    """Of what the prediction is made from, locked over time."""
    head_dropout: float | int = 0.1
    """Before the classifier's output."""
    drop_mult: float | int = 1.0
    """Scales all of these."""
    head_size: int = 50
    """Width of the layer between the pooled vector and the classifier's output."""
    bptt: int = 70
    """Tokens of a piece: how far the language model's gradient reaches, and what the classifier reads at a time."""
    gradient_tokens: int = 1440
    """How many of the last tokens of a document the classifier's gradient reaches."""
    pad_token_id: int | None = 0

    @property
    def widths(self) -> list[int]:
        """Of the embeddings and of each layer's state."""
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
        """See that every dropout is one, scaled as it is.

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
                f"drop_mult must be at least 0 and less than {1 / plain[highest]:.3g}, where {highest}, {plain[highest]:g}, becomes 1, but is {self.drop_mult:g}."
            ]
        if faults:
            raise ConfigError(*faults)

    def for_classification(self, *, drop_mult: float = 0.5) -> None:
        """Set the dropouts to the proportions of ULMFiT's classifier (section 4.1, experimental setup).

        Args:
            drop_mult: their scale; the half of the paper's is what fast.ai's classifiers start from.
        """
        self.embedding_dropout, self.input_dropout, self.hidden_dropout = 0.05, 0.4, 0.3
        self.weight_dropout, self.output_dropout, self.head_dropout = 0.5, 0.4, 0.1
        self.drop_mult = drop_mult


def set_reading(model: Any, *, name: str, gradient_tokens: int | None, drop_mult: float | None) -> None:
    """How an AWD-LSTM is to learn from its documents; None leaves what its configuration says.

    Args:
        gradient_tokens: how many of a document's last tokens the gradient reaches; for other models that is a matter
            of where texts are cut.
        drop_mult: the scale of all its dropouts.

    Raises:
        ConfigError: if `drop_mult` is given and the model is no AWD-LSTM, or makes a dropout of 1 or more.
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
    """Whether a model reads documents to their end in memory that does not grow with them."""
    return isinstance(config, AWDLSTMConfig)
