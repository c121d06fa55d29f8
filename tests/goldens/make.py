"""Write the goldens of the code at hand: ``python tests/goldens/make.py``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from cases import ANSWERS, COMMANDS, CONFIGURATIONS, MISTAKES, RUNS
from gather import Workshop, configuration, described, flags, machine, mistake, run

HERE = Path(__file__).parent


def write(name: str, content: Any) -> None:
    """Write one file of goldens."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (HERE / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    print(f"{name}.json: {len(content)} entries")


def main() -> None:
    """Run every case once and write the four files."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        workshop = Workshop(folder)
        write("configurations", {name: configuration(folder, line) for name, line in CONFIGURATIONS.items()})
        write("flags", {command: flags(folder, command) for command in COMMANDS})
        runs = {name: described(workshop.made(name)) for name in RUNS}
        answers = {name: run(workshop.with_runs(line), line).out.splitlines() for name, line in ANSWERS.items()}
        write("runs", {"machine": machine(), "runs": runs, "answers": answers})
        mistakes = {name: mistake(workshop.with_faults(line), line) for name, line in MISTAKES.items()}
        for name, found in mistakes.items():
            if found["code"] != 2 or not found["error"]:
                print(f"  '{name}' ended with {found['code']} and {len(found['error'])} lines: is it a mistake?")
        write("mistakes", mistakes)


if __name__ == "__main__":
    main()
