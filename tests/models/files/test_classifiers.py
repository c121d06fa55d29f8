"""Loading, saving and the sentences for what cannot be loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLNetConfig,
)

from understudy.data.tasks import Task
from understudy.errors import ConfigError, ModelError, OutputError
from understudy.models.files.classifiers import (
    check_tokenizer,
    kind_of,
    load_classifier,
    load_encoder,
    load_tokenizer,
    load_trained,
    max_length,
    save_model,
    weights_fingerprint,
)
from understudy.models.files.pretrained import register
from understudy.models.shrink.cut import cut_layers
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.pooled import PooledClassifier
from understudy.models.students.static import StaticBag, StaticConfig

IDS = torch.tensor([[2, 7, 9, 6, 3]])
Words = PreTrainedTokenizerFast


def pretrained(folder: Path, model: Any, tokenizer: Words) -> str:
    """A checkpoint of the bare encoder, as one takes it from the hub."""
    model.base_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def student(kind: str, task: Task, words: Words) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": len(words), "embedding_size": 6, "hidden_size": 5, "pair": task.is_pair}
    if kind == "bilstm":
        return BiLSTM(BiLSTMConfig(**sizes, lstm_size=4, num_labels=task.outputs)).eval()
    return StaticBag(StaticConfig(**sizes, num_labels=task.outputs)).eval()


def test_every_architecture_fine_tunes_saves_and_loads(
    architecture: str, tiny_classifier: Callable[[str], Any], task: Task, words: Words, tmp_path: Path
) -> None:
    name = pretrained(tmp_path / "base", tiny_classifier(architecture), words)
    torch.manual_seed(0)
    model = load_classifier(name, task)
    assert model(IDS).logits.shape == (1, 3)
    assert model.config.id2label == {0: "bad", 1: "fair", 2: "good"}
    assert model.config.problem_type == "single_label_classification"
    save_model(tmp_path / "model", model, load_tokenizer(name), task=task, max_length=32)
    loaded, tokenizer, stored, length = load_trained(str(tmp_path / "model"))
    assert torch.equal(loaded(IDS).logits, model.eval()(IDS).logits)
    assert (stored, length, tokenizer.get_vocab()) == (task, 32, words.get_vocab())
    assert kind_of(tmp_path / "model") == "transformer"
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(alone(IDS).logits, loaded(IDS).logits)


def test_the_encoders_weights_arrive(tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
    original = tiny_classifier("bert")
    name = pretrained(tmp_path / "base", original, words)
    for key, tensor in load_classifier(name, task).bert.state_dict().items():
        assert torch.equal(tensor, original.bert.state_dict()[key]), key
    encoder = load_encoder(name)
    assert torch.equal(encoder(IDS).last_hidden_state, original.bert(IDS).last_hidden_state)
    assert not encoder.training


@pytest.mark.parametrize("kind", ["bilstm", "static"])
@pytest.mark.parametrize("pair", [False, True])
def test_students_save_and_load(
    kind: str, pair: bool, task: Task, pair_task: Task, words: Words, tmp_path: Path
) -> None:
    own = pair_task if pair else task
    model = student(kind, own, words)
    save_model(tmp_path / "m", model, words, task=own, max_length=20)
    loaded, tokenizer, stored, length = load_trained(str(tmp_path / "m"))
    inputs = {"input_ids": IDS, "token_type_ids": torch.tensor([[0, 0, 0, 1, 1]])}
    assert type(loaded) is type(model)
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    assert (stored, length, kind_of(tmp_path / "m")) == (own, 20, kind)
    encoded = tokenizer("the good film", "a song")
    assert encoded["input_ids"] == words("the good film", "a song")["input_ids"]
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 0, 1, 1, 1]


def test_pooled_saves_and_loads(tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
    encoder = tiny_classifier("roberta").base_model
    model = PooledClassifier.assemble(encoder, torch.randn(3, 16), torch.randn(3))
    save_model(tmp_path / "m", model, words, task=task, max_length=20)
    loaded = load_trained(str(tmp_path / "m"))[0]
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert kind_of(tmp_path / "m") == "pooled"
    assert torch.equal(load_encoder(str(tmp_path / "m"))(IDS).last_hidden_state, model.encoder(IDS).last_hidden_state)


def test_a_cut_model_saves_and_loads(tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
    cut = cut_layers(load_classifier(pretrained(tmp_path / "b", tiny_classifier("bert"), words), task), [0, 3])
    save_model(tmp_path / "m", cut, words, task=task, max_length=20)
    assert torch.equal(load_trained(str(tmp_path / "m"))[0](IDS).logits, cut.eval()(IDS).logits)


def test_registered_students_load_through_the_auto_class(task: Task, words: Words, tmp_path: Path) -> None:
    model = student("bilstm", task, words)
    save_model(tmp_path / "m", model, words, task=task, max_length=20)
    register()
    register()
    torch.testing.assert_close(
        AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")(IDS).logits, model(IDS).logits
    )


class TestHeads:
    def test_same_labels_keep_the_head(self, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
        trained = load_classifier(pretrained(tmp_path / "b", tiny_classifier("roberta"), words), task)
        save_model(tmp_path / "m", trained, words, task=task, max_length=20)
        assert weights_fingerprint(load_classifier(str(tmp_path / "m"), task)) == weights_fingerprint(trained)

    @pytest.mark.parametrize("labels", [("good", "fair", "bad"), ("x", "y", "z"), ("yes", "no")])
    @pytest.mark.parametrize("architecture_", ["bert", "roberta", "deberta", "modernbert"])
    def test_other_labels_start_it_afresh(
        self,
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

    def test_a_students_head_starts_afresh(self, task: Task, words: Words, tmp_path: Path) -> None:
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
        self, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path, kind: Any, labels: Any, outputs: int
    ) -> None:
        other = Task(text=task.text, label="score", kind=kind, labels=labels)
        model = load_classifier(pretrained(tmp_path / "b", tiny_classifier("bert"), words), other)
        save_model(tmp_path / "m", model, words, task=other, max_length=20)
        loaded, _, stored, _ = load_trained(str(tmp_path / "m"))
        assert stored == other
        assert loaded.config.num_labels == outputs
        assert weights_fingerprint(load_classifier(str(tmp_path / "m"), other)) == weights_fingerprint(model)


def test_half_precision_checkpoints_are_read_as_float32(
    tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
) -> None:
    name = pretrained(tmp_path / "b", tiny_classifier("bert").half(), words)
    assert {parameter.dtype for parameter in load_classifier(name, task).parameters()} == {torch.float32}


def test_a_foreign_classifier_serves_as_it_is(tiny_classifier: Any, words: Words, tmp_path: Path) -> None:
    model = tiny_classifier("bert")
    model.config.id2label, model.config.label2id = {0: "neg", 1: "pos"}, {"neg": 0, "pos": 1}
    model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    loaded, _, task, length = load_trained(str(tmp_path))
    assert (task.labels, task.kind, length) == (("neg", "pos"), "single_label", 40)
    assert not loaded.training


class TestFaults:
    def test_an_encoder_is_not_a_trained_classifier(self, tiny_classifier: Any, words: Words, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"lacks classifier.*Fine-tune it first"):
            load_trained(pretrained(tmp_path / "b", tiny_classifier("bert"), words))

    def test_missing_embeddings_are_named(self, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
        name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
        weights = {
            key: value for key, value in load_file(f"{name}/model.safetensors").items() if "embeddings" not in key
        }
        save_file(weights, f"{name}/model.safetensors", metadata={"format": "pt"})
        for load in (lambda: load_classifier(name, task), lambda: load_encoder(name)):
            with pytest.raises(ModelError, match=r"lacks .*embeddings.* and 2 more"):
                load()

    def test_shapes_that_do_not_fit(self, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
        name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
        change_config(name, intermediate_size=24)
        with pytest.raises(ModelError, match=r"another shape.*intermediate"):
            load_classifier(name, task)

    def test_torn_weights(self, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
        name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
        weights = Path(name, "model.safetensors")
        weights.write_bytes(weights.read_bytes()[:500])
        with pytest.raises(ModelError, match="cannot load it"):
            load_classifier(name, task)

    def test_unknown_architecture_and_remote_code(
        self, tiny_classifier: Any, task: Task, words: Words, tmp_path: Path
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

    def test_no_tokenizer(self, tiny_classifier: Any, tmp_path: Path) -> None:
        tiny_classifier("bert").save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="holds no tokenizer"):
            load_tokenizer(str(tmp_path))

    def test_unknown_hub_id_offline(self, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # the variable is read at import
        with pytest.raises(ModelError, match=r"nobody/nothing: is no folder here.*hub"):
            load_classifier("nobody/nothing", task)
        with pytest.raises(ModelError, match="nobody/nothing"):
            load_tokenizer("nobody/nothing")

    def test_tfidf_is_no_network(self, task: Task, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"understudy": {"kind": "tfidf"}}', encoding="utf-8")
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(ModelError, match="not a network"):
            load_classifier(str(tmp_path), task)

    def test_pairs_and_single_texts(self, task: Task, pair_task: Task, words: Words, tmp_path: Path) -> None:
        save_model(tmp_path / "m", student("static", task, words), words, task=task, max_length=20)
        with pytest.raises(ModelError, match="built for single texts"):
            load_classifier(str(tmp_path / "m"), pair_task)

    def test_tokenizer_larger_than_the_table(self, task: Task, words: Words) -> None:
        model = StaticBag(StaticConfig(vocab_size=8, embedding_size=4, num_labels=3))
        with pytest.raises(ModelError, match="has 8 rows"):
            check_tokenizer(model, words, name="m")
        check_tokenizer(student("static", task, words), words, name="m")

    def test_tokenizer_of_another_model(self, words: Words) -> None:
        tokens = len(words.get_vocab())
        padded = StaticBag(StaticConfig(vocab_size=1024 + tokens, embedding_size=4, num_labels=3))
        check_tokenizer(padded, words, name="m")
        model = StaticBag(StaticConfig(vocab_size=1025 + tokens, embedding_size=4, num_labels=3))
        with pytest.raises(ModelError, match=rf"{tokens} tokens, but .* {1025 + tokens:,} rows: .*not belong together"):
            check_tokenizer(model, words, name="m")


def change_config(folder: str, **settings: Any) -> None:
    path = Path(folder, "config.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_stored_truncation_and_padding_are_switched_off(words: Words, tiny_classifier: Any, tmp_path: Path) -> None:
    name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
    stored = Tokenizer.from_file(f"{name}/tokenizer.json")
    stored.enable_truncation(4)
    stored.enable_padding(length=6)
    stored.save(f"{name}/tokenizer.json")
    backend = load_tokenizer(name).backend_tokenizer
    assert (backend.truncation, backend.padding) == (None, None)
    assert len(backend.encode("the film was good and the play was bad").ids) == 11
    assert len(backend.encode("the film").ids) == 4


class TestMaxLength:
    def test_roberta_counts_its_offset(self, words: Words) -> None:
        assert max_length(RobertaConfig(max_position_embeddings=514), words, None) == 512
        assert max_length(RobertaConfig(max_position_embeddings=130), words, None) == 128

    def test_a_roberta_reads_so_many_and_no_more(self, tiny_classifier: Any, words: Words) -> None:
        model = tiny_classifier("roberta")
        limit = max_length(model.config, words, None)
        assert model(torch.full((1, limit), 5)).logits.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            model(torch.full((1, limit + 1), 5))

    def test_defaults_and_limits(self, words: Words) -> None:
        bert = BertConfig(max_position_embeddings=300)
        assert max_length(bert, words, None) == 300
        assert max_length(bert, words, 64) == 64
        assert max_length(XLNetConfig(), words, None) == 512
        assert max_length(XLNetConfig(), words, 2000) == 2000
        assert max_length(BiLSTMConfig(), words, 900) == 900
        with pytest.raises(ConfigError, match=r"max_length is 301, but this model \(bert\) reads at most 300"):
            max_length(bert, words, 301)

    def test_the_tokenizers_limit_is_advice(self, words: Words) -> None:
        short = PreTrainedTokenizerFast(tokenizer_object=words.backend_tokenizer, model_max_length=128)
        assert max_length(BertConfig(), short, None) == 128
        assert max_length(BertConfig(), short, 256) == 256


class TestSaving:
    def test_replaces_a_model_whole(self, task: Task, words: Words, tmp_path: Path) -> None:
        save_model(tmp_path / "m", student("static", task, words), words, task=task, max_length=20)
        (tmp_path / "m" / "stale").touch()
        model = student("bilstm", task, words)
        save_model(tmp_path / "m", model, words, task=task, max_length=21)
        assert torch.equal(load_trained(str(tmp_path / "m"))[0](IDS).logits, model(IDS).logits)
        assert not (tmp_path / "m" / "stale").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["m"]

    def test_a_failure_leaves_the_old_one(
        self, task: Task, words: Words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = student("static", task, words)
        save_model(tmp_path / "m", model, words, task=task, max_length=20)

        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(StaticBag, "save_pretrained", full)
        with pytest.raises(OutputError, match="No space left on device"):
            save_model(tmp_path / "m", model, words, task=task, max_length=99)
        assert load_trained(str(tmp_path / "m"))[3] == 20
        assert [path.name for path in tmp_path.iterdir()] == ["m"]

    def test_a_folder_below_a_file(self, task: Task, words: Words, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="cannot be written"):
            save_model(tmp_path / "file" / "m", student("static", task, words), words, task=task, max_length=20)


def test_fingerprint_tells_weights_apart(tiny_classifier: Any, tmp_path: Path) -> None:
    model = tiny_classifier("bert")
    first = weights_fingerprint(model)
    model.save_pretrained(tmp_path / "m")
    assert weights_fingerprint(AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")) == first
    assert weights_fingerprint(tiny_classifier("bert").half()) != first
    with torch.no_grad():
        model.classifier.bias[0] += 1e-6
    assert weights_fingerprint(model) != first


def test_loading_says_nothing(
    tiny_classifier: Any, task: Task, words: Words, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
    capfd.readouterr()
    load_classifier(name, task)
    load_tokenizer(name)
    assert capfd.readouterr() == ("", "")


def test_loaded_weights_do_not_hang_on_the_file(tiny_classifier: Any, task: Task, words: Words, tmp_path: Path) -> None:
    name = pretrained(tmp_path / "b", tiny_classifier("bert"), words)
    model = load_classifier(name, task)
    before = weights_fingerprint(model)
    weights = Path(name, "model.safetensors")
    with open(weights, "r+b") as file:
        file.seek(-4000, 2)
        file.write(b"\x01" * 4000)
    assert weights_fingerprint(model) == before
