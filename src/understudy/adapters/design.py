"""What an adapter computes and where, apart from its weights."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from understudy.errors import ModelError

Reads = Literal["sublayer", "norm", "input"]
"""What an adapter reads: the sublayer's output; the block's norm of output plus input; the sublayer's input."""

FUNCTION_NAMES = ("relu", "swish", "gelu", "gelu_new", "tanh", "leakyrelu", "linear")
"""The non-linearities by AdapterHub's names."""

LEAST_REDUCTION = 0.25
"""Below it a bottleneck would be wider than the encoder's own feed-forward parts, which are four times its width."""

Start = Literal["identity", "normal"]
"""``identity``: the adapter adds exactly nothing at first. ``normal``: both projections are drawn from N(0, 0.02)."""


@dataclass(frozen=True, kw_only=True)
class AdapterDesign:
    r"""What a bottleneck adapter computes, and in which places of an encoder.

    With a sublayer's input x and output h, N the block's norm and

    .. math:: A(z) = s \, (W_{up} \, f(W_{down} z + b_{down}) + b_{up})

    the three kinds replace N(h + x) by

    .. math:: \text{Houlsby: } N(h + A(h) + x) \qquad \text{Pfeiffer: } N(h + x + A(N(h + x))) \qquad
              \text{parallel: } N(h + A(x) + x)

    In a pre-norm block nothing follows the sum, so N is left out.

    Args:
        attention: whether there is an adapter after each attention.
        feed_forward: whether there is one after each feed-forward part.
        reads: what it reads.
        attention_reads: what an adapter after attention reads: ``sublayer``, or ``input`` as in AdapterHub's ALBERT.
        reduction: the width divided by this is the bottleneck.
        reductions: of single layers, by the layer's number, instead of `reduction`.
        non_linearity: f, one of :data:`FUNCTION_NAMES`.
        scaling: s.
        norm: whether the adapter has a norm of its own before the first projection.
        leave_out: layers without an adapter.
        invertible: the reduction of the adapter of the embeddings, see
            :class:`understudy.adapters.layers.invertible.Coupling`; None for none.
        norms: whether it brings norms of its own instead of those of the base, in all layers that are not left out.

    Raises:
        ValueError: if a value is not one of these.

    Reference:
        Houlsby et al. 2019, arXiv 1902.00751, figure 2; Pfeiffer et al. 2021, arXiv 2005.00247, section 3.4;
        He et al. 2022, arXiv 2110.04366, table 1.
    """

    attention: bool
    feed_forward: bool
    reads: Reads
    reduction: float = 16.0
    reductions: Mapping[int, float] = field(default_factory=dict)
    non_linearity: str = "relu"
    scaling: float = 1.0
    norm: bool = False
    leave_out: tuple[int, ...] = ()
    norms: bool = False
    invertible: float | None = None
    attention_reads: Literal["sublayer", "input"] = "sublayer"

    def __post_init__(self) -> None:
        switches = (self.attention, self.feed_forward, self.norm, self.norms)
        if not all(type(value) is bool for value in switches):
            raise ValueError(f"attention, feed_forward, norm and norms must be true or false, but are {switches}")
        if not math.isfinite(self.scaling):
            raise ValueError(f"scaling must be a finite number, but is {self.scaling}")
        if self.reads not in get_args(Reads):
            raise ValueError(f"reads must be one of {', '.join(get_args(Reads))}, but is {self.reads!r}")
        if not (self.attention or self.feed_forward):
            raise ValueError("an adapter needs a place: after attention, after the feed-forward part, or both")
        if self.attention_reads not in ("sublayer", "input"):
            raise ValueError(f"attention_reads must be sublayer or input, but is {self.attention_reads!r}")
        if self.attention and self.reads != "sublayer":
            raise ValueError(f"after attention an adapter reads the sublayer's output, but reads is {self.reads!r}")
        if self.non_linearity not in FUNCTION_NAMES:
            known = ", ".join(FUNCTION_NAMES)
            raise ValueError(f"non_linearity must be one of {known}, but is {self.non_linearity!r}")
        for reduction in (
            self.reduction,
            *self.reductions.values(),
            1.0 if self.invertible is None else self.invertible,
        ):
            if not LEAST_REDUCTION <= reduction < float("inf"):
                raise ValueError(
                    f"a reduction must be {LEAST_REDUCTION} (a bottleneck of four times the width) or more, but is {reduction}"
                )

    @property
    def kind(self) -> str:
        """``houlsby``, ``pfeiffer``, ``parallel``; ``bottleneck`` if it is none of them."""
        places = (self.attention, self.feed_forward, self.reads)
        return next((name for name, design in KINDS.items() if _places(design) == places), "bottleneck")

    def bottleneck(self, layer: int, width: int) -> int:
        """The bottleneck's size in a layer of this width, at least 1.

        Example:
            >>> KINDS["houlsby"].bottleneck(0, 768)
            48
        """
        return max(1, int(width // self.reductions.get(layer, self.reduction)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        told = asdict(self)
        return {
            **told,
            "leave_out": list(self.leave_out),
            "reductions": {str(k): v for k, v in self.reductions.items()},
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> AdapterDesign:
        """The inverse of :meth:`as_dict`.

        Raises:
            ValueError: if it is no design; it may come from a file.

        Example:
            >>> AdapterDesign.from_dict(KINDS["pfeiffer"].as_dict()) == KINDS["pfeiffer"]
            True
        """
        try:
            reductions = {int(layer): float(value) for layer, value in told["reductions"].items()}
            leave_out = tuple(int(layer) for layer in told["leave_out"])
            numbers = {name: float(told[name]) for name in ("reduction", "scaling")}
            if told.get("invertible") is not None:
                numbers["invertible"] = float(told["invertible"])
            return cls(**{**told, **numbers, "reductions": reductions, "leave_out": leave_out})
        except (LookupError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no design of an adapter: {error}") from None


KINDS = {
    "houlsby": AdapterDesign(attention=True, feed_forward=True, reads="sublayer", non_linearity="swish"),
    "pfeiffer": AdapterDesign(attention=False, feed_forward=True, reads="norm"),
    "parallel": AdapterDesign(attention=False, feed_forward=True, reads="input", scaling=4.0),
}
"""The three kinds, with their usual non-linearities and scalings."""


def design_of(kind: str, **changed: Any) -> AdapterDesign:
    """One of the :data:`KINDS` with some values changed; a value of None stays the kind's.

    Example:
        >>> design_of("houlsby", reduction=64, scaling=None).reduction
        64
    """
    return replace(KINDS[kind], **{name: value for name, value in changed.items() if value is not None})


def check_layers(
    encoder: str, layers: int, *, left_out: Collection[int], named: Collection[int] = (), origin: str = ""
) -> None:
    """Check which layers of an encoder get no adapter, and which are named besides.

    Args:
        encoder: what the encoder is called in messages.
        layers: how many it has.
        left_out: get none.
        named: are named besides.
        origin: what messages begin with.

    Raises:
        ModelError: if there is no such layer, or if no layer is left.
    """
    beyond = [layer for layer in (*left_out, *named) if not 0 <= layer < layers]
    if beyond:
        raise ModelError(
            f"{origin}there is no layer {beyond[0]} in this {encoder}, whose layers are 0 to {layers - 1}. Name layers among these."
        )
    if set(left_out) >= set(range(layers)):
        raise ModelError(f"{origin}all {layers} layers are left out, so nothing is left to learn. Leave out fewer.")


def _places(design: AdapterDesign) -> tuple[bool, bool, str]:
    return design.attention, design.feed_forward, design.reads
