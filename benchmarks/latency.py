"""How long does one text take, tokenisation included? And how long until ``understudy --help`` answers?"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ag_news import same_rows, teacher
from evidence import Setting, begin, in_turn, target, write

TEXTS = 200
ROUNDS = 5
HELP_RUNS = 10


def predictors(setting: Setting) -> dict[str, Any]:
    """The students with their default sizes and the teacher's vocabulary (what they have learnt costs no time), and the teacher."""
    import understudy
    from understudy.inference.predictor import Predictor
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.students.classifier import build_student
    from understudy.settings.student_options import BiLSTMOptions, LayersOptions, StaticOptions

    taught_by = teacher(setting)
    star = understudy.load(taught_by)
    found = {}
    for name in ("static", "bilstm", "layers:2"):
        student = build_student(
            name,
            star.task,
            teacher=bundled_encoder(),
            texts=[],
            tokenizer="teacher",
            embeddings="random",
            options=[BiLSTMOptions(), StaticOptions(), LayersOptions()],
            seed=0,
        )
        found[name] = Predictor(student.model, student.tokenizer, star.task, star.max_length)
    return found | {"teacher": star}


def help_seconds() -> dict[str, Any]:
    """Wall time of ``understudy --help`` in a process of its own, and whether torch was imported for it."""
    script = Path(sys.executable).with_name("understudy")
    command = [str(script)] if script.exists() else [sys.executable, "-c", "from understudy.cli import main; main()"]
    seconds = []
    for _ in range(HELP_RUNS):
        start = time.perf_counter()
        subprocess.run([*command, "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    probe = "import sys; from understudy.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    imports_torch = subprocess.run([sys.executable, "-c", probe], stdout=subprocess.DEVNULL).returncode != 0
    return {"seconds": seconds, "median_s": statistics.median(seconds), "imports_torch": imports_torch}


def main() -> None:
    """All models in turn, with one thread and with torch's own choice."""
    from understudy.data.readers.sources import load_splits
    from understudy.evaluation.cost import measure

    setting = begin(__doc__)
    models = predictors(setting)
    test = load_splits(same_rows(setting)).test
    texts = [test.texts[i] for i in range(min(TEXTS, len(test)))]
    default = torch.get_num_threads()
    raw: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for threads in sorted({1, default}):
        torch.set_num_threads(threads)
        contenders = {
            name: lambda model=model: measure(model, texts, latency_texts=TEXTS, throughput_texts=TEXTS)
            for name, model in models.items()
        }
        found = in_turn(contenders, rounds=setting.pick(ROUNDS, 1))
        raw[f"threads={threads}"] = found
        summary[f"threads={threads}"] = {
            name: {
                "p50_ms": statistics.median(run["latency_ms"]["p50"] for run in runs),
                "p99_ms": statistics.median(run["latency_ms"]["p99"] for run in runs),
                "texts_per_second": statistics.median(run["texts_per_second"] for run in runs),
                "parameters": runs[0]["parameters"],
                "size_bytes": runs[0]["size_bytes"],
            }
            for name, runs in found.items()
        }
    torch.set_num_threads(default)
    raw["help"] = help_seconds()
    p50 = {name: min(rows[name]["p50_ms"] for rows in summary.values()) for name in models}
    write(
        setting,
        "latency",
        question=__doc__ or "",
        config={
            "texts": len(texts),
            "data": "ag_news, test",
            "rounds": setting.pick(ROUNDS, 1),
            "vocabulary": 30522,
            "unit": "milliseconds for a single text, from the string to the logits; medians over the rounds",
        },
        raw=raw,
        summary=summary | {"help_s": raw["help"]["median_s"]},
        targets=[
            target("static: p50 in ms, better of the thread settings", p50["static"], at_most=0.3),
            target("bilstm: p50 in ms, better of the thread settings", p50["bilstm"], at_most=3.0),
            target("understudy --help: median seconds", raw["help"]["median_s"], at_most=0.5),
            target("understudy --help: imports torch", float(raw["help"]["imports_torch"]), at_most=0.0),
        ],
    )


if __name__ == "__main__":
    main()
