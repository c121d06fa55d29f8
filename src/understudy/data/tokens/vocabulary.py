"""New tokenizers, trained on the texts at hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from understudy.data.tokens.fastai_words import is_fastai, retrain_fastai
from understudy.data.tokens.specs import SPECIAL_TOKENS, parse_spec
from understudy.errors import ConfigError, DataError

_NO_WORD = "the texts contain no word to train a tokenizer on. Give a training file or a pool with text in it."


def retrain_tokenizer(
    texts: Iterable[str], spec: str, *, like: PreTrainedTokenizerBase, cased: bool = False
) -> PreTrainedTokenizerFast:
    """A tokenizer learnt from `texts` that can replace another one, so that a model can be moved to it.

    It lowers case if `like` does. If `spec` and `like` both ask for whole words, words are split by the rules of `like`.
    If both merge, and `like` merges bytes, bytes are merged. In these two cases special tokens keep their names.
    Otherwise :func:`train_tokenizer` makes it, with the padding at the id that it has in `like`, because training
    WordPiece or Unigram does not give the same result every time. The same texts give the same tokenizer.

    Args:
        texts: read once, in a stream.
        spec: ``words:N`` or ``bpe:N``.
        like: the tokenizer to replace.
        cased: keep case and accents even if `like` drops them.

    Raises:
        ConfigError: if `spec` is malformed, or too small for a byte-level tokenizer.
        DataError: if the texts contain no word.
    """
    kind, size = parse_spec(spec)
    backend: Any = getattr(like, "backend_tokenizer", None)
    model = None if backend is None else backend.model
    lowers = _lowers(like)
    words = kind == "words" and isinstance(model, models.WordLevel)
    merged_bytes = kind == "bpe" and isinstance(model, models.BPE) and "ByteLevel" in f"{backend.pre_tokenizer}"
    if (words or merged_bytes) and not (cased and lowers):
        if words and is_fastai(like):  # its marks come from its rules, not from the texts, and must be kept
            made = retrain_fastai(texts, size, like=like)
        else:
            made = like.train_new_from_iterator(texts, size, show_progress=False)
        if len(made) > size:
            raise ConfigError(
                f"a vocabulary of {size} is too small: its bytes and special tokens alone take {len(made)}. For example: new:8000."
            )
        if set(made.get_vocab().values()) <= set(made.all_special_ids):
            raise DataError(_NO_WORD)
    else:
        begins = like("a")["input_ids"][:1]
        made = train_tokenizer(
            texts,
            spec,
            lowercase=lowers and not cased,
            pad_id=like.pad_token_id if like.pad_token_id in range(len(SPECIAL_TOKENS)) else 0,
            marks_beginning=set(begins) <= {like.cls_token_id, like.bos_token_id} - {None},
        )
        made.model_max_length, made.model_input_names = like.model_max_length, like.model_input_names
    return made


def _lowers(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer lowers case."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return bool(getattr(tokenizer, "do_lower_case", False))
    return backend.normalizer is not None and backend.normalizer.normalize_str("A") == "a"


def train_tokenizer(
    texts: Iterable[str], spec: str, *, lowercase: bool = True, pad_id: int = 0, marks_beginning: bool = True
) -> PreTrainedTokenizerFast:
    """A tokenizer learnt from `texts`. The same texts give the same tokenizer.

    Both kinds split at white space and punctuation. ``words:N`` keeps the N most frequent words. ``bpe:N`` builds N
    pieces by merging, marks the pieces that start a word with ``▁`` and leaves out only the rarest characters. (If it
    marked the other pieces with ``##``, `tokenizers` would number them in an order that changes from run to run.)
    Unknown words become ``[UNK]``. A text becomes ``[CLS] a [SEP]``, a pair ``[CLS] a [SEP] b [SEP]`` with type ids 0
    and 1.

    Args:
        texts: read once, in a stream.
        spec: ``words:N`` or ``bpe:N``; N includes the five special tokens.
        lowercase: drop case and accents.
        pad_id: the id of the padding; the other special tokens get the remaining ids from 0 to 4.
        marks_beginning: start a text with ``[CLS]``. False for a language model that reads texts one after the other: a
            ``[CLS]`` would always follow the ``[SEP]`` of the text before and carry no information.

    Raises:
        ValueError: if `pad_id` is not from 0 to 4.
        ConfigError: if `spec` is malformed.
        DataError: if the texts contain no word.

    Example:
        >>> tokenizer = train_tokenizer(["a dull film", "a fine film"], "words:20")
        >>> tokenizer.convert_ids_to_tokens(tokenizer("A fine play").input_ids)
        ['[CLS]', 'a', 'fine', '[UNK]', '[SEP]']
    """
    kind, size = parse_spec(spec)
    if pad_id not in range(len(SPECIAL_TOKENS)):
        raise ValueError(f"pad_id must be from 0 to {len(SPECIAL_TOKENS) - 1}, but is {pad_id}")
    special = list(SPECIAL_TOKENS[1:])
    special.insert(pad_id, SPECIAL_TOKENS[0])
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
            limit_alphabet=max(1, (size - len(SPECIAL_TOKENS)) // 2),  # the other half is for merges
            special_tokens=special,
            show_progress=False,
        )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() == len(SPECIAL_TOKENS):
        raise DataError(_NO_WORD)
    first = "[CLS] " if marks_beginning else ""
    numbers = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first}$A [SEP]", pair=f"{first}$A [SEP] $B:1 [SEP]:1", special_tokens=numbers
    )
    roles = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="right", model_input_names=names, **roles)
