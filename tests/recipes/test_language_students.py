"""From the words of --student to models: layers, widths, shapes and starts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from understudy.models.shrink.cut import layer_count
from understudy.models.structure.blocks import block_parts
from understudy.recipes.train.students.cut import cut_student
from understudy.recipes.train.students.language import build_language_student
from understudy.settings.student_options import AlbertOptions, LayersOptions, language_student_faults


@pytest.fixture(scope="module")
def teacher() -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=6, num_attention_heads=2, intermediate_size=32
    )
    return transformers.BertForMaskedLM(config).eval()


def queries(model: Any) -> list[torch.Tensor]:
    return [block.query.weight for block in block_parts(model)]


@pytest.mark.parametrize(
    ("spec", "options", "kept"),
    [
        ("layers:3", {}, [0, 2, 5]),
        ("layers:3", {"choose": "alternate"}, [0, 2, 4]),
        ("layers:2", {"choose": "first"}, [0, 1]),
        ("layers:2", {"choose": "last"}, [4, 5]),
        ("layers", {"keep": [1, 4]}, [1, 4]),
    ],
)
def test_layers_are_those_asked_for(spec: str, options: dict[str, Any], kept: list[int], teacher: Any) -> None:
    student = cut_student(teacher, spec, LayersOptions(**options))
    expected = [queries(teacher)[i] for i in kept]
    assert all(torch.equal(one, other) for one, other in zip(queries(student), expected, strict=True))


def test_narrower_ones_start_as_told(teacher: Any) -> None:
    made = {}
    for start in ("teacher", "svd", "random"):
        torch.manual_seed(1)
        made[start] = cut_student(teacher, "layers:2", LayersOptions(hidden=8, start=start))  # type: ignore[arg-type]
        assert made[start].config.hidden_size == 8
    tables = {start: model.get_input_embeddings().weight for start, model in made.items()}
    columns = [
        any(torch.equal(column, whole) for whole in teacher.get_input_embeddings().weight.T)
        for column in tables["teacher"].T
    ]
    assert all(columns)  # units are kept as they are; directions are none of them
    assert not torch.equal(tables["teacher"], tables["svd"])
    assert tables["svd"].norm() >= tables["teacher"].norm() > 0
    again = cut_student(teacher, "layers:2", LayersOptions(hidden=8, start="random"))
    assert not torch.equal(tables["random"], again.get_input_embeddings().weight)


def test_the_seed_gives_the_weights(teacher: Any) -> None:
    options: dict[str, Any] = {"layers": LayersOptions(), "albert": AlbertOptions(embedding=4, start="random")}
    tables = [
        build_language_student("albert", teacher, None, **options, seed=seed).model.get_input_embeddings().weight  # type: ignore[arg-type]
        for seed in (3, 3, 4)
    ]
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("layers:1", {"layers": LayersOptions(hidden=8, start="random")}),
        ("albert", {"albert": AlbertOptions(hidden=8, embedding=4, start="random")}),
    ],
)
def test_a_random_start_needs_nothing_of_the_teachers(spec: str, options: dict[str, Any]) -> None:
    """An ELECTRA cannot be cut to the width of its table."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    electra = transformers.ElectraForMaskedLM(transformers.ElectraConfig(vocab_size=30, embedding_size=8, **sizes))
    given = {"layers": LayersOptions(), "albert": AlbertOptions(), **options}
    student = build_language_student(spec, electra, None, **given, seed=0)  # type: ignore[arg-type]
    assert (student.model.config.hidden_size, student.fresh) == (8, True)


@pytest.mark.parametrize(("options", "read"), [({"embedding": 4}, 1), ({"embedding": 16}, 0), ({"start": "random"}, 0)])
def test_texts_are_read_where_the_start_depends_on_them(options: dict[str, Any], read: int, teacher: Any) -> None:
    asked = []

    def texts() -> list[torch.Tensor]:
        asked.append(True)
        return [torch.tensor([1, 2, 3])]

    shape = AlbertOptions(**{"embedding": 4, **options})
    build_language_student("albert", teacher, None, layers=LayersOptions(), albert=shape, seed=0, texts=texts)  # type: ignore[arg-type]
    assert len(asked) == read


def test_an_albert_has_its_options(teacher: Any) -> None:
    options = AlbertOptions(embedding=4, layers=3, hidden=8, share="1")
    student = build_language_student(
        "albert",
        teacher,
        None,  # type: ignore[arg-type]
        layers=LayersOptions(),
        albert=options,
        seed=0,
    )
    config = student.model.config
    assert (config.embedding_size, config.hidden_size, layer_count(student.model)) == (4, 8, 3)
    assert student.learning_rate == 5e-4


@pytest.mark.parametrize(
    ("spec", "layers", "albert", "said"),
    [
        ("layers:3", {}, {}, None),
        ("layers", {"keep": [0, 1]}, {}, None),
        ("albert", {}, {"share": "none", "embedding": 64}, None),
        ("layers:0", {}, {}, "needs a number"),
        ("layers", {}, {}, "needs a number"),
        ("layers:3", {"keep": [0]}, {}, "--layers.keep lists them"),
        ("layers", {"keep": [0], "choose": "last"}, {}, "Leave one of them out"),
        ("layers:3", {"start": "svd"}, {}, "Give --layers.hidden too"),
        ("layers:3", {}, {"embedding": 64, "share": "2"}, "does not use --albert.embedding"),
        ("albert", {"hidden": 8}, {}, "does not use --layers.hidden"),
        ("albert", {}, {"share": "meen"}, "Did you mean 'mean'?"),
        ("albert", {}, {"start": "random", "share": "2"}, "takes nothing from the teacher"),
        ("albert", {}, {"start": "random", "share": "none"}, None),
        ("albrt", {}, {}, "Did you mean 'albert'?"),
        ("layer:3", {}, {}, "Did you mean 'layers'?"),
    ],
)
def test_faults(spec: str, layers: dict[str, Any], albert: dict[str, Any], said: str | None) -> None:
    faults = language_student_faults(spec, [LayersOptions(**layers), AlbertOptions(**albert)])
    if said is None:
        assert faults == []
    else:
        assert any(said in fault for fault in faults), faults
