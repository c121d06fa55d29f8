"""Each text goes through the model once, whatever happens; and whatever answers for texts can be that model."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

import forked
from understudy.data.readers.cached_tables import cache_dir
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode
from understudy.errors import ModelError, OutputError
from understudy.inference.answering import Answering
from understudy.inference.predictor import Ensemble, LinearPredictor, Predictor
from understudy.models.files.fingerprints import model_fingerprint
from understudy.models.tfidf import Tfidf
from understudy.objectives.teachers import cached as cached_teacher
from understudy.objectives.teachers import sources
from understudy.objectives.teachers.cached import CachedTeacher
from understudy.objectives.teachers.teacher import OnlineTeacher

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "fair", "good"))
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
        self.largest = 0
        """Padded tokens of the largest batch."""

    def forward(self, **inputs):
        """The model's own answer."""
        self.rows += len(inputs["input_ids"])
        self.largest = max(self.largest, inputs["input_ids"].numel())
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


def test_means_follow_the_answers_and_no_text_is_read_twice() -> None:
    """For the means and for the answers without them; also where some had been labelled without means before."""
    predictor = make_predictor()
    texts = Texts.of(make_texts(0, 30))
    CachedTeacher.label(predictor, texts.take(np.arange(10)))
    both = CachedTeacher.label(predictor, texts, means=True, max_tokens=60, workers=2)
    assert (both.forward_texts, both.outputs) == (30, 3 + predictor.model.config.hidden_size)
    found = both(np.arange(30)).numpy()
    np.testing.assert_allclose(found[:, :3], predictor.logits(list(texts)), atol=1e-5)
    encoder = predictor.model.base_model
    for row, (text,) in enumerate(texts):
        ids = torch.tensor([predictor.encoder.one(text)[0]])
        with torch.inference_mode():
            mean = encoder(input_ids=ids).last_hidden_state[0].mean(0)
        np.testing.assert_allclose(found[row, 3:], mean, atol=1e-5)
    plain = CachedTeacher.label(predictor, texts)
    assert (plain.forward_texts, plain.outputs) == (0, 3)
    assert torch.equal(plain(np.arange(10, 30)), torch.from_numpy(found[10:, :3]))


def test_what_another_pass_answered_is_known() -> None:
    predictor = make_predictor()
    texts = Texts.of([*make_texts(0, 20), *make_texts(0, 5)])
    width = 3 + predictor.model.config.hidden_size
    answers = np.arange(25 * width, dtype=np.float32).reshape(25, width)
    answers[20:] = answers[:5]
    CachedTeacher.know(predictor, texts, answers)
    CachedTeacher.know(predictor, texts, answers + 1)  # what is there stays
    assert CachedTeacher.known(predictor, Texts.of(make_texts(10, 30))) == 10
    labelled = CachedTeacher.label(predictor, Texts.of(make_texts(0, 22)))
    assert labelled.forward_texts == 2
    np.testing.assert_array_equal(labelled(np.arange(20)), answers[:20, :3])
    both = CachedTeacher.label(predictor, texts, means=True)
    assert both.forward_texts == 0
    np.testing.assert_array_equal(both(np.arange(25)), answers)
    with pytest.raises(ModelError, match="not finite"):
        CachedTeacher.know(predictor, Texts.of(make_texts(40, 41)), np.full((1, width), np.nan, np.float32))


def test_what_another_pass_answered_disturbs_no_plan() -> None:
    """Another run has planned the same texts in other batches, and has not labelled them yet."""
    predictor = make_predictor()
    model = counted(predictor)
    texts, rows = Texts.of(make_texts(0, 40)), np.arange(40)
    CachedTeacher.label(predictor, texts, max_tokens=60, should_stop=lambda: True)
    answers = np.random.default_rng(0).normal(size=(40, 3 + model.config.hidden_size)).astype(np.float32)
    CachedTeacher.know(predictor, texts, answers)
    found = CachedTeacher.label(predictor, texts)
    assert (found.forward_texts, model.rows) == (0, 0)
    np.testing.assert_array_equal(found(rows), answers[:, :3])


def test_what_is_lost_of_another_pass_is_labelled_in_usual_batches() -> None:
    predictor = make_predictor()
    expected = predictor.logits(list(Texts.of(make_texts(0, 40))))
    model = counted(predictor)
    texts = Texts.of(make_texts(0, 40))
    CachedTeacher.know(predictor, texts, np.zeros((40, 3 + model.config.hidden_size), np.float32))
    for path in (cache_dir() / "teacher_logits").rglob("known-*/0.npz"):
        path.write_bytes(path.read_bytes()[:-40])
    assert CachedTeacher.known(predictor, texts) == 0
    found = CachedTeacher.label(predictor, texts, max_tokens=60)
    assert found.forward_texts == 40
    assert model.largest <= 60
    np.testing.assert_allclose(found(np.arange(40)), expected, atol=1e-5)


def test_means_must_be_known_of_some() -> None:
    predictor = make_predictor()
    texts, some = Texts.of(make_texts(0, 30)), Texts.of(make_texts(0, 10))
    CachedTeacher.label(predictor, Texts.of(make_texts(5, 20)))
    assert CachedTeacher.known(predictor, texts) == 15
    assert CachedTeacher.known(predictor, texts, means_of=some) == 10
    CachedTeacher.label(predictor, some, means=True)
    assert CachedTeacher.known(predictor, texts, means_of=some) == 20
    gathered = CachedTeacher.gathered(predictor, texts)
    assert (gathered.complete, int(gathered(np.arange(30)).isnan().all(1).sum())) == (False, 10)


def test_each_distinct_text_goes_through_once() -> None:
    predictor = make_predictor()
    model = counted(predictor)
    texts = Texts.of(make_texts(0, 30) * 2)
    first = CachedTeacher.label(predictor, texts)
    for _ in range(3):  # epochs
        everything = first(np.arange(60))
    again = CachedTeacher.label(predictor, texts)
    shuffled = CachedTeacher.label(predictor, texts.take(np.arange(60)[::-1]))
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


@pytest.mark.usefixtures("shard_each_batch")
def test_several_batches_at_once_give_the_same_bits_and_stop_at_the_same_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts, rows = Texts.of(make_texts(0, 40)), np.arange(40)
    expected = CachedTeacher.label(make_predictor(), texts, max_tokens=60)
    asked, told = itertools.count(), list[int]()
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "one"))
    one = CachedTeacher.label(make_predictor(), texts, max_tokens=60, should_stop=lambda: next(asked) == 3)
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "three"))
    predictor = make_predictor()
    predictor.model.train()
    asked = itertools.count()
    stopped = CachedTeacher.label(predictor, texts, max_tokens=60, should_stop=lambda: next(asked) == 3, workers=3)
    assert 0 < stopped.forward_texts == one.forward_texts < 40
    assert torch.equal(stopped(rows).nan_to_num(7), one(rows).nan_to_num(7))
    resumed = CachedTeacher.label(predictor, texts, max_tokens=60, workers=3, on_texts=lambda *n: told.append(n[0]))
    assert resumed.forward_texts == 40 - one.forward_texts
    assert told == sorted(told)
    assert torch.equal(resumed(rows), expected(rows))
    assert predictor.model.training


def test_what_a_worker_cannot_answer_is_said(tmp_path: Path) -> None:
    predictor = make_predictor()
    with torch.no_grad():
        next(predictor.model.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        CachedTeacher.label(predictor, Texts.of(make_texts(0, 40)), max_tokens=60, workers=3)


def test_labels_that_were_saved_survive_an_exception() -> None:
    predictor = make_predictor()
    model = counted(predictor)
    texts = Texts.of(make_texts(0, 30))

    def interrupt(done: int, total: int) -> None:
        if done >= 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CachedTeacher.label(predictor, texts, max_tokens=60, on_texts=interrupt)
    done = model.rows
    assert 15 <= done < 30
    assert CachedTeacher.label(predictor, texts).forward_texts == 30 - done


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from test_cached_teacher import CachedTeacher, Texts, cached_teacher, make_predictor, make_texts
cached_teacher._flush_due = lambda unsaved, elapsed: True
CachedTeacher.label(make_predictor(), Texts.of(make_texts(0, 40)), max_tokens=60)
"""


def test_killed_while_labelling_it_goes_on_to_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts, rows = Texts.of(make_texts(0, 40)), np.arange(40)
    undisturbed = CachedTeacher.label(make_predictor(), texts, max_tokens=60)(rows)

    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    environment = os.environ | {"UNDERSTUDY_FAILPOINT": "label.shard:3"}
    done = forked.run(KILLED, Path(__file__).parent, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
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


def test_the_cache_of_a_network_is_found_again_by_later_versions() -> None:
    """What names the folder must not change: labels that took hours are in it."""
    predictor = make_predictor()
    CachedTeacher.label(predictor, Texts.of(make_texts(0, 3)))
    identity = json.dumps(
        [model_fingerprint(predictor.model), predictor.encoder.fingerprint, ["input_ids", "attention_mask"]]
    )
    (store,) = (cache_dir() / "teacher_logits").iterdir()
    assert store.name == hashlib.sha256(identity.encode()).hexdigest()[:32]


# --- teachers that are no networks ------------------------------------------------------------------------------------


class Lengths(Answering):
    """Answers with the lengths of texts; counts the texts of each call."""

    def __init__(self, task: Task = TASK, name: str = "lengths") -> None:
        self.task, self.name = task, name
        self.calls: list[int] = []

    def logits(self, texts):
        """The length of a text and of its first word, and 1; in float64, as NumPy would have it."""
        self.calls.append(len(texts))
        joined = [" ".join(text) for text in texts]
        return np.array([[len(text), len(text.split()[0]), 1.0] for text in joined])

    def fingerprint(self) -> str:
        """Its name, hashed."""
        return hashlib.sha256(self.name.encode()).hexdigest()


def tfidf() -> LinearPredictor:
    """TF-IDF on a few of the toy texts."""
    rows = [(text,) for text in make_texts(0, 30)]
    return LinearPredictor(Tfidf.fit(rows, np.arange(30) % 3, TASK))


def pair_tfidf() -> LinearPredictor:
    """The same for pairs."""
    rows = list(zip(make_texts(0, 30), make_texts(30, 60)))
    return LinearPredictor(Tfidf.fit(rows, np.arange(30) % 3, PAIR))


@pytest.mark.parametrize("make", [tfidf, Lengths, lambda: Ensemble([tfidf(), make_predictor()])])
def test_whatever_answers_can_be_the_teacher(make: Callable[[], Answering]) -> None:
    texts = Texts.of([*make_texts(0, 20), *make_texts(0, 5)])
    columns, rows = np.array([2, 0, 1]), np.array([24, 3, 3, 0, 19])
    teacher = CachedTeacher.label(make(), texts, columns=columns)
    expected = make().logits(texts.take(rows))[:, columns]
    answer = teacher(rows)
    assert answer.dtype == torch.float32
    np.testing.assert_allclose(answer, expected, rtol=1e-6, atol=1e-5)
    assert (teacher.outputs, teacher.distinct_texts, teacher.forward_texts) == (3, 20, 20)
    again = CachedTeacher.label(make(), texts, columns=columns)
    assert again.forward_texts == 0
    assert torch.equal(again(rows), answer)


def test_pairs_are_given_as_pairs() -> None:
    texts = Texts.of(list(zip(make_texts(0, 9), make_texts(9, 18))))
    teacher = CachedTeacher.label(pair_tfidf(), texts)
    np.testing.assert_array_equal(teacher(np.arange(9)), pair_tfidf().logits(texts))


def test_other_fingerprints_are_other_teachers() -> None:
    texts = Texts.of(make_texts(0, 8))
    counts = [CachedTeacher.label(Lengths(name=name), texts).forward_texts for name in ("one", "other", "one")]
    assert counts == [8, 8, 0]
    assert len(list((cache_dir() / "teacher_logits").iterdir())) == 2


@pytest.mark.usefixtures("shard_each_batch")
def test_blocks_are_labelled_once_and_a_stop_falls_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_BLOCK", 8)
    texts, rows = Texts.of(make_texts(0, 30)), np.arange(30)
    asked = iter(range(1000))
    told: list[tuple[int, int]] = []
    model = Lengths()
    stopped = CachedTeacher.label(
        model, texts, should_stop=lambda: next(asked) == 2, on_texts=lambda *count: told.append(count)
    )
    assert (model.calls, stopped.complete, stopped.forward_texts) == ([8, 8], False, 16)
    assert told == [(0, 30), (8, 30), (16, 30)]
    assert int(stopped(rows).isnan().all(1).sum()) == 14
    monkeypatch.setattr(sources, "_BLOCK", 5)  # the blocks of the first plan hold
    rest = CachedTeacher.label(model, texts)
    assert model.calls == [8, 8, 8, 6]
    assert rest.complete
    np.testing.assert_array_equal(rest(rows), Lengths().logits(texts).astype(np.float32))


def test_answers_that_are_not_finite_are_refused_of_any_model() -> None:
    model = Lengths()
    model.logits = lambda texts: np.full((len(texts), 3), np.nan)  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="not finite"):
        CachedTeacher.label(model, Texts.of(make_texts(0, 4)))
