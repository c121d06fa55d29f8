"""fast.ai's words: a tokenizer that splits texts as fast.ai does, as far as regular expressions can.

fast.ai rewrites a text by rules, splits it with spaCy and lowers case. Marks keep what this loses: ``xxmaj the nasa``
for "The nasa", ``xxup nasa`` for "NASA", ``xxrep 4 !`` for "!!!!". A rule applies if its mark is in the vocabulary,
under the name of fast.ai 1 and 2 (``xxup``) or of fast.ai 0.7 (``t_up``), which had fewer marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from understudy.data.tokens.fastai_rules import fastai_rules
from understudy.errors import DataError

NOT_REPRODUCED = (
    "spaCy's lists of exceptions: abbreviations beyond the commonest, emoticons, web and e-mail addresses, gonna, cannot",
    "HTML entities beyond the commonest",
    "a character or word that is repeated more than 20 times counts as 20",
)
"""Where texts may be split differently than by fast.ai."""

_NAMES = {
    "unk": ("xxunk", "_unk_", "<unk>"),
    "pad": ("xxpad", "_pad_", "<pad>"),
    "bos": ("xxbos", "xbos", "_bos_"),
    "eos": ("xxeos", "_eos_", "<eos>", "\n"),
    "field": ("xxfld", "xfld"),
    "capital": ("xxmaj",),
    "capitals": ("xxup", "t_up"),
    "repeated": ("xxrep", "tk_rep"),
    "repeated words": ("xxwrep", "tk_wrep"),
}
_APART = pre_tokenizers.Split(Regex(r"\n+|[^\s]+"), "removed", invert=True)
"""Splits what the normaliser separated: at single spaces, and at line ends, which are tokens themselves."""


def fastai_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over a fast.ai vocabulary, with fast.ai's special tokens in their roles.

    A text becomes ``xxbos`` and its words, a pair ``xxbos xxfld 1 a xxfld 2 b``, as far as these tokens exist. A word
    that occurs twice in the vocabulary has its last id, as in fast.ai.

    Args:
        words: fast.ai's ``itos``: the word of each id.

    Raises:
        DataError: if there is no token for unknown words, or none for padding.

    Example:
        >>> marks = ["xxunk", "xxpad", "xxbos", "xxmaj", "xxup", "xxrep"]
        >>> tokenizer = fastai_tokenizer([*marks, "the", "nasa", "did", "n't", "4", "!"])
        >>> " ".join(tokenizer.convert_ids_to_tokens(tokenizer("The NASA didn't!!!!")["input_ids"]))
        "xxbos xxmaj the xxup nasa did n't xxrep 4 !"
    """
    numbers = {word: i for i, word in enumerate(words)}
    marks = {role: next((name for name in names if name in numbers), None) for role, names in _NAMES.items()}
    missing = [f"{role} ({' or '.join(_NAMES[role])})" for role in ("unk", "pad") if marks[role] is None]
    if missing:
        raise DataError(
            f"the vocabulary has no token for {' and none for '.join(missing)}. Give the vocabulary of a fast.ai language model (itos)."
        )
    backend = Tokenizer(models.WordLevel(_distinct(words, numbers), unk_token=marks["unk"]))
    backend.normalizer = normalizers.Sequence(fastai_rules(marks))
    backend.pre_tokenizer = _APART
    begin = [marks["bos"]] if marks["bos"] else []
    fields = [[marks["field"], number] if marks["field"] and number in numbers else [] for number in ("1", "2")]
    template = [*begin, *fields[0], "$A:0", *fields[1], "$B:1"] if all(fields) else [*begin, "$A:0", "$B:1"]
    fixed = [token for token in template if token and not token.startswith("$")]
    backend.post_processor = processors.TemplateProcessing(
        single=[*begin, "$A:0"],
        pair=template,
        special_tokens=[(token, numbers[token]) for token in dict.fromkeys(fixed)],
    )
    roles = {f"{role}_token": marks[role] for role in ("unk", "pad", "bos", "eos") if marks[role] not in (None, "\n")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def is_fastai(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer was made by :func:`fastai_tokenizer`, also if it was saved and loaded since."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and f"{backend.pre_tokenizer}" == f"{_APART}"


def retrain_fastai(texts: Iterable[str], size: int, *, like: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """A tokenizer with the rules and the marks of a fast.ai tokenizer and the commonest words of other texts.

    Args:
        texts: read once.
        size: the size of the vocabulary, marks included.
        like: a tokenizer made by :func:`fastai_tokenizer`.
    """
    rules: Any = getattr(like, "backend_tokenizer", None)
    known = like.get_vocab()
    marks = [name for names in _NAMES.values() for name in names if name in known]
    marks += [number for number in ("1", "2") if number in known and set(marks) & set(_NAMES["field"])]
    learner = Tokenizer(models.WordLevel(unk_token=like.unk_token))
    learner.normalizer, learner.pre_tokenizer = rules.normalizer, rules.pre_tokenizer
    trainer: Any = trainers.WordLevelTrainer(vocab_size=size + len(marks), special_tokens=[], show_progress=False)
    learner.train_from_iterator(texts, trainer)
    learnt = sorted(learner.get_vocab().items(), key=lambda item: item[1])
    words = [word for word, _ in learnt if word not in marks]
    return fastai_tokenizer([*sorted(marks, key=known.__getitem__), *words][:size])


def _distinct(words: Sequence[str], numbers: dict[str, int]) -> dict[str, int]:
    """The vocabulary with a distinct word for every id: a word that has a later id too is replaced by one no text has."""
    return {word if numbers[word] == i else f"{word} {i}": i for i, word in enumerate(words)}
