"""Graphs of adapted encoders: adapters stacked on that of a language, and fused ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_toys import TASKS, predictor, texts_for
from transformers import BertConfig, BertForSequenceClassification

from understudy.adapters.design import design_of
from understudy.adapters.files import BELOW, NAME, stack
from understudy.adapters.inject import add_adapter, add_fusion, route_of
from understudy.deploy.onnx.export import export_onnx
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.models.files.stored_task import set_task

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore")


def encoder(layers: int = 2) -> Any:
    """A tiny BERT with a head."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        num_labels=3,
    )
    model = BertForSequenceClassification(config).eval()
    set_task(model.config, TASKS["single_label"])
    return model


def exported(model: Any, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The logits of a model and of its graph, after all its weights have been drawn at random."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    task, texts = TASKS["single_label"], texts_for(TASKS["single_label"])
    whole = predictor(model.eval(), task)
    export_onnx(folder, whole, texts)
    return whole.logits(texts), ExportedPredictor(folder).logits(texts)


@pytest.mark.parametrize("below", ["pfeiffer", "invertible"])
def test_an_adapter_stacked_on_that_of_a_language(below: str, tmp_path: Path) -> None:
    model = encoder()
    more: dict[str, Any] = {"invertible": 2.0} if below == "invertible" else {}
    add_adapter(model, BELOW, design_of("pfeiffer", reduction=2.0, **more), start="normal")
    add_adapter(model, NAME, design_of("pfeiffer", reduction=4.0), start="normal")
    stack(model)
    assert route_of(model).stack == (BELOW, NAME)
    mine, theirs = exported(model, tmp_path / "stacked")
    np.testing.assert_allclose(theirs, mine, atol=1e-4)
    route_of(model).through(NAME)  # the one below matters: without it the logits are others
    alone = predictor(model, TASKS["single_label"]).logits(texts_for(TASKS["single_label"]))
    assert np.abs(alone - mine).max() > 1e-2


def test_fused_adapters(tmp_path: Path) -> None:
    model = encoder()
    add_fusion(model, NAME, {"one": design_of("houlsby", reduction=2.0), "two": design_of("houlsby", reduction=4.0)})
    mine, theirs = exported(model, tmp_path / "fused")
    np.testing.assert_allclose(theirs, mine, atol=1e-4)
    route_of(model).through()
    alone = predictor(model, TASKS["single_label"]).logits(texts_for(TASKS["single_label"]))
    assert np.abs(alone - mine).max() > 1e-2
