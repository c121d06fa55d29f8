"""What a student's embedding table starts from: the teacher's table, a file of word vectors, or chance.

Every function returns a table ``(tokens, width)`` in float32 whose row is the token's id.

Scale: the table is multiplied so that the standard deviation of its entries is `std`; None keeps the source's own (a
BERT table lies at about 0.05, GloVe at about 0.4). It matters: a table of BERT's own scale is too faint beside what
an optimizer's step adds. On AG News with 1,000 labels a static bag of MiniLM's embeddings reached 83.5 % at 0.056,
84.6 % at 0.1, 85.8 % at 0.2, 86.0 % at 0.4 and 85.6 % at 1.0 (AdamW, 1e-3, 10 epochs, two seeds, 1,500 test rows);
a BiLSTM 81.3 % at 0.056, 84.5 % at 0.2 and 85.5 % at 0.4 (8 epochs, one seed).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.pieces import special_ids
from understudy.errors import DataError
from understudy.models.vocabulary.transplant import origins

_STD = 0.4
"""Of the entries of a table that starts from known vectors: measured above."""


def table_rows(tokenizer: PreTrainedTokenizerBase) -> int:
    """The rows that an embedding table for `tokenizer` needs: one more than its highest id."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def random(tokenizer: PreTrainedTokenizerBase, width: int, *, std: float = 0.1) -> Tensor:
    """Normally distributed entries, from torch's current seed.

    Returns:
        ``(tokens, width)``.
    """
    return torch.randn(table_rows(tokenizer), width) * std


def from_teacher(
    table: Tensor,
    teacher_tokenizer: PreTrainedTokenizerBase,
    tokenizer: PreTrainedTokenizerBase,
    width: int,
    *,
    std: float | None = _STD,
) -> Tensor:
    """The teacher's word embeddings, brought to the student's vocabulary and width.

    With the same vocabulary row is copied to row. With another one a token keeps its row if the teacher has it, and else
    gets the mean of the pieces into which the teacher's tokenizer cuts it (:func:`understudy.models.vocabulary.transplant.origins`).
    A narrower table keeps the principal components (:func:`project`), a wider one gets small random columns besides.

    Args:
        table: the teacher's, ``(teacher tokens, teacher width)``.
        width: of the student's embeddings.
        std: of the entries; None keeps the teacher's.

    Returns:
        ``(tokens, width)``.
    """
    source = table.detach().float().cpu()
    if teacher_tokenizer.get_vocab() == tokenizer.get_vocab():
        rows = source[: table_rows(tokenizer)]
    else:
        rows = origins(teacher_tokenizer, tokenizer).carry(source)
    return _scaled(resize(rows, width), std)


def from_vectors_file(
    path: str | Path, tokenizer: PreTrainedTokenizerBase, width: int, *, std: float | None = _STD
) -> tuple[Tensor, int]:
    """Word vectors from a text file: a word and its numbers a line, separated by spaces (GloVe, word2vec, fastText).

    A first line of two integers (rows and width) is skipped, ``.gz`` is unpacked. The first line of a word counts;
    where a token is not in the file as it stands, its lower case serves. Tokens that are not in the file start at
    random at the scale of the file; those that go on within a word (``##ing``) look up their bare text. Another width
    than the file's is reached as in :func:`from_teacher`.

    Returns:
        ``(tokens, width)``, and how many tokens the file covers.

    Raises:
        DataError: with file and line, if a line does not hold the file's number of values, a value is not a finite
            number, or no token is covered.
    """
    path = Path(path)
    wanted: dict[str, list[int]] = {}
    special = special_ids(tokenizer)
    for token, index in tokenizer.get_vocab().items():
        if index not in special:
            for spelling in dict.fromkeys([_bare(token), _bare(token).lower()]):
                wanted.setdefault(spelling, []).append(index)
    found: dict[int, np.ndarray] = {}
    exact: set[int] = set()
    names = {index: _bare(token) for token, index in tokenizer.get_vocab().items()}
    for word, vector in _read_vectors(path, wanted):
        for index in wanted[word]:
            is_exact = names[index] == word
            if index not in found or (is_exact and index not in exact):
                found[index] = vector
                if is_exact:
                    exact.add(index)
    if not found:
        raise DataError(
            f"{path}: holds a vector for none of the tokenizer's {len(names)} tokens. Give vectors of the texts' language, or another tokenizer."
        )
    covered = torch.tensor(sorted(found))
    vectors = resize(torch.from_numpy(np.stack([found[i] for i in covered.tolist()])), width)
    table = torch.randn(table_rows(tokenizer), width) * vectors.std(correction=0)
    table[covered] = vectors
    return _scaled(table, std), len(found)


def resize(table: Tensor, width: int) -> Tensor:
    """A table at another width: projected where narrower, widened where wider, itself where equal."""
    if width < table.shape[1]:
        return project(table, width)
    if width == table.shape[1]:
        return table.clone()
    # Small beside the copied columns: they add directions to learn in without drowning what is known.
    extra = torch.randn(len(table), width - table.shape[1]) * table.std(correction=0) * 0.1
    return torch.cat([table, extra], dim=1)


def project(table: Tensor, width: int) -> Tensor:
    """The first `width` principal components of the rows, at the table's own standard deviation.

    The mean row, which says nothing of any token, is taken off; each component's sign is fixed by its largest entry,
    so that the result does not depend on the linear-algebra library.

    Args:
        table: ``(tokens, wider)``.

    Returns:
        ``(tokens, width)``.
    """
    centred = table.double() - table.double().mean(0)
    # By the covariance: the right singular vectors of (tokens, wider), at a fraction of the time of their SVD.
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    components = vectors.flip(1)[:, :width]
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    projected = centred @ (components * largest.sign())
    return _scaled(projected, float(table.double().std(correction=0))).float()


def _scaled(table: Tensor, std: float | None) -> Tensor:
    if std is None:
        return table
    own = table.std(correction=0)
    return table * (std / own) if own > 0 else table


def _bare(token: str) -> str:
    """A token's text without the marks of word starts and continuations."""
    bare = token.removeprefix("##").lstrip("Ġ▁").removesuffix("</w>")
    return bare or token


def _read_vectors(path: Path, wanted: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The wanted words and their vectors, line by line; only their numbers are parsed."""
    if not path.is_file():
        raise DataError(f"{path}: no such file of word vectors.")
    open_text = gzip.open if path.suffix == ".gz" else open
    width: int | None = None
    try:
        with open_text(path, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                fields = line.rstrip().split(" ")
                if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
                    continue
                if fields == [""]:
                    continue
                if width is None:
                    width = len(fields) - 1
                if width < 1 or len(fields) - 1 < width:
                    raise DataError(
                        f"{path}, line {number}: a word and {max(width, 1)} numbers are expected, but there are {len(fields) - 1} after the first space. Give a text file of word vectors, one word a line."
                    )
                # A word may itself hold spaces (some GloVe files): the numbers are the last ones.
                word = " ".join(fields[:-width])
                if word not in wanted:
                    continue
                try:
                    vector = np.array(fields[-width:], dtype=np.float32)
                except ValueError:
                    raise DataError(
                        f"{path}, line {number}: the values of '{word}' must be numbers, but one of them is not."
                    ) from None
                if not np.isfinite(vector).all():
                    raise DataError(
                        f"{path}, line {number}: the values of '{word}' must be finite numbers, but one of them is not."
                    )
                yield word, vector
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not UTF-8 ({error.reason}). Give vectors as text, not in a binary format."
        ) from None
    except (gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}.") from None
