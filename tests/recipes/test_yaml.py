"""Every file in ``recipes/`` runs, on tiny data with tiny models; what it says is what is done."""

from __future__ import annotations

import csv
import random
import re
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from glue_toys import write_glue

import understudy
from understudy.adapters.facts import AdapterFacts
from understudy.cli import main
from understudy.record import RunRecord

ALL = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
ULMFIT = next(path for path in ALL if path.stem == "ulmfit")
ELSEWHERE = ("export", "prune", "quantize", "push", "serve", "distill-embeddings")
"""Run by the tests of their commands."""
FILES = [path for path in ALL if path != ULMFIT and path.stem not in ELSEWHERE]
"""Those that train on labels."""
DISTILL = {"epochs": 1, "baseline": False}
BILSTM = {**DISTILL, "bilstm.embedding": 16, "bilstm.lstm": 12, "bilstm.hidden": 16}
STATIC = {**DISTILL, "static.embedding": 40, "static.hidden": 16}
AWD_LSTM = {"epochs": 1, "batch_size": 8, "bptt": 20, "tokenizer": "words:60"}
AWD_LSTM |= {"awd_lstm.embedding": 8, "awd_lstm.hidden": 10}
SMALLER: dict[str, dict[str, Any]] = {
    "distill-adapter": {**DISTILL, "max_length": 32},
    "compare": {"epochs": 1, "seeds": "0", "max_length": 32, "models": ["static", "tfidf"]},
    "distill-augment": {**BILSTM, "augment": 2},
    "distill-bilstm": {**BILSTM, "baseline": True},
    "distill-few-labels": {**BILSTM, "limit_train": 60},
    "distill-layers": DISTILL,
    "distill-lm": {"student": "layers:2", "epochs": 1, "max_length": 32, "batch_size": 32},
    "distill-static": STATIC,
    "finetune": {"epochs": 1, "max_length": 32, "baseline": False},
    "finetune-adapter": {"epochs": 1, "max_length": 32, "baseline": False},
    "finetune-few-labels": {"max_length": 32, "baseline": False},
    "glue": {"epochs": 1, "max_length": 32, "baseline": False},
    "glue-distilled": {"student": "layers:2", "epochs": 1, "max_length": 32},
    "finetune-ulmfit": {"max_length": 32, "baseline": False},
    "pairs": BILSTM,
    "pretrain-adapter": {"epochs": 1, "max_length": 32},
    "pretrain-awd-lstm": AWD_LSTM,
    "pretrain-masked": {"epochs": 1, "max_length": 32},
    "tfidf": {},
    "search": {
        "epochs": 1,
        "max_length": 32,
        "students": ["static:8", "tfidf"],
        "formats": "pytorch",
        "max_latency_ms": 1e6,
    },
}
"""What a test must make smaller. Data, teacher, model and output are replaced in every recipe."""


pytestmark = pytest.mark.usefixtures("quick_throughout", "forked_throughout")


def flags(values: dict[str, Any]) -> list[str]:
    """Settings as a command line has them."""
    said = []
    for name, value in values.items():
        several = list(map(str, value)) if isinstance(value, list) else [str(value)]
        said += [f"--no_{name}"] if value is False else [f"--{name}"] if value is True else [f"--{name}", *several]
    return said


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentence pairs with a score between 0 and 5, the share of words that they have in common."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = random.Random(0)
    words = ["good", "bad", "film", "book", "plot", "cast", "play"]
    for name, rows in {"train": 60, "validation": 20, "test": 30}.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sentence1", "sentence2", "score"])
            for _ in range(rows):
                one, other = rng.choices(words, k=5), rng.choices(words, k=5)
                score = 5 * len(set(one) & set(other)) / len(set(one) | set(other))
                writer.writerow([" ".join(one), " ".join(other), f"{score:.2f}"])
    return folder


@pytest.fixture(scope="module")
def places(
    reviews: Path, pairs: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Path]]:
    """What the recipes name, by the kind of data: tiny data, and a teacher trained on it."""
    found = {"reviews.csv": {"data": reviews, "model": tiny_bert}, "pairs": {"data": pairs, "model": tiny_bert}}
    for number, here in enumerate(found.values()):
        here["teacher"] = tmp_path_factory.mktemp("runs") / f"teacher-{number}"
        here["unlabeled"] = reviews / "pool.txt"
        teacher = {"data": here["data"], "model": tiny_bert, "output": here["teacher"], "epochs": 1, "baseline": False}
        assert main(["finetune", *flags(teacher)]) == 0
    found["texts"] = {
        "data": reviews / "pool.txt",
        "model": tiny_bert,
        "teacher": tmp_path_factory.mktemp("lm") / "run",
    }
    found["GLUE"] = {"data": write_glue(tmp_path_factory.mktemp("GLUE")), "model": tiny_bert}
    found["GLUE"]["teachers"] = tmp_path_factory.mktemp("glue") / "teachers"
    several = {"data": found["GLUE"]["data"], "model": tiny_bert, "output": found["GLUE"]["teachers"], "epochs": 1}
    assert (
        main(["glue", "--tasks", "cola", "rte", "stsb", *flags({**several, "max_length": 24, "baseline": False})]) == 0
    )
    words = {"data": reviews / "pool.txt", "model": tiny_bert, "output": found["texts"]["teacher"], "epochs": 1}
    assert main(["pretrain", *flags(words)]) == 0
    return found


def did_what_it_says(run: Path, recipe: dict[str, Any], given: dict[str, Any]) -> RunRecord:
    """The record of a finished run, whose settings are those of the recipe but for what was given in their place."""
    record = RunRecord.load(run / "record.json")
    assert record.finished
    for name, value in recipe.items():
        if name in given or name == "command":
            continue
        for key, part in value.items() if isinstance(value, dict) else [(None, value)]:
            if f"{name}.{key}" not in given:
                done = record.config[name] if key is None else record.config[name][key]
                assert done in (part, [part]), (
                    f"the recipe says {name} = {value}, but the run had {record.config[name]}"
                )
    return record


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_runs_and_does_what_it_says(path: Path, places: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    assert path.stem in SMALLER, f"{path.name} is new: say here what a test must make smaller, so that it is run"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    here = places[recipe["data"]]
    given = {
        name: here[name]
        for name in ("data", "model", "teacher", "teachers", "unlabeled")
        if name in recipe and recipe[name] not in ("tfidf", "awd_lstm")
    }
    if "/" in recipe.get("student", ""):
        given["student"] = here["model"]
    given |= {"output": tmp_path / "run", **SMALLER[path.stem]}
    assert main([recipe["command"], "--config", str(path), *flags(given)]) == 0

    record = did_what_it_says(tmp_path / "run", recipe, given)
    if recipe["command"] == "search":
        assert {row["name"] for row in record.findings["trials"]} == {"static:8", "tfidf"}
    if recipe["command"] == "pretrain" and "adapter" in recipe:
        assert AdapterFacts.read(tmp_path / "run" / "model").head is None
        return
    if recipe["command"] == "compare":
        assert set(record.findings["scores"]) == {"static", "tfidf"}
        return
    if recipe["command"] in ("pretrain", "distill-lm"):
        understudy.register()
        masked = record.task["kind"] == "masked_language_model"
        kind = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
        assert kind.from_pretrained(tmp_path / "run" / "model")
        return
    if recipe.get("mode") == "joint":
        assert list(understudy.load(tmp_path / "run")) == recipe["tasks"]
        return
    model = understudy.load(tmp_path / "run")
    assert model.logits([("a good film", "a film")[: len(model.task.text)]]).shape == (1, model.task.outputs)


def test_the_whole_of_ulmfit_runs_and_goes_on_where_it_was_stopped(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipes = list(yaml.safe_load_all(ULMFIT.read_text(encoding="utf-8")))
    data = {"texts": str(reviews / "pool.txt"), "reviews.csv": str(reviews)}
    small = [
        {"epochs": 1, "batch_size": 8, "bptt": 20, "tokenizer": "words:60", "awd_lstm": {"embedding": 8, "hidden": 10}},
        {"epochs": 1, "batch_size": 8},
        {"unfreeze_epochs": [1], "baseline": False},
    ]
    given = [{"data": data[recipe["data"]], **smaller} for recipe, smaller in zip(recipes, small, strict=True)]
    text = "---\n".join(yaml.safe_dump({**recipe, **changes}) for recipe, changes in zip(recipes, given))
    Path("small.yaml").write_text(text, encoding="utf-8")

    assert main(["run", "small.yaml"]) == 0
    for recipe, changes in zip(recipes, given):
        did_what_it_says(Path(recipe["output"]), recipe, changes)
    assert understudy.load(recipes[-1]["output"]).predict(["a good film"])[0].label
    assert "step 3 of 3: finetune, runs/classifier" in capsys.readouterr().out

    assert main(["run", "small.yaml"]) == 2  # nothing is replaced unasked, and all that is in the way is said at once
    said = capsys.readouterr().err
    assert said.count("a finished run is there already") == 3
    (tmp_path / "runs/classifier").rename(tmp_path / "elsewhere")
    before = [(tmp_path / recipe["output"] / "record.json").read_bytes() for recipe in recipes[:2]]
    assert main(["run", "small.yaml", "--resume"]) == 0
    assert [(tmp_path / recipe["output"] / "record.json").read_bytes() for recipe in recipes[:2]] == before
    weights = "model/model.safetensors"
    assert (tmp_path / "elsewhere" / weights).read_bytes() == (tmp_path / "runs/classifier" / weights).read_bytes()


def test_faults_of_all_steps_are_said_before_the_first_begins(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [
        {"command": "finetune", "data": str(reviews), "model": "tfidf", "output": str(tmp_path / "one")},
        {"command": "finetune", "data": "x.csv", "modell": "tfidf", "output": str(tmp_path / "two")},
        {"command": "finetun", "output": str(tmp_path / "three")},
        {"data": "x.csv"},
        {"command": "finetune", "data": "x.csv", "model": "tfidf", "output": str(tmp_path / "one"), "epochs": 0},
        {"command": "finetune", "data": "x.csv", "model": "tfidf", "output": str(tmp_path / "one")},
        {"command": "finetune", "data": "x.csv", "model": "tfidf"},
        {"command": "params", "models": ["a"]},
        {"command": "run"},
        {"command": "finetune", "data": "x.csv", "model": "tfidf", "output": str(tmp_path / "one" / "model")},
        {"command": "finetune", "data": "x.csv", "model": "tfidf", "output": str(tmp_path)},
    ]
    path = tmp_path / "steps.yaml"
    path.write_text("---\n".join(map(yaml.safe_dump, steps)), encoding="utf-8")
    assert main(["run", str(path)]) == 2
    said = capsys.readouterr().err
    for number, what in {
        2: "unknown key 'modell'",
        3: "unknown command 'finetun'",
        4: "does not name its command",
        5: "epochs must be greater than 0",
        6: "has the output of step 1",
        7: "has no output",
        8: "'params' leaves no run behind",
        9: "'run' leaves no run behind",
        10: "one/model lies in that of step",
        11: "holds that of step 1",
    }.items():
        assert any(what in line and f"step {number}" in line for line in said.splitlines()), (number, said)
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("other", ["./runs/a/", "runs/b/../a", "link/a", "~/runs/a"])
def test_one_output_spelled_two_ways_is_one_output(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "runs")  # to what the first step makes
    steps = [{"command": "finetune", "data": "x.csv", "model": "tfidf", "output": name} for name in ("runs/a", other)]
    Path("steps.yaml").write_text("---\n".join(map(yaml.safe_dump, steps)), encoding="utf-8")
    assert main(["run", "steps.yaml"]) == 2
    assert f"steps.yaml, step 2: has the output of step 1, {other}. Name another." in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--resume"], "no file"),
        (["run", "nowhere.yaml"], "no such file"),
        (["run", "nowhere.yaml", "--resum"], "unknown flag --resum. Did you mean '--resume'?"),
        (["run", str(ULMFIT), "--resume", "--overwrite"], "contradict each other"),
        (["finetune", "--config", str(ULMFIT)], f"holds 3 steps. Run them all: understudy run {ULMFIT}"),
        (["validate", "run", "nowhere.yaml"], "no such file"),
    ],
)
def test_mistakes_with_steps_are_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_no_recipe_has_gone() -> None:
    assert set(SMALLER) <= {path.stem for path in FILES}


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_the_first_lines_say_how_to_run_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first, *others = yaml.safe_load_all(text)
    assert text.startswith("# ")
    how = f"run recipes/{path.name}" if others else f"{first['command']} --config recipes/{path.name}"
    assert f"understudy {how}" in text


def test_recipes_do_not_collide() -> None:
    """Each has an output of its own, which is none of the quick start's but where it does the same: they run in turn."""
    steps = [step for path in ALL for step in yaml.safe_load_all(path.read_text(encoding="utf-8")) if "output" in step]
    outputs = [step["output"] for step in steps]
    assert sorted(set(outputs)) == sorted(outputs)
    docs = Path(__file__).parents[2]
    for page in ("README.md", "docs/quickstart.md"):
        taken = set(re.findall(r"distill .*--output (\S+)", (docs / page).read_text(encoding="utf-8")))
        assert taken
        assert not taken & {step["output"] for step in steps if step["command"] in ("distill", "compare")}, page
