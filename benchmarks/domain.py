"""A domain: ALBERT-shaped models beside a BERT-shaped one, all adapted to reviews of books for ten epochs.

The BERT-shaped one is the masked language model itself. Of the others one has ALBERT's factorised embeddings alone, one
its shared block as well; they are cut from it and distilled on English texts first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapting import ROUNDS, adapt, seconds_in_turn, shown
from distilbert import PRECISION, TEACHER, TOKENS, TOKENS_A_TEXT
from evidence import Setting, begin, earlier, run, spread, target, with_earlier, write

EPOCHS = 10
TIMED_TEXTS = 128
LENGTH, BATCH = 128, 32
RATE = "5e-4"
SHAPES: dict[str, dict[str, Any]] = {"factorised": {"embedding": 128, "share": "none"}, "albert": {"embedding": 128}}
"""What else there is of sizes is the teacher's."""
TEXT = "The author fails to [MASK] the plot."
MODELS = ("bert", *SHAPES)
OPTIONS: dict[str, Any] = {
    "learning_rate": RATE,
    "batch_size": BATCH,
    "max_length": LENGTH,
    "blocks": "pack",
    "precision": PRECISION,
}
CONFIG: dict[str, Any] = {
    "bert": "minilm-mlm",
    "students": SHAPES,
    "distilled": {"on": "wikipedia_en", "tokens": TOKENS, "teacher": "minilm-mlm"},
    "texts": "amazon_reviews/books",
    "epochs": EPOCHS,
    **OPTIONS,
    "text": TEXT,
}


def start(setting: Setting, model: str) -> str:
    """What is adapted: the BERT-shaped model, or one that is distilled from it first."""
    if model == "bert":
        return TEACHER
    from understudy.recipes.train.distill_lm.recipe import DistillLM
    from understudy.settings.student_options import AlbertOptions

    folder = setting.runs / "domain" / model
    run(
        DistillLM(
            data=setting.data("wikipedia_en"),
            limit_train=setting.pick(TOKENS // TOKENS_A_TEXT, 64),
            teacher=TEACHER,
            student="albert",
            albert=AlbertOptions(**SHAPES[model]),
            epochs=1,
            batch_size=BATCH,
            max_length=LENGTH,
            precision=PRECISION,
            output=str(folder),
        )
    )
    return str(folder)


def at(setting: Setting, model: str, seed: int) -> Path:
    """The run folder of an adapted model."""
    return setting.runs / "domain" / f"{model}-{seed}"


def found(setting: Setting, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is finished by now and not known yet."""
    rows = []
    measured = {(row["model"], row["seed"]) for row in known}
    for model, seed in ((model, seed) for seed in (0, 1, 2) for model in MODELS):
        if (model, seed) not in measured:
            data = setting.data("amazon_reviews/books")
            entry = shown(at(setting, model, seed), data=data, text=TEXT, max_length=LENGTH, quick=setting.quick)
            rows += [] if entry is None else [{"model": model, "seed": seed, **entry}]
    return rows


def report(setting: Setting, timed: dict[str, Any] | None) -> None:
    """Write down what is finished by now."""
    known = earlier(setting, "domain", CONFIG).get("raw", {"arms": []})["arms"]
    raw = with_earlier(found(setting, known), known, by=("model", "seed"))
    first = {row["seed"]: row["loss"] for row in raw if row["model"] == MODELS[0]}
    summary: dict[str, Any] = {}
    for model in MODELS:
        rows = [row for row in raw if row["model"] == model]
        if rows:
            summary[model] = {name: spread([row[name] for row in rows]) for name in ("loss_before", "loss", "accuracy")}
            summary[model] |= {name: rows[0][name] for name in ("parameters", "size_bytes", "fillings")}
            summary[model]["loss_above_first"] = spread(
                [row["loss"] - first[row["seed"]] for row in rows if row["seed"] in first]
            )
            summary[model]["epoch_s"] = None if timed is None else timed[model]["epoch_s"]
    smaller = {
        shape: None if {shape, "bert"} - set(summary) else summary[shape]["parameters"] / summary["bert"]["parameters"]
        for shape in SHAPES
    }
    write(
        setting,
        "domain",
        question=__doc__ or "",
        config=CONFIG,
        raw={"arms": raw, "seconds": timed},
        summary=summary | {"parameters_over_bert": smaller},
        targets=[
            target(
                "parameters of the ALBERT-shaped model over those of the BERT-shaped one",
                smaller["albert"],
                at_most=0.5,
            )
        ],
        complete=len(raw) == 3 * len(MODELS) and timed is not None,
        seeds=sorted({row["seed"] for row in raw}),
    )


def main() -> None:
    """Train all at one seed before the next, and time their epochs in turn."""
    setting = begin(__doc__)
    data = setting.data("amazon_reviews/books")
    timed = earlier(setting, "domain", CONFIG).get("raw", {}).get("seconds")
    for seed in setting.seeds:
        for model in MODELS:
            folder = at(setting, model, seed)
            adapt(setting, folder, model=start(setting, model), data=data, seed=seed, epochs=EPOCHS, **OPTIONS)
        report(setting, timed)
    if timed is None:
        timed = seconds_in_turn(
            {model: {"model": start(setting, model), **OPTIONS} for model in MODELS},
            data=data,
            texts=setting.pick(TIMED_TEXTS, 16),
            rounds=setting.pick(ROUNDS, 1),
        )
        report(setting, timed)


if __name__ == "__main__":
    main()
