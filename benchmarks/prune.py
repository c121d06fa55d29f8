"""Half of the heads of the 6-layer encoder gone: what does that cost on SST-2, how much faster is it? And what do fewer words save?

The teacher is fine-tuned on 10,000 rows. Half of its heads go at once without training, in rounds with fine-tuning, and in
rounds with distillation from the teacher; then half of its heads and of its neurons. The words: a model of the shape of the
multilingual MiniLM (12 layers of 384, 250,002 tokens) with random weights and a vocabulary of several languages is reduced
to the tokens of the Twi corpus.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from evidence import (
    DATA,
    Setting,
    begin,
    cost,
    earlier,
    finished,
    in_turn,
    run,
    score_of,
    spread,
    target,
    with_earlier,
    write,
)

ROWS, TEACHER_EPOCHS, ROUNDS, EPOCHS = 10_000, 2, 3, 1
ARMS: dict[str, dict[str, Any]] = {
    "heads, distilled": {"heads": 0.5, "rounds": ROUNDS, "epochs": EPOCHS},
    "heads, untrained": {"heads": 0.5, "rounds": 0},
    "heads, fine-tuned": {"heads": 0.5, "rounds": ROUNDS, "epochs": EPOCHS, "recovery": "finetune"},
    "heads and neurons, distilled": {"heads": 0.5, "neurons": 0.5, "rounds": ROUNDS, "epochs": EPOCHS},
}
MAIN = "heads, distilled"
SPEED_TEXTS, SPEED_ROUNDS = 400, 7
"""Test rows that both models answer in turn, and how often."""
TOKENS, WIDTH, LAYERS, TRAINED = 250_002, 384, 12, 8_000
"""Shape of the multilingual model; the tokens that are learnt from texts, the others are made up."""
CONFIG = {
    "rows": ROWS,
    "teacher_epochs": TEACHER_EPOCHS,
    "arms": ARMS,
    "tokens": TOKENS,
    "width": WIDTH,
    "layers": LAYERS,
}


def folder_of(setting: Setting, name: str, seed: int) -> Path:
    """Where a run lies."""
    return setting.runs / "prune" / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"


def teacher(setting: Setting, seed: int) -> Any:
    """The record of the fine-tuned encoder."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    return run(
        Finetune(
            data=setting.data("sst2"),
            model=bundled_encoder(),
            limit_train=setting.pick(ROWS, 200),
            epochs=setting.pick(TEACHER_EPOCHS, 1),
            contrastive="never",
            baseline=False,
            seed=seed,
            output=str(folder_of(setting, "teacher", seed)),
        )
    )


def prune(setting: Setting, arm: str, seed: int) -> Any:
    """The record of a pruning; the rows are those of the teacher's run."""
    from understudy.recipes.ship.prune.recipe import Prune

    options = dict(ARMS[arm])
    if setting.quick and "epochs" in options:
        options |= {"epochs": 1, "rounds": 2}
    return run(
        Prune(
            model=str(folder_of(setting, "teacher", seed)),
            seed=seed,
            output=str(folder_of(setting, arm, seed)),
            **options,
        )
    )


def times_faster(setting: Setting, arm: str, seed: int) -> float:
    """Texts a second of the pruned model over those of the unpruned one, on the test rows, in turn on one thread."""
    import torch

    import understudy
    from understudy.data.readers.sources import load_splits

    folder = folder_of(setting, arm, seed)
    kept = folder.with_name(f"{folder.name}-speed.json")
    if not kept.exists():
        rows = load_splits(setting.data("sst2")).reporting()[1]
        texts = [text for (text,) in rows.texts][: setting.pick(SPEED_TEXTS, 20)]
        torch.set_num_threads(1)
        models = {name: understudy.load(str(folder_of(setting, name, seed))) for name in ("teacher", arm)}

        def seconds(name: str) -> float:
            start = time.perf_counter()
            models[name].logits(texts)
            return time.perf_counter() - start

        times = in_turn(
            {name: lambda name=name: seconds(name) for name in models}, rounds=setting.pick(SPEED_ROUNDS, 1)
        )
        ratio = statistics.median(times["teacher"]) / statistics.median(times[arm])
        kept.write_text(json.dumps(ratio), encoding="utf-8")
    return float(json.loads(kept.read_text(encoding="utf-8")))


def rows_of(setting: Setting, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for every run that is finished by now."""
    rows = []
    for seed in (0, 1, 2):
        for arm in ARMS:
            record = finished(folder_of(setting, arm, seed))
            if record is None:
                continue
            scores = {name: score_of(record, name) for name in ("pruned", "unpruned")}
            costs = {name: cost(record, name) for name in scores}
            compared = record.comparisons[0]
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "accuracy": scores,
                    "points_lost": 100 * (scores["unpruned"] - scores["pruned"]),
                    "interval_of_difference": compared["interval"],
                    "cost": costs,
                    "faster": times_faster(setting, arm, seed),
                    "seconds": sum(record.timings.get(f"round {n}_s", 0.0) for n in range(1, ROUNDS + 1)),
                }
            )
    return with_earlier(rows, known, by=("arm", "seed"))


# Words


def corpora(setting: Setting) -> dict[str, list[str]]:
    """Texts of several languages, Twi first."""
    from understudy.data.readers.corpus import load_corpus

    most = setting.pick(20_000, 300)
    found = {}
    for name in ("twi", "wikipedia_en"):
        parts = load_corpus(f"{DATA}/{name}").texts().values()
        texts = [text for part in parts for (text,) in part]
        found[name] = texts if name == "twi" and not setting.quick else texts[:most]
    return found


def multilingual(texts: list[str], size: int, trained: int) -> Any:
    """A Unigram tokenizer as XLM-R's: pieces learnt from texts, and made-up pieces of other scripts up to a size."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import XLMRobertaTokenizer

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    made.train_from_iterator(
        texts,
        trainers.UnigramTrainer(vocab_size=trained, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    vocabulary = [tuple(piece) for piece in json.loads(made.to_str())["model"]["vocab"]]
    rng, known = random.Random(0), {piece for piece, _ in vocabulary}
    lowest = min(score for _, score in vocabulary)
    scripts = [
        (0x0400, 0x0450),
        (0x0590, 0x05EA),
        (0x0620, 0x064A),
        (0x0905, 0x0939),
        (0x0E01, 0x0E30),
        (0xAC00, 0xAD00),
    ]
    while len(vocabulary) < size - 1:  # the mask comes after them
        first, last = rng.choice(scripts)
        piece = "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 6)))
        if piece not in known:
            known.add(piece)
            vocabulary.append((piece, lowest + rng.random()))
    return XLMRobertaTokenizer(vocab=vocabulary)


def words(setting: Setting) -> dict[str, Any]:
    """What the Twi corpus needs of a multilingual vocabulary: tokens, bytes, and whether its texts are answered alike."""
    import tempfile

    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    from understudy.data.tasks import Task
    from understudy.data.texts import Texts
    from understudy.inference.predictor import Predictor
    from understudy.models.files.save import save_model
    from understudy.models.vocabulary.subset import subset_model, subset_tokenizer

    texts = corpora(setting)
    tokenizer = multilingual(
        [text for part in texts.values() for text in part], setting.pick(TOKENS, 3_000), setting.pick(TRAINED, 1_000)
    )
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=setting.pick(WIDTH, 32),
        num_hidden_layers=setting.pick(LAYERS, 2),
        num_attention_heads=setting.pick(12, 2),
        intermediate_size=4 * setting.pick(WIDTH, 32),
        max_position_embeddings=514,
        num_labels=2,
    )
    torch.manual_seed(0)
    model = XLMRobertaForSequenceClassification(config).eval()
    began = time.perf_counter()
    subset = subset_tokenizer(tokenizer, Texts.of([(text,) for text in texts["twi"]]))
    small = subset_model(model, tokenizer, subset)
    seconds = time.perf_counter() - began
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, one, own in (("before", model, tokenizer), ("after", small, subset.tokenizer)):
            save_model(Path(folder) / name, one, own, task=task, max_length=128)
            sizes[name] = {path.name: path.stat().st_size for path in (Path(folder) / name).iterdir()}
    some = [texts["twi"][int(i)] for i in np.linspace(0, len(texts["twi"]) - 1, setting.pick(200, 20))]
    before, after = (
        Predictor(one, own, task, 128).logits(some) for one, own in ((model, tokenizer), (small, subset.tokenizer))
    )
    return {
        "texts": len(texts["twi"]),
        "tokens": {"before": len(tokenizer), "after": len(subset.tokenizer), "used": subset.used},
        "files": sizes,
        "bytes": {name: sum(files.values()) for name, files in sizes.items()},
        "largest_difference_of_logits": float(np.abs(before - after).max()),
        "seconds": seconds,
    }


def report(setting: Setting, known: dict[str, Any], found: dict[str, Any] | None) -> None:
    """Write down what is finished by now."""
    rows = rows_of(setting, known.get("raw", {}).get("runs", []))
    found = found or known.get("raw", {}).get("words")
    main = [row for row in rows if row["arm"] == MAIN]
    lost, faster = (spread([row[key] for row in main]) for key in ("points_lost", "faster"))
    saved = None if found is None else 1 - found["bytes"]["after"] / found["bytes"]["before"]
    write(
        setting,
        "prune",
        question=__doc__ or "",
        config=CONFIG,
        raw={"runs": rows, "words": found},
        summary={
            "arms": {
                arm: {key: spread([row[key] for row in rows if row["arm"] == arm]) for key in ("points_lost", "faster")}
                for arm in ARMS
            },
            "share_of_bytes_saved": saved,
        },
        targets=[
            target("points lost with half of the heads, distilled", lost["mean"], at_most=1),
            target("times as many texts a second", faster["mean"], at_least=1.05),
            target(
                "difference of logits of kept words",
                None if found is None else found["largest_difference_of_logits"],
                at_most=1e-6,
            ),
        ],
        complete=found is not None and len(rows) == 3 * len(ARMS),
        seeds=sorted({row["seed"] for row in rows}),
    )


def main() -> None:
    """The words once, the runs of each seed."""
    setting = begin(__doc__)
    known = earlier(setting, "prune", CONFIG)
    found = known.get("raw", {}).get("words") or words(setting)
    report(setting, known, found)
    for seed in setting.seeds:
        teacher(setting, seed)
        for arm in ARMS:
            prune(setting, arm, seed)
            report(setting, known, found)


if __name__ == "__main__":
    main()
