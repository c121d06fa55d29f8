"""Words that a teacher draws once: what is learnt from them, and what a killed or a second reading finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tests.objectives.test_distill_lm_terms import NAMES, VOCABULARY, bert, lines, objective, values
from tests.objectives.test_distill_lm_terms import encoded as encoded  # the fixture

from understudy.data.batches.by_length import length_batches
from understudy.data.batches.masked import hidden_tokens
from understudy.data.batches.masking import Masking
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded
from understudy.errors import ModelError
from understudy.functional.drawn_words import draw_words
from understudy.objectives.teachers import drawing as drawing_module
from understudy.objectives.teachers.drawing import Drawing, Draws
from understudy.objectives.teachers.drawn import DrawnBatches
from understudy.objectives.teachers.language import LanguageTeacher

WEIGHTS = {"soft_targets": 5.0, "masked_lm": 2.0}


def drawing(encoded: Encoded, batches: Any, teacher: Any = None, **options: Any) -> Drawing:
    taught = LanguageTeacher(bert(seed=0) if teacher is None else teacher)
    settings = {"names": NAMES, "count": 8, "temperature": 2.0, "precision": "no"} | options
    return Drawing(taught, replace(encoded, fingerprint="texts"), batches.masking, **settings)


def draw(
    encoded: Encoded, tmp_path: Path, *, packed: bool = False, epoch: int = 0, max_tokens: int = 30, **options: Any
) -> tuple[Draws, list[int]]:
    """The draws, and after each batch how many texts have theirs."""
    read: list[int] = []
    found = drawing(encoded, lines(encoded, packed=packed), **options).draw(
        epoch, max_tokens=max_tokens, scratch=tmp_path / "scratch", on_texts=read.append
    )
    assert found is not None
    return found, read


def drawn_values(made: Any, batches: Any, draws: Draws) -> dict[str, torch.Tensor]:
    source = DrawnBatches(batches)
    source.rounds = [draws]
    (window,) = source.windows(0)
    count = sum(batch.counts["masked"] for batch in window)
    terms = [made(batch.to("cpu")) for batch in window]
    assert all([term.name for term in found] == list(WEIGHTS) for found in terms)
    return {found[0].name: sum(term.sum for term in found) / count for found in zip(*terms)}


@pytest.mark.parametrize("packed", [False, True])
def test_from_many_words_the_student_learns_what_it_learns_from_the_teacher(
    encoded: Encoded, packed: bool, tmp_path: Path
) -> None:
    """The words of a text find their way to its tokens, in whatever row and order they stand."""
    made, taught = objective(bert(layers=2, seed=1), bert(seed=0), WEIGHTS)
    options = {"max_tokens": 40, "packed": packed}
    expected = values(made, taught, lines(encoded, **options))
    draws, _ = draw(encoded, tmp_path, count=20_000)
    found = drawn_values(made, lines(encoded, **options), draws)
    torch.testing.assert_close(found["masked_lm"], expected["masked_lm"])
    torch.testing.assert_close(found["soft_targets"], expected["soft_targets"], rtol=2e-3, atol=2e-3)


def test_each_hidden_token_has_its_own(encoded: Encoded, tmp_path: Path) -> None:
    draws, _ = draw(encoded, tmp_path)
    batches = lines(encoded)
    words, entropy = draws(np.arange(len(encoded)))
    hidden = (batches.batch(np.arange(len(encoded)), 0).labels != NO_LABEL).sum().item()
    assert words.shape == (hidden, 8)
    assert entropy.shape == (hidden,)
    assert words.max() < VOCABULARY
    one, _ = draws(np.array([4]))
    before = int(draws.counts[:4].sum())
    assert torch.equal(one, words[before : before + int(draws.counts[4])])


def test_nobody_reads_twice(encoded: Encoded, tmp_path: Path) -> None:
    first, read = draw(encoded, tmp_path)
    assert (read[0], read[-1]) == (0, len(encoded))
    again, read = draw(encoded, tmp_path)
    assert read == [len(encoded)]
    assert np.array_equal(first.table, again.table)
    for changed in (
        {"count": 9},
        {"temperature": 1.0},
        {"precision": "bf16"},
        {"teacher": bert(seed=5)},
        {"teacher": bert(hidden_act="relu")},
        {"epoch": 1},
    ):
        _, read = draw(encoded, tmp_path, **changed)
        assert read[0] == 0, changed


def test_other_masks_are_read_for_though_they_hide_as_many(encoded: Encoded, tmp_path: Path) -> None:
    def hidden(masking: Masking) -> int:
        return int(hidden_tokens(encoded, masking, epoch=0).sum())

    known = lines(encoded).masking
    other = next(m for seed in range(2, 99) if hidden(m := replace(known, seed=seed)) == hidden(known))
    draw(encoded, tmp_path)
    batches = lines(encoded)
    batches.masking = other
    read: list[int] = []
    drawing(encoded, batches).draw(0, max_tokens=30, scratch=tmp_path / "scratch", on_texts=read.append)
    assert read[0] == 0


def test_draws_begin_anywhere_whether_a_token_is_hidden_or_not(
    encoded: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws are right on average over where they begin, which must be anywhere alike among the hidden tokens, too."""
    begun: list[torch.Tensor] = []

    def kept(logits: torch.Tensor, offsets: torch.Tensor, **options: Any) -> Any:
        begun.append(offsets)
        return draw_words(logits, offsets, **options)

    monkeypatch.setattr(drawing_module, "draw_words", kept)
    for epoch in range(40):
        draw(encoded, tmp_path, epoch=epoch, max_tokens=200)
    offsets = torch.cat(begun).numpy()
    assert len(offsets) > 500
    assert kstest(offsets, "uniform").pvalue > 1e-3


def test_a_reading_that_was_killed_goes_on(encoded: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = draw(encoded, tmp_path / "whole")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "other"))
    calls: list[int] = []
    stopped = drawing(encoded, lines(encoded)).draw(
        0, max_tokens=30, scratch=tmp_path / "scratch", should_stop=lambda: bool(calls.append(1)) or len(calls) > 3
    )
    assert stopped is None
    (part,) = (tmp_path / "scratch").iterdir()
    with open(part, "ab") as file:
        file.write(b"half a record")
    again, read = draw(encoded, tmp_path)
    assert read[0] > 0
    assert read[-1] == len(encoded)
    assert len(read) == 1 + len(length_batches(encoded.lengths, max_tokens=30)) - 3
    assert np.array_equal(whole.table, again.table)


def test_damaged_draws_are_drawn_again(
    encoded: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = draw(encoded, tmp_path)
    expected, path = np.array(whole.table), Path(whole.table.filename)
    content = path.read_bytes()
    for at in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        again, _ = draw(encoded, tmp_path)
        assert f"{path}: is damaged" in capsys.readouterr().err
        assert np.array_equal(again.table, expected)
    path.unlink()
    calls: list[int] = []
    drawing(encoded, lines(encoded)).draw(
        0, max_tokens=30, scratch=tmp_path / "scratch", should_stop=lambda: bool(calls.append(1)) or len(calls) > 3
    )
    (part,) = (tmp_path / "scratch").iterdir()
    half = part.read_bytes()
    part.write_bytes(half[:-9] + bytes([half[-9] ^ 1]) + half[-8:])
    again, read = draw(encoded, tmp_path)
    assert f"{part}: is damaged (the checksum of batch 3 is wrong)" in capsys.readouterr().err
    assert len(read) == 1 + len(length_batches(encoded.lengths, max_tokens=30)) - 2
    assert np.array_equal(again.table, expected)


def test_a_cache_file_that_is_too_short_is_made_again(encoded: Encoded, tmp_path: Path) -> None:
    whole, _ = draw(encoded, tmp_path)
    table = np.array(whole.table)
    path = Path(whole.table.filename)
    path.write_bytes(path.read_bytes()[:-4])
    again, read = draw(encoded, tmp_path / "again")
    assert (read[0], read[-1]) == (0, len(encoded))
    assert np.array_equal(table, again.table)


def test_where_nothing_is_hidden_nothing_is_drawn(encoded: Encoded, tmp_path: Path) -> None:
    batches = lines(encoded)
    batches.masking = replace(batches.masking, probability=1e-9)
    draws = drawing(encoded, batches).draw(0, max_tokens=30, scratch=tmp_path)
    words, entropy = draws(np.array([0, 3]))
    assert (words.shape, entropy.shape) == ((0, 8), (0,))


def test_epochs_beyond_those_that_were_drawn_for_go_through_them_again(encoded: Encoded, tmp_path: Path) -> None:
    batches = DrawnBatches(lines(encoded, batch_size=4))
    batches.rounds = [draw(encoded, tmp_path, epoch=epoch)[0] for epoch in (0, 1)]
    for epoch, drawn in ((0, 0), (1, 1), (2, 0), (5, 1)):
        found, expected = (list(batches.windows(number)) for number in (epoch, drawn))
        assert len(found) == batches.steps(epoch) == len(expected)
        for one, other in zip(found, expected):
            for ours, theirs in zip(one, other):
                assert torch.equal(ours.inputs["input_ids"], theirs.inputs["input_ids"])
                assert torch.equal(ours.words, theirs.words)


def test_scores_that_are_no_numbers_are_refused(encoded: Encoded, tmp_path: Path) -> None:
    broken = bert(seed=0)
    made = drawing(encoded, lines(encoded), broken)
    with torch.no_grad():
        broken.cls.predictions.bias[7] = torch.nan
    with pytest.raises(ModelError, match="not numbers"):
        made.draw(0, max_tokens=30, scratch=tmp_path)
