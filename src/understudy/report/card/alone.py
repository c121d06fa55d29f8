"""How a card says that a model loads without Understudy: code that runs as it stands, or the command that makes it possible."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple


class Alone(NamedTuple):
    """What the card says, and code, where there is some."""

    said: str
    code: str = ""


_DECISIONS = {
    "single_label": "probabilities = (logits / temperature).softmax(-1)",
    "multi_label": "probabilities = (logits / temperature).sigmoid()",
    "regression": "numbers = logits.squeeze(-1)",
}
"""What becomes of the logits, by the kind of task."""
_PLAIN = """from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = {folder}
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
own = model.config.understudy
inputs = tokenizer({texts}, padding=True, truncation=True, max_length=own["max_length"], return_tensors="pt")
logits = model(**inputs).logits
"""
_POOLED = """import json

from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer

folder = {folder}
with open(f"{{folder}}/config.json", encoding="utf-8") as file:
    config = json.load(file)
own, weights = config["understudy"], load_file(f"{{folder}}/model.safetensors")
encoder = AutoModel.from_config(AutoConfig.for_model(**config["encoder"])).eval()
inside = {{name.removeprefix("encoder."): tensor for name, tensor in weights.items() if name.startswith("encoder.")}}
encoder.load_state_dict(inside, strict=False)  # it lacks a pooler, which nothing reads
tokenizer = AutoTokenizer.from_pretrained(folder)
inputs = tokenizer({texts}, padding=True, truncation=True, max_length=own["max_length"], return_tensors="pt")
states, mask = encoder(**inputs).last_hidden_state, inputs["attention_mask"][..., None]
means = (states * mask).sum(1) / mask.sum(1)
logits = means @ weights["classifier.weight"].T + weights["classifier.bias"]
"""


def alone(model: Mapping[str, Any], task: Mapping[str, Any], path: str) -> Alone | None:
    """How the main model of a card is loaded without Understudy; None where the record does not say what it is.

    Args:
        model: its entry in the record, with ``model_type``.
        task: of the record.
        path: of the run folder.
    """
    known = model.get("model_type")
    if not isinstance(known, str):
        return None
    if known == "tfidf":
        return Alone("Without Understudy it does not load: its terms and weights are plain JSON and safetensors.")
    if known == "adapter":
        other = model.get("other_library")
        whole = f"`{_export(path)}` writes it with its base as ONNX"
        if other is None:
            return Alone(f"Without Understudy: {whole}. Other libraries have no such adapter or head.")
        return Alone(f"Without Understudy: `understudy adapter export` writes the adapter for {other}, and {whole}.")
    if known.startswith("understudy_") and known != "understudy_pooled":
        return Alone(f"Without Understudy: `{_export(path)}` writes it as ONNX, for onnxruntime and tokenizers alone.")
    texts = '["a first text"], ["a second text"]' if len(task["text"]) == 2 else '["a text", "another one"]'
    template = _POOLED if known == "understudy_pooled" else _PLAIN
    code = template.format(folder=json.dumps(f"{path}/model", ensure_ascii=False), texts=texts)
    kind = str(task["kind"])
    if kind != "regression":
        code += 'temperature = own["temperature"]\n'
    code += _DECISIONS[kind]
    if known == "understudy_pooled":
        return Alone(
            "Without Understudy, by transformers: an encoder, the mean of its last states, and a linear layer on it.",
            code,
        )
    return Alone("Without Understudy, by transformers:", code)


def _export(path: str) -> str:
    return f"understudy export {shlex.quote(path)} --output {shlex.quote(f'{path}-onnx')}"
