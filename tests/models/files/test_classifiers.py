"""Classifiers and encoders from checkpoints: heads kept or new, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    PreTrainedTokenizerFast,
)

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.models.files.classifiers import load_classifier, load_encoder
from understudy.models.files.fingerprints import weights_fingerprint
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.files.trained import load_trained

IDS = torch.tensor([[2, 7, 9, 6, 3]])
Words = PreTrainedTokenizerFast


def test_the_encoders_weights_arrive(
    pretrained: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
) -> None:
    original = tiny_classifier("bert")
    name = pretrained(tmp_path / "base", original, words)
    for key, tensor in load_classifier(name, task).bert.state_dict().items():
        assert torch.equal(tensor, original.bert.state_dict()[key]), key
    encoder = load_encoder(name)
    assert torch.equal(encoder(IDS).last_hidden_state, original.bert(IDS).last_hidden_state)
    assert not encoder.training


class TestHeads:
    def test_same_labels_keep_the_head(
        self, pretrained: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
    ) -> None:
        trained = load_classifier(pretrained(tmp_path / "b", tiny_classifier("roberta"), words), task)
        save_model(tmp_path / "m", trained, words, task=task, max_length=20)
        assert weights_fingerprint(load_classifier(str(tmp_path / "m"), task)) == weights_fingerprint(trained)

    @pytest.mark.parametrize("labels", [("good", "fair", "bad"), ("x", "y", "z"), ("yes", "no")])
    @pytest.mark.parametrize("architecture_", ["bert", "roberta", "deberta", "modernbert"])
    def test_other_labels_start_it_afresh(
        self,
        pretrained: Any,
        tiny_classifier: Any,
        task: Task,
        words: Words,
        tmp_path: Path,
        labels: tuple[str, ...],
        architecture_: str,
    ) -> None:
        trained = load_classifier(pretrained(tmp_path / "b", tiny_classifier(architecture_), words), task)
        with torch.no_grad():
            for parameter in trained.parameters():
                parameter.fill_(7.0)
        save_model(tmp_path / "m", trained, words, task=task, max_length=20)
        other = replace(task, labels=labels, metrics=())
        torch.manual_seed(1)
        model = load_classifier(str(tmp_path / "m"), other)
        base = dict(model.base_model.named_parameters())
        assert all((parameter == 7).all() for parameter in base.values())
        inside = {id(parameter) for parameter in base.values()}
        head = [parameter for parameter in model.parameters() if id(parameter) not in inside]
        assert not any((parameter == 7).any() for parameter in head)
        assert model(IDS).logits.shape == (1, len(labels))
        torch.manual_seed(1)
        assert weights_fingerprint(load_classifier(str(tmp_path / "m"), other)) == weights_fingerprint(model)

    def test_a_students_head_starts_afresh(self, student: Any, task: Task, words: Words, tmp_path: Path) -> None:
        model = student("bilstm", task, words)
        save_model(tmp_path / "m", model, words, task=task, max_length=20)
        loaded = load_classifier(str(tmp_path / "m"), replace(task, labels=("x", "y", "z")))
        assert torch.equal(loaded.forward_lstm.weight_hh_l0, model.forward_lstm.weight_hh_l0)
        assert torch.equal(loaded.hidden.weight, model.hidden.weight)
        assert not torch.equal(loaded.classifier.weight, model.classifier.weight)

    @pytest.mark.parametrize(
        ("kind", "labels", "outputs"), [("regression", (), 1), ("multi_label", ("a", "b", "c"), 3)]
    )
    def test_other_kinds(
        self,
        pretrained: Any,
        tiny_classifier: Any,
        task: Task,
        words: Words,
        tmp_path: Path,
        kind: Any,
        labels: Any,
        outputs: int,
    ) -> None:
        other = Task(text=task.text, label="score", kind=kind, labels=labels)
        model = load_classifier(pretrained(tmp_path / "b", tiny_classifier("bert"), words), other)
        save_model(tmp_path / "m", model, words, task=other, max_length=20)
        trained = load_trained(str(tmp_path / "m"))
        loaded, stored = trained.model, trained.task
        assert stored == other
        assert loaded.config.num_labels == outputs
        assert weights_fingerprint(load_classifier(str(tmp_path / "m"), other)) == weights_fingerprint(model)


def test_half_precision_checkpoints_are_read_as_float32(
    pretrained: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
) -> None:
    name = pretrained(tmp_path / "b", tiny_classifier("bert").half(), words)
    assert {parameter.dtype for parameter in load_classifier(name, task).parameters()} == {torch.float32}


class TestFaults:
    def test_missing_embeddings_are_named(
        self, pretrained: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
    ) -> None:
        name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
        weights = {
            key: value for key, value in load_file(f"{name}/model.safetensors").items() if "embeddings" not in key
        }
        save_file(weights, f"{name}/model.safetensors", metadata={"format": "pt"})
        for load in (lambda: load_classifier(name, task), lambda: load_encoder(name)):
            with pytest.raises(ModelError, match=r"lacks .*embeddings.* and 2 more"):
                load()

    def test_shapes_that_do_not_fit(
        self, pretrained: Any, change_config: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
    ) -> None:
        name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
        change_config(name, intermediate_size=24)
        with pytest.raises(ModelError, match=r"another shape.*intermediate"):
            load_classifier(name, task)

    def test_torn_weights(
        self, pretrained: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
    ) -> None:
        name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
        weights = Path(name, "model.safetensors")
        weights.write_bytes(weights.read_bytes()[:500])
        with pytest.raises(ModelError, match="cannot load it"):
            load_classifier(name, task)

    def test_unknown_architecture_and_remote_code(
        self, pretrained: Any, change_config: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
    ) -> None:
        name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
        Path(name, "evil.py").write_text("raise SystemExit('remote code ran')", encoding="utf-8")
        change_config(
            name,
            model_type="evil",
            auto_map={"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.E"},
        )
        with pytest.raises(ModelError):
            load_classifier(name, task)

    def test_unknown_hub_id_offline(self, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # the variable is read at import
        with pytest.raises(ModelError, match=r"nobody/nothing: is not a folder here.*hub"):
            load_classifier("nobody/nothing", task)
        with pytest.raises(ModelError, match="nobody/nothing"):
            load_tokenizer("nobody/nothing")

    def test_tfidf_is_no_network(self, task: Task, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"understudy": {"kind": "tfidf"}}', encoding="utf-8")
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(ModelError, match="is no network"):
            load_classifier(str(tmp_path), task)

    def test_pairs_and_single_texts(
        self, student: Any, task: Task, pair_task: Task, words: Words, tmp_path: Path
    ) -> None:
        save_model(tmp_path / "m", student("static", task, words), words, task=task, max_length=20)
        with pytest.raises(ModelError, match="built for single texts"):
            load_classifier(str(tmp_path / "m"), pair_task)


def test_loading_says_nothing(
    pretrained: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
    capfd.readouterr()
    load_classifier(name, task)
    load_tokenizer(name)
    assert capfd.readouterr() == ("", "")


def test_loaded_weights_do_not_hang_on_the_file(
    pretrained: Any, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
) -> None:
    name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
    model = load_classifier(name, task)
    before = weights_fingerprint(model)
    weights = Path(name, "model.safetensors")
    with open(weights, "r+b") as file:
        file.seek(-4000, 2)
        file.write(b"\x01" * 4000)
    assert weights_fingerprint(model) == before
