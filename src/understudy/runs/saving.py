"""Models saved, then read back and compared: what is scored is what was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from understudy.adapters.facts import AdapterFacts
from understudy.adapters.files import NAME, WEIGHTS, read_tensors, save_adapter
from understudy.adapters.inject import adapter_tensors
from understudy.data.tokens.encoder import Text, TextEncoder
from understudy.errors import ModelError, UnderstudyError
from understudy.inference.adapted import AdaptedPredictor
from understudy.inference.multitask import TaskPredictors
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.loading import load
from understudy.models.files.classifiers import load_encoder
from understudy.models.files.multitask import TrainedTasks, load_tasks, save_tasks
from understudy.models.files.pretrained import first_names
from understudy.models.files.save import save_model
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.language import load_next_token_model
from understudy.models.masked import load_masked_model
from understudy.models.structure.layers import base_model, evaluating

_ROWS, _TOKENS = 32, 256
"""How many texts are compared, and of a language model's at most how many tokens of each."""
_TOLERANCE = 1e-4
"""Tolerance of the answers, relative to the largest: the same sums may be rounded differently."""


def save_classifier(folder: Path, model: Predictor | LinearPredictor, texts: Sequence[Text]) -> None:
    """Write a trained classifier, read it back, and compare temperature and answers of both for some of the texts.

    The folder appears only if they are the same.

    Raises:
        ModelError: if they differ; it says whether the tokens do or the weights.
        OutputError: if it cannot be written.
    """
    some = _some(texts)
    if isinstance(model, LinearPredictor):

        def check_linear(written: Path) -> None:
            found: Any = _read(folder, written, load)
            _same_temperature(folder, model, found)
            _same_answers(folder, model, found, some)

        replace(model.tfidf, temperature=model.temperature).save(folder, check=check_linear)
        return

    def check(written: Path) -> None:
        found: Any = _read(folder, written, load)
        _same_temperature(folder, model, found)
        _same_tokens(folder, model.encoder, found.encoder, some)
        found.to(next(model.model.parameters()).device)
        _same_answers(folder, model, found, some, weights=(model.model, found.model))

    if isinstance(model, AdaptedPredictor):
        facts = replace(model.facts, temperature=model.temperature)
        save_adapter(folder, model.model, facts, half=model.half, check=check)
        return
    save_model(
        folder,
        model.model,
        model.tokenizer,
        task=model.task,
        max_length=model.max_length,
        temperature=model.temperature,
        check=check,
    )


def save_adapter_alone(folder: Path, model: Any, facts: AdapterFacts, *, half: bool) -> None:
    """Write an adapter that has no head, read it back, and compare its weights.

    Raises:
        ModelError: if they differ.
        OutputError: if it cannot be written.
    """

    def check(written: Path) -> None:
        found: dict[str, Any] = _read(folder, written, lambda path: read_tensors(path / WEIGHTS))
        own = adapter_tensors(model, NAME)
        if AdapterFacts.read(written) != facts or found.keys() != own.keys():
            raise _differs(folder, "its description differs")
        if odd := [key for key, value in own.items() if not torch.equal(found[key], value.detach().cpu())]:
            raise _differs(folder, f"its weights differ: {first_names(odd)}. Check the disk")

    save_adapter(folder, model, facts, half=half, check=check)


def save_multitask(folder: Path, trained: TrainedTasks, texts: Mapping[str, Sequence[Text]]) -> None:
    """The same for a model for several tasks: temperature and answers of each are compared.

    Args:
        texts: of each task.

    Raises:
        ModelError: as :func:`save_classifier`.
        OutputError: as :func:`save_classifier`.
    """
    own = TaskPredictors(trained)

    def check(written: Path) -> None:
        found = _read(folder, written, load_tasks)
        others = TaskPredictors(found)
        for name in own:
            some = _some(texts[name])
            _same_temperature(folder, own[name], others[name])
            others[name].to(next(own[name].model.parameters()).device)
            _same_tokens(folder, own[name].encoder, others[name].encoder, some)
            _same_answers(folder, own[name], others[name], some, weights=(trained.model, found.model))

    save_tasks(folder, trained, check=check)


def save_language_model(
    folder: Path, model: Any, tokenizer: PreTrainedTokenizerBase, *, max_length: int, texts: Sequence[Text]
) -> None:
    """The same for a language model, or for the encoder of one: their scores or states for some of the texts.

    Raises:
        ModelError: as :func:`save_classifier`.
        OutputError: as :func:`save_classifier`.
    """
    some = _some(texts)

    def check(written: Path) -> None:
        found, its_tokenizer = _read(folder, written, lambda path: _language_model(str(path), model))
        own, other = (TextEncoder(one, max_length=min(max_length, _TOKENS)) for one in (tokenizer, its_tokenizer))
        _same_tokens(folder, own, other, some)
        rows = [ids for ids in (own.one(text)[0] for text in some) if ids]
        device = next(model.parameters()).device
        one, two = (_states(part, rows, device) for part in (model, found.to(device)))
        _compare(folder, one, two, weights=(model, found))

    save_model(folder, model, tokenizer, task=None, max_length=max_length, check=check)


def _language_model(name: str, like: Any) -> tuple[Any, PreTrainedTokenizerBase]:
    """A saved language model as the commands that use one read it."""
    if base_model(like) is like:
        return load_encoder(name), load_tokenizer(name)
    if type(like).__name__.endswith("ForMaskedLM"):
        found = load_masked_model(name)
        return found.model, found.tokenizer
    return load_next_token_model(name)


def _read(folder: Path, written: Path, loader: Callable[[Path], Any]) -> Any:
    try:
        return loader(written)
    except UnderstudyError as error:
        raise _differs(folder, " ".join(error.faults).replace(str(written), "it").rstrip(".")) from error


def _some(texts: Sequence[Text]) -> list[Text]:
    """A few dozen texts at even distances."""
    return [texts[i] for i in dict.fromkeys(np.linspace(0, len(texts) - 1, _ROWS).astype(int).tolist())]


def _states(model: Any, rows: Sequence[list[int]], device: torch.device) -> np.ndarray:
    with torch.inference_mode(), evaluating(model):
        out = [model(input_ids=torch.tensor([ids], device=device))[0].float().cpu().flatten() for ids in rows]
    return torch.cat(out).numpy()


def _same_tokens(folder: Path, own: TextEncoder, found: TextEncoder, texts: Sequence[Text]) -> None:
    for text in texts:
        one, other = own.one(text), found.one(text)
        if one != other:
            raise _differs(
                folder,
                f"its tokens differ: for {str(text)[:60]!r} they were {one[0][:8]} and are {other[0][:8]} when it is read back. Its tokenizer does not survive being saved: give a model with a tokenizer.json",
            )


def _same_temperature(folder: Path, own: Predictor | LinearPredictor, found: Any) -> None:
    if own.temperature != found.temperature:
        raise _differs(folder, f"its temperature was {own.temperature} and is {found.temperature} when it is read back")


def _same_answers(
    folder: Path, model: Any, found: Any, texts: Sequence[Text], weights: tuple[Any, Any] | None = None
) -> None:
    _compare(folder, model.logits(texts), found.logits(texts), weights=weights)


def _compare(folder: Path, own: np.ndarray, found: np.ndarray, *, weights: tuple[Any, Any] | None) -> None:
    """Check that answers are the same, not-a-number included.

    Raises:
        ModelError: if they are not; it names what differs.
    """
    largest = float(np.nan_to_num(np.abs(own)).max(initial=0.0))
    if own.shape == found.shape and np.allclose(own, found, rtol=0, atol=_TOLERANCE * largest, equal_nan=True):
        return
    others = _other_weights(*weights) if weights else []
    what = f"its weights differ: {first_names(others)}" if others or not weights else "its configuration differs"
    raise _differs(folder, f"{what}. Check the disk, and install another version of transformers")


def _other_weights(own: Any, found: Any) -> list[str]:
    ours, theirs = own.state_dict(), found.state_dict()
    return [
        name
        for name in sorted({*ours, *theirs})
        if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name].to(ours[name].device))
    ]


def _differs(folder: Path, what: str) -> ModelError:
    checkpoints = folder.parent / "checkpoints"
    kept = f" What was trained is kept in {checkpoints}." if checkpoints.is_dir() else ""
    return ModelError(
        f"{folder}: is not written, because a model read back from there would not answer as the one that is scored: {what}.{kept}"
    )
