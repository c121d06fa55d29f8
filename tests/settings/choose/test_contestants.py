"""How the entries of ``compare --models`` are read, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.settings.choose.compare import CompareSettings
from understudy.settings.choose.contestants import ADAPTERS, contestant, contestants_faults


@pytest.mark.parametrize(
    ("entry", "name", "spec", "kind", "adapter", "distilled"),
    [
        ("tfidf", "tfidf", "tfidf", "tfidf", None, False),
        ("bilstm", "bilstm", "bilstm", "student", None, False),
        ("layers:3+distilled", "layers:3+distilled", "layers:3", "student", None, True),
        ("a/bert-mini", "bert-mini", "a/bert-mini", "encoder", None, False),
        ("runs/best/model", "runs", "runs/best/model", "encoder", None, False),
        ("runs/mine/model", "mine", "runs/mine/model", "encoder", None, False),
        ("a/bert-mini+lora", "bert-mini+lora", "a/bert-mini", "encoder", "lora", False),
        ("small=a/bert-mini+ia3", "small", "a/bert-mini", "encoder", "ia3", False),
        ("a/bert+distilled", "bert+distilled", "a/bert", "encoder", None, True),
    ],
)
def test_an_entry_is_a_model_and_how_it_learns(
    entry: str, name: str, spec: str, kind: str, adapter: str | None, distilled: bool
) -> None:
    one = contestant(entry)
    assert (one.name, one.spec, one.kind, one.adapter, one.distilled) == (name, spec, kind, adapter, distilled)
    assert "/" not in one.folder
    assert ":" not in one.folder


def test_a_folder_whose_name_has_an_equals_sign_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lr=3").mkdir()
    monkeypatch.chdir(tmp_path)
    assert contestant("lr=3").name == "lr=3"


def test_the_kinds_of_adapters_are_those_of_finetune() -> None:
    assert ADAPTERS == ("houlsby", "pfeiffer", "parallel", "invertible", "lora", "ia3")


def faults(*models: str, **given: object) -> str:
    """All that is said of these settings."""
    return "\n".join(CompareSettings(data="a.csv", models=list(models), **given).faults())  # type: ignore[arg-type]


def test_a_good_list_has_no_faults(tiny_bert: Path) -> None:
    models = (str(tiny_bert), f"{tiny_bert}+lora", "bilstm", "layers:2", "layers:2+distilled", "static", "tfidf")
    assert faults(*models, seeds=[0, 1], limit_train=[50, 100]) == ""


@pytest.mark.parametrize(
    ("models", "given", "said"),
    [
        ((), {}, "no models: name what is to be compared"),
        (("tfidf", "static", "tfidf"), {}, "--models names twice 'tfidf'"),
        (("a/mini", "b/mini", "tfidf"), {}, "'a/mini' and 'b/mini', and both would be called 'mini'"),
        (("layers:3", "layers-3=layers:2"), {"encoder": "a/b"}, "Leave one out, or give it a name of its own"),
        (("tfidf", "bilstmm", "static"), {}, "Did you mean 'bilstm'?"),
        (("tfidf", "a/b+lorra"), {}, "a/b+lorra: after the + stands distilled or a kind of adapter"),
        (("tfidf", "bilstm+distilled"), {}, "bilstm+distilled: nobody teaches it"),
        (("tfidf", "layers:3"), {}, "layers:3: there is no encoder that it could be cut from"),
        (("tfidf", "layers"), {"encoder": "a/b"}, "needs a number, as in layers:3"),
        (("static:3", "tfidf"), {}, "static takes no number"),
        (("tfidf+distilled", "static"), {"teacher": "a/b"}, "TF-IDF learns from the labels alone"),
        (("a/b+lora+distilled", "static"), {"teacher": "a/c"}, "an adapter learns from the labels alone"),
        (("bilstm+lora", "static"), {}, "bilstm is none"),
        (("a/b+lora+houlsby", "static"), {}, "lora+houlsby is more than one model has"),
        (("tfidf=a/b", "static"), {}, "tfidf is what TF-IDF with a linear model is called"),
        (("static", "tfidf"), {"teacher": "a/b"}, "--teacher teaches the models named +distilled"),
        (("a/b", "tfidf"), {"encoder": "a/c"}, "--encoder is what students are made of"),
        (("static", "tfidf"), {"unlabeled": "pool.txt"}, "--unlabeled is labelled for the models named +distilled"),
        (("static", "tfidf"), {"limit_train": [9, 9]}, "--limit_train names 9 more than once"),
        (("static", "tfidf"), {"seeds": [1, 1]}, "--seeds names 1 more than once"),
        (("static", "tfidf"), {"freeze": ["embeddings"]}, "--freeze: this suits one kind of model"),
        (("static", "tfidf"), {"min_delta": 0.1}, "Give --patience too"),
    ],
)
def test_what_is_wrong_is_said(models: tuple[str, ...], given: dict[str, object], said: str) -> None:
    assert said in faults(*models, **given)


def test_all_faults_are_said_together() -> None:
    said = faults("tfidf", "tfidf", "static:2", "bilstm+distilled", seeds=[1, 1])
    assert len(said.splitlines()) == 4


@pytest.mark.parametrize("key", ["num_hidden_layers", "n_layers"])
def test_more_layers_than_there_are_is_said_before_anything_is_trained(key: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f'{{"{key}": 3}}', encoding="utf-8")
    said = f"{tmp_path} has 3 layers, so it can have 1 to 3 of them"
    folder = str(tmp_path)
    assert f"layers:4: {said}" in "".join(contestants_faults(["tfidf", "layers:4"], teacher=None, encoder=folder))
    taught = contestants_faults(["layers:4+distilled", "layers:3+distilled"], teacher=folder, encoder=None)
    assert taught == [f"layers:4+distilled: {said}. Name fewer."]
    assert contestants_faults(["layers:3"], teacher=None, encoder=folder) == []
    assert contestants_faults(["layers:9"], teacher=None, encoder="a/b") == []  # only the hub knows


def test_a_model_in_this_folder_is_called_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mini" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mini" / "inner")
    assert contestant("..").name == "mini"
    assert contestant(".").name == "inner"
    assert contestant("./").folder == "inner"
