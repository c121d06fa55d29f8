"""One base in memory with any number of adapters and their heads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from understudy.adapters.facts import AdapterFacts, Base, mean_facts
from understudy.adapters.files import mean_of, put
from understudy.adapters.heads import ApartHead, by_reading, head_of_tensors
from understudy.adapters.hub.as_ours import read_adapter
from understudy.adapters.hub.names import fetched, name_of
from understudy.adapters.inject import adapter_tensors, check_name, remove_adapter, route_of
from understudy.adapters.shared_pass import states_by_row, states_of_each
from understudy.data.batches.by_length import length_batches
from understudy.data.tasks import Task
from understudy.data.tokens.encode import Encoded, collate, encode_in_memory
from understudy.data.tokens.encoder import Text, TextEncoder
from understudy.errors import ModelError, nearest
from understudy.inference.answers import Prediction, check_texts, predictions
from understudy.inference.logits import device_of, parameter_summary, token_budget
from understudy.inference.turns import in_turn
from understudy.models.files.lengths import max_length
from understudy.models.structure.hidden_states import hidden_states
from understudy.models.structure.inputs import settle_inputs
from understudy.models.structure.layers import base_model

_Read = Callable[[np.ndarray, dict[str, Tensor]], None]
"""What is called with the rows of a batch and with what the encoder reads for them."""


class AdaptedBase:
    """A base with any number of adapters: ``understudy.load_base(base)`` makes one.

    Several threads may use one: they take turns, a whole call each, so no call changes what another is answering. What is
    active is so for all of them: threads that ask different adapters name them in each call (``predict(texts, adapters=...)``).

    Args:
        name: the base's name.
        encoder: the base without a head, in evaluation mode.
        tokenizer: its tokenizer.
    """

    def __init__(self, name: str, encoder: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.name, self.encoder, self.tokenizer = name, encoder.eval(), tokenizer
        self.base = Base.of(encoder, name)
        self.facts: dict[str, AdapterFacts] = {}
        """What is known of each adapter, by name."""
        self.heads: dict[str, nn.Module] = {}
        self.active: tuple[str, ...] = ()
        """The adapters that texts pass through, one after the other; the head of the last answers."""
        self._longest = max_length(base_model(encoder).config, tokenizer, None)
        self._inputs = settle_inputs(encoder, tokenizer, answers=lambda *given: hidden_states(*given)[:, 0])
        self.turn = threading.RLock()

    def load_adapter(
        self,
        adapter: str | Path,
        *,
        name: str | None = None,
        force: bool = False,
        pair: bool = False,
        kind: Literal["pfeiffer", "houlsby"] = "pfeiffer",
    ) -> str:
        """Load an adapter beside those that are there, and make it the active one.

        Args:
            adapter: a run that trained one, its model folder, or a hub id of one; also one that AdapterHub's library wrote,
                as a folder, a hub id or an identifier (``sentiment/sst-2@ukp``).
            name: what it is called here; by default as its run's folder, or the end of its hub id.
            force: whether an adapter is accepted whose base has other weights of the same shape, or another name.
            pair: whether the head of one of AdapterHub's reads pairs: its files do not say.
            kind: of an identifier: which of the two adapters that AdapterHub has for it.

        Returns:
            Its name.

        Raises:
            ModelError: if it does not belong to this base, or there is one of this name.
        """
        origin = str(adapter)
        folder = fetched(origin, base=self.name, kind=kind)
        name = name_of(origin, folder) if name is None else name
        if name in self.facts:
            raise ModelError(
                f"{adapter}: there is an adapter '{name}' already. Give this one another name: load_adapter(..., name=...)."
            )
        about: dict[str, Any] = {"base": self.name, "length": self._longest, "force": force, "pair": pair}
        with self.turn:
            facts, weights, tensors = read_adapter(folder, self.encoder, **about)
            facts.check_shares(origin=origin)
            head = None
            if facts.head is not None:
                assert facts.task is not None
                head = head_of_tensors(self.encoder, facts.head, facts.task, facts.head_options, tensors, origin=origin)
            self._place(name, facts, weights, head, origin=origin)
        return name

    @in_turn
    def average(self, names: Sequence[str], *, name: str) -> str:
        """A new adapter whose weights, and whose head's, are the means of several adapters of one task and one shape.

        Raises:
            ModelError: if they are not of one task and one shape.

        Reference:
            Wang et al. 2022, "AdaMix", arXiv 2205.12410, section 3.4; Chronopoulou et al. 2023, arXiv 2302.07027.
        """
        facts = mean_facts(names, [self.facts[self._known(one)] for one in names], force=True)  # all are in one base
        weights = [adapter_tensors(self.encoder, one) for one in names]
        head = None
        if names[0] in self.heads:
            head = copy.deepcopy(self.heads[names[0]])
            head.load_state_dict(mean_of([self.heads[one].state_dict() for one in names]))
        self._place(name, facts, mean_of(weights), head, origin=name)
        return name

    @in_turn
    def set_active(self, *names: str) -> None:
        """Choose the adapters that texts pass through, in this order; the head of the last answers.

        Raises:
            ModelError: if there is no such adapter.
        """
        self.active = tuple(map(self._known, names))

    @in_turn
    def remove(self, name: str) -> None:
        """Take an adapter out of memory."""
        remove_adapter(self.encoder, self._known(name))
        self.facts.pop(name)
        self.heads.pop(name, None)
        self.active = tuple(one for one in self.active if one != name)

    @in_turn
    def logits(self, texts: Sequence[Text], *, adapters: Sequence[str] = ()) -> list[np.ndarray]:
        """The outputs of each text, ``(outputs,)`` of its task.

        Args:
            texts: strings, or pairs where the task has two texts.
            adapters: for each text the adapter that it passes through; by default all pass through the active ones.

        Raises:
            ValueError: if `texts` is one bare string, there are not as many adapters as texts, or a text is not what its
                task has.
            ModelError: if there is no such adapter, or it has no head.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts must be a list of texts, but is the string {texts!r:.80}. Put it in a list.")
        if adapters and len(adapters) != len(texts):
            raise ValueError(f"there must be an adapter for each text, but {len(texts)} texts have {len(adapters)}")
        if not adapters and not self.active:
            raise ModelError("no adapter is active. Load one with load_adapter, or choose with set_active.")
        chosen = list(map(self._answering, adapters)) or [self._answering(self.active[-1])] * len(texts)
        for name in dict.fromkeys(chosen):
            check_texts([text for text, one in zip(texts, chosen) if one == name], self._task(name))
        names = tuple(self.facts)  # all of them: what is kept side by side for them serves every batch
        numbers = torch.tensor([names.index(name) for name in chosen])
        limits = np.array([self.facts[name].max_length for name in chosen])
        found: list[Any] = [None] * len(texts)

        def read(rows: np.ndarray, inputs: dict[str, Tensor]) -> None:
            ids = inputs["input_ids"]
            own = numbers[rows].to(ids.device).repeat(len(ids) // len(rows))
            if len(set(chosen)) > 1:
                states = states_by_row(self.encoder, inputs, names, own)
            else:
                route_of(self.encoder).through(*(chosen[:1] if adapters else self.active))
                states = self.encoder(**inputs)[0]
            for i, name in enumerate(names):
                held = own == i
                if held.any():
                    answered = self._answer(name, states[held], inputs["attention_mask"][held])
                    for row, outputs in zip(rows[held[: len(rows)].cpu().numpy()], answered):
                        found[row] = outputs

        for some in by_reading(self.heads, {name: self._task(name).is_pair for name in chosen}):
            rows, head = np.flatnonzero(np.isin(chosen, some)), self.heads[some[0]]
            alike, own = [texts[row] for row in rows.tolist()], limits[rows]
            encoded = self._encoded(alike, int(own.max()))
            cut = encoded.lengths > own
            self._through(encoded, rows, ~cut, read, head)
            for limit in np.unique(own[cut]).tolist():
                self._through(self._encoded(alike, limit), rows, cut & (own == limit), read, head)
        return found

    @in_turn
    def logits_of_each(self, texts: Sequence[Text]) -> dict[str, np.ndarray]:
        """The outputs of every adapter with a head for every text: ``(texts, outputs)`` by adapter.

        What lies below the lowest adapter is computed once for all of them.
        """
        names = tuple(name for name in self.facts if name in self.heads)
        if not names:
            raise ModelError("there is no adapter with a head. Load one with load_adapter.")
        for name in names:
            check_texts(texts, self._task(name))
        found = {name: np.empty((len(texts), self._task(name).outputs), np.float32) for name in names}
        limits = {name: self.facts[name].max_length for name in names}
        encoded = self._encoded(texts, max(limits.values()))
        alike = encoded.lengths <= min(limits.values())
        self._each_of(names, encoded, alike, found)
        if not alike.all():  # of a longer text they do not all read the same
            for limit in sorted(set(limits.values())):
                some = tuple(name for name in names if limits[name] == limit)
                self._each_of(some, self._encoded(texts, limit), ~alike, found)
        return found

    def _each_of(self, names: tuple[str, ...], encoded: Encoded, chosen: np.ndarray, found: dict[str, Any]) -> None:
        """Put the outputs of some adapters for the chosen texts in their places."""
        for some in by_reading(self.heads, {name: self._task(name).is_pair for name in names}):

            def read(rows: np.ndarray, inputs: dict[str, Tensor], some: tuple[str, ...] = some) -> None:
                states = states_of_each(self.encoder, inputs, some)
                for name, own in zip(some, states):
                    found[name][rows] = self._answer(name, own, inputs["attention_mask"])

            self._through(encoded, np.arange(len(encoded)), chosen, read, self.heads[some[0]])

    @in_turn
    def predict(self, texts: Sequence[Text], *, adapters: Sequence[str] = ()) -> list[Prediction]:
        """Labels and probabilities for texts, in their order.

        Args:
            adapters: as in :meth:`logits`.
        """
        chosen = list(adapters) or [*self.active[-1:]] * len(texts)
        rows = self.logits(texts, adapters=adapters)
        return [self._said(name, row[None])[0] for row, name in zip(rows, chosen)]

    @in_turn
    def predict_each(self, texts: Sequence[Text]) -> dict[str, list[Prediction]]:
        """Labels and probabilities of every adapter with a head for every text, by adapter."""
        return {name: self._said(name, rows) for name, rows in self.logits_of_each(texts).items()}

    def summary(self) -> dict[str, int]:
        """Parameters and bytes of the base with all adapters and heads."""
        return parameter_summary(nn.ModuleList([self.encoder, *self.heads.values()]))

    def _place(
        self, name: str, facts: AdapterFacts, weights: dict[str, Tensor], head: nn.Module | None, *, origin: str
    ) -> None:
        check_name(self.encoder, name)
        try:
            put(self.encoder, name, facts, weights, origin=origin, shares=True)
        except ModelError:
            remove_adapter(self.encoder, name)
            raise
        self.facts[name] = facts
        if head is not None:
            self.heads[name] = head.to(device_of(self.encoder)).eval()
        self.active = (name,)

    def _through(self, encoded: Encoded, rows: np.ndarray, own: np.ndarray, read: _Read, head: nn.Module) -> None:
        """Read those of the encoded texts that `own` marks, in batches of similar length, in a head's way; `rows` numbers all."""
        device, padded = device_of(self.encoder), "attention_mask" in self._inputs
        budget, more = token_budget(device, self.encoder), ["token_type_ids"] * isinstance(head, ApartHead)
        names = list(dict.fromkeys([*self._inputs, "attention_mask", *more]))
        own, tight = np.flatnonzero(own), device.type == "cpu"
        with torch.inference_mode():
            for batch in length_batches(encoded.lengths[own], max_tokens=budget, padded=padded, tight=tight):
                part = collate(encoded, own[batch], names=names)
                inputs = {name: value.to(device) for name, value in part.items()}
                read(rows[own[batch]], head.split(inputs) if isinstance(head, ApartHead) else inputs)

    def _encoded(self, texts: Sequence[Text], length: int) -> Encoded:
        return encode_in_memory(TextEncoder(self.tokenizer, max_length=length), texts)

    def _answer(self, name: str, states: Tensor, mask: Tensor) -> np.ndarray:
        answered: Tensor = self.heads[name](states, mask)
        return answered.float().cpu().numpy()

    def _said(self, name: str, rows: np.ndarray) -> list[Prediction]:
        return predictions(rows, self._task(name), temperature=self.facts[name].temperature)

    def _task(self, name: str) -> Task:
        task = self.facts[name].task
        assert task is not None
        return task

    def _answering(self, name: str) -> str:
        if self._known(name) not in self.heads:
            raise ModelError(f"the adapter '{name}' has no head, so it answers nothing. Stack one with a head on it.")
        return name

    def _known(self, name: str) -> str:
        if name not in self.facts:
            raise ModelError(
                f"there is no adapter '{name}'.{nearest(name, self.facts)} There are: {', '.join(self.facts) or 'none yet'}."
            )
        return name
