"""Graphs written node by node and by torch's exporter, computed by ONNX Runtime, against the networks themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from export_toys import NETWORKS, TASKS, network, ragged
from transformers import AutoModel, AutoModelForSequenceClassification

from understudy.deploy.onnx.awd_lstm import awd_lstm_graph
from understudy.deploy.onnx.encoders import encoder_graph
from understudy.deploy.onnx.students import bag_arrays, bilstm_graph, static_graph
from understudy.errors import ModelError
from understudy.models.students.pooled import PooledClassifier

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SHAPES = [(1, 2), (1, 7), (5, 2), (4, 13), (2, 24)]
SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 24, "max_position_embeddings": 40, "num_labels": 3}
ENCODERS = {
    "bert": lambda: transformers.BertConfig(**SIZES),
    "roberta": lambda: transformers.RobertaConfig(**SIZES),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=40, num_labels=3
    ),
    "albert": lambda: transformers.AlbertConfig(**SIZES, embedding_size=8),
    "electra": lambda: transformers.ElectraConfig(**SIZES, embedding_size=8),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES),
    "deberta-v2": lambda: transformers.DebertaV2Config(
        **SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"], conv_kernel_size=3
    ),
    "modernbert": lambda: transformers.ModernBertConfig(
        **SIZES, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, local_attention=6
    ),
}


def largest_difference(graph: Any, model: Any, *, pair: bool = False) -> float:
    """The largest difference of a logit between a graph and its model, over batches of several shapes."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    apart = 0.0
    for seed, (rows, longest) in enumerate(SHAPES):
        inputs = {name: array for name, array in ragged(rows, longest, seed, pair=pair).items() if name in names}
        with torch.inference_mode():
            expected = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()
        (found,) = session.run(None, inputs)
        assert found.shape == expected.shape == (rows, model.config.num_labels)
        apart = max(apart, float(np.abs(found - expected).max()))
    return apart


def random_weights(model: Any) -> Any:
    """The model with every parameter random, so that nothing is equal because it is zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_of_our_own(name: str, kind: str) -> None:
    task = TASKS[kind]
    if task.is_pair and "awd" in name:
        pytest.skip("an AWD-LSTM reads single texts")
    model = network(name, task)
    graph_of = {"b": bilstm_graph, "s": static_graph, "a": awd_lstm_graph}[name[0]]
    graph = graph_of(model)
    assert largest_difference(graph, model, pair=task.is_pair) < 2e-6
    assert graph.graph.input[0].type.tensor_type.shape.dim[1].dim_param == "length"
    lstms = [node for node in graph.graph.node if node.op_type == "LSTM"]
    assert len(lstms) == {"b": 1, "s": 0, "a": getattr(model.config, "num_hidden_layers", 0)}[name[0]]


def test_a_narrow_first_layer_goes_into_the_table() -> None:
    model = network("static", TASKS["single_label"])
    arrays = bag_arrays(model)
    assert {name: array.shape for name, array in arrays.items()} == {
        "table": (50, 5),
        "bias": (5,),
        "weight": (3, 5),
        "output_bias": (3,),
    }
    product = model.embeddings.weight.double() @ model.hidden.weight.double().T
    np.testing.assert_allclose(arrays["table"], product.detach().numpy(), atol=1e-6)
    wide, pair = network("static, wide head", TASKS["single_label"]), network("static", TASKS["pair"])
    assert bag_arrays(wide)["table"].shape == (50, 18)
    assert bag_arrays(pair)["table"].shape == (50, 8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ENCODERS)
def test_encoders_with_a_head_of_transformers(architecture: str) -> None:
    torch.manual_seed(1)
    model = random_weights(AutoModelForSequenceClassification.from_config(ENCODERS[architecture]()))
    graph = encoder_graph(model, ("input_ids", "attention_mask"), longest=24)
    assert largest_difference(graph, model) < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_segments_and_heads_on_the_mean() -> None:
    torch.manual_seed(1)
    encoder = random_weights(AutoModel.from_config(ENCODERS["bert"]()))
    model = PooledClassifier.assemble(encoder, torch.randn(2, 16), torch.randn(2))
    names = ("input_ids", "attention_mask", "token_type_ids")
    assert largest_difference(encoder_graph(model, names, longest=24), model, pair=True) < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_what_torch_cannot_export_is_refused_with_a_way_out() -> None:
    class Odd(torch.nn.Module):
        config = transformers.BertConfig(num_labels=1)

        def forward(self, input_ids: torch.Tensor) -> Any:
            return torch.tensor(input_ids.sum().item())  # depends on a value: no graph

    with pytest.raises(ModelError, match=r"'bert' model cannot be exported.*Distil it"):
        encoder_graph(Odd(), ("input_ids",), longest=24)
