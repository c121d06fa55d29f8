"""The usual names of columns: texts, pairs of texts, labels. In order of preference; case does not matter."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.data.readers.formats.parsed import NAME_THE_COLUMNS

PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("#1 string", "#2 string"),
)
TEXTS = (
    *("text", "sentence", "content", "review", "body", "document", "comment", "tweet", "description", "title"),
    *("comment_text", "sentences", "query", "headline"),
)
LABELS = (
    *("label", "labels", "class", "category", "target", "sentiment", "score"),
    *("gold_label", "sentiment_label", "intent"),
)
_ALL = {*TEXTS, *LABELS, *(name for pair in PAIRS for name in pair)}


def seems_a_header(fields: Sequence[str]) -> bool:
    """Whether a line of fields names columns: at least two of them, some with usual names, none twice.

    Example:
        >>> seems_a_header(["id", "Text", "label"]), seems_a_header(["A fine film", "text"])
        (True, False)
    """
    names = [field.strip().strip('"').lower() for field in fields]
    return len(set(names)) == len(names) > 1 and len(_ALL.intersection(names)) > 1


def no_header(names: Sequence[str]) -> str:
    """The end of a message about columns that were not found: perhaps the first line is a row of data.

    Example:
        >>> no_header(["pos", "a fine film"])[-61:]
        'name them in order with --columns, as in --columns label text'
    """
    two = ["label", "text"] if len(names) == 2 and len(names[0]) < len(names[1]) else ["text", "label"]
    known = _ALL.intersection(name.lower() for name in names)  # then it is a header after all
    such = f", as in --columns {' '.join(two)}" if len(names) == 2 and not known else ""
    return f"; if the first line of the file is a row of data, {NAME_THE_COLUMNS}{such}"
