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

_MOST = 20
"""The largest number of repetitions that is told apart."""

_SIGN = "\ue000"
"""A character for private use, which no text contains."""

_HTML = (
    ("#39;", "'"),
    ("amp;", "&"),
    ("#146;", "'"),
    ("nbsp;", " "),
    ("#36;", "$"),
    ("\\n", "\n"),
    ("quot;", "'"),
    ("<br />", "\n"),
    ('\\"', '"'),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    (" @,@ ", ","),
    ("\\", " \\ "),
    ("&lt;", "<"),
    ("&gt;", ">"),
)
"""What fast.ai's ``fix_html`` replaces, in its order (``&amp;`` becomes ``&&``), then the commonest entities."""

_ABBREVIATIONS = [
    "Mr",
    "Mrs",
    "Ms",
    "Messrs",
    "Dr",
    "Prof",
    "Gen",
    "Gov",
    "Adm",
    "Rep",
    "Sen",
    "Rev",
    "St",
    "Jr",
    "Sr",
    "Inc",
    "Ltd",
    "Co",
    "Corp",
    "Bros",
    "vs",
    "Mt",
    "Ph.D",
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Sept",
    "Oct",
    "Nov",
    "Dec",
    "a.m",
    "p.m",
    "e.g",
    "i.e",
]
_UNITS = "km²|km³|km|m²|m³|cm²|cm³|cm|mm|nm|yd|ft|kg|mg|lb|oz|hPa|kPa|mph|MB|GB|KB|TB|mb|gb|kb|tb|m|g|t|K|M|G|T|%"
_WORD = (
    r"\n+",
    r"xx[a-z]+\b",
    rf"(?<![\w.])(?:{'|'.join(name.replace('.', '[.]') for name in _ABBREVIATIONS)})[.](?!\w)",
    r"(?:\p{Lu}[.])+(?!\w)",  # U.S. and the J. of a name
    r"\.{2,}|…",
    rf"\d+(?:[.,:]\d+)*(?=(?:{_UNITS})(?!\w))",
    r"\d+(?:[.,:]\d+)*(?:st|nd|rd|th|s)?(?!\w)",
    r"\w+?(?=(?i:n['’]t)(?!\w))",
    r"(?i:n['’]t)(?!\w)",
    r"(?i:['’](?:s|m|d|re|ve|ll))(?!\w)",
    r"[\w.]*?\p{Ll}(?=[.]\p{Lu})",  # a full stop without its space
    r"\w+(?:(?:[.&@]|(?<=\d)-(?=\p{L})|(?<=\p{L})-(?=\d))\w+)*",
    r"[^\w\s]",
)
"""What a token is; the first pattern that matches applies. A short form of spaCy's rules for English."""


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
    backend.normalizer = normalizers.Sequence(_rules(marks))
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


def _rules(marks: dict[str, str | None]) -> list[Any]:
    """fast.ai's rules as normalisers, in its order. After them, spaces separate all tokens."""
    old = marks["capitals"] == "t_up"
    rules: list[Any] = [normalizers.Prepend(" ")]  # `tokenizers` cannot replace an empty match at the start of a text
    rules += [normalizers.Replace(before, after) for before, after in _HTML]
    rules.append(normalizers.Replace("<unk>", f" {marks['unk']} "))
    if marks["repeated"]:
        rules.append(normalizers.Replace(Regex(r"(\S)\1{3,}\K"), " "))  # what follows a run is a new word
        rules += _repeats(r"(\S)", marks["repeated"])
    if marks["repeated words"]:
        rules += _repeats(r"(\b\w++\W++)", marks["repeated words"])
    if old and marks["capitals"]:
        rules.append(normalizers.Replace(Regex(r"\b(?=\w*\p{Lu})(?=[^\W\p{Ll}]{3,}\b)"), f" {marks['capitals']} "))
    rules.append(normalizers.Replace(Regex(r"(?<=[/#])|(?=[/#])"), " "))
    # The atomic group prevents a match that ends inside a token.
    rules.append(normalizers.Replace(Regex(rf"(?>{'|'.join(_WORD)})\K"), " "))
    if not old and marks["capitals"]:
        rules.append(
            normalizers.Replace(Regex(r"(?<!\S)(?=\S*\p{Lu})(?=[^\s\p{Ll}]{2,}(?!\S))"), f"{marks['capitals']} ")
        )
    if marks["capital"]:
        rules.append(
            normalizers.Replace(Regex(r"(?<!\S)(?=\p{Lu}[^\s\p{Lu}]+(?!\S))(?=\S*\p{Ll})"), f"{marks['capital']} ")
        )
    return [*rules, normalizers.Lowercase(), normalizers.Strip()]


def _repeats(unit: str, mark: str) -> list[Any]:
    """Rules that replace four or more repetitions by the mark, their number and one of them.

    Args:
        unit: a regular expression with one group: what is repeated.
    """
    rules = [normalizers.Replace(Regex(rf"{unit}\1{{{_MOST - 1}}}\K\1+"), "")]
    # A sign marks the last repetition of a run, so that the rules for each number skip texts without a run quickly.
    rules.append(normalizers.Replace(Regex(rf"{unit}\1{{2,}}\K(?=\1(?!\1))"), _SIGN))
    return rules + [
        normalizers.Replace(Regex(rf"{unit}\1{{{count - 2}}}{_SIGN}"), f" {mark} {count} ")
        for count in range(_MOST, 3, -1)
    ]
