"""A trained model as a folder that needs no torch: written, read back and compared with PyTorch before it appears."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from understudy.atomic import OUTPUT, new_folder
from understudy.checksums import list_checksums
from understudy.data.tasks import Text
from understudy.data.tokens.backend import Backend, as_string
from understudy.data.tokens.fast import Sample, can_be_fast, checked_fast_tokenizer
from understudy.deploy.onnx.awd_lstm import awd_lstm_graph
from understudy.deploy.onnx.encoders import encoder_graph
from understudy.deploy.onnx.students import bag_arrays, bilstm_graph, static_graph
from understudy.errors import ModelError, require
from understudy.inference.exported.facts import BAG, GRAPH, MOBILE, SAMPLE, TOKENIZER, ExportedFacts
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.inference.logits import device_of, token_budget
from understudy.inference.predictor import Predictor
from understudy.models.files.names import kind_of_type

TOLERANCE = 1e-4
"""The largest difference of a logit from PyTorch's that is accepted, times the largest logit where that is above 1."""
_OUTSIDE = 1_500_000_000
"""Bytes of weights from which on they lie beside the graph: a file of protocol buffers ends at 2 GB."""


def export_onnx(folder: Path, model: Predictor, texts: Sequence[Text], *, mobile: bool = False) -> ExportedFacts:
    """Write an exported folder: graph, tokenizer, facts, checksums. It appears whole or not at all.

    The folder is read back as it will be used, and its logits for `texts` are compared with the model's; one text at a
    time and all together.

    Args:
        model: a network with its tokenizer.
        texts: what the two are compared on.
        mobile: whether the graph is also written in the format of ONNX Runtime Mobile.

    Returns:
        The facts, with the largest difference.

    Raises:
        ModelError: if the model cannot be exported, or the exported one answers otherwise.
        OutputError: if the folder cannot be written.
        UnderstudyError: if what it needs is not installed.
    """
    config: Any = model.model.config
    backend, kind = model.encoder.backend, kind_of_type(config.model_type)
    if backend is None:
        raise ModelError(
            f"{folder}: is not written, because the model's tokenizer ({type(model.tokenizer).__name__}) is written in Python, so only transformers can read a text for it. Give a model that has a tokenizer.json."
        )
    model.to("cpu")
    graph = _graph(model, kind)
    facts = _facts(model, kind, tuple(value.name for value in graph.graph.input))
    with new_folder(folder, remedy=OUTPUT, replace=True) as temporary:
        (temporary / TOKENIZER).write_text(backend.content, encoding="utf-8")
        if not model.task.is_pair:
            _write_sample(temporary / SAMPLE, backend, texts)
        if kind == "static":
            np.savez(temporary / BAG, **bag_arrays(model.model))  # type: ignore[arg-type]
        write_graph(temporary, graph, facts)
        if mobile:
            write_mobile(temporary / GRAPH, temporary / MOBILE)
        difference = _difference(folder, model, temporary, texts)
        facts = replace(facts, difference=difference, compared=len(texts))
        write_graph(temporary, graph, facts)
        list_checksums(temporary, without="config.json")
        ExportedPredictor(temporary, threads=1)
    return facts


def _graph(model: Predictor, kind: str) -> Any:
    network: Any = model.model
    if kind == "bilstm":
        return bilstm_graph(network)
    if kind == "static":
        return static_graph(network)
    if kind == "awd_lstm":
        return awd_lstm_graph(network)
    return encoder_graph(network, model.names, longest=model.max_length)


def _facts(model: Predictor, kind: str, inputs: tuple[str, ...]) -> ExportedFacts:
    encoder, own = model.encoder, kind in ("bilstm", "static", "awd_lstm")
    size = model.summary()
    return ExportedFacts(
        of=kind,
        task=model.task,
        max_length=model.max_length,
        temperature=model.temperature,
        inputs=inputs,
        pad_id=encoder.pad_id,
        pad_segment=encoder.pad_segment,
        padding_side="right" if own else encoder.padding_side,  # graphs of our own count from the left
        truncation_side=model.tokenizer.truncation_side,
        spell_special=bool(model.tokenizer.split_special_tokens),
        max_tokens=model.max_tokens or token_budget(device_of(model.model), model.model),
        parameters=size["parameters"],
        embedding_parameters=size["embedding_parameters"],
        difference=0.0,
        compared=0,
    )


def _write_sample(path: Path, backend: Backend, texts: Sequence[Text]) -> None:
    """The texts on which the reader compares nanotoken, and the digest of their ids.

    Only for tokenizers of word pieces, the kind that nanotoken knows; and not if nanotoken, where it is installed, gives
    other ids for the sample or for `texts`.
    """
    if json.loads(backend.content)["model"].get("type") != "WordPiece" or backend.spell_special:
        return
    sample = backend.make_sample()
    limits: dict[str, Any] = {"max_length": backend.max_length, "side": backend.side}
    strings = list(map(as_string, texts))
    makers: list[Callable[[], Sample]] = [lambda: sample, lambda: backend.as_sample(strings)]
    if can_be_fast(backend.content) and not all(
        checked_fast_tokenizer(backend.content, make, **limits) for make in makers
    ):
        return
    path.write_text(json.dumps(sample._asdict()) + "\n", encoding="utf-8")


def write_graph(folder: Path, graph: Any, facts: ExportedFacts) -> None:
    """Write a graph, with the facts in its metadata, and config.json."""
    onnx: Any = require("onnx", extra="onnx")
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, facts.as_metadata())
    outside = graph.ByteSize() > _OUTSIDE
    onnx.save_model(
        graph, str(folder / GRAPH), save_as_external_data=outside, **({"location": f"{GRAPH}.data"} if outside else {})
    )
    (folder / "config.json").write_text(facts.as_config(), encoding="utf-8")


def write_mobile(graph: Path, path: Path) -> None:
    """Write a graph as ONNX Runtime Mobile reads it, with the optimisations that hold on every processor."""
    onnxruntime: Any = require("onnxruntime", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _difference(folder: Path, model: Predictor, written: Path, texts: Sequence[Text]) -> float:
    """The largest difference of a logit between model and folder.

    Raises:
        ModelError: if it is more than :data:`TOLERANCE`.
    """
    expected = model.logits(texts)
    graphs = [name for name in (GRAPH, MOBILE) if (written / name).is_file()]
    found = [ExportedPredictor(written, fast=False, graph=name) for name in graphs]
    if (written / BAG).is_file():
        found.append(ExportedPredictor(written, fast=False))
    alone = np.linspace(0, len(texts) - 1, min(len(texts), 16)).astype(int)
    apart = 0.0
    for one in found:
        apart = max(apart, float(np.abs(one.logits(texts) - expected).max()))
        for row in alone:
            apart = max(apart, float(np.abs(one.logits([texts[row]]) - expected[row]).max()))
    most = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not apart <= most:
        raise ModelError(
            f"{folder}: is not written, because the exported model does not answer as the model itself: a logit differs by {apart:.1e}, and {most:.1e} is the most that is accepted. Please report this architecture ({type(model.model).__name__}); meanwhile distil it into a student that can be exported (layers:N, bilstm, static)."
        )
    return apart
