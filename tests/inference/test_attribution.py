"""Attributions: against captum, against closed forms, and exact for TF-IDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from understudy.data.tasks import Task
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ModelError
from understudy.inference.attribution import (
    attribute_gradients,
    attribute_weights,
    explainer,
    gradient_times_input,
)
from understudy.inference.predictor import Ensemble, LinearPredictor, Predictor
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForSequenceClassification
from understudy.models.files.classifiers import load_encoder
from understudy.models.structure.layers import word_embeddings
from understudy.models.students.apart import ApartClassifier
from understudy.models.students.bilstm import BiLSTM, BiLSTMConfig
from understudy.models.students.pair_rows import pair_layout
from understudy.models.students.static import StaticBag, StaticConfig
from understudy.models.tfidf import Tfidf

LABELS = ("bad", "fair", "good")
TASK = Task(text=(("text",),), label="label", kind="single_label", labels=LABELS)
PAIR = Task(text=(("a",), ("b",)), label="label", kind="single_label", labels=LABELS)
WORDS = ["the film was good", "the play was bad", "a fine song and a dull book"]
SIZES = {"vocab_size": 50, "embedding_size": 8, "hidden_size": 5, "num_labels": 3}


def network(kind: str) -> Predictor:
    """A model with random weights."""
    torch.manual_seed(0)
    made: Any = {
        "bert": lambda: BertForSequenceClassification(
            BertConfig(
                vocab_size=50,
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=8,
                num_labels=3,
            )
        ),
        "bilstm": lambda: BiLSTM(BiLSTMConfig(**SIZES, lstm_size=6)),
        "static": lambda: StaticBag(StaticConfig(**SIZES)),
        "pair": lambda: StaticBag(StaticConfig(**SIZES, pair=True)),
        "linear": lambda: StaticBag(StaticConfig(**{**SIZES, "hidden_size": 0})),
        "awd_lstm": lambda: AWDLSTMForSequenceClassification(AWDLSTMConfig(**{**SIZES, "hidden_size": 6}, bptt=3)),
        "backward": lambda: AWDLSTMForSequenceClassification(
            AWDLSTMConfig(**{**SIZES, "hidden_size": 6}, bptt=3, backward=True)
        ),
    }[kind]()
    tokenizer = train_tokenizer(WORDS, "words:40")
    return Predictor(made, tokenizer, PAIR if kind == "pair" else TASK, 16)


def inputs_of(model: Predictor, text: Any) -> dict[str, torch.Tensor]:
    """What the network gets for a text."""
    ids, segments = model.encoder.one(text)
    known = {
        "input_ids": torch.tensor([ids]),
        "attention_mask": torch.ones(1, len(ids), dtype=torch.long),
        "token_type_ids": torch.tensor([segments or [0] * len(ids)]),
    }
    return {name: known[name] for name in model.names}


@pytest.mark.parametrize("kind", ["bert", "bilstm", "static", "pair", "awd_lstm", "backward"])
@pytest.mark.filterwarnings("ignore")
def test_it_is_what_captum_says(kind: str) -> None:
    captum = pytest.importorskip("captum.attr")
    model = network(kind)
    text = ("the film was good", "a dull play") if kind == "pair" else "the film was good and the play"
    inputs = inputs_of(model, text)
    names = [name for name in inputs if name != "input_ids"]

    def forward(ids: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model.model(input_ids=ids, **dict(zip(names, others))).logits
        return logits

    for output in range(3):
        layer = captum.LayerGradientXActivation(forward, word_embeddings(model.model))
        extra = tuple(inputs[name] for name in names)
        if kind in ("awd_lstm", "backward"):  # captum keeps the last piece alone, so it gets the text in one piece
            model.model.config.bptt = 100
        expected = layer.attribute(inputs["input_ids"], target=output, additional_forward_args=extra)
        if kind in ("awd_lstm", "backward"):
            model.model.config.bptt = 3
        found = attribute_gradients(model, text, LABELS[output])
        scores = [token.score for token in found.tokens]
        told = expected.sum(-1).reshape(-1).tolist()
        np.testing.assert_allclose(scores, told[::-1] if kind == "backward" else told, rtol=1e-4, atol=1e-6)
        assert found.label == LABELS[output]


def test_a_linear_bag_of_embeddings_has_a_closed_form() -> None:
    model = network("linear")
    text = "the film was good and the play"
    ids, _ = model.encoder.one(text)
    network_, output = model.model, 2
    table, weight = network_.embeddings.weight, network_.classifier.weight  # type: ignore[attr-defined]
    expected = (table[ids] @ weight[output] / len(ids)).detach().tolist()
    found = attribute_gradients(model, text, "good")
    np.testing.assert_allclose([token.score for token in found.tokens], expected, rtol=1e-5)
    bias = float(network_.classifier.bias.detach()[output])  # type: ignore[attr-defined]
    assert sum(token.score for token in found.tokens) + bias == pytest.approx(model.logits([text])[0, output], rel=1e-5)
    placed = [token for token in found.tokens if token.start is not None]
    assert [text[token.start : token.end] for token in placed] == text.split()
    assert {token.token for token in found.tokens} - set(text.split()) == {"[CLS]", "[SEP]"}
    likeliest = LABELS[int(model.logits([text])[0].argmax())]
    assert attribute_gradients(model, text).label == likeliest


def test_nothing_is_left_behind() -> None:
    model = network("bert")
    before = model.logits(["the film", "a play"])
    attribute_gradients(model, "the film was good")
    assert all(parameter.grad is None for parameter in model.model.parameters())
    np.testing.assert_array_equal(model.logits(["the film", "a play"]), before)
    assert not word_embeddings(model.model)._forward_hooks


def test_special_tokens_and_pairs_know_their_places(tiny_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(tiny_bert, num_labels=3)
    model = Predictor(BertForSequenceClassification(config), tokenizer, PAIR, 16)
    found = attribute_gradients(model, ("the film", "a good play")).tokens
    assert [(token.token, token.start, token.end, token.text) for token in found] == [
        ("[CLS]", None, None, 0),
        ("the", 0, 3, 0),
        ("film", 4, 8, 0),
        ("[SEP]", None, None, 0),
        ("a", 0, 1, 1),
        ("good", 2, 6, 1),
        ("play", 7, 11, 1),
        ("[SEP]", None, None, 0),
    ]
    assert attribute_gradients(Predictor(network("static").model, network("static").tokenizer, TASK, 16), "").tokens


def read_apart(tiny_bert: Path, max_length: int = 16) -> Predictor:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    torch.manual_seed(0)
    weight, bias = torch.randn(3, 64), torch.zeros(3)
    network = ApartClassifier.assemble(load_encoder(str(tiny_bert)), weight, bias, layout=pair_layout(tokenizer))
    return Predictor(network, tokenizer, PAIR, max_length)


def test_pairs_read_apart_are_attributed_text_by_text(tiny_bert: Path) -> None:
    model = read_apart(tiny_bert)
    found = attribute_gradients(model, ("the film", "a good play"), "good").tokens
    assert [(token.token, token.start, token.end, token.text) for token in found] == [
        ("[CLS]", None, None, 0),
        ("the", 0, 3, 0),
        ("film", 4, 8, 0),
        ("[SEP]", None, None, 0),
        ("[CLS]", None, None, 1),
        ("a", 0, 1, 1),
        ("good", 2, 6, 1),
        ("play", 7, 11, 1),
        ("[SEP]", None, None, 1),
    ]
    shorter = attribute_gradients(read_apart(tiny_bert, 7), ("the film", "a good play"), "good").tokens
    assert [token.token for token in shorter if token.text] == ["[CLS]", "a", "good", "[SEP]"]
    # by another way: what the logit changes by, to first order, if a token's embedding is scaled
    table, network = word_embeddings(model.model), model.model
    inputs, scale = inputs_of(model, ("the film", "a good play")), torch.ones(2, 5, 1, requires_grad=True)
    hook = table.register_forward_hook(lambda module, args, embedded: embedded * scale)
    network(**inputs).logits[0, 2].backward()
    hook.remove()
    assert scale.grad is not None
    expected = scale.grad[..., 0].flatten()[[0, 1, 2, 3, 5, 6, 7, 8, 9]].numpy()
    np.testing.assert_allclose([token.score for token in found], expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


def test_long_documents_that_are_read_in_pieces() -> None:
    model = network("awd_lstm")
    model.model.config.gradient_tokens = 4  # type: ignore[union-attr]
    found = attribute_gradients(model, "the film was good and the play was bad")
    assert len(found.tokens) == 11
    zeros = [token.score == 0 for token in found.tokens]
    assert zeros[:7] == [True] * 7, "what is read before the last four has no gradient"
    assert not all(zeros[7:])


def test_a_model_that_looks_nothing_up_is_refused() -> None:
    table = torch.nn.Embedding(5, 2)
    with pytest.raises(ModelError, match="does not look its tokens up"):
        gradient_times_input(lambda input_ids: torch.zeros(1, 3), table, {"input_ids": torch.tensor([[1]])}, output=0)
    with pytest.raises(ModelError, match="more than once"):
        gradient_times_input(
            lambda input_ids: table(input_ids).sum(1) + table(input_ids).sum(1),
            table,
            {"input_ids": torch.tensor([[1, 2]])},
            output=0,
        )


@pytest.mark.parametrize(
    ("labels", "pair"), [(LABELS, False), (LABELS[::2], False), (LABELS, True), (LABELS[::2], True)]
)
def test_shares_of_tfidf_add_up_to_the_logit(labels: tuple[str, ...], pair: bool) -> None:
    rng = np.random.default_rng(0)
    words = ["film", "Film", "good", "bad", "play", "the", "naïve", "c++", "x"]

    def text() -> str:
        return ", ".join(rng.choice(words, rng.integers(1, 9)))

    rows = [(text(), text())[: 1 + pair] for _ in range(60)]
    columns = (("a",), ("b",))[: 1 + pair]
    task = Task(text=columns, label="label", kind="single_label", labels=labels)
    model = LinearPredictor(Tfidf.fit(rows, rng.integers(0, len(labels), 60), task))
    bias = model.tfidf.bias
    for row in rows[:20]:
        logits = model.logits([row])[0]
        for number, label in enumerate(labels):
            found = attribute_weights(model, row, label)
            total = sum(token.score for token in found.tokens)
            if len(labels) == 2:
                expected = logits[number] - logits[1 - number] - (2 * number - 1) * bias[0]
            else:
                expected = logits[number] - bias[number]
            assert total == pytest.approx(expected, abs=1e-4)
            for token in found.tokens:
                assert token.start is not None
                assert row[token.text][token.start : token.end].lower().startswith(token.token.split()[0])


def test_which_models_can_be_explained() -> None:
    model = network("static")
    method, explain = explainer(model) or ("", None)
    assert method == "gradient x input"
    assert explain is not None
    told = explain("the film", "bad")
    assert told["label"] == "bad"
    assert set(told["tokens"][0]) == {"token", "score", "start", "end", "text"}
    assert explainer(Ensemble([model, model])) is None
    assert explainer(object()) is None


@pytest.mark.parametrize(
    ("rows", "text", "term", "where"),
    [
        (["не да", "нет нет"], "нет, не да", "не", [(5, 7)]),
        (["été la", "prété la"], "prété, Été", "été", [(7, 10)]),
        (["很好吃很好吃KFC", "不好吃不好吃KFCs"], "好好吃KFC，KFCs", "kfc", [(3, 6)]),
        (["很好吃很好吃KFC", "不好吃不好吃KFCs"], "很好吃", "好", [(1, 2)]),
    ],
)
def test_a_term_is_not_found_inside_another_word(
    rows: list[str], text: str, term: str, where: list[tuple[int, int]]
) -> None:
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("bad", "good"))
    model = LinearPredictor(Tfidf.fit([(row,) for row in rows] * 5, np.array([0, 1] * 5), task))
    found = attribute_weights(model, text).tokens
    assert [(token.start, token.end) for token in found if token.token == term] == where
