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

from evidence import ROOT, Setting, begin, run, target, write

sys.path.append(str(ROOT / "tests"))
from chromium import Tab, served, tab

ROWS = 200
TRAINED_ON = 2000
STUDENTS = {"static": 6, "bilstm": 4, "layers:3": 1}
"""Students and their epochs."""
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


def trained(setting: Setting) -> dict[str, str]:
    """The runs: the encoder, and its students."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.distill.recipe import Distill
    from understudy.recipes.train.finetune.recipe import Finetune

    folder, data, rows = setting.runs / "browser", setting.data("ag_news"), setting.pick(TRAINED_ON, 320)
    found = {"encoder": str(folder / "encoder")}
    run(
        Finetune(
            data=data, limit_train=rows, model=bundled_encoder(), epochs=1, baseline=False, output=found["encoder"]
        )
    )
    for student, epochs in STUDENTS.items():
        found[student] = str(folder / student.replace(":", "-"))
        run(
            Distill(
                data=data,
                limit_train=rows,
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
        Export(model=model, output=str(folder), format="web").run()
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
        "other_labels_than_exported": sum(a != b.label for a, b in zip(labels, exported.predict(texts))),
        "other_labels_than_pytorch": sum(a != b.label for a, b in zip(labels, original.predict(texts))),
        "requests_elsewhere": len(elsewhere),
        "rows": len(texts),
    }


def main() -> None:
    """Train, export, visit, write the result."""
    setting = begin(__doc__)
    from understudy.data.readers.sources import load_splits

    test = load_splits(setting.data("ag_news"), seed=0).test
    assert test is not None
    count = setting.pick(ROWS, 40)
    texts = [str(test.texts[i][0] if isinstance(test.texts[i], tuple) else test.texts[i]) for i in range(count)]
    found = {}
    for name, model in trained(setting).items():
        page = page_of(model, setting.runs / "browser" / f"page-{name.replace(':', '-')}")
        found[name] = measured(model, page, texts, visits=setting.pick(3, 1))
        print(f"{name}: {found[name]}", flush=True)
    write(
        setting,
        "browser",
        question=__doc__ or "",
        config={"rows": count, "trained_on": setting.pick(TRAINED_ON, 320), "students": STUDENTS, "threads": 1},
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
