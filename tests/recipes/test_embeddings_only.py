"""``distill --embeddings_only``: a static embedding model, here and in sentence-transformers; what cards say without us."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import understudy
from understudy.cli import main
from understudy.errors import ModelError
from understudy.models.files.classifiers import load_encoder
from understudy.models.static_vectors import StaticVectors

pytestmark = pytest.mark.usefixtures("quick_throughout")
TEXTS = ["a good film", "the bad play", "", "unheard of words", "sad song sad"]


@pytest.fixture(scope="module")
def runs(reviews: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embeddings")
    command = ["distill", "--embeddings_only", "--teacher", str(tiny_bert), "--static.embedding", "16"]
    assert main([*command, "--output", str(folder / "alone")]) == 0
    assert main([*command, "--unlabeled", str(reviews / "pool.txt"), "--output", str(folder / "texts")]) == 0
    return folder


def _record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return found


def test_the_table_is_the_weighted_principal_components(runs: Path, tiny_bert: Path) -> None:
    tokenizer, encoder = AutoTokenizer.from_pretrained(tiny_bert), load_encoder(str(tiny_bert))
    table = StaticVectors.load(runs / "alone" / "model").table
    assert table.shape == (len(tokenizer), 16)
    assert not table[tokenizer.all_special_ids].any()
    words = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    with torch.inference_mode():
        states = np.stack(
            [
                encoder(input_ids=torch.tensor([[tokenizer.cls_token_id, i, tokenizer.sep_token_id]]))[0][0].mean(0)
                for i in words
            ]
        ).astype(np.float64)
    centred = states - states.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:16]
    shares = 1 / np.arange(2, len(words) + 2)
    weights = 1e-4 / (1e-4 + shares / shares.sum())
    expected = centred @ directions.T * weights[:, None]
    np.testing.assert_allclose(table[words] @ table[words].T, expected @ expected.T, rtol=1e-3, atol=1e-10)


def test_it_encodes_here_as_in_sentence_transformers(runs: Path) -> None:
    transformers = pytest.importorskip("sentence_transformers")
    for name in ("alone", "texts"):
        model = understudy.load(runs / name)
        found = model.encode(TEXTS)
        assert found.dtype == np.float32
        assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 0, 1 if found[3].any() else 0, 1])
        theirs = transformers.SentenceTransformer(str(runs / name / "model"), device="cpu").encode(TEXTS)
        np.testing.assert_allclose(found, theirs, atol=1e-6)


def test_with_texts_its_cosines_are_nearer_to_the_encoders(runs: Path, reviews: Path, tiny_bert: Path) -> None:
    texts = (reviews / "pool.txt").read_text(encoding="utf-8").splitlines()[:60]
    tokenizer, encoder = AutoTokenizer.from_pretrained(tiny_bert), load_encoder(str(tiny_bert))
    with torch.inference_mode():
        wanted = np.stack([encoder(**tokenizer(t, return_tensors="pt"))[0][0].mean(0) for t in texts])
    wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    wanted -= wanted.mean(0)

    def agreement(name: str) -> float:
        found = understudy.load(runs / name).encode(texts)
        found = found - found.mean(0)
        return float(np.corrcoef((found @ found.T).ravel(), (wanted @ wanted.T).ravel())[0, 1])

    assert agreement("texts") > agreement("alone")
    record = _record(runs / "texts")
    (teacher, student) = record["models"]
    assert (teacher["name"], student["name"]) == ("teacher", "student")
    assert -1 <= student["metrics"]["validation"]["spearman"] <= 1
    assert student["parameters"] == student["embedding_parameters"] == 16 * 27
    assert record["data"]["train"]["rows"] + record["data"]["validation"]["rows"] == 150


def test_the_same_again_is_the_same(runs: Path, tmp_path: Path) -> None:
    assert main(["distill", "--config", str(runs / "texts" / "config.yaml"), "--output", str(tmp_path / "again")]) == 0
    one, other = (StaticVectors.load(folder / "model").table for folder in (runs / "texts", tmp_path / "again"))
    np.testing.assert_array_equal(one, other)


def test_it_answers_nothing_and_says_so(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = understudy.load(runs / "alone")
    with pytest.raises(ModelError, match="is an embedding model"):
        model.predict(["a film"])
    (tmp_path / "a.txt").write_text("a film\n", encoding="utf-8")
    assert main(["predict", "--model", str(runs / "alone"), "--input", str(tmp_path / "a.txt")]) == 2
    assert "but no labels" in capsys.readouterr().err
    with pytest.raises(ValueError, match="list of texts"):
        model.encode("a film")


def test_what_it_does_not_use_is_refused(
    reviews: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["distill", "--embeddings_only", "--teacher", str(tiny_bert), "--output", str(tmp_path / "run")]
    assert main([*command, "--data", str(reviews), "--epochs", "3", "--alpha", "0.5", "--student", "layers:2"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--epochs, --data, --alpha: nothing is trained on labels with --embeddings_only" in said
    assert "so --student layers:2 is left out" in said
    assert main([*command, "--unlabeled", "gone.txt"]) == 2
    assert "gone.txt: no such file" in capsys.readouterr().err
    assert main(["validate", *command]) == 0
    assert main([*command, "--dry_run"]) == 0
    assert not (tmp_path / "run").exists()


def test_the_recipe_to_copy_runs(reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "distill-embeddings.yaml"
    given = ["--teacher", str(tiny_bert), "--unlabeled", str(reviews / "pool.txt"), "--output", str(tmp_path / "run")]
    assert main(["distill", "--config", str(recipe), *given]) == 0
    assert understudy.load(tmp_path / "run").encode(["a film"]).shape == (1, 32)  # the encoder has no more


def test_what_is_damaged_is_refused(runs: Path, tmp_path: Path) -> None:
    model = StaticVectors.load(runs / "alone" / "model")
    model.save(tmp_path / "copy")
    (tmp_path / "copy" / "checksums.json").unlink(missing_ok=True)
    (tmp_path / "copy" / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError):
        StaticVectors.load(tmp_path / "copy")


def _run_alone(card: Path, place: Path, mark: str) -> None:
    """Run the code of a card that loads the model without Understudy, in a process that cannot import it."""
    blocks = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if mark in block]
    assert "understudy." not in code.replace("config.understudy", "")
    blocked = "import sys; sys.modules['understudy'] = None\n"
    done = subprocess.run([sys.executable, "-c", blocked + code], capture_output=True, text=True, cwd=place)
    assert done.returncode == 0, done.stderr[-2000:]


def test_its_card_says_how_it_loads(runs: Path) -> None:
    pytest.importorskip("sentence_transformers")
    for name in ("alone", "texts"):
        assert "pipeline_tag: feature-extraction" in (runs / name / "README.md").read_text(encoding="utf-8")
        _run_alone(runs / name / "README.md", runs, "SentenceTransformer")


@pytest.mark.parametrize("pooling", ["head", "mean"])
def test_a_classifiers_card_loads_it_without_us(pooling: str, reviews: Path, tiny_bert: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["finetune", "--model", str(tiny_bert), "--data", str(reviews), "--pooling", pooling, "--epochs", "1"]
    assert main([*command, "--no_baseline", "--output", str(run)]) == 0
    card = run / "README.md"
    code = card.read_text(encoding="utf-8")
    model = understudy.load(run)
    expected = [list(answer.probabilities.values()) for answer in model.predict(["a text", "another one"])]
    check = f"import numpy; numpy.testing.assert_allclose(probabilities.detach().numpy(), {expected}, atol=1e-5)\n```"
    card.write_text(code.replace(".softmax(-1)\n```", f".softmax(-1)\n{check}"), encoding="utf-8")
    _run_alone(card, tmp_path, "from_config" if pooling == "mean" else "AutoModelForSequenceClassification")


def test_other_cards_say_what_makes_it_possible(reviews: Path, tmp_path: Path) -> None:
    assert main(["finetune", "--model", "tfidf", "--data", str(reviews), "--output", str(tmp_path / "t")]) == 0
    assert "Without Understudy it does not load" in (tmp_path / "t" / "README.md").read_text(encoding="utf-8")
    command = ["distill", "--teacher", str(tmp_path / "t"), "--student", "static", "--data", str(reviews)]
    assert main([*command, "--epochs", "1", "--no_baseline", "--output", str(tmp_path / "s")]) == 0
    assert "understudy export" in (tmp_path / "s" / "README.md").read_text(encoding="utf-8")
