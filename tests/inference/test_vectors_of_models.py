"""``encode``: the vectors of every kind of model, against what its parts compute."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from understudy.data.tasks import Task
from understudy.errors import ModelError
from understudy.inference.predictor import Ensemble, LinearPredictor, Predictor
from understudy.models.files.classifiers import load_encoder
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.pooled import PooledClassifier, mean_pooled
from understudy.models.students.static import StaticBag, StaticConfig
from understudy.models.tfidf import Tfidf

TASK = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
PAIR = Task(text=(("a",), ("b",)), label="label", kind="single_label", labels=("no", "yes"))
TEXTS = ["good film", "a very bad plot the cast was sad", "nice", "the song is fine quite fine"]


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_bert)
    return found


def _inputs(tokenizer: Any, text: str) -> dict[str, torch.Tensor]:
    return dict(tokenizer([text], return_tensors="pt"))


def _agree(model: Predictor, vector: Any) -> None:
    """The vectors of a batch are those of each text alone, and the head makes the logits of them."""
    found = model.encode(TEXTS)
    assert found.dtype == np.float32
    with torch.inference_mode():
        alone = np.stack([vector(text) for text in TEXTS])
    np.testing.assert_allclose(found, alone, atol=1e-5)
    np.testing.assert_allclose(model.encode(TEXTS[1:2]), found[1:2], atol=1e-5)
    assert model.encode([]).shape == (0, found.shape[1])


def test_of_berts_pooler(tiny_bert: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert).eval()
    predictor = Predictor(model, tokenizer, TASK, 32)
    _agree(predictor, lambda text: model.bert(**_inputs(tokenizer, text)).pooler_output[0].numpy())
    with torch.inference_mode():
        made = model.classifier(torch.from_numpy(predictor.encode(TEXTS))).numpy()
    np.testing.assert_allclose(made, predictor.logits(TEXTS), atol=1e-5)


def test_of_a_head_with_a_hidden_layer(tokenizer: PreTrainedTokenizerBase) -> None:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 1}
    config = RobertaConfig(vocab_size=64, max_position_embeddings=40, pad_token_id=0, **sizes)
    model = RobertaForSequenceClassification(config).eval()

    def read(text: str) -> np.ndarray:
        ids = _inputs(tokenizer, text)["input_ids"]
        first = model.roberta(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0, 0]
        return model.classifier.dense(first).tanh().numpy()

    _agree(Predictor(model, tokenizer, TASK, 32), read)


def test_of_the_mean_of_states(tiny_bert: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    encoder = load_encoder(str(tiny_bert))
    model = PooledClassifier.assemble(encoder, torch.randn(2, 32), torch.zeros(2))

    def mean(text: str) -> np.ndarray:
        inputs = _inputs(tokenizer, text)
        return mean_pooled(encoder(**inputs).last_hidden_state, inputs["attention_mask"])[0].numpy()

    _agree(Predictor(model, tokenizer, TASK, 32), mean)


@pytest.mark.parametrize("hidden", [5, 0])
def test_of_students_the_state_before_the_head(hidden: int, tokenizer: PreTrainedTokenizerBase) -> None:
    shape = {"vocab_size": len(tokenizer), "embedding_size": 6, "hidden_size": hidden, "num_labels": 2}
    for model in (BiLSTM(BiLSTMConfig(**shape, lstm_size=4)), StaticBag(StaticConfig(**shape))):
        made = model.eval()
        _agree(
            Predictor(made, tokenizer, TASK, 32),
            lambda text, made=made: made.pool(_inputs(tokenizer, text)["input_ids"], None, None)[0][0].numpy(),
        )


def test_of_a_pair_one_vector(tokenizer: PreTrainedTokenizerBase) -> None:
    shape = {"vocab_size": len(tokenizer), "embedding_size": 6, "hidden_size": 5, "num_labels": 2}
    model = Predictor(StaticBag(StaticConfig(**shape, pair=True)), tokenizer, PAIR, 32)
    found = model.encode([("good", "bad film"), ("a", "b")])
    assert found.shape == (2, 24)
    u, v = found[:, :6], found[:, 6:12]
    np.testing.assert_allclose(found[:, 12:], np.hstack([np.abs(u - v), u * v]), atol=1e-6)


def test_of_tfidf_its_values() -> None:
    texts = [*TEXTS, "bad bad film"]
    model = LinearPredictor(Tfidf.fit([(text,) for text in texts], np.array([1, 0, 1, 1, 0]), TASK))
    theirs = TfidfVectorizer(
        token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True, vocabulary=model.tfidf.vocabulary
    ).fit(texts)
    np.testing.assert_allclose(model.encode(texts), theirs.transform(texts).toarray(), atol=1e-5)
    assert model.encode([]).shape == (0, len(model.tfidf.vocabulary))
    huge = copy.copy(model.tfidf)
    with pytest.raises(ValueError, match="encode at most"):
        huge.vectors(["a"] * (2**32 // len(model.tfidf.weight)))


def test_of_several_models_side_by_side(tokenizer: PreTrainedTokenizerBase) -> None:
    shape = {"vocab_size": len(tokenizer), "hidden_size": 0, "num_labels": 2}
    members = [
        Predictor(StaticBag(StaticConfig(**shape, embedding_size=width)), tokenizer, TASK, 32) for width in (3, 4)
    ]
    found = Ensemble(members).encode(TEXTS)
    np.testing.assert_array_equal(found, np.hstack([member.encode(TEXTS) for member in members]))


def test_what_is_not_finite_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    shape = {"vocab_size": len(tokenizer), "embedding_size": 6, "hidden_size": 0, "num_labels": 2}
    model = Predictor(StaticBag(StaticConfig(**shape)), tokenizer, TASK, 32)
    with pytest.raises(ValueError, match="list of texts"):
        model.encode("a film")
    with torch.no_grad():
        model.model.embeddings.weight.fill_(torch.nan)  # type: ignore[union-attr,operator]
    with pytest.raises(ModelError, match="finite"):
        model.encode(["good film"])
