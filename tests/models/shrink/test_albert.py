"""Students in ALBERT's shape: equal to the teacher if nothing is lost, else optimal; and the paper's parameter counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers import AlbertForMaskedLM, AlbertModel, AutoModelForMaskedLM

from understudy.errors import ModelError
from understudy.models.shrink.albert import albert
from understudy.models.shrink.albert_shape import albert_config
from understudy.models.shrink.directions import principal_directions
from understudy.models.structure.blocks import block_parts

IDS = torch.tensor([[5, 9, 23, 41, 7, 30], [3, 4, 5, 6, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
TEACHERS = {
    "bert": lambda **more: transformers.BertForMaskedLM(transformers.BertConfig(**SIZES | more)),
    "roberta": lambda **more: transformers.RobertaForMaskedLM(
        transformers.RobertaConfig(**SIZES | more, pad_token_id=0)
    ),
    "xlm-roberta": lambda **more: transformers.XLMRobertaForMaskedLM(
        transformers.XLMRobertaConfig(**SIZES | more, pad_token_id=0)
    ),
    "electra": lambda **more: transformers.ElectraForMaskedLM(
        transformers.ElectraConfig(**SIZES | more, embedding_size=16)
    ),
    "distilbert": lambda **more: transformers.DistilBertForMaskedLM(
        transformers.DistilBertConfig(
            vocab_size=50, dim=16, n_layers=3, n_heads=2, hidden_dim=32, max_position_embeddings=40
        )
    ),
}


def teacher(architecture: str, **more: Any) -> Any:
    """A masked-LM teacher whose weights are all random, none at its initial zero or one."""
    torch.manual_seed(1)
    model = TEACHERS[architecture](**more).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def all_layers_alike(model: Any) -> Any:
    first, *others = block_parts(model)
    for other in others:
        for source, target in zip(first, other):
            target.load_state_dict(source.state_dict())
    return model


@pytest.mark.parametrize("architecture", sorted(TEACHERS))
@pytest.mark.parametrize("share", ["mean", "2"])
def test_sharing_equal_layers_is_the_teacher(architecture: str, share: str) -> None:
    model = all_layers_alike(teacher(architecture))
    student = albert(model, embedding=16, share=share)
    expected = model(IDS, attention_mask=MASK).logits[MASK.bool()]
    torch.testing.assert_close(student(IDS, attention_mask=MASK).logits[MASK.bool()], expected, rtol=1e-4, atol=1e-4)
    assert len(block_parts(student)) == 1


@pytest.mark.parametrize("architecture", sorted(TEACHERS))
def test_blocks_of_their_own_are_the_teacher(architecture: str) -> None:
    model = teacher(architecture)
    student = albert(model, embedding=16, share="none")
    expected = model(IDS, attention_mask=MASK).logits[MASK.bool()]
    torch.testing.assert_close(student(IDS, attention_mask=MASK).logits[MASK.bool()], expected, rtol=1e-4, atol=1e-4)


def test_the_mean_is_the_mean() -> None:
    model = teacher("bert")
    shared = block_parts(albert(model, share="mean", embedding=4))[0]
    for name in ("query", "output", "attention_norm", "outer"):
        weights = [getattr(block, name).weight for block in block_parts(model)]
        torch.testing.assert_close(getattr(shared, name).weight, sum(weights) / 3)


def test_fewer_layers_are_fewer_passes() -> None:
    model = all_layers_alike(teacher("bert"))
    student = albert(model, embedding=16, layers=2)
    states = model.bert(IDS, output_hidden_states=True).hidden_states
    torch.testing.assert_close(student.albert(IDS).last_hidden_state, states[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 3, 8, 16])
def test_the_table_is_reproduced_to_the_optimal_error(rank: int) -> None:
    """numpy's singular values give the smallest possible error of a table of this rank."""
    model = teacher("bert")
    table = model.get_input_embeddings().weight.detach()
    optimum = np.sqrt((np.linalg.svd(table.double().numpy(), compute_uv=False)[rank:] ** 2).sum())
    student = albert(model, embedding=rank)
    gains = model.bert.embeddings.LayerNorm.weight * (16 / rank) ** 0.5
    back = student.albert.encoder.embedding_hidden_mapping_in.weight / gains[:, None]
    found = student.get_input_embeddings().weight @ back.T
    assert (table - found).norm().item() == pytest.approx(optimum, abs=1e-4)


def before_the_norm(model: nn.Module, text: torch.Tensor) -> np.ndarray:
    """The input of the embeddings' norm for a text: ``(tokens, width)``."""
    seen: list[torch.Tensor] = []
    norm = next(module for name, module in model.named_modules() if name.endswith("embeddings.LayerNorm"))
    with norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])):  # type: ignore[arg-type]
        model(text[None])
    return seen[0][0].detach().double().numpy()


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("rank", [3, 8])
def test_embeddings_of_texts_are_reproduced_to_the_optimal_error(
    architecture: str, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.models.shrink.albert._UNSEEN", 0.0)
    model = teacher(architecture)
    texts = [torch.randint(4, 50, (length,)) for length in (5, 30, 17)]
    sums = np.concatenate([before_the_norm(model, text) for text in texts])
    optimum = np.sqrt((np.linalg.svd(sums, compute_uv=False)[rank:] ** 2).sum())

    def lost(student: Any) -> float:
        norm = next(module for name, module in model.named_modules() if name.endswith("embeddings.LayerNorm"))
        gains = norm.weight.detach().numpy() * (16 / rank) ** 0.5
        back = student.albert.encoder.embedding_hidden_mapping_in.weight.detach().numpy() / gains[:, None]
        found = np.concatenate([before_the_norm(student, text) for text in texts]) @ back.T
        return float(np.linalg.norm(sums - found))

    assert lost(albert(model, embedding=rank, texts=texts)) == pytest.approx(optimum, abs=1e-3)
    assert lost(albert(model, embedding=rank)) > 1.02 * optimum  # the table has other principal directions


def test_words_that_the_texts_lack_use_the_other_directions() -> None:
    """A text of one word takes one of four directions. The table then loses at most what it loses with its best three."""
    model = teacher("bert")
    table = model.get_input_embeddings().weight.detach()
    student = albert(model, embedding=4, texts=[torch.tensor([7])])
    gains = model.bert.embeddings.LayerNorm.weight * (16 / 4) ** 0.5
    back = student.albert.encoder.embedding_hidden_mapping_in.weight / gains[:, None]
    lost = (table - student.get_input_embeddings().weight @ back.T).norm().item()
    singular = np.linalg.svd(table.double().numpy(), compute_uv=False)
    assert np.sqrt((singular[4:] ** 2).sum()) < lost <= np.sqrt((singular[3:] ** 2).sum()) + 1e-3


def test_embeddings_of_low_rank_are_the_teachers() -> None:
    """If words, positions and segments lie in E directions, including that of equal entries, nothing is lost at width E."""
    model = teacher("bert", hidden_act="linear")
    torch.manual_seed(2)
    span = torch.linalg.qr(torch.cat([torch.ones(16, 1), torch.randn(16, 3)], dim=1))[0]
    with torch.no_grad():
        for name in ("word", "position", "token_type"):
            table = getattr(model.bert.embeddings, f"{name}_embeddings").weight
            table.copy_(torch.randn(len(table), 4) @ span.T)
    student = albert(model, embedding=4)
    expected = model.bert.embeddings(IDS)
    found = student.albert.encoder.embedding_hidden_mapping_in(student.albert.embeddings(IDS))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_head_of_low_rank_is_the_teachers() -> None:
    """The same holds for the layer before the table, if it has no activation and its norm has equal gains."""
    model = all_layers_alike(teacher("bert", hidden_act="linear"))
    span = torch.linalg.qr(torch.cat([torch.ones(16, 1), torch.randn(16, 3)], dim=1))[0]
    transform = model.cls.predictions.transform
    with torch.no_grad():
        for name in ("word", "position", "token_type"):
            table = getattr(model.bert.embeddings, f"{name}_embeddings").weight
            table.copy_(torch.randn(len(table), 4) @ span.T)
        transform.dense.weight.copy_(span @ torch.randn(4, 16))
        transform.dense.bias.zero_()
        transform.LayerNorm.weight.fill_(0.7)
    torch.testing.assert_close(albert(model, embedding=4)(IDS).logits, model(IDS).logits, rtol=1e-3, atol=1e-3)


def test_the_heads_norm_is_as_long_as_what_is_left_of_the_teachers() -> None:
    """If half of the length of a transformation lies in the kept directions, half is left."""
    model = teacher("bert")
    table, dense = model.get_input_embeddings().weight, model.cls.predictions.transform.dense
    with torch.no_grad():
        table.zero_()
        table[:, :4] = torch.randn(50, 4)
        dense.weight.zero_()
        dense.weight[0, 0], dense.weight[9, 0] = 1.0, 3.0**0.5
        model.cls.predictions.transform.LayerNorm.weight.fill_(1.0)
    # the gains of a narrower norm grow by the root of 16 / 4, so that its vectors stay as long if nothing is lost
    gains = albert(model, embedding=4).predictions.LayerNorm.weight
    torch.testing.assert_close(gains, torch.full((4,), 0.5 * (16 / 4) ** 0.5))


def test_other_settings_are_taken_over() -> None:
    more = {"hidden_dropout_prob": 0.23, "attention_probs_dropout_prob": 0.31, "layer_norm_eps": 1e-6}
    config = albert_config(teacher("bert", **more, hidden_act="relu"), embedding=4)
    assert {name: getattr(config, name) for name in more} == more
    assert config.hidden_act == "relu"


def test_transformers_alone_loads_it(tmp_path: Path) -> None:
    student = albert(teacher("roberta"), embedding=4, layers=5)
    assert isinstance(student, AlbertForMaskedLM)
    assert student.get_output_embeddings().weight is student.get_input_embeddings().weight
    student.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLM.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(IDS).logits, student(IDS).logits)
    assert loaded.config.num_hidden_layers == 5
    assert loaded.config.max_position_embeddings == 40 - 1  # a text's first position comes after the row of the padding


def test_a_bare_encoder_gives_a_bare_encoder() -> None:
    model = all_layers_alike(teacher("bert"))
    bare = transformers.BertModel(model.config).eval()
    bare.load_state_dict(model.bert.state_dict(), strict=False)
    student = albert(bare, embedding=16)
    assert isinstance(student, AlbertModel)
    found, expected = student(IDS), bare(IDS)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.pooler_output, expected.pooler_output, rtol=1e-4, atol=1e-4)


def test_the_seed_is_left_where_it_was() -> None:
    model = teacher("bert")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    albert(model, embedding=4)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"embedding": 17}, "1 to 16 wide, but 17"),
        ({"embedding": 0}, "1 to 16 wide, but 0"),
        ({"share": "3"}, "0 to 2, but '3'"),
        ({"share": "median"}, "mean, none or one of the teacher's layers"),
        ({"layers": 0}, "at least one layer"),
        ({"layers": 4, "share": "none"}, "1 to 3 of them, but 4"),
    ],
)
def test_sizes_that_do_not_fit_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        albert(teacher("bert"), **{"embedding": 8} | options)


def test_other_teachers_are_refused(tiny_classifier: Any) -> None:
    with pytest.raises(ModelError, match="a head that does not predict masked words"):
        albert(tiny_classifier("bert"), embedding=8)
    for name in ("albert", "mpnet"):
        with pytest.raises(ModelError, match="built as BERT's"):
            albert(tiny_classifier(name).base_model, embedding=8)
    small = transformers.ElectraForMaskedLM(transformers.ElectraConfig(**SIZES, embedding_size=8))
    with pytest.raises(ModelError, match="factorised already"):
        albert(small, embedding=8)


def test_at_full_width_nothing_is_rotated() -> None:
    table = torch.randn(20, 6)
    assert torch.equal(principal_directions(table, 6), torch.eye(6).double())


# --- the paper's table 1, from shapes alone --------------------------------------------------------------------------


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_counts_of_alberts_table_1() -> None:
    """BERT base 108M, ALBERT base 12M, large 18M, xlarge 60M (E = 128, one block, a vocabulary of 30,000)."""
    shapes = {"base": (768, 12, 12), "large": (1024, 24, 16), "xlarge": (2048, 24, 16)}
    expected = {"base": 12, "large": 18, "xlarge": 60}
    with torch.device("meta"):
        for name, (width, layers, heads) in shapes.items():
            size = {
                "vocab_size": 30000,
                "hidden_size": width,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "intermediate_size": 4 * width,
            }
            assert parameters(AlbertModel(transformers.AlbertConfig(**size, embedding_size=128))) == pytest.approx(
                1e6 * expected[name], rel=0.04
            )
        bert = transformers.BertModel(transformers.BertConfig(vocab_size=30000))
    assert parameters(bert) == pytest.approx(108e6, rel=0.02)


def test_a_bert_base_becomes_an_albert_base() -> None:
    """Our conversion goes from 110M to 12M parameters. The narrow table alone saves four fifths of the embeddings."""
    with torch.device("meta"):
        big = transformers.BertModel(transformers.BertConfig())
        little = AlbertModel(albert_config(big, embedding=128))
        factorised = AlbertModel(albert_config(big, embedding=128, share="none"))
    assert parameters(big) == pytest.approx(110e6, rel=0.02)
    assert parameters(little) == pytest.approx(12e6, rel=0.04)
    assert parameters(factorised) == pytest.approx(89e6, rel=0.01)  # Table 3
    table = parameters(big.embeddings)
    left = parameters(factorised.embeddings) + parameters(factorised.encoder.embedding_hidden_mapping_in)
    assert 1 - left / table >= 0.8


def test_a_random_start_follows_the_seed_and_has_the_same_shape() -> None:
    model = teacher("bert")
    torch.manual_seed(3)
    one = albert(model, embedding=4, start="random")
    torch.manual_seed(3)
    other = albert(model, embedding=4, start="random")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert one.config.to_dict() == albert(model, embedding=4).config.to_dict()
    assert not torch.equal(one.get_input_embeddings().weight, albert(model, embedding=4).get_input_embeddings().weight)
