"""Several adapters on one base: mixed batches, all at once, stacks and means, against models that hold one adapter each."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import understudy
from understudy.adapters.design import AdapterDesign, design_of
from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.files import NAME, save_adapter
from understudy.adapters.heads import Head, headed
from understudy.adapters.hub import names
from understudy.adapters.inject import adapter_tensors, add_adapter, add_fusion
from understudy.adapters.peft.methods import add_peft, ia3_design, lora_design
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.inference.predictor import Ensemble, Predictor
from understudy.models.files.classifiers import load_encoder
from understudy.models.structure.layers import head_tensors

TEXTS = ["a good film", "the bad book was very sad", "lovely", "quite a dreadful song is the play", "nice cast"]
TASKS = {
    "films": ("negative", "positive"),
    "topics": ("film", "book", "song"),
    "books": ("no", "yes"),
    "high": ("x", "y"),
}
DESIGNS = {
    "films": design_of("houlsby", reduction=4),
    "topics": design_of("pfeiffer", reduction=8, norms=True),
    "books": design_of("houlsby", reduction=2, non_linearity="relu", leave_out=(0,)),
    "high": design_of("parallel", reduction=4, leave_out=(0, 1)),
}


def made(
    base: Path,
    folder: Path,
    design: AdapterDesign | Callable[[Any], tuple[str, dict[str, Any]]],
    labels: tuple[str, ...],
    head: Head = "architecture",
    seed: int = 0,
    *,
    max_length: int = 64,
) -> Path:
    """An adapter's folder with random weights; `design` may be what puts the adapter into a model, and tells method and design."""
    task = Task(text=(("text",),), label="label", kind="single_label", labels=labels)
    torch.manual_seed(seed)
    model = headed(str(base), task, head, {})
    reference = Base.of(model, str(base))
    if isinstance(design, AdapterDesign):
        add_adapter(model, NAME, design)
        told: tuple[str, dict[str, Any]] = "bottleneck", design.as_dict()
    else:
        told = design(model)
    with torch.no_grad():
        for parameter in (*adapter_tensors(model, NAME).values(), *head_tensors(model).values()):
            parameter.add_(torch.randn_like(parameter) * 0.3)
    facts = AdapterFacts(method=told[0], design=told[1], base=reference, task=task, head=head, max_length=max_length)
    save_adapter(folder, model, facts)
    return folder


def peft(method: str) -> Callable[[Any], tuple[str, dict[str, Any]]]:
    """Puts a LoRA or IA³ into a model."""

    def put(model: Any) -> tuple[str, dict[str, Any]]:
        design = lora_design(model, rank=4) if method == "lora" else ia3_design(model)
        add_peft(model, NAME, method, design)
        return method, design

    return put


def fusion(model: Any) -> tuple[str, dict[str, Any]]:
    """Puts a fusion into a model."""
    designs = dict.fromkeys(("a", "b"), DESIGNS["films"])
    add_fusion(model, NAME, designs)
    return "fusion", {name: design.as_dict() for name, design in designs.items()}


@pytest.fixture(scope="module")
def base(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT with larger weights."""
    folder = tmp_path_factory.mktemp("base") / "base"
    shutil.copytree(tiny_bert, folder)
    model = load_encoder(str(tiny_bert))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.dim() > 1 else 1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {
        name: made(base, root / name, design, TASKS[name], "mean" if name == "books" else "architecture", seed)
        for seed, (name, design) in enumerate(DESIGNS.items())
    }


@pytest.fixture
def model(base: Path, folders: dict[str, Path]) -> Any:
    found = understudy.load_base(base)
    for folder in folders.values():
        found.load_adapter(folder)
    return found


def alone(folder: Path, texts: list[str]) -> np.ndarray:
    found: Any = understudy.load(folder)
    return found.logits(texts)


def test_three_lines(base: Path, folders: dict[str, Path]) -> None:
    model = understudy.load_base(base)
    model.load_adapter(folders["films"])
    answers = model.predict(TEXTS)
    expected: Any = understudy.load(folders["films"])
    for answer, other in zip(answers, expected.predict(TEXTS)):
        assert answer.label == other.label
        assert answer.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_each_alone_and_chosen_by_name(model: Any, folders: dict[str, Path]) -> None:
    for name, folder in folders.items():
        model.set_active(name)
        np.testing.assert_allclose(np.stack(model.logits(TEXTS)), alone(folder, TEXTS), atol=1e-5)


def test_rows_of_one_batch_through_different_adapters(model: Any, folders: dict[str, Path]) -> None:
    """Kinds, sizes, functions, norms, heads and numbers of labels differ; each row is as in a pass of its own."""
    names = [list(folders)[i % 4] for i in range(3 * len(TEXTS))]
    texts = TEXTS * 3
    for row, text, name in zip(model.logits(texts, adapters=names), texts, names):
        np.testing.assert_allclose(row, alone(folders[name], [text])[0], atol=1e-5)
    labels = [answer.label for answer in model.predict(texts, adapters=names)]
    assert all(label in TASKS[name] for label, name in zip(labels, names))


def test_all_of_them_for_each_text(model: Any, folders: dict[str, Path]) -> None:
    for name, rows in model.logits_of_each(TEXTS).items():
        np.testing.assert_allclose(rows, alone(folders[name], TEXTS), atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_what_lies_below_the_lowest_adapter_is_computed_once(
    count: int, base: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    model: Any = understudy.load_base(base)
    model.load_adapter(folders["high"])
    if count == 2:
        model.load_adapter(
            made(base, tmp_path / "higher", design_of("houlsby", leave_out=(0, 1, 2)), ("x", "y", "z"), seed=9)
        )
    rows: list[int] = []
    for block in model.encoder.encoder.layer:
        block.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    found = model.logits_of_each(TEXTS[:1])
    assert rows == [1, 1, count, count]
    np.testing.assert_allclose(found["high"], alone(folders["high"], TEXTS[:1]), atol=1e-5)
    for name, answers in model.logits_of_each(TEXTS).items():
        np.testing.assert_allclose(
            answers, alone(folders["high"] if name == "high" else tmp_path / name, TEXTS), atol=1e-5
        )


def test_each_reads_as_many_tokens_as_it_was_trained_on(
    model: Any, base: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Whatever else is loaded: alone, for rows of one batch, and for all at once."""
    texts = ["a good film", "the bad book was very sad and the play is quite dreadful", *TEXTS]
    brief = made(base, tmp_path / "brief", design_of("houlsby", reduction=4), ("a", "b"), seed=7, max_length=6)
    model.load_adapter(brief)
    expected = {name: alone(folder, texts) for name, folder in {**folders, "brief": brief}.items()}
    assert abs(expected["films"][1] - alone(folders["films"], [" ".join(texts[1].split()[:4])])[0]).max() > 1e-3
    for name in ("films", "brief"):
        model.set_active(name)
        np.testing.assert_allclose(np.stack(model.logits(texts)), expected[name], atol=1e-5)
    chosen = [["films", "brief"][i % 2] for i in range(len(texts))]
    for swapped in (chosen, chosen[1:] + chosen[:1]):
        for i, row in enumerate(model.logits(texts, adapters=swapped)):
            np.testing.assert_allclose(row, expected[swapped[i]][i], atol=1e-5)
    for name, rows in model.logits_of_each(texts).items():
        np.testing.assert_allclose(rows, expected[name], atol=1e-5)


def test_one_of_adapterhub_needs_no_import(base: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    """What the other library writes, or we for it, is loaded beside our own."""
    theirs = tmp_path / "hub" / "v1.2"
    assert main(["adapter", "export", str(folders["films"]), "--output", str(theirs)]) == 0
    model = understudy.load_base(base)
    model.load_adapter(folders["topics"])
    assert model.load_adapter(theirs) == "v1_2"
    expected = alone(folders["films"], TEXTS)
    np.testing.assert_allclose(np.stack(model.logits(TEXTS)), expected, atol=1e-5)
    assert model.predict(TEXTS)[0].label in TASKS["films"]
    np.testing.assert_allclose(model.logits_of_each(TEXTS)["v1_2"], expected, atol=1e-5)
    told = json.loads((theirs / "adapter_config.json").read_text())
    (theirs / "adapter_config.json").write_text(json.dumps({**told, "hidden_size": 768}))
    with pytest.raises(ModelError, match="its hidden_size is 768, but this base's is 32"):
        model.load_adapter(theirs, name="again")
    (theirs / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(ModelError, match="is an adapter of PEFT"):
        model.load_adapter(theirs, name="again")


def test_lora_ia3_and_a_fusion_share_a_base(base: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    """Each row and each adapter is answered as by a model in which PEFT put this one alone."""
    pytest.importorskip("peft")
    model: Any = understudy.load_base(base)
    more = {"lora": peft("lora"), "ia3": peft("ia3"), "fusion": fusion}
    found = {name: made(base, tmp_path / name, design, ("x", "y", "z"), seed=7) for name, design in more.items()}
    found["films"] = folders["films"]
    for folder in found.values():
        model.load_adapter(folder)
    expected = {name: alone(folder, TEXTS) for name, folder in found.items()}
    assert np.abs(expected["lora"] - expected["ia3"]).max() > 1e-2
    for name, rows in model.logits_of_each(TEXTS).items():
        np.testing.assert_allclose(rows, expected[name], atol=1e-5)
    chosen = [list(found)[i % 4] for i in range(len(TEXTS))]
    for i, row in enumerate(model.logits(TEXTS, adapters=chosen)):
        np.testing.assert_allclose(row, expected[chosen[i]][i], atol=1e-5)
    model.load_adapter(made(base, tmp_path / "again", peft("lora"), ("x", "y", "z"), seed=8))
    model.average(["lora", "again"], name="mean")
    assert (
        main(
            [
                "adapter",
                "average",
                "--adapters",
                *(str(tmp_path / n) for n in ("lora", "again")),
                "--output",
                str(tmp_path / "both"),
            ]
        )
        == 0
    )
    np.testing.assert_allclose(np.stack(model.logits(TEXTS)), alone(tmp_path / "both", TEXTS), atol=1e-5)
    model.remove("lora")
    model.set_active("ia3")
    np.testing.assert_allclose(np.stack(model.logits(TEXTS)), expected["ia3"], atol=1e-5)


def test_a_base_with_another_pooler_or_none_is_another_base(
    base: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    """The adapter's head reads the base's pooler, which is not in its folder."""
    without, other = load_encoder(str(base)), load_encoder(str(base))
    without.pooler = None
    with torch.no_grad():
        other.pooler.dense.weight.neg_()
    for name, encoder in (("without", without), ("other", other)):
        shutil.copytree(base, tmp_path / name)
        (tmp_path / name / "model.safetensors").unlink()
        encoder.save_pretrained(tmp_path / name)
        model = understudy.load_base(tmp_path / name)
        with pytest.raises(ModelError, match=r"its head reads the pooler of .*, which this one lacks or has otherwise"):
            model.load_adapter(folders["films"])
        assert model.load_adapter(folders["books"]) == "books"  # reads the mean of the states
    assert model.load_adapter(folders["films"], force=True) == "films"


def test_why_the_first_one_is_refused_is_said(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    folder = made(base, tmp_path / "lora_A", peft("lora"), ("x", "y"))
    model = understudy.load_base(base)
    assert model.load_adapter(folder) == "lora_A"  # a word of PEFT's
    path = folder / "adapter_config.json"
    for rank in ("0", "3", "null", '"x"', "10000000000"):
        told = json.loads(path.read_text())
        told["understudy"]["design"]["r"] = json.loads(rank)
        (folder / "adapter_config.json").write_text(json.dumps(told))
        with pytest.raises(ModelError, match=r"its rank is .*, but its weights have the rank 4"):
            understudy.load_base(base).load_adapter(folder)


def test_a_name_from_the_hub(model: Any, base: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called as the end of its id, not as the folder of the cache."""
    monkeypatch.setattr(names, "snapshot_download", lambda found, **options: str(folders["films"]))
    assert model.load_adapter("someone/nice-films.v2") == "nice-films_v2"
    assert model.load_adapter("sentiment/sst-2@ukp") == "sst-2"
    asked: list[str] = []
    monkeypatch.setattr(names, "snapshot_download", lambda found, **_: asked.append(found) or str(folders["films"]))
    assert model.load_adapter("sentiment/imdb@ukp", kind="houlsby") == "imdb"
    assert asked[0].endswith("_sentiment_imdb_houlsby")


def test_a_stack_is_one_after_the_other(model: Any, base: Path, folders: dict[str, Path]) -> None:
    model.set_active("books", "films")
    stacked = np.stack(model.logits(TEXTS))
    reference: Any = understudy.load(folders["films"])
    below: Any = understudy.load_base(base)
    below.load_adapter(folders["books"])
    add_adapter(reference.model, "books", AdapterDesign.from_dict(below.facts["books"].design))
    with torch.no_grad():
        for key, value in adapter_tensors(below.encoder, "books").items():
            adapter_tensors(reference.model, "books")[key].copy_(value)
    from understudy.adapters.inject import route_of

    route_of(reference.model).through("books", NAME)
    np.testing.assert_allclose(stacked, reference.logits(TEXTS), atol=1e-5)
    model.set_active("films")
    assert np.abs(np.stack(model.logits(TEXTS)) - stacked).max() > 1e-3


def test_the_mean_of_two(base: Path, tmp_path: Path) -> None:
    model: Any = understudy.load_base(base)
    for seed, name in enumerate("ab"):
        model.load_adapter(made(base, tmp_path / name, DESIGNS["films"], TASKS["films"], seed=seed))
    model.average(["a", "b"], name="both")
    one, two, mean = (adapter_tensors(model.encoder, name) for name in ("a", "b", "both"))
    assert all(torch.allclose((one[key] + two[key]) / 2, mean[key]) for key in mean)
    assert model.active == ("both",)
    assert {answer.label for answer in model.predict(TEXTS)} <= set(TASKS["films"])
    model.remove("both")
    with pytest.raises(ModelError, match="no adapter is active"):
        model.predict(TEXTS)


def test_threads_take_turns(model: Any, folders: dict[str, Path]) -> None:
    expected = {name: alone(folder, TEXTS) for name, folder in folders.items()}
    faults: list[str] = []

    def ask(name: str) -> None:
        for _ in range(5):
            rows = np.stack(model.logits(TEXTS, adapters=[name] * len(TEXTS)))
            if not np.allclose(rows, expected[name], atol=1e-5):
                faults.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def test_a_call_is_answered_as_it_began(model: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever another thread makes active meanwhile, between the call's batches or before its labels are named."""
    model.set_active("films")
    expected = alone(folders["films"], TEXTS)
    monkeypatch.setattr("understudy.inference.many.token_budget", lambda *_: 8)  # a text a batch
    others: list[threading.Thread] = []

    def meddle(*_: Any) -> None:
        if not others:
            others.append(threading.Thread(target=model.set_active, args=("topics",)))
            others.append(threading.Thread(target=model.average, args=(["films", "films"],), kwargs={"name": "mean"}))
            for thread in others:
                thread.start()
                thread.join(0.2)

    model.encoder.encoder.layer[-1].register_forward_hook(lambda *_: meddle())
    answers = model.predict(TEXTS)
    assert [answer.label for answer in answers] == [TASKS["films"][row.argmax()] for row in expected]
    for thread in others:
        thread.join()
    assert model.active in (("topics",), ("mean",))


@pytest.mark.parametrize("name", ["training", "keys", "_modules"])
def test_names_that_torch_has_taken(name: str, base: Path, tmp_path: Path) -> None:
    folder = made(base, tmp_path / name, DESIGNS["films"], TASKS["films"])
    model: Any = understudy.load_base(base)
    with pytest.raises(ModelError, match=rf"cannot be called '{name}', .* Give another name, or rename its folder\."):
        model.load_adapter(folder)
    assert model.load_adapter(folder, name="other") == "other"


def test_an_adapter_and_a_whole_model_are_summed_up(folders: dict[str, Path], tmp_path: Path) -> None:
    """Only an adapter counts what belongs to its task alone."""
    one: Any = understudy.load(folders["films"])
    two: Any = understudy.load(folders["films"])
    for members in ([one, Predictor(two.model, two.tokenizer, two.task, 64)], [one, two]):
        for order in (members, members[::-1]):
            counted = Ensemble(order).summary()
            assert counted["parameters"] == 2 * one.summary()["parameters"]
            assert ("own_parameters" in counted) == (members[1] is two)


def test_a_pooler_and_weights_for_mixed_rows_are_there_once(base: Path, tmp_path: Path) -> None:
    model: Any = understudy.load_base(base)
    for seed, name in enumerate("abc"):
        model.load_adapter(made(base, tmp_path / name, DESIGNS["films"], TASKS["films"], seed=seed))
        assert model.heads[name].linear[0] is model.encoder.pooler.dense

    def held() -> int:
        """Bytes of all numbers that the model keeps."""
        parts = [*model.encoder.parameters(), *(p for head in model.heads.values() for p in head.parameters())]
        return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in parts}.values())

    before = held()
    model.logits(TEXTS[:3], adapters=["a", "b", "c"])
    assert held() == before


def test_ten_tasks_take_little_more_memory_than_one(base: Path, tmp_path: Path) -> None:
    model: Any = understudy.load_base(base)
    before = model.summary()["parameters"]
    for i in range(3):
        model.load_adapter(
            made(base, tmp_path / f"t{i}", design_of("pfeiffer", reduction=16), ("a", "b"), "mean", seed=i)
        )
    own = 4 * (2 * 32 * 2 + 32 + 2) + 2 * 32 + 2
    assert model.summary()["parameters"] == before + 3 * own


def test_what_does_not_belong_is_refused(
    model: Any, base: Path, tiny_bert: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"there is no adapter 'film'. Did you mean 'films'\?"):
        model.set_active("film")
    with pytest.raises(ModelError, match="there is an adapter 'films' already"):
        model.load_adapter(folders["films"])
    with pytest.raises(ModelError, match=r"books: has another base|films: |has another shape than films"):
        model.average(["films", "books"], name="x")
    with pytest.raises(ModelError, match="one adapter alone"):
        model.average(["films"], name="x")
    with pytest.raises(ValueError, match="an adapter for each text"):
        model.logits(TEXTS, adapters=["films"])
    for answer in (model.predict, model.predict_each):
        with pytest.raises(ValueError, match="texts must be a list of texts, but is the string 'a film'"):
            answer("a film")
    other = understudy.load_base(tiny_bert)
    with pytest.raises(ModelError, match="whose weights are not those of this one"):
        other.load_adapter(folders["films"])
    assert other.load_adapter(folders["films"], force=True) == "films"
    own = made(tiny_bert, tmp_path / "own", DESIGNS["films"], TASKS["films"])
    other.load_adapter(own)
    assert other.average(["films", "own"], name="mean") == "mean"  # who insisted once need not insist again
    with pytest.raises(ModelError, match="there is no such folder"):
        other.load_adapter("./nowhere/at_all")
