"""The settings that training commands share, and how any recipe is checked: every fault at once, before any work."""

from __future__ import annotations

import dataclasses
import os
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from annotated_types import Ge, Gt

from understudy.errors import ConfigError, UnderstudyError, nearest
from understudy.record import output_faults

Recipe = TypeVar("Recipe")


@dataclass(kw_only=True)
class DataSettings:
    """Where the rows come from."""

    data: str | None = None
    """Labelled rows: a file, a folder of splits, or a hub data set."""
    train: str | None = None
    """A training file (instead of, or over, what --data has)."""
    validation: str | None = None
    """A validation file. Without one, a tenth of the training rows is cut off by the seed."""
    test: str | None = None
    """A test file: read once, at the end."""
    text: list[str] = field(default_factory=list)
    """Text columns: one name, two for a pair, `title+description` to join; found by themselves if named as usual."""
    label: str | None = None
    """The label column; found by itself if named as usual."""
    kind: Literal["single_label", "multi_label", "regression"] | None = None
    """What the labels are; by default seen from the column."""
    limit_train: Annotated[int, Gt(0)] | None = None
    """Use only so many training rows, drawn by the seed, balanced over the classes."""

    def data_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        if self.data is None and self.train is None:
            return ["no data: name a file, a folder or a hub data set with --data (or a file with --train)."]
        return []

    def load(
        self, *, seed: int, unlabeled: str | None = None, pool_rest: bool = False, allow_unlabelled: bool = False
    ) -> Any:
        """Read and check everything; see :func:`understudy.data.sources.load_splits`."""
        from understudy.data.sources import load_splits

        return load_splits(
            self.data,
            train=self.train,
            validation=self.validation,
            test=self.test,
            unlabeled=unlabeled,
            text=self.text,
            label=self.label,
            kind=self.kind,
            limit_train=self.limit_train,
            seed=seed,
            pool_rest=pool_rest,
            allow_unlabelled=allow_unlabelled,
        )


@dataclass(kw_only=True)
class RunSettings:
    """Where a run goes and how it ends."""

    command: ClassVar[str]
    """What the command line calls the recipe."""
    output: str | None = None
    """The run folder (default: runs/<command>-<time>)."""
    overwrite: bool = False
    """Replace what an earlier run left in --output."""
    resume: bool = False
    """Go on with the unfinished run in --output."""
    dry_run: bool = False
    """Say what would be done (rows, tokens, steps, time, memory) and stop."""
    time_budget: str | None = None
    """End cleanly after this long, with the best so far: 90s, 30m, 2h."""
    seed: Annotated[int, Ge(0)] = 0
    """Fixes data order, initialisation and dropout."""

    def run_faults(self) -> list[str]:
        """What is wrong with these settings by themselves."""
        faults = []
        if self.overwrite and self.resume:
            faults.append("--overwrite and --resume contradict each other: give one of them.")
        if self.time_budget is not None and seconds(self.time_budget) is None:
            faults.append(
                f"time_budget must be a number with s, m or h, such as 90s, 30m or 1.5h, but is {self.time_budget!r}."
            )
        if os.environ.get("RANK", "0") == "0":  # of several processes, the others may find what this one has just begun
            faults += output_faults(
                self.command, as_dict(self), output=self.output, overwrite=self.overwrite, resume=self.resume
            )
        return faults


@dataclass(kw_only=True)
class TrainSettings:
    """How the loop trains."""

    epochs: Annotated[int, Gt(0)] = 3
    """Passes over the training rows."""
    batch_size: Annotated[int, Gt(0)] = 32
    """Rows of an optimizer step, over all processes."""
    max_tokens: Annotated[int, Gt(0)] | None = None
    """Padded tokens computed at once; a larger batch is cut, with the same gradient (default: by the device)."""
    learning_rate: Annotated[float, Gt(0)] | None = None
    """Peak rate (default: by the kind of model)."""
    weight_decay: Annotated[float, Ge(0)] = 0.01
    """Decoupled decay of matrices; biases and norms have none."""
    schedule: Literal["linear", "cosine", "constant", "slanted_triangular", "one_cycle"] = "linear"
    """How the rate goes; linear and cosine warm up first."""
    warmup: Annotated[float, Ge(0)] = 0.1
    """The share of the steps that linear and cosine warm up."""
    clip: Annotated[float, Ge(0)] = 1.0
    """The largest 2-norm of the gradient; 0 for no limit."""
    max_length: Annotated[int, Gt(2)] | None = None
    """Tokens of a text, the rest is cut (default: 256, or less if the model takes less)."""
    eval_steps: Annotated[int, Gt(0)] | None = None
    """Also evaluate every so many steps, not only after each epoch."""
    metric: str | None = None
    """The validation metric that chooses the best weights (default: the task's first)."""
    patience: Annotated[int, Gt(0)] | None = None
    """Stop after so many evaluations without improvement."""
    save_steps: Annotated[int, Gt(0)] | None = None
    """Write a checkpoint every so many steps (default: as often as costs 3 % of the time)."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 on CUDA, fp32 elsewhere."""
    track: Literal["tensorboard", "wandb"] | None = None
    """Also report to a tracker."""

    def train_faults(self) -> list[str]:
        """What these settings ask of the machine and it does not have."""
        from understudy.training.trackers import check_tracker

        faults = []
        if self.precision == "fp16":
            import torch

            if not torch.cuda.is_available():
                faults.append(
                    "precision fp16 needs a CUDA device, and there is none here. Give --precision fp32 or bf16."
                )
        try:
            check_tracker(self.track)
        except UnderstudyError as error:
            faults += error.faults
        return faults


def model_faults(name: str) -> list[str]:
    """What is wrong with the name of a model, before anything is loaded."""
    from understudy.models.names import resolve

    try:
        resolve(name)
    except UnderstudyError as error:
        return list(error.faults)
    return []


def seconds(duration: str) -> float | None:
    """The seconds of ``90s``, ``30m``, ``1.5h``, or None if it is no duration.

    Example:
        >>> seconds("1.5h"), seconds("90s"), seconds("soon")
        (5400.0, 90.0, None)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", duration.strip())
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else None


def as_dict(recipe: Any) -> dict[str, Any]:
    """The recipe's fields as plain containers: what ``config.yaml`` holds."""
    return dataclasses.asdict(recipe)


def read_config(path: str, command: str) -> dict[str, Any]:
    """A YAML file of settings. Its ``command`` key, if any, must name this command.

    Raises:
        ConfigError: if it is missing, no YAML, no mapping, or another command's.
    """
    file = Path(path).expanduser()
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Name a YAML file with --config.") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold 'name: value' lines.")
    named = content.pop("command", command)
    if named != command:
        raise ConfigError(
            f"{path}: is a configuration of '{named}', not of '{command}'. Run: understudy {named} --config {path}"
        )
    return content


def build(recipe: type[Recipe], values: Mapping[str, Any], *, origin: str = "the configuration") -> Recipe:
    """A recipe from plain values, with every unknown key and wrong value reported together.

    Raises:
        ConfigError: with one sentence a fault.
    """
    from pydantic import TypeAdapter, ValidationError

    faults = _unknown_keys(recipe, values, origin)
    try:
        made = TypeAdapter(recipe).validate_python(_with_lists(recipe, values))
    except ValidationError as error:
        faults += [_sentence(fault) for fault in error.errors()]
    if faults:
        raise ConfigError(*faults)
    return made


def check(recipe: Any) -> None:
    """Report every fault of a recipe together: values first, then what its own ``faults()`` finds.

    Raises:
        ConfigError: with one sentence a fault.
    """
    faults: list[str] = []
    try:
        build(type(recipe), as_dict(recipe))
    except ConfigError as error:
        faults += error.faults
    try:
        faults += recipe.faults()
    except UnderstudyError as error:
        faults += error.faults
    except (TypeError, ValueError, AttributeError):
        if not faults:  # a value of a wrong type has its own sentence already
            raise
    if faults:
        raise ConfigError(*dict.fromkeys(faults))


def _unknown_keys(recipe: type, values: Mapping[str, Any], origin: str, prefix: str = "") -> list[str]:
    known = {f.name: f for f in dataclasses.fields(recipe)}
    hints = typing.get_type_hints(recipe)
    faults = []
    for key, value in values.items():
        if key not in known:
            faults.append(f"unknown key '{prefix}{key}' in {origin}.{nearest(str(key), known)}")
        elif dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            faults += _unknown_keys(typing.cast(type, hints[key]), value, origin, f"{prefix}{key}.")
    return faults


def _with_lists(recipe: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """A bare string where a list of strings belongs is a list of one; unknown keys are left out."""
    hints = typing.get_type_hints(recipe)
    known = {key: value for key, value in values.items() if key in hints}
    return {
        key: [value] if hints[key] == list[str] and isinstance(value, str) else value for key, value in known.items()
    }


def _sentence(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"] if not isinstance(part, int)) or "the configuration"
    rule = fault["msg"].removeprefix("Input should be ").replace("a valid ", "a ")
    tail = nearest(fault["input"], re.findall(r"'([^']*)'", rule)) if isinstance(fault["input"], str) else ""
    return f"{name} must be {rule}, but is {fault['input']!r}.{tail}"
