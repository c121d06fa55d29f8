"""Estimators of scikit-learn: ``fit(X, y)`` on texts, in pipelines, cross-validation and grid searches."""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from understudy.inference.answers import probabilities
from understudy.loading import load
from understudy.recipes.train.distill.recipe import Distill
from understudy.recipes.train.finetune.recipe import Finetune
from understudy.recipes.use.estimator_inputs import check_settings, class_names, named_weights, seed_of, text_rows
from understudy.terminal.lines import silence


class TextEstimator(BaseEstimator):
    """What :class:`TextClassifier` and :class:`TextRegressor` share.

    Args:
        model: ``tfidf``, or the encoder that is fine-tuned: a folder or a hub id. With a student, the teacher.
        student: ``bilstm``, ``static``, ``layers:N`` or a model: it learns from the model, see ``understudy distill``.
            None: the model itself is used.
        settings: further settings of ``understudy finetune``, such as ``{"epochs": 3}``.
        student_settings: further settings of ``understudy distill``.
        random_state: the seed, or a generator that draws one; None is 0.
        output: a folder for the runs, with record, plots and model card. None: they are thrown away.
        verbose: show what the runs print.
    """

    def __init__(
        self,
        model: str = "tfidf",
        *,
        student: str | None = None,
        settings: Mapping[str, Any] | None = None,
        student_settings: Mapping[str, Any] | None = None,
        random_state: int | None = None,
        output: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.student = student
        self.settings = settings
        self.student_settings = student_settings
        self.random_state = random_state
        self.output = output
        self.verbose = verbose

    def _train(
        self, rows: list[dict[str, Any]], unlabeled: Any, kind: str, *, class_weights: Sequence[str] = ()
    ) -> None:
        """Run the recipes on rows, and keep the trained model and its files."""
        texts = [name for name in rows[0] if name != "label"]
        shared: dict[str, Any] = {
            "data": rows,
            "text": texts,
            "label": ["label"],
            "kind": kind,
            "seed": seed_of(self.random_state),
            "class_weights": list(class_weights),
        }
        if unlabeled is not None and self.student is None:
            raise ValueError("unlabeled texts are for a student, but student is None: name one, such as 'bilstm'")
        own = {*shared, "model", "teacher", "student", "unlabeled", "output"}
        check_settings(Finetune, self.settings, own, name="settings")
        check_settings(Distill, self.student_settings, own, name="student_settings")
        with contextlib.ExitStack() as stack:
            first = "model" if self.student is None else "teacher"
            asked = {"resume", "overwrite"} & {name for name, value in (self.settings or {}).items() if value}
            if self.output is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            else:
                folder = Path(self.output) if asked else _unused(Path(self.output), first)
            # the streams belong to the whole process, in which other threads may fit, too
            stack.enter_context(silence(not self.verbose))
            named = folder / "model" if self.student is None else folder / "teacher"
            record = Finetune(model=self.model, output=str(named), **shared, **(self.settings or {})).run()
            if self.student is not None:
                named = folder / "student"
                more: dict[str, Any] = {"student": self.student, **(self.student_settings or {})}
                pool: Any = None if unlabeled is None else text_rows(unlabeled)
                record = Distill(
                    teacher=[str(folder / "teacher")], unlabeled=pool, output=str(named), **shared, **more
                ).run()
            self.record_ = record
            self._files = _packed(named / "model")
        self._load()

    def _load(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(io.BytesIO(self._files)) as archive:
                archive.extractall(folder)
            self._predictor = load(folder)

    def _logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        rows = [tuple(row.values()) for row in text_rows(X)]
        if not rows:
            return np.empty((0, self._predictor.task.outputs), np.float32)
        wanted = len(self._predictor.task.text)
        if len(rows[0]) != wanted:
            raise ValueError(f"X has {len(rows[0])} texts a row, but {type(self).__name__} was fitted on {wanted}")
        found: np.ndarray = self._predictor.logits([row[0] if wanted == 1 else row for row in rows])
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the loaded model, whose files are part of the state."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_predictor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the model of the state."""
        super().__setstate__(state)
        if "_files" in state:
            self._load()

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a trained model."""
        return hasattr(self, "_predictor")

    def __sklearn_tags__(self) -> Any:
        """Texts in, no numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.target_tags.required = True
        return tags


class TextClassifier(ClassifierMixin, TextEstimator):
    """A text classifier as scikit-learn has them: TF-IDF, a fine-tuned encoder, or a small student of one.

    A tenth of the rows of :meth:`fit` is held out to choose weights and penalties, as in every run.

    Args:
        class_weight: ``balanced`` (rare classes count more, all of them alike in sum), or a weight by class; classes
            that a mapping does not name weigh 1. None: all rows count alike.
        model, student, settings, student_settings, random_state, output, verbose: as in :class:`TextEstimator`.

    Attributes:
        classes_: the classes, sorted.
        record_: the record of the last run.

    Example:
        >>> texts = [f"a {word} film, number {i}" for i in range(12) for word in ("good", "bad")]
        >>> model = TextClassifier().fit(texts, [1, 0] * 12)
        >>> model.predict(["a good film", "a bad film"])
        array([1, 0])
    """

    def __init__(
        self,
        model: str = "tfidf",
        *,
        student: str | None = None,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        settings: Mapping[str, Any] | None = None,
        student_settings: Mapping[str, Any] | None = None,
        random_state: int | None = None,
        output: str | Path | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            model,
            student=student,
            settings=settings,
            student_settings=student_settings,
            random_state=random_state,
            output=output,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, *, unlabeled: Any = None) -> Self:
        """Train on texts and their classes.

        Args:
            X: texts: a list, an array or a Series; for pairs a list of tuples or a DataFrame of two columns.
            y: classes of any kind that can be sorted.
            unlabeled: further texts for a student to learn from.

        Raises:
            ValueError: if X holds no texts, or X and y differ in length.
            UnderstudyError: for what a run refuses.
        """
        rows, labels = text_rows(X), column_or_1d(y, warn=True)
        check_classification_targets(labels)
        check_consistent_length(rows, labels)
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"{type(self).__name__} needs at least two classes, but y has one class: {classes[0]!r}")
        names = class_names(classes)
        weights = named_weights(self.class_weight, dict(zip(classes.tolist(), names)))
        named = [{**row, "label": names[code]} for row, code in zip(rows, codes)]
        self._train(named, unlabeled, "single_label", class_weights=weights)
        told = list(self._predictor.task.labels)
        self.classes_ = classes  # a fit that fails leaves what was fitted before
        self._columns = np.array([told.index(name) for name in names])
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities ``(rows, classes)``, in the order of ``classes_``, calibrated on the rows that were held out."""
        logits = self._logits(X)
        return probabilities(logits, self._predictor.task, temperature=self._predictor.temperature)[:, self._columns]

    def decision_function(self, X: Any) -> np.ndarray:
        """Logits ``(rows, classes)``; with two classes the log-odds of the second one, ``(rows,)``."""
        logits = self._logits(X)
        logits = logits[:, self._columns]
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict(self, X: Any, *, top_k: int | None = None) -> np.ndarray:
        """The likeliest class of each text, ``(rows,)``; with `top_k` the likeliest ones ``(rows, top_k)``, the first first.

        Raises:
            ValueError: if `top_k` is less than 1.
        """
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be at least 1, but is {top_k}")
        logits = self._logits(X)[:, self._columns]
        best = logits.argmax(1) if top_k is None else np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
        found: np.ndarray = self.classes_[best]
        return found


class TextRegressor(RegressorMixin, TextEstimator):
    """A model that answers texts with numbers, as scikit-learn has them.

    Args:
        model, student, settings, student_settings, random_state, output, verbose: as in :class:`TextEstimator`.

    Attributes:
        record_: the record of the last run.
    """

    def fit(self, X: Any, y: Any, *, unlabeled: Any = None) -> Self:
        """Train on texts and their numbers; see :meth:`TextClassifier.fit`."""
        rows, targets = text_rows(X), column_or_1d(y, warn=True).astype(np.float64)
        check_consistent_length(rows, targets)
        if len(rows) < 2:
            raise ValueError(f"{type(self).__name__} needs at least two rows, but X has {len(rows)} sample(s)")
        if not np.isfinite(targets).all():
            raise ValueError("y holds a number that is not finite")
        self._train([{**row, "label": float(target)} for row, target in zip(rows, targets)], unlabeled, "regression")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The number of each text."""
        return self._logits(X)[:, 0].astype(np.float64)


def _unused(output: Path, first: str) -> Path:
    """A folder for the runs of one fit: the one that was named, or below it one for each further fit.

    Clones in a cross-validation have the same parameters, and may be fitted at the same time.
    """
    for number in itertools.count(1):
        folder = output if number == 1 else output / f"fit-{number}"
        with contextlib.suppress(FileExistsError):
            (folder / first).mkdir(parents=True)
            return folder
    raise AssertionError("there is always another number")


def _packed(folder: Path) -> bytes:
    """The files of a model folder, for a pickle."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return packed.getvalue()
