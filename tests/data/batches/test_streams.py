"""Laws of streams and blocks: every token is predicted once, in order, however they are cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.data.batches.blocks import CausalBlocks, scoring_blocks
from understudy.data.batches.streams import StreamBatch, StreamBatches, scoring_batches
from understudy.data.batches.token_order import TokenOrder, epoch_order
from understudy.data.batches.windows import SHORTEST_WINDOW, stream_starts, window_plan
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded

law = settings(deadline=None, derandomize=True)


def corpus(lengths: list[int]) -> Encoded:
    """Texts whose tokens are all different, so that each is known by its id."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Encoded(np.arange(offsets[-1], dtype=np.int32), offsets, None, 0, "right", "")


def joined(encoded: Encoded, order: np.ndarray) -> list[int]:
    """The long way: all texts of an epoch in one list."""
    return [token for text in order for token in encoded.row(text).tolist()]


lengths_of = st.lists(st.integers(0, 40), min_size=3, max_size=40).filter(lambda lengths: sum(lengths) > 60)


@law
@given(
    lengths=lengths_of,
    streams=st.integers(1, 9),
    bptt=st.integers(10, 40),
    epoch=st.integers(0, 2),
    backward=st.booleans(),
    max_tokens=st.sampled_from([None, 30, 100]),
)
def test_every_token_is_a_target_once_and_follows_its_input(
    lengths: list[int], streams: int, bptt: int, epoch: int, backward: bool, max_tokens: int | None
) -> None:
    encoded = corpus(lengths)
    batches = StreamBatches(encoded, streams=streams, bptt=bptt, seed=3, backward=backward, max_tokens=max_tokens)
    text = joined(encoded, epoch_order(len(encoded), 3, epoch))
    text = text[::-1] if backward else text
    after = dict(itertools.pairwise(text))
    read: dict[int, list[int]] = {}
    targets: list[int] = []
    windows = list(batches.windows(epoch))
    assert len(windows) == batches.steps(epoch)
    for number, window in enumerate(windows):
        assert len({batch.rate for batch in window}) == 1
        for batch in window:
            assert batch.begins == (number == 0)
            ids, labels = batch.inputs["input_ids"].numpy(), batch.labels.numpy()  # type: ignore[union-attr]
            assert batch.rate == pytest.approx(ids.shape[1] / bptt)
            real = labels != NO_LABEL
            assert all(after[token] == label for token, label in zip(ids[real], labels[real]))
            assert batch.counts == {
                "rows": len(ids),
                "tokens": real.sum(),
                "transitions": (real[:, 1:] & real[:, :-1]).sum(),
            }
            targets += labels[real].tolist()
            for i, row in enumerate(ids):
                read.setdefault(batch.first + i, []).extend(row[real[i]].tolist())
    assert sorted(targets) == sorted(text[1:])
    assert [token for stream in sorted(read) for token in read[stream]] == text[:-1]  # each continues where it ended


@law
@given(lengths=lengths_of, streams=st.integers(3, 9), world=st.integers(2, 3), max_tokens=st.sampled_from([None, 40]))
def test_the_ranks_have_the_streams_of_one(
    lengths: list[int], streams: int, world: int, max_tokens: int | None
) -> None:
    encoded = corpus(lengths)
    options = {"streams": streams, "bptt": 15, "seed": 0}
    one = list(StreamBatches(encoded, **options).windows(1))
    ranks = [
        list(StreamBatches(encoded, **options, max_tokens=max_tokens, world_size=world, rank=rank).windows(1))
        for rank in range(world)
    ]
    for step, (whole, *parts) in enumerate(zip(one, *ranks)):
        assert len({len(part) for part in parts}) == 1  # all ranks reduce their gradients equally often
        rows: dict[int, list[int]] = {}
        for rank, part in enumerate(parts):
            for batch in part:
                for i, row in enumerate(batch.inputs["input_ids"].tolist()):
                    rows[rank + world * (batch.first + i)] = row
        assert [rows[i] for i in sorted(rows)] == whole[0].inputs["input_ids"].tolist(), step


@law
@given(targets=st.integers(1, 3000), bptt=st.integers(10, 90), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_windows_join_and_none_is_too_short(targets: int, bptt: int, seed: int, epoch: int) -> None:
    windows = window_plan(targets, bptt=bptt, seed=seed, epoch=epoch)
    assert [window.start for window in windows] == [0, *(window.stop for window in windows[:-1])]
    assert windows[-1].stop == targets
    assert all(window.stop - window.start >= min(SHORTEST_WINDOW, targets) for window in windows)
    assert all(window.rate == (window.stop - window.start) / bptt for window in windows)


def test_lengths_are_drawn_as_the_paper_has_it() -> None:
    windows = window_plan(2_000_000, bptt=70, seed=0, epoch=0)
    lengths = np.array([window.stop - window.start for window in windows[:-1]])
    short = lengths < 52.5
    # A share, a mean and a standard deviation, each within 4 standard errors.
    assert abs(short.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / len(lengths))
    assert abs(lengths[~short].mean() - 70) < 4 * 5 / np.sqrt((~short).sum())
    assert abs(lengths[short].mean() - 35) < 4 * 5 / np.sqrt(short.sum())
    assert abs(lengths[~short].std() - 5) < 4 * 5 / np.sqrt(2 * (~short).sum()) + 0.05  # rounding adds 1/12 to 25


def test_epochs_and_seeds_differ_and_repeat() -> None:
    encoded = corpus([7] * 200)

    def first(seed: int, epoch: int) -> tuple[list[int], int]:
        batches = StreamBatches(encoded, streams=4, bptt=20, seed=seed)
        return next(iter(batches.windows(epoch)))[0].inputs["input_ids"][0].tolist(), batches.steps(epoch)

    assert first(0, 0) == first(0, 0)
    assert len({tuple(first(seed, epoch)[0]) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_windows_from_the_middle_are_those_of_the_whole() -> None:
    batches = StreamBatches(corpus([11] * 60), streams=3, bptt=12, seed=0)
    whole, rest = list(batches.windows(2)), list(batches.windows(2, 5))
    assert len(rest) == len(whole) - 5
    for (one,), (other,) in zip(whole[5:], rest):
        assert one.inputs["input_ids"].tolist() == other.inputs["input_ids"].tolist()
        assert (one.rate, other.begins) == (other.rate, False)


@law
@given(tokens=st.integers(1, 500), streams=st.integers(1, 40))
def test_streams_are_alike_in_length_and_join(tokens: int, streams: int) -> None:
    starts = stream_starts(tokens, streams)
    assert (starts[0], starts[-1]) == (0, tokens - 1)
    assert np.ptp(np.diff(starts)) <= 1
    assert (np.diff(np.diff(starts)) <= 0).all()


@pytest.mark.parametrize(
    ("streams", "world", "said"), [(2, 3, "3 processes need"), (20, 1, "20 streams need more than")]
)
def test_too_few_streams_or_tokens(streams: int, world: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StreamBatches(corpus([10] * 10), streams=streams, bptt=70, seed=0, world_size=world)


@pytest.mark.parametrize("tokens", [2, 30, 1500, 2500])
@pytest.mark.parametrize("window", [7, 64])
def test_an_evaluation_has_every_token_once_however_it_is_cut(tokens: int, window: int) -> None:
    encoded = corpus([tokens // 2, tokens - tokens // 2])
    batches = list(scoring_batches(encoded, window=window))
    targets = np.concatenate([batch.labels.numpy().ravel() for batch in batches])  # type: ignore[union-attr]
    assert sorted(targets[targets != NO_LABEL]) == list(range(1, tokens))
    assert {len(batch.inputs["input_ids"]) for batch in batches} == {max(1, tokens // 1000)}
    assert [batch.begins for batch in batches] == [True] + [False] * (len(batches) - 1)


def test_backward_is_the_text_from_its_end() -> None:
    encoded = corpus([3, 4])
    (batch,) = scoring_batches(encoded, backward=True)
    assert batch.inputs["input_ids"].tolist() == [[6, 5, 4, 3, 2, 1]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [[5, 4, 3, 2, 1, 0]]


def test_tokens_are_found_where_they_lie_without_a_copy_of_the_corpus() -> None:
    encoded = corpus([3, 0, 5, 1])
    order = np.array([2, 1, 3, 0])
    tokens = TokenOrder(encoded, order)
    assert tokens.at(np.arange(len(tokens))).tolist() == joined(encoded, order)
    assert tokens._ids is encoded.ids


@law
@given(lengths=lengths_of, length=st.integers(2, 30), batch_size=st.integers(1, 5))
def test_blocks_predict_every_token_once(lengths: list[int], length: int, batch_size: int) -> None:
    encoded = corpus(lengths)
    batches = CausalBlocks(encoded, length=length, batch_size=batch_size, max_tokens=60, seed=1)
    text = joined(encoded, epoch_order(len(encoded), 1, 2))
    after = dict(itertools.pairwise(text))
    windows = list(batches.windows(2))
    assert len(windows) == batches.steps(2)
    targets = []
    for batch in (batch for window in windows for batch in window):
        ids, labels = batch.inputs["input_ids"].numpy(), batch.labels.numpy()  # type: ignore[union-attr]
        real = labels != NO_LABEL
        assert ids.shape[1] == length
        assert batch.counts == {"rows": len(ids), "tokens": real.sum()}
        assert all(after[token] == label for token, label in zip(ids[real], labels[real]))
        targets += labels[real].tolist()
    assert sorted(targets) == sorted(text[1:])
    scored = [batch.labels for batch in scoring_blocks(encoded, length=length, max_tokens=60)]
    flat = [label for labels in scored if labels is not None for label in labels.flatten().tolist()]
    assert [label for label in flat if label != NO_LABEL] == list(range(1, len(text)))


def test_a_batch_stays_what_it_is_on_another_device() -> None:
    batch = next(iter(StreamBatches(corpus([50]), streams=2, bptt=10, seed=0).windows(0)))[0]
    moved = batch.to("cpu")
    assert isinstance(moved, StreamBatch)
    assert (moved.first, moved.begins, moved.rate) == (batch.first, True, batch.rate)
