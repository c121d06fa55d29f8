"""What ``distill`` settles by itself: where the embeddings start, how long both students learn."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from understudy.cli import main
from understudy.deploy.onnx.export import export_onnx
from understudy.errors import ConfigError, ModelError
from understudy.loading import load
from understudy.models.files.classifiers import load_encoder
from understudy.recipes.train.distill import work as distillation
from understudy.recipes.train.distill.recipe import Distill
from understudy.recipes.train.distill.work import Distillation
from understudy.recipes.train.students import classifier, start
from understudy.recipes.train.students import pace as paces
from understudy.recipes.train.students.pace import pace, settled
from understudy.record import RunRecord
from understudy.settings.student_options import StaticOptions

pytestmark = pytest.mark.usefixtures("quick_throughout")


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def teacher(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    rate = ["--epochs", 2, "--learning_rate", 3e-3]
    assert run("finetune", "--data", reviews, "--model", tiny_bert, "--output", folder, *rate, "--no_baseline") == 0
    return folder


def settings(reviews: Path, teacher: Path, **options: Any) -> Distill:
    small = StaticOptions(embedding=16, hidden=8)
    return Distill(data=str(reviews), teacher=[str(teacher)], student="static", static=small, **options)


def work_of(recipe: Distill) -> Distillation:
    return recipe.prepare(recipe.read())


def test_both_students_start_from_the_teachers_states_of_the_tokens(
    reviews: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over the texts of the states that transformers itself gives, one text at a time, up to a linear map."""
    begun: dict[str, torch.Tensor] = {}

    def stop(self: Distillation, session: Any, teacher: Any) -> int:
        begun["student"] = self.student.model.embeddings.weight.detach().clone()  # type: ignore[union-attr,operator]
        begun["alone"] = self.start.embeddings.weight.detach().clone()
        begun["texts"] = self.texts  # type: ignore[assignment]
        raise KeyboardInterrupt

    monkeypatch.setattr(Distillation, "train_student", stop)
    with pytest.raises(KeyboardInterrupt):
        settings(reviews, teacher, output=str(tmp_path / "run")).run()
    assert torch.equal(begun["student"], begun["alone"])

    encoder, tokenizer = load_encoder(str(teacher)), AutoTokenizer.from_pretrained(teacher / "model")
    sums: dict[int, torch.Tensor] = {}
    counts: dict[int, int] = {}
    for (text,) in begun["texts"]:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            for token, state in zip(ids[0].tolist(), encoder(input_ids=ids).last_hidden_state[0]):
                sums[token] = sums.get(token, torch.zeros(())) + state
                counts[token] = counts.get(token, 0) + 1
    often = [token for token, count in counts.items() if count >= 50]
    assert len(often) >= 8
    means = np.stack([(sums[token] / counts[token]).numpy() for token in often])
    means -= means.mean(0)
    ours = begun["student"][often].numpy()
    ours = ours - ours.mean(0)
    # the principal components keep the distances between tokens, up to one factor
    theirs, found = (np.linalg.norm(a[:, None] - a[None], axis=-1).ravel() for a in (means, ours))
    assert np.corrcoef(theirs, found)[0, 1] > 0.99


def test_a_second_run_reads_the_states_and_not_the_texts(
    reviews: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit; and a damaged file is made again."""
    work = work_of(settings(reviews, teacher))
    read: list[int] = []
    ours = start.token_states

    def counted(*given: Any, **known: Any) -> Any:
        read.append(1)
        return ours(*given, **known)

    monkeypatch.setattr(start, "token_states", counted)

    def table() -> torch.Tensor:
        assert work.reader is not None
        return start.contextual_start(work.reader, work.texts, work.student.tokenizer, 16, device="cpu")

    first, second = table(), table()
    assert torch.equal(first, second)
    assert len(read) == 1
    (file,) = (start.cache_dir() / "token_states").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-30])
    assert torch.equal(table(), first)
    assert len(read) == 2


@pytest.mark.parametrize(
    ("texts", "epochs", "patience"),
    [(1, 20, 10), (250, 20, 10), (1000, 10, 5), (4900, 5, 3), (5000, 5, 3), (10**6, 3, 2)],
)
def test_epochs_fall_with_the_root_of_the_texts(texts: int, epochs: int, patience: int) -> None:
    for student in ("static", "bilstm"):
        assert pace(student, texts=texts, validation=400)[:2] == (epochs, patience)
        assert pace(student, texts=texts, validation=399)[:2] == (epochs, None)
    assert pace("layers:2", texts=texts, validation=400)[:2] == (10, 5)
    assert pace("a/b", texts=texts, validation=399)[:2] == (10, None)


@pytest.mark.parametrize("texts", [40, 250, 900, 1000, 3333, 5000, 12_000, 10**5])
def test_twice_the_texts_never_mean_fewer_steps_or_more_epochs(texts: int) -> None:
    few, many = (pace("bilstm", texts=n, validation=99).epochs for n in (texts, 2 * texts))
    assert many <= few <= 2 * many


@pytest.mark.parametrize("patience", [None, 4])
def test_a_patience_that_is_given_stays(patience: int | None) -> None:
    found, keep, why = settled(Distill(teacher=["x"], patience=patience), texts=5000, validation=500)
    assert (found.epochs, found.patience, keep) == (5, patience or 3, "best")
    assert ("without a new best" in str(why)) == (patience is None)
    few = settled(Distill(teacher=["x"], patience=patience), texts=5000, validation=100)
    assert (few.settings.patience, few.keep) == ((None, "last") if patience is None else (4, "best"))


@pytest.mark.parametrize("given", [{"eval_steps": 20}, {"optimizer": "nt_asgd"}])
def test_a_patience_of_epochs_is_none_of_other_evaluations(given: dict[str, Any]) -> None:
    found = settled(Distill(teacher=["x"], **given), texts=5000, validation=500)
    assert (found.settings.patience, found.keep) == (None, "best")
    assert "without a new best" not in str(found.why)


@pytest.mark.parametrize(
    ("given", "batch_size", "rate"),
    [
        ({}, 64, 4e-3),
        ({"student": "static"}, 32, None),
        ({"batch_size": 48}, 48, None),
        ({"batch_size": 32}, 32, None),
        ({"learning_rate": 1e-3}, 64, 1e-3),
        ({"learning_rate": "auto"}, 64, "auto"),
        ({"epochs": 10}, 32, None),
        ({"epochs": 10, "batch_size": 7}, 7, None),
        ({"student": "layers:2"}, 32, None),
    ],
)
def test_steps_are_larger_only_where_nothing_is_given(given: dict[str, Any], batch_size: int, rate: Any) -> None:
    found = settled(Distill(teacher=["x"], **given), texts=5000, validation=100).settings
    assert (found.batch_size, found.learning_rate) == (batch_size, rate)
    few = settled(Distill(teacher=["x"]), texts=1999, validation=100).settings
    assert (few.batch_size, few.learning_rate) == (32, None)


@pytest.mark.parametrize(("enough", "stopped_by", "evaluations"), [(40, "patience", 11), (41, "epochs", 20)])
def test_both_students_end_by_the_same_rule(
    reviews: Path,
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    enough: int,
    stopped_by: str,
    evaluations: int,
) -> None:
    """Validation never improves on its first evaluation: with enough rows both end after as many more as the patience
    has, and keep the first weights; with too few they go on to the end, and keep the last."""

    def worse(*_: Any, **__: Any) -> Any:
        scores = iter(np.linspace(0.9, 0.1, 40))

        def score(model: Any) -> dict[str, float]:
            value = float(next(scores))
            return dict.fromkeys(names, value)

        return score

    monkeypatch.setattr(paces, "_ENOUGH", enough)
    recipe = settings(reviews, teacher, output=str(tmp_path / "run"))
    names = recipe.read().task.metrics
    monkeypatch.setattr(distillation, "validation_scores", worse)
    recipe.run()
    training = RunRecord.load(tmp_path / "run" / "record.json").training
    assert "20 by 120 texts" in training["student"]["settled"]
    for phase in ("student", "student without teacher"):
        steps = evaluations * 4  # of 120 rows in batches of 32
        assert (training[phase]["stopped_by"], training[phase]["steps"]) == (stopped_by, steps)
        assert training[phase]["best_step"] == (4 if stopped_by == "patience" else steps)


def test_the_old_start_is_still_there(reviews: Path, teacher: Path) -> None:
    work = work_of(settings(reviews, teacher, embeddings="teacher"))
    assert not work.student.to_start
    assert work_of(settings(reviews, teacher)).student.to_start


@pytest.mark.parametrize("kind", ["static", "bilstm", "tfidf"])
def test_any_model_teaches_a_student_without_a_word_on_embeddings(
    reviews: Path, teacher: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student has no encoder, TF-IDF no embeddings: `auto` takes what there is, says it, and is never refused."""
    if kind == "tfidf":
        assert run("finetune", "--data", reviews, "--model", "tfidf", "--output", tmp_path / "first") == 0
    else:
        flags = ["--student", kind, f"--{kind}.embedding", 8, f"--{kind}.hidden", 8, "--epochs", 1, "--no_baseline"]
        flags += ["--no_references", "--output", tmp_path / "first"]
        assert run("distill", "--data", reviews, "--teacher", teacher, *flags) == 0
    second = settings(reviews, tmp_path / "first")
    work = work_of(second)
    if kind == "tfidf":
        assert work.plan_lines()["embeddings"] == "random"
        return
    assert work.plan_lines()["embeddings"] == "the teacher's word embeddings"
    theirs = load(tmp_path / "first").model.embeddings.weight.detach().numpy()  # type: ignore[union-attr]
    ours = work.student.model.embeddings.weight.detach().numpy()  # type: ignore[union-attr]
    # twice as wide, so nothing of theirs is lost: their columns are a linear map of ours
    found = np.linalg.lstsq(ours, theirs, rcond=None)[0]
    np.testing.assert_allclose(ours @ found, theirs, atol=1e-4)

    def nothing(model: object) -> None:
        raise ModelError("no table")

    monkeypatch.setattr(classifier, "word_embeddings", nothing)
    bare = work_of(second)
    assert bare.plan_lines()["embeddings"] == "random"
    assert any("start at random, because the teacher has none to take. no table" in note for note in bare.notes)
    with pytest.raises(ConfigError, match="no table"):
        work_of(dataclasses.replace(second, embeddings="teacher"))


@pytest.mark.parametrize("student", ["static", "bilstm"])
def test_a_number_of_epochs_is_taken_as_it_is(reviews: Path, teacher: Path, student: str) -> None:
    recipe = Distill(data=str(reviews), teacher=[str(teacher)], student=student, epochs=7)
    work = work_of(recipe)
    assert work.settings == dataclasses.replace(recipe, batch_size=32)
    assert work.plan.epochs == 7


def test_auto_epochs_are_settled_before_the_run_and_said(reviews: Path, teacher: Path) -> None:
    recipe = settings(reviews, teacher)
    work = work_of(recipe)
    assert recipe.epochs == "auto"
    assert work.settings.epochs == work.plan.epochs
    assert any("auto" in line for line in work.plan_lines().values())


@pytest.mark.parametrize(("alpha", "texts"), [(0.0, 60), (0.5, 120)])
def test_texts_that_teach_nothing_do_not_count(reviews: Path, tmp_path: Path, alpha: float, texts: int) -> None:
    """A file answers for half of the training rows, and for none of the pool."""
    answers = tmp_path / "answers.csv"
    lines = (reviews / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    answers.write_text("".join(lines[:61]), encoding="utf-8")
    work = work_of(settings(reviews, answers, unlabeled=str(reviews / "pool.txt"), alpha=alpha))
    assert work.settled.why is not None
    assert f"by {texts} texts" in work.settled.why
    plan = work.plan_lines()
    assert plan["rows"].startswith(f"{texts} to train on")
    assert plan["steps"].startswith(f"{-(-texts // 32) * work.plan.epochs} of 32 rows")
    assert work.tokens == int(work.encoded.lengths[:texts].sum())


def test_only_labels_teach_where_the_teacher_has_no_share(
    reviews: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student is then the student without a teacher, weight for weight, and the teacher labels nothing for it."""
    made: dict[str, Any] = {}
    ours = distillation.compare_all

    def kept(session: Any, teachers: Any, students: Any, *rest: Any) -> None:
        made.update(students)
        ours(session, teachers, students, *rest)

    monkeypatch.setattr(distillation, "compare_all", kept)
    pool = str(reviews / "pool.txt")
    recipe = settings(reviews, teacher, unlabeled=pool, alpha=1.0, epochs=2, output=str(tmp_path / "run"))
    work = work_of(recipe)
    assert len(work.taught) == 120
    assert work.plan_lines()["pool"] == "150 texts without labels, which teach nothing at --alpha 1"
    recipe.run()
    taught, alone = (predictor.model.state_dict() for predictor in made.values())
    assert all(torch.equal(taught[name], alone[name]) for name in taught)
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert record.teacher_forward_texts == 0
    assert record.training["student"]["steps"] == 2 * 4
    assert any("150 texts have no label, which alone teaches at --alpha 1" in note for note in record.notes)
    assert any("learns from the labels alone" in note for note in record.notes)


def test_copies_are_no_texts_to_learn_words_from(
    reviews: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vocabulary and start of the embeddings are those of the same run without copies."""
    begun: list[torch.Tensor] = []

    def stop(self: Distillation, session: Any, teacher: Any) -> int:
        begun.append(self.student.model.embeddings.weight.detach().clone())  # type: ignore[union-attr,operator]
        raise KeyboardInterrupt

    monkeypatch.setattr(Distillation, "train_student", stop)
    found = []
    for copies in (0, 2):
        recipe = settings(
            reviews, teacher, unlabeled=str(reviews / "pool.txt"), augment=copies, tokenizer="words:20", epochs=1
        )
        work = work_of(recipe)
        found.append(work.student.tokenizer.get_vocab())
        with pytest.raises(KeyboardInterrupt):
            dataclasses.replace(recipe, output=str(tmp_path / f"{copies}")).run()
    assert len(work.texts) > 300
    copied = len(work.texts) - 270
    said = f"150 texts without labels, and {copied} varied copies of training texts"
    assert work.plan_lines()["pool"] == said
    assert found[0] == found[1]
    assert torch.equal(*begun)


@pytest.mark.parametrize(("patience", "enough", "said"), [(None, 41, True), (None, 40, False), (2, 41, False)])
def test_a_min_delta_without_a_patience_is_said(
    reviews: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch, patience: int | None, enough: int, said: bool
) -> None:
    monkeypatch.setattr(paces, "_ENOUGH", enough)
    notes = work_of(settings(reviews, teacher, min_delta=0.01, patience=patience)).notes
    assert any("min_delta: has no effect" in note for note in notes) is said


@pytest.mark.parametrize(("scale", "said"), [(1, False), (1000, True)])
def test_numbers_that_a_student_does_not_reach_are_said(tmp_path: Path, scale: int, said: bool) -> None:
    rows = [f"a good film {i},{i % 5 * scale}" for i in range(60)]
    answers = [f"a good film {i},{i % 5 * scale}" for i in range(60)]
    for name, lines in (("train", rows), ("answers", answers)):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,score", *lines]) + "\n")
    recipe = Distill(data=str(tmp_path / "train.csv"), teacher=[str(tmp_path / "answers.csv")], student="static")
    notes = work_of(recipe).notes
    assert any("the labels lie around their mean by 1," in note for note in notes) is said


@pytest.mark.parametrize("length", [None, 20, 16])
def test_an_exported_teacher_keeps_its_length_and_says_so(
    reviews: Path, teacher: Path, tmp_path: Path, length: int | None
) -> None:
    pytest.importorskip("onnxruntime")
    trained = load(teacher)
    trained.max_length = 20
    export_onnx(tmp_path / "exported", trained, ["a good film"])
    notes = work_of(settings(reviews, tmp_path / "exported", max_length=length)).notes
    told = [note for note in notes if "exported" in note and "tokens of a text" in note]
    end = "was exported to read 20 tokens of a text, and does so whatever --max_length (16) is."
    assert told == ([f"{tmp_path / 'exported'}: {end}"] if length == 16 else [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": "sst2"}, "--task sst2 names one of a model's several tasks, but every --teacher is a file"),
        ({"alpha": 1.0, "augment": 3}, "--augment makes texts for the teacher to label, but at --alpha 1"),
    ],
)
def test_settings_without_effect_are_refused(given: dict[str, Any], said: str, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text("text,label\na,positive\n", encoding="utf-8")
    assert any(said in fault for fault in settings(reviews, tmp_path / "answers.csv", **given).faults())


def test_a_contextual_start_without_an_encoder_is_refused(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": text, "negative": 0.4, "positive": 0.6} for text in ("a", "b")]
    (tmp_path / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    flags = ["--student", "static", "--embeddings", "contextual", "--output", tmp_path / "run"]
    assert run("distill", "--data", reviews, "--teacher", tmp_path / "answers.jsonl", *flags) == 2
    assert "contextual" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["often", "0", "-3", "2.5"])
def test_other_epochs_are_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("distill", "--teacher", "x", "--data", "y", "--epochs", value) == 2
    assert "epochs must be" in capsys.readouterr().err


def test_what_epochs_can_be_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("distill", "--teacher", "x", "--data", "y", "--epochs", "often") == 2
    assert "epochs must be an integer or 'auto', but is 'often'." in capsys.readouterr().err
