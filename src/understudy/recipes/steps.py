"""``understudy run``: the commands of one YAML file, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import ConfigError, UnderstudyError
from understudy.recipes.configuration import build, read_documents


@dataclass(frozen=True)
class Step:
    """A command with its settings."""

    title: str
    command: str
    recipe: Any


def read_steps(path: str, recipe_of: Callable[[str], type[Any]]) -> list[Step]:
    """The steps of a file, with every unknown key and wrong value of all of them reported together.

    Args:
        path: a YAML file of several documents, each with its ``command`` and the ``output`` that a later one may name.
        recipe_of: from the name of a command to its recipe.

    Raises:
        ConfigError: with one sentence a fault.
    """
    documents = read_documents(path)
    steps, faults, outputs = [], [], dict[str, int]()
    for number, content in enumerate(documents, start=1):
        origin = f"{path}, step {number}"
        command = content.pop("command", None)
        if not isinstance(command, str):
            faults.append(f"{origin}: does not name its command, as in 'command: finetune'.")
            continue
        try:
            recipe = build(recipe_of(command), content, origin=origin)
        except UnderstudyError as error:
            faults += [fault if origin in fault else f"{origin}: {fault}" for fault in error.faults]
            continue
        output = getattr(recipe, "output", None)
        if not hasattr(recipe, "resume"):
            faults.append(f"{origin}: '{command}' leaves no run behind. Run it by itself.")
        elif output is None:
            faults.append(f"{origin}: has no output. Name a run folder, so that it can be gone on with and built upon.")
        elif (place := str(Path(output).absolute())) in outputs:
            faults.append(f"{origin}: has the output of step {outputs[place]}, {output}. Name another.")
        else:
            outputs[place] = number
        steps.append(Step(f"step {number} of {len(documents)}: {command}, {output}", command, recipe))
    if faults:
        raise ConfigError(*faults)
    return steps


def run_steps(steps: list[Step], *, resume: bool = False, overwrite: bool = False) -> None:
    """Run them in order; the first that fails ends it.

    Args:
        steps: of :func:`read_steps`.
        resume: pass by the finished ones, and go on with the one that was stopped.
        overwrite: replace what earlier runs left in any of their outputs.

    Raises:
        UnderstudyError: for a fault of a step; of all the outputs that are taken before anything is done.
        Interrupted: on SIGTERM or Ctrl-C.
    """
    from understudy.recipes.configuration import as_dict
    from understudy.record import output_faults

    taken: list[str] = []
    for step in steps:
        step.recipe.resume, step.recipe.overwrite = resume, overwrite
        taken += output_faults(
            step.command, as_dict(step.recipe), output=step.recipe.output, overwrite=overwrite, resume=resume
        )
    if taken:
        raise ConfigError(*taken)
    for step in steps:
        print(f"\n{step.title}", flush=True)
        step.recipe.run()
