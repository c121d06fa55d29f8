"""Pairs read apart, against plain transformers that encodes each text by itself, and features in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from understudy.data.tasks import Task
from understudy.data.tokens.encode import collate, encode_in_memory
from understudy.data.tokens.encoder import TextEncoder
from understudy.errors import ModelError
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_classifier, load_encoder
from understudy.models.files.pretrained import load_pretrained, read_pretrained
from understudy.models.files.save import save_model
from understudy.models.shrink.cut import cut_layers
from understudy.models.structure.inputs import settle_inputs
from understudy.models.students.apart import ApartClassifier, compared
from understudy.models.students.pair_rows import PairLayout, pair_layout, split_pairs

WORDS = [f"w{i}" for i in range(30)]
TASK = Task(text=(("a",), ("b",)), label="label", kind="single_label", labels=("no", "yes", "so"))
SIZES = {"vocab_size": 35, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
PAIRS = [
    ("w1 w2 w3", "w4"),
    ("w5", "w6 w7 w8 w9 w10 w11 w12"),
    ("", "w3 w4"),
    ("w2 w9", ""),
    ("", ""),
    ("w7 w1", "w7 w1"),
    (" ".join(WORDS[:15]), " ".join(WORDS[5:25])),
]
TEMPLATES = {
    "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "roberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
    "xlnet": ("$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"),
}


def tokenizer(kind: str, *, side: str = "right") -> Any:
    """Whole words, with the special tokens of a family."""
    table = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "a"])}
    backend = Tokenizer(models.WordLevel(table, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    single, pair = TEMPLATES[kind]
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * (kind != "roberta")
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        padding_side=side,
        model_input_names=names,
    )


def encoder_of(kind: str) -> Any:
    """A tiny encoder whose answers depend on its positions, with random weights."""
    torch.manual_seed(0)
    configs = {
        "bert": hf.BertConfig(**SIZES),
        "roberta": hf.RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=0),
        "xlnet": hf.XLNetConfig(vocab_size=35, d_model=16, n_layer=2, n_head=2, d_inner=32),
    }
    model = hf.AutoModel.from_config(configs[kind]).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name.lower():
                parameter.normal_(std=0.3)
    return model


def built(kind: str, tokens: Any) -> ApartClassifier:
    torch.manual_seed(1)
    model = ApartClassifier.assemble(encoder_of(kind), torch.randn(3, 32), torch.randn(3), layout=pair_layout(tokens))
    model.config.id2label = dict(enumerate(TASK.labels))
    return model


def slowly(kind: str, tokens: Any, pairs: list[tuple[str, str]], model: ApartClassifier) -> np.ndarray:
    """Each text alone through plain transformers; the features and the linear layer in NumPy."""
    encoder, rows = encoder_of(kind), []
    for pair in pairs:
        both = []
        for text in pair:
            inputs = {"input_ids": tokens(text, return_tensors="pt")["input_ids"]}
            with torch.no_grad():
                vector = encoder(**inputs).last_hidden_state[0].numpy().mean(0)
            both.append(4 * vector / np.sqrt((vector**2).sum()))
        rows.append(np.concatenate([np.abs(both[0] - both[1]), both[0] * both[1]]))
    weight, bias = model.classifier.weight.detach().numpy(), model.classifier.bias.detach().numpy()
    return np.array(rows) @ weight.T + bias


def answers(model: ApartClassifier, tokens: Any, pairs: list[tuple[str, str]], length: int = 60) -> np.ndarray:
    return Predictor(model, tokens, TASK, length).logits(pairs)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", TEMPLATES)
def test_each_text_is_read_as_if_it_were_alone(kind: str, side: str) -> None:
    tokens = tokenizer(kind, side=side)
    model = built(kind, tokens)
    expected = slowly(kind, tokens, PAIRS, model)
    np.testing.assert_allclose(answers(model, tokens, PAIRS), expected, rtol=1e-3, atol=1e-3)
    for pair, row in zip(PAIRS, expected):
        np.testing.assert_allclose(answers(model, tokens, [pair])[0], row, rtol=1e-3, atol=1e-3)
    assert np.abs(expected - expected[0]).max() > 0.1


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_texts_that_are_too_long_are_cut_as_a_pair(kind: str) -> None:
    """The longer text is cut first, to what a joined pair would hold."""
    tokens = tokenizer(kind)
    model = built(kind, tokens)
    length = 15 if kind == "bert" else 14
    room = length - (3 if kind == "bert" else 4)
    first, second = (text.split() for text in PAIRS[-1])
    kept = (" ".join(first[: room // 2]), " ".join(second[: room // 2]))
    for cut, (one, other) in ((PAIRS[-1], kept), (("w1", PAIRS[-1][1]), ("w1", " ".join(second[: room - 1])))):
        expected = slowly(kind, tokens, [(one, other)], model)
        np.testing.assert_allclose(answers(model, tokens, [cut], length=length), expected, rtol=1e-3, atol=1e-3)


def test_a_separator_that_is_written_in_a_text_splits_nothing() -> None:
    tokens = tokenizer("bert")
    model, pairs = built("bert", tokens), [("w1 [SEP] w2", "w3")]
    np.testing.assert_allclose(
        answers(model, tokens, pairs), slowly("bert", tokens, pairs, model), rtol=1e-3, atol=1e-3
    )


def test_layouts() -> None:
    assert pair_layout(tokenizer("bert")) == PairLayout((2,), (3,), 1, 1, 1)
    assert pair_layout(tokenizer("roberta")) == PairLayout((2,), (3,), 1, 2, 1)
    assert pair_layout(tokenizer("xlnet")) == PairLayout((), (3, 2), 0, 1, 2)


def test_a_tokenizer_that_loses_texts_is_refused() -> None:
    tokens = tokenizer("bert")
    tokens.backend_tokenizer.normalizer = normalizers.Replace("a", "")
    with pytest.raises(ModelError, match=r"cannot be read apart. Give --pooling mean or head"):
        pair_layout(tokens)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", TEMPLATES)
def test_rows_are_those_of_the_tokenizer(kind: str, side: str) -> None:
    tokens = tokenizer(kind, side=side)
    encoded = encode_in_memory(TextEncoder(tokens, max_length=None), PAIRS)
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = collate(encoded, np.arange(len(PAIRS)), names=names)
    ids, mask, segments = (inputs[name] for name in names)
    ids, real = split_pairs(ids, mask, segments, pair_layout(tokens), pad_id=0)
    texts = [pair[0] for pair in PAIRS] + [pair[1] for pair in PAIRS]
    expected = tokens(texts, padding=True, padding_side="right")
    assert ids.tolist() == expected["input_ids"]
    assert real.tolist() == expected["attention_mask"]


def test_a_row_without_tokens_is_one_of_padding() -> None:
    layout, nothing = PairLayout((), (), 0, 0, 0), torch.zeros(1, 2, dtype=torch.int64)
    ids, real = split_pairs(nothing, torch.tensor([[1, 0]]), nothing, layout, pad_id=9)
    assert ids.tolist() == [[0], [9]]
    assert real.tolist() == [[1], [1]]


def test_swapping_the_texts_changes_nothing() -> None:
    u, v = torch.randn(4, 6), torch.randn(4, 6)
    torch.testing.assert_close(compared(u, v), compared(v, u))
    cosine = torch.nn.functional.cosine_similarity(u, v)
    torch.testing.assert_close(compared(u, v)[:, 6:].mean(1), cosine)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    tokens = tokenizer(kind)
    model = built(kind, tokens)
    save_model(tmp_path, model, tokens, task=TASK, max_length=60)
    loader, config = read_pretrained(str(tmp_path))
    assert loader is ApartClassifier
    loaded, lacking = load_pretrained(str(tmp_path), loader, config)
    assert not lacking
    np.testing.assert_array_equal(answers(loaded.eval(), tokens, PAIRS), answers(model, tokens, PAIRS))
    again = load_classifier(str(tmp_path), TASK)
    assert again.keeps_head
    ids = torch.tensor([[2, 5, 6, 3]])
    with torch.no_grad():
        own, other = (
            encoder(input_ids=ids).last_hidden_state for encoder in (load_encoder(str(tmp_path)), encoder_of(kind))
        )
    torch.testing.assert_close(own, other)


def test_it_is_for_pairs_only(tmp_path: Path) -> None:
    tokens = tokenizer("bert")
    save_model(tmp_path, built("bert", tokens), tokens, task=TASK, max_length=60)
    single = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
    with pytest.raises(ModelError, match="was built for pairs of texts, but a row of the task has 1"):
        load_classifier(str(tmp_path), single)


def test_its_layers_can_be_cut() -> None:
    tokens = tokenizer("bert")
    model = built("bert", tokens)
    cut = cut_layers(model, [0])
    assert cut.encoder.config.num_hidden_layers == 1
    assert cut.config.pair_layout == model.config.pair_layout
    assert settle_inputs(cut, tokens) == ("input_ids", "attention_mask", "token_type_ids")
    assert answers(cut, tokens, PAIRS).shape == (len(PAIRS), 3)


def test_dropout_and_gradients_reach_both_texts() -> None:
    tokens = tokenizer("bert")
    model = built("bert", tokens).train()
    inputs = collate(
        encode_in_memory(TextEncoder(tokens, max_length=None), [("w1", "w2")]),
        np.array([0]),
        names=("input_ids", "attention_mask", "token_type_ids"),
    )
    model(**inputs).logits[0, 0].backward()
    grad = model.get_input_embeddings().weight.grad
    assert grad is not None
    used = [tokens.convert_tokens_to_ids(word) for word in ("w1", "w2")]
    assert all(grad[token].abs().sum() > 0 for token in used)
