"""Teacher, layers:3, bilstm, static, each as PyTorch, ONNX and ONNX int8: what does each rung keep, and how fast is it?

AG News and SST-2: teachers of 5,000 labels, students of the same rows, and on AG News of 15,000 texts too. Beside them:
``transformers.pipeline`` with the teacher at its best batch size, a DistilBERT-shaped encoder (random weights, for its speed) as
int8, and model2vec where it is installed, by its own runtime and as ONNX. It can be stopped at any time: runs and exports are
found, and each data set's timings are kept once they are complete.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from evidence import Setting, begin, in_turn, run, target, write

RUNGS: dict[str, dict[str, Any]] = {
    "layers:3": {"student": "layers:3", "epochs": 2},
    "bilstm": {"student": "bilstm"},
    "static": {"student": "static"},
    "static, linear": {"student": "static", "static": {"hidden": 0}},
}
"""The last one has no hidden layer, so its exported table is as wide as there are classes."""
FORMATS = ("pytorch", "onnx", "int8")
ROWS, TEACHER_EPOCHS, POOL = 5_000, 2, 15_000
ROUNDS, SINGLES, BULK, SLOW_BULK = 3, 200, 7600, 512
PIPELINE_BATCHES = (1, 8, 32, 128)
PIPELINE = "transformers.pipeline, teacher"


@cache
def teacher(setting: Setting, name: str) -> str:
    """The teacher's run, done now if it is not there yet."""
    from understudy.models.files.names import bundled_encoder
    from understudy.recipes.train.finetune.recipe import Finetune

    folder = setting.runs / "ladder" / name / "teacher"
    run(
        Finetune(
            data=setting.data(name),
            model=str(bundled_encoder()),
            pooling="head",  # which transformers.pipeline loads
            epochs=setting.pick(TEACHER_EPOCHS, 1),
            limit_train=setting.pick(ROWS, 300),
            output=str(folder),
            baseline=False,
        )
    )
    return str(folder)


def pool(setting: Setting, name: str) -> dict[str, Any]:
    """Texts of AG News' training file without their labels; those that the teacher has learnt from are left out by the run."""
    if name != "ag_news":
        return {}
    from understudy.data.readers.sources import load_splits

    path = setting.runs / "ladder" / "pool.txt"
    texts = load_splits(setting.data(name)).train.texts.take(range(setting.pick(POOL, 300)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{' '.join(text.split())}\n" for (text,) in texts), encoding="utf-8")
    return {"unlabeled": str(path)}


def rung(setting: Setting, name: str, student: str) -> Path:
    """The run of a student, trained now if it is not there yet."""
    from understudy.recipes.train.distill.recipe import Distill
    from understudy.settings.student_options import StaticOptions

    folder = setting.runs / "ladder" / name / student.replace(":", "-").replace(", ", "-")
    options = dict(RUNGS[student])
    if "static" in options:
        options["static"] = StaticOptions(**options["static"])
    epochs = {"epochs": 1} if setting.quick else {}
    run(
        Distill(
            data=setting.data(name),
            limit_train=setting.pick(ROWS, 300),
            teacher=[teacher(setting, name)],
            baseline=False,
            output=str(folder),
            **{**pool(setting, name), **options, **epochs},
        )
    )
    return folder


def exported(setting: Setting, name: str, student: str, model: str, texts: Sequence[Any]) -> dict[str, Path]:
    """The folders of a model as ONNX and as ONNX int8, made now if they are not there yet."""
    import understudy
    from understudy.deploy.onnx.export import export_onnx

    place = setting.runs / "ladder" / name / "exported" / student.replace(":", "-").replace(", ", "-")
    if not (place / "onnx" / "config.json").is_file():
        export_onnx(place / "onnx", understudy.load(model), texts[:128])
    if not (place / "int8" / "config.json").is_file():
        as_int8(place / "onnx", place / "int8")
    return {"onnx": place / "onnx", "int8": place / "int8"}


def as_int8(source: Path, output: Path) -> None:
    """A copy of an exported folder with dynamic quantisation: weights of matrix products, LSTMs and tables in int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    temporary = output.with_name("int8-unfinished")
    shutil.rmtree(temporary, ignore_errors=True)
    ignored = shutil.ignore_patterns("bag.npz", "checksums.json", "model.onnx")
    shutil.copytree(source, temporary, ignore=ignored)
    prepared = temporary / "prepared.onnx"
    quant_pre_process(str(source / "model.onnx"), str(prepared), skip_symbolic_shape=True)
    quantize_dynamic(str(prepared), str(temporary / "model.onnx"), weight_type=QuantType.QInt8)
    prepared.unlink()
    temporary.rename(output)


def timed(answer: Callable[[list[str]], Any], texts: list[str], *, bulk: int, threads: int) -> dict[str, float]:
    """One text at a time, batches of 32, all together."""
    from understudy.runs.devices import on_exactly

    with on_exactly(threads):
        singles = [texts[i] for i in np.linspace(0, len(texts) - 1, SINGLES).astype(int)]
        for text in singles[:10]:
            answer([text])
        milliseconds = [1000 * seconds(answer, [text]) for text in singles]
        batches = [texts[i : i + 32] for i in range(0, min(bulk, 640, len(texts)), 32)]
        batched = sum(seconds(answer, batch) for batch in batches)
        whole = seconds(answer, texts[:bulk])
    return {
        **dict(zip(("p50_ms", "p99_ms"), np.percentile(milliseconds, [50, 99]).tolist())),
        "texts_per_second_32": sum(map(len, batches)) / batched,
        "texts_per_second": len(texts[:bulk]) / whole,
    }


def seconds(answer: Callable[[list[str]], Any], texts: list[str]) -> float:
    """How long an answer takes."""
    start = time.perf_counter()
    answer(texts)
    return time.perf_counter() - start


def pipeline_answers(run_folder: str, batch_size: int, length: int) -> Callable[[list[str]], Any]:
    """The teacher as people use it."""
    from transformers import pipeline

    made = pipeline("text-classification", model=f"{run_folder}/model", device=-1)
    return lambda texts: made(texts, batch_size=batch_size, truncation=True, max_length=length)


def distilbert_int8(setting: Setting, task: Any, length: int) -> Path:
    """A DistilBERT of the usual size with random weights: its speed does not depend on them."""
    import torch
    from transformers import AutoModelForSequenceClassification, DistilBertConfig

    from understudy.deploy.onnx.export import export_onnx
    from understudy.inference.predictor import Predictor
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer

    place = setting.runs / "ladder" / "distilbert"
    if not (place / "int8" / "config.json").is_file():
        torch.manual_seed(0)
        small = {"n_layers": 1, "dim": 64, "n_heads": 2, "hidden_dim": 64} if setting.quick else {}
        config = DistilBertConfig(num_labels=task.outputs, **small)
        model = AutoModelForSequenceClassification.from_config(config).eval()
        predictor = Predictor(model, load_tokenizer(bundled_encoder()), task, length)
        export_onnx(place / "onnx", predictor, ["A quiet, lovely film.", "no"])
        as_int8(place / "onnx", place / "int8")
    return place / "int8"


def model2vec_answers(setting: Setting, train: Any, labels: np.ndarray) -> dict[str, Callable[[int], Any]]:
    """model2vec's distillation of the same encoder with a logistic regression on top: by its own runtime, and as ONNX.

    The graph is that of its script for exporting: the tokens of all texts one after another, and where each text begins.
    Nothing where it is not installed.
    """
    if importlib.util.find_spec("model2vec") is None:
        return {}
    from model2vec.distill import distill
    from sklearn.linear_model import LogisticRegression

    from understudy.models.files.names import bundled_encoder

    static = distill(model_name=bundled_encoder(), pca_dims=256)
    head = LogisticRegression(max_iter=1000).fit(static.encode([text for (text,) in train]), labels)
    path = setting.runs / "ladder" / "model2vec.onnx"
    export_bag(static, path)

    def by_graph(threads: int) -> Callable[[list[str]], Any]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def answer(texts: list[str]) -> Any:
            tokens = static.tokenize(texts)
            offsets = np.cumsum([0, *map(len, tokens[:-1])], dtype=np.int64)
            feeds = {"input_ids": np.concatenate(tokens).astype(np.int64), "offsets": offsets}
            return head.predict(session.run(None, feeds)[0])

        return answer

    return {
        "model2vec": lambda threads: lambda texts: head.predict(static.encode(texts)),
        "model2vec, onnx": by_graph,
    }


def export_bag(static: Any, path: Path) -> None:
    """The mean of each text's vectors, of length 1, as an ONNX graph."""
    import torch

    weights = np.ones(len(static.embedding)) if static.weights is None else static.weights
    bag = torch.nn.EmbeddingBag.from_pretrained(torch.tensor(static.embedding * weights[:, None]).float(), mode="mean")

    class Mean(torch.nn.Module):
        def forward(self, input_ids: Any, offsets: Any) -> Any:
            return torch.nn.functional.normalize(bag(input_ids, offsets))

    torch.onnx.export(
        Mean(),
        (torch.tensor([1, 2, 3]), torch.tensor([0, 1])),
        str(path),
        input_names=["input_ids", "offsets"],
        output_names=["vectors"],
        dynamic_axes={"input_ids": {0: "tokens"}, "offsets": {0: "texts"}},
        dynamo=False,
    )


def contenders(setting: Setting, name: str, splits: Any) -> tuple[dict[str, Callable[[int], Any]], dict[str, Any]]:
    """By name, what makes a function that answers on a number of threads; and what is known of each: quality, bytes."""
    import understudy
    from understudy.inference.exported.predictor import ExportedPredictor
    from understudy.runs.devices import on_exactly

    taught_by = teacher(setting, name)
    texts, labels = [text for (text,) in splits.test.texts], splits.test.labels
    makers: dict[str, Callable[[int], Any]] = {}
    facts: dict[str, Any] = {}
    models = {"teacher": taught_by, **{student: str(rung(setting, name, student)) for student in RUNGS}}
    for student, model in models.items():
        folders = {"pytorch": Path(model), **exported(setting, name, student, model, texts)}
        for kind in FORMATS:
            key, folder = f"{student}, {kind}", str(folders[kind])
            found = understudy.load(folder)
            order = [found.task.labels.index(label) for label in splits.task.labels]
            scored = found.logits(texts[: setting.pick(len(texts), 100)])[:, order].argmax(1)
            accuracy = float((scored == labels[: len(scored)]).mean())
            facts[key] = {"accuracy": accuracy, "size_bytes": found.summary()["size_bytes"]}

            def make(threads: int, kind: str = kind, folder: str = folder) -> Any:
                with on_exactly(threads):
                    made = understudy.load(folder) if kind == "pytorch" else ExportedPredictor(folder, threads=threads)
                return made.logits

            makers[key] = make
    star = understudy.load(taught_by)
    best = best_batch(taught_by, texts[: setting.pick(256, 16)], star.max_length)
    makers[PIPELINE] = lambda threads: pipeline_answers(taught_by, best, star.max_length)
    facts[PIPELINE] = {"batch_size": best}
    folder = distilbert_int8(setting, star.task, star.max_length)
    makers["DistilBERT's shape, int8"] = lambda threads: ExportedPredictor(folder, threads=threads).logits
    rows = np.flatnonzero(splits.train.labelled)[: setting.pick(ROWS, 200)]
    others = model2vec_answers(setting, splits.train.texts.take(rows), splits.train.labels[rows])
    for key, make in others.items():
        makers[key], facts[key] = make, {"accuracy": float((make(1)(texts) == labels).mean())}
    return makers, facts


def best_batch(folder: str, texts: list[str], length: int) -> int:
    """The batch size at which the pipeline is fastest on one thread."""
    from understudy.runs.devices import on_exactly

    rates = {}
    with on_exactly(1):
        for size in PIPELINE_BATCHES:
            answer = pipeline_answers(folder, size, length)
            answer(texts[:size])
            rates[size] = len(texts) / seconds(answer, texts)
    return max(rates, key=rates.__getitem__)


def measured(setting: Setting, name: str) -> dict[str, Any]:
    """Quality, size and speed of every contender on one data set; kept in a file once it is complete."""
    from understudy.data.readers.sources import load_splits

    kept = setting.runs / "ladder" / name / "measured.json"
    if kept.exists():
        return json.loads(kept.read_text(encoding="utf-8"))
    splits = load_splits(setting.data(name))
    makers, facts = contenders(setting, name, splits)
    texts = [text for (text,) in splits.test.texts]
    result: dict[str, Any] = {"facts": facts, "texts": len(texts)}
    for threads in (1, 2):
        answers = {key: make(threads) for key, make in makers.items()}

        def contender(key: str, threads: int = threads, answers: dict[str, Any] = answers) -> dict[str, float]:
            slow = key.startswith(("teacher", "layers", "DistilBERT", PIPELINE))
            bulk = setting.pick(SLOW_BULK if slow else BULK, 64)
            return timed(answers[key], texts, bulk=bulk, threads=threads)

        result[f"threads={threads}"] = in_turn(
            {key: lambda key=key: contender(key) for key in answers}, rounds=setting.pick(ROUNDS, 1)
        )
    kept.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def medians(found: dict[str, Any]) -> dict[str, Any]:
    """A row for each contender and number of threads: medians over the rounds."""
    return {
        threads: {
            key: {column: statistics.median(row[column] for row in rows) for column in rows[0]}
            for key, rows in found[threads].items()
        }
        for threads in ("threads=1", "threads=2")
    }


def targets(found: dict[str, Any], summary: dict[str, Any]) -> list[dict[str, Any]]:
    """What AG News must show."""
    one, facts = summary["threads=1"], found["facts"]
    star, pipe = facts["teacher, pytorch"]["accuracy"], one[PIPELINE]["texts_per_second"]
    rungs = {key: fact["accuracy"] / star for key, fact in facts.items() if "accuracy" in fact and key in one}

    def fastest(share: float) -> float | None:
        return max((one[key]["texts_per_second"] / pipe for key, kept in rungs.items() if kept >= share), default=None)

    statics = [key for key, kept in rungs.items() if key.startswith("static") and key.endswith("onnx") and kept >= 0.97]
    return [
        target("a rung that keeps 97 %: times the pipeline's texts/s", fastest(0.97), at_least=1000),
        target("a rung that keeps 99 %: times the pipeline's texts/s", fastest(0.99), at_least=10),
        target(
            "static that keeps 97 %: texts/s in bulk on one thread",
            max((one[key]["texts_per_second"] for key in statics), default=None),
            at_least=1e5,
        ),
        target(
            "the same: p50 in ms on one thread",
            min((one[key]["p50_ms"] for key in statics), default=None),
            at_most=0.05,
        ),
        target("bilstm as ONNX: p50 in ms on one thread", one["bilstm, onnx"]["p50_ms"], at_most=0.6),
    ]


def main() -> None:
    """Both data sets, one after the other; written after each."""
    setting = begin(__doc__)
    raw, summary, aims = dict[str, Any](), dict[str, Any](), list[dict[str, Any]]()
    for name in ("ag_news", "sst2"):
        raw[name] = measured(setting, name)
        summary[name] = medians(raw[name]) | {"facts": raw[name]["facts"]}
        if name == "ag_news":
            aims = targets(raw[name], summary[name])
        write(
            setting,
            "ladder",
            question=__doc__ or "",
            config={
                "rows": ROWS,
                "rungs": RUNGS,
                "rounds": setting.pick(ROUNDS, 1),
                "singles": SINGLES,
                "bulk": [BULK, SLOW_BULK],
            },
            raw=raw,
            summary=summary,
            targets=aims,
            complete=name == "sst2",
        )


if __name__ == "__main__":
    main()
