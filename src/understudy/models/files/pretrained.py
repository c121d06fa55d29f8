"""The only place that asks transformers for weights. It never runs remote code, and says in a sentence what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
)

from understudy.errors import ModelError, UnderstudyError
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM, AWDLSTMForSequenceClassification, AWDLSTMModel
from understudy.models.files.save import quiet
from understudy.models.students.bilstm import BiLSTM
from understudy.models.students.pooled import PooledClassifier
from understudy.models.students.static import StaticBag

_OWN: dict[str, Any] = {
    model.config_class.model_type: model
    for model in (BiLSTM, StaticBag, PooledClassifier, AWDLSTMForSequenceClassification)
}


def register() -> None:
    """Make our architectures known to transformers' Auto classes, for code that loads them through those."""
    for model_type, model in _OWN.items():
        AutoConfig.register(model_type, model.config_class, exist_ok=True)
        AutoModelForSequenceClassification.register(model.config_class, model, exist_ok=True)
    AutoModel.register(AWDLSTMConfig, AWDLSTMModel, exist_ok=True)
    AutoModelForCausalLM.register(AWDLSTMConfig, AWDLSTMForCausalLM, exist_ok=True)


def read_pretrained(path: str) -> tuple[Any, Any]:
    """The class that loads a checkpoint, and its configuration.

    Raises:
        ModelError: if it cannot be read, or is no network.
    """
    with explained(path), quiet():
        settings, _ = PreTrainedConfig.get_config_dict(path)
        own = settings.get("understudy")
        if isinstance(own, dict) and own.get("kind") == "tfidf":
            raise ModelError(
                f"{path}: is a TF-IDF model, which is not a network. Give a run of an encoder or a student."
            )
        model = _OWN.get(settings.get("model_type", ""))
        if model is not None:
            return model, model.config_class.from_dict(settings)
        return AutoModelForSequenceClassification, AutoConfig.from_pretrained(path, trust_remote_code=False)


def load_pretrained(
    path: str, kind: Any, config: Any, *, ignore_mismatched_sizes: bool = False
) -> tuple[Any, set[str]]:
    """The model, in float32, and the names of weights that the checkpoint lacks or has in another shape.

    Raises:
        ModelError: if it cannot be loaded.
    """
    with explained(path), quiet():
        model, info = kind.from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
        for tensor in (*model.parameters(), *model.buffers()):
            # Views into the mapped file lie at odd addresses, where some kernels round otherwise and run slower.
            tensor.data = tensor.data.clone()
    return model, set(info["missing_keys"]) | {key[0] for key in info["mismatched_keys"]}


def more(names: list[str]) -> str:
    """What follows the first three names.

    Example:
        >>> more(["a", "b", "c", "d", "e"])
        ' and 2 more'
    """
    return f" and {len(names) - 3} more" if len(names) > 3 else ""


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what loading raises into one sentence of ours."""
    try:
        yield
    except UnderstudyError:
        raise
    except (
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        AssertionError,
        ImportError,
        SafetensorError,
        StrictDataclassError,
    ) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        if Path(path).exists():
            raise ModelError(f"{path}: transformers {transformers.__version__} cannot load it: {reason}.") from error
        raise ModelError(
            f"{path}: is no folder here, and could not be had from the hub either: {reason}. Check the name and the network, or give a model folder."
        ) from error
