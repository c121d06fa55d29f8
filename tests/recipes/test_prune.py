"""``understudy prune``: what is left answers, is saved and read back, and is measured beside what it was."""

from __future__ import annotations

import csv
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, BertTokenizer

import understudy
from toy_reviews import WORDS
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.evaluation import cost
from understudy.models.files.classifiers import load_classifier
from understudy.models.files.multitask import TrainedTasks, save_tasks
from understudy.models.files.save import save_model
from understudy.models.files.stored_task import set_task
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.multitask import MultiTaskModel
from understudy.models.shrink.prune.blocks import headed_blocks
from understudy.models.shrink.prune.magnitude import zero_share
from understudy.models.structure.layers import word_embeddings
from understudy.recipes.ship.prune import work
from understudy.record import RunRecord
from understudy.runs import saving
from understudy.training import trainer

pytestmark = [pytest.mark.usefixtures("quick_throughout"), pytest.mark.filterwarnings("ignore")]
TEXTS = ["a good film", "the bad book, quite", "lovely"]


@pytest.fixture(scope="module")
def trained(reviews: Path, larger_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned BERT of 4 layers with 2 heads and 64 neurons each."""
    run = tmp_path_factory.mktemp("runs") / "model"
    command = ["finetune", "--data", str(reviews), "--model", str(larger_bert), "--epochs", "2", "--no_baseline"]
    command += ["--contrastive", "never", "--pooling", "head", "--max_length", "32"]
    assert main([*command, "--output", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def pruned(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the heads and neurons of it gone, in two rounds."""
    run = tmp_path_factory.mktemp("runs") / "pruned"
    assert main([*command_for(trained), "--output", str(run)]) == 0
    return run


def command_for(model: Path) -> list[str]:
    """Half of the heads and of the neurons, in two rounds of one epoch."""
    return ["prune", str(model), "--heads", "0.5", "--neurons", "0.5", "--rounds", "2", "--epochs", "1"]


def sizes(folder: Path) -> tuple[list[int], list[int]]:
    """Heads and neurons by layer."""
    blocks = headed_blocks(understudy.load(folder).model)
    return [block.heads for block in blocks], [block.neurons for block in blocks]


def test_half_is_gone_and_everything_is_on_the_record(trained: Path, pruned: Path) -> None:
    heads, neurons = sizes(pruned)
    assert sum(heads) == 4
    assert sum(neurons) == 128
    record = RunRecord.load(pruned / "record.json")
    assert [model["name"] for model in record.models] == ["pruned", "unpruned"]
    assert all(set(model["metrics"]) == {"validation", "test"} for model in record.models)
    one, other = record.models
    assert one["parameters"] < other["parameters"]
    assert one["size_bytes"] < other["size_bytes"]
    assert record.pruned["before"] == {"heads": [2] * 4, "neurons": [64] * 4}
    assert record.pruned["after"] == {"heads": heads, "neurons": neurons}
    assert set(record.pruned["rounds"]) == {"1", "2"}
    assert {"round 1", "round 2"} == set(record.training)
    assert record.teacher_forward_texts == 120
    assert record.data["train"]["rows"] == 120
    assert [(c["model"], c["other"]) for c in record.comparisons] == [("pruned", "unpruned")]
    card = (pruned / "README.md").read_text()
    assert "4 of 8 heads are left" in card
    assert "128 of 256 neurons are left" in card
    assert "transformers alone builds all layers alike" in card
    assert "Verdict: " in card
    assert not (pruned / "checkpoints").exists()
    assert not np.array_equal(understudy.load(trained).logits(TEXTS), understudy.load(pruned).logits(TEXTS))


def test_the_result_is_a_model_like_any_other(pruned: Path, reviews: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS) + "\n")
    assert main(["predict", "--model", str(pruned), "--input", str(texts), "--output", str(tmp_path / "out.csv")]) == 0
    assert main(["export", str(pruned), "--output", str(tmp_path / "onnx")]) == 0
    expected = understudy.load(pruned).logits(TEXTS)
    np.testing.assert_allclose(understudy.load(tmp_path / "onnx").logits(TEXTS), expected, atol=1e-4)
    assert main(["quantize", str(pruned), "--max_drop", "30", "--output", str(tmp_path / "int8")]) == 0
    command = ["distill", "--data", str(reviews), "--teacher", str(pruned), "--epochs", "1", "--no_baseline"]
    command += ["--no_references", "--output", str(tmp_path / "layers")]
    assert main([*command, "--student", "layers:2"]) == 0
    assert sum(sizes(tmp_path / "layers")[1]) < 128
    again = ["prune", str(pruned), "--heads", "0", "--neurons", "0.5", "--rounds", "0"]
    assert main([*again, "--output", str(tmp_path / "again")]) == 0
    assert sum(sizes(tmp_path / "again")[1]) == 64


def test_the_recipe_that_people_copy(trained: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "prune.yaml"
    command = ["prune", "--config", str(recipe), "--model", str(trained), "--epochs", "1"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    assert sum(sizes(tmp_path / "run")[0]) == 4


def test_at_once_and_without_training(trained: Path, tmp_path: Path) -> None:
    """One layer alike with the other: then it is the choice of the same numbers that transformers can load."""
    command = ["prune", str(trained), "--neurons", "0.25", "--per_layer", "--rounds", "0"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    assert sizes(tmp_path / "run") == ([2] * 4, [48] * 4)
    record = RunRecord.load(tmp_path / "run" / "record.json")
    assert not record.training
    assert record.teacher_forward_texts == 0
    assert record.pruned["transformers"]
    found = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model")
    assert found.config.intermediate_size == 48


def test_fine_tuning_between_the_rounds_on_named_rows(trained: Path, reviews: Path, tmp_path: Path) -> None:
    command = ["prune", str(trained), "--heads", "0.25", "--per_layer", "--recovery", "finetune", "--epochs", "1"]
    assert main([*command, "--data", str(reviews), "--output", str(tmp_path / "no")]) == 2  # a quarter of two heads
    command[3] = "0.5"
    assert main([*command, "--data", str(reviews), "--output", str(tmp_path / "run")]) == 0
    assert sizes(tmp_path / "run")[0] == [1] * 4
    with open(tmp_path / "run" / "progress.csv", newline="") as file:
        assert {row["phase"] for row in csv.DictReader(file)} == {"round 1"}


def test_what_a_row_counts_by_its_class_counts_here_too(
    trained: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "prune",
        str(trained),
        "--heads",
        "0.5",
        "--recovery",
        "finetune",
        "--epochs",
        "1",
        "--data",
        str(reviews),
    ]
    for name, weights in (("plain", []), ("weighted", ["--class_weights", "negative=9", "positive=1"])):
        assert main([*command, *weights, "--output", str(tmp_path / name)]) == 0
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("plain", "weighted"))
    assert not torch.equal(one["classifier.bias"], other["classifier.bias"])
    words = ["prune", str(trained), "--heads", "0.5", "--class_weights", "balanced", "--output", str(tmp_path / "no")]
    assert main(words) == 2
    assert "--class_weights: belongs to --data or --train" in capsys.readouterr().err


def test_magnitude_says_what_it_saves(trained: Path, tmp_path: Path) -> None:
    command = ["prune", str(trained), "--magnitude", "0.6", "--rounds", "2", "--epochs", "1"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    assert zero_share(understudy.load(tmp_path / "run").model) == pytest.approx(0.6, abs=0.01)
    one, other = RunRecord.load(tmp_path / "run" / "record.json").models
    assert one["size_bytes"] == other["size_bytes"]
    assert one["compressed_bytes"] < other["compressed_bytes"]
    assert one["zeros"] == pytest.approx(0.6, abs=0.01)
    assert "saves nothing in memory and no time" in (tmp_path / "run" / "README.md").read_text()


# --- killed and resumed -----------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Nobody catches it."""


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [
        (work, "prune", 1),  # decided, not done
        (work, "prune", 2),
        (trainer.Trainer, "step", 3),
        (trainer.Trainer, "step", 6),
        (saving, "save_model", 1),
        (cost, "measure", 2),
    ],
)
def test_a_killed_run_ends_with_the_same_bits(
    owner: Any, name: str, number: int, trained: Path, pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*command_for(trained), "--output", str(tmp_path / "run")]
    known, calls = getattr(owner, name), []

    def dying(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == number:
            monkeypatch.setattr(RunRecord, "save", lambda self, path: None)  # the dead write no more
            raise Killed
        return known(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        with pytest.raises(Killed):
            main(command)
    monkeypatch.undo()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert main([*command, "--resume"]) == 0
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (tmp_path / "run", pruned)]
    assert weights[0] == weights[1]
    found, expected = (RunRecord.load(folder / "record.json") for folder in (tmp_path / "run", pruned))
    assert found.pruned == expected.pruned
    assert [model["metrics"] for model in found.models] == [model["metrics"] for model in expected.models]
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_signal_is_a_checkpoint(
    trained: Path, pruned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*command_for(trained), "--output", str(tmp_path / "run")]
    known, calls = trainer.Trainer.step, []

    def stopping(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return known(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "step", stopping)
        assert main(command) == 130
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (tmp_path / "run", pruned)]
    assert weights[0] == weights[1]


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Path:
    """A BERT with word pieces, half of which the reviews do not use."""
    rng = random.Random(0)
    others = ["".join(rng.choices("aeiouklmnprst", k=rng.randint(3, 8))) for _ in range(150)]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    made.train_from_iterator([*WORDS * 5, *others, "0 1 2 3 4 5 6 7 8 9 x"], trainer)
    tokenizer = BertTokenizer(vocab=made.get_vocab())
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("spelled")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("negative", "positive"))
    save_model(folder / "model", load_classifier(str(folder / "base"), task), tokenizer, task=task, max_length=48)
    return folder / "model"


def test_fewer_words_and_the_same_answers(spelled: Path, reviews: Path, tmp_path: Path) -> None:
    corpora = [str(reviews / f"{name}.csv") for name in ("train", "validation", "test")]
    command = ["prune", str(spelled), "--data", str(reviews), "--vocabulary", *corpora]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    before, after = understudy.load(spelled), understudy.load(tmp_path / "run")
    sizes = [word_embeddings(one.model).num_embeddings for one in (before, after)]
    assert sizes[1] < 0.7 * sizes[0]
    with open(reviews / "test.csv", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    np.testing.assert_array_equal(after.logits(texts), before.logits(texts))
    record = RunRecord.load(tmp_path / "run" / "record.json")
    words = record.pruned["vocabulary"]
    assert (words["before"], words["after"]) == tuple(sizes)
    assert words["bytes_saved"] == (sizes[0] - sizes[1]) * 16 * 4
    assert record.models[0]["metrics"] == record.models[1]["metrics"]
    assert f"{sizes[1]:,} of {sizes[0]:,} words are left" in (tmp_path / "run" / "README.md").read_text()


def test_a_corpus_that_changed_is_not_gone_on_with(
    spelled: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a good film\nthe bad book\nlovely\n")
    command = ["prune", str(spelled), "--data", str(reviews), "--vocabulary", str(corpus), "--heads", "0.5"]
    command += ["--epochs", "1", "--output", str(tmp_path / "run")]

    def dying(*arguments: Any, **options: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "step", dying)
        with pytest.raises(Killed):
            main(command)
    corpus.write_text("a dreadful song\nthe plot was sad\nvery\n")
    assert main([*command, "--resume"]) == 2
    assert "was started with other texts after --vocabulary" in capsys.readouterr().err


def test_words_and_heads_together(spelled: Path, reviews: Path, tmp_path: Path) -> None:
    command = ["prune", str(spelled), "--data", str(reviews), "--vocabulary", str(reviews / "train.csv")]
    command += ["--heads", "0.5", "--epochs", "1"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    model = understudy.load(tmp_path / "run").model
    assert headed_blocks(model)[0].heads == 1
    assert word_embeddings(model).num_embeddings < word_embeddings(understudy.load(spelled).model).num_embeddings


def test_one_task_of_several(tiny_bert: Path, reviews: Path, tmp_path: Path) -> None:
    tasks = {
        "mood": Task(text=(("text",),), label="label", kind="single_label", labels=("negative", "positive")),
        "other": Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b", "c")),
    }
    made: dict[str, Any] = {}
    for name, task in tasks.items():
        torch.manual_seed(len(made))
        made[name] = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=task.outputs)
        set_task(made[name].config, task)
    trained = TrainedTasks(MultiTaskModel(made, shared=True).eval(), load_tokenizer(str(tiny_bert)), tasks, 32, {})
    save_tasks(tmp_path / "joint", trained)
    command = ["prune", str(tmp_path / "joint"), "--data", str(reviews), "--heads", "0.5", "--rounds", "0"]
    assert main([*command, "--task", "mood", "--output", str(tmp_path / "run")]) == 0
    assert sum(sizes(tmp_path / "run")[0]) == 4
    assert understudy.load(tmp_path / "run").task.labels == ("negative", "positive")


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing is to go"),
        (["--heads", "1"], "heads"),
        (["--heads", "-0.1"], "heads"),
        (["--neurons", "1.5"], "neurons"),
        (["--heads", "0.9"], "each of 4 layers keeps at least one"),
        (["--heads", "0.01"], "is less than one. Give more"),
        (["--vocabulary", "nowhere.txt"], "nowhere.txt"),
        (
            ["--vocabulary", "CORPUS", "--epochs", "2"],
            "--epochs is for training, but fewer words alone need no training",
        ),
        (["--heads", "0.5", "--rounds", "0", "--alpha", "0.5"], "--alpha is for training, but --rounds is 0"),
        (["--heads", "0.5", "--recovery", "finetune", "--distance", "kl"], "--distance belongs to --recovery distill"),
        (["--magnitude", "0.5", "--per_layer"], "--per_layer is about --heads and --neurons"),
        (["--heads", "0.5", "--temperature", "2"], "--temperature belongs to --distance kl"),
        (["--heads", "0.5", "--text", "body"], "--text: belongs to --data or --train"),
        (["--heads", "0.5", "--unlabeled", "CORPUS"], "--unlabeled: belongs to --data or --train"),
    ],
)
def test_bad_settings(
    flags: list[str], message: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a good film\n" * 3)
    given = [str(corpus) if flag == "CORPUS" else flag for flag in flags]
    assert main(["prune", str(trained), *given, "--output", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_models_that_cannot_be_pruned(
    trained: Path, spelled: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    student = tmp_path / "static"
    command = ["distill", "--data", str(reviews), "--teacher", str(trained), "--student", "static", "--epochs", "1"]
    assert main([*command, "--no_baseline", "--no_references", "--output", str(student)]) == 0
    tfidf = tmp_path / "tfidf"
    assert main(["finetune", "--data", str(reviews), "--model", "tfidf", "--output", str(tfidf)]) == 0
    foreign = tmp_path / "foreign.txt"
    foreign.write_text("未知\n你好\n再见\n")
    capsys.readouterr()
    for flags, message in (
        ([str(student), "--heads", "0.5"], "a 'static' model has no attention heads"),
        ([str(tfidf), "--heads", "0.5"], "is no network with weights"),
        ([str(spelled), "--heads", "0.5"], "is no run that says what it was trained on"),
        ([str(spelled), "--data", str(reviews), "--vocabulary", str(foreign)], "knows no word of these"),
    ):
        assert main(["prune", *flags, "--output", str(tmp_path / "run")]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert "Traceback" not in told


def test_the_plan_says_what_goes_and_who_can_load_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command_for(trained), "--dry_run", "--output", str(tmp_path / "run")]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "4 of 8 go, wherever they matter least" in told
    assert "128 of 256 go" in told
    assert "transformers alone builds all layers alike, and refuses it" in told
    assert "each of 2 rounds" in told
    assert not (tmp_path / "run").exists()


def test_an_adapter_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "adapter_config.json").write_text("{}")
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    words = ["prune", str(tmp_path / "run"), "--heads", "0.5", "--data", str(tmp_path / "rows.csv")]
    assert main([*words, "--output", str(tmp_path / "out")]) == 2
    assert "is an adapter, whose base belongs to others too" in capsys.readouterr().err
