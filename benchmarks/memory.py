"""Does memory stay flat as rows grow? Reading, checking and encoding a CSV of 1, 10 and 100 times as many rows.

Pages of mapped files count in the peak as long as there is room, and the system takes them back when there is not; what
the process needs for itself is its anonymous memory.
"""

from __future__ import annotations

import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from evidence import begin, fresh_cache, target, write

ROWS = 2000
FACTORS = (1, 10, 100)
WORDS = 40


def anonymous_mb() -> float:
    """Megabytes of the process that no file backs, now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def worker(path: str) -> None:
    """Read and encode one file; print what it took."""
    from understudy.data.readers.sources import load_splits
    from understudy.data.tokens.encode import encode
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(bundled_encoder())
    peak, done = [anonymous_mb()], threading.Event()
    before = peak[0]

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    splits = load_splits(path)
    encoded = encode(splits.train.texts, tokenizer, max_length=128)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {"rows": len(splits.train), "tokens": int(encoded.offsets[-1]), "seconds": seconds}
    print(json.dumps(row | {"before_mb": before, "peak_anonymous_mb": peak[0], "peak_mb": total}))


def write_csv(path: Path, rows: int) -> None:
    """Rows of random words: every text is another one."""
    rng = random.Random(0)
    words = [
        f"{a}{b}" for a in ("stock", "team", "planet", "court", "market") for b in ("s", "ed", "er", "ing", "y", "let")
    ]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(rows):
            writer.writerow([f"{' '.join(rng.choices(words, k=WORDS))} {i}", ("good", "bad")[i % 2]])


def main() -> None:
    """One process a size."""
    setting = begin(__doc__)
    raw: list[dict[str, Any]] = []
    for factor in FACTORS if not setting.quick else FACTORS[:2]:
        with tempfile.TemporaryDirectory() as folder, fresh_cache():
            path = Path(folder) / "rows.csv"
            write_csv(path, ROWS * factor)
            command = [sys.executable, __file__, "--worker", str(path)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            raw.append(
                {"factor": factor, "file_mb": path.stat().st_size / 2**20, **json.loads(output.splitlines()[-1])}
            )
        print(raw[-1], flush=True)
    growth = (raw[-1]["peak_anonymous_mb"] - raw[0]["peak_anonymous_mb"]) * 2**20 / (raw[-1]["rows"] - raw[0]["rows"])
    write(
        setting,
        "memory",
        question=__doc__ or "",
        config={"rows": ROWS, "factors": FACTORS, "words_a_row": WORDS, "max_length": 128},
        raw=raw,
        summary={
            "growth_bytes_a_row": growth,
            "file_bytes_a_row": raw[-1]["file_mb"] * 2**20 / raw[-1]["rows"],
            "peak_anonymous_mb": {f"{row['factor']}x": row["peak_anonymous_mb"] for row in raw},
        },
        targets=[
            target(
                "peak anonymous memory, largest over smallest file",
                raw[-1]["peak_anonymous_mb"] / raw[0]["peak_anonymous_mb"],
                at_most=1.5,
            ),
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2])
    else:
        main()
