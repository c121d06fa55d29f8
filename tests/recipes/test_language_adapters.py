"""``understudy pretrain --adapter``: an adapter for a language, and a task's adapter stacked on it."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from test_glue_joint import killed

import understudy
from understudy.adapters.design import AdapterDesign
from understudy.adapters.facts import AdapterFacts
from understudy.adapters.files import BELOW, NAME, read_tensors
from understudy.adapters.inject import adapter_tensors, add_adapter, load_tensors, route_of
from understudy.adapters.layers.invertible import undo_before_words
from understudy.cli import main
from understudy.data.tokens.encode import collate, encode
from understudy.inference.adapted import AdaptedPredictor
from understudy.models.files.classifiers import load_encoder
from understudy.models.masked import load_masked_model
from understudy.recipes.train.pretrain import adapted
from understudy.record import RunRecord
from understudy.report.card.hub import model_index
from understudy.report.numbers import human_bytes, human_count

pytestmark = pytest.mark.usefixtures("quick")

SHORT = ["--batch_size", "8", "--max_length", "24"]


@pytest.fixture(scope="module")
def masked(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model with a head of its own."""
    folder = tmp_path_factory.mktemp("masked") / "run"
    words = ["pretrain", "--data", str(reviews / "pool.txt"), "--model", str(tiny_bert), "--epochs", "1", *SHORT]
    assert main([*words, "--output", str(folder)]) == 0
    return folder / "model"


def pretraining(reviews: Path, masked: Path, folder: Path, *more: str) -> list[str]:
    words = ["pretrain", "--data", str(reviews / "pool.txt"), "--model", str(masked), "--output", str(folder), *SHORT]
    return [*words, "--epochs", "3", "--learning_rate", "0.01", *more]


@pytest.fixture(scope="module")
def language(reviews: Path, masked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language") / "twi"
    assert main(pretraining(reviews, masked, folder, "--adapter", "invertible")) == 0
    return folder


def test_an_adapter_learns_the_language_and_nothing_else_is_saved(
    language: Path, masked: Path, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {path.name for path in (language / "model").iterdir()}
    assert files == {"adapter_config.json", "adapter.safetensors", "checksums.json"}
    record = RunRecord.load(language / "record.json")
    before, after = (record.model(name)["metrics"]["validation"]["loss"] for name in ("before training", "model"))
    assert after < before
    entry = record.model("model")
    facts = AdapterFacts.read(language / "model")
    assert (facts.task, facts.head, facts.design["invertible"], facts.design["reduction"]) == (None, None, 2.0, 2.0)
    tensors = read_tensors(language / "model" / "adapter.safetensors")
    assert any(key.startswith("invertible.") for key in tensors)
    assert entry["own_parameters"] == entry["trainable_parameters"] == sum(value.numel() for value in tensors.values())
    # the scores are those of the model as it was, with the adapter of the file in it
    model = load_masked_model(str(masked)).model
    facts.base.check(model, origin="here")
    add_adapter(model, NAME, AdapterDesign.from_dict(facts.design))
    load_tensors(model, NAME, tensors, origin="here")
    undo_before_words(model)
    from understudy.objectives.masked_lm import masked_scores
    from understudy.recipes.train.masked_texts import MaskedTexts
    from understudy.recipes.train.pretrain.recipe import Pretrain

    recipe = Pretrain(data=str(reviews / "pool.txt"), model=str(masked), batch_size=8, max_length=24)
    texts = MaskedTexts(recipe, recipe.read().texts(), [model], load_masked_model(str(masked)).tokenizer)
    found = masked_scores(model, texts.shown("validation"), device="cpu")
    assert found["loss"] == pytest.approx(after, rel=1e-5)
    assert main(["adapter", "info", str(language)]) == 0
    assert "none: it has no head" in capsys.readouterr().out


def test_what_is_changed_behind_the_embeddings_is_undone_before_words_are_scored(language: Path, masked: Path) -> None:
    facts = AdapterFacts.read(language / "model")
    found = load_masked_model(str(masked))
    model, ids = found.model, torch.tensor([[2, 9, 4, 12, 3]])
    add_adapter(model, NAME, AdapterDesign.from_dict(facts.design), start="normal")
    coupling = model.bert.invertible_adapters.adapters[NAME]
    with torch.no_grad():
        for parameter in coupling.parameters():
            parameter.normal_(std=0.3)
    undo_before_words(model)
    embedded: list[torch.Tensor] = []
    handle = model.bert.encoder.register_forward_pre_hook(lambda module, args: embedded.append(args[0]))
    with torch.no_grad():
        scores = model(input_ids=ids).logits
        route_of(model).through()
        plain = model.bert.embeddings(input_ids=ids)
        torch.testing.assert_close(embedded[0], coupling(plain))
        route_of(model).through(NAME)
        states = model.cls.predictions.transform(model.bert(input_ids=ids)[0])
        table = model.bert.embeddings.word_embeddings.weight
        wanted = coupling.inverse(states) @ table.T + model.cls.predictions.bias
        handle.remove()
    torch.testing.assert_close(scores, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("failpoint", ["train.step:11", "checkpoint.written:4"])
def test_killed_and_resumed_the_language_ends_with_the_same_bits(
    reviews: Path, masked: Path, language: Path, tmp_path: Path, failpoint: str
) -> None:
    words = pretraining(reviews, masked, tmp_path / "run", "--adapter", "invertible", "--save_steps", "3")
    assert killed(words, failpoint) not in (0, 1, 2)
    assert main([*words, "--resume"]) == 0
    one, other = (load_file(run / "model" / "adapter.safetensors") for run in (language, tmp_path / "run"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_new_head_learns_with_the_adapter_and_its_table_does_not(
    reviews: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    assert main(pretraining(reviews, tiny_bert, tmp_path / "run", "--adapter", "houlsby", "--adapter_half")) == 0
    entry = RunRecord.load(tmp_path / "run" / "record.json").model("model")
    tensors = load_file(tmp_path / "run" / "model" / "adapter.safetensors")
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    own = sum(value.numel() for value in tensors.values())
    width, vocabulary = 32, load_encoder(str(tiny_bert)).config.vocab_size
    assert entry["trainable_parameters"] == own + width * width + 3 * width + vocabulary  # transform, norm, bias
    assert entry["own_bytes"] == 2 * own


@pytest.mark.parametrize("kind", ["pfeiffer", "lora"])
def test_the_card_tells_how_to_stack_on_it(
    reviews: Path, masked: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a command that runs as it is written, and of what the folder holds alone."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(masked, "base")
    shutil.copy(reviews / "train.csv", "reviews.csv")
    words = pretraining(reviews, Path("base"), Path("runs/twi"), "--adapter", kind, "--limit_train", "16")
    assert main(words) == 0
    _, front, body = Path("runs/twi/README.md").read_text(encoding="utf-8").split("---\n", 2)
    facts = yaml.safe_load(front)
    assert "pipeline_tag" not in facts
    assert facts["tags"] == ["understudy", "adapter"]
    own = sum(value.numel() for value in read_tensors(Path("runs/twi/model/adapter.safetensors")).values())
    whole = sum(value.numel() for value in load_masked_model("base").model.parameters())
    assert "An adapter for a masked language model (`base`)" in body
    sizes = f"It has {human_count(own)} parameters ({human_bytes(4 * own)}). The model, which has {human_count(whole)},"
    assert sizes in body
    assert not [word for word in ("fill-mask", "AutoModel", "fill in a word", "what is likely") if word in body]
    told, _ = re.findall(r"```bash\n(.*?)\n```", body, re.DOTALL)
    way = "--load_adapter" if kind == "lora" else "--adapter pfeiffer --stack_on"
    assert told == f"understudy finetune --model base {way} runs/twi --data reviews.csv"
    assert main([*shlex.split(told)[1:], "--epochs", "1", "--no_baseline", "--output", "runs/mood", *SHORT]) == 0
    # the hub's card names the task that was scored
    record = RunRecord.load(Path("runs/twi/record.json"))
    (entry,) = model_index(vars(record), "twi")
    assert entry["results"][0]["task"] == {"type": "fill-mask"}


@pytest.fixture(scope="module")
def stacked(reviews: Path, masked: Path, language: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stacked") / "mood"
    assert main(stacking(reviews, masked, language, folder)) == 0
    return folder


def stacking(reviews: Path, masked: Path, language: Path, folder: Path) -> list[str]:
    words = ["finetune", "--data", str(reviews), "--model", str(masked), "--output", str(folder), "--no_baseline"]
    words += ["--adapter", "pfeiffer", "--reduction", "4", "--stack_on", str(language), "--epochs", "2", *SHORT]
    return [*words, "--learning_rate", "0.01", "--start", "head"]


def test_a_task_is_stacked_on_a_language(stacked: Path, language: Path, masked: Path, reviews: Path) -> None:
    model = understudy.load(stacked)
    assert isinstance(model, AdaptedPredictor)
    assert route_of(model.model).stack == (BELOW, NAME)
    own, learnt = adapter_tensors(model.model, BELOW), read_tensors(language / "model" / "adapter.safetensors")
    assert own.keys() == learnt.keys()
    assert all(torch.equal(own[key], learnt[key]) for key in own)  # it has not learnt with the task
    assert set(load_file(stacked / "model" / "adapter.safetensors")) == set(adapter_tensors(model.model, NAME))
    # by hand: the language's adapter, then the task's, then the head
    base = load_encoder(str(masked))
    facts = AdapterFacts.read(stacked / "model")
    assert facts.below is not None
    for name, design, folder in (("twi", facts.below, language), ("mood", facts.design, stacked)):
        add_adapter(base, name, AdapterDesign.from_dict(design))
        load_tensors(base, name, read_tensors(folder / "model" / "adapter.safetensors"), origin="here")
    route_of(base).through("twi", "mood")
    texts = ["a good film", "the book is bad"]
    encoded = encode(texts, model.tokenizer, max_length=24)
    inputs = collate(encoded, torch.arange(2).numpy(), names=model.names)
    with torch.no_grad():
        states = base(**inputs)[0]
        whole = model.model.base_model(**inputs)[0]
    torch.testing.assert_close(states, whole, rtol=1e-5, atol=1e-6)
    route_of(base).through("mood")
    with torch.no_grad():
        assert not torch.allclose(base(**inputs)[0], whole, atol=1e-4)


def test_a_stacked_one_goes_on_and_is_loaded_alone(
    stacked: Path, reviews: Path, masked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["finetune", "--data", str(reviews), "--model", str(masked), "--load_adapter", str(stacked), *SHORT]
    assert main([*words, "--epochs", "1", "--no_baseline", "--output", str(tmp_path / "next")]) == 0
    assert AdapterFacts.read(tmp_path / "next" / "model").below == AdapterFacts.read(stacked / "model").below
    base = understudy.load_base(str(masked))
    with pytest.raises(understudy.errors.ModelError, match="was trained on top of another adapter"):
        base.load_adapter(stacked)


def test_pretraining_one_that_is_stacked_undoes_what_is_below(
    stacked: Path, reviews: Path, masked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone: list[object] = []
    monkeypatch.setattr(adapted, "undo_before_words", lambda model: undone.append(model))
    assert main(pretraining(reviews, masked, tmp_path / "run", "--load_adapter", str(stacked), "--epochs", "1")) == 0
    assert undone


def test_killed_and_resumed_a_stacked_one_ends_with_the_same_bits(
    reviews: Path, masked: Path, language: Path, stacked: Path, tmp_path: Path
) -> None:
    words = [*stacking(reviews, masked, language, tmp_path / "run"), "--save_steps", "3"]
    assert killed(words, "train.step:14") not in (0, 1, 2)
    assert main([*words, "--resume"]) == 0
    for file in ("adapter.safetensors", "below.safetensors", "head.safetensors"):
        one, other = (load_file(run / "model" / file) for run in (stacked, tmp_path / "run"))
        assert all(torch.equal(one[key], other[key]) for key in one), file


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--vocabulary", "words:20"], "--vocabulary changes the model, but with an adapter it stays as it is"),
        (["--stack_on", "{language}"], "--stack_on is for finetune"),
        (["--freeze", "embeddings"], "--freeze: with an adapter the whole encoder is frozen"),
        (["--rank", "3"], "--rank: this is for another kind of adapter than invertible"),
    ],
)
def test_mistakes_are_said(
    reviews: Path,
    masked: Path,
    language: Path,
    tmp_path: Path,
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = [word.format(language=language) for word in more]
    assert main(pretraining(reviews, masked, tmp_path / "run", "--adapter", "invertible", *more)) == 2
    assert said in capsys.readouterr().err


def test_one_goes_on_from_where_it_was(reviews: Path, masked: Path, language: Path, tmp_path: Path) -> None:
    """With its shape and its weights; killed and resumed, it ends with the same bits."""
    more = ["--load_adapter", str(language), "--save_steps", "6"]
    slow = pretraining(reviews, masked, tmp_path / "slow", *more)
    slow[slow.index("0.01")] = "1e-9"
    assert main(slow) == 0
    own, begun = (read_tensors(run / "model" / "adapter.safetensors") for run in (tmp_path / "slow", language))
    assert own.keys() == begun.keys()
    assert all(torch.allclose(own[key], begun[key], atol=1e-5) for key in own)
    losses = [RunRecord.load(run / "record.json") for run in (tmp_path / "slow", language)]
    one, other = (record.model("model")["metrics"]["validation"]["loss"] for record in losses)
    assert one == pytest.approx(other, abs=1e-3)  # it begins where the other one ended
    assert main(pretraining(reviews, masked, tmp_path / "run", *more)) == 0
    assert AdapterFacts.read(tmp_path / "run" / "model") == AdapterFacts.read(language / "model")
    again = pretraining(reviews, masked, tmp_path / "killed", *more)
    assert killed(again, "train.step:20") not in (0, 1, 2)
    assert main([*again, "--resume"]) == 0
    ends = [read_tensors(tmp_path / run / "model" / "adapter.safetensors") for run in ("run", "killed")]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_an_adapter_needs_a_masked_model_and_a_stack_its_own_base(
    reviews: Path, language: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", "--data", str(reviews / "pool.txt"), "--model", "awd_lstm", "--adapter", "pfeiffer"]
    assert main([*words, "--output", str(tmp_path / "run")]) == 2
    assert "an adapter is trained inside an encoder, but --model awd_lstm trains none" in capsys.readouterr().err
    assert main(stacking(reviews, tiny_bert, language, tmp_path / "run")) == 2
    assert "belongs to another base" in capsys.readouterr().err


def test_one_without_a_head_is_shared_and_averaged(
    language: Path, stacked: Path, masked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = read_tensors(language / "model" / "adapter.safetensors")
    assert main(["adapter", "export", str(language), "--output", str(tmp_path / "shared")]) == 0
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"adapter_config.json", "adapter.safetensors"}
    words = ["import", "adapter", str(tmp_path / "shared"), "--model", str(masked), "--output", str(tmp_path / "back")]
    assert main(words) == 0
    back = read_tensors(tmp_path / "back" / "adapter.safetensors")
    assert back.keys() == own.keys()
    assert all(torch.equal(back[key], value) for key, value in own.items())

    def changed(run: Path, file: str, folder: Path) -> Path:
        """A copy in which the weights of a file are three times as large."""
        shutil.copytree(run / "model", folder)
        save_file({key: 3 * value for key, value in read_tensors(folder / file).items()}, folder / file)
        (folder / "checksums.json").unlink()
        return folder

    other = changed(language, "adapter.safetensors", tmp_path / "other")
    words = ["adapter", "average", "--adapters", str(language), str(other), "--output", str(tmp_path / "mean")]
    assert main(words) == 0
    mean = read_tensors(tmp_path / "mean" / "adapter.safetensors")
    assert all(torch.allclose(mean[key], 2 * value) for key, value in own.items())
    elsewhere = changed(stacked, "below.safetensors", tmp_path / "elsewhere")
    words = ["adapter", "average", "--adapters", str(stacked), str(elsewhere), "--output", str(tmp_path / "no")]
    assert main(words) == 2
    assert f"is stacked on another adapter than {stacked}" in capsys.readouterr().err.replace("\n", " ")
