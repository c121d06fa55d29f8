"""Each text once, whatever happens; files of answers; several teachers as one; labels matched by name."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.special
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from understudy.data.cache import cache_dir
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode
from understudy.errors import DataError, ModelError, OutputError
from understudy.inference.predictor import Predictor
from understudy.objectives.teachers import cached as cached_teacher
from understudy.objectives.teachers.contract import (
    AveragedTeacher,
    CachedTeacher,
    FileTeacher,
    OnlineTeacher,
    match_labels,
)

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "fair", "good"))
MULTI = Task(text=(("text",),), label="label", kind="multi_label", labels=("funny", "sad"))
NUMBER = Task(text=(("text",),), label="score", kind="regression")
PAIR = Task(text=(("first",), ("second",)), label="label", kind="single_label", labels=("bad", "fair", "good"))
WORDS = [f"w{i}" for i in range(20)]


def make_predictor(*, seed: int = 0, max_length: int = 16) -> Predictor:
    """A tiny BERT of random weights."""
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]")
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=24, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3
    )
    return Predictor(BertForSequenceClassification(config), tokenizer, TASK, max_length)


def make_texts(first: int, last: int) -> list[str]:
    """Different texts of different lengths, one a number."""
    rng = np.random.default_rng(5)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 12))) + f" n{i}" for i in range(last)][first:]


@pytest.fixture
def shard_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch goes to disk by itself."""
    monkeypatch.setattr(cached_teacher, "_flush_due", lambda unsaved, elapsed: True)


class Counted(nn.Module):
    """Counts the rows that a model is given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.config = model.config
        self.rows = 0

    def forward(self, **inputs):
        """The model's own answer."""
        self.rows += len(inputs["input_ids"])
        return self.model(**inputs)


def counted(predictor: Predictor) -> Counted:
    """Put a counter around a predictor's model."""
    predictor.model = Counted(predictor.model).eval()
    return predictor.model


def test_online_and_cached_teachers_say_the_same() -> None:
    predictor = make_predictor()
    texts = Texts.of([*make_texts(0, 30), *make_texts(0, 5)])
    columns = np.array([2, 0, 1])
    encoded = encode(texts, predictor.tokenizer, max_length=16)
    online = OnlineTeacher(predictor.model, encoded, predictor.names, columns=columns)
    cached = CachedTeacher.label(predictor, texts, columns=columns, max_tokens=60)
    rows = np.array([34, 3, 3, 0, 29])
    expected = predictor.logits([texts[i] for i in rows])[:, columns]
    for teacher in (online, cached):
        answer = teacher(rows)
        assert answer.dtype == torch.float32
        assert not answer.requires_grad
        np.testing.assert_allclose(answer, expected, atol=1e-5)
        assert teacher.outputs == 3
        assert teacher(np.arange(0)).shape == (0, 3)
    assert online.forward_texts == 5
    assert not isinstance(online, nn.Module)


def test_each_distinct_text_goes_through_once() -> None:
    predictor = make_predictor()
    model = counted(predictor)
    texts = Texts.of(make_texts(0, 30) * 2)
    first = CachedTeacher.label(predictor, texts, fingerprint="w")
    for _ in range(3):  # epochs
        everything = first(np.arange(60))
    again = CachedTeacher.label(predictor, texts, fingerprint="w")
    shuffled = CachedTeacher.label(predictor, texts.take(np.arange(60)[::-1]), fingerprint="w")
    assert (first.forward_texts, again.forward_texts, shuffled.forward_texts, model.rows) == (30, 0, 0, 30)
    assert first.distinct_texts == 30
    assert first.complete
    assert again.complete
    assert torch.equal(again(np.arange(60)), everything)
    assert torch.equal(shuffled(np.arange(60)), everything.flip(0))
    assert isinstance(again._logits.base, np.memmap)


def test_a_set_that_grows_or_shrinks_has_only_its_new_texts_labelled() -> None:
    predictor = make_predictor()
    whole = CachedTeacher.label(predictor, Texts.of(make_texts(0, 20)))
    grown = CachedTeacher.label(predictor, Texts.of(make_texts(10, 33)))
    part = CachedTeacher.label(predictor, Texts.of([*make_texts(5, 12), *make_texts(25, 30)]))
    assert (whole.forward_texts, grown.forward_texts, part.forward_texts) == (20, 13, 0)
    np.testing.assert_allclose(grown(np.arange(23)), predictor.logits(make_texts(10, 33)), atol=1e-5)
    np.testing.assert_array_equal(part(np.arange(7)), whole(np.arange(5, 12)))


def test_other_weights_and_lengths_are_other_teachers() -> None:
    texts = Texts.of(make_texts(0, 8))
    assert CachedTeacher.label(make_predictor(), texts).forward_texts == 8
    assert CachedTeacher.label(make_predictor(), texts).forward_texts == 0
    assert CachedTeacher.label(make_predictor(seed=1), texts).forward_texts == 8
    assert CachedTeacher.label(make_predictor(max_length=5), texts).forward_texts == 8


@pytest.mark.usefixtures("shard_each_batch")
def test_stopped_labelling_keeps_what_is_done_and_goes_on_to_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts, rows = Texts.of(make_texts(0, 40)), np.arange(40)
    undisturbed = CachedTeacher.label(make_predictor(), texts, max_tokens=60)(rows)

    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    asked = iter(range(1000))
    told: list[tuple[int, int]] = []
    stopped = CachedTeacher.label(
        make_predictor(),
        texts,
        max_tokens=60,
        should_stop=lambda: next(asked) == 3,
        on_texts=lambda done, total: told.append((done, total)),
    )
    unlabelled = stopped(rows).isnan()
    assert not stopped.complete
    assert 0 < stopped.forward_texts < 40
    assert int((~unlabelled.any(1)).sum()) == stopped.forward_texts
    assert torch.equal(unlabelled.any(1), unlabelled.all(1))
    assert told[0] == (0, 40)
    assert told[-1] == (stopped.forward_texts, 40)

    # another batch size now would cut other batches: the plan that was begun with holds
    rest = CachedTeacher.label(make_predictor(), texts, max_tokens=4000)
    assert rest.forward_texts == 40 - stopped.forward_texts
    assert rest.complete
    assert torch.equal(rest(rows), undisturbed)


def test_what_an_interrupted_set_has_learnt_serves_other_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, asked = make_predictor(), iter(range(1000))
    begun = CachedTeacher.label(
        predictor, Texts.of(make_texts(0, 30)), max_tokens=60, should_stop=lambda: next(asked) == 2
    )
    other = CachedTeacher.label(predictor, Texts.of(make_texts(0, 31)), max_tokens=60)
    assert begun.forward_texts + other.forward_texts == 31
    assert CachedTeacher.label(predictor, Texts.of(make_texts(0, 30))).complete


def test_labels_that_were_saved_survive_an_exception() -> None:
    predictor = make_predictor()
    model = counted(predictor)
    texts = Texts.of(make_texts(0, 30))

    def interrupt(done: int, total: int) -> None:
        if done >= 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CachedTeacher.label(predictor, texts, fingerprint="w", max_tokens=60, on_texts=interrupt)
    done = model.rows
    assert 15 <= done < 30
    assert CachedTeacher.label(predictor, texts, fingerprint="w").forward_texts == 30 - done


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from test_teachers import CachedTeacher, Texts, cached_teacher, make_predictor, make_texts
cached_teacher._flush_due = lambda unsaved, elapsed: True
CachedTeacher.label(make_predictor(), Texts.of(make_texts(0, 40)), max_tokens=60)
"""


def test_killed_while_labelling_it_goes_on_to_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts, rows = Texts.of(make_texts(0, 40)), np.arange(40)
    undisturbed = CachedTeacher.label(make_predictor(), texts, max_tokens=60)(rows)

    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    environment = os.environ | {"UNDERSTUDY_FAILPOINT": "label.shard:3"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent)], env=environment, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = CachedTeacher.label(make_predictor(), texts, max_tokens=60)
    assert 0 < resumed.forward_texts < 40
    assert torch.equal(resumed(rows), undisturbed)


@pytest.mark.usefixtures("shard_each_batch")
def test_damaged_files_are_made_again() -> None:
    predictor, texts, rows = make_predictor(), Texts.of(make_texts(0, 40)), np.arange(40)
    expected = CachedTeacher.label(predictor, texts, max_tokens=60)(rows)
    (store,) = (cache_dir() / "teacher_logits").iterdir()
    (whole,) = (store / "sets").iterdir()
    (job,) = (store / "jobs").iterdir()
    shards = sorted(path for path in job.iterdir() if path.name != "plan.npz")
    assert len(shards) > 4

    os.truncate(whole, whole.stat().st_size - 4)
    assert CachedTeacher.label(predictor, texts).forward_texts == 0  # put together again from the shards
    whole.unlink()
    flipped = bytearray(shards[1].read_bytes())
    flipped[-len(flipped) // 2] ^= 1
    shards[1].write_bytes(flipped)
    os.truncate(shards[2], 10)
    again = CachedTeacher.label(predictor, texts)
    assert 0 < again.forward_texts < 40
    assert torch.equal(again(rows), expected)
    whole.unlink()
    os.truncate(job / "plan.npz", 10)
    assert CachedTeacher.label(predictor, texts).forward_texts == 40


def test_two_runs_that_label_the_same_texts_at_once() -> None:
    texts = Texts.of(make_texts(0, 30))
    inner: list[CachedTeacher] = []

    def other_run(done: int, total: int) -> None:
        if done and not inner:
            inner.append(CachedTeacher.label(make_predictor(), texts, max_tokens=60))

    outer = CachedTeacher.label(make_predictor(), texts, max_tokens=60, on_texts=other_run)
    assert torch.equal(outer(np.arange(30)), inner[0](np.arange(30)))


def test_shards_are_few_however_long_it_takes() -> None:
    def shards(hours: float, batch_s: float) -> int:
        saved = written = 0
        for now in np.arange(batch_s, hours * 3600, batch_s):
            if cached_teacher._flush_due(now - saved, now):
                saved, written = now, written + 1
        return written

    assert shards(10, 0.5) < 1000
    assert not cached_teacher._flush_due(0.9, 1.0)
    assert cached_teacher._flush_due(60, 1e9)


def test_logits_that_are_not_finite_are_refused() -> None:
    predictor = make_predictor()
    nn.init.constant_(predictor.model.classifier.weight, float("inf"))
    with pytest.raises(ModelError, match="not finite"):
        CachedTeacher.label(predictor, Texts.of(make_texts(0, 4)))


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match=r"the disk is full.*UNDERSTUDY_CACHE"):
        CachedTeacher.label(make_predictor(), Texts.of(make_texts(0, 4)))


def test_no_texts_to_label() -> None:
    teacher = CachedTeacher.label(make_predictor(), Texts.of([]))
    assert (teacher.complete, teacher.forward_texts, teacher.distinct_texts) == (True, 0, 0)


# --- answers from files ----------------------------------------------------------------------------------------------


def write(path: Path, header: list[str], rows: list[list[object]]) -> str:
    """A file of answers in the format of its name."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(header, row))) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.table({name: list(column) for name, column in zip(header, zip(*rows))}), path)
    else:
        with open(path, "w", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("prefix", ["", "p_", "probability_"])
def test_probabilities_from_a_file(suffix: str, prefix: str, tmp_path: Path) -> None:
    header = ["text", "label", prefix + "good", prefix + "bad", prefix + "fair"]
    rows: list[list[object]] = [["one, two", "good", 0.7, 0.1, 0.2], ["three", "bad", 0.0, 1.0, 0.0]]
    teacher = FileTeacher(
        write(tmp_path / f"answers.{suffix}", header, rows), Texts.of(["three", "four", "one, two", "three"]), TASK
    )
    logits = teacher(np.arange(4))
    assert logits.dtype == torch.float32
    assert logits[1].isnan().all()
    np.testing.assert_allclose(scipy.special.softmax(logits[2].numpy()), [0.1, 0.2, 0.7], atol=1e-6)
    np.testing.assert_allclose(logits[[0, 2, 3]].sum(1), 0, atol=1e-5)  # centred
    np.testing.assert_allclose(logits[0, 0] - logits[0, 1], np.log(1 / 1e-3), rtol=1e-5)  # the floor
    assert torch.equal(logits[0], logits[3])
    assert (teacher.covered, teacher.uncovered, teacher.forward_texts, teacher.outputs) == (3, 1, 0, 3)
    assert teacher.notes == (f"{tmp_path}/answers.{suffix}: answers for 3 of 4 texts.",)


def test_votes_are_averaged(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["a", "good"],
        ["a", "bad"],
        ["b", "fair"],
        ["a", "good"],
        ["a", "good"],
        ["c", ""],
        ["z", "bad"],
    ]
    path = write(tmp_path / "votes.csv", ["text", "label"], rows)
    teacher = FileTeacher(path, Texts.of(["b", "a", "c"]), TASK, floor=0.01)
    votes = np.array([1, 0, 3]) / 4
    kept = np.maximum(votes, 0.01) / np.maximum(votes, 0.01).sum()
    np.testing.assert_allclose(scipy.special.softmax(teacher(np.array([1]))[0].numpy()), kept, atol=1e-6)
    assert teacher(np.array([2])).isnan().all()
    assert teacher.notes[1:] == (
        f"{path}: 1 texts stand there several times; their answers are averaged.",
        f"{path}: 1 rows give no answer and are not used.",
        f"{path}: 1 answers are for texts that are not asked for.",
    )


def test_pairs_several_labels_and_numbers(tmp_path: Path) -> None:
    pairs = FileTeacher(
        write(tmp_path / "pairs.csv", ["first", "second", "label"], [["a", "b", "good"]]),
        Texts.of([("b", "a"), ("a", "b")]),
        PAIR,
    )
    assert pairs(np.arange(2)).argmax(1)[1] == 2
    assert pairs(np.array([0])).isnan().all()

    several: list[list[object]] = [["a", 0.9, 0.2], ["b", 1.0, 0.0]]
    multi = FileTeacher(write(tmp_path / "multi.csv", ["text", "funny", "sad"], several), Texts.of(["a", "b"]), MULTI)
    np.testing.assert_allclose(
        scipy.special.expit(multi(np.arange(2)).numpy()), [[0.9, 0.2], [0.999, 0.001]], atol=1e-6
    )
    lists = FileTeacher(
        write(tmp_path / "lists.jsonl", ["text", "label"], [["a", ["sad"]], ["a", ["sad", "funny"]]]),
        Texts.of(["a"]),
        MULTI,
    )
    np.testing.assert_allclose(scipy.special.expit(lists(np.arange(1)).numpy()), [[0.5, 0.999]], atol=1e-6)

    numbers = FileTeacher(
        write(tmp_path / "numbers.csv", ["text", "score"], [["a", 1.5], ["a", 2.0]]), Texts.of(["a"]), NUMBER
    )
    assert numbers(np.arange(1)).tolist() == [[1.75]]


def test_the_columns_can_be_named(tmp_path: Path) -> None:
    rows: list[list[object]] = [["x", "a", "good", 0.2, 0.2, 0.6], ["y", "b", "bad", 0.2, 0.2, 0.6]]
    path = write(tmp_path / "answers.csv", ["id", "prompt", "answer", "bad", "fair", "good"], rows)
    teacher = FileTeacher(path, Texts.of(["b"]), TASK, text=["prompt"], label="answer")
    assert teacher(np.arange(1)).argmax() == 0  # the label that was named, not the probabilities


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            ["text", "label"],
            ["a", "goood"],
            r"answers.csv, line 2: label 'goood' is not one of 'bad', 'fair', 'good'.*Did you mean 'good'",
        ),
        (
            ["text", "bad", "fair", "good"],
            ["a", 0.5, 0.1, 0.1],
            r"answers.csv, line 2: the probabilities sum to 0.7, but must sum to 1",
        ),
        (
            ["text", "bad", "fair", "good"],
            ["a", -0.1, 0.5, 0.6],
            r"answers.csv, line 2: -0.1 in column 'bad' is not a probability",
        ),
        (["text", "bad", "fair", "good"], ["a", "", 0.4, 0.6], r"answers.csv, line 2: no probability in column 'bad'"),
        (
            ["text", "bad", "fair", "good"],
            ["a", "high", 0.4, 0.6],
            r"answers.csv, line 2: 'high' in column 'bad' is not a number",
        ),
        (
            ["text", "p_bad", "p_good"],
            ["a", 0.4, 0.6],
            r"answers.csv: probabilities need a column for every class, but 'p_fair' is missing",
        ),
        (
            ["text", "bad", "fair", "good"],
            ["other", 0.2, 0.2, 0.6],
            r"answers.csv: answers for none of the 1 texts.*first text, from column 'text', is 'other'\.$",
        ),
        (
            ["content", "bad", "fair", "good"],
            ["other", 0.2, 0.2, 0.6],
            r"first text, from column 'content', is 'other'. Rename the text column to 'text', as in the training rows, if",
        ),
        (
            ["prompt", "label"],
            ["a", "good"],
            r"no text column with a usual name. The columns are 'prompt', 'label'. Rename the text column to 'text', as in",
        ),
        (
            ["content", "verdict"],
            ["a", "good"],
            r"answers.csv: no label column with a usual name. The columns are 'content', 'verdict'. Rename the column of answers to 'label', as in the training rows, or give a column of probabilities for each class \('p_bad', 'p_fair', 'p_good'\)",
        ),
    ],
)
def test_faults_of_a_file(header: list[str], row: list[object], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "answers.csv", header, [row])
    with pytest.raises(DataError, match=message) as raised:
        FileTeacher(path, Texts.of(["a"]), TASK)
    assert "--" not in str(raised.value)  # the flags name the columns of the data


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        FileTeacher(tmp_path / "absent.csv", Texts.of(["a"]), TASK)


# --- several teachers, and labels by name ----------------------------------------------------------------------------


class Fixed:
    """A teacher with a table of answers."""

    def __init__(self, logits: list[list[float]], forward_texts: int = 0) -> None:
        self.logits = torch.tensor(logits)
        self.outputs = self.logits.shape[1]
        self.forward_texts = forward_texts

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        """From the table."""
        return self.logits[rows]


def test_an_average_over_those_that_answer() -> None:
    nan = float("nan")
    teachers = [Fixed([[1.0, 0.0], [nan, nan], [nan, nan]], 3), Fixed([[4.0, -3.0], [5.0, 6.0], [nan, nan]], 2)]
    average = AveragedTeacher(teachers, [2, 1])
    answer = average(np.arange(3))
    np.testing.assert_allclose(answer, [[2.0, -1.0], [5.0, 6.0], [nan, nan]], rtol=1e-6)
    assert (average.outputs, average.forward_texts) == (2, 5)
    np.testing.assert_allclose(AveragedTeacher(teachers)(np.array([0])), [[2.5, -1.5]])


@pytest.mark.parametrize(("widths", "weights"), [([2, 3], None), ([], None), ([2, 2], [1.0]), ([2, 2], [1.0, 0.0])])
def test_teachers_that_cannot_be_averaged(widths: list[int], weights: list[float] | None) -> None:
    with pytest.raises(ValueError, match=r"weight|width"):
        AveragedTeacher([Fixed([[0.0] * width]) for width in widths], weights)


def test_labels_are_matched_by_name() -> None:
    logits = np.array([[10, 20, 30]])
    assert logits[:, match_labels(["good", "bad", "fair"], TASK, name="t")].tolist() == [[20, 30, 10]]
    assert match_labels(["Good", "BAD", "fair"], TASK, name="t").tolist() == [1, 2, 0]
    numbers = Task(text=(("text",),), label="label", kind="single_label", labels=("0", "1"))
    assert match_labels(["LABEL_1", "LABEL_0"], numbers, name="t").tolist() == [1, 0]
    assert match_labels(["anything"], NUMBER, name="t").tolist() == [0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["good", "bad", "fairr"],
            r"runs/t: its labels are 'good', 'bad', 'fairr', but the data's are 'bad', 'fair', 'good'. Did you mean 'fair'\?",
        ),
        (["good", "bad"], r"its labels are 'good', 'bad', but"),
        (["LABEL_0", "LABEL_1", "LABEL_2"], r"its labels are 'LABEL_0'.*id2label"),
        (["good", "good", "bad"], r"two of its outputs have the same label"),
    ],
)
def test_labels_that_do_not_match(labels: list[str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        match_labels(labels, TASK, name="runs/t")


def test_a_classifier_is_no_teacher_for_regression() -> None:
    with pytest.raises(ModelError, match="2 outputs, but the task is regression"):
        match_labels(["a", "b"], NUMBER, name="t")


def test_what_predict_writes_is_the_same_teacher_in_either_format(tmp_path: Path) -> None:
    shares = {"good fun": (0.1, 0.2, 0.7), "dull": (0.6, 0.3, 0.1)}
    rows = [
        {"text": text, "label": "good", "probabilities": dict(zip(TASK.labels, values))}
        for text, values in shares.items()
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with open(tmp_path / "own.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", *(f"probability_{name}" for name in TASK.labels)])
        writer.writerows([text, "good", *values] for text, values in shares.items())
    texts = Texts.of([(text,) for text in shares])
    logits = [FileTeacher(tmp_path / name, texts, TASK)(np.arange(2)) for name in ("own.jsonl", "own.csv")]
    assert torch.equal(*logits)
    np.testing.assert_allclose(logits[0].softmax(-1), list(shares.values()), atol=1e-6)
    del rows[1]["probabilities"]["fair"]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"own.jsonl, line 2: no probability in column 'probability_fair'"):
        FileTeacher(tmp_path / "own.jsonl", texts, TASK)
