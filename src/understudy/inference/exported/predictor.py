"""An exported model that answers for raw text: ONNX Runtime or, for a static model, NumPy alone. No torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from understudy.checksums import DamagedFile, check_listed
from understudy.data.batches.by_length import length_batches
from understudy.data.tasks import Text
from understudy.data.tokens.backend import Backend, chunks_of
from understudy.data.tokens.fast import Sample
from understudy.data.tokens.padding import padded_arrays
from understudy.errors import ModelError, UnderstudyError, require
from understudy.inference.answering import Answering
from understudy.inference.answers import check_texts
from understudy.inference.exported.bag import Bag
from understudy.inference.exported.facts import BAG, GRAPH, SAMPLE, TOKENIZER, ExportedFacts

_AGAIN = "Copy the folder again, or export the model again."


class ExportedPredictor(Answering):
    """A folder that ``understudy export`` wrote, ready for raw text: the answers of the model that it was made of.

    Args:
        folder: with the graph, the tokenizer and what is known of them.
        threads: of the processor, for one batch; as ONNX Runtime chooses by default.
        fast: whether nanotoken may encode, see :mod:`understudy.data.tokens.fast`.
        graph: a graph of the folder to compute with, ``model.onnx`` or ``model.ort``; by default ``model.onnx``, and of a
            static model none, because NumPy computes it.

    Raises:
        ModelError: if the folder is no exported model, or is damaged.
        UnderstudyError: if ONNX Runtime is needed and not installed.
    """

    def __init__(
        self, folder: str | Path, *, threads: int | None = None, fast: bool = True, graph: str | None = None
    ) -> None:
        self.folder, self.threads = Path(folder), threads
        self.facts = ExportedFacts.read(self.folder)
        try:
            check_listed(self.folder, weights=False)
        except (DamagedFile, OSError) as error:
            raise ModelError(f"{folder}: {error}. {_AGAIN}") from None
        self.task, self.temperature = self.facts.task, self.facts.temperature
        self.encoder = self._encoder(fast)
        as_bag = (self.folder / BAG).is_file() and graph is None
        self._graph = self.folder / (graph or GRAPH)
        self._bag = Bag.load(self.folder / BAG, pair=self.task.is_pair) if as_bag else None
        self._session = None if as_bag else _session(self._graph, threads)

    def logits(self, texts: Sequence[Text]) -> np.ndarray:
        """Outputs for texts, in their order: float32 ``(texts, outputs)``. Several texts are batched by length.

        Raises:
            ValueError: if a text is not what the task has (a string, or a pair of strings).
            ModelError: if there are not as many outputs as labels, or an answer is not a finite number.
        """
        check_texts(texts, self.task)
        found = self._one(texts[0]) if len(texts) == 1 else self._many(texts)
        if not np.isfinite(found).all():
            raise ModelError(f"{self.folder}: its answers are not finite numbers, so they say nothing. {_AGAIN}")
        return found

    def encode(self, texts: Sequence[Text]) -> np.ndarray:
        """Refuse: a graph gives logits and nothing before them.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            f"{self.folder}: is an exported model, which gives answers but no vectors. Load the model that it was made of."
        )

    def summary(self) -> dict[str, int]:
        """Parameters, and the bytes of the file that the answers come from."""
        size = os.path.getsize(self._graph if self._bag is None else self.folder / BAG)
        outside = self.folder / f"{GRAPH}.data"
        return {
            "parameters": self.facts.parameters,
            "trainable_parameters": 0,
            "embedding_parameters": self.facts.embedding_parameters,
            "size_bytes": size + (outside.stat().st_size if self._bag is None and outside.is_file() else 0),
        }

    def fingerprint(self) -> str:
        """SHA-256 of what the logits depend on: the graph or the table, the tokenizer, how texts are read."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        facts = self.facts
        sides = [facts.padding_side, facts.truncation_side, facts.spell_special, facts.pad_id, facts.pad_segment]
        found = hashlib.sha256(json.dumps(["exported", facts.max_length, facts.inputs, *sides]).encode())
        for path in sorted([*self.folder.glob(f"{GRAPH}*"), *self.folder.glob(BAG)]):
            found.update(path.read_bytes())
        found.update(self.encoder.content.encode())
        return found.hexdigest()

    def _encoder(self, fast: bool) -> Backend:
        facts, path = self.facts, self.folder / TOKENIZER
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # `tokenizers` raises exactly this class
            raise ModelError(f"{path}: the tokenizer cannot be read ({error}). {_AGAIN}") from None
        sample = None
        if fast and (self.folder / SAMPLE).is_file():
            try:
                told = json.loads((self.folder / SAMPLE).read_text(encoding="utf-8"))
                sample = Sample([str(text) for text in told["texts"]], str(told["digest"]))
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise ModelError(f"{self.folder / SAMPLE}: cannot be read ({error}). {_AGAIN}") from None
        return Backend(
            tokenizer,
            max_length=facts.max_length,
            side="left" if facts.truncation_side == "left" else "right",
            spell_special=facts.spell_special,
            sample=sample,
            fast=sample is not None,
        )

    def _one(self, text: Text) -> np.ndarray:
        ids, segments = self.encoder.one(text)
        if self._bag is not None and not self.task.is_pair:
            return self._of_bag(self._bag.one, ids or [self.facts.pad_id])
        if self._bag is not None:
            row = np.array(ids or [self.facts.pad_id], np.int64)
            kinds = None if segments is None else np.array(segments or [self.facts.pad_segment], np.int64)
            return self._of_bag(self._bag.logits, row, np.array([0, len(row)]), kinds)
        return self._run(self._fed(ids, segments))

    def inputs_of(self, text: Text) -> dict[str, np.ndarray]:
        """What the graph is fed for one text, by name: int64 ``(1, tokens)``."""
        return self._fed(*self.encoder.one(text))

    def _fed(self, ids: list[int], segments: list[int] | None) -> dict[str, np.ndarray]:
        row = np.array([ids or [self.facts.pad_id]], np.int64)
        kinds = None if segments is None else np.array([segments or [self.facts.pad_segment]], np.int64)
        inputs = {"input_ids": row}
        if "attention_mask" in self.facts.inputs:
            inputs["attention_mask"] = np.ones_like(row)
        if "token_type_ids" in self.facts.inputs:
            inputs["token_type_ids"] = np.zeros_like(row) if kinds is None else kinds
        return inputs

    def _many(self, texts: Sequence[Text]) -> np.ndarray:
        found = [np.empty((0, self.task.outputs), np.float32)]
        for chunk in chunks_of(texts):
            part = self.encoder.part(chunk)
            offsets = np.concatenate([[0], np.cumsum(part.lengths)])
            if self._bag is None:
                found.append(self._batched(part.ids, offsets, part.segments))
                continue
            ids, lengths, segments = part
            if not lengths.all():  # a text without a token is one token of padding
                ids = np.insert(ids, offsets[:-1][lengths == 0], self.facts.pad_id)
                if segments is not None:
                    segments = np.insert(segments, offsets[:-1][lengths == 0], self.facts.pad_segment)
                offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))])
            found.append(self._of_bag(self._bag.logits, ids, offsets, segments))
        return np.concatenate(found)

    def _batched(self, ids: np.ndarray, offsets: np.ndarray, segments: np.ndarray | None) -> np.ndarray:
        facts = self.facts
        out = np.empty((len(offsets) - 1, self.task.outputs), np.float32)
        masked = "attention_mask" in facts.inputs
        # the large matrices of an AWD-LSTM are read anew for every token, so many rows at once are faster
        tight = facts.of != "awd_lstm"
        for rows in length_batches(np.diff(offsets), max_tokens=facts.max_tokens, padded=masked, tight=tight):
            out[rows] = self._run(
                padded_arrays(
                    *(ids, offsets, segments, rows),
                    names=facts.inputs,
                    pad_id=facts.pad_id,
                    pad_segment=facts.pad_segment,
                    side=facts.padding_side,
                )
            )
        return out

    def _of_bag(self, answer: Callable[..., np.ndarray], *read: Any) -> np.ndarray:
        try:
            found = answer(*read)
        except (IndexError, KeyError, ValueError) as error:  # arrays of one model beside the tokenizer of another
            raise ModelError(f"{self.folder / BAG}: cannot be computed ({error}). {_AGAIN}") from error
        return self._as_told(found)

    def _run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        assert self._session is not None
        try:
            found: np.ndarray = self._session.run(None, inputs)[0]
        except Exception as error:  # ONNX Runtime's own classes, which need not be the same in every version
            raise ModelError(
                f"{self._graph}: cannot be computed ({' '.join(str(error).split())[:200]}). {_AGAIN}"
            ) from error
        return self._as_told(found)

    def _as_told(self, found: np.ndarray) -> np.ndarray:
        """Outputs that are as many as config.json, which may be edited, has labels."""
        if found.shape[1] != self.task.outputs:
            raise ModelError(
                f"{self.folder}: the model has {found.shape[1]} outputs, but config.json tells {self.task.outputs} labels. Give a name to each output there, in their order."
            )
        return found


def _session(path: Path, threads: int | None) -> Any:
    """The graph, ready to be computed.

    Raises:
        ModelError: if it is missing or is no graph.
    """
    if not path.is_file():
        raise ModelError(f"{path}: is missing. {_AGAIN}")
    onnxruntime = require("onnxruntime", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except UnderstudyError:
        raise
    except Exception as error:  # ONNX Runtime's own classes
        raise ModelError(
            f"{path}: is no ONNX graph that ONNX Runtime {onnxruntime.__version__} can read ({' '.join(str(error).split())[:200]}). {_AGAIN} Weights of four bits need ONNX Runtime 1.23 or newer."
        ) from None
