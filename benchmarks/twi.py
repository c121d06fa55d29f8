"""A low-resource language: what does a student of half the depth lose when teacher and student learn Twi for equal epochs?

Both know English alone. Each learns with the vocabulary that it has, which cuts Twi into small pieces, and with one
learnt from the Twi texts. Losses a token cannot be compared between the two vocabularies; losses a character can.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from adapting import ROUNDS, adapt, seconds_in_turn, shown, word_by_word
from distilbert import PRECISION, TEACHER, TOKENS, distill, folder_of
from evidence import Setting, begin, earlier, finished, spread, target, with_earlier, write

EPOCHS = 3
TIMED_TEXTS = 640
LENGTH, BATCH = 128, 32
WORDS = 500
"""Of the test texts, that are guessed piece by piece."""
RATE = "5e-4"
OPTIONS: dict[str, Any] = {"learning_rate": RATE, "batch_size": BATCH, "max_length": LENGTH, "precision": PRECISION}
VOCABULARIES = {"old vocabulary": "keep", "new vocabulary": "new:16000"}
TEXT = "Eyi de ɔhaw kɛse baa [MASK] hɔ."
"""This brought a great problem to … ."""
IN_ORDER = "nats_a_character_in_order"
REFERENCE = {"time an epoch": 0.75, "loss": {"teacher": 0.77, "student": 0.81}, "parameters": 135.5 / 178.6}
"""A published DistilBERT of multilingual BERT on Twi texts, beside its teacher; of other texts, so only its ratios compare."""
CONFIG: dict[str, Any] = {
    "teacher": "minilm-mlm",
    "student": f"layers:3, distilled from it on {TOKENS:,} tokens of wikipedia_en",
    "texts": "twi",
    "epochs": EPOCHS,
    **OPTIONS,
    "vocabularies": VOCABULARIES,
    "text": TEXT,
}


def models(setting: Setting) -> dict[str, str]:
    """The teacher, and the student that was distilled from it on English texts."""
    distill(setting, "all three")
    return {"teacher": TEACHER, "student": str(folder_of(setting, "all three"))}


def arms() -> list[tuple[str, str]]:
    """Model and vocabulary, teacher and student side by side."""
    return [(model, vocabulary) for vocabulary in VOCABULARIES for model in ("teacher", "student")]


def at(setting: Setting, model: str, vocabulary: str, seed: int) -> Path:
    """The run folder of an arm."""
    return setting.runs / "twi" / f"{model}-{vocabulary.split()[0]}-{seed}"


def choice(setting: Setting, vocabulary: str) -> str:
    """What ``--vocabulary`` is told."""
    return "new:600" if setting.quick and vocabulary == "new vocabulary" else VOCABULARIES[vocabulary]


def start(setting: Setting, model: str, vocabulary: str) -> str:
    """The model that an arm starts from, for timing: carried to the new vocabulary already."""
    name = models(setting)[model]
    if VOCABULARIES[vocabulary] == "keep":
        return name
    from understudy.data.readers.corpus import load_corpus
    from understudy.models.files.save import save_model
    from understudy.models.masked import load_masked_model
    from understudy.recipes.train.pretrain.new_vocabulary import carry

    folder = setting.runs / "twi" / f"start-{model}"
    if not folder.exists():
        found, texts = load_masked_model(name), load_corpus(setting.data("twi")).train
        carried = carry(found.model, found.tokenizer, texts, vocabulary=choice(setting, vocabulary))
        save_model(folder, carried.model, carried.tokenizer, task=None, max_length=LENGTH)
    return str(folder)


def report(setting: Setting, timed: dict[str, Any] | None) -> None:
    """Write down what is finished by now."""
    known = earlier(setting, "twi", CONFIG).get("raw", {"arms": []})["arms"]
    raw = with_earlier(found(setting, known), known, by=("model", "vocabulary", "seed"))
    summary: dict[str, Any] = {}
    for model, vocabulary in arms():
        rows = [row for row in raw if (row["model"], row["vocabulary"]) == (model, vocabulary)]
        if rows:
            names = ("loss", "accuracy", "nats_a_character", IN_ORDER, "run_s_an_epoch")
            summary[f"{model}, {vocabulary}"] = {name: spread([row[name] for row in rows]) for name in names} | {
                name: rows[0][name]
                for name in ("parameters", "characters_a_token", "unknown_tokens", "fillings", "notes")
            }
    ratios = {name: _ratio(summary, name) for name in ("parameters", "nats_a_character", IN_ORDER, "loss")}
    faster = {vocabulary: _time_ratio(timed, vocabulary) for vocabulary in VOCABULARIES}
    gains = {
        name: {
            model: None if f"{model}, new vocabulary" not in summary else _new_over_old(summary, model, name)
            for model in ("teacher", "student")
        }
        for name in (IN_ORDER, "nats_a_character")
    }
    write(
        setting,
        "twi",
        question=__doc__ or "",
        config=CONFIG,
        raw={"arms": raw, "seconds": timed},
        summary={
            "arms": summary,
            "student_over_teacher": {**ratios, "time_an_epoch": faster},
            "new_over_old": gains,
            "reference": REFERENCE,
        },
        targets=[
            target(
                "student's time an epoch over the teacher's, old vocabulary", faster["old vocabulary"], at_most=0.75
            ),
            target("student's loss over the teacher's, old vocabulary", ratios["loss"], at_most=0.81 / 0.77),
            target("student's parameters over the teacher's", ratios["parameters"], at_most=1.0),
            *(
                target(f"{model}'s nats a character, new vocabulary over old", gain, at_most=1.0)
                for model, gain in gains[IN_ORDER].items()
            ),
        ],
        complete=len(raw) == 3 * len(arms()) and timed is not None,
        seeds=sorted({row["seed"] for row in raw}),
    )


def found(setting: Setting, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is finished by now and not known yet."""
    from understudy.data.readers.sources import read_texts

    rows = []
    data = setting.data("twi")
    texts = list(read_texts(f"{data}/test.txt"))[: setting.pick(WORDS, 10)]
    measured = {(row["model"], row["vocabulary"], row["seed"]): row for row in known}
    for seed in (0, 1, 2):
        for model, vocabulary in arms():
            row, folder = measured.get((model, vocabulary, seed)), at(setting, model, vocabulary, seed)
            if finished(folder) is None or (row is not None and IN_ORDER in row):
                continue
            entry = row or shown(folder, data=data, text=TEXT, max_length=LENGTH, quick=setting.quick)
            assert entry is not None, "a finished run has something to say"
            nats = word_by_word(folder, texts, max_length=LENGTH)
            rows.append({"model": model, "vocabulary": vocabulary, "seed": seed, **entry, IN_ORDER: nats})
            print(f"{model}, {vocabulary}, seed {seed}: {nats:.3f} nats a character", flush=True)
    return rows


def _mean(value: Any) -> float:
    return float(value["mean"] if isinstance(value, dict) else value)


def _ratio(summary: dict[str, Any], name: str) -> float | None:
    """Student over teacher, with the old vocabulary."""
    both = [summary.get(f"{model}, old vocabulary") for model in ("student", "teacher")]
    return None if None in both else _mean(both[0][name]) / _mean(both[1][name])


def _new_over_old(summary: dict[str, Any], model: str, name: str) -> float:
    new, old = (_mean(summary[f"{model}, {kind} vocabulary"][name]) for kind in ("new", "old"))
    return new / old


def _time_ratio(timed: dict[str, Any] | None, vocabulary: str) -> float | None:
    if timed is None:
        return None
    student, teacher = (timed[f"{model}, {vocabulary}"]["rounds"] for model in ("student", "teacher"))
    return statistics.median(student) / statistics.median(teacher)


def main() -> None:
    """Time all arms in turn, then train them; everything at one seed before the next."""
    setting = begin(__doc__)
    data, known = setting.data("twi"), models(setting)
    timed = earlier(setting, "twi", CONFIG).get("raw", {}).get("seconds") or seconds_in_turn(
        {
            f"{model}, {vocabulary}": {"model": start(setting, model, vocabulary), **OPTIONS}
            for model, vocabulary in arms()
        },
        data=data,
        texts=setting.pick(TIMED_TEXTS, 64),
        rounds=setting.pick(ROUNDS, 1),
    )
    for seed in setting.seeds:
        for model, vocabulary in arms():
            adapt(
                setting,
                at(setting, model, vocabulary, seed),
                model=known[model],
                data=data,
                seed=seed,
                epochs=EPOCHS,
                vocabulary=choice(setting, vocabulary),
                **OPTIONS,
            )
        report(setting, timed)


if __name__ == "__main__":
    main()
