"""Weights between the probe and what fine-tuning ends with: which are kept, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import understudy
from understudy import cli
from understudy.models.files.classifiers import load_encoder
from understudy.models.structure.layers import base_model
from understudy.recipes.train.finetune import contrast, transformer
from understudy.recipes.train.finetune.contrast_choice import ContrastChoice
from understudy.record import RunRecord
from understudy.runs.fitting import amount
from understudy.runs.fitting.worth import Worth

pytestmark = pytest.mark.usefixtures("quick_throughout")


def finetune(*flags: object) -> int:
    return cli.main(["finetune", "--no_baseline", "--contrastive", "never", *map(str, flags)])


def encoder(folder: Path) -> dict[str, torch.Tensor]:
    return dict(base_model(understudy.load(folder).model).named_parameters())


def head(folder: Path) -> torch.Tensor:
    return understudy.load(folder).model.state_dict()["classifier.weight"]


def record(folder: Path) -> RunRecord:
    return RunRecord.load(folder / "record.json")


def planned(data: Path, model: Path, *flags: object, capsys: pytest.CaptureFixture[str]) -> str:
    """The plan of a fine-tuning, on one line."""
    assert finetune("--data", data, *flags, "--model", model, "--dry_run") == 0
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture
def gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tuning is better than its start, whatever the rows say."""
    monkeypatch.setattr(transformer, "worth", lambda *given, **_: Worth(0.1, 0.05, 0.0, given[3]))


@pytest.mark.usefixtures("gains")
def test_the_model_is_halfway_to_what_training_ends_with(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", reviews, "--model", tiny_bert, "--pooling", "mean", "--epochs", 2)
    for name, more in {"half": (), "end": ("--interpolate", 1), "near": ("--interpolate", 0.25)}.items():
        assert finetune(*flags, *more, "--output", tmp_path / name) == 0
        said = capsys.readouterr().err
        assert ("of the way from the start to" in " ".join(said.split())) == (name != "end")
    began = dict(load_encoder(str(tiny_bert)).named_parameters())
    half, end, near = (encoder(tmp_path / name) for name in ("half", "end", "near"))
    moved = [name for name in end if not torch.equal(end[name], began[name])]
    assert len(moved) > len(end) // 2
    for name in end:
        torch.testing.assert_close(half[name], (began[name] + end[name]) / 2)
        torch.testing.assert_close(near[name], 0.75 * began[name] + 0.25 * end[name])
    half, end, near = (head(tmp_path / name) for name in ("half", "end", "near"))
    torch.testing.assert_close(end - half, 2 * (half - near))
    shares = [record(tmp_path / name).training["train"]["start"]["share"] for name in ("half", "end", "near")]
    assert shares == [0.5, 1.0, 0.25]
    assert any("--interpolate 1" in note for note in record(tmp_path / "half").notes)
    cards = {name: (tmp_path / name / "README.md").read_text(encoding="utf-8") for name in ("half", "end")}
    assert "0.5 of the way to the last evaluation's weights, step" in cards["half"]
    assert "of the way to the last evaluation" not in cards["end"]


@pytest.mark.usefixtures("gains")
def test_training_that_goes_on_from_a_checkpoint_keeps_its_end_unless_it_is_asked_for(
    reviews: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    first, flags = tmp_path / "first", ("--data", reviews, "--epochs", 1)
    assert finetune(*flags, "--model", tiny_bert, "--pooling", "mean", "--output", first) == 0
    for name, more in {"end": (), "half": ("--interpolate", 0.5)}.items():
        assert finetune(*flags, *more, "--model", first, "--output", tmp_path / name) == 0
    began, end, half = (encoder(tmp_path / name) for name in ("first", "end", "half"))
    for name in end:
        torch.testing.assert_close(half[name], (began[name] + end[name]) / 2)
    torch.testing.assert_close(head(tmp_path / "half"), (head(first) + head(tmp_path / "end")) / 2)


@pytest.mark.parametrize(
    ("flags", "few_rows", "said"),
    [
        ((), 150, "0.5 of the way"),
        ((), 100, ""),
        (("--validation", "train.csv"), 150, "0.5 of the way"),
        (("--patience", 2), 150, ""),
        (("--adapter", "houlsby"), 150, ""),
        (("--start", "head"), 150, ""),
        (("--kind", "multi_label"), 150, ""),
    ],
)
def test_when_it_is_done(
    flags: tuple[object, ...],
    few_rows: int,
    said: str,
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(amount, "_FEW_ROWS", few_rows)
    given = [reviews / str(flag) if str(flag).endswith(".csv") else flag for flag in flags]
    found = planned(reviews, tiny_bert, *given, "--output", tmp_path / "a", capsys=capsys)
    assert ("of the way from the start" in found) == bool(said)
    assert said in found


@pytest.mark.parametrize(
    ("flags", "said", "unsaid"),
    [
        (
            (),
            ("steps of 16 rows below 5,000 rows", "passes are enough steps", "0.0001 for a model of", "cannot choose"),
            ("best evaluation",),
        ),
        (
            ("--epochs", 2, "--batch_size", 8, "--learning_rate", "2e-3", "--start", "head", "--patience", 1),
            ("those of the best evaluation; training ends after 1 evaluation without a new best",),
            ("steps of", "enough steps", "for a model of", "cannot choose"),
        ),
    ],
)
def test_the_plan_says_what_was_chosen_and_why(
    flags: tuple[object, ...],
    said: tuple[str, ...],
    unsaid: tuple[str, ...],
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(amount, "_FEW_ROWS", 10)
    monkeypatch.setattr(amount, "_STEPS", 1)
    found = planned(reviews, tiny_bert, *flags, "--output", tmp_path / "a", capsys=capsys)
    for sentence in said:
        assert sentence in found
    for sentence in unsaid:
        assert sentence not in found


def test_pairs_are_not_learnt_from_where_a_share_is_asked_for(
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contrast, "choose_contrastive", lambda *_, **__: ContrastChoice(True, "few labels"))
    flags = ("--data", reviews, "--model", tiny_bert, "--dry_run", "--output", tmp_path / "a")
    for more, pairs in (((), True), (("--interpolate", 0.5), False)):
        assert cli.main(["finetune", "--no_baseline", *map(str, flags), *map(str, more)]) == 0
        assert ("few labels" in capsys.readouterr().err) is pairs


def test_of_an_adapter_the_base_stays_as_it_is(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    flags = ("--data", reviews, "--model", tiny_bert, "--adapter", "houlsby", "--reduction", 4, "--epochs", 1)
    flags = (*flags, "--learning_rate", 1e-2)
    found = {}
    for share in (0.25, 0.5, 1):
        output = tmp_path / str(share)
        assert finetune(*flags, "--interpolate", share, "--output", output) == 0
        assert record(output).training["train"]["start"]["kept"] == "fine-tuned"
        found[share] = load_file(output / "model" / "adapter.safetensors")
    for name in found[1]:
        torch.testing.assert_close(found[1][name] - found[0.5][name], 2 * (found[0.5][name] - found[0.25][name]))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--interpolate", 0.5, "--start", "head"), "but with --start head there is none"),
        (("--interpolate", 0), "greater than 0"),
        (("--interpolate", 1.5), "less than or equal to 1"),
        (("--interpolate", 0.5, "--features", "frozen"), "--interpolate"),
    ],
)
def test_what_it_does_not_go_with_is_refused(
    flags: tuple[object, ...],
    said: str,
    reviews: Path,
    tiny_bert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert finetune("--data", reviews, "--model", tiny_bert, *flags, "--output", tmp_path / "a") == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_pairs_have_no_such_end(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--data", reviews, "--model", tiny_bert, "--contrastive", "always", "--interpolate", 0.5)
    assert cli.main(["finetune", *map(str, flags), "--output", str(tmp_path / "a")]) == 2
    assert "so it has no --interpolate" in " ".join(capsys.readouterr().err.split())
