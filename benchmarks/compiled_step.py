"""Does ``--compile`` make a step of masked-LM training faster on this machine?

The same model twice, on the same batches of many lengths, in turn: with the loop's own quick dropout and attention, and
with blocks that are compiled. What the compiler takes before the first step is told apart.
"""

from __future__ import annotations

import copy
import statistics
import time
from typing import Any

from distilbert import BATCH, LENGTH, TEACHER
from evidence import Setting, begin, in_turn, target, write

STEPS, ROUNDS = 4, 7


def prepared(setting: Setting) -> Any:
    """Objective and batches."""
    from understudy.recipes.train.pretrain.recipe import Pretrain

    recipe = Pretrain(
        data=setting.data("wikipedia_en"),
        limit_train=BATCH * STEPS * 2,
        model=TEACHER,
        batch_size=BATCH,
        max_length=LENGTH,
    )
    return recipe.prepare(recipe.read())


def seconds(objective: Any, batches: list[Any]) -> float:
    """Forward and backward through all batches, as the loop takes them."""
    from understudy.training.dropout import FastDropout

    start = time.perf_counter()
    for batch in batches:
        with FastDropout():
            loss = sum(term.weight * term.sum for term in objective(batch))
        loss.backward()
        objective.zero_grad(set_to_none=True)
    return time.perf_counter() - start


def main() -> None:
    """Compile, then both in turn."""
    from understudy.models.structure.compiled import compiled_blocks

    setting = begin(__doc__)
    work = prepared(setting)
    batches = [batch for _, window in zip(range(STEPS), work.texts.batches.windows(0)) for batch in window]
    objectives = {"as it is": work.objective.train(), "compiled": copy.deepcopy(work.objective).train()}
    with compiled_blocks(objectives["compiled"].model):
        first = {name: seconds(objective, batches) for name, objective in objectives.items()}
        found = in_turn(
            {name: lambda objective=objective: seconds(objective, batches) for name, objective in objectives.items()},
            rounds=setting.pick(ROUNDS, 1),
        )
    times = {name: statistics.median(rounds) for name, rounds in found.items()}
    write(
        setting,
        "compiled_step",
        question=__doc__ or "",
        config={"model": "minilm-mlm", "batch_size": BATCH, "max_length": LENGTH, "steps": STEPS},
        raw={"seconds": found, "first": first},
        summary={"seconds": times, "seconds_of_compiling": first["compiled"] - times["compiled"]},
        targets=[
            target("times as fast compiled as it is", times["as it is"] / times["compiled"], at_least=1.0),
        ],
    )


if __name__ == "__main__":
    main()
