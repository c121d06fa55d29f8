"""Pretraining of models that say the next token: an AWD-LSTM on streams, a transformer on blocks."""

from __future__ import annotations

from typing import Any

import torch

from understudy.data.batches.blocks import CausalBlocks, scoring_blocks
from understudy.data.batches.streams import SCORING_STREAMS, StreamBatches, scoring_batches
from understudy.data.readers.corpus import Corpus
from understudy.data.texts import Texts
from understudy.data.tokens.end_of_text import encode_streams
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ConfigError
from understudy.inference.logits import token_budget
from understudy.models.awd_lstm.config import set_reading
from understudy.models.files.load import load_tokenizer, max_length
from understudy.models.language import LanguageModel, build_awd_lstm, load_next_token_model
from understudy.objectives.language_model import CausalLM, RecurrentLM, language_scores, tokens_at_once
from understudy.recipes.train.pretrain.new_vocabulary import carry
from understudy.recipes.train.pretrain.pretraining import Work, unknown_notes
from understudy.runs.devices import processes
from understudy.runs.reading import text_length
from understudy.settings.train.pretrain import NEW, Pretrain

_VOCABULARY, _BPTT = "bpe:8000", 70


class NextToken(Work):
    """What both kinds share: a model that may have to learn new words, and encoded texts."""

    kind = "language_model"

    def __init__(self, recipe: Pretrain, corpus: Corpus, loaded: LanguageModel) -> None:
        self.recipe = recipe
        self.model, self.tokenizer, notes = carry(
            *loaded, corpus.train, vocabulary=recipe.vocabulary, cased=recipe.cased
        )
        self.trained_before = recipe.model != NEW
        self.parts = {name: encode_streams(texts, self.tokenizer) for name, texts in corpus.texts().items()}
        remedy = {} if self.trained_before else {"remedy": "give a larger --tokenizer (bpe:16000, say)"}
        self.notes = [*notes, *unknown_notes(self.parts, self.tokenizer, **remedy)]


class Streams(NextToken):
    """An AWD-LSTM on streams of text that go on from window to window."""

    terms = ("cross_entropy", "activation", "temporal")
    rows = "streams"

    def __init__(self, recipe: Pretrain, corpus: Corpus) -> None:
        if recipe.max_length is not None:
            raise ConfigError(
                "--max_length is for models that read blocks; an AWD-LSTM reads on from window to window. Leave it out, or give --bptt."
            )
        new = recipe.model == NEW
        super().__init__(recipe, corpus, _new_awd_lstm(recipe, corpus.train) if new else _trained_awd_lstm(recipe))
        self.learning_rate = 3e-3 if new else 4e-3
        self.length = max_length(self.model.config, self.tokenizer, None)
        state = processes()
        try:
            self.batches = StreamBatches(
                self.parts["train"],
                streams=recipe.batch_size,
                bptt=self.model.config.bptt,
                seed=recipe.seed,
                backward=self.model.config.backward,
                max_tokens=recipe.max_tokens or tokens_at_once(self.model, state.device),
                world_size=state.num_processes,
                rank=state.process_index,
            )
        except ValueError as error:
            raise ConfigError(
                f"batch_size {recipe.batch_size}: {error}. Give a smaller --batch_size, or more text."
            ) from None
        self._learn(RecurrentLM(self.model, alpha=recipe.awd_lstm.alpha, beta=recipe.awd_lstm.beta))

    def scores(self, model: Any, part: str, device: torch.device) -> dict[str, float]:
        """Loss, perplexity and accuracy of a model on a part of the corpus, read as streams."""
        window = min(64, max(1, tokens_at_once(model, device) // SCORING_STREAMS))
        batches = scoring_batches(self.parts[part], backward=self.model.config.backward, window=window)
        return language_scores(model, batches, device=device)


class Blocks(NextToken):
    """A causal transformer on blocks of ``--max_length`` tokens."""

    terms = ("cross_entropy",)
    rows = "blocks"
    learning_rate = 5e-5

    def __init__(self, recipe: Pretrain, corpus: Corpus) -> None:
        if recipe.bptt is not None:
            raise ConfigError(
                f"--bptt is for an AWD-LSTM, but {recipe.model} reads blocks. Leave it out, or give --max_length."
            )
        loaded = load_next_token_model(recipe.model)
        set_reading(loaded.model, name=recipe.model, gradient_tokens=None, drop_mult=recipe.drop_mult)
        super().__init__(recipe, corpus, loaded)
        self.length = text_length(self.model, self.tokenizer, recipe.max_length)
        state, objective = processes(), CausalLM(self.model)
        most = token_budget(state.device)
        if objective.head is None:
            most = min(most, tokens_at_once(self.model, state.device))
        self.max_tokens = recipe.max_tokens or most
        try:
            self.batches = CausalBlocks(
                self.parts["train"],
                length=self.length,
                batch_size=recipe.batch_size,
                max_tokens=self.max_tokens,
                seed=recipe.seed,
                world_size=state.num_processes,
                rank=state.process_index,
            )
        except ValueError as error:
            raise ConfigError(f"{error}. Give a larger --batch_size, or more text.") from None
        self._learn(objective)

    def scores(self, model: Any, part: str, device: torch.device) -> dict[str, float]:
        """Loss, perplexity and accuracy of a model on a part of the corpus, read as blocks."""
        batches = scoring_blocks(self.parts[part], length=self.length, max_tokens=self.max_tokens)
        return language_scores(model, batches, device=device)


def _new_awd_lstm(recipe: Pretrain, texts: Texts) -> LanguageModel:
    """An untrained model over a vocabulary of its own."""
    spec = recipe.tokenizer or _VOCABULARY
    if spec.partition(":")[0] in ("bpe", "words"):
        each = (text for (text,) in texts)
        tokenizer = train_tokenizer(each, spec, lowercase=not recipe.cased, marks_beginning=False)
    else:
        tokenizer = load_tokenizer(spec)
    options = recipe.awd_lstm
    torch.manual_seed(recipe.seed)
    model = build_awd_lstm(
        tokenizer,
        embedding=options.embedding,
        hidden=options.hidden,
        layers=options.layers,
        tied=options.tied,
        drop_mult=1.0 if recipe.drop_mult is None else recipe.drop_mult,
        bptt=recipe.bptt or _BPTT,
        backward=recipe.backward,
    )
    return LanguageModel(model, tokenizer)


def _trained_awd_lstm(recipe: Pretrain) -> LanguageModel:
    """A model that is trained further, with what the settings change of it."""
    loaded = load_next_token_model(recipe.model)
    set_reading(loaded.model, name=recipe.model, gradient_tokens=None, drop_mult=recipe.drop_mult)
    loaded.model.config.bptt = recipe.bptt or loaded.model.config.bptt
    return loaded
