"""Adapters in every architecture: at first they change nothing, then they compute what the papers say."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from adapter_toys import CONFIGS, SIZES, build
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel

from understudy.adapters.design import KINDS, AdapterDesign, design_of
from understudy.adapters.inject import (
    adapter_tensors,
    add_adapter,
    designs,
    encoder_tensors,
    learn_only,
    load_tensors,
    remove_adapter,
    route_of,
)
from understudy.adapters.layers.bottleneck import FUNCTIONS
from understudy.adapters.shared_pass import states_of_each
from understudy.errors import ModelError
from understudy.models.structure import compiled
from understudy.models.structure.blocks import block_parts
from understudy.models.structure.compiled import compiled_blocks
from understudy.models.structure.first_token import classifier_logits
from understudy.models.structure.hidden_states import hidden_states
from understudy.models.structure.layers import head_modules
from understudy.models.structure.parameter_groups import layer_groups


@pytest.fixture(params=sorted(CONFIGS))
def architecture(request: pytest.FixtureRequest) -> str:
    """The name of each architecture in turn."""
    return request.param


@pytest.fixture
def classifier(architecture: str) -> Any:
    """A classifier of each architecture, in eval mode."""
    return build(architecture)


@pytest.fixture
def tiny() -> Callable[[str], Any]:
    """Builds the classifier of a named architecture."""
    return build


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    """Three texts, two of them padded."""
    ids = torch.tensor([[5, 9, 23, 41, 7, 30], [6, 8, 7, 2, 1, 1], [12, 13, 14, 15, 2, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
    return {"input_ids": ids, "attention_mask": mask}


BERT_LIKE = {"bert", "roberta", "xlm-roberta", "electra", "distilbert", "albert"}


@torch.no_grad()
def moved(model: Any, name: str, seed: int = 3) -> Any:
    """The model, this adapter's weights drawn anew so that it computes something."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapter_tensors(model, name).values():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@torch.no_grad()
def answers(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    return model(**inputs).logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norms", [False, True])
def test_a_new_adapter_changes_no_bit_of_the_outputs(
    classifier: Any, kind: str, norms: bool, inputs: dict[str, Tensor]
) -> None:
    before, weights = answers(classifier, inputs), copy.deepcopy(classifier.state_dict())
    add_adapter(classifier, "new", design_of(kind, reduction=4, norms=norms))
    assert torch.equal(answers(classifier, inputs), before)
    assert all(torch.equal(classifier.state_dict()[name], value) for name, value in weights.items())
    assert dict(encoder_tensors(classifier)).keys() == {
        name.partition(".")[2] for name in weights if name.startswith(classifier.base_model_prefix)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_it_moves_the_outputs_and_is_taken_out_again(classifier: Any, kind: str, inputs: dict[str, Tensor]) -> None:
    before = answers(classifier, inputs)
    add_adapter(classifier, "new", design_of(kind, reduction=4))
    after = answers(moved(classifier, "new"), inputs)
    assert (after - before).abs().max() > 1e-3
    short = classifier_logits(classifier, inputs)
    torch.testing.assert_close(short, after, rtol=0, atol=1e-5)
    route_of(classifier).through()
    assert torch.equal(answers(classifier, inputs), before)
    remove_adapter(classifier, "new")
    assert not designs(classifier)
    assert not adapter_tensors(classifier, "new")


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_was_to_learn_gets_gradients(
    classifier: Any, architecture: str, kind: str, inputs: dict[str, Tensor]
) -> None:
    add_adapter(classifier, "new", design_of(kind, reduction=4, norms=True))
    head = [p for part in head_modules(classifier) for p in part.parameters()]
    learn_only(moved(classifier, "new"), "new", also=head)
    classifier(**inputs).logits.square().sum().backward()
    tensors = adapter_tensors(classifier, "new")
    learned = {id(p) for p in (*tensors.values(), *head)}
    for name, parameter in classifier.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in learned), name
    shared = architecture == "albert"
    assert {name.split(".")[1] for name in tensors} == ({"0"} if shared else {"0", "1", "2"})
    named = dict(layer_groups(classifier))
    assert {id(p) for p in tensors.values()} <= {id(p) for n, part in named.items() if "layer" in n for p in part}


def slow(model: Any, design: AdapterDesign, states: Tensor, layer: int) -> Tensor:
    """A block with an adapter, computed by hand from the block's parts and the formulas of the papers."""
    part, weights = block_parts_of(model)[layer], adapter_tensors(model, "new")
    name = {key.removeprefix(f"layer.{layer}."): value for key, value in weights.items()}

    def adapter(place: str, read: Tensor) -> Tensor:
        if f"{place}.down.weight" not in name:
            return torch.zeros_like(read)
        inner = read @ name[f"{place}.down.weight"].T + name[f"{place}.down.bias"]
        outer = FUNCTIONS[design.non_linearity](inner) @ name[f"{place}.up.weight"].T + name[f"{place}.up.bias"]
        return design.scaling * outer

    q, k, v = (m(states).unflatten(-1, (2, 8)).transpose(1, 2) for m in (part.query, part.key, part.value))
    weights_of = (q @ k.transpose(-1, -2) / 8**0.5).softmax(-1)
    h = part.output((weights_of @ v).transpose(1, 2).flatten(2))
    x = part.attention_norm(h + adapter("attention", h) + states)
    activation = nn.GELU("tanh") if type(model).__name__.startswith("Albert") else nn.GELU()
    h = part.outer(activation(part.inner(x)))
    if design.reads == "sublayer":
        return part.norm(h + adapter("output", h) + x)
    if design.reads == "input":
        return part.norm(h + adapter("output", x) + x)
    return part.norm(h + adapter("output", part.norm(h + x)) + x)


def block_parts_of(model: Any) -> Any:
    """The parts of the blocks, which are found only where nothing was added to them."""
    plain = copy.deepcopy(model)
    remove_adapter(plain, "new")
    return block_parts(plain)


@pytest.mark.parametrize("kind", KINDS)
def test_the_formulas_of_the_papers(classifier: Any, architecture: str, kind: str) -> None:
    if architecture not in BERT_LIKE:
        pytest.skip("its blocks are not those of BERT: see the other tests")
    design = design_of(
        kind, reduction=4, non_linearity="gelu_new", scaling=2.0, leave_out=(1,) * (architecture != "albert")
    )
    add_adapter(classifier, "new", design)
    moved(classifier, "new")
    ids = torch.tensor([[5, 9, 23, 41, 7, 30]])
    with torch.no_grad():
        states = classifier.base_model(ids, output_hidden_states=True).hidden_states
        for number in range(3):
            layer = 0 if architecture == "albert" else number
            torch.testing.assert_close(
                slow(classifier, design, states[number], layer), states[number + 1], rtol=1e-4, atol=1e-5
            )


def test_a_pre_norm_block_adds_to_its_sums(tiny: Callable[[str], Any]) -> None:
    """ModernBERT, against its own parts: the sum itself is what a Pfeiffer adapter reads."""
    model = tiny("modernbert")
    design = design_of("pfeiffer", reduction=4, leave_out=(0, 1))
    ids = torch.tensor([[5, 9, 23, 41, 7, 30]])
    with torch.no_grad():
        plain = hidden_states_before_the_last_norm(model, ids)
        add_adapter(model, "new", design)
        moved(model, "new")
        tensors = adapter_tensors(model, "new")
        added = (plain @ tensors["layer.2.output.down.weight"].T + tensors["layer.2.output.down.bias"]).relu()
        added = added @ tensors["layer.2.output.up.weight"].T + tensors["layer.2.output.up.bias"]
        torch.testing.assert_close(hidden_states(model, {"input_ids": ids}), model.model.final_norm(plain + added))


def hidden_states_before_the_last_norm(model: Any, ids: Tensor) -> Tensor:
    found = []
    handle = model.model.layers[-1].register_forward_hook(lambda _, __, output: found.append(output))
    model(ids)
    handle.remove()
    return found[0]


def test_reductions_of_layers_and_a_start_as_adapterhubs(tiny: Callable[[str], Any]) -> None:
    model = tiny("bert")
    torch.manual_seed(0)
    design = design_of("pfeiffer", reduction=8, reductions={1: 2})
    add_adapter(model, "new", design, start="normal")
    tensors = adapter_tensors(model, "new")
    assert [tensors[f"layer.{i}.output.down.weight"].shape[0] for i in range(3)] == [2, 8, 2]
    drawn = torch.cat([p.flatten() for name, p in tensors.items() if name.endswith("weight")])
    assert drawn.std().item() == pytest.approx(0.02, rel=0.2)
    assert all(not p.any() for name, p in tensors.items() if name.endswith("bias"))


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert"])
def test_rows_of_one_batch_through_different_adapters(
    tiny: Callable[[str], Any], architecture: str, inputs: dict[str, Tensor]
) -> None:
    """Adapters of three kinds, sizes, functions and norms in one forward pass: each row as in a pass of its own."""
    model = tiny(architecture)
    made = {
        "a": design_of("houlsby", reduction=4, norms=True),
        "b": design_of("pfeiffer", reduction=2, norm=True),
        "c": design_of("houlsby", reduction=8, non_linearity="relu", leave_out=(0,)),
        "d": design_of("parallel", reduction=4),
    }
    for seed, (name, design) in enumerate(made.items()):
        add_adapter(model, name, design)
        moved(model, name, seed)
    several = {key: torch.cat([value, value.flip(0), value[:1]]) for key, value in inputs.items()}
    numbers = torch.tensor([0, 1, 2, 3, 2, -1, 0])
    route_of(model).by_row(tuple(made), numbers)
    together = answers(model, several)
    for row, number in enumerate(numbers.tolist()):
        route_of(model).through(*([list(made)[number]] if number >= 0 else []))
        torch.testing.assert_close(answers(model, several)[row], together[row], rtol=0, atol=1e-5)
    moved(model, "a", 17)  # the weights that are kept side by side follow
    route_of(model).by_row(tuple(made), numbers)
    assert not torch.equal(answers(model, several)[0], together[0])


@pytest.mark.parametrize(("groups", "inner", "left_out"), [(2, 1, (0,)), (1, 2, (0,)), (2, 2, (0, 1))])
def test_each_of_several_in_an_albert_of_groups(groups: int, inner: int, left_out: tuple[int, ...]) -> None:
    """The states of each adapter are those of a pass of its own, wherever the lowest one begins."""
    torch.manual_seed(0)
    sizes = {**SIZES, "num_hidden_layers": 4, "embedding_size": 8}
    encoder = AlbertModel(AlbertConfig(**sizes, num_hidden_groups=groups, inner_group_num=inner)).eval()
    for seed, name in enumerate("ab"):
        add_adapter(encoder, name, design_of("houlsby", reduction=4, leave_out=left_out))
        moved(encoder, name, seed)
    ids = torch.randint(5, 40, (3, 7))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        found = states_of_each(encoder, given, ("a", "b"))
        for states, name in zip(found, "ab"):
            route_of(encoder).through(name)
            torch.testing.assert_close(states, encoder(**given)[0], rtol=0, atol=1e-5)


def test_one_on_top_of_the_other(tiny: Callable[[str], Any], inputs: dict[str, Tensor]) -> None:
    """Two linear adapters that read the sublayer's output are, stacked, one of twice the size with a cross term."""
    model = tiny("bert")
    for seed, name in enumerate("ab"):
        add_adapter(model, name, design_of("houlsby", reduction=4, non_linearity="linear"))
        moved(model, name, seed)
    route_of(model).through("a", "b")
    stacked = answers(model, inputs)
    one, two = (adapter_tensors(model, name) for name in "ab")
    add_adapter(model, "both", design_of("houlsby", reduction=2, non_linearity="linear"))
    with torch.no_grad():
        for key, value in adapter_tensors(model, "both").items():
            stem = key.rpartition(".down")[0] or key.rpartition(".up")[0]
            d1, u1, b1, c1 = (one[f"{stem}.{part}"] for part in ("down.weight", "up.weight", "down.bias", "up.bias"))
            d2, u2, b2, c2 = (two[f"{stem}.{part}"] for part in ("down.weight", "up.weight", "down.bias", "up.bias"))
            joined = {
                "down.weight": torch.cat([d1, d2 + d2 @ u1 @ d1]),
                "down.bias": torch.cat([b1, b2 + d2 @ (u1 @ b1 + c1)]),
                "up.weight": torch.cat([u1, u2], 1),
                "up.bias": c1 + c2,
            }
            value.copy_(joined[key.removeprefix(f"{stem}.")])
    route_of(model).through("both")
    torch.testing.assert_close(answers(model, inputs), stacked, rtol=1e-4, atol=1e-4)


def test_a_copy_has_adapters_of_its_own(tiny: Callable[[str], Any], inputs: dict[str, Tensor]) -> None:
    model = tiny("bert")
    add_adapter(model, "new", design_of("parallel", reduction=4, norms=True))
    before = answers(moved(model, "new"), inputs)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert torch.equal(answers(other, inputs), before)
        moved(other, "new", 5)
        assert not torch.equal(answers(other, inputs), before)
        assert torch.equal(answers(model, inputs), before)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_blocks_have_their_adapters(
    tiny: Callable[[str], Any], inputs: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    # machine code, which takes most of the time, is not generated
    monkeypatch.setattr(compiled.torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    torch.compiler.reset()
    model = tiny("bert")
    for kind in KINDS:
        add_adapter(model, kind, design_of(kind, reduction=4))
        moved(model, kind)
    route_of(model).through(*KINDS)
    before = answers(model, inputs)
    with compiled_blocks(model):
        torch.testing.assert_close(answers(model, inputs), before, rtol=1e-4, atol=1e-5)


def test_weights_that_do_not_fit_are_refused(tiny: Callable[[str], Any]) -> None:
    model, other = tiny("bert"), tiny("bert")
    add_adapter(model, "new", design_of("houlsby", reduction=4))
    add_adapter(other, "other", design_of("houlsby", reduction=2))
    tensors = {name: value.detach().clone() for name, value in adapter_tensors(model, "new").items()}
    load_tensors(model, "new", tensors, origin="x")
    with pytest.raises(ModelError, match=r"x: does not fit BertModel: 'layer.0.attention.down.weight' has the shape"):
        load_tensors(other, "other", tensors, origin="x")
    with pytest.raises(ModelError, match=r"it lacks 'layer.0.attention.down.bias'; 'odd' has no place"):
        load_tensors(
            model,
            "new",
            {"odd" if k == "layer.0.attention.down.bias" else k: v for k, v in tensors.items()},
            origin="x",
        )
    tensors["layer.0.output.up.bias"][0] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        load_tensors(model, "new", tensors, origin="x")


def test_what_cannot_be_added_is_refused(tiny: Callable[[str], Any]) -> None:
    model = tiny("bert")
    with pytest.raises(ModelError, match="has no adapters"):
        route_of(model)
    with pytest.raises(ModelError, match="there is no layer 7 in this BertModel, whose layers are 0 to 2"):
        add_adapter(model, "new", design_of("houlsby", leave_out=(7,)))
    with pytest.raises(ModelError, match="all 3 layers are left out"):
        add_adapter(model, "new", design_of("houlsby", leave_out=(0, 1, 2)))
    with pytest.raises(ModelError, match="a convolution in it reads the embeddings of padding"):
        add_adapter(tiny("deberta-v2"), "new", design_of("pfeiffer", invertible=2.0))
    with pytest.raises(ModelError, match="must not be empty or have a dot"):
        add_adapter(model, "a.b", KINDS["houlsby"])
    with pytest.raises(ModelError, match="an adapter cannot be called 'train'"):
        add_adapter(model, "train", KINDS["houlsby"])
    add_adapter(model, "new", KINDS["houlsby"])
    with pytest.raises(ModelError, match="there is an adapter 'new' already"):
        add_adapter(model, "new", KINDS["houlsby"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reads": "everything"}, "reads must be one of"),
        ({"attention": False, "feed_forward": False}, "needs a place"),
        ({"reads": "norm"}, "after attention an adapter reads"),
        ({"reduction": 0.0}, r"reduction must be 0.25 \(a bottleneck of four times the width\) or more, but is 0.0"),
        ({"reductions": {1: 0.1}}, "or more, but is 0.1"),
        ({"invertible": 1e-9}, "or more, but is 1e-09"),
        ({"invertible": 0.0}, "or more, but is 0.0"),
        ({"reduction": float("nan")}, "or more, but is nan"),
        ({"non_linearity": "mish"}, "non_linearity must be one of"),
    ],
)
def test_designs_that_are_none(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        design_of("houlsby", **changed)
    with pytest.raises(ValueError, match="no design"):
        AdapterDesign.from_dict({})
