"""``understudy run``: the commands of one YAML file, one after the other."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.commands import recipe_class
from understudy.errors import ConfigError, Interrupted, UnderstudyError
from understudy.folders.contents import clashes
from understudy.runs.threads.choice import as_begun
from understudy.settings.configuration import build, check
from understudy.settings.documents import read_documents
from understudy.settings.run import RunSettings
from understudy.settings.train.pipeline import PipelineSettings
from understudy.terminal.lines import show


class Pipeline(PipelineSettings):
    """Run the commands of a YAML file one after the other."""

    def run(self) -> None:
        """Read all steps, then run them; the first that fails ends it.

        Raises:
            UnderstudyError: for every fault of the file, before the first step starts; then for a fault of a step.
            Interrupted: on SIGTERM or Ctrl-C.
        """
        check(self)
        try:
            run_steps(read_steps(self.file), resume=self.resume, overwrite=self.overwrite)
        except Interrupted as error:
            error.remedy = f"Go on with: understudy run {shlex.quote(self.file)} --resume"
            raise


def read_steps(path: str) -> list[Any]:
    """The recipes of a file, with every unknown key and wrong value of all of them reported together.

    Args:
        path: a YAML file of several documents, each with its ``command`` and the ``output`` that a later one may name.

    Raises:
        ConfigError: with one sentence a fault.
    """
    recipes, faults, outputs = [], [], dict[Path, int]()
    for number, content in enumerate(read_documents(path), start=1):
        origin = f"{path}, step {number}"
        command = content.pop("command", None)
        if not isinstance(command, str):
            faults.append(f"{origin}: does not name its command, as in 'command: finetune'.")
            continue
        try:
            recipe = build(recipe_class(command), content, origin=origin)
        except UnderstudyError as error:
            faults += [fault if origin in fault else f"{origin}: {fault}" for fault in error.faults]
            continue
        if not isinstance(recipe, RunSettings):
            faults.append(f"{origin}: '{command}' leaves no run behind. Run it by itself.")
        elif recipe.output is None:
            faults.append(f"{origin}: has no output. Name a run folder, so that it can be resumed and built upon.")
        else:
            place = Path(recipe.output).expanduser().resolve()
            faults += [f"{origin}: {fault}" for fault in _overlaps(recipe.output, place, outputs)]
            outputs[place] = number
        recipes.append(recipe)
    if faults:
        raise ConfigError(*faults)
    return recipes


def _overlaps(name: str, place: Path, outputs: Mapping[Path, int]) -> list[str]:
    """Why an output cannot be written beside those of other steps: a run folder holds one run and nothing else."""
    return [
        f"has the output of step {number}, {name}. Name another."
        if other == place
        else f"its output {name} lies in that of step {number}. Name another."
        if other in place.parents
        else f"its output {name} holds that of step {number}. Name another."
        for other, number in outputs.items()
        if other == place or other in place.parents or place in other.parents
    ]


def run_steps(recipes: list[Any], *, resume: bool = False, overwrite: bool = False) -> None:
    """Run them in order; the first that fails ends the pipeline.

    Args:
        recipes: of :func:`read_steps`.
        resume: skip the finished ones, and go on with the one that was stopped.
        overwrite: replace what earlier runs left in any of their outputs.

    Raises:
        UnderstudyError: for a fault of a step; of all the outputs that are taken before anything is done.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    faults: list[str] = []
    for recipe in recipes:
        recipe.resume, recipe.overwrite = resume, overwrite
        faults += recipe.run_faults()
    if overwrite:
        faults += _loops(recipes)
    if faults:
        raise ConfigError(*dict.fromkeys(faults))
    # steps that have not begun are to be as if nothing had stopped the first, whatever threads it asks for by itself
    with as_begun(next((recipe for recipe in recipes if recipe.threads is None), recipes[0])):
        for number, recipe in enumerate(recipes, start=1):
            show(f"\nstep {number} of {len(recipes)}: {recipe.command}, {recipe.output}")
            recipe.run()


def _loops(recipes: list[Any]) -> list[str]:
    """Outputs that an earlier step reads: a later one would replace them."""
    faults: list[str] = []
    for number, recipe in enumerate(recipes):
        for earlier in recipes[:number]:
            faults += clashes(Path(recipe.output).expanduser(), [*earlier.data_read(), *earlier.models_read()])
    return faults
