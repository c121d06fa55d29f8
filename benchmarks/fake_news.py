"""Fake news by ULMFiT: what do discriminative rates, gradual unfreezing and the language-model stage each give?

A small AWD-LSTM is trained on Wikipedia for an hour, adapted to the articles (their labels are not looked at), then made a
classifier. Nearly all true articles open with an agency's dateline, which gives the label away: it is kept once, with all
labels, and then stripped, with few.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from evidence import (
    Setting,
    begin,
    earlier,
    finished,
    run,
    score_of,
    spread,
    target,
    validation_score,
    with_earlier,
    write,
    write_rows,
)

WIKIPEDIA_MINUTES = 60
"""The language model's first stage, once for all seeds. It has so many texts as fit, and ends in time in any case."""
WIKIPEDIA_TEXTS_A_MINUTE = 1000
TRAIN_ROWS, VALIDATION_ROWS, TEST_ROWS = 1400, 300, 600
WORDS = 120
"""An article is cut after so many words: about 160 pieces."""
SETS = {"dateline, 1400": ("dateline", 1400), "stripped, 500": ("stripped", 500), "stripped, 100": ("stripped", 100)}
LM_ARMS: dict[str, dict[str, Any]] = {"one rate": {}, "discriminative": {"discriminative": 2.6}}
LM_EPOCHS, LM_PEAKS = 2, (1e-3, 4e-3, 1.6e-2, 6.4e-2)
ARMS: dict[str, dict[str, Any]] = {
    "one rate": {},
    "discriminative": {"discriminative": 2.6},
    "gradual": {"discriminative": 2.6, "unfreeze": ["gradual"]},
}
WITHOUT = "gradual, without the language-model stage"
"""The classifier of the last arm on the encoder of Wikipedia as it is."""
STAGES = 4
EPOCHS = {1400: 4, 500: 8, 100: 20}
"""Of every arm; gradual unfreezing has a fourth of them for each of its stages."""
PEAKS = (1e-3, 3e-3, 1e-2, 3e-2)
TUNED_ON = "stripped, 100"
CUMULATIVE = ("one rate", "then discriminative", "then gradual")
BATCH_SIZE = 32
DATELINE = re.compile(r"^.{0,250}?\((?:Reuters|LPC/IFR)[^)]{0,20}\)\s*[-–—]*\s*")
CONFIG = {
    "model": "awd_lstm, 200/512 x 2, bpe:8000",
    "data": "wikipedia_en, isot_fake_news",
    "wikipedia_minutes": WIKIPEDIA_MINUTES,
    "wikipedia_texts_a_minute": WIKIPEDIA_TEXTS_A_MINUTE,
    "rows": {"train": TRAIN_ROWS, "validation": VALIDATION_ROWS, "test": TEST_ROWS, "drawn": "with the seed, balanced"},
    "words_of_an_article": WORDS,
    "dateline": DATELINE.pattern,
    "language_model": {"arms": LM_ARMS, "epochs": LM_EPOCHS, "peaks": LM_PEAKS},
    "classifier": {"arms": ARMS, "epochs": EPOCHS, "peaks": PEAKS, "peaks_tuned_on": TUNED_ON},
    "schedule": "slanted_triangular",
    "batch_size": BATCH_SIZE,
    "reference": {
        "language model accuracy": {"one rate": 0.334, "discriminative": 0.353},
        "classifier accuracy": dict(zip(CUMULATIVE, (0.995, 0.998, 1.0))),
    },
}


# Data


def cut(text: str, *, stripped: bool) -> str:
    """The beginning of an article, with its dateline or without.

    Example:
        >>> cut("WASHINGTON (Reuters) - The Senate met.", stripped=True)
        'The Senate met.'
    """
    return " ".join((DATELINE.sub("", text) if stripped else text).split()[:WORDS])


def data(setting: Setting, variant: str, seed: int) -> str:
    """Articles drawn with the seed, the same ones with and without their dateline."""
    import numpy as np

    from understudy.data.readers.sources import load_splits
    from understudy.data.splits import Rows
    from understudy.data.subsets import draw_rows
    from understudy.data.texts import Texts

    folder = setting.runs / "fake_news" / "data" / f"{variant}-{seed}"
    if not (folder / "train.csv").exists():
        source = setting.data("isot_fake_news")
        # no rows are to be cut off for validation here, so a file is named for it
        found = load_splits(source, text=["text"], validation=f"{source}/{_test_file(source)}", seed=seed)
        assert found.test is not None
        test = draw_rows(np.arange(len(found.test)), found.test.labels, setting.pick(TEST_ROWS, 100), seed)
        everything = np.arange(len(found.train))
        train = draw_rows(everything, found.train.labels, setting.pick(TRAIN_ROWS, 200), seed)
        rest = np.setdiff1d(everything, train)
        validation = draw_rows(rest, found.train.labels[rest], setting.pick(VALIDATION_ROWS, 60), seed)
        parts = {
            "test": found.test.take(test),
            "validation": found.train.take(validation),
            "train": found.train.take(train),
        }
        for name, rows in parts.items():  # the training rows last: their file says that all are there
            texts = [cut(text, stripped=variant == "stripped") for (text,) in rows.texts]
            kept = np.array([i for i, text in enumerate(texts) if text])
            write_rows(
                folder / f"{name}.csv",
                Rows(Texts.of([texts[i] for i in kept]), rows.labels[kept], rows.origin),
                ("true", "fake"),
            )
    return str(folder)


def _test_file(source: str) -> str:
    return next(path.name for path in Path(source).glob("test.csv*"))


# Language models


def wikipedia(setting: Setting) -> Any:
    """The recipe of the general language model."""
    from understudy.recipes.train.pretrain.recipe import Pretrain
    from understudy.settings.train.pretrain import AWDLSTMOptions

    sizes = AWDLSTMOptions(embedding=16, hidden=24) if setting.quick else AWDLSTMOptions()
    return Pretrain(
        data=setting.data("wikipedia_en"),
        limit_train=setting.pick(WIKIPEDIA_MINUTES * WIKIPEDIA_TEXTS_A_MINUTE, 200),
        model="awd_lstm",
        awd_lstm=sizes,
        tokenizer=f"bpe:{setting.pick(8000, 500)}",
        drop_mult=0.3,
        learning_rate=3e-3,
        batch_size=BATCH_SIZE,
        epochs=1,
        eval_steps=500,
        time_budget=f"{WIKIPEDIA_MINUTES}m",
        output=str(setting.runs / "fake_news" / "wikipedia"),
        resume=True,
    )


def adapted(setting: Setting, variant: str, arm: str, peak: float, seed: int) -> Any:
    """The recipe of the language model of the articles."""
    from understudy.recipes.train.pretrain.recipe import Pretrain

    return Pretrain(
        data=data(setting, variant, seed),
        model=wikipedia(setting).output,
        drop_mult=0.5,
        learning_rate=peak,
        schedule="slanted_triangular",
        batch_size=BATCH_SIZE,
        epochs=setting.pick(LM_EPOCHS, 1),
        seed=seed,
        output=str(setting.runs / "fake_news" / f"lm-{variant}-{arm.replace(' ', '-')}-{peak:g}-{seed}"),
        resume=True,
        **LM_ARMS[arm],
    )


# Classifiers


def classifier(setting: Setting, name: str, arm: str, chosen: dict[str, Any], seed: int, **changes: Any) -> Any:
    """The recipe of a classifier. That of the first arm fits TF-IDF, too."""
    from understudy.recipes.train.finetune.recipe import Finetune

    variant, labels = SETS[name]
    plain = "gradual" if arm == WITHOUT else arm
    lm = adapted(setting, variant, "discriminative", chosen["language model, discriminative"]["peak"], seed)
    epochs = setting.pick(EPOCHS[labels], STAGES)
    options: dict[str, Any] = {
        "model": wikipedia(setting).output if arm == WITHOUT else lm.output,
        "learning_rate": chosen.get(f"classifier, {plain}", {}).get("peak"),
        "output": str(folder_of(setting, name, arm, seed)),
        "baseline": arm == "one rate",
        **ARMS[plain],
        **changes,
    }
    if "unfreeze" in options:
        options["unfreeze_epochs"] = [epochs // STAGES]
    return Finetune(
        data=data(setting, variant, seed),
        limit_train=setting.pick(labels, 40 + labels // 20),
        epochs=epochs,
        batch_size=BATCH_SIZE,
        schedule="slanted_triangular",
        seed=seed,
        resume=True,
        **options,
    )


def folder_of(setting: Setting, name: str, arm: str, seed: int) -> Path:
    """The run folder of a classifier."""
    return setting.runs / "fake_news" / f"{name}-{arm}-{seed}".replace(", ", "-").replace(" ", "-")


def cumulative(setting: Setting, chosen: dict[str, Any], seed: int) -> list[Any]:
    """The reference's protocol: discriminative rates, then gradual unfreezing, on the classifier of the first arm."""
    name = next(iter(SETS))
    first = classifier(setting, name, "one rate", chosen, seed)
    second = classifier(
        setting,
        name,
        "discriminative",
        chosen,
        seed,
        model=first.output,
        output=str(folder_of(setting, name, CUMULATIVE[1], seed)),
    )
    third = classifier(
        setting,
        name,
        "gradual",
        chosen,
        seed,
        model=second.output,
        output=str(folder_of(setting, name, CUMULATIVE[2], seed)),
    )
    return [first, second, third]


# Rates


def choose(setting: Setting, chosen: dict[str, Any]) -> dict[str, Any]:
    """The best peak of each arm by the validation rows, at seed 0."""
    from dataclasses import replace

    for arm in LM_ARMS:
        if f"language model, {arm}" not in chosen:
            peaks = LM_PEAKS[-setting.pick(len(LM_PEAKS), 1) :]
            recipes = {peak: adapted(setting, "dateline", arm, peak, 0) for peak in peaks}
            losses = {f"{peak:g}": validation_score(recipe, "loss") for peak, recipe in recipes.items()}
            best = min(losses, key=losses.__getitem__)
            chosen[f"language model, {arm}"] = {"peak": float(best), "validation_loss": losses}
    run(adapted(setting, SETS[TUNED_ON][0], "discriminative", chosen["language model, discriminative"]["peak"], 0))
    for arm in ARMS:
        if f"classifier, {arm}" not in chosen:
            scores = {}
            for peak in PEAKS[-setting.pick(len(PEAKS), 1) :]:
                recipe = classifier(setting, TUNED_ON, arm, chosen, 0, learning_rate=peak)
                recipe = replace(recipe, output=f"{recipe.output}-tried-{peak:g}")
                scores[f"{peak:g}"] = validation_score(recipe, "accuracy")
            best = max(scores, key=scores.__getitem__)
            chosen[f"classifier, {arm}"] = {"peak": float(best), "validation_accuracy": scores}
    return chosen


# Results


def known(setting: Setting) -> dict[str, Any]:
    """What the result file holds: runs, and the chosen rates."""
    return earlier(setting, "fake_news", CONFIG).get("raw", {})


def language_models(setting: Setting, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every language model that is finished by now; its accuracy is that of the next piece, on test articles."""
    rows = []
    for variant, arm in _lm_runs():
        for seed in (0, 1, 2):
            peak = chosen[f"language model, {arm}"]["peak"]
            record = finished(Path(adapted(setting, variant, arm, peak, seed).output))
            if record is not None:
                after, before = (record.model(name)["metrics"] for name in ("model", "before training"))
                row = {"variant": variant, "arm": arm, "seed": seed, **after["test"]}
                row["accuracy_before"] = before["test"]["accuracy"]
                rows.append(row | {"seconds": record.timings["train_s"]})
    return with_earlier(rows, known(setting).get("language_models", []), by=("variant", "arm", "seed"))


def _lm_runs() -> list[tuple[str, str]]:
    return [("dateline", arm) for arm in LM_ARMS] + [("stripped", "discriminative")]


def classifiers(setting: Setting) -> list[dict[str, Any]]:
    """A row for every classifier that is finished by now."""
    rows = []
    for name in SETS:
        steps = CUMULATIVE[1:] if name == next(iter(SETS)) else ()
        for arm in (*ARMS, WITHOUT, *steps):
            for seed in (0, 1, 2):
                record = finished(folder_of(setting, name, arm, seed))
                if record is not None:
                    row = {"set": name, "arm": arm, "seed": seed, "accuracy": score_of(record, "model")}
                    row |= {"tfidf": score_of(record, "tfidf"), "steps": record.training["train"]["steps"]}
                    rows.append(row | {"seconds": record.timings["train_s"]})
    return with_earlier(rows, known(setting).get("classifiers", []), by=("set", "arm", "seed"))


def _difference(rows: list[dict[str, Any]], name: str, arm: str, other: str) -> float | None:
    """The mean over the seeds that have both; `other` may be ``tfidf``."""
    of = {(row["arm"], row["seed"]): row for row in rows if row["set"] == name}
    pairs = []
    for seed in (0, 1, 2):
        one = of.get((arm, seed), {}).get("accuracy")
        two = (
            of.get(("one rate", seed), {}).get("tfidf")
            if other == "tfidf"
            else of.get((other, seed), {}).get("accuracy")
        )
        if one is not None and two is not None:
            pairs.append(one - two)
    return spread(pairs)["mean"]


def report(setting: Setting, chosen: dict[str, Any]) -> None:
    """Write down what is finished by now."""
    models, rows = language_models(setting, chosen), classifiers(setting)
    general = finished(Path(wikipedia(setting).output))
    summary: dict[str, Any] = {
        "language_model": {
            f"{variant}, {arm}": {
                key: spread([row[key] for row in models if (row["variant"], row["arm"]) == (variant, arm)])
                for key in ("accuracy", "perplexity", "accuracy_before")
            }
            for variant, arm in _lm_runs()
        },
        "classifier": {},
    }
    for name in SETS:
        here = [row for row in rows if row["set"] == name]
        arms = (*ARMS, WITHOUT)
        table = {arm: spread([row["accuracy"] for row in here if row["arm"] == arm]) for arm in arms}
        summary["classifier"][name] = table | {
            "tfidf": spread([row["tfidf"] for row in here if row["arm"] == "one rate"])
        }
    first = next(iter(SETS))
    summary["cumulative"] = {
        step: spread([row["accuracy"] for row in rows if (row["set"], row["arm"]) == (first, step)])
        for step in CUMULATIVE
    }
    if general is not None:
        training = general.training["train"]
        summary["wikipedia"] = {**general.model("model")["metrics"]["test"], "seconds": training["seconds"]}
    accuracy = {arm: summary["language_model"][f"dateline, {arm}"]["accuracy"]["mean"] for arm in LM_ARMS}
    gain = None if None in accuracy.values() else accuracy["discriminative"] - accuracy["one rate"]
    equal = [row for row in rows if row["arm"] in (*ARMS, WITHOUT)]
    steps = {name: {row["steps"] for row in equal if row["set"] == name} for name in SETS}
    write(
        setting,
        "fake_news",
        question=__doc__ or "",
        config=CONFIG,
        raw={"language_models": models, "classifiers": rows, "chosen_on_validation_rows_at_seed_0": chosen},
        summary=summary,
        targets=[
            target("language-model accuracy, discriminative rates above one rate", gain, at_least=0.0),
            *(
                target(f"accuracy, {name}, {what}", _difference(rows, name, "gradual", other), at_least=0.0)
                for name in SETS
                for what, other in (
                    ("gradual unfreezing above all at once", "one rate"),
                    ("with the language-model stage above without", WITHOUT),
                    ("above TF-IDF", "tfidf"),
                )
            ),
            target(
                "difference between the arms in steps",
                max((max(found) - min(found) for found in steps.values() if found), default=None),
                at_most=0,
            ),
        ],
        complete=len(models) == 3 * len(_lm_runs()) and len(rows) == 3 * (len(SETS) * (len(ARMS) + 1) + 2),
        seeds=sorted({row["seed"] for row in rows}),
    )


def main() -> None:
    """Wikipedia, the rates of each arm at seed 0, then for each seed what is not there yet."""
    setting = begin(__doc__)
    run(wikipedia(setting))
    chosen = choose(setting, dict(known(setting).get("chosen_on_validation_rows_at_seed_0", {})))
    for seed in setting.seeds:
        for variant, arm in _lm_runs():
            run(adapted(setting, variant, arm, chosen[f"language model, {arm}"]["peak"], seed))
            report(setting, chosen)
        for name in SETS:
            for arm in (*ARMS, WITHOUT):
                run(classifier(setting, name, arm, chosen, seed))
                report(setting, chosen)
        for recipe in cumulative(setting, chosen, seed):
            run(recipe)
        report(setting, chosen)


if __name__ == "__main__":
    main()
