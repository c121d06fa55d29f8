"""Adapters onto disk and back: facts, weights and head, without the base."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.adapters.design import AdapterDesign
from understudy.adapters.facts import AdapterFacts
from understudy.adapters.fingerprints import encoder_fingerprint, pooler_fingerprint
from understudy.adapters.heads import headed
from understudy.adapters.inject import adapter_tensors, add_adapter, add_fusion, designs, load_tensors, route_of
from understudy.adapters.peft.methods import METHODS, add_peft
from understudy.adapters.peft.shared import add_shared
from understudy.atomic import OUTPUT, new_folder
from understudy.checksums import list_checksums
from understudy.errors import ModelError, OutputError, UnderstudyError
from understudy.models.files.classifiers import load_encoder
from understudy.models.files.names import ADAPTER, adapter_folder, check_undamaged, resolve
from understudy.models.files.pretrained import noting
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.files.trained import TrainedModel, load_trained
from understudy.models.shrink.cut import cut_layers
from understudy.models.structure.layers import head_tensors

WEIGHTS, HEAD, WEIGHTS_BELOW = "adapter.safetensors", "head.safetensors", "below.safetensors"
NAME, BELOW = "task", "below"
"""What an adapter is called in a model that has no other, and the one that it is stacked on."""


def save_adapter(
    folder: Path,
    model: Any,
    facts: AdapterFacts,
    *,
    name: str = NAME,
    half: bool = False,
    check: Callable[[Path], None] = lambda written: None,
) -> None:
    """Write an adapter's folder: ``adapter_config.json``, ``adapter.safetensors``, ``head.safetensors``, checksums.

    It appears whole or not at all.

    Args:
        model: a model with a head and this adapter.
        name: what the adapter is called in it.
        half: whether weights are stored in two bytes instead of four.
        check: called with the complete folder before it gets its name; what it raises leaves the old folder there.

    Raises:
        OutputError: if the folder cannot be written.
    """
    dtype = torch.float16 if half else torch.float32
    if facts.head == "architecture":
        facts = replace(facts, pooler=pooler_fingerprint(model))

    def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: value.detach().to("cpu", dtype).contiguous() for key, value in tensors.items()}

    try:
        with new_folder(folder, remedy=OUTPUT, replace=True) as temporary:
            (temporary / ADAPTER).write_text(facts.as_json(), encoding="utf-8")
            save_file(stored(adapter_tensors(model, name)), temporary / WEIGHTS)
            if facts.below is not None:  # as it was read: it has not learnt
                own = adapter_tensors(model, BELOW).items()
                save_file({key: value.detach().cpu().contiguous() for key, value in own}, temporary / WEIGHTS_BELOW)
            if facts.head is not None:
                save_file(stored(head_tensors(model)), temporary / HEAD)
            list_checksums(temporary, without=ADAPTER)
            check(temporary)
    except SafetensorError as error:  # what safetensors raises when the disk is full
        raise OutputError(f"{folder}: the adapter cannot be written: {error}. Make room there, or {OUTPUT}.") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The weights in a file, in float32.

    Raises:
        ModelError: if it is missing or damaged.
    """
    check_undamaged(path.parent, weights=True)
    try:
        return {key: value.float() for key, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read: {error}. Copy the adapter again.") from None


def stored_count(*paths: Path) -> int:
    """How many numbers the weights in files are; only what precedes them is read.

    Raises:
        ModelError: if a file is damaged.
    """
    total = 0
    for path in paths:
        try:
            with safe_open(path, "pt") as file:
                names = file.keys()
                total += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: cannot be read: {error}. Copy its folder again.") from None
    return total


def place(model: Any, folder: Path, facts: AdapterFacts, *, name: str = NAME) -> None:
    """Put an adapter of a folder into a model, and let all rows pass through it, and through the one below it first.

    Raises:
        ModelError: if it does not fit.
    """
    tensors, origin = read_tensors(folder / WEIGHTS), str(folder)
    if facts.below is not None:
        below = read_tensors(folder / WEIGHTS_BELOW)
        place_below(model, AdapterDesign.from_dict(facts.below), below, origin=origin)
    put(model, name, facts, tensors, origin=origin)
    if facts.below is not None:
        stack(model, name)


def put(
    model: Any, name: str, facts: AdapterFacts, tensors: Mapping[str, Tensor], *, origin: str, shares: bool = False
) -> None:
    """Put an adapter with its weights into a model, and let all rows pass through it.

    Args:
        tensors: by the names of :func:`understudy.adapters.inject.adapter_tensors`.
        origin: where it is from, for messages.
        shares: whether it shares the model with others, so that PEFT, whose adapters change all rows, must not compute it.

    Raises:
        ModelError: if it does not fit.
    """
    if facts.method == "bottleneck":
        add_adapter(model, name, AdapterDesign.from_dict(facts.design))
    elif facts.method == "fusion":
        add_fusion(model, name, {key: AdapterDesign.from_dict(told) for key, told in facts.design.items()})
    elif shares:
        add_shared(model, name, facts.method, facts.design, tensors, origin=origin)
    else:
        add_peft(model, name, facts.method, facts.design, origin=origin)
    load_tensors(model, name, tensors, origin=origin)


def place_below(model: Any, design: AdapterDesign, tensors: Mapping[str, Tensor], *, origin: str) -> None:
    """Put an adapter into a model on which another one is to be stacked.

    Raises:
        ModelError: if it does not fit.
    """
    add_adapter(model, BELOW, design)
    load_tensors(model, BELOW, tensors, origin=origin)


def stack(model: Any, name: str = NAME) -> None:
    """Let all rows pass through the adapter below, then through this one. (What PEFT put there always computes.)"""
    of_peft = designs(model)[name].get("method") in METHODS
    route_of(model).through(BELOW, *([] if of_peft else [name]))


def place_head(model: Any, folder: Path) -> None:
    """Give a model the head of an adapter's folder.

    Raises:
        ModelError: if it does not fit.
    """
    tensors = read_tensors(folder / HEAD)
    fill_head(model, tensors, what=f"{folder / HEAD}:", to="this base", remedy="Name the base that it was trained on.")


def fill_head(model: Any, tensors: Mapping[str, torch.Tensor], *, what: str, to: str, remedy: str) -> None:
    """Give a model's head these weights.

    Args:
        what: has these weights, for the message.
        to: what they must fit.
        remedy: what helps if they do not.

    Raises:
        ModelError: if they do not fit.
    """
    own = head_tensors(model)
    odd = sorted(key for key in own.keys() | tensors.keys() if key not in own or key not in tensors)
    odd += [key for key in own if key in tensors and own[key].shape != tensors[key].shape]
    if odd:
        raise ModelError(f"{what} does not fit {to}: see '{odd[0]}'. {remedy}")
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(tensors[key])


def load_adapted(name: str, *, base: str | None = None, force: bool = False) -> TrainedModel:
    """An adapter's folder as a model: its base, with the adapter in it and its head on top.

    Args:
        base: instead of the base that it names.
        force: whether a base with other weights is accepted.

    Raises:
        ModelError: if adapter or base cannot be loaded, or do not belong together.
    """
    folder = adapter_folder(name)
    assert folder is not None
    facts = AdapterFacts.read(folder)
    if facts.task is None or facts.head is None:
        raise ModelError(
            f"{name}: is an adapter without a head, so it answers nothing by itself. Train one on it: understudy finetune --model {shlex.quote(facts.base.name)} --load_adapter {shlex.quote(name)} --data ROWS."
        )
    base = facts.base.name if base is None else base
    with _explained_base(name, folder), noting([]):  # that the base's own head is not read goes without saying
        model = headed(resolve(base), facts.task, facts.head, facts.head_options)
    bound = _bound(facts, model, origin=name, force=force)
    place_head(model, folder)
    if facts.base.kept is not None:
        model = cut_layers(model, facts.base.kept)
    place(model, folder, facts)
    tokenizer = load_tokenizer(base)
    check_tokenizer(model, tokenizer, name=base)
    return TrainedModel(
        kind="adapter",
        model=model.eval(),
        tokenizer=tokenizer,
        task=facts.task,
        max_length=facts.max_length,
        temperature=facts.temperature,
        adapter=bound,
    )


def _bound(facts: AdapterFacts, model: Any, *, origin: str, force: bool) -> AdapterFacts:
    """The facts, checked against a model of a base; with `force` they belong to this one from now on."""
    facts.check(model, origin=origin, force=force)
    return replace(facts, base=replace(facts.base, fingerprint=encoder_fingerprint(model))) if force else facts


class AdaptedEncoder(NamedTuple):
    """A base without a head, with an adapter in it."""

    model: Any
    facts: AdapterFacts


def load_adapted_encoder(name: str, *, force: bool = False) -> AdaptedEncoder:
    """The folder of an adapter without a head as its base with the adapter in it, such as one for a language.

    Args:
        force: whether a base with other weights is accepted.

    Raises:
        ModelError: if adapter or base cannot be loaded, or do not belong together.
    """
    folder = adapter_folder(name)
    assert folder is not None
    facts = AdapterFacts.read(folder)
    with _explained_base(name, folder), noting([]):
        model = load_encoder(facts.base.name)
    bound = _bound(facts, model, origin=name, force=force)
    place(model, folder, facts)
    return AdaptedEncoder(model.eval(), bound)


@contextmanager
def _explained_base(name: str, folder: Path) -> Iterator[None]:
    """Inside, a base that cannot be loaded is said to be that of an adapter."""
    try:
        yield
    except UnderstudyError as error:
        raise ModelError(
            f"{name}: is an adapter, and its base cannot be loaded: {' '.join(error.faults)} If the base is elsewhere, write where under 'base' in {folder / ADAPTER}."
        ) from error


def load_trained_network(name: str) -> TrainedModel:
    """A trained classifier: a whole model, or an adapter with its base.

    Raises:
        ModelError: if it cannot be loaded.
    """
    return load_trained(name) if adapter_folder(name) is None else load_adapted(name)


def mean_of(several: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """The mean of several sets of weights of the same names.

    Example:
        >>> mean_of([{"a": torch.tensor([1.0])}, {"a": torch.tensor([3.0])}])
        {'a': tensor([2.])}
    """
    return {key: torch.stack([one[key].detach().float() for one in several]).mean(0) for key in several[0]}
