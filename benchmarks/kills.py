"""Killed with SIGKILL at random moments and resumed each time, every other time with another number of threads: are the
weights and the record those of the undisturbed run, to the bit?

Distillation from each kind of teacher, of a language model with drawn words, families, pipelines, GLUE's tasks at once and one
after another, an import.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ag_news import same_rows
from evidence import Setting, begin, earlier, run, target, write

KILLS = 10
"""Kills of an arm at least, where it names no number of its own."""
MOST_RUNS = 10
"""Runs of an arm at most: some of its phases may be over before they are seen."""
LABELLING, TRAINING, CHECKPOINT, SAVING = "labelling", "training", "checkpoint writing", "model saving"
BETWEEN = "between children"
"""Aimed at in turn. One run is killed in each of them and finishes; then the next run begins."""
ROWS = {"train": 400, "validation": 100, "test": 100}
POOL = 400
EPOCHS = 3
_COMPARED = ("steps", "epochs", "rows", "best_step", "metrics", "stopped_by", "learning_rates")


@dataclass(frozen=True)
class Arm:
    """A command, with the names of places in it, and the phases that it has."""

    words: str
    phases: tuple[str, ...] = (LABELLING, TRAINING, CHECKPOINT, SAVING)
    kills: int = KILLS


_DISTILL = "distill --data {rows} --unlabeled {pool} --epochs {epochs} --save_steps 5 --no-baseline --resume"
_TRAINED = (TRAINING, CHECKPOINT, SAVING)
_GLUE = (
    "glue --data {glue} --tasks rte mrpc --limit_train 200 --model {encoder} --max_length 64 --learning_rate 1e-4 "
    "--epochs {epochs} --save_steps 5 --no-baseline --resume"
)
ARMS = {
    "static": Arm(f"{_DISTILL} --teacher {{transformer}} --student static", kills=20),
    "layers:2": Arm(f"{_DISTILL} --teacher {{transformer}} --student layers:2", kills=20),
    "tfidf": Arm(f"{_DISTILL} --teacher {{tfidf}} --student bilstm", _TRAINED),
    "file": Arm(f"{_DISTILL} --teacher {{answers}} --student static", _TRAINED),
    "words": Arm(
        "distill-lm --data {pool} --teacher {language} --student layers:1 --teacher_words 8 --cosine_weight 0 "
        "--max_length 64 --epochs {epochs} --save_steps 2 --resume"
    ),
    "family": Arm(
        f"{_DISTILL} --teacher {{transformer}} --student static --seeds 0 1", (*Arm.phases, BETWEEN), kills=20
    ),
    "pipeline": Arm("run {steps} --resume"),
    "joint": Arm(f"{_GLUE} --mode joint --then finetune", _TRAINED),
    "sequential": Arm(f"{_GLUE} --mode sequential", _TRAINED),
    "import": Arm("import fastai {weights} {vocabulary} --overwrite", (SAVING,)),
}
"""A student of a few tables, a transformer, teachers of other kinds, a family of two seeds, which is killed between its
children too, a chain of two steps, two tasks of GLUE at once and in sequence, and a conversion, which is repeated instead of resumed."""


def data(setting: Setting) -> tuple[str, str]:
    """A folder of a few rows and a pool beside it."""
    import csv

    from understudy.data.readers.sources import load_splits

    splits = load_splits(same_rows(setting))
    folder = setting.runs / "kills" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in ROWS.items():
        rows = getattr(splits, name)
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for i in range(min(count, len(rows))):
                writer.writerow([rows.texts[i][0], splits.task.labels[rows.labels[i]]])
    start = len(splits.train) - POOL if not setting.quick else 0
    pool = [splits.train.texts[i][0] for i in range(max(0, start), len(splits.train))]
    (folder / "pool.txt").write_text("\n".join(pool) + "\n", encoding="utf-8")
    return str(folder), str(folder / "pool.txt")


def places(setting: Setting) -> dict[str, str]:
    """What the commands name: data, and teachers of a thousand rows or less: how good they are does not matter here."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune
    from understudy.recipes.train.pretrain.recipe import Pretrain
    from understudy.recipes.use.predict import Predict

    folder = setting.runs / "kills"
    rows, pool = data(setting)
    encoder, options = str(bundled_encoder()), {"max_length": 64, "epochs": 1}
    found = {name: str(folder / f"teacher-{name}") for name in ("transformer", "tfidf", "language")}
    named = {"data": same_rows(setting), "limit_train": 1000, "baseline": False}
    run(Finetune(model=encoder, output=found["transformer"], **named, **options))
    run(Finetune(model="tfidf", output=found["tfidf"], **named))
    run(Pretrain(data=pool, model=encoder, output=found["language"], **options))
    answers = str(folder / "answers.csv")
    Predict(model=[found["tfidf"]], input=[f"{rows}/train.csv", pool], output=answers, overwrite=True).run()
    (folder / "glue").mkdir(exist_ok=True)
    for name in ("rte", "mrpc"):
        if not (folder / "glue" / name).exists():
            (folder / "glue" / name).symlink_to(Path(setting.data(name)).resolve(), target_is_directory=True)
    found |= {
        "glue": str(folder / "glue"),
        "rows": rows,
        "pool": pool,
        "answers": answers,
        "encoder": encoder,
        **_fastai(folder),
    }
    return found | {"epochs": str(setting.pick(EPOCHS, 2))}


def _fastai(folder: Path) -> dict[str, str]:
    """Weights and vocabulary as fast.ai has them, of a size whose writing takes a moment."""
    import torch

    words, width, hidden = 20000, 100, 200
    torch.manual_seed(0)
    table = torch.randn(words, width)
    weights = {"0.encoder.weight": table, "0.encoder_dp.emb.weight": table, "1.decoder.weight": table}
    weights["1.decoder.bias"] = torch.randn(words)
    for i, lstm in enumerate([torch.nn.LSTM(width, hidden), torch.nn.LSTM(hidden, width)]):
        for name, tensor in lstm.state_dict().items():
            raw = name == "weight_hh_l0"
            weights[f"0.rnns.{i}.{name}_raw" if raw else f"0.rnns.{i}.module.{name}"] = tensor
    torch.save({"model": weights, "opt": {}}, folder / "lstm.pth")
    special = ["xxunk", "xxpad", "xxbos", "xxmaj", "xxup", "xxrep"]
    named = [*special, *(f"w{i}" for i in range(words - len(special)))]
    (folder / "itos.json").write_text(json.dumps(named), encoding="utf-8")
    return {"weights": str(folder / "lstm.pth"), "vocabulary": str(folder / "itos.json")}


def _steps(path: Path, folder: Path, known: dict[str, str]) -> str:
    """A chain of two steps below a folder: a teacher, and its student."""
    common = {"data": known["rows"], "epochs": int(known["epochs"]), "save_steps": 5, "baseline": False}
    teacher = {"command": "finetune", **common, "model": known["encoder"], "max_length": 32}
    student = {"command": "distill", **common, "teacher": str(folder / "teacher"), "unlabeled": known["pool"]}
    steps = [
        {**teacher, "output": str(folder / "teacher")},
        {**student, "student": "static", "output": str(folder / "student")},
    ]
    path.write_text(yaml.safe_dump_all(steps), encoding="utf-8")
    return str(path)


class Run:
    """One command with an output and a cache of its own."""

    def __init__(self, setting: Setting, arm: str, known: dict[str, str]) -> None:
        # undisturbed and killed ones lie in one place in turn, so that their records may name it
        self.folder = setting.runs / "kills" / arm.replace(":", "")
        self.cache = self.folder.with_name(f"{self.folder.name}-cache")
        for path in (self.folder, self.cache):
            shutil.rmtree(path, ignore_errors=True)
        steps = _steps(self.folder.with_name("steps.yaml"), self.folder, known) if arm == "pipeline" else ""
        self.command = [
            sys.executable,
            "-c",
            "import sys; from understudy.cli import main; sys.exit(main())",
            *ARMS[arm].words.format(**known, steps=steps).split(),
        ]
        if arm != "pipeline":
            self.command += ["--output", str(self.folder)]
        self.starts = 0

    def start(self) -> subprocess.Popen[bytes]:
        """Begin, or go on, every other time with two threads; begun is a run when it has a record."""
        self.leftovers = set(self._temporary())  # of earlier kills: they say nothing of this process
        begun = any(self.folder.rglob("record.json"))
        self.starts += begun
        threads = str(1 + self.starts % 2) if begun else "1"
        environment = os.environ | {"UNDERSTUDY_CACHE": str(self.cache), "OMP_NUM_THREADS": threads}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self.command, env=environment, **quiet)

    def finish(self) -> tuple[str, list[dict[str, Any]]]:
        """Let it run to its end; the hash of the weights, and what the records say, without times and speeds."""
        code = self.start().wait()
        if code:
            raise SystemExit(f"{' '.join(self.command)} ended with {code}")
        models = sorted(self.folder.rglob("model.safetensors"))
        weights = hashlib.sha256(b"".join(path.read_bytes() for path in models)).hexdigest()
        return weights, [_said(path) for path in sorted(self.folder.rglob("record.json"))]

    def _temporary(self) -> list[Path]:
        """What is being written: a model, and checkpoints."""
        whole = self.folder.parent.glob(f".{self.folder.name}.*.tmp")
        return [*whole, *_below(self.folder, ".model.*.tmp"), *_below(self.folder, "checkpoints/.*.tmp")]

    def _between_children(self) -> bool:
        """Whether a child is finished and no other one has begun."""
        records = [json.loads(path.read_text(encoding="utf-8")) for path in self.folder.glob("seed-*/record.json")]
        return bool(records) and all(record["finished"] for record in records)

    def phase(self) -> str:
        """What the run is doing, from what lies on disk."""
        written = {path.parent.name for path in self._temporary() if path not in self.leftovers}
        if "checkpoints" in written:
            return CHECKPOINT
        if written:
            return SAVING
        if self._between_children():
            return BETWEEN
        checkpoints = {path.stem for path in _below(self.folder, "checkpoints/*.pt")}
        if any(not name.endswith("-done") for name in checkpoints):
            return TRAINING
        if checkpoints:
            return "after training"
        if _below(self.folder, "teacher_words/*.bin"):
            return LABELLING
        if any(self.cache.glob("teacher_logits/*/sets/*.npy")):
            return TRAINING
        return LABELLING if any(self.cache.glob("teacher_logits/*/jobs/*/plan.npz")) else "reading"


def _below(folder: Path, pattern: str) -> list[Path]:
    """The paths below a folder in which another process works: what goes away meanwhile is looked for again."""
    while True:
        try:
            return list(folder.rglob(pattern))
        except FileNotFoundError:
            continue


def _said(path: Path) -> dict[str, Any]:
    """What a record says of a run and its results."""
    record = json.loads(path.read_text(encoding="utf-8"))
    kept = ("command", "config", "task", "data", "inputs", "notes", "teacher_forward_texts", "finished", "children")
    return {
        **{name: record[name] for name in kept},
        "threads": record["hardware"]["threads"],
        "models": {model["name"]: model["metrics"] for model in record["models"]},
        "training": {
            phase: {name: told[name] for name in _COMPARED if name in told}
            for phase, told in record["training"].items()
        },
    }


def kill(run: Run, aim: str, rng: random.Random) -> str | None:
    """Start the run, wait for a phase and a random moment in it, kill; the phase it died in, or None if it was quicker.

    Writing is over in milliseconds, so the moment is drawn from few of them there.
    """
    process = run.start()
    delay = {LABELLING: 4.0, TRAINING: 2.0, CHECKPOINT: 0.01, SAVING: 0.02, BETWEEN: 0.5}[aim]
    died_in = None
    while process.poll() is None and died_in is None:
        if run.phase() == aim:
            time.sleep(rng.random() * delay)
            died_in = _kill(process, run.phase)
        time.sleep(0.0005)
    process.wait()
    return died_in


def _kill(process: subprocess.Popen[bytes], phase: Callable[[], str]) -> str | None:
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return phase()  # what it was writing still lies there


def _survived(setting: Setting, arm: str, known: dict[str, str], rng: random.Random) -> list[dict[str, Any]]:
    """Runs of one arm, each killed once in each phase, until there are kills enough."""
    kills = setting.pick(ARMS[arm].kills, 2)
    expected = Run(setting, arm, known).finish()
    rows: list[dict[str, Any]] = []
    while sum(len(row["killed_in"]) for row in rows) < kills and len(rows) < MOST_RUNS:
        run = Run(setting, arm, known)
        died: list[str] = []
        missed: list[str] = []
        for aim in ARMS[arm].phases:
            found = kill(run, aim, rng)
            died.append(found) if found else missed.append(aim)
        weights, said = run.finish()
        row = {"arm": arm, "killed_in": died, "missed": missed}
        rows.append({**row, "identical": weights == expected[0], "same_record": said == expected[1]})
        alike = "identical" if rows[-1]["identical"] else "DIFFERENT"
        record = "same record" if rows[-1]["same_record"] else "OTHER RECORD"
        print(f"{arm}, killed in {', '.join(died)}: {alike}, {record}", flush=True)
    return rows


def main() -> None:
    """Of each arm the undisturbed run, then runs that are killed once in each phase. Arms of an unfinished result stay."""
    setting = begin(__doc__)
    known = places(setting)
    rng = random.Random(0)
    config = {
        "arms": {name: arm.words for name, arm in ARMS.items()},
        "rows": ROWS,
        "pool": POOL,
        "epochs": setting.pick(EPOCHS, 2),
        "aimed_at": {name: arm.phases for name, arm in ARMS.items()},
        "threads": "1 at first, then 2 and 1 in turn",
        "compared": "SHA-256 of model.safetensors of all runs; the records without times and speeds",
    }
    raw: list[dict[str, Any]] = earlier(setting, "kills", config).get("raw", [])
    for arm in ARMS:
        if any(row["arm"] == arm for row in raw):
            continue
        raw += _survived(setting, arm, known, rng)
        totals = {name: sum(len(row["killed_in"]) for row in raw if row["arm"] == name) for name in ARMS}
        different = sum(not row["identical"] for row in raw)
        others = sum(not row["same_record"] for row in raw)
        write(
            setting,
            "kills",
            question=__doc__ or "",
            config=config,
            raw=raw,
            summary={
                "kills": totals,
                "runs": len(raw),
                "identical_runs": len(raw) - different,
                "same_records": len(raw) - others,
                "kills_by_phase": Counter(phase for row in raw for phase in row["killed_in"]),
            },
            targets=[
                *(
                    target(f"SIGKILLs survived, {name}", total or None, at_least=setting.pick(ARMS[name].kills, 2))
                    for name, total in totals.items()
                ),
                target("runs whose weights differ", different, at_most=0),
                target("runs whose records differ", others, at_most=0),
            ],
            complete=all(total >= setting.pick(ARMS[name].kills, 2) for name, total in totals.items()),
        )


if __name__ == "__main__":
    main()
