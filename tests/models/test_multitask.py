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
from understudy.functional.chance import chance_distance
from understudy.functional.logit_distances import forward_kl, logit_mse
from understudy.inference.multitask import TaskPredictors
from understudy.loading import load
from understudy.models.files.classifiers import load_classifier, load_encoder, load_mean_classifier
from understudy.models.files.multitask import TrainedTasks, load_tasks, save_tasks
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.files.trained import load_trained
from understudy.models.multitask import MultiTaskModel, encoder_of, share_encoder
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.static import StaticBag, StaticConfig
from understudy.objectives.distill import DistillClassifier
from understudy.objectives.multitask import MultiTask, Teaching
from understudy.objectives.supervised import Supervised
from understudy.objectives.teachers.load import load_teacher
from understudy.recipes.train.distill.teachers import Teachers

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


def students() -> MultiTaskModel:
    """BiLSTMs that share all but their heads, which are wider for pairs."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "embedding_size": 6, "lstm_size": 5, "hidden_size": 4}
    models = {
        name: BiLSTM(BiLSTMConfig(**sizes, pair=task.is_pair, num_labels=task.outputs)) for name, task in TASKS.items()
    }
    return MultiTaskModel(models, shared=True)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("bilstm", [False, True])
def test_with_teachers_the_gradient_is_that_of_each_distillation_alone(
    tiny_bert: Path, alpha: float, bilstm: bool
) -> None:
    model = (students() if bilstm else made(tiny_bert, shared=True)).double().eval()
    distances = {name: logit_mse if task.kind == "regression" else forward_kl for name, task in TASKS.items()}
    teaching = {name: Teaching(distance, 2.0) for name, distance in distances.items()}
    # one weight for labels and teacher, so that a single-task objective has the same shares; doubling rounds nothing
    objective = MultiTask(model, KINDS, dict.fromkeys(TASKS, 2.0), teaching=teaching, alpha=alpha).eval()
    assert objective.terms == ("label_loss", "distillation")
    for name, task in TASKS.items():
        one = batch(name)
        if bilstm:
            one.inputs["token_type_ids"] = (torch.arange(9) > 4).long().expand(6, 9)
        answers = torch.randn(6, task.outputs, dtype=torch.float64)
        answers[2] = torch.nan  # a row that the teacher never saw
        one = replace(one, teacher_logits=answers, counts={**one.counts, "taught": 5})
        alone = copy.deepcopy(model.task(name))
        objective.zero_grad()
        gradient(DistillClassifier(alone, task.kind, distances[name], alpha=alpha).eval(), one)
        gradient(objective, one)
        for (key, own), expected in zip(model.task(name).named_parameters(), alone.parameters(), strict=True):
            if expected.grad is None:
                assert own.grad is None, key
            else:
                torch.testing.assert_close(own.grad, 2.0 * expected.grad, rtol=1e-6, atol=1e-12, msg=key)


def test_students_share_all_below_their_heads() -> None:
    model = students()
    mood, alike, follows = (model.task(name) for name in TASKS)
    assert mood.embeddings is alike.embeddings is follows.embeddings
    assert mood.forward_lstm is follows.forward_lstm
    assert mood.hidden is not alike.hidden
    assert alike.hidden is not follows.hidden
    assert len(model.saved_state()) < sum(len(one.state_dict()) for one in (mood, alike, follows))
    shape = {"vocab_size": 30, "embedding_size": 6}
    with pytest.raises(ModelError, match="cannot share the encoder of BiLSTM"):
        share_encoder(mood, StaticBag(StaticConfig(**shape)))


def test_the_chance_of_a_teacher_is_that_of_its_mean_answer() -> None:
    answers = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert chance_distance(answers, logit_mse) == pytest.approx(answers.var(0, correction=0).mean().item())
    unseen = torch.cat([answers, torch.full((5, 3), torch.nan, dtype=torch.float64)])
    assert chance_distance(unseen, logit_mse) == chance_distance(answers, logit_mse)
    assert chance_distance(torch.ones(4, 2), logit_mse) == 0.0
    assert chance_distance(torch.full((4, 2), torch.nan), logit_mse) == 0.0


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


def test_a_head_and_a_model_of_one_task_answer_and_teach_together(tiny_bert: Path, tmp_path: Path) -> None:
    several, alone, texts = tmp_path / "m", tmp_path / "alone", ["a good film", "a bad book"]
    save_tasks(several, trained(made(tiny_bert, shared=True), tiny_bert))
    model, tokenizer = load_classifier(str(tiny_bert), TASKS["mood"]), load_tokenizer(str(tiny_bert))
    save_model(alone, model, tokenizer, task=TASKS["mood"], max_length=24)
    both = load(several, alone, task="mood")
    for member, own in zip(both.members, (load(several)["mood"], load(alone)), strict=True):
        assert (member.logits(texts) == own.logits(texts)).all()
    with pytest.raises(ModelError, match=r"m: was trained for several tasks \(mood, alike, follows\)"):
        load(alone, several)
    with pytest.raises(ModelError, match="alone: was trained for one task only, so none can be named"):
        load(alone, task="mood")
    with pytest.raises(ModelError, match="alone: each was trained for one task only, so none can be named"):
        load(alone, alone, task="mood")
    faults: list[str] = []
    names = [str(several), str(alone)]
    teachers = Teachers(names, [], TASKS["mood"], max_length=None, of_several="mood", faults=faults)
    assert (faults, list(teachers.models)) == ([], names)
    Teachers(names[1:], [], TASKS["mood"], max_length=None, of_several="mood", faults=faults)
    assert faults == [f"{alone}: was trained for one task only, so none can be named. Leave out --task mood."]


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
