"""Batches of masked texts: the laws of the plan, and that a text is masked alike in a row and in a block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from understudy.data.batches.contract import Batch
from understudy.data.batches.masked import MaskedBlocks, MaskedLines, fixed_batches
from understudy.data.batches.masking import Masking
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded

MASKING = Masking(mask_id=4, maskable=np.arange(60) >= 5, probability=0.3, seed=0)
NAMES = ("input_ids", "attention_mask")
LONGEST = 24


def corpus(rows: int = 90) -> Encoded:
    """Texts between [CLS] (2) and [SEP] (3), of 3 to LONGEST tokens."""
    rng = np.random.default_rng(5)
    texts = [[2, *rng.integers(5, 60, rng.integers(1, LONGEST - 1)).tolist(), 3] for _ in range(rows)]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    return Encoded(np.concatenate(texts).astype(np.int32), offsets, None, 0, "right", "")


def lines(**changes: object) -> MaskedLines:
    options = {"names": NAMES, "batch_size": 8, "max_tokens": 100, "seed": 0} | changes
    return MaskedLines(corpus(), MASKING, **options)  # type: ignore[arg-type]


def blocks(**changes: object) -> MaskedBlocks:
    options = {"max_length": LONGEST, "names": NAMES, "batch_size": 8, "max_tokens": 100, "seed": 0} | changes
    return MaskedBlocks(corpus(), MASKING, **options)  # type: ignore[arg-type]


def whole(batch: Batch) -> torch.Tensor:
    """The ids before masking, padding included."""
    assert batch.labels is not None
    return torch.where(batch.labels == NO_LABEL, batch.inputs["input_ids"], batch.labels)


def texts_of(batch: Batch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each text of a batch as its shown ids and its original ids, delimited by [CLS] and [SEP]."""
    found = []
    for shown, there in zip(batch.inputs["input_ids"].tolist(), whole(batch).tolist()):
        starts = [i for i, number in enumerate(there) if number == 2]
        ends = [i for i, number in enumerate(there) if number == 3]
        found += [(tuple(shown[a : b + 1]), tuple(there[a : b + 1])) for a, b in zip(starts, ends, strict=True)]
    return found


def epoch_of(source: MaskedLines, epoch: int) -> list[Batch]:
    return [batch for window in source.windows(epoch) for batch in window]


@pytest.mark.parametrize("make", [lines, blocks])
def test_every_text_once_an_epoch_and_other_masks_in_the_next(make: object) -> None:
    source = make()  # type: ignore[operator]
    encoded = source.encoded
    expected = sorted(tuple(encoded.row(i).tolist()) for i in range(len(encoded)))
    shown = []
    for epoch in (0, 1):
        texts = [text for batch in epoch_of(source, epoch) for text in texts_of(batch)]
        assert sorted(there for _, there in texts) == expected
        shown.append(sorted(seen for seen, _ in texts))
    assert shown[0] != shown[1]


@pytest.mark.parametrize("make", [lines, blocks])
def test_counts_are_those_of_the_tensors(make: object) -> None:
    source = make()  # type: ignore[operator]
    batches = epoch_of(source, 2)
    for batch in batches:
        assert batch.labels is not None
        assert batch.counts["rows"] == len(batch.labels)
        assert batch.counts["masked"] == (batch.labels != NO_LABEL).sum()
        assert batch.counts["tokens"] == (whole(batch) != 0).sum()
        assert batch.labels.numel() <= 100
    assert sum(batch.counts["tokens"] for batch in batches) == len(source.encoded.ids)
    assert source.padding_ratio(2) == pytest.approx(
        sum(batch.inputs["input_ids"].numel() for batch in batches) / len(source.encoded.ids)
    )


@pytest.mark.parametrize("make", [lines, blocks])
def test_a_run_goes_on_where_it_was(make: object) -> None:
    source = make()  # type: ignore[operator]
    assert source.steps(1) == len(list(source.windows(1)))
    later = make()  # type: ignore[operator]
    for window, again in zip(list(source.windows(1))[3:], later.windows(1, start=3), strict=True):
        for one, other in zip(window, again, strict=True):
            assert one.counts == other.counts
            assert all(torch.equal(one.inputs[name], other.inputs[name]) for name in one.inputs)


@pytest.mark.parametrize("make", [lines, blocks])
def test_ranks_share_the_same_epoch(make: object) -> None:
    alone = [text for batch in epoch_of(make(), 4) for text in texts_of(batch)]  # type: ignore[operator]
    ranks = [epoch_of(make(world_size=3, rank=rank), 4) for rank in range(3)]  # type: ignore[operator]
    assert sorted(alone) == sorted(text for batches in ranks for batch in batches for text in texts_of(batch))
    assert len({len(batches) for batches in ranks}) == 1


def test_a_text_is_masked_alike_in_a_row_and_in_a_block() -> None:
    in_rows = [text for batch in epoch_of(lines(), 1) for text in texts_of(batch)]
    in_blocks = [text for batch in epoch_of(blocks(), 1) for text in texts_of(batch)]
    assert sorted(in_rows) == sorted(in_blocks)


def test_texts_of_a_block_see_themselves_alone_and_count_from_their_beginning() -> None:
    for batch in epoch_of(blocks(), 0)[:5]:
        there = whole(batch)
        for row in range(len(there)):
            text = np.cumsum(there[row].numpy() == 2) * (there[row].numpy() != 0)  # 0 is padding
            mask = batch.inputs["attention_mask"][row, 0].numpy()
            assert (mask == (text[:, None] == text[None, :])).all()
            for number in range(1, text.max() + 1):
                positions = batch.inputs["position_ids"][row].numpy()[text == number]
                assert positions.tolist() == list(range(len(positions)))


def test_segments_come_along() -> None:
    encoded = corpus()
    source = MaskedBlocks(
        encoded,
        MASKING,
        max_length=LONGEST,
        names=(*NAMES, "token_type_ids"),
        batch_size=8,
        max_tokens=999,
        seed=0,
    )
    batch = epoch_of(source, 0)[0]
    assert batch.inputs["token_type_ids"].shape == batch.inputs["input_ids"].shape
    assert not batch.inputs["token_type_ids"].any()


def test_scores_are_always_of_the_same_masks() -> None:
    encoded = corpus()
    first, second = (list(fixed_batches(encoded, MASKING, names=NAMES, max_tokens=80)) for _ in range(2))
    assert all(torch.equal(a.inputs["input_ids"], b.inputs["input_ids"]) for a, b in zip(first, second, strict=True))
    assert sum(batch.counts["rows"] for batch in first) == len(encoded)
    wider = list(fixed_batches(encoded, MASKING, names=NAMES, max_tokens=400))
    assert sorted(text for batch in first for text in texts_of(batch)) == sorted(
        text for batch in wider for text in texts_of(batch)
    )
