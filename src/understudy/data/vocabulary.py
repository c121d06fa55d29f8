"""Tokenizers of our own, trained on the texts at hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from understudy.errors import ConfigError, DataError, nearest

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_KINDS = ("words", "bpe")


def parse_spec(spec: str) -> tuple[str, int]:
    """The kind and the size of a vocabulary from its short form.

    Raises:
        ConfigError: if it is not ``words:N`` or ``bpe:N`` with room for more than the special tokens.

    Example:
        >>> parse_spec("words:30000")
        ('words', 30000)
    """
    match = re.fullmatch(r"([a-z]+):(\d+)", spec)
    if match is None or match[1] not in _KINDS:
        kind = spec.partition(":")[0]
        hint = f" Did you mean '{kind}:8000'?" if kind in _KINDS else nearest(kind, _KINDS)
        raise ConfigError(
            f"tokenizer '{spec}' is neither words:N nor bpe:N, for example words:30000 or bpe:8000.{hint}"
        )
    size = int(match[2])
    if size <= len(_SPECIAL):
        raise ConfigError(
            f"tokenizer '{spec}' must have more than the {len(_SPECIAL)} special tokens, but asks for {size}. For example: {match[1]}:8000."
        )
    return match[1], size


def train_tokenizer(texts: Iterable[str], spec: str, *, lowercase: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer learnt from `texts`; the same texts give the same one.

    Both kinds split at white space and punctuation. ``words:N`` keeps the N most frequent words; ``bpe:N`` builds N
    pieces by merging, marks those that begin a word by ``▁`` and leaves out only the rarest characters. (Marking the
    others, by ``##``, would make `tokenizers` number them in an order that changes from run to run.) What is unknown
    becomes ``[UNK]``. A text becomes ``[CLS] a [SEP]``, a pair ``[CLS] a [SEP] b [SEP]`` with type ids 0 and 1.

    Args:
        texts: read once, in a stream.
        spec: ``words:N`` or ``bpe:N``; N counts the five special tokens.
        lowercase: whether case and accents are dropped.

    Raises:
        ConfigError: if `spec` is malformed.
        DataError: if there is not a single word in the texts.

    Example:
        >>> tokenizer = train_tokenizer(["a dull film", "a fine film"], "words:20")
        >>> tokenizer.convert_ids_to_tokens(tokenizer("A fine play").input_ids)
        ['[CLS]', 'a', 'fine', '[UNK]', '[SEP]']
    """
    kind, size = parse_spec(spec)
    bert = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    trainer: Any
    if kind == "words":
        tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        tokenizer.normalizer = bert
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=list(_SPECIAL), show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
        single_spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
        tokenizer.normalizer = normalizers.Sequence([bert, *single_spaces])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            limit_alphabet=max(1, (size - len(_SPECIAL)) // 2),  # the other half is for merges
            special_tokens=list(_SPECIAL),
            show_progress=False,
        )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == len(_SPECIAL):
        raise DataError(
            "the texts hold not a single word to train a tokenizer on. Give a training file or a pool with text in it."
        )
    numbers = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=numbers
    )
    roles = {f"{token[1:-1].lower()}_token": token for token in _SPECIAL}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="right", model_input_names=names, **roles)
