"""Fingerprints tell weights apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
)

from understudy.models.files.fingerprints import model_fingerprint, weights_fingerprint


def test_fingerprint_tells_weights_apart(tiny_classifier: Any, tmp_path: Path) -> None:
    model = tiny_classifier("bert")
    first = weights_fingerprint(model)
    model.save_pretrained(tmp_path / "m")
    assert weights_fingerprint(AutoModelForSequenceClassification.from_pretrained(tmp_path / "m")) == first
    assert weights_fingerprint(tiny_classifier("bert").half()) != first
    with torch.no_grad():
        model.classifier.bias[0] += 1e-6
    assert weights_fingerprint(model) != first


def test_the_temperature_is_in_no_fingerprint(tiny_classifier: Any) -> None:
    model = tiny_classifier("bert")
    model.config.understudy = {"kind": "transformer", "max_length": 20}
    first = model_fingerprint(model)
    model.config.understudy["temperature"] = 1.7
    assert model_fingerprint(model) == first
    model.config.understudy["max_length"] = 21
    assert model_fingerprint(model) != first
