"""What is scored is what was saved, for every kind of tokenizer and model; a difference is said, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from understudy.cli import main
from understudy.data.tasks import Task
from understudy.data.tokens.fastai_words import fastai_tokenizer
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ModelError
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.loading import load
from understudy.models.language import build_awd_lstm
from understudy.models.students.static import StaticBag, StaticConfig
from understudy.models.tfidf import Tfidf
from understudy.models.vocabulary.embeddings import table_rows
from understudy.runs.saving import save_classifier, save_language_model

TEXTS = [
    "good film the cast",
    "Bad, bad BOOK!",
    "a naïve café",
    "the plot  was\tvery sad ...",
    "",
    "@user http://x.y :)",
]
CORPUS = [f"{text} {i}" for text in TEXTS for i in range(9)]
TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "good"))


def trained(model: Any, trainer: Any, *, pre: Any = None, **roles: Any) -> Any:
    """A fast tokenizer, trained on the texts."""
    backend = Tokenizer(model)
    backend.normalizer, backend.pre_tokenizer = normalizers.NFKC(), pre or pre_tokenizers.Whitespace()
    backend.train_from_iterator(CORPUS, trainer)
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", **roles)


def from_files(folder: Path, name: str, **files: str) -> Any:
    """A slow tokenizer, read from its files."""
    folder.mkdir()
    for file, content in files.items():
        (folder / file.replace("_", ".", 1)).write_text(content)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
    return hf.AutoTokenizer.from_pretrained(folder)


def bpe_files() -> dict[str, str]:
    """The files of BERTweet and PhoBERT: merges with a count, words with a count."""
    merges, words = [], ["good", "film", "the", "cast", "bad", "book"]
    for word in words:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]} 1")
            parts = [parts[0] + parts[1], *parts[2:]]
    return {"bpe_codes": "\n".join(dict.fromkeys(merges)) + "\n", "vocab_txt": "".join(f"{w} 1\n" for w in words)}


SPECIAL = ["[PAD]", "[UNK]"]
TOKENIZERS: dict[str, Callable[[Path], Any]] = {
    "words": lambda path: train_tokenizer(CORPUS, "words:60"),
    "bpe": lambda path: train_tokenizer(CORPUS, "bpe:80"),
    "fastai": lambda path: fastai_tokenizer(["xxunk", "xxpad", "xxbos", "xxmaj", "xxup", "good", "film", "the", "bad"]),
    "word level": lambda path: trained(
        models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False)
    ),
    "word pieces": lambda path: trained(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False),
        padding_side="left",
    ),
    "unigram": lambda path: trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=60, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False),
        pre=pre_tokenizers.Metaspace(),
    ),
    "bytes": lambda path: trained(
        models.BPE(),
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
        pre=pre_tokenizers.ByteLevel(),
        truncation_side="left",
    ),
    "added tokens": lambda path: with_added(train_tokenizer(CORPUS, "words:60")),
    "BERT": lambda path: hf.BertTokenizer(
        vocab={w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "fil", "##m", "bad"])},
        do_lower_case=False,
    ),
    "PhoBERT": lambda path: from_files(path / "pho", "PhobertTokenizer", **bpe_files()),
    "BERTweet": lambda path: from_files(path / "tweet", "BertweetTokenizer", **bpe_files()),
    "BERTweet, normalising": lambda path: normalising(from_files(path / "norm", "BertweetTokenizer", **bpe_files())),
    "written in Python": lambda path: with_python(train_tokenizer(CORPUS, "words:60")),
}


def with_added(tokenizer: Any) -> Any:
    """Words added after training, one of them special."""
    tokenizer.add_tokens(["sad ..."])
    tokenizer.add_special_tokens({"extra_special_tokens": ["@user"]})
    return tokenizer


def normalising(tokenizer: Any) -> Any:
    """A setting that is changed after the tokenizer was read."""
    tokenizer.normalization = True
    return tokenizer


def with_python(tokenizer: Any) -> Any:
    """A part that no file can hold."""

    class Upper:
        def decode_chain(self, tokens: list[str]) -> list[str]:
            return [token.upper() for token in tokens]

    tokenizer.backend_tokenizer.decoder = decoders.Decoder.custom(Upper())
    return tokenizer


def predictor(tokenizer: Any) -> Predictor:
    """A static student that tells all tokens apart."""
    torch.manual_seed(0)
    config = StaticConfig(vocab_size=table_rows(tokenizer), embedding_size=6, hidden_size=0, num_labels=2)
    return Predictor(StaticBag(config), tokenizer, TASK, 12)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_the_saved_model_answers_as_the_scored_one_or_there_is_none(name: str, tmp_path: Path) -> None:
    model = predictor(TOKENIZERS[name](tmp_path))
    folder = tmp_path / "run" / "model"
    try:
        save_classifier(folder, model, TEXTS)
    except ModelError:
        assert name == "written in Python"
        assert not list(folder.parent.iterdir())
    else:
        np.testing.assert_allclose(load(folder).logits(TEXTS), model.logits(TEXTS), rtol=1e-6)


def test_what_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = predictor(train_tokenizer(CORPUS, "words:60"))
    other = train_tokenizer(["film good bad"], "words:60")
    with monkeypatch.context() as patch:
        patch.setattr(type(model.tokenizer), "save_pretrained", lambda self, folder: write(other, folder))
        with pytest.raises(ModelError, match="its tokens differ: for 'good film the cast'"):
            save_classifier(tmp_path / "model", model, TEXTS)
    write_model = StaticBag.save_pretrained

    def rounded(self: Any, folder: Any) -> None:
        halved = {key: value.half().float() for key, value in self.state_dict().items()}
        write_model(self, folder, state_dict=halved)

    with monkeypatch.context() as patch:
        patch.setattr(StaticBag, "save_pretrained", rounded)
        with pytest.raises(ModelError, match=r"its weights differ: classifier\.weight"):
            save_classifier(tmp_path / "model", model, TEXTS)
    assert not (tmp_path / "model").exists()
    save_classifier(tmp_path / "model", model, TEXTS)


def write(tokenizer: Any, folder: Path) -> None:
    """Another tokenizer in the place of the own one."""
    tokenizer.backend_tokenizer.save(str(Path(folder) / "tokenizer.json"))
    (Path(folder) / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


def test_language_models_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = train_tokenizer(CORPUS, "words:60")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    bert = hf.BertForMaskedLM(hf.BertConfig(vocab_size=table_rows(tokenizer), **sizes)).eval()
    gpt = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=table_rows(tokenizer), n_embd=16, n_layer=1, n_head=2)).eval()
    options: dict[str, Any] = {"embedding": 8, "hidden": 12, "layers": 1, "tied": True, "drop_mult": 1.0, "bptt": 9}
    awd = build_awd_lstm(tokenizer, backward=False, **options).eval()
    for name, model in {"masked": bert, "encoder": bert.bert, "causal": gpt, "recurrent": awd}.items():
        folder = tmp_path / name
        save_language_model(folder, model, tokenizer, max_length=20, texts=TEXTS)
        assert (folder / "model.safetensors").is_file()
        write_model = type(model).save_pretrained

        def other(self: Any, folder: Any, write_model: Any = write_model) -> None:
            write_model(self, folder, state_dict={key: value + 0.1 for key, value in self.state_dict().items()})

        with monkeypatch.context() as patch:
            patch.setattr(type(model), "save_pretrained", other)
            with pytest.raises(ModelError, match="its weights differ"):
                save_language_model(folder, model, tokenizer, max_length=20, texts=TEXTS)


@pytest.mark.usefixtures("quick")
def test_a_run_that_cannot_save_keeps_its_checkpoint(
    reviews: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["finetune", "--data", str(reviews), "--model", str(tiny_bert), "--epochs", "1", "--no_baseline"]
    other = train_tokenizer(["film good bad"], "words:20")
    with monkeypatch.context() as patch:
        patch.setattr(hf.PreTrainedTokenizerFast, "save_pretrained", lambda self, folder: write(other, folder))
        assert main([*command, "--output", str(run)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "its tokens differ" in said
    assert "What was trained is kept in" in said
    assert list((run / "checkpoints").glob("*.pt"))
    assert not (run / "model").exists()
    assert not json.loads((run / "record.json").read_text())["finished"]
    assert main([*command, "--output", str(run), "--resume"]) == 0
    assert (run / "model" / "config.json").is_file()


def test_the_temperature_is_saved_and_one_that_is_lost_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = predictor(train_tokenizer(CORPUS, "words:60"))
    linear = LinearPredictor(Tfidf.fit([(text,) for text in TEXTS], np.array([1, 0] * 3), TASK))
    for number, model in enumerate((network, linear)):
        model.temperature = 1.75
        folder = tmp_path / str(number)
        save_classifier(folder, model, TEXTS)
        found = load(folder)
        assert found.temperature == 1.75
        expected = scipy.special.softmax(model.logits(TEXTS) / 1.75, axis=1)
        given = [list(answer.probabilities.values()) for answer in found.predict(TEXTS)]
        np.testing.assert_allclose(given, expected, atol=1e-6)
        # a folder from before there were temperatures
        config = json.loads((folder / "config.json").read_text())
        del config["understudy"]["temperature"]
        (folder / "config.json").write_text(json.dumps(config))
        assert load(folder).temperature == 1.0
        for wrong in ("hot", 0, -1, float("nan"), 10**400, True, None):
            config["understudy"]["temperature"] = wrong
            (folder / "config.json").write_text(json.dumps(config))
            with pytest.raises(ModelError, match="temperature"):
                load(folder)
    monkeypatch.setattr("understudy.loading.Predictor", lambda *parts, temperature: Predictor(*parts))
    with pytest.raises(ModelError, match=r"its temperature was 1\.75 and is 1\.0 when it is read back"):
        save_classifier(tmp_path / "lost", network, TEXTS)
    assert not (tmp_path / "lost").exists()
