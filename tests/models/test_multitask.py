"""One model for several tasks: gradients as of each task alone, its folder, its memory."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from understudy.data.batches.contract import Batch
from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.inference.multitask import TaskPredictors
from understudy.loading import load
from understudy.models.files.classifiers import load_classifier, load_encoder, load_mean_classifier
from understudy.models.files.multitask import TrainedTasks, load_tasks, save_tasks
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.files.trained import load_trained
from understudy.models.multitask import MultiTaskModel, encoder_of
from understudy.objectives.multitask import MultiTask
from understudy.objectives.supervised import Supervised
from understudy.objectives.teachers.load import load_teacher

TEXT = (("text",),)
PAIR = (("sentence1",), ("sentence2",))
TASKS = {
    "mood": Task(text=TEXT, label="label", kind="single_label", labels=("bad", "good")),
    "alike": Task(text=PAIR, label="score", kind="regression"),
    "follows": Task(text=PAIR, label="label", kind="single_label", labels=("yes", "no", "open")),
}
KINDS = {name: task.kind for name, task in TASKS.items()}


def made(tiny_bert: Path, *, shared: bool, mean: bool = False) -> MultiTaskModel:
    torch.manual_seed(0)
    loader = load_mean_classifier if mean else load_classifier
    return MultiTaskModel({name: loader(str(tiny_bert), task) for name, task in TASKS.items()}, shared=shared)


def batch(name: str, rows: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(len(name))
    ids = torch.randint(5, 27, (rows, 9), generator=draw)
    labels = (
        torch.rand(rows, generator=draw)
        if TASKS[name].kind == "regression"
        else torch.arange(rows) % TASKS[name].outputs
    )
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return Batch(inputs=inputs, counts={"rows": rows, "labelled": rows}, labels=labels, task=name)


def gradient(objective: Any, one: Batch) -> None:
    sum((term.weight * term.sum / one.counts[term.per] for term in objective(one)), start=torch.zeros(())).backward()


@pytest.mark.parametrize("mean", [False, True])
def test_the_gradient_is_that_of_each_task_alone(tiny_bert: Path, mean: bool) -> None:
    model = made(tiny_bert, shared=True, mean=mean).double().eval()
    objective = MultiTask(model, KINDS, {"mood": 1.0, "alike": 0.25, "follows": 2.0}).eval()
    for name, task in TASKS.items():
        alone = copy.deepcopy(model.task(name))
        single = Supervised(alone, task.kind).eval()
        gradient(single, batch(name))
        objective.zero_grad()
        gradient(objective, batch(name))
        weight = objective.weights[name]
        for (key, own), expected in zip(model.task(name).named_parameters(), alone.parameters(), strict=True):
            if expected.grad is None:
                assert own.grad is None, key
            else:
                torch.testing.assert_close(own.grad, weight * expected.grad, rtol=1e-6, atol=1e-12, msg=key)
        others = [p for other in TASKS if other != name for p in model.task(other).classifier.parameters()]
        assert all(p.grad is None or not p.grad.any() for p in others)


def test_one_encoder_or_one_a_task(tiny_bert: Path) -> None:
    hard, soft = made(tiny_bert, shared=True), made(tiny_bert, shared=False)
    encoders = [{id(encoder_of(model.task(name))) for name in TASKS} for model in (hard, soft)]
    assert [len(found) for found in encoders] == [1, 3]
    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    heads = sum(p.numel() for name in TASKS for p in hard.task(name).classifier.parameters())
    assert count(hard) == sum(p.numel() for p in encoder_of(hard.task("mood")).parameters()) + heads
    assert hard.get_input_embeddings() is not None
    assert soft.get_input_embeddings() is None
    with pytest.raises(KeyError, match="no task 'x', only mood"):
        hard.task("x")


def test_soft_sharing_pulls_an_encoder_towards_the_mean(tiny_bert: Path) -> None:
    model = made(tiny_bert, shared=False).double()
    assert model.distance("mood").item() == 0.0
    with torch.no_grad():
        for place, name in enumerate(TASKS):
            for parameter in encoder_of(model.task(name)).parameters():
                parameter += 0.01 * place
    encoders = [torch.cat([p.detach().flatten() for p in encoder_of(model.task(name)).parameters()]) for name in TASKS]
    mean = torch.stack(encoders).mean(0)
    distance = model.distance("follows")
    assert distance.item() == pytest.approx(((encoders[2] - mean) ** 2).sum().item() / 2)
    distance.backward()
    own = torch.cat([p.grad.flatten() for p in encoder_of(model.task("follows")).parameters()])
    torch.testing.assert_close(own, encoders[2] - mean)
    assert all(p.grad is None for p in encoder_of(model.task("mood")).parameters())
    objective = MultiTask(model, KINDS, dict.fromkeys(TASKS, 1.0), distance=0.5)
    terms = objective(batch("mood"))
    assert [term.name for term in terms] == list(objective.terms) == ["label_loss", "encoder_distance"]
    whole = terms[1].weight * terms[1].sum / batch("mood").counts["rows"]
    assert whole.item() == pytest.approx(0.5 * model.distance("mood").item())


def trained(model: MultiTaskModel, tiny_bert: Path) -> TrainedTasks:
    return TrainedTasks(model.eval(), load_tokenizer(str(tiny_bert)), TASKS, 24)


@pytest.mark.parametrize(("shared", "mean"), [(True, False), (True, True), (False, False)])
def test_a_folder_comes_back_bit_for_bit(tiny_bert: Path, tmp_path: Path, shared: bool, mean: bool) -> None:
    model = made(tiny_bert, shared=shared, mean=mean)
    save_tasks(tmp_path / "m", trained(model, tiny_bert))
    found = load_tasks(tmp_path / "m")
    assert (found.tasks, found.max_length, found.model.shared) == (TASKS, 24, shared)
    one, other = model.saved_state(), found.model.saved_state()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    heads = load(tmp_path / "m")
    assert list(heads) == list(TASKS)
    before = TaskPredictors(trained(model, tiny_bert))
    for name, texts in (("mood", ["a good film", "a bad book"]), ("follows", [("the film", "the book"), ("a", "is")])):
        assert (heads[name].logits(texts) == before[name].logits(texts)).all()
        assert load(tmp_path / "m", task=name).predict(texts)[0].label in TASKS[name].labels


def test_each_task_has_a_temperature_of_its_own(tiny_bert: Path, tmp_path: Path) -> None:
    whole = replace(trained(made(tiny_bert, shared=True), tiny_bert), temperatures={"mood": 2.0, "follows": 0.5})
    save_tasks(tmp_path / "m", whole)
    heads, texts = load(tmp_path / "m"), ["a good film", "a bad book"]
    assert {name: heads[name].temperature for name in heads} == {"mood": 2.0, "alike": 1.0, "follows": 0.5}
    logits = heads["mood"].logits(texts)
    assert (logits == TaskPredictors(trained(whole.model, tiny_bert))["mood"].logits(texts)).all()
    wanted = torch.from_numpy(logits / 2).softmax(-1).numpy()
    found = [list(one.probabilities.values()) for one in heads["mood"].predict(texts)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert load_teacher(str(tmp_path / "m"), TASKS["follows"]).model.temperature == 0.5
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    assert "temperature" not in config["understudy"]["tasks"][1]  # a regression has no probabilities
    del config["understudy"]["tasks"][0]["temperature"]  # as it was before there was one
    path.write_text(json.dumps(config), encoding="utf-8")
    assert load(tmp_path / "m")["mood"].temperature == 1.0
    config["understudy"]["tasks"][0]["temperature"] = 0
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match=r"its temperature must be a number from 0\.001 to 1000"):
        load(tmp_path / "m")


def test_mistakes_are_said(tiny_bert: Path, tmp_path: Path) -> None:
    save_tasks(tmp_path / "m", trained(made(tiny_bert, shared=True), tiny_bert))
    heads = load(tmp_path / "m")
    with pytest.raises(ModelError, match=r"was trained for several tasks \(mood, alike, follows\)"):
        heads.predict(["a"])
    with pytest.raises(ModelError, match=r"only for mood, alike, follows\. Did you mean 'mood'"):
        load(tmp_path / "m", task="mod")
    with pytest.raises(ModelError, match="is a model for several tasks, which cannot be used here"):
        load_trained(str(tmp_path / "m"))
    path = tmp_path / "m" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    with pytest.raises(ModelError, match="checksum is wrong"):
        load(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    config["understudy"]["tasks"][0]["task"]["kind"] = "no kind"
    (tmp_path / "m" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="cannot load it"):
        load(tmp_path / "m")
    with pytest.raises(ModelError, match="has no encoder apart from its head"):
        encoder_of(nn.Linear(1, 1))


def test_a_head_teaches_by_its_labels_or_its_name(tiny_bert: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "m")
    model = made(tiny_bert, shared=True)
    save_tasks(tmp_path / "m", trained(model, tiny_bert))
    wanted = Task(text=TEXT, label="label", kind="single_label", labels=("good", "bad"))
    teacher = load_teacher(folder, wanted)
    assert teacher.columns.tolist() == [1, 0]
    own = TaskPredictors(trained(model, tiny_bert))["mood"]
    assert (teacher.model.logits(["a good film"]) == own.logits(["a good film"])).all()
    assert load_teacher(folder, TASKS["follows"], of_several="follows").columns.tolist() == [0, 1, 2]
    with pytest.raises(
        ModelError, match="task mood: was trained for single_label labels, but the data's are regression"
    ):
        load_teacher(folder, TASKS["alike"], of_several="mood")
    odd = Task(text=TEXT, label="label", kind="single_label", labels=("red", "blue"))
    with pytest.raises(ModelError, match="task mood: its labels are 'bad', 'good'"):
        load_teacher(folder, odd)
    twin = {"one": TASKS["mood"], "two": TASKS["mood"]}
    pair = MultiTaskModel({name: load_classifier(str(tiny_bert), task) for name, task in twin.items()}, shared=True)
    save_tasks(tmp_path / "two", TrainedTasks(pair.eval(), load_tokenizer(str(tiny_bert)), twin, 24))
    with pytest.raises(ModelError, match=r"several of its tasks have the data's labels \(one, two\)"):
        load_teacher(str(tmp_path / "two"), wanted)
    with pytest.raises(ModelError, match="was trained for one task only"):
        load_teacher(str(tiny_bert), wanted, of_several="mood")


def test_its_encoder_starts_a_model_for_another_task(tiny_bert: Path, tmp_path: Path) -> None:
    model = made(tiny_bert, shared=True)
    save_tasks(tmp_path / "m", trained(model, tiny_bert))
    shared = encoder_of(model.task("mood")).state_dict()
    fresh = load_classifier(str(tmp_path / "m"), TASKS["follows"], fresh_head=True)
    assert fresh.classifier.out_features == 3
    for key, value in encoder_of(fresh).state_dict().items():
        assert torch.equal(value, shared[key]), key
    assert not torch.equal(fresh.classifier.weight, model.task("follows").classifier.weight)
    assert torch.equal(
        load_encoder(str(tmp_path / "m")).embeddings.word_embeddings.weight, shared["embeddings.word_embeddings.weight"]
    )
    save_tasks(tmp_path / "soft", trained(made(tiny_bert, shared=False), tiny_bert))
    with pytest.raises(ModelError, match="has an encoder for each of its tasks"):
        load_classifier(str(tmp_path / "soft"), TASKS["mood"], fresh_head=True)
