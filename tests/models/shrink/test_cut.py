"""Students cut from their teacher."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from understudy.errors import ModelError
from understudy.models.shrink.cut import choose_layers, cut_layers, evenly, layer_count
from understudy.models.structure.layers import encoder_layers

IDS = torch.tensor([[5, 9, 23, 41, 7, 30]])


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 48).flatmap(lambda total: st.tuples(st.just(total), st.integers(1, total))))
def test_evenly_spreads_from_first_to_last(sizes: tuple[int, int]) -> None:
    total, count = sizes
    kept = evenly(total, count)
    assert len(set(kept)) == count
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert count == 1 or kept[-1] == total - 1
    steps = [b - a for a, b in itertools.pairwise(kept)]
    assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("count", [0, 5])
def test_evenly_refuses(count: int) -> None:
    with pytest.raises(ModelError, match=f"4 layers, .* 1 to 4 .* {count} were"):
        evenly(4, count)


@pytest.mark.parametrize("how", ["evenly", "alternate", "first", "last"])
@settings(deadline=None, derandomize=True, max_examples=30)
@given(sizes=st.integers(1, 24).flatmap(lambda total: st.tuples(st.just(total), st.integers(1, total))))
def test_chosen_layers_rise_and_fit(how: Any, sizes: tuple[int, int]) -> None:
    total, count = sizes
    if how == "alternate" and math.ceil(total / 2) < count < total:
        with pytest.raises(ModelError, match=f"every second .* makes {math.ceil(total / 2)}, but {count} .* evenly"):
            choose_layers(total, count, how)
        return
    kept = choose_layers(total, count, how)
    assert len(set(kept)) == count
    assert kept == sorted(kept)
    assert set(kept) <= set(range(total))
    if how == "alternate":
        assert len(steps := {b - a for a, b in itertools.pairwise(kept)}) <= 1
        assert steps != {1} or count == total
        assert kept[0] == 0


def test_alternate_is_every_third_where_there_are_three_times_as_many() -> None:
    assert choose_layers(12, 4, "alternate") == [0, 3, 6, 9]
    assert choose_layers(12, 6, "alternate") == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("how", ["evenly", "alternate", "first", "last"])
def test_too_many_layers_are_refused_however_chosen(how: Any) -> None:
    with pytest.raises(ModelError, match=r"4 layers, .* 1 to 4 .* 5 were"):
        choose_layers(4, 5, how)


def test_all_layers_kept_is_the_same_model(classifier: Any) -> None:
    whole = cut_layers(classifier, [0, 1, 2, 3])
    assert torch.equal(whole(IDS).logits, classifier(IDS).logits)
    assert whole is not classifier
    with torch.no_grad():
        next(whole.parameters()).add_(1)
    assert not torch.equal(next(whole.parameters()), next(classifier.parameters()))


def test_cut_model_is_the_teacher_with_layers_skipped(classifier: Any, architecture: str) -> None:
    """The independent reference is the teacher itself, with the blocks removed from its list."""
    cut = cut_layers(classifier, [0, 3])
    assert layer_count(cut) == 2
    if architecture == "albert":
        classifier.albert.encoder.config.num_hidden_layers = 2
    else:
        stack = encoder_layers(classifier)
        del stack[1:3]
        classifier.config.num_hidden_layers = 2
        if architecture == "modernbert":
            classifier.config.layer_types = [classifier.config.layer_types[i] for i in (0, 3)]
    torch.testing.assert_close(cut(IDS).logits, classifier(IDS).logits)
    assert torch.equal(cut(IDS).logits, cut(IDS).logits)


def test_cut_bert_equals_its_blocks_run_by_hand(tiny_classifier: Any) -> None:
    teacher = tiny_classifier("bert")
    states = teacher.bert.embeddings(IDS)
    for i in (1, 3):
        states = teacher.bert.encoder.layer[i](states)
    expected = teacher.classifier(teacher.bert.pooler(states if isinstance(states, torch.Tensor) else states[0]))
    torch.testing.assert_close(cut_layers(teacher, [1, 3])(IDS).logits, expected)


def test_cut_models_are_saved_and_loaded_by_transformers_alone(classifier: Any, tmp_path: Path) -> None:
    cut = cut_layers(classifier, [0, 2])
    cut.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(IDS).logits, cut(IDS).logits)


def test_layer_types_go_with_their_layers(tiny_classifier: Any) -> None:
    teacher = tiny_classifier("modernbert")
    teacher.config.layer_types = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
    assert cut_layers(teacher, [0, 1]).config.layer_types == ["full_attention", "sliding_attention"]
    assert cut_layers(teacher, [0, 3]).config.layer_types == ["full_attention", "full_attention"]
    assert len(teacher.config.layer_types) == 4


def albert(groups: int) -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = transformers.AlbertConfig(vocab_size=50, embedding_size=8, num_hidden_groups=groups, **sizes)
    return transformers.AlbertModel(config).eval()


def test_an_albert_that_shares_nothing_is_cut_as_any_other() -> None:
    teacher = albert(4)
    student = cut_layers(teacher, [1, 3])
    states = teacher.encoder.embedding_hidden_mapping_in(teacher.embeddings(IDS))
    for i in (1, 3):
        states = teacher.encoder.albert_layer_groups[i](states)
        states = states if isinstance(states, torch.Tensor) else states[0]
    assert student.config.num_hidden_groups == 2
    torch.testing.assert_close(student(IDS).last_hidden_state, states)


def test_an_albert_of_a_few_groups_cannot_be_cut() -> None:
    assert layer_count(cut_layers(albert(2), [0, 1, 2, 3])) == 4
    with pytest.raises(ModelError, match=r"4 layers share their weights in 2 groups.*Keep all"):
        cut_layers(albert(2), [0, 3])


def test_windows_of_attention_go_with_their_layers() -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LongformerConfig(vocab_size=50, attention_window=[4, 8, 12], **sizes)
    student = cut_layers(transformers.LongformerModel(config).eval(), [0, 2])
    assert student.config.attention_window == [4, 12]
    assert student(IDS).last_hidden_state.isfinite().all()


def test_a_first_layer_unlike_the_others_must_be_kept(tiny_classifier: Any) -> None:
    with pytest.raises(ModelError, match="Keep layer 0"):
        cut_layers(tiny_classifier("modernbert"), [1, 3])


@pytest.mark.parametrize("keep", [[], [4], [-1, 2], [2, 1], [1, 1]])
def test_wrong_layers_are_named(tiny_classifier: Any, keep: list[int]) -> None:
    with pytest.raises(ModelError, match=r"rising list of numbers from 0 to 3, but are .*For example: 0 3"):
        cut_layers(tiny_classifier("bert"), keep)


def test_half_precision_stays(tiny_classifier: Any) -> None:
    assert {p.dtype for p in cut_layers(tiny_classifier("bert").bfloat16(), [0, 3]).parameters()} == {torch.bfloat16}


def test_the_seed_is_left_where_it_was(tiny_classifier: Any) -> None:
    teacher = tiny_classifier("bert")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    cut_layers(teacher, [0])
    assert torch.equal(torch.rand(3), expected)
