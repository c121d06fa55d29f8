"""What pages may say is ``given``: data, tiny models and runs, each by the name that pages have for it."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import pickle
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

sys.path.append(str(Path(__file__).parents[1] / "recipes"))
from glue_toys import write_glue

ENCODERS = (
    "google-bert/bert-base-uncased",
    "google-bert/bert-base-cased",
    "google-bert/bert-base-multilingual-cased",
)
SENTENCES = ("sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers/paraphrase-mpnet-base-v2")
CAUSAL = ("openai-community/gpt2",)
"""Hub ids that any page may name: tiny models are found under the same path."""
BERT = ENCODERS[0]
RUNS = {
    "runs/teacher": f"understudy finetune --data reviews --model {BERT} --no_baseline --output runs/teacher",
    "runs/model": f"understudy finetune --data reviews --model {BERT} --no_baseline --output runs/model",
    "runs/compare": "understudy compare --data reviews --models tfidf static --output runs/compare",
    "runs/tfidf": "understudy finetune --data reviews --model tfidf --output runs/tfidf",
    "runs/student": "understudy distill --data reviews --teacher runs/teacher --student static --no_baseline --no_references --output runs/student",
    "runs/adapter": f"understudy finetune --data reviews --model {BERT} --adapter houlsby --no_baseline --output runs/adapter",
    "runs/classifier": "understudy finetune --data reviews --model runs/lm --no_baseline --output runs/classifier",
    "runs/lm": "understudy pretrain --data texts --model awd_lstm --output runs/lm",
    "runs/domain": f"understudy pretrain --data texts --model {BERT} --output runs/domain",
    "runs/small": f"understudy distill-lm --data texts --teacher {BERT} --student layers:2 --output runs/small",
    "runs/albert": f"understudy distill-lm --data texts --teacher {BERT} --student albert --albert.embedding 8 --output runs/albert",
    "exported/student": "understudy export runs/student --output exported/student",
}
"""Runs that a page may begin with, and how each is made: once for all pages."""
NEEDED = {"runs/student": ["runs/teacher"], "runs/classifier": ["runs/lm"], "exported/student": ["runs/student"]}
"""Runs that others are made of."""
_RUNTIME = Path(__file__).parents[2] / "runtime"


class Toys:
    """Tables and texts about films, cut from those that all tests have."""

    def __init__(self, reviews: Path) -> None:
        self.splits = {path.stem: _rows(path) for path in sorted(reviews.glob("*.csv"))}
        self.pool = (reviews / "pool.txt").read_text(encoding="utf-8").splitlines()

    def table(self, path: Path, split: str, rows: int, names: tuple[str, str] = ("text", "label")) -> None:
        """Some labelled rows, under these names of columns."""
        chosen = [(row["text"], row["label"]) for row in self.splits[split][:rows]]
        _write(path, names, chosen)

    def texts(self, path: Path, start: int, stop: int) -> None:
        """Some texts, one a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in self.pool[start:stop]), encoding="utf-8")

    def folder(self, path: Path) -> None:
        """A folder of splits of labelled rows."""
        # more than 20 rows a class, or runs would train on pairs first, which takes longer
        for split, rows in {"train": 44, "validation": 16, "test": 20}.items():
            self.table(path / f"{split}.csv", split, rows)

    def corpus(self, path: Path) -> None:
        """A folder of splits of texts."""
        self.texts(path / "train.txt", 0, 40)
        self.texts(path / "valid.txt", 40, 50)

    def two(self, number: int) -> list[str]:
        """Two texts, the same for a number whatever was drawn before."""
        return random.Random(number).sample(self.pool, 2)

    def answers(self, path: Path) -> None:
        """What a teacher elsewhere answers for the rows and the pool."""
        rng = random.Random(1)
        texts = [row["text"] for split in ("train", "validation") for row in self.splits[split]] + self.pool
        shares = [round(rng.random(), 3) for _ in texts]
        names = ("text", "probability_negative", "probability_positive")
        _write(path, names, [(text, 1 - share, share) for text, share in zip(texts, shares)])

    def pairs(self, path: Path, rows: int, names: tuple[str, ...] = ("sentence1", "sentence2", "score")) -> None:
        """Pairs of texts with a score of 0 to 5."""
        rng = random.Random(rows)
        chosen = [(rng.choice(self.pool), rng.choice(self.pool), f"{rng.uniform(0, 5):.2f}") for _ in range(rows)]
        _write(path, names, chosen)


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(
    path: Path,
    names: Iterable[str],
    rows: Iterable[tuple[Any, ...]],
    *,
    encoding: str = "utf-8",
    separator: str = ",",
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows([*([tuple(names)] if names else []), *rows])


def _accented(toys: Toys) -> list[tuple[str, str]]:
    return [(f"{row['text']} – café", row["label"]) for row in toys.splits["train"][:40]]


def _json_lines(path: Path, toys: Toys) -> None:
    rows = [json.dumps({"text": row["text"]}) for row in toys.splits["test"][:6]]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))


def _official_glue(path: Path, toys: Toys) -> None:
    write_glue(path, train=24, dev=12)
    for name, split in {"train": "train", "dev": "validation"}.items():
        rows = [f"{row['text']}\t{int(row['label'] == 'positive')}\n" for row in toys.splits[split][:24]]
        (path / "SST-2").mkdir(exist_ok=True)
        (path / "SST-2" / f"{name}.tsv").write_text("".join(["sentence\tlabel\n", *rows]), encoding="utf-8")


def _sick_and_sts(path: Path, toys: Toys) -> None:
    write_glue(path, train=24, dev=12)
    rng = random.Random(2)
    names = ("sentence1", "sentence2", "label")
    for split, rows in {"train": 24, "validation": 12}.items():
        labels = [rng.choice(["contradiction", "entailment", "neutral"]) for _ in range(rows)]
        _write(path / "sick" / f"{split}.csv", names, [(*rng.sample(toys.pool, 2), label) for label in labels])


def _fastai_weights(path: Path, words: list[str]) -> None:
    """A published model of fast.ai 1 at toy size: three layers of 4 and 6."""
    torch.manual_seed(0)
    table = torch.randn(len(words), 4)
    weights = {"0.encoder.weight": table, "0.encoder_dp.emb.weight": table, "1.decoder.weight": table}
    weights["1.decoder.bias"] = torch.randn(len(words))
    for i, lstm in enumerate([nn.LSTM(4, 6), nn.LSTM(6, 6), nn.LSTM(6, 4)]):
        for name, tensor in lstm.state_dict().items():
            weights[f"0.rnns.{i}.{name}_raw" if name == "weight_hh_l0" else f"0.rnns.{i}.module.{name}"] = tensor
    torch.save({"model": weights, "opt": {}}, path)


def _runtime(path: Path) -> None:
    shutil.copytree(_RUNTIME / "understudy_runtime", path)
    spec = importlib.util.spec_from_file_location("gather", _RUNTIME / "gather.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.gather(path)


def _shape(path: Path, layers: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    transformers.BertConfig(num_hidden_layers=layers, hidden_size=48).to_json_file(path)


def files(toys: Toys, words: list[str]) -> dict[str, Callable[[Path], object]]:
    """What makes each file and folder of data that a page may be given."""
    special = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep"]
    itos = [*special, *words]
    rng = random.Random(3)
    vectors = [f"{word} {' '.join(f'{rng.gauss(0, 1):.3f}' for _ in range(100))}\n" for word in words]
    return {
        "reviews.csv": lambda path: toys.table(path, "train", 120),
        "reviews": toys.folder,
        "labelled": toys.folder,
        "old.csv": lambda path: _write(path, ("text", "label"), _accented(toys), encoding="cp1252"),
        "headless.csv": lambda path: _write(path, (), [(label, text) for text, label in _accented(toys)]),
        "export.csv": lambda path: _write(path, ("text", "label"), _accented(toys), separator=";"),
        "valid.csv": lambda path: toys.table(path, "validation", 16),
        "test.csv": lambda path: toys.table(path, "test", 20),
        "new.csv": lambda path: toys.table(path, "test", 6, ("text", "from")),
        "mine.csv": lambda path: toys.table(path, "train", 40),
        "articles.csv": lambda path: toys.table(path, "train", 60),
        "news.csv": lambda path: _write(
            path, ("title", "body", "topic"), [(*toys.two(i), f"topic {i % 2}") for i in range(40)]
        ),
        "products.csv": lambda path: _write(
            path, ("title", "body", "stars"), [(*toys.two(i), 1 + i % 2) for i in range(40)]
        ),
        "pairs.csv": lambda path: _write(
            path, ("question", "answer", "fits"), [(*toys.two(i), ("no", "yes")[i % 2]) for i in range(40)]
        ),
        "pairs": lambda path: [
            toys.pairs(path / f"{name}.csv", rows) for name, rows in {"train": 24, "dev": 12}.items()
        ],
        "a.csv": lambda path: _write(path, ("text", "headline"), [(text, text) for text in toys.pool[:6]]),
        "b.jsonl.gz": lambda path: _json_lines(path, toys),
        "texts.csv": lambda path: _write(path, ("sentence",), [(text,) for text in toys.pool[:6]]),
        "answers.csv": toys.answers,
        "pool.txt": lambda path: toys.texts(path, 90, 130),
        "texts.txt": lambda path: toys.texts(path, 0, 60),
        "valid.txt": lambda path: toys.texts(path, 60, 80),
        "articles.txt": lambda path: toys.texts(path, 0, 60),
        "wikipedia.txt": lambda path: toys.texts(path, 0, 60),
        "twi.txt": lambda path: toys.texts(path, 0, 60),
        **dict.fromkeys(("texts", "corpus", "twi"), toys.corpus),
        "GLUE": lambda path: _official_glue(path, toys),
        "ROOT": lambda path: _sick_and_sts(path, toys),
        "SST-2": lambda path: (_official_glue(path.parent / "all", toys), (path.parent / "all" / "SST-2").rename(path)),
        "lstm_wt103.pth": lambda path: _fastai_weights(path, itos),
        **dict.fromkeys(("itos_wt103.pkl", "itos.pkl"), lambda path: path.write_bytes(pickle.dumps(itos))),
        "glove.6B.100d.txt": lambda path: path.write_text("".join(vectors), encoding="utf-8"),
        "understudy_runtime": _runtime,
        "shapes": lambda path: [
            _shape(path / name / "config.json", layers) for name, layers in {"a": 2, "b": 4}.items()
        ],
    }


def write_models(folder: Path, tiny_bert: Path, byte_level: Any) -> Iterator[str]:
    """Tiny models under the hub ids that pages name; the ids."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert, model_max_length=512)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=6, num_attention_heads=2, intermediate_size=32
    )
    gpt2 = transformers.GPT2Config(
        vocab_size=300, n_embd=8, n_layer=1, n_head=1, n_positions=512, bos_token_id=0, eos_token_id=0
    )
    for ids, model, its in (
        (ENCODERS, transformers.BertForPreTraining(config), tokenizer),
        (SENTENCES, transformers.BertModel(config), tokenizer),
        (CAUSAL, transformers.GPT2LMHeadModel(gpt2), byte_level),
    ):
        first, *others = (folder / name for name in ids)
        model.save_pretrained(first)
        its.save_pretrained(first)
        for other in others:
            shutil.copytree(first, other)
        yield from ids
