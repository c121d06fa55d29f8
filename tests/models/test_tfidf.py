"""The baseline against scikit-learn's own pipeline; its files; and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB

from understudy.data.tasks import NO_LABEL, Kind, Task
from understudy.errors import DataError, ModelError
from understudy.inference.predictor import LinearPredictor
from understudy.models import logistic, term_features
from understudy.models.tfidf import Tfidf

WORDS = [
    "red",
    "green",
    "blue",
    "house",
    "Tree",
    "river",
    "stone",
    "I",
    "a",
    "naïve",
    "Über",
    "2024",
    "run",
    "ran",
    "don't",
    "C3",
]
RNG = np.random.default_rng(0)


def _sentences(count: int, *, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [", ".join(rng.choice(WORDS, size=rng.integers(3, 12))) for _ in range(count)]


def _task(kind: Kind, outputs: int = 0, *, pair: bool = False) -> Task:
    text = (("one",), ("two",)) if pair else (("text",),)
    return Task(text=text, label="y", kind=kind, labels=tuple(f"label {i}" for i in range(outputs)))


def _single(texts: list[str]) -> list[tuple[str, ...]]:
    return [(text,) for text in texts]


TRAIN, TEST = _sentences(60, seed=1), [*_sentences(20, seed=2), "unknown words only", "", "!!!"]
REFERENCE = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True).fit(TRAIN)


@pytest.mark.parametrize("classes", [2, 4])
def test_single_label_is_scikit_learns_logistic_regression(classes: int) -> None:
    labels = RNG.integers(classes, size=60)
    model = Tfidf.fit(_single(TRAIN), labels, _task("single_label", classes))
    reference = LogisticRegression(C=5.0, tol=1e-8, max_iter=2000).fit(REFERENCE.transform(TRAIN), labels)
    logits = model.logits(_single(TEST))
    assert logits.shape == (23, classes)
    assert logits.dtype == np.float32
    expected = reference.predict_proba(REFERENCE.transform(TEST))
    np.testing.assert_allclose(scipy.special.softmax(logits, axis=1), expected, atol=2e-3)


def test_multi_label_is_one_against_the_rest() -> None:
    labels = (RNG.random((60, 3)) < 0.4).astype(np.float32)
    model = Tfidf.fit(_single(TRAIN), labels, _task("multi_label", 3))
    reference = OneVsRestClassifier(LogisticRegression(C=5.0, tol=1e-8, max_iter=2000))
    expected = reference.fit(REFERENCE.transform(TRAIN), labels.astype(int)).predict_proba(REFERENCE.transform(TEST))
    np.testing.assert_allclose(scipy.special.expit(model.logits(_single(TEST))), expected, atol=2e-3)


def test_regression_on_pairs_is_ridge_on_product_difference_and_cosine() -> None:
    others, test_others = _sentences(60, seed=3), _sentences(23, seed=4)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
    vectorizer.fit(TRAIN + others)

    def features(one: list[str], other: list[str]) -> np.ndarray:
        u, v = vectorizer.transform(one), vectorizer.transform(other)
        cosine = cosine_similarity(u, v).diagonal()[:, None]
        return np.hstack([u.multiply(v).toarray(), abs(u - v).toarray(), cosine])

    scores = RNG.normal(size=60).astype(np.float32)
    model = Tfidf.fit(list(zip(TRAIN, others)), scores, _task("regression", pair=True))
    expected = Ridge(alpha=1.0).fit(features(TRAIN, others), scores).predict(features(TEST, test_others))
    found = model.logits(list(zip(TEST, test_others)))
    assert found.shape == (23, 1)
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-3)


def test_rare_terms_are_dropped_if_there_are_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels, task = ["red house", "red river", "blue house"], np.array([0, 1, 1]), _task("single_label", 2)
    assert set(Tfidf.fit(_single(texts), labels, task).vocabulary) == {
        *("red", "house", "river", "blue"),
        *("red house", "red river", "blue house"),
    }
    monkeypatch.setattr(term_features, "_MANY_TEXTS", 3)
    assert set(Tfidf.fit(_single(texts), labels, task).vocabulary) == {"red", "house"}


@pytest.mark.parametrize("kind", ["two", "three", "several", "regression"])
@pytest.mark.parametrize("pair", [False, True])
def test_saved_and_loaded_it_answers_the_same(tmp_path: Path, kind: str, pair: bool) -> None:
    task, labels = {
        "two": (_task("single_label", 2, pair=pair), RNG.integers(2, size=60)),
        "three": (_task("single_label", 3, pair=pair), RNG.integers(3, size=60)),
        "several": (_task("multi_label", 3, pair=pair), (RNG.random((60, 3)) < 0.4).astype(np.float32)),
        "regression": (_task("regression", pair=pair), RNG.normal(size=60).astype(np.float32)),
    }[kind]
    rows = list(zip(TRAIN, TRAIN[::-1])) if pair else _single(TRAIN)
    model = Tfidf.fit(rows, labels, task)
    model.save(tmp_path / "run" / "model")
    loaded = Tfidf.load(tmp_path / "run" / "model")
    assert loaded.task == task
    np.testing.assert_array_equal(loaded.logits(rows), model.logits(rows))
    files = {file.name: file.stat().st_size for file in (tmp_path / "run" / "model").iterdir()}
    assert files.pop("checksums.json")
    assert set(files) == {"config.json", "vocabulary.json", "model.safetensors"}
    assert loaded.summary() == model.summary()
    assert model.summary()["size_bytes"] == sum(files.values())


def test_summary_counts_what_the_file_holds(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    model = Tfidf.fit(_single(TRAIN), RNG.integers(4, size=60), _task("single_label", 4))
    model.save(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    assert model.summary()["parameters"] == sum(array.size for array in arrays.values())
    assert model.summary()["trainable_parameters"] == arrays["weight"].size + arrays["bias"].size
    assert model.summary()["embedding_parameters"] == 0


def test_a_single_text_is_answered_as_among_many_and_may_be_a_string() -> None:
    model = Tfidf.fit(_single(TRAIN), RNG.integers(3, size=60), _task("single_label", 3))
    together = model.logits(_single(TEST))
    for row, text in enumerate(TEST):
        np.testing.assert_array_equal(model.logits([text])[0], together[row])
    assert model.logits([]).shape == (0, 3)
    np.testing.assert_array_equal(model.logits([""])[0], model.bias)


def test_validation_chooses_the_penalty() -> None:
    """Labels that one word decides need a weak penalty. Random labels, for which the mean is best, need a strong one."""
    task = _task("regression")
    task = Task(text=task.text, label="y", kind="regression", metrics=("mse",))
    decided = np.array(["red" in text for text in TRAIN], np.float32)
    noise = RNG.normal(size=60).astype(np.float32)
    fresh = _sentences(60, seed=9)
    fit = lambda labels, wanted: Tfidf.fit(_single(TRAIN), labels, task, validation=(_single(fresh), wanted))  # noqa: E731
    weak = fit(decided, np.array(["red" in text for text in fresh], np.float32))
    strong = fit(noise, np.full(60, noise.mean(), np.float32))

    def ridge(strength: float, labels: np.ndarray) -> np.ndarray:
        return Ridge(alpha=1 / strength).fit(REFERENCE.transform(TRAIN), labels).predict(REFERENCE.transform(TEST))

    np.testing.assert_allclose(strong.logits(TEST)[:, 0], ridge(1.0, noise), atol=2e-3)
    np.testing.assert_allclose(weak.logits(TEST)[:, 0], ridge(25.0, decided), atol=2e-3)


def test_rows_without_a_label_teach_nothing_but_words() -> None:
    labels = RNG.integers(2, size=60)
    partly = labels.copy()
    partly[40:] = NO_LABEL
    model = Tfidf.fit(_single(TRAIN), partly, _task("single_label", 2))
    reference = LogisticRegression(C=5.0, tol=1e-8, max_iter=2000).fit(REFERENCE.transform(TRAIN)[:40], labels[:40])
    expected = reference.decision_function(REFERENCE.transform(TEST))
    np.testing.assert_allclose(model.logits(TEST)[:, 1], expected, atol=0.01)
    with pytest.raises(DataError, match="none of the 60 training rows has a label"):
        Tfidf.fit(_single(TRAIN), np.full(60, NO_LABEL), _task("single_label", 2))


def test_the_maximum_of_iterations_does_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.models.logistic._ITERATIONS", 1)
    model = Tfidf.fit(_single(TRAIN), RNG.integers(3, size=60), _task("single_label", 3))
    assert np.isfinite(model.logits(TEST)).all()


def test_what_it_refuses(tmp_path: Path) -> None:
    task = _task("single_label", 2)
    with pytest.raises(DataError, match="no word to learn from in 2 training texts"):
        Tfidf.fit([("!!!",), ("",)], np.array([0, 1]), task)
    model = Tfidf.fit([("good",), ("bad",)], np.array([0, 1]), task)
    with pytest.raises(ValueError, match="needs 1 texts, but row 1 has 2"):
        model.logits([("good",), ("good", "bad")])
    with pytest.raises(ModelError, match=r"needs config\.json, which is missing"):
        Tfidf.load(tmp_path / "nothing")
    folder = tmp_path / "model"

    def spoil(name: str, content: bytes, message: str) -> None:
        model.save(folder)
        (folder / name).write_bytes(content)
        if name != "config.json":
            with pytest.raises(ModelError, match=f"{name} is not what was saved: .* delete checksums.json there"):
                Tfidf.load(folder)
            (folder / "checksums.json").unlink()
        with pytest.raises(ModelError, match=message):
            Tfidf.load(folder)

    spoil("config.json", b"{}", "config.json says kind None")
    spoil("config.json", b'{"understudy": {"kind": "tfidf"}}', "cannot be read .*task")
    spoil("model.safetensors", b"half a fi", "cannot be read")
    spoil("vocabulary.json", b'["good"]', "has 1 terms, but the weights have shape")
    model.save(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors was saved there, but is missing"):
        Tfidf.load(folder)
    (folder / "checksums.json").unlink()
    with pytest.raises(ModelError, match=r"needs model\.safetensors, which is missing"):
        Tfidf.load(folder)


def test_files_are_plain_json(tmp_path: Path) -> None:
    model = Tfidf.fit([("über alles",), ("nichts",)], np.array([0, 1]), _task("single_label", 2))
    model.save(tmp_path)
    terms = json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8"))
    assert {term: place for place, term in enumerate(terms)} == model.vocabulary
    about = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["understudy"]
    assert about["kind"] == "tfidf"
    assert Task.from_dict(about["task"]) == model.task


def test_sparse_features_of_training_are_those_of_prediction() -> None:
    """The fit uses scikit-learn's matrix and prediction its own arithmetic. Both give the same numbers."""
    model = Tfidf.fit(_single(TRAIN), RNG.integers(2, size=60), _task("single_label", 2))
    theirs = scipy.sparse.csr_array(REFERENCE.transform(TEST))
    for row, text in enumerate(TEST):
        places, values = model._vector(text)
        dense = np.zeros(theirs.shape[1])
        terms = {place: term for term, place in model.vocabulary.items()}
        for place, value in zip(places.tolist(), values):
            dense[REFERENCE.vocabulary_[terms[place]]] = value
        np.testing.assert_allclose(dense, theirs[[row]].toarray()[0], atol=1e-6)


CHINESE = ["很好吃，味道不错", "太难吃了，送餐慢", "味道好，送餐快", "难吃，再也不点"]


def test_texts_without_spaces_are_counted_by_characters(tmp_path: Path) -> None:
    task = _task("single_label", 2)
    model = Tfidf.fit(_single(CHINESE), np.array([1, 0, 1, 0]), task)
    assert model.terms == "characters"
    reference = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    theirs = reference.fit([text.split("，")[0] for text in CHINESE]).get_feature_names_out()
    assert set(theirs) <= set(model.vocabulary)
    assert model.logits(["不错"]).argmax() == 1  # a word inside a clause, which words would never see again
    model.save(tmp_path)
    loaded = Tfidf.load(tmp_path)
    assert loaded.terms == "characters"
    np.testing.assert_array_equal(loaded.logits(CHINESE), model.logits(CHINESE))
    # a folder from before: its terms were words
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["understudy"]["terms"] = "letters"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="its terms must be words or characters, but are 'letters'"):
        Tfidf.load(tmp_path)
    del config["understudy"]["terms"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Tfidf.load(tmp_path).terms == "words"


def test_what_is_counted_is_in_the_fingerprint_and_the_temperature_is_not() -> None:
    model = Tfidf.fit(_single(CHINESE), np.array([1, 0, 1, 0]), _task("single_label", 2))
    first = LinearPredictor(model).fingerprint()
    assert LinearPredictor(replace(model, temperature=2.0)).fingerprint() == first
    assert LinearPredictor(replace(model, terms="words")).fingerprint() != first


def test_many_classes_are_counted_and_not_optimised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "_MOST_WEIGHTS", 50)
    monkeypatch.setattr(logistic, "_logistic", lambda *_, **__: pytest.fail("was optimised"))
    labels = np.arange(60) % 6
    model = Tfidf.fit(_single(TRAIN), labels, _task("single_label", 7))
    features, tests = REFERENCE.transform(TRAIN), REFERENCE.transform(TEST)
    bayes = ComplementNB(alpha=1 / 5.0).fit(features, labels)
    expected = bayes.predict_joint_log_proba(tests)
    found = model.logits(_single(TEST))
    np.testing.assert_allclose(found[:, :6], expected, rtol=1e-4, atol=1e-5)
    assert (found[:, 6] == -20).all()  # a class that no training row has
    validation = (_single(TRAIN[:9]), labels[:9])
    assert Tfidf.fit(_single(TRAIN), labels, _task("single_label", 6), validation=validation).bias.shape == (6,)


def test_two_thousand_classes_take_no_time_and_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in (i // 4, *rng.integers(2000, 6000, 6))) for i in range(8000)]
    labels = np.arange(8000) // 4
    monkeypatch.setattr(term_features, "_MOST_WEIGHTS", 2000 * 5500)
    monkeypatch.setattr(logistic, "_logistic", lambda *_, **__: pytest.fail("was optimised"))
    model = Tfidf.fit(_single(texts), labels, _task("single_label", 2000))
    assert len(model.vocabulary) == 5500
    assert (model.logits(_single(texts[::40])).argmax(1) == labels[::40]).mean() > 0.95


@pytest.mark.parametrize(
    ("kind", "outputs"), [("single_label", 2), ("single_label", 3), ("multi_label", 3), ("regression", 0)]
)
@pytest.mark.parametrize("pair", [False, True])
def test_an_untrained_model_is_as_large_as_the_trained_one(kind: Kind, outputs: int, pair: bool) -> None:
    task = _task(kind, outputs, pair=pair)
    texts = list(zip(TRAIN, reversed(TRAIN))) if pair else _single(TRAIN)
    if kind == "multi_label":
        labels = (np.arange(len(texts))[:, None] % (2 + np.arange(outputs)) == 0).astype(np.float32)
    else:
        labels = np.arange(len(texts)) % 3 / 3.0 if kind == "regression" else np.arange(len(texts)) % outputs
    labels = labels.astype(np.float32) if kind == "regression" else labels
    trained, untrained = Tfidf.fit(texts, labels, task), Tfidf.untrained(texts, task)
    assert untrained.vocabulary == trained.vocabulary
    assert untrained.summary() == trained.summary()
    assert untrained.logits(texts[:2]).shape == trained.logits(texts[:2]).shape
    assert not untrained.logits(texts).any()
