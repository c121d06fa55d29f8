"""Narrower students: exact if the wide model uses no more than the narrow one has, else near the teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
)

from understudy.errors import ModelError
from understudy.models.shrink.directions import principal_directions, strongest_units
from understudy.models.shrink.narrow import _of_table, narrow
from understudy.models.structure.blocks import block_parts
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.pair_rows import PairLayout
from understudy.models.students.pooled import PooledClassifier, PooledConfig

IDS = torch.tensor([[5, 9, 23, 41, 7, 30], [3, 4, 5, 6, 7, 8]])
HEADS, NARROW, WIDE = 2, 8, 24


def bert(width: int, **settings: Any) -> BertForMaskedLM:
    config = BertConfig(
        vocab_size=50,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=4 * width,
        max_position_embeddings=40,
        layer_norm_eps=1e-12,
        **settings,
    )
    torch.manual_seed(0)
    model = BertForMaskedLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm.weight" not in name:
                parameter.normal_(std=0.4)
    return model


def orthogonal(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size).double())[0]


def inclusion() -> Tensor:
    """An isometry from the narrow into the wide space that maps equal entries to equal entries: ``(wide, narrow)``."""

    def with_mean(size: int) -> Tensor:
        start = torch.cat([torch.ones(size, 1), torch.randn(size, size - 1)], dim=1).double()
        found = torch.linalg.qr(start)[0]
        return found * found[0, 0].sign()

    return with_mean(WIDE)[:, :NARROW] @ with_mean(NARROW).T


@torch.no_grad()
def blown_up(small: BertForMaskedLM, into: Tensor) -> BertForMaskedLM:
    """A wide model that computes what a narrow one does: its states are images of the narrow one's, and the rest is zero."""
    wide = bert(WIDE, hidden_act=small.config.hidden_act)
    own = dict(small.named_modules())
    narrower = NARROW / WIDE
    for name, module in wide.named_modules():
        source = own[name]
        if isinstance(module, torch.nn.LayerNorm):
            module.weight.copy_(source.weight[0] * narrower**0.5)
            module.bias.copy_(into @ source.bias.double())
        elif isinstance(module, torch.nn.Embedding):
            module.weight.copy_(source.weight.double() @ into.T)
    for ours, theirs in zip(block_parts(wide), block_parts(small), strict=True):
        for part in ours:
            for parameter in part.parameters():
                if not isinstance(part, torch.nn.LayerNorm):
                    parameter.zero_()
        deep, shallow = WIDE // HEADS, NARROW // HEADS
        for head in range(HEADS):
            rows, few = slice(head * deep, (head + 1) * deep), slice(head * shallow, (head + 1) * shallow)
            mixed, turned = (
                orthogonal(deep)[:, :shallow],
                orthogonal(deep)[:, :shallow],
            )  # rotated, so that the rank is not obvious
            for name in ("query", "key"):
                part, source = getattr(ours, name), getattr(theirs, name)
                scale = (deep / shallow) ** 0.25
                part.weight[rows] = (scale * mixed @ source.weight[few].double() @ into.T).float()
                part.bias[rows] = (scale * mixed @ source.bias[few].double()).float()
            ours.value.weight[rows] = (turned @ theirs.value.weight[few].double() @ into.T).float()
            ours.value.bias[rows] = (turned @ theirs.value.bias[few].double()).float()
            ours.output.weight[:, rows] = (into @ theirs.output.weight[:, few].double() @ turned.T).float()
        places = torch.randperm(4 * WIDE)[: 4 * NARROW]
        ours.inner.weight[places] = (theirs.inner.weight.double() @ into.T).float()
        ours.inner.bias[places] = theirs.inner.bias
        ours.outer.weight[:, places] = (into @ theirs.outer.weight.double()).float()
        ours.output.bias.copy_(into @ theirs.output.bias.double())
        ours.outer.bias.copy_(into @ theirs.outer.bias.double())
    ours_head, theirs_head = wide.cls.predictions.transform.dense, small.cls.predictions.transform.dense
    ours_head.weight.copy_(into @ theirs_head.weight.double() @ into.T)
    ours_head.bias.copy_(into @ theirs_head.bias.double())
    wide.cls.predictions.bias.copy_(small.cls.predictions.bias)
    return wide


def test_a_wide_model_with_narrow_states_loses_nothing() -> None:
    small, into = bert(NARROW), inclusion()
    wide = blown_up(small, into)
    expected = wide.bert(IDS).last_hidden_state.double()
    torch.testing.assert_close(expected, small.bert(IDS).last_hidden_state.double() @ into.T, rtol=1e-4, atol=1e-4)
    student = narrow(wide, NARROW, start="svd")
    basis = principal_directions(wide.get_input_embeddings().weight, NARROW)
    torch.testing.assert_close(student.bert(IDS).last_hidden_state.double() @ basis.T, expected, rtol=1e-4, atol=1e-4)


def test_its_head_loses_nothing_without_an_activation() -> None:
    """If everything in the head commutes with a rotation, the logits are the same too."""
    wide = blown_up(bert(NARROW, hidden_act="linear"), inclusion())
    torch.testing.assert_close(narrow(wide, NARROW, start="svd")(IDS).logits, wide(IDS).logits, rtol=1e-3, atol=1e-3)


def test_a_wide_model_of_few_units_loses_nothing() -> None:
    """Norms set dead units to zero. The live units have mean zero, so leaving out the dead units does not change a norm."""
    small = bert(NARROW)
    live = torch.tensor([1, 4, 5, 9, 13, 17, 18, 22])
    into = torch.zeros(WIDE, NARROW, dtype=torch.float64)
    into[live, torch.arange(NARROW)] = 1
    centred = torch.eye(NARROW) - torch.full((NARROW, NARROW), 1 / NARROW)
    gains = torch.linspace(0.5, 1.5, NARROW)
    with torch.no_grad():
        for name, module in small.named_modules():
            if isinstance(module, torch.nn.Embedding):
                module.weight.copy_(module.weight @ centred)
            elif isinstance(module, torch.nn.LayerNorm) and "cls" not in name:
                module.weight.fill_(1.0)
                module.bias.copy_(centred @ module.bias)
        for block in block_parts(small):
            for part in (block.output, block.outer):
                part.weight.copy_(centred @ part.weight)
                part.bias.copy_(centred @ part.bias)
        wide = blown_up(small, into)
        last = wide.bert.encoder.layer[-1].output.LayerNorm  # nothing comes after it, so its gains may differ
        last.weight[live] *= gains
    for module in wide.bert.modules():
        if isinstance(module, torch.nn.LayerNorm):
            dead = torch.ones(WIDE, dtype=torch.bool)
            dead[live] = False
            module.weight.data[dead] = 0.0
    assert torch.equal(strongest_units(block_parts(wide), NARROW), into)
    expected = wide.bert(IDS).last_hidden_state
    assert expected[..., live].abs().max() > 1
    torch.testing.assert_close(
        narrow(wide, NARROW).bert(IDS).last_hidden_state, expected[..., live], rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra", "distilbert"])
@pytest.mark.parametrize("start", ["units", "svd", "random"])
def test_every_architecture_narrows_and_is_plain_transformers(
    architecture: str, start: Any, tiny_classifier: Any, tmp_path: Any
) -> None:
    student = narrow(tiny_classifier(architecture), 12, start=start)
    assert student.config.hidden_size == 12
    assert block_parts(student)[0].inner.out_features == 24
    assert student(IDS).logits.isfinite().all()
    student.base_model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(IDS)[0], student.base_model(IDS)[0])


def test_the_teachers_start_is_nearer_to_it_than_chance() -> None:
    """Distances between states of words, which no rotation changes, correlate with the teacher's."""
    teacher = bert(WIDE)
    with torch.no_grad():  # as in a trained model: directions are unequal, and blocks change the states only a little
        teacher.get_input_embeddings().weight.mul_(torch.logspace(0, -2, WIDE))
        for parameter in teacher.bert.encoder.parameters():
            if parameter.ndim == 2:
                parameter.mul_(0.3)

    def distances(model: Any) -> np.ndarray:
        states = model.base_model(torch.arange(5, 45).view(4, 10)).last_hidden_state.flatten(0, 1)
        return torch.pdist(states).detach().numpy()

    expected = distances(teacher)
    found = {
        start: np.corrcoef(distances(narrow(teacher, 16, start=start)), expected)[0, 1]
        for start in ("units", "svd", "random")
    }
    assert found["units"] > 0.8
    assert found["units"] > found["svd"] > found["random"] + 0.2


def test_the_strongest_units_are_those_of_a_loop() -> None:
    """The reference is a loop: the mean square of the norms' outputs times how strongly four matrices read each unit."""
    torch.manual_seed(4)
    model = bert(WIDE)
    for block in block_parts(model):
        for norm in (block.attention_norm, block.norm):
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    strength = []
    for unit in range(WIDE):
        put_out, read = 0.0, 0.0
        for block in block_parts(model):
            for norm in (block.attention_norm, block.norm):
                put_out += norm.weight[unit].item() ** 2 + norm.bias[unit].item() ** 2
            for reader in (block.query, block.key, block.value, block.inner):
                read += sum(entry**2 for entry in reader.weight[:, unit].tolist())
        strength.append(put_out * read)
    expected = sorted(sorted(range(WIDE), key=lambda unit: -strength[unit])[:NARROW])
    assert strongest_units(block_parts(model), NARROW).argmax(0).tolist() == expected


def test_an_electra_with_a_narrow_table_starts_from_what_its_blocks_see() -> None:
    """A matrix maps its table to the width of its blocks. Its rank is 8 here, so nothing is lost at width 8."""
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 40}
    model = ElectraForMaskedLM(ElectraConfig(vocab_size=50, embedding_size=8, hidden_size=16, **sizes)).eval()
    basis = _of_table(model, 16, 8)
    seen = (model.electra.embeddings_project.weight @ model.get_input_embeddings().weight.T).T.double()
    torch.testing.assert_close(seen @ basis @ basis.T, seen, rtol=1e-4, atol=1e-6)
    assert narrow(model, 12, start="svd")(IDS).logits.isfinite().all()


@pytest.mark.parametrize("start", ["units", "svd"])
def test_an_electra_as_narrow_as_its_table_is_refused(start: Any) -> None:
    """transformers leaves out ELECTRA's map between table and blocks if both have the same width. An ALBERT keeps its map."""
    sizes: dict[str, Any] = {
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
    }
    model = ElectraForMaskedLM(ElectraConfig(vocab_size=50, embedding_size=8, hidden_size=16, **sizes)).eval()
    with pytest.raises(ModelError, match=r"its embedding table is 8 wide too.*Give another width, such as 10"):
        narrow(model, 8, start=start)
    assert narrow(model, 8, start="random")(IDS).logits.isfinite().all()
    sizes |= {"vocab_size": 50, "hidden_size": 16}
    albert = AlbertForMaskedLM(AlbertConfig(embedding_size=8, **sizes)).eval()
    assert narrow(albert, 8)(IDS).logits.isfinite().all()
    whole = ElectraForMaskedLM(ElectraConfig(embedding_size=16, **sizes)).eval()
    assert narrow(whole, 8, start=start).config.embedding_size == 8


@pytest.mark.parametrize("start", ["units", "svd"])
def test_the_seed_is_left_where_it_was(start: Any) -> None:
    teacher = bert(WIDE)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    narrow(teacher, NARROW, start=start)
    assert torch.equal(torch.rand(3), expected)


def test_random_weights_follow_the_seed() -> None:
    teacher = bert(WIDE)
    torch.manual_seed(3)
    one = narrow(teacher, 8, start="random")
    torch.manual_seed(3)
    other = narrow(teacher, 8, start="random")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))


@pytest.mark.parametrize("width", [0, 7, 24, 30])
def test_widths_that_do_not_fit_are_named(width: int) -> None:
    with pytest.raises(
        ModelError, match=r"less than 24, the teacher's, and a multiple of its 2 heads.*For example: 12"
    ):
        narrow(bert(WIDE), width)


def test_distilberts_own_names_are_known() -> None:
    teacher = DistilBertForMaskedLM(
        DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=40)
    )
    student = narrow(teacher, 8)
    assert (student.config.dim, student.config.hidden_dim) == (8, 24)
    assert student.get_output_embeddings().weight is student.get_input_embeddings().weight
    assert student(IDS).logits.shape == (2, 6, 50)


@pytest.mark.parametrize("reads", ["mean", "apart"])
def test_a_head_on_means_reads_the_units_that_are_kept(reads: str) -> None:
    """The same as to narrow the encoder alone and to choose the head's columns by hand, each compared vector by itself."""
    encoder = BertModel(bert(WIDE).config).eval()
    layout = PairLayout.of([[2], [3], 1, 1, 1])

    def assembled(inner: Any, parts: list[Tensor]) -> Any:
        weight = torch.cat(parts, dim=1)
        if reads == "mean":
            return PooledClassifier.assemble(inner, weight, torch.ones(3))
        return ApartClassifier.assemble(inner, weight, torch.ones(3), layout=layout)

    parts = [torch.randn(3, WIDE) for _ in range(1 if reads == "mean" else 2)]
    student = narrow(assembled(encoder, parts), NARROW)
    units = strongest_units(block_parts(encoder), NARROW)
    expected = assembled(narrow(encoder, NARROW), [(part.double() @ units).float() for part in parts])
    segments = torch.tensor([[0, 0, 0, 1, 1, 1]] * 2)
    torch.testing.assert_close(
        student(IDS, token_type_ids=segments).logits, expected(IDS, token_type_ids=segments).logits
    )
    assert PooledConfig.from_dict(student.config.to_dict()).encoder_config.hidden_size == NARROW
    assert (
        narrow(assembled(encoder, parts), NARROW, start="random").classifier.weight.shape
        == student.classifier.weight.shape
    )


def test_directions_that_mix_units_are_refused_under_a_head_that_compares_them() -> None:
    layout = PairLayout.of([[2], [3], 1, 1, 1])
    model = ApartClassifier.assemble(bert(WIDE).bert, torch.randn(3, 2 * WIDE), torch.zeros(3), layout=layout)
    with pytest.raises(
        ModelError, match=r"compares the vectors of two texts unit by unit.*Start from its units, or at"
    ):
        narrow(model, NARROW, start="svd")
