"""How long until a mistake is told? A dozen mistakes on the command line, and `import understudy`, in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from evidence import begin, in_turn, target, write

ROUNDS = 5
MISTAKES = {
    "missing file": "finetune --data gone.csv --model tfidf",
    "mistyped label column": "finetune --data rows.csv --model tfidf --label lable",
    "mistyped text column": "distill --data rows.csv --teacher some/model --text txt",
    "no header": "finetune --data headless.csv --model tfidf",
    "missing pool": "distill --data rows.csv --teacher some/model --unlabeled gone.txt",
    "output below a file": "finetune --data rows.csv --model tfidf --output rows.csv/run",
    "missing model folder": "finetune --data rows.csv --model runs/gone",
    "missing texts": "pretrain --data gone.txt --model awd_lstm",
    "another model's mask token": "fill-mask model The-film-was-[MASK]",
    "missing file, by validate": "validate finetune --data gone.csv --model tfidf",
    "mistyped column, by validate": "validate finetune --data rows.csv --model tfidf --label lable",
    "flag of another command": "predict --model model --bptt 3",
}


def build(folder: Path) -> None:
    """Ten thousand rows with and without a header, and a model folder as far as a mistake needs one."""
    rows = "".join(f"some words of a text {i},{('good', 'bad')[i % 2]}\n" for i in range(10_000))
    (folder / "rows.csv").write_text("text,label\n" + rows, encoding="utf-8")
    (folder / "headless.csv").write_text(rows, encoding="utf-8")
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model" / "model.safetensors").write_bytes(b"")
    (folder / "model" / "tokenizer_config.json").write_text(json.dumps({"mask_token": "<mask>"}), encoding="utf-8")


def seconds(folder: Path, code: int, *words: str) -> float:
    """The time that a Python process takes from its start to its end."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True)
    took = time.perf_counter() - start
    if done.returncode != code:
        raise RuntimeError(f"{words[-1]} ended with {done.returncode}: {done.stderr}")
    return took


def processor_seconds() -> float:
    """What finished children have used of a processor, which other work on the machine does not change."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    """All mistakes in turn, several rounds; medians, and the processor's time of one more round."""
    setting = begin(__doc__)
    ours = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        build(folder)
        contenders = {name: partial(seconds, folder, 2, "-c", ours, *line.split()) for name, line in MISTAKES.items()}
        contenders["import understudy"] = partial(seconds, folder, 0, "-c", "import understudy")
        contenders["python -c pass"] = partial(seconds, folder, 0, "-c", "pass")
        raw = in_turn(contenders, rounds=setting.pick(ROUNDS, 2))
        used = {}
        for name, run in contenders.items():
            before = processor_seconds()
            run()
            used[name] = processor_seconds() - before
    medians = {name: statistics.median(values) for name, values in raw.items()}
    imported = medians["import understudy"] - medians["python -c pass"]
    write(
        setting,
        "mistakes_at_once",
        question=__doc__ or "",
        config={"rounds": setting.pick(ROUNDS, 2), "mistakes": MISTAKES},
        raw=raw,
        summary={"median_s": medians, "processor_s": used},
        targets=[
            target("seconds to the slowest message", max(medians[name] for name in MISTAKES), at_most=1.0),
            target("seconds of import understudy beyond a bare Python", imported, at_most=0.15),
        ],
    )


if __name__ == "__main__":
    main()
