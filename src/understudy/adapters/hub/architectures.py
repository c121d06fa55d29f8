"""What the library AdapterHub can compute of our adapters."""

from __future__ import annotations

from understudy.adapters.design import AdapterDesign

PREFIXES = {
    **{name: name for name in ("bert", "electra", "roberta", "distilbert", "albert")},
    "xlm-roberta": "roberta",
    "deberta-v2": "deberta",
}
"""Architectures of that library, and the prefixes of their tensors."""


def unfit_for_hub(model_type: str, design: AdapterDesign) -> str | None:
    """Why that library cannot compute an adapter, and what to do instead; None if it can.

    Args:
        model_type: the architecture of its base.

    Example:
        >>> from understudy.adapters.design import KINDS
        >>> unfit_for_hub("bert", KINDS["houlsby"]) is None, unfit_for_hub("mpnet", KINDS["houlsby"]) is None
        (True, False)
    """
    if model_type not in PREFIXES:
        return f"AdapterHub has no adapters for the architecture '{model_type}' here. It has those of {', '.join(PREFIXES)}. Use the adapter as it is, or understudy export writes it with its base as ONNX."
    theirs = "input" if model_type == "albert" else "sublayer"
    if design.attention and design.attention_reads != theirs:
        return "AdapterHub's ALBERT gives an adapter after attention the input of the attention, not its output: it would compute something else than this one. Train a pfeiffer or parallel adapter to share it."
    if design.norms:
        return "this adapter has norms of its own (--adapter_norms), which AdapterHub's format has no place for. Train one without them to share it."
    return None
