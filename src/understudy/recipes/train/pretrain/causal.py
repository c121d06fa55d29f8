"""Pretraining of models that predict the next token: an AWD-LSTM on streams, a transformer on blocks."""

from __future__ import annotations

from typing import Any

import torch

from understudy.data.batches.blocks import CausalBlocks, scoring_blocks
from understudy.data.batches.streams import SCORING_STREAMS, StreamBatches, scoring_batches
from understudy.data.readers.corpus import Corpus
from understudy.data.readers.faults import counted
from understudy.data.texts import Texts
from understudy.data.tokens.end_of_text import encode_streams
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ConfigError, DataError
from understudy.inference.logits import token_budget
from understudy.models.awd_lstm.config import set_reading
from understudy.models.files.lengths import max_length
from understudy.models.files.tokenizers import load_tokenizer
from understudy.models.language import LanguageModel, build_awd_lstm, load_next_token_model
from understudy.objectives.language_model import CausalLM, RecurrentLM, language_scores, tokens_at_once
from understudy.recipes.train.pretrain.new_vocabulary import carry
from understudy.recipes.train.pretrain.work import LanguageWork
from understudy.runs.devices import processes
from understudy.runs.text_limits import text_length, unknown_notes
from understudy.settings.train.pretrain import NEW, PretrainSettings

_VOCABULARY, _BPTT = "bpe:8000", 70


class NextToken(LanguageWork):
    """What both kinds share: a model that may get a new vocabulary, and encoded texts."""

    kind = "language_model"

    def __init__(self, settings: PretrainSettings, corpus: Corpus, loaded: LanguageModel) -> None:
        super().__init__(settings, corpus)
        self.model, self.tokenizer, notes = carry(
            *loaded, corpus.train, vocabulary=settings.vocabulary, cased=settings.cased
        )
        self.trained_before = settings.model != NEW
        self.parts = {name: encode_streams(texts, self.tokenizer) for name, texts in corpus.texts().items()}
        self._check_parts()
        remedy = {} if self.trained_before else {"remedy": "give a larger --tokenizer (bpe:16000, say)"}
        self.notes = [*notes, *unknown_notes(self.parts, self.tokenizer, **remedy)]

    def _check_parts(self) -> None:
        """Check that each part has a token to predict.

        Raises:
            DataError: with every part that has none.
        """
        few = {name: len(encoded.ids) for name, encoded in self.parts.items() if len(encoded.ids) < 2}
        if few:
            raise DataError(
                *(
                    f"{name}: the model's tokenizer makes {counted(tokens, 'token')} of all its texts, but the first one is only read, so at least 2 are needed. Give text that the tokenizer knows, or more of it."
                    for name, tokens in few.items()
                )
            )


class Streams(NextToken):
    """An AWD-LSTM on streams of text that continue from window to window."""

    rows = "streams"

    def __init__(self, settings: PretrainSettings, corpus: Corpus) -> None:
        if settings.max_length is not None:
            raise ConfigError(
                "--max_length is for models that read blocks; an AWD-LSTM reads on from window to window. Leave it out, or give --bptt instead."
            )
        new = settings.model == NEW
        super().__init__(
            settings, corpus, _new_awd_lstm(settings, corpus.train) if new else _trained_awd_lstm(settings)
        )
        self.learning_rate = 3e-3 if new else 4e-3
        self.length = max_length(self.model.config, self.tokenizer, None)
        state = processes()
        try:
            self.batches = StreamBatches(
                self.parts["train"],
                streams=settings.batch_size,
                bptt=self.model.config.bptt,
                seed=settings.seed,
                backward=self.model.config.backward,
                max_tokens=settings.max_tokens or tokens_at_once(self.model, state.device),
                world_size=state.num_processes,
                rank=state.process_index,
            )
        except ValueError as error:
            raise ConfigError(
                f"batch_size {settings.batch_size}: {error}. Give a smaller --batch_size, or more text."
            ) from None
        self._learn(RecurrentLM(self.model, alpha=settings.awd_lstm.alpha, beta=settings.awd_lstm.beta))

    def scores(self, model: Any, part: str, device: torch.device) -> dict[str, float]:
        """Loss, perplexity and accuracy of a model on a part of the corpus, read as streams."""
        window = min(64, max(1, tokens_at_once(model, device) // SCORING_STREAMS))
        batches = scoring_batches(self.parts[part], backward=self.model.config.backward, window=window)
        return language_scores(model, batches, device=device)


class Blocks(NextToken):
    """A causal transformer on blocks of ``--max_length`` tokens."""

    rows = "blocks"
    learning_rate = 5e-5

    def __init__(self, settings: PretrainSettings, corpus: Corpus) -> None:
        if settings.bptt is not None:
            raise ConfigError(
                f"--bptt is for an AWD-LSTM, but {settings.model} reads blocks. Leave it out, or give --max_length instead."
            )
        loaded = load_next_token_model(settings.model)
        set_reading(loaded.model, name=settings.model, gradient_tokens=None, drop_mult=settings.drop_mult)
        super().__init__(settings, corpus, loaded)
        self.length = text_length(self.model, self.tokenizer, settings.max_length)
        state, objective = processes(), CausalLM(self.model)
        most = token_budget(state.device)
        if objective.head is None:
            most = min(most, tokens_at_once(self.model, state.device))
        self.max_tokens = settings.max_tokens or most
        try:
            self.batches = CausalBlocks(
                self.parts["train"],
                length=self.length,
                batch_size=settings.batch_size,
                max_tokens=self.max_tokens,
                seed=settings.seed,
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


def _new_awd_lstm(settings: PretrainSettings, texts: Texts) -> LanguageModel:
    """An untrained model over a vocabulary of its own."""
    spec = settings.tokenizer or _VOCABULARY
    if spec.partition(":")[0] in ("bpe", "words"):
        each = (text for (text,) in texts)
        tokenizer = train_tokenizer(each, spec, lowercase=not settings.cased, marks_beginning=False)
    else:
        tokenizer = load_tokenizer(spec)
    options = settings.awd_lstm
    torch.manual_seed(settings.seed)
    model = build_awd_lstm(
        tokenizer,
        embedding=options.embedding,
        hidden=options.hidden,
        layers=options.layers,
        tied=options.tied,
        drop_mult=1.0 if settings.drop_mult is None else settings.drop_mult,
        bptt=settings.bptt or _BPTT,
        backward=settings.backward,
    )
    return LanguageModel(model, tokenizer)


def _trained_awd_lstm(settings: PretrainSettings) -> LanguageModel:
    """A model that is trained further, as the settings change it."""
    loaded = load_next_token_model(settings.model)
    set_reading(loaded.model, name=settings.model, gradient_tokens=None, drop_mult=settings.drop_mult)
    loaded.model.config.bptt = settings.bptt or loaded.model.config.bptt
    return loaded
