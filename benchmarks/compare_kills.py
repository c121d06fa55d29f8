"""Killed with SIGKILL at random moments and resumed each time: is a comparison's table that of the undisturbed one?

Only the process that was started is killed; those of its runs must end by themselves, or they would be in the way.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from evidence import Setting, begin, target, write

KILLS = 20
ROWS, EPOCHS = 300, 4
WORDS = "compare --data {data} --models {models} --limit_train {rows} --seeds {seeds} --epochs {epochs} --eval_steps 5 --save_steps 3 --patience 4 --max_length 32 --parallel 2 --threads 2"
MEASURED = ("front", "dominated")
"""Findings that a clock has a part in."""


def command(setting: Setting, folder: Path) -> list[str]:
    """The comparison; its teacher is TF-IDF, so that nothing takes long. A quick one has nobody to teach."""
    import understudy

    teacher = setting.runs / "compare-kills" / "teacher"
    if not setting.quick and not (teacher / "model").exists():
        shutil.rmtree(teacher, ignore_errors=True)
        understudy.Finetune(model="tfidf", data=setting.data("ag_news"), limit_train=ROWS, output=str(teacher)).run()
    taught = f"bilstm static static+distilled tfidf --teacher {teacher}"
    words = WORDS.format(
        data=setting.data("ag_news"),
        models="static tfidf" if setting.quick else taught,
        seeds="0" if setting.quick else "0 1",
        rows=setting.pick(ROWS, 100),
        epochs=setting.pick(EPOCHS, 1),
    )
    start = "import sys; from understudy.cli import main; sys.exit(main())"
    return [sys.executable, "-c", start, *words.split(), "--output", str(folder)]


def found(folder: Path) -> dict[str, Any]:
    """What a comparison found, without what a clock measured."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    findings = {key: value for key, value in record["findings"].items() if key not in MEASURED}
    models = [
        (model["name"], model["metrics"], model["size_bytes"], model["training"].get("steps_to_best"))
        for model in record["models"]
    ]
    sizes = {what: record["findings"][what]["size"] for what in MEASURED}
    return {
        "findings": findings,
        "models": json.loads(json.dumps(models)),
        "front of sizes": sizes,
        **{part: record[part] for part in ("comparisons", "aggregate", "notes")},
    }


def main() -> None:
    """One undisturbed comparison; then others, killed and resumed until there were enough kills."""
    setting = begin(__doc__)
    place = setting.runs / "compare-kills"
    place.mkdir(parents=True, exist_ok=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    folder = place / "run"
    line = command(setting, folder)
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    subprocess.run(line, check=True, env=environment, **quiet)
    whole_s, expected = time.monotonic() - began, found(folder)
    rng, rows = random.Random(0), list[dict[str, Any]]()
    wanted = setting.pick(KILLS, 2)
    while sum(row["kills"] for row in rows) < wanted:
        shutil.rmtree(folder)
        kills, code = 0, None
        while code is None:
            running = subprocess.Popen([*line, *(["--resume"] if kills else [])], env=environment, **quiet)
            try:
                # a resumed one has less to do, and loads torch first
                code = running.wait(rng.uniform(0.1, 0.6) * whole_s)
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGKILL)
                running.wait()
                kills += 1
                if not (folder / "record.json").exists():
                    kills -= 1  # nothing had begun
        same = code == 0 and found(folder) == expected
        rows.append({"kills": kills, "code": code, "same": same})
        print(rows[-1], flush=True)
    write(
        setting,
        "compare_kills",
        question=__doc__ or "",
        config={"kills": KILLS, "rows": ROWS, "epochs": EPOCHS, "command": WORDS},
        raw={"runs": rows, "undisturbed_s": whole_s},
        summary={"kills": sum(row["kills"] for row in rows), "runs": len(rows)},
        targets=[
            target("kills", float(sum(row["kills"] for row in rows)), at_least=float(wanted)),
            target(
                "runs whose table differs, or that failed", float(sum(not row["same"] for row in rows)), at_most=0.0
            ),
        ],
    )


if __name__ == "__main__":
    main()
