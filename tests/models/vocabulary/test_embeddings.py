"""Initial embeddings: copied, averaged, projected, or read from files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from transformers import PreTrainedTokenizerFast

from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import DataError
from understudy.models.vocabulary.embeddings import (
    project_table,
    random_table,
    table_from_teacher,
    table_from_vectors,
    table_rows,
)
from understudy.models.vocabulary.word_vectors import bare_text

Tokenizer = PreTrainedTokenizerFast


@pytest.fixture
def table(words: Tokenizer) -> torch.Tensor:
    """A teacher's table with a few more rows than its tokenizer has tokens, like a padded table."""
    torch.manual_seed(0)
    return torch.randn(table_rows(words) + 3, 12) * torch.linspace(0.1, 2, 12) + 0.5


def test_same_tokenizer_and_width_copies_row_by_row(words: Tokenizer, table: torch.Tensor) -> None:
    assert torch.equal(table_from_teacher(table, words, words, 12, std=None), table[: table_rows(words)])


@pytest.mark.parametrize("width", [5, 12, 20])
def test_default_scale(words: Tokenizer, table: torch.Tensor, width: int) -> None:
    got = table_from_teacher(table * 0.03, words, words, width)
    assert got.shape == (table_rows(words), width)
    assert got.std(correction=0).item() == pytest.approx(0.4, rel=1e-4)


def test_scale_is_the_only_difference(words: Tokenizer, table: torch.Tensor) -> None:
    plain, scaled = (table_from_teacher(table, words, words, 12, std=std) for std in (None, 0.4))
    ratio = scaled / plain
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))


def test_narrower_is_pca(table: torch.Tensor) -> None:
    """Equal to scikit-learn's PCA up to signs and one common factor."""
    got = project_table(table, 4).double().numpy()
    reference = PCA(4, svd_solver="full").fit_transform(table.double().numpy())
    factor = np.linalg.norm(got) / np.linalg.norm(reference)
    np.testing.assert_allclose(np.abs(got), np.abs(reference) * factor, rtol=1e-4, atol=1e-5)
    assert got.std() == pytest.approx(table.std(correction=0).item(), rel=1e-4)
    np.testing.assert_allclose(got.mean(0), 0, atol=1e-5)


def test_wider_keeps_the_columns_and_adds_faint_ones(words: Tokenizer, table: torch.Tensor) -> None:
    got = table_from_teacher(table, words, words, 20, std=None)
    assert torch.equal(got[:, :12], table[: table_rows(words)])
    assert 0 < got[:, 12:].std() < 0.2 * table.std()


def test_another_tokenizer_gets_the_mean_of_the_teachers_pieces(table: torch.Tensor, words: Tokenizer) -> None:
    pieces = train_tokenizer(["film filmed play played"] * 5, "bpe:60")
    torch.manual_seed(0)
    teacher = torch.randn(table_rows(pieces), 6)
    got = table_from_teacher(teacher, pieces, words, 6, std=None)
    for word in ("film", "play", "a", "was"):
        ids = [i for i in pieces(word, add_special_tokens=False)["input_ids"] if i != pieces.unk_token_id]
        ids = [i for i in ids if i != pieces.convert_tokens_to_ids("▁")]  # the other pieces are known
        torch.testing.assert_close(got[words.convert_tokens_to_ids(word)], teacher[ids].mean(0))
    torch.testing.assert_close(got[words.convert_tokens_to_ids("song")], teacher.mean(0))
    for role in ("pad", "unk", "cls", "sep", "mask"):
        own, theirs = getattr(words, f"{role}_token_id"), getattr(pieces, f"{role}_token_id")
        assert torch.equal(got[own], teacher[theirs])


def test_word_starts_are_looked_up_without_their_mark(words: Tokenizer, table: torch.Tensor) -> None:
    pieces = train_tokenizer(["good film"] * 5, "bpe:100")
    assert "▁good" in pieces.get_vocab()
    got = table_from_teacher(table, words, pieces, 12, std=None)
    good = table[words.convert_tokens_to_ids("good")]
    assert torch.equal(got[pieces.convert_tokens_to_ids("▁good")], good)


@pytest.mark.parametrize(
    ("token", "text"),
    [("##ing", "ing"), ("Ġfilm", "film"), ("▁film", "film"), ("film</w>", "film"), ("##", "##"), ("▁", "▁")],
)
def test_marks_of_all_families(token: str, text: str) -> None:
    assert bare_text(token) == text


def test_random_follows_the_seed(words: Tokenizer) -> None:
    tables = []
    for _ in range(2):
        torch.manual_seed(3)
        tables.append(random_table(words, 200, std=0.2))
    assert torch.equal(*tables)
    assert tables[0].std().item() == pytest.approx(0.2, rel=0.05)


VECTORS = "film 1 0 -1\nplay 0.5 2 1e-1\nGood 3 3 3\nunheard 9 9 9\n"


@pytest.mark.parametrize("header", ["", "4 3\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_vectors_are_read_and_counted(tmp_path: Path, words: Tokenizer, header: str, packed: bool) -> None:
    path = tmp_path / ("vectors.txt.gz" if packed else "vectors.txt")
    path.write_bytes(gzip.compress((header + VECTORS).encode()) if packed else (header + VECTORS).encode())
    got, covered = table_from_vectors(path, words, 3, std=None)
    assert covered == 2
    assert got[words.convert_tokens_to_ids("film")].tolist() == [1, 0, -1]
    torch.testing.assert_close(got[words.convert_tokens_to_ids("play")], torch.tensor([0.5, 2, 0.1]))
    other = got[words.convert_tokens_to_ids("song")]
    assert other.abs().sum() > 0


def test_vectors_in_lower_case_serve_cased_tokens(tmp_path: Path) -> None:
    cased = train_tokenizer(["Film film Play"], "words:20", lowercase=False)
    path = tmp_path / "vectors.txt"
    path.write_text("film 1 2\nplay 3 4\nFilm 5 6\n", encoding="utf-8")
    got, covered = table_from_vectors(path, cased, 2, std=None)
    rows = {word: got[cased.convert_tokens_to_ids(word)].tolist() for word in ("Film", "film", "Play")}
    assert (rows, covered) == ({"Film": [5, 6], "film": [1, 2], "Play": [3, 4]}, 3)


def test_vectors_of_another_width_are_brought_to_it(tmp_path: Path, words: Tokenizer) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(VECTORS, encoding="utf-8")
    for width in (2, 5):
        assert table_from_vectors(path, words, width)[0].shape == (table_rows(words), width)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"film 1 2\nplay 1\n", r"v.txt, line 2: a word and 2 numbers .* 1 after"),
        (b"film 1 2\nplay 1 x\n", r"v.txt, line 2: the values of 'play' must be numbers"),
        (b"film 1 nan\n", r"v.txt, line 1: .*finite"),
        (b"zebra 1 2\n", "no vector for any of the tokenizer"),
        (b"", "no vector for any of the tokenizer"),
        (b"film\n", r"line 1: a word and 1 numbers"),
        (b"film 1 \xff\n", "not UTF-8"),
    ],
)
def test_broken_vector_files(tmp_path: Path, words: Tokenizer, content: bytes, message: str) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        table_from_vectors(path, words, 2)


def test_missing_and_broken_packed_vector_files(tmp_path: Path, words: Tokenizer) -> None:
    with pytest.raises(DataError, match="no such file"):
        table_from_vectors(tmp_path / "none.txt", words, 2)
    path: Any = tmp_path / "v.txt.gz"
    path.write_bytes(b"film 1 2")
    with pytest.raises(DataError, match="cannot be unpacked"):
        table_from_vectors(path, words, 2)
