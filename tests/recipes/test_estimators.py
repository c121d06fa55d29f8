"""The estimators in scikit-learn's own tools: clone, Pipeline, cross-validation, grid search, pickles."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

import understudy
from understudy import TextClassifier, TextRegressor
from understudy.errors import DataError
from understudy.recipes.use.estimator_inputs import text_rows

pandas: Any = pytest.importorskip("pandas", reason="pandas comes with datasets")


@pytest.fixture
def frame(reviews: Path) -> Any:
    return pandas.concat([pandas.read_csv(reviews / f"{name}.csv") for name in ("train", "validation", "test")])


def test_in_cross_validation_beside_tfidf_and_logistic_regression(frame: Any, quick: None) -> None:
    X, y = frame["text"], frame["label"]
    ours = cross_val_score(TextClassifier(), X, y, cv=3)
    theirs = cross_val_score(make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=5)), X, y, cv=3)
    assert len(ours) == 3
    assert ours.mean() > theirs.mean() - 0.05 > 0.6


def test_pipelines_grids_and_clones(frame: Any, quick: None) -> None:
    X, y = frame["text"].tolist(), (frame["label"] == "positive").to_numpy().astype(int)
    steps = Pipeline(
        [("lower", FunctionTransformer(lambda texts: [t.lower() for t in texts])), ("model", TextClassifier())]
    )
    search = GridSearchCV(steps, {"model__random_state": [0, 1]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.6
    assert search.predict(X[:5]).dtype == y.dtype
    model = TextClassifier("tfidf", settings={"metric": "f1"}, random_state=3)
    other = clone(model)
    assert other is not model
    assert other.get_params() == model.get_params()
    assert is_classifier(model)
    assert is_regressor(TextRegressor())


@pytest.mark.parametrize(
    "classes",
    [["bad", "good"], [0, 1], [-1, 1], [3, 10], [2.0, 7.0], [True, False], ["1", "01"], ["NA", "ok"], ["a,b", " c"]],
)
def test_classes_of_any_kind_come_back_as_they_are(classes: list[Any], frame: Any, quick: None) -> None:
    X, y = frame["text"].tolist(), np.array(classes)[(frame["label"] == "positive").to_numpy().astype(int)]
    model = TextClassifier().fit(X, y)
    assert model.classes_.tolist() == sorted(set(y.tolist()))
    assert model.score(X, y) > 0.8
    shares = model.predict_proba(X)
    assert shares.sum(1) == pytest.approx(np.ones(len(X)), abs=1e-5)
    assert (model.classes_[shares.argmax(1)] == model.predict(X)).all()
    assert ((model.decision_function(X) > 0) == (model.predict(X) == model.classes_[1])).all()
    assert model.predict([]).shape == (0,)


def test_the_likeliest_classes_are_those_of_the_probabilities(quick: None) -> None:
    texts = [f"{word} film number {i}" for i in range(12) for word in ("good", "bad", "odd")]
    model = TextClassifier().fit(texts, [7, 5, 6] * 12)
    asked = ["good odd film", "a bad film", "odd"]
    ranked = np.argsort(-model.predict_proba(asked), axis=1, kind="stable")
    for k in (1, 2, 3, 9):
        np.testing.assert_array_equal(model.predict(asked, top_k=k), model.classes_[ranked[:, :k]])
    np.testing.assert_array_equal(model.predict(asked, top_k=1)[:, 0], model.predict(asked))
    assert model.predict([], top_k=2).shape == (0, 2)
    with pytest.raises(ValueError, match="top_k must be at least 1, but is 0"):
        model.predict(asked, top_k=0)


def test_a_pickle_answers_alike_in_another_process(frame: Any, tmp_path: Path, quick: None) -> None:
    model = TextClassifier(output=tmp_path / "run").fit(frame["text"], frame["label"])
    assert (tmp_path / "run" / "model" / "record.json").exists()
    texts = frame["text"].tolist()[:20]
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(model))
    code = "import pickle, sys, json; model = pickle.load(open(sys.argv[1], 'rb')); print(json.dumps(model.predict_proba(json.load(sys.stdin)).tolist()))"
    import json

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.pickle")],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        np.array(json.loads(done.stdout), np.float32), model.predict_proba(texts).astype(np.float32)
    )
    assert clone(model).__sklearn_is_fitted__() is False


def test_a_student_of_a_teacher_and_pairs(
    frame: Any, tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"embeddings": "random", "tokenizer": "words:60", "epochs": 2, "baseline": False, "references": False}
    X, y = frame["text"], frame["label"]
    model = TextClassifier(student="static", student_settings=small, output=tmp_path).fit(
        X, y, unlabeled=["a good film"] * 3
    )
    assert model.record_.command == "distill"
    assert model.record_.data["unlabeled"]["rows"] == 1
    assert capsys.readouterr().out == ""
    pairs = [(text, text[::-1]) for text in X]
    found = TextClassifier(verbose=True).fit(pairs, y)
    assert "TF-IDF with a linear model" in "".join(capsys.readouterr())
    assert found.predict(pandas.DataFrame(pairs)).tolist() == found.predict(pairs).tolist()
    with pytest.raises(ValueError, match="X has 1 texts a row, but TextClassifier was fitted on 2"):
        found.predict(X)


def test_numbers(frame: Any, quick: None) -> None:
    y = np.where(frame["label"] == "positive", 1.5, -0.5) + np.arange(len(frame)) / 1e4
    model = TextRegressor().fit(frame["text"], y)
    assert model.score(frame["text"], y) > 0.5
    assert model.predict(["a good film"]).shape == (1,)


@pytest.mark.parametrize(
    ("X", "y", "said"),
    [
        ("one text", [1], "single string"),
        ([1, 2], [0, 1], "row 0 is 1"),
        (np.zeros((3, 2)), [0, 1, 0], "X must be texts"),
        (["a", "b"], [0], "inconsistent numbers of samples"),
        (["a", "b"], [0.5, 1.5], "Unknown label type: continuous"),
        (["a", "b"], [1, 1], "at least two classes, but y has one class"),
    ],
)
def test_what_is_no_text_is_refused(X: Any, y: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TextClassifier().fit(X, y)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"settings": {"epochz": 3}},
            "settings names 'epochz', which is no setting of finetune. Did you mean 'epochs'?",
        ),
        ({"settings": {"seed": 3}}, "settings names 'seed', which the estimator sets by itself"),
        ({"student_settings": {"alfa": 0.5}}, "student_settings names 'alfa', which is no setting of distill"),
    ],
)
def test_settings_that_there_are_not_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        TextClassifier(**options).fit(["a", "b"] * 5, [0, 1] * 5)


def test_a_frame_of_polars_is_read_by_its_rows() -> None:
    class Frame:
        columns = ("first", "second")

        def rows(self) -> list[tuple[str, str]]:
            return [("a", "b"), ("c", "d")]

    assert text_rows(Frame()) == [{"text_a": "a", "text_b": "b"}, {"text_a": "c", "text_b": "d"}]


def test_what_was_not_fitted_does_not_answer() -> None:
    with pytest.raises(NotFittedError):
        TextClassifier().predict(["a"])
    with pytest.raises(ValueError, match="unlabeled texts are for a student"):
        TextClassifier().fit(["a", "b"], [0, 1], unlabeled=["c"])


def test_the_public_names_are_found_by_completion() -> None:
    assert {"TextClassifier", "Finetune", "load"} <= set(dir(understudy))


def test_every_fit_keeps_its_runs_in_a_folder_of_its_own(frame: Any, tmp_path: Path, quick: None) -> None:
    model = TextClassifier(output=tmp_path / "runs")
    scores = cross_val_score(model, frame["text"], frame["label"], cv=3, error_score="raise")
    assert np.isfinite(scores).all()
    for folder in ("model", "fit-2/model", "fit-3/model"):
        assert (tmp_path / "runs" / folder / "record.json").exists(), folder


def test_a_fit_that_fails_leaves_what_was_fitted(frame: Any, quick: None) -> None:
    model = TextClassifier().fit(frame["text"], frame["label"])
    before = model.predict(frame["text"]).tolist()
    with pytest.raises(DataError, match="the text"):
        model.fit([" ", *frame["text"][1:]], [3, 7] * (len(frame) // 2))
    assert model.predict(frame["text"]).tolist() == before
    assert model.classes_.tolist() == ["negative", "positive"]


def test_fits_in_threads_leave_the_streams_of_the_process(frame: Any, quick: None, capsys: Any) -> None:
    before = sys.stdout, sys.stderr
    seen = []

    def fit(seed: int) -> None:
        model = TextClassifier(random_state=seed)
        load = model._load
        model._load = lambda: seen.append((sys.stdout, sys.stderr)) or load()
        model.fit(frame["text"], frame["label"])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fit, range(2)))
    assert seen == [before] * 2
    assert (sys.stdout, sys.stderr) == before
    assert "".join(capsys.readouterr()) == ""
