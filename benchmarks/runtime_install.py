"""Does the small runtime install without torch, how large is it, and how soon does a process answer?

It installs ``./runtime`` into an empty environment (from the package index), adds up what lies there, and starts
processes: seconds from the start to the first answer, of a static model, a bilstm and a three-layer encoder, each with
random weights in its usual size and the vocabulary of the bundled encoder.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from evidence import ROOT, begin, target, write

STARTS = 11
MEGABYTE = 1_000_000
_FIRST = """
import sys
from understudy_runtime import load
model = load(sys.argv[1], threads=1)
print(model.predict_one("A quiet, lovely film.").label, flush=True)
assert not {"torch", "transformers", "scipy"} & set(sys.modules)
"""


def installed_bytes(site: Path) -> dict[str, int]:
    """Bytes of each package's files, compiled Python left out, as pip does not carry it."""
    found: dict[str, int] = {}
    for path in site.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(site).parts[0].partition("-")[0].partition(".")[0]
            found[name] = found.get(name, 0) + path.stat().st_size
    return {name: size for name, size in found.items() if name not in ("pip", "setuptools", "pkg_resources")}


def models(folder: Path, *, quick: bool) -> dict[str, Path]:
    """Exported models with random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from understudy.data.tasks import Task
    from understudy.deploy.onnx.export import export_onnx
    from understudy.inference.predictor import Predictor
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer
    from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
    from understudy.models.students.static import StaticBag, StaticConfig

    torch.manual_seed(0)
    encoder, tokenizer = bundled_encoder(), load_tokenizer(bundled_encoder())
    words, labels = len(tokenizer), ("World", "Sports", "Business", "Sci/Tech")
    layers = AutoConfig.from_pretrained(encoder, num_labels=4, num_hidden_layers=3)
    made: dict[str, Any] = {
        "static": StaticBag(StaticConfig(vocab_size=words, embedding_size=300, hidden_size=256, num_labels=4)),
        "bilstm": BiLSTM(BiLSTMConfig(vocab_size=words, num_labels=4)),
    }
    if not quick:
        made["layers:3"] = AutoModelForSequenceClassification.from_config(layers)
    task = Task(text=(("text",),), label="label", kind="single_label", labels=labels)
    found = {}
    for name, model in made.items():
        found[name] = folder / name.replace(":", "-")
        export_onnx(found[name], Predictor(model, tokenizer, task, 128), ["A quiet, lovely film.", "no"])
    return found


def first_answers(python: Path, folder: Path, times: int) -> dict[str, list[float]]:
    """Seconds from the start of a process to its first answer by the clock, and what it took of a processor in all."""
    seconds, busy = [], []
    for _ in range(times):
        begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        with subprocess.Popen([python, "-c", _FIRST, folder], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip()
            seconds.append(time.perf_counter() - begin)
        assert process.returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"clock": seconds, "processor": busy}


def main() -> None:
    """Install, add up, start, write the result."""
    setting = begin(__doc__)
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        subprocess.run([sys.executable, "-m", "venv", place / "empty"], check=True)
        python = place / "empty" / "bin" / "python"
        wheels = place / "wheels"
        subprocess.run([python, "-m", "pip", "wheel", "--quiet", "-w", wheels, ROOT / "runtime"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wheels.glob("*.whl")], check=True)
        packages = installed_bytes(next((place / "empty").glob("lib/python*/site-packages")))
        heavy = sorted({"torch", "transformers"} & packages.keys())
        downloaded = sum(path.stat().st_size for path in wheels.iterdir())
        starts = {
            name: first_answers(python, folder, setting.pick(STARTS, 3))
            for name, folder in models(place / "models", quick=setting.quick).items()
        }
    medians = {name: statistics.median(found["clock"]) for name, found in starts.items()}
    busy = {name: statistics.median(found["processor"]) for name, found in starts.items()}
    installed = sum(packages.values()) / MEGABYTE
    write(
        setting,
        "runtime_install",
        question=__doc__ or "",
        config={"starts": setting.pick(STARTS, 3), "threads": 1, "unit": "bytes without compiled Python; seconds"},
        raw={"packages": packages, "first_answer_s": starts},
        summary={
            "installed_mb": installed,
            "downloaded_mb": downloaded / MEGABYTE,
            "largest_mb": {
                name: packages[name] / MEGABYTE for name in sorted(packages, key=lambda n: -packages[n])[:6]
            },
            "first_answer_s": medians,
            "first_answer_processor_s": busy,
        },
        targets=[
            target("installed, MB", installed, at_most=120.0),
            target("torch or transformers among them", float(len(heavy)), at_most=0.0),
            *(target(f"{name}: first answer, seconds", seconds, at_most=1.0) for name, seconds in medians.items()),
        ],
    )


if __name__ == "__main__":
    main()
