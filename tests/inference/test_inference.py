"""Logits against transformers' own path from text to logits; streams, refusals, sizes and fingerprints."""

from __future__ import annotations

import contextlib
import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode
from understudy.inference.logits import evaluating, logits, parameter_summary
from understudy.inference.predictor import Ensemble, LinearPredictor, Predictor
from understudy.models.tfidf import Tfidf

WORDS = [f"w{i}" for i in range(30)]
SINGLE = Task(text=(("text",),), label="label", kind="single_label", labels=("a", "b", "c"))
PAIR = Task(text=(("first",), ("second",)), label="label", kind="single_label", labels=("a", "b", "c"))
SIZES = {"num_labels": 3, "vocab_size": 40}


def make_tokenizer(*, left: bool = False) -> PreTrainedTokenizerFast:
    """Whole words in BERT's template."""
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side="left" if left else "right",
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def make_model(kind: str = "bert") -> nn.Module:
    """A tiny classifier, in training mode as `from_pretrained` never leaves it."""
    torch.manual_seed(0)
    if kind == "bert":
        config = BertConfig(**SIZES, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
        model: nn.Module = BertForSequenceClassification(config)
    elif kind == "distilbert":
        model = DistilBertForSequenceClassification(
            DistilBertConfig(**SIZES, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
        )
    else:
        model = XLNetForSequenceClassification(XLNetConfig(**SIZES, d_model=16, n_layer=2, n_head=2, d_inner=32))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)  # far from the usual small start, so that differences show
    return model.train()


def random_texts(count: int, arity: int = 1) -> list[tuple[str, ...]]:
    """Texts of 0 to 20 words."""
    rng = random.Random(3)
    return [tuple(" ".join(rng.choices(WORDS, k=rng.randint(0, 20))) for _ in range(arity)) for _ in range(count)]


def reference(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, text: tuple[str, ...], max_length: int
) -> np.ndarray:
    """One text by transformers alone."""
    takes = {"token_type_ids"} if isinstance(model, DistilBertForSequenceClassification) else set()
    inputs = tokenizer(*[[part] for part in text], truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad(), evaluating(model):
        return model(**{name: tensor for name, tensor in inputs.items() if name not in takes}).logits.numpy()[0]


@pytest.mark.parametrize("kind", ["bert", "distilbert", "xlnet"])
@pytest.mark.parametrize("task", [SINGLE, PAIR], ids=["single", "pair"])
def test_logits_are_those_of_transformers(kind: str, task: Task) -> None:
    model, tokenizer = make_model(kind), make_tokenizer(left=kind == "xlnet")
    texts = random_texts(25, len(task.text))
    expected = np.stack([reference(model, tokenizer, text, 14) for text in texts])
    predictor = Predictor(model, tokenizer, task, 14, max_tokens=60)
    np.testing.assert_allclose(predictor.logits(texts), expected, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([predictor.logits([text]) for text in texts]), expected, atol=1e-5)
    np.testing.assert_allclose(predictor.logits(Texts.of(texts)), expected, atol=1e-5)


def test_rows_are_answered_in_the_order_asked_for() -> None:
    model, tokenizer = make_model().eval(), make_tokenizer()
    encoded = encode(random_texts(25), tokenizer, max_length=32)
    names = ("input_ids", "attention_mask")
    everything = logits(model, encoded, names=names)
    rows = np.array([7, 7, 0, 24])
    told: list[int] = []
    some = logits(model, encoded, names=names, rows=rows, max_tokens=1, on_batch=told.append)
    np.testing.assert_allclose(some, everything[rows], atol=1e-5)
    assert told == [1, 1, 1, 1]
    assert everything.dtype == np.float32
    assert logits(model, encoded, names=names, rows=np.arange(0)).shape == (0, 3)


def test_modes_are_left_as_they_were_and_dropout_is_off() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    model.train()
    model[1].eval()  # frozen by hand
    with contextlib.suppress(RuntimeError), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError  # the modes come back after a failure too
    assert [module.training for module in (model, model[0], model[1], model[1][0])] == [True, True, False, False]

    trained = make_model()
    predictor = Predictor(trained, make_tokenizer(), SINGLE, 14)
    trained.train()
    alone = predictor.logits(["w1 w2"])
    np.testing.assert_array_equal(predictor.logits(["w1 w2"]), alone)


def test_a_stream_keeps_the_order_and_does_not_read_ahead() -> None:
    predictor = Predictor(make_model(), make_tokenizer(), SINGLE, 14)
    read = 0

    def endless():
        nonlocal read
        for text in itertools.cycle(random_texts(13)):
            read += 1
            yield text

    streamed = list(itertools.islice(predictor.stream(endless(), batch=4), 10))
    assert read == 12
    expected = predictor.predict(random_texts(13)[:10])
    assert [prediction.label for prediction in streamed] == [prediction.label for prediction in expected]
    assert predictor.predict_one(random_texts(1)[0]).label == expected[0].label


@pytest.mark.parametrize(
    ("task", "text", "said"),
    [(SINGLE, ("a", "b"), "a string"), (PAIR, "a", "a pair of strings"), (SINGLE, (None,), "a string")],
)
def test_texts_that_do_not_suit_the_task(task: Task, text: object, said: str) -> None:
    predictor = Predictor(make_model(), make_tokenizer(), task, 14)
    with pytest.raises(ValueError, match=f"must be {said} for this model"):
        predictor.logits([text])


@pytest.mark.parametrize("kind", ["network", "tfidf", "both"])
def test_a_bare_string_is_no_list_of_texts(kind: str) -> None:
    rows = [(f"{'w1' if label else 'w2'} w{9 + i}",) for i, label in enumerate([0, 1, 2] * 4)]
    linear = LinearPredictor(Tfidf.fit(rows, np.array([0, 1, 2] * 4), SINGLE))
    network = Predictor(make_model(), make_tokenizer(), SINGLE, 14)
    model = {"network": network, "tfidf": linear, "both": Ensemble([network, linear])}[kind]
    for asked in (model.predict, model.logits, lambda text: list(model.stream(text))):
        with pytest.raises(ValueError, match=r"is the string 'w1 w2'\. For a single text there is predict_one"):
            asked("w1 w2")
        for text in (None, 3, ["w1", None]):
            with pytest.raises(ValueError, match="each text must be a string for this model, but one is"):
                asked(["w1 w2", text])
    assert model.predict_one("w1 w2").label == model.predict(["w1 w2"])[0].label


def test_shared_tables_count_once_and_bytes_are_those_of_the_file(tmp_path) -> None:
    model = make_model()
    model.bert.embeddings.token_type_embeddings.weight.requires_grad = False
    summary = Predictor(model, make_tokenizer(), SINGLE, 14).summary()
    assert summary["parameters"] == model.num_parameters()
    assert summary["trainable_parameters"] == model.num_parameters() - 2 * 16
    assert summary["embedding_parameters"] == (40 + 512 + 2) * 16
    model.save_pretrained(tmp_path)
    header = 20_000
    assert 0 <= (tmp_path / "model.safetensors").stat().st_size - summary["size_bytes"] < header

    tied = nn.ModuleList([nn.Embedding(7, 3), nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)])
    tied[1].weight = tied[2].weight = tied[0].weight
    assert parameter_summary(tied) == dict.fromkeys(
        ["parameters", "trainable_parameters", "embedding_parameters"], 21
    ) | {"size_bytes": 84}


def fitted(labels: tuple[str, ...] = ("a", "b", "c"), *, word: str = "w1") -> Tfidf:
    """TF-IDF on a few toy rows."""
    rows = [(f"{word if label else 'w2'} w{9 + i}",) for i, label in enumerate([0, 1, 2] * 4)]
    task = Task(text=(("text",),), label="label", kind="single_label", labels=labels)
    return Tfidf.fit(rows, np.array([0, 1, 2] * 4), task)


def test_a_fingerprint_tells_models_apart_by_what_they_answer(tmp_path) -> None:
    network = Predictor(make_model(), make_tokenizer(), SINGLE, 14)
    linear = LinearPredictor(fitted())
    fitted().save(tmp_path / "tfidf")
    same = [Predictor(make_model(), make_tokenizer(), SINGLE, 14), LinearPredictor(Tfidf.load(tmp_path / "tfidf"))]
    assert [model.fingerprint() for model in same] == [network.fingerprint(), linear.fingerprint()]
    assert LinearPredictor(fitted(("x", "y", "z"))).fingerprint() == linear.fingerprint()  # other names, same answers
    together = Ensemble([network, linear])
    turned = Ensemble([network, linear], [np.array([0, 1, 2]), np.array([2, 1, 0])])
    others = [
        Predictor(make_model(), make_tokenizer(), SINGLE, 15),
        LinearPredictor(fitted(word="w3")),
        LinearPredictor(replace(fitted(), bias=fitted().bias + 1)),
        together,
        turned,
    ]
    assert len({model.fingerprint() for model in [network, linear, *others]}) == 7
    network.model.classifier.bias.data += 1
    assert network.fingerprint() != same[0].fingerprint()
    assert together.fingerprint() == Ensemble([network, linear]).fingerprint()
    assert (network.outputs, linear.outputs, together.outputs) == (3, 3, 3)


def test_a_temperature_is_in_the_probabilities_alone() -> None:
    network = Predictor(make_model(), make_tokenizer(), SINGLE, 14)
    before, fingerprint, texts = network.logits(["w1 w2"]), network.fingerprint(), ["w1 w2", "w3"]
    plain, both = network.predict(texts), Ensemble([network, network]).fingerprint()
    network.temperature = 3.0
    np.testing.assert_array_equal(network.logits(["w1 w2"]), before)
    assert network.fingerprint() == fingerprint
    cooled = network.predict(texts)
    assert [one.label for one in cooled] == [one.label for one in plain]
    assert max(cooled[0].probabilities.values()) < max(plain[0].probabilities.values())
    assert network.predict_one(texts[0]).probabilities == pytest.approx(cooled[0].probabilities, abs=1e-6)
    # the mean of two models depends on their temperatures, and so do its logits
    ensemble = Ensemble([network, network])
    assert ensemble.fingerprint() != both
    assert ensemble.predict(texts)[0].probabilities == pytest.approx(cooled[0].probabilities, abs=1e-6)
