"""DistilBERT at our scale: what does a student of half the depth keep of its teacher, and which of its losses matter?

The teacher's row says how well it guesses masked words: a weak teacher has little to lose. Every arm of the ablation is
distilled once, at seed 0, from the same texts; the seeds are those of fine-tuning.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evidence import DATA, Setting, begin, earlier, finished, in_turn, run, spread, target, with_earlier, write

TEACHER = f"{Path(DATA).parent}/models/minilm-mlm"
STUDENT = "layers:3"
TOKENS = 1_000_000
"""Real tokens of an arm, about: the texts are drawn once, and gone through once."""
TOKENS_A_TEXT = 82
"""Of the mean text of wikipedia_en, cut at LENGTH."""
LENGTH = 128
BATCH = 32
PRECISION = "bf16"
"""Of all training, arms and tasks; scores and seconds are measured in float32."""

ARMS: dict[str, dict[str, Any]] = {
    "all three": {},
    "no soft targets": {"ce_weight": 0.0},
    "no cosine": {"cosine_weight": 0.0},
    "no masked words": {"mlm_weight": 0.0},
    "random start": {"start": "random"},
    "with relations": {"relation_weight": 1.0},
    "without teacher": {"ce_weight": 0.0, "cosine_weight": 0.0},
}
"""The last one is no arm of the paper's: the same cut model on the same texts, with the masked words alone."""
PAPER_DROPS = {"no soft targets": 2.96, "no cosine": 1.46, "no masked words": 0.31, "random start": 3.69}
"""Points of the GLUE score: Sanh et al. 2019, arXiv 1910.01108, Table 4."""
PAPER = {"share kept": 0.97, "parameters": 0.6, "faster": 0.6}
"""The same, abstract and section 4."""

TASKS: dict[str, dict[str, Any]] = {
    "sst2": {"metrics": ("accuracy",), "epochs": 3, "limit_train": 10_000},
    "stsb": {"metrics": ("pearson", "spearman"), "epochs": 4},
    "mrpc": {"metrics": ("f1", "accuracy"), "epochs": 5},
    "rte": {"metrics": ("accuracy",), "epochs": 6},
}
"""The score of a task is the mean of its metrics, in points, as GLUE has it."""
ABLATION = ("sst2", "stsb")
QUICK_ARMS = ("all three", "random start", "with relations")
RATE = 1e-4
TIMED_TEXTS = 512
ROUNDS = 5
CONFIG = {
    "teacher": "minilm-mlm",
    "student": STUDENT,
    "texts": "wikipedia_en",
    "tokens_an_arm": TOKENS,
    "batch_size": BATCH,
    "max_length": LENGTH,
    "precision": PRECISION,
    "arms": ARMS,
    "tasks": TASKS,
    "ablation_tasks": ABLATION,
    "fine_tuning_rate": RATE,
}


def arms(setting: Setting) -> tuple[str, ...]:
    """Those that are trained."""
    return QUICK_ARMS if setting.quick else tuple(ARMS)


def folder_of(setting: Setting, arm: str) -> Path:
    """The run folder of an arm's distillation."""
    return setting.runs / "distilbert" / arm.replace(" ", "-")


def distill(setting: Setting, arm: str, *, start: str = "teacher", tokens: int = TOKENS, **options: Any) -> Any:
    """The record of an arm, distilled on as many tokens with these settings beside the common ones."""
    from understudy.recipes.train.distill_lm.recipe import DistillLM
    from understudy.settings.student_options import LayersOptions

    return run(
        DistillLM(
            data=setting.data("wikipedia_en"),
            limit_train=setting.pick(tokens // TOKENS_A_TEXT, 64),
            teacher=TEACHER,
            student=STUDENT,
            layers=LayersOptions(start=start),
            epochs=1,
            batch_size=BATCH,
            max_length=LENGTH,
            precision=PRECISION,
            output=str(folder_of(setting, arm)),
            **options,
        )
    )


def finetuned(setting: Setting, arm: str, task: str, seed: int) -> Path:
    """The run folder of a fine-tuned model; the teacher is an arm, too."""
    return setting.runs / "distilbert" / "tasks" / arm.replace(" ", "-") / f"{task}-{seed}"


def of_task(setting: Setting, arm: str, task: str, seed: int) -> dict[str, Any]:
    """The settings of every training on a task."""
    options = TASKS[task]
    limit = options.get("limit_train")
    return {
        "data": setting.data(task),
        "limit_train": None if limit is None else setting.pick(limit, 200),
        "epochs": setting.pick(options["epochs"], 1),
        "learning_rate": RATE,
        "max_length": LENGTH,
        "precision": PRECISION,
        "seed": seed,
        "baseline": False,
        "output": str(finetuned(setting, arm, task, seed)),
    }


def finetune(setting: Setting, arm: str, task: str, seed: int) -> None:
    """Train an arm's model, or the teacher, on a task."""
    from understudy.recipes.train.finetune.recipe import Finetune

    run(
        Finetune(
            model=TEACHER if arm == "teacher" else str(folder_of(setting, arm)),
            **of_task(setting, arm, task, seed),
        )
    )


def points(setting: Setting, arm: str, task: str, seed: int) -> float | None:
    """A task's score on its test rows (RTE has none: on its validation rows), from 0 to 100."""
    record = finished(finetuned(setting, arm, task, seed))
    return None if record is None else points_of(last_scores(record, "model"), task)


def last_scores(record: Any, model: str) -> dict[str, float]:
    """A model's, on the test rows; on the validation rows where there are no such."""
    metrics = record.model(model)["metrics"]
    return dict(metrics.get("test") or metrics["validation"])


def points_of(scores: Mapping[str, float], task: str) -> float:
    """From 0 to 100: the mean of the task's metrics."""
    return 100 * statistics.fmean(scores[name] for name in TASKS[task]["metrics"])


def seconds(setting: Setting) -> dict[str, list[float]] | None:
    """Fine-tuned teacher and student on the same texts, in turn; each also with all that transformers computes.

    Ours leaves out of the last block what no one reads. Of few blocks it is the larger part.
    """
    import time

    from torch import nn

    import understudy
    from understudy.data.readers.sources import read_texts
    from understudy.inference.predictor import Predictor

    class Whole(nn.Module):
        """A classifier of which nothing is left out, as it is no class of transformers' own."""

        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model, self.config = model, model.config

        def forward(self, **inputs: Any) -> Any:
            return self.model(**inputs)

    folders = {arm: finetuned(setting, arm, "sst2", 0) for arm in ("teacher", "all three")}
    if any(finished(folder) is None for folder in folders.values()):
        return None
    texts = list(read_texts(f"{setting.data('sst2')}/test.csv", text=["text"]))[: setting.pick(TIMED_TEXTS, 32)]
    models: dict[str, Any] = {arm: understudy.load(folder) for arm, folder in folders.items()}
    models |= {
        f"{arm}, all states": Predictor(Whole(ours.model), ours.tokenizer, ours.task, ours.max_length)
        for arm, ours in list(models.items())
    }

    def timed(model: Any) -> float:
        start = time.perf_counter()
        model.logits(texts)
        return time.perf_counter() - start

    return in_turn({arm: lambda model=model: timed(model) for arm, model in models.items()}, rounds=ROUNDS)


def known(setting: Setting) -> dict[str, Any]:
    """What the result file holds: points, distilled models, seconds."""
    return earlier(setting, "distilbert", CONFIG).get("raw", {})


def scores(setting: Setting) -> list[dict[str, Any]]:
    """A row for every model that is fine-tuned by now."""
    rows = [
        {"model": arm, "task": task, "seed": seed, "points": score}
        for arm in ("teacher", *ARMS)
        for task in TASKS
        for seed in (0, 1, 2)
        if (score := points(setting, arm, task, seed)) is not None
    ]
    return with_earlier(rows, known(setting).get("fine_tuning", []), by=("model", "task", "seed"))


def distilled(setting: Setting) -> dict[str, Any]:
    """What is on record of teacher and student, for every arm that is distilled by now."""
    records = {arm: record for arm in ARMS if (record := finished(folder_of(setting, arm))) is not None}
    return known(setting).get("distilled", {}) | {arm: record.models for arm, record in records.items()}


def report(setting: Setting, timed: dict[str, list[float]] | None) -> None:
    """Write down what is finished by now."""
    raw, models = scores(setting), distilled(setting)
    costs = _costs(models.get("all three"))
    whole = {arm: by_seed(raw, arm, tuple(TASKS)) for arm in ("teacher", "all three")}
    claim = {arm: spread(list(found.values())) for arm, found in whole.items()}
    shares = [
        whole["all three"][seed] / whole["teacher"][seed] for seed in whole["teacher"].keys() & whole["all three"]
    ]
    kept = spread(shares)["mean"]
    faster, faster_of_all = (
        None
        if timed is None
        else statistics.median(timed[f"teacher{states}"]) / statistics.median(timed[f"all three{states}"])
        for states in ("", ", all states")
    )
    means = {arm: by_seed(raw, arm, ABLATION) for arm in ("teacher", *ARMS)}
    best = means["all three"]
    drops = {
        arm: spread([best[seed] - means[arm][seed] for seed in best.keys() & means[arm]])
        for arm in ARMS
        if arm != "all three"
    }
    write(
        setting,
        "distilbert",
        question=__doc__ or "",
        config=CONFIG,
        raw={"fine_tuning": raw, "distilled": models, "seconds": timed},
        summary={
            "masked_words": {
                arm: {entry["name"]: entry["metrics"] for entry in entries} for arm, entries in models.items()
            },
            "points": {
                arm: {
                    task: spread([row["points"] for row in raw if (row["model"], row["task"]) == (arm, task)])
                    for task in TASKS
                }
                for arm in ("teacher", *ARMS)
            },
            "claim": {
                "points": claim,
                "share_kept": spread(shares),
                "times_as_fast": faster,
                "times_as_fast_at_all_states": faster_of_all,
                "costs": costs,
                "paper": PAPER,
            },
            "ablation": {
                "points": {arm: spread(list(found.values())) for arm, found in means.items()},
                "drops": drops,
                "paper_drops": PAPER_DROPS,
            },
        },
        targets=[
            target("share of the teacher's points that the student keeps", kept, at_least=0.97),
            target("student's parameters over the teacher's", costs.get("ratio"), at_most=0.6),
            target(
                "student's parameters over the teacher's, embeddings left out",
                costs.get("ratio_without_embeddings"),
                at_most=0.6,
            ),
            target("times as fast as the teacher", faster, at_least=1.6),
            target("times as fast as the teacher where both compute all states", faster_of_all, at_least=1.6),
            *(
                target(f"points lost: {arm} (paper: {PAPER_DROPS[arm]})", drops[arm]["mean"], at_least=0.0)
                for arm in PAPER_DROPS
            ),
            target("points that the teacher is worth", drops["without teacher"]["mean"], at_least=0.0),
        ],
        complete=len(raw) == 3 * (2 * len(TASKS) + (len(ARMS) - 1) * len(ABLATION)) and timed is not None,
        seeds=sorted({row["seed"] for row in raw}),
    )


def by_seed(raw: list[dict[str, Any]], arm: str, tasks: tuple[str, ...]) -> dict[int, float]:
    """The mean over the tasks at each seed that all of them have: arms are compared seed by seed."""
    found = {
        seed: [row["points"] for row in raw if (row["model"], row["seed"]) == (arm, seed) and row["task"] in tasks]
        for seed in sorted({row["seed"] for row in raw})
    }
    return {seed: statistics.fmean(points) for seed, points in found.items() if len(points) == len(tasks)}


def _costs(models: Any) -> dict[str, Any]:
    if models is None:
        return {}
    student, teacher = (next(entry for entry in models if entry["name"] == name) for name in ("student", "teacher"))
    keys = ("parameters", "embedding_parameters", "size_bytes")
    inner = [model["parameters"] - model["embedding_parameters"] for model in (student, teacher)]
    return {
        "student": {key: student[key] for key in keys},
        "teacher": {key: teacher[key] for key in keys},
        "ratio": student["parameters"] / teacher["parameters"],
        "ratio_without_embeddings": inner[0] / inner[1],
    }


def main() -> None:
    """Arm by arm, its tasks at all seeds; teacher and student on all of them, the other arms on two."""
    setting = begin(__doc__)
    timed = known(setting).get("seconds")
    for arm in ("teacher", *arms(setting)):
        done = {(row["task"], row["seed"]) for row in scores(setting) if row["model"] == arm}
        tasks = TASKS if arm in ("teacher", "all three") else ABLATION
        for seed in setting.seeds:
            for task in tasks:
                if (task, seed) not in done:
                    if arm != "teacher":
                        distill(setting, arm, **ARMS[arm])
                    finetune(setting, arm, task, seed)
            timed = timed or seconds(setting)
            report(setting, timed)


if __name__ == "__main__":
    main()
