"""Do models answer in a browser as they do in Python, how much does a visitor load, and how long does a text take?

Models are trained for a moment on AG News: the bundled encoder, and students of it. Each becomes a page (``understudy
export --format web``), which headless Chromium opens from a static server of this machine. The page's own worker answers
200 rows of the test split. It needs Chromium, Node.js and, the first time, the network, for the packages of npm. Pages that
are there already are taken as they are.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from evidence import ROOT, Setting, begin, run, target, write, write_rows

sys.path.append(str(ROOT / "tests"))
from chromium import Tab, served, tab

ROWS = {"train": 600, "validation": 100, "test": 200}
"""Rows of each split: training only has to give models whose labels differ from text to text."""
STUDENTS = {"static": 6, "bilstm": 4, "layers:3": 1}
"""Students and their epochs."""
MAX_DROP = 5.0
"""Points that int8 weights may cost: on so few validation rows a single changed answer is one."""
_ANSWERS = """new Promise((resolve, reject) => {
    const worker = new Worker("worker.js", {type: "module"}), answers = [];
    worker.onmessage = ({data}) => {
        if (data.type === "ready") worker.postMessage({type: "texts", job: 1, texts: TEXTS});
        if (data.type === "answer") answers.push([data.label, data.ms]);
        if (data.type === "error") reject(new Error(data.message));
        if (data.type === "done") resolve(answers);
    };
    worker.postMessage({type: "load"});
})"""


def some_rows(setting: Setting) -> str:
    """A folder with some rows of AG News."""
    from understudy.data.readers.sources import load_splits

    folder = setting.runs / "browser" / "data"
    if not (folder / "test.csv").is_file():
        found = load_splits(setting.data("ag_news"), seed=0)
        for name, count in ROWS.items():
            rows = getattr(found, name)
            write_rows(
                folder / f"{name}.csv",
                rows.take(np.arange(min(setting.pick(count, 120), len(rows)))),
                found.task.labels,
            )
    return str(folder)


def trained(setting: Setting) -> dict[str, str]:
    """The runs: the encoder, and its students."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.distill.recipe import Distill
    from understudy.recipes.train.finetune.recipe import Finetune

    folder, data = setting.runs / "browser", some_rows(setting)
    found = {"encoder": str(folder / "encoder")}
    run(Finetune(data=data, model=bundled_encoder(), epochs=1, baseline=False, start="head", output=found["encoder"]))
    for student, epochs in STUDENTS.items():
        found[student] = str(folder / student.replace(":", "-"))
        run(
            Distill(
                data=data,
                teacher=[found["encoder"]],
                student=student,
                epochs=epochs,
                baseline=False,
                output=found[student],
            )
        )
    return found


def page_of(model: str, folder: Path) -> Path:
    """The page of a model."""
    from understudy.recipes.ship.export import Export

    if not (folder / "index.html").is_file():
        Export(model=model, output=str(folder), format="web", max_drop=MAX_DROP).run()
    return folder


def opened(browser: Tab, address: str) -> float:
    """Open a page; the seconds from the first request until the model is ready."""
    browser.events.clear()
    began = time.perf_counter()
    browser.open(f"{address}/index.html")
    browser.until("document.getElementById('state')?.textContent.startsWith('Ready')")
    return time.perf_counter() - began


def measured(model: str, page: Path, texts: list[str], *, visits: int) -> dict[str, Any]:
    """What a page loads, how long that takes, and its answers beside those of Python."""
    import understudy

    original: Any = understudy.load(model)
    exported: Any = understudy.load(page)
    seconds, latencies = [], []
    labels: list[str] = []
    for _ in range(visits):
        with served(page) as address, tab() as browser:  # an empty profile: nothing is in the browser's cache
            seconds.append(opened(browser, address))
            answers = browser.value(_ANSWERS.replace("TEXTS", json.dumps(texts)))
            labels = [label for label, _ in answers]
            latencies += [ms for _, ms in answers]
            elsewhere = [one for one in browser.requests() if not one.startswith(address)]
    alone = [exported.predict_one(text) for text in texts]  # as on the page: int8 scales by what is in a batch
    files = [
        page / name
        for name in (*json.loads((page / "config.json").read_text())["understudy"]["web"]["files"], "config.json")
    ]
    contents = [path.read_bytes() for path in files]
    quantized = exported.facts.quantized
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "weights": quantized.to if quantized else "fp32",
        "loaded_bytes": sum(map(len, contents)),
        "loaded_bytes_gzip": sum(len(gzip.compress(content, 6)) for content in contents),
        "model_bytes": exported.summary()["size_bytes"],
        "ready_s": statistics.median(seconds),
        "latency_ms": {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98]},
        "other_labels_than_exported": sum(a != b.label for a, b in zip(labels, alone)),
        "other_labels_than_pytorch": sum(a != b.label for a, b in zip(labels, original.predict(texts))),
        "requests_elsewhere": len(elsewhere),
        "rows": len(texts),
    }


def main() -> None:
    """Train, export, visit, write the result."""
    setting = begin(__doc__)
    from understudy.data.readers.sources import load_splits

    runs = trained(setting)
    test = load_splits(some_rows(setting), seed=0).test
    assert test is not None
    texts = [str(text[0] if isinstance(text, tuple) else text) for text in test.texts]
    found = {}
    for name, model in runs.items():
        page = page_of(model, setting.runs / "browser" / f"page-{name.replace(':', '-')}")
        found[name] = measured(model, page, texts, visits=setting.pick(3, 1))
        print(f"{name}: {found[name]}", flush=True)
    write(
        setting,
        "browser",
        question=__doc__ or "",
        config={"rows": ROWS, "students": STUDENTS, "max_drop": MAX_DROP, "threads": 1},
        raw=found,
        summary={
            name: {key: one[key] for key in ("weights", "loaded_bytes", "loaded_bytes_gzip", "ready_s", "latency_ms")}
            for name, one in found.items()
        },
        targets=[
            target(
                f"{name}: labels that differ from the exported model's",
                float(one["other_labels_than_exported"]),
                at_most=0.0,
            )
            for name, one in found.items()
        ]
        + [
            target(f"{name}: requests to elsewhere", float(one["requests_elsewhere"]), at_most=0.0)
            for name, one in found.items()
        ],
    )


if __name__ == "__main__":
    main()
