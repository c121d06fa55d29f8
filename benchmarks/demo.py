"""``understudy demo`` as a new user meets it, with an empty cache: how long does it take, and what does its table say?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from evidence import (
    Setting,
    begin,
    beside_work,
    earlier,
    finished,
    fresh_cache,
    is_measured,
    score_of,
    spread,
    target,
    write,
)
from understudy.settings.train.demo import DemoSettings

MODELS = ("teacher", "student", "student without teacher", "tfidf")
QUICK = ["--labelled", "70", "--pool", "70", "--test", "70", "--teacher_epochs", "1", "--epochs", "1"]
OWN = DemoSettings()
EARLIER = 0.597
"""The accuracy of the teacher of an earlier demo, which had 1,500 labels and took almost twice the time."""
CONFIG = {
    "settings": {name: getattr(OWN, name) for name in ("labelled", "pool", "test", "teacher_epochs", "epochs")},
    "clock": "of the whole command, start of Python included",
}


def once(setting: Setting, seed: int, *, place: str) -> dict[str, Any]:
    """A demo from nothing to its end, on a quiet machine or beside a process that keeps a core busy."""
    folder = setting.runs / "demo" / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    command = [str(Path(sys.executable).with_name("understudy")), "demo", "--output", str(folder), "--seed", str(seed)]
    with fresh_cache(), beside_work(place):
        start = time.perf_counter()
        subprocess.run([*command, *(QUICK if setting.quick else [])], check=True)
        seconds = time.perf_counter() - start
    record = finished(folder)
    return {"seed": seed, "place": place, "seconds": seconds, **{model: score_of(record, model) for model in MODELS}}


def main() -> None:
    """One demo a seed; the data, too, are drawn by it. Then that of the first seed once more beside a busy core."""
    setting = begin(__doc__)
    rows = list(earlier(setting, "demo", CONFIG).get("raw", []))
    for seed, place in [*((seed, "quiet") for seed in setting.seeds), (setting.seeds[0], "busy")]:
        if not is_measured(rows, {"seed": seed, "place": place}):
            rows.append(once(setting, seed, place=place))
            report(setting, sorted(rows, key=lambda row: (row["place"] == "busy", row["seed"])))


def report(setting: Setting, rows: list[dict[str, Any]]) -> None:
    """Write down what has been measured by now; scores are those of the quiet runs."""
    everything, rows = rows, [row for row in rows if row["place"] == "quiet"]
    busy = [row["seconds"] for row in everything if row["place"] == "busy"]
    above = spread([row["student"] - row["student without teacher"] for row in rows])
    kept = spread([row["student"] / row["teacher"] for row in rows])
    write(
        setting,
        "demo",
        question=__doc__ or "",
        config=CONFIG,
        raw=everything,
        summary={model: spread([row[model] for row in rows]) for model in MODELS}
        | {"student above the one without teacher": above, "share kept": kept},
        targets=[
            target("seconds of the slowest", max(row["seconds"] for row in rows), at_most=120),
            target("seconds beside a busy core", max(busy, default=None), at_most=200),
            target("accuracy of the teacher", spread([row["teacher"] for row in rows])["mean"], at_least=EARLIER),
            target("accuracy of the student above that without teacher", above["mean"], at_least=0.05),
            target("share of the teacher's accuracy kept", kept["mean"], at_least=0.93),
        ],
        complete=len(rows) >= 3 and bool(busy),
        seeds=[row["seed"] for row in rows],
    )


if __name__ == "__main__":
    main()
