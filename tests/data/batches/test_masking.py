"""Masks: their statistics within three standard deviations, what is never masked, and that they are pure functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from understudy.data.batches.masking import Masking
from understudy.data.tokens.vocabulary import train_tokenizer

MASK, SPECIAL, ORDINARY = 4, 5, 95
ROWS, TOKENS = 400, 100


def masking_of(**changes: object) -> Masking:
    """A hundred ids, the first five special."""
    values = {"mask_id": MASK, "maskable": np.arange(SPECIAL + ORDINARY) >= SPECIAL, "probability": 0.15, "seed": 0}
    return Masking(**(values | changes))  # type: ignore[arg-type]


def corpus() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of [CLS] … [SEP] with an [UNK] in the middle: ids, rows, places."""
    ids = np.random.default_rng(0).integers(SPECIAL, SPECIAL + ORDINARY, (ROWS, TOKENS))
    ids[:, 0], ids[:, -1], ids[:, 50] = 2, 3, 1
    return ids.ravel(), np.repeat(np.arange(ROWS), TOKENS), np.tile(np.arange(TOKENS), ROWS)


def within_3_sigma(hits: int, trials: int, probability: float) -> bool:
    return abs(hits - trials * probability) <= 3 * math.sqrt(trials * probability * (1 - probability))


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize("epoch", [0, 7])
def test_shares(seed: int, epoch: int) -> None:
    """15 % are chosen: 80 % of them become the mask, 10 % another word (except 1 in 95), 10 % stay."""
    ids, rows, places = corpus()
    shown, chosen = masking_of(seed=seed)(ids, rows, places, epoch=epoch)
    ordinary = ids >= SPECIAL
    assert within_3_sigma(int(chosen.sum()), int(ordinary.sum()), 0.15)
    count = int(chosen.sum())
    masked, kept = chosen & (shown == MASK), chosen & (shown == ids)
    assert within_3_sigma(int(masked.sum()), count, 0.8)
    assert within_3_sigma(int(kept.sum()), count, 0.1 + 0.1 / ORDINARY)
    assert within_3_sigma(int((chosen & ~masked & ~kept).sum()), count, 0.1 * (1 - 1 / ORDINARY))


def test_every_place_and_every_row_is_as_likely() -> None:
    ids, rows, places = corpus()
    chosen = np.zeros(len(ids), int)
    epochs = 40
    for epoch in range(epochs):
        chosen += masking_of()(ids, rows, places, epoch=epoch)[1]
    table = chosen.reshape(ROWS, TOKENS)
    ordinary = np.setdiff1d(np.arange(TOKENS), [0, 50, TOKENS - 1])
    for counts, trials in ((table[:, ordinary].sum(0), ROWS * epochs), (table.sum(1), len(ordinary) * epochs)):
        deviation = (counts - trials * 0.15) / math.sqrt(trials * 0.15 * 0.85)
        assert abs(deviation).max() < 4.5  # the largest of a few hundred
        assert 0.8 < deviation.std() < 1.2


def test_neighbours_and_epochs_are_independent() -> None:
    ids, rows, places = corpus()
    inside = (places > 0) & (places < TOKENS - 1) & (places != 50)
    first = masking_of()(ids, rows, places, epoch=0)[1]
    others = {
        "epoch": masking_of()(ids, rows, places, epoch=1)[1],
        "seed": masking_of(seed=1)(ids, rows, places, epoch=0)[1],
        "neighbour": np.roll(first, 1),
        "row": np.roll(first, TOKENS),
    }
    for name, other in others.items():
        shared = np.corrcoef(first[inside], other[inside])[0, 1]
        assert abs(shared) < 4 / math.sqrt(inside.sum()), name


def test_random_words_are_all_ordinary_ones_alike() -> None:
    ids, rows, places = corpus()
    shown, chosen = masking_of(probability=1.0)(ids, rows, places, epoch=0)
    drawn = shown[chosen & (shown != MASK) & (shown != ids)]
    counts = np.bincount(drawn, minlength=SPECIAL + ORDINARY)
    assert not counts[:SPECIAL].any()
    expected = len(drawn) / ORDINARY
    assert ((counts[SPECIAL:] - expected) ** 2 / expected).sum() < ORDINARY + 4 * math.sqrt(2 * ORDINARY)


def test_special_tokens_are_never_masked() -> None:
    ids, rows, places = corpus()
    for epoch in range(5):
        shown, chosen = masking_of(probability=1.0)(ids, rows, places, epoch=epoch)
        special = ids < SPECIAL
        assert not chosen[special].any()
        assert (shown[special] == ids[special]).all()
        assert chosen[~special].all()


def test_a_row_is_masked_alike_wherever_it_turns_up() -> None:
    """In another order, alone, or among others: what a resumed run, another batch or another process sees."""
    ids, rows, places = corpus()
    shown, chosen = masking_of()(ids, rows, places, epoch=3)
    order = np.random.default_rng(1).permutation(ROWS)[:50]
    taken = (order[:, None] * TOKENS + np.arange(TOKENS)).ravel()
    again, picked = masking_of()(ids[taken], rows[taken], places[taken], epoch=3)
    assert (again == shown[taken]).all()
    assert (picked == chosen[taken]).all()
    assert (ids == corpus()[0]).all()  # the text itself is unchanged


def test_each_epoch_and_each_seed_has_masks_of_its_own() -> None:
    ids, rows, places = corpus()
    drawn = [masking_of(seed=seed)(ids, rows, places, epoch=epoch)[1] for seed in (0, 1) for epoch in (0, 1)]
    assert len({mask.tobytes() for mask in drawn}) == 4


def test_short_texts_have_no_other_chance_and_are_often_left_whole() -> None:
    rows = np.repeat(np.arange(4000), 3)
    chosen = masking_of()(np.full(12000, 9), rows, np.tile(np.arange(3), 4000), epoch=0)[1]
    assert within_3_sigma(int(chosen.sum()), 12000, 0.15)
    assert within_3_sigma(int((~chosen.reshape(4000, 3).any(1)).sum()), 4000, 0.85**3)


def test_nothing_is_masked_of_nothing() -> None:
    nothing = np.empty(0, int)
    for whole in (False, True):
        masking = Masking.of(train_tokenizer(["a film"], "words:9"), whole_words=whole)
        shown, chosen = masking(nothing, nothing, nothing, epoch=0)
        assert len(shown) == len(chosen) == 0


def word_piece() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = ["film", "##s", "##y", "the", "play", "##er", "."]
    backend = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate([*special, *pieces])}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    roles = {f"{token[1:-1].lower()}_token": token for token in special}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def test_whole_words_go_together_with_the_same_share() -> None:
    tokenizer = word_piece()
    text = np.array(tokenizer("the players films . [UNK] filmsy the player").input_ids)
    assert tokenizer.convert_ids_to_tokens(text)[:6] == ["the", "play", "##er", "##s", "film", "##s"]
    words = np.array([0, 1, 1, 1, 2, 2, 3, 4, 5, 5, 5, 6, 7, 7])
    count = 5000
    ids, rows = np.tile(text, count), np.repeat(np.arange(count), len(text))
    masking = Masking.of(tokenizer, whole_words=True, seed=3)
    shown, chosen = masking(ids, rows, np.tile(np.arange(len(text)), count), epoch=0)
    table = chosen.reshape(count, len(text))
    for word in set(words.tolist()):
        together = table[:, words == word]
        assert (together == together[:, :1]).all()
        assert within_3_sigma(int(together[:, 0].sum()), count, 0.0 if word == 4 else 0.15)
    assert not (table[:, 1] == table[:, 4]).all()
    fates = shown[chosen] == MASK  # each piece of a word is replaced on its own
    assert abs(fates.mean() - 0.8) < 4 * math.sqrt(0.16 / len(fates))
    long_word = (shown.reshape(count, -1)[table[:, 1]][:, 1:4] == MASK).sum(1)
    assert {0, 1, 2, 3} >= set(long_word.tolist()) > {3}


def test_a_tokenizer_tells_what_is_special() -> None:
    tokenizer = word_piece()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[NAME]"]})
    tokenizer.backend_tokenizer.add_special_tokens([AddedToken("[PLACE]", special=True)])  # transformers overlooks it
    masking = Masking.of(tokenizer)
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[NAME]", "[PLACE]"}
    assert {piece for piece, number in tokenizer.get_vocab().items() if not masking.maskable[number]} == special
    assert masking.mask_id == tokenizer.mask_token_id


def test_ids_that_are_no_pieces_are_never_drawn() -> None:
    class Holed:
        """A vocabulary without tokens for ids 2 and 3."""

        mask_token_id = 1
        all_special_ids = (1,)
        added_tokens_decoder: dict[int, object] = {}

        def get_vocab(self) -> dict[str, int]:
            return {"a": 0, "[MASK]": 1, "b": 4}

    masking = Masking.of(Holed(), probability=1.0)  # type: ignore[arg-type]
    assert masking.maskable.tolist() == [True, False, False, False, True]
    shown, _ = masking(np.zeros(3000, int), np.arange(3000), np.zeros(3000, int), epoch=0)
    assert set(shown.tolist()) == {0, 1, 4}


def test_what_cannot_be_is_refused() -> None:
    tokenizer = word_piece()
    for probability in (0.0, 1.5):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            Masking.of(tokenizer, probability=probability)
    tokenizer.mask_token = None
    with pytest.raises(ValueError, match="no mask token"):
        Masking.of(tokenizer)
