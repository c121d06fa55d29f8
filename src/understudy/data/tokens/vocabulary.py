"""Tokenizers of our own, trained on the texts at hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from understudy.data.tokens.fastai_words import is_fastai, retrained
from understudy.errors import ConfigError, DataError, nearest

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_KINDS = ("words", "bpe")
_NO_WORD = "the texts hold not a single word to train a tokenizer on. Give a training file or a pool with text in it."


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


def parse_choice(choice: str) -> str | None:
    """What to train for ``--vocabulary``: the short form of :func:`train_tokenizer`, or None for ``keep``.

    Raises:
        ConfigError: if it is not ``keep``, ``new:N`` or ``words:N``, with room for more than the special tokens.

    Example:
        >>> parse_choice("new:16000"), parse_choice("words:30000"), parse_choice("keep")
        ('bpe:16000', 'words:30000', None)
    """
    if choice == "keep":
        return None
    kind, _, size = choice.partition(":")
    if kind not in ("new", "words") or not size.isdecimal():
        hint = f" Did you mean '{kind}:16000'?" if kind in ("new", "words") else nearest(kind, ("keep", "new", "words"))
        raise ConfigError(
            f"vocabulary must be keep, new:N (pieces of words) or words:N, for example new:16000, but is {choice!r}.{hint}"
        )
    if int(size) <= len(_SPECIAL):
        raise ConfigError(
            f"vocabulary {choice!r} must have more than the {len(_SPECIAL)} special tokens. For example: {kind}:16000."
        )
    return f"{'bpe' if kind == 'new' else 'words'}:{int(size)}"


def retrain(
    texts: Iterable[str], spec: str, *, like: PreTrainedTokenizerBase, cased: bool = False
) -> PreTrainedTokenizerFast:
    """A tokenizer learnt from `texts` that can take the place of another: a model can be carried to it.

    It lowers case where `like` does. Words are split by the very rules of `like` where that knows whole words too, and
    bytes are merged where `like` merges bytes; then special tokens keep their names. Otherwise it is what
    :func:`train_tokenizer` makes (WordPiece and Unigram cannot be trained to the same result every time), with the
    padding at the id that it has in `like`. The same texts give the same tokenizer.

    Args:
        texts: read once, in a stream.
        spec: ``words:N`` or ``bpe:N``.
        like: the tokenizer whose place it takes.
        cased: keep case and accents even where `like` drops them.

    Raises:
        ConfigError: if `spec` is malformed, or too small for a tokenizer of bytes.
        DataError: if there is not a single word in the texts.
    """
    kind, size = parse_spec(spec)
    backend: Any = getattr(like, "backend_tokenizer", None)
    model = None if backend is None else backend.model
    lowers = _lowers(like)
    words = kind == "words" and isinstance(model, models.WordLevel)
    merged_bytes = kind == "bpe" and isinstance(model, models.BPE) and "ByteLevel" in f"{backend.pre_tokenizer}"
    if (words or merged_bytes) and not (cased and lowers):
        if words and is_fastai(like):  # its marks stand for what its rules take from a text: they are no words of it
            made = retrained(texts, size, like=like)
        else:
            made = like.train_new_from_iterator(texts, size, show_progress=False)
        if len(made) > size:
            raise ConfigError(
                f"a vocabulary of {size} is too small: its {len(made)} bytes and special tokens alone are more. For example: new:8000."
            )
        if set(made.get_vocab().values()) <= set(made.all_special_ids):
            raise DataError(_NO_WORD)
    else:
        begins = like("a")["input_ids"][:1]
        made = train_tokenizer(
            texts,
            spec,
            lowercase=lowers and not cased,
            pad_id=like.pad_token_id if like.pad_token_id in range(len(_SPECIAL)) else 0,
            marks_beginning=set(begins) <= {like.cls_token_id, like.bos_token_id} - {None},
        )
        made.model_max_length, made.model_input_names = like.model_max_length, like.model_input_names
    return made


def _lowers(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer drops case."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return bool(getattr(tokenizer, "do_lower_case", False))
    return backend.normalizer is not None and backend.normalizer.normalize_str("A") == "a"


def train_tokenizer(
    texts: Iterable[str], spec: str, *, lowercase: bool = True, pad_id: int = 0, marks_beginning: bool = True
) -> PreTrainedTokenizerFast:
    """A tokenizer learnt from `texts`; the same texts give the same one.

    Both kinds split at white space and punctuation. ``words:N`` keeps the N most frequent words; ``bpe:N`` builds N
    pieces by merging, marks those that begin a word by ``▁`` and leaves out only the rarest characters. (Marking the
    others, by ``##``, would make `tokenizers` number them in an order that changes from run to run.) What is unknown
    becomes ``[UNK]``. A text becomes ``[CLS] a [SEP]``, a pair ``[CLS] a [SEP] b [SEP]`` with type ids 0 and 1.

    Args:
        texts: read once, in a stream.
        spec: ``words:N`` or ``bpe:N``; N counts the five special tokens.
        lowercase: whether case and accents are dropped.
        pad_id: the id of the padding; the other special tokens have the remaining ids from 0 to 4.
        marks_beginning: False for a language model that reads texts one after the other: the ``[SEP]`` of one text is
            all that stands before the next, for a ``[CLS]`` after it would be no news.

    Raises:
        ValueError: if `pad_id` is not one of the first five.
        ConfigError: if `spec` is malformed.
        DataError: if there is not a single word in the texts.

    Example:
        >>> tokenizer = train_tokenizer(["a dull film", "a fine film"], "words:20")
        >>> tokenizer.convert_ids_to_tokens(tokenizer("A fine play").input_ids)
        ['[CLS]', 'a', 'fine', '[UNK]', '[SEP]']
    """
    kind, size = parse_spec(spec)
    if pad_id not in range(len(_SPECIAL)):
        raise ValueError(f"the padding must be one of the first {len(_SPECIAL)} tokens, but its id is to be {pad_id}")
    special = list(_SPECIAL[1:])
    special.insert(pad_id, _SPECIAL[0])
    bert = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    trainer: Any
    if kind == "words":
        tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
        tokenizer.normalizer = bert
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
        single_spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
        tokenizer.normalizer = normalizers.Sequence([bert, *single_spaces])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            limit_alphabet=max(1, (size - len(_SPECIAL)) // 2),  # the other half is for merges
            special_tokens=special,
            show_progress=False,
        )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == len(_SPECIAL):
        raise DataError(_NO_WORD)
    first = "[CLS] " if marks_beginning else ""
    numbers = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first}$A [SEP]", pair=f"{first}$A [SEP] $B:1 [SEP]:1", special_tokens=numbers
    )
    roles = {f"{token[1:-1].lower()}_token": token for token in _SPECIAL}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="right", model_input_names=names, **roles)
