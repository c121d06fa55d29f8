"""A domain: an ALBERT-shaped model beside a BERT-shaped one, both adapted to reviews of books for ten epochs.

The BERT-shaped one is the masked language model itself; the ALBERT-shaped one (factorised embeddings, one block for all
layers) is cut from it and distilled on English texts first.
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
ALBERT = {"embedding": 128}
"""Its other sizes are its teacher's."""
TEXT = "The author fails to [MASK] the plot."
MODELS = ("bert", "albert")
OPTIONS: dict[str, Any] = {
    "learning_rate": RATE,
    "batch_size": BATCH,
    "max_length": LENGTH,
    "blocks": "pack",
    "precision": PRECISION,
}
CONFIG: dict[str, Any] = {
    "bert": "minilm-mlm",
    "albert": ALBERT | {"distilled_on": "wikipedia_en", "tokens": TOKENS, "teacher": "minilm-mlm"},
    "texts": "amazon_reviews/books",
    "epochs": EPOCHS,
    **OPTIONS,
    "text": TEXT,
}


def albert(setting: Setting) -> str:
    """The ALBERT-shaped model, distilled from the BERT-shaped one."""
    from understudy.recipes.distill_lm import DistillLM
    from understudy.recipes.language_students import AlbertOptions

    folder = setting.runs / "domain" / "albert"
    run(
        DistillLM(
            data=setting.data("wikipedia_en"),
            limit_train=setting.pick(TOKENS // TOKENS_A_TEXT, 64),
            teacher=TEACHER,
            student="albert",
            albert=AlbertOptions(**ALBERT),
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


def report(setting: Setting, timed: dict[str, Any]) -> None:
    """Write down what is finished by now."""
    known = earlier(setting, "domain", CONFIG).get("raw", {"arms": []})["arms"]
    raw = with_earlier(found(setting, known), known, by=("model", "seed"))
    summary: dict[str, Any] = {}
    for model in MODELS:
        rows = [row for row in raw if row["model"] == model]
        if rows:
            summary[model] = {name: spread([row[name] for row in rows]) for name in ("loss", "accuracy")}
            summary[model] |= {name: rows[0][name] for name in ("parameters", "size_bytes", "loss_before", "fillings")}
            summary[model]["epoch_s"] = timed[model]["epoch_s"]
    both = [summary.get(model) for model in ("albert", "bert")]
    ratio = None if None in both else both[0]["parameters"] / both[1]["parameters"]
    write(
        setting,
        "domain",
        question=__doc__ or "",
        config=CONFIG,
        raw={"arms": raw, "seconds": timed},
        summary=summary | {"albert_over_bert_parameters": ratio},
        targets=[target("the ALBERT-shaped model's parameters over the BERT-shaped one's", ratio, at_most=0.5)],
        complete=len(raw) == 3 * len(MODELS),
        seeds=sorted({row["seed"] for row in raw}),
    )


def main() -> None:
    """Time both in turn, then train them; everything at one seed before the next."""
    setting = begin(__doc__)
    data, known = setting.data("amazon_reviews/books"), {"bert": TEACHER, "albert": albert(setting)}
    timed = earlier(setting, "domain", CONFIG).get("raw", {}).get("seconds") or seconds_in_turn(
        {model: {"model": known[model], **OPTIONS} for model in MODELS},
        data=data,
        texts=setting.pick(TIMED_TEXTS, 16),
        rounds=setting.pick(ROUNDS, 1),
    )
    for seed in setting.seeds:
        for model in MODELS:
            adapt(setting, at(setting, model, seed), model=known[model], data=data, seed=seed, epochs=EPOCHS, **OPTIONS)
        report(setting, timed)


if __name__ == "__main__":
    main()
