"""Models and tokenizers by name, ready for their task; nothing of a checkpoint is taken on trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from understudy.data.tasks import Task
from understudy.errors import ConfigError, ModelError
from understudy.models.awd_lstm.config import reads_whole
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.models.files.names import bundled_encoder, kind_of, resolve
from understudy.models.files.pretrained import explained, load_pretrained, more, read_pretrained
from understudy.models.files.save import PROBLEMS, model_fingerprint, quiet, save_model, set_task, weights_fingerprint
from understudy.models.structure.layers import base_model, head_modules, word_embeddings
from understudy.models.students.pooled import PooledClassifier

__all__ = [
    "bundled_encoder",
    "check_tokenizer",
    "first_position",
    "kind_of",
    "load_classifier",
    "load_encoder",
    "load_mean_classifier",
    "load_tokenizer",
    "load_trained",
    "max_length",
    "model_fingerprint",
    "resolve",
    "save_model",
    "set_task",
    "settle_padding",
    "weights_fingerprint",
]

_FILLED_UP = 1024
"""Rows that an embedding table may have for no token at all."""

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_OFFSET_POSITIONS = {
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
"""Architectures whose positions are counted from the padding id plus one, so that the table has rows no text reaches."""

_DEFAULT_LENGTH = 512
_DOCUMENT_LENGTH = 16384
"""What a model without positions reads of a document, whose memory does not grow with it: about forty pages. The limit
is there for time alone, for the row that is a whole book by mistake."""


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a run folder, a model folder or a hub id, without the truncation and padding of its own file.

    Raises:
        ModelError: if there is none or it cannot be read.
    """
    path = resolve(name)
    if Path(path).is_dir() and not any(any(Path(path).glob(pattern)) for pattern in _TOKENIZER_FILES):
        raise ModelError(
            f"{path}: holds no tokenizer (tokenizer.json or vocab.txt). Copy the tokenizer's files beside the weights."
        )
    with explained(path), quiet():
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    return tokenizer


def load_classifier(name: str, task: Task) -> Any:
    """A model for `task`, in float32: any encoder of transformers, a student of ours, or an AWD-LSTM.

    The head of the checkpoint is kept where it was trained for the same labels in the same order; otherwise it starts
    afresh, from torch's current seed. Of a language model the encoder is taken; an AWD-LSTM's dropouts are then set to
    the proportions of a classifier.

    Raises:
        ModelError: if the model cannot be loaded, or lacks more than a head.
    """
    path = resolve(name)
    kind, config = read_pretrained(path)
    if getattr(config, "understudy_student", False) and config.pair != task.is_pair:
        raise ModelError(
            f"{path}: was built for {'pairs of texts' if config.pair else 'single texts'}, but a row of the task has {len(task.text)}. Name another model."
        )
    stored = _stored_task(config)
    same = stored is not None and (stored.kind, stored.labels) == (task.kind, task.labels)
    set_task(config, task)
    if AWDLSTMForCausalLM.__name__ in (config.architectures or ()):
        config.for_classification()
    model, lacking = load_pretrained(path, kind, config, ignore_mismatched_sizes=True)
    head = {id(tensor) for module in head_modules(model) for tensor in (*module.parameters(), *module.buffers())}
    names = {key for key, tensor in (*model.named_parameters(), *model.named_buffers()) if id(tensor) in head}
    broken = sorted(key for key in lacking if key not in names and "pooler" not in key)
    if broken:
        raise ModelError(
            f"{path}: lacks weights that are more than a head, or has them in another shape: {', '.join(broken[:3])}{more(broken)}. Give a complete checkpoint of this architecture."
        )
    if not same:
        _start_afresh(model)
    prefix = f"{model.base_model_prefix}."
    model.new_in_encoder = frozenset(key.removeprefix(prefix) for key in lacking - names)
    return model


def load_encoder(name: str) -> Any:
    """The bare encoder of a checkpoint, in float32 and in eval mode, for the vectors it makes of texts.

    Raises:
        ModelError: if it cannot be loaded or lacks weights.
    """
    path = resolve(name)
    kind, config = read_pretrained(path)
    if kind is PooledClassifier:
        return load_trained(path)[0].encoder
    if kind is not AutoModelForSequenceClassification:
        raise ModelError(
            f"{path}: holds one of our own networks ({config.model_type.removeprefix('understudy_')}), which has no encoder of transformers inside. Name such an encoder."
        )
    model, lacking = load_pretrained(path, AutoModel, config)
    broken = sorted(key for key in lacking if "pooler" not in key)
    if broken:
        raise ModelError(
            f"{path}: lacks {', '.join(broken[:3])}{more(broken)}. Give a complete checkpoint of this architecture."
        )
    return model.eval()


def load_mean_classifier(name: str, task: Task) -> PooledClassifier:
    """The encoder of a checkpoint under a fresh linear layer, drawn from torch's current seed, on the mean of its states.

    Raises:
        ModelError: if the encoder cannot be loaded.
    """
    encoder = load_encoder(name)
    weight = torch.empty(task.outputs, encoder.config.hidden_size).normal_(std=0.02)
    model = PooledClassifier.assemble(encoder, weight, torch.zeros(task.outputs))
    set_task(model.config, task)
    return model


def load_trained(folder: str) -> tuple[Any, PreTrainedTokenizerBase, Task, int]:
    """A trained classifier: what :func:`save_model` wrote, or one of transformers' own.

    Returns:
        The model in eval mode, its tokenizer, its task and its maximal length in tokens. For a checkpoint that was not
        written here the task is read from its labels, with one text in a column ``text``.

    Raises:
        ModelError: if it cannot be loaded, or has no trained head.
    """
    path = resolve(folder)
    kind, config = read_pretrained(path)
    if _is_language_model(config):
        raise ModelError(
            f"{path}: is a language model, not a trained classifier. Fine-tune it first (understudy finetune --model {folder})."
        )
    model, lacking = load_pretrained(path, kind, config)
    if lacking:
        missing = sorted(lacking)
        remedy = (
            "Give a complete checkpoint."
            if _in_encoder(missing, model)
            else "Fine-tune it first (understudy finetune)."
        )
        raise ModelError(
            f"{path}: is not a trained classifier: it lacks {', '.join(missing[:3])}{more(missing)}. {remedy}"
        )
    tokenizer = load_tokenizer(path)
    check_tokenizer(model, tokenizer, name=path)
    task = _stored_task(config)
    assert task is not None  # a configuration always has labels, if only LABEL_0 and LABEL_1
    own = getattr(config, "understudy", None) or {}
    return model.eval(), tokenizer, task, int(own.get("max_length") or max_length(config, tokenizer, None))


def check_tokenizer(model: Any, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """See that every token has a row in the embedding table, and that the table is not for another tokenizer.

    Tables are filled up to a round number of rows; but when more of them are for no token than for tokens, and more
    than a thousand, the tokenizer is another model's.

    Raises:
        ModelError: if the tokenizer is larger than the table, or so much smaller.
    """
    rows = word_embeddings(model).num_embeddings
    tokens = tokenizer.get_vocab().values()
    highest = max(tokens, default=-1)
    if rows - len(tokens) > max(len(tokens), _FILLED_UP):
        raise ModelError(
            f"{name}: its tokenizer has {len(tokens):,} tokens, but its embedding table {rows:,} rows: they do not belong together. Use the tokenizer that the model was trained with; if this is it, cut the table first (resize_token_embeddings)."
        )
    if highest >= rows:
        raise ModelError(
            f"{name}: its tokenizer goes up to id {highest}, but its embedding table has {rows} rows: they do not belong together. Use the tokenizer that the model was trained with."
        )


def settle_padding(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a causal model that never had to pad (GPT-2 and its kin) a padding token: its end-of-text token.

    As a classifier it reads a row's last token that is not padding, and takes no batches where it knows of none.
    """
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = tokenizer.pad_token_id


def max_length(config: Any, tokenizer: PreTrainedTokenizerBase, asked: int | None) -> int:
    """The most tokens a text may have, special ones included.

    Without `asked`, 512 or what the model and its tokenizer allow, whichever is less. The tokenizer's limit is advice
    and yields to `asked`; the model's table of positions does not. What :func:`reads_whole` reads 16,384 tokens of a
    document, whatever is asked: there the number asked for bounds the gradient.

    Raises:
        ConfigError: if `asked` is more than the model can read.
    """
    if reads_whole(config):
        return _DOCUMENT_LENGTH
    config = getattr(config, "encoder_config", config)
    positions = getattr(config, "max_position_embeddings", None)
    limit = positions if isinstance(positions, int) and positions > 0 else None
    if limit is not None:
        limit -= first_position(config)
    if asked is None:
        return min(_DEFAULT_LENGTH, int(min(tokenizer.model_max_length, _DEFAULT_LENGTH)), limit or _DEFAULT_LENGTH)
    if limit is not None and asked > limit:
        raise ConfigError(
            f"max_length is {asked}, but this model ({config.model_type}) reads at most {limit} tokens. Give --max_length {limit} or less."
        )
    return asked


def first_position(config: Any) -> int:
    """The position of a text's first token: 0, or the padding id plus one in RoBERTa's family.

    Example:
        >>> from transformers import BertConfig, RobertaConfig
        >>> first_position(BertConfig()), first_position(RobertaConfig(pad_token_id=1))
        (0, 2)
    """
    return (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET_POSITIONS else 0


def _stored_task(config: Any) -> Task | None:
    """The task that a checkpoint was trained for, as far as its configuration says."""
    own = getattr(config, "understudy", None)
    if isinstance(own, dict) and "task" in own:
        return Task.from_dict(own["task"])
    if not config.id2label or _is_language_model(config):
        return None
    labels = tuple(str(config.id2label[index]) for index in sorted(config.id2label))
    kinds = {problem: kind for kind, problem in PROBLEMS.items()}
    kind: Any = kinds.get(config.problem_type or "", "regression" if len(labels) == 1 else "single_label")
    return Task(text=(("text",),), label="label", kind=kind, labels=() if kind == "regression" else labels)


def _is_language_model(config: Any) -> bool:
    own = getattr(config, "understudy", None)
    return isinstance(own, dict) and str(own.get("kind")).endswith("language_model")


def _start_afresh(model: Any) -> None:
    """Initialise the head anew."""
    for part in head_modules(model):
        for module in part.modules():
            tensors: Any = (*module.parameters(recurse=False), *module.buffers(recurse=False))
            for tensor in tensors:
                tensor._is_hf_initialized = False  # transformers leaves alone what a checkpoint filled
            with torch.no_grad():
                model._init_weights(module)


def _in_encoder(keys: list[str], model: Any) -> bool:
    base = base_model(model)
    inside = {id(parameter) for parameter in base.parameters()} if base is not model else set()
    parameters = dict(model.named_parameters())
    return any(id(parameters.get(key)) in inside and "pooler" not in key for key in keys)
