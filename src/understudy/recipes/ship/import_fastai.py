"""``understudy import fastai``: fast.ai's published AWD-LSTM language models as ours."""

from __future__ import annotations

from pathlib import Path

from understudy.data.tokens.fastai_words import NOT_REPRODUCED, fastai_tokenizer
from understudy.errors import ModelError, gathered
from understudy.models.awd_lstm.fastai import awd_lstm_from_fastai
from understudy.models.awd_lstm.fastai_files import read_vocabulary, read_weights
from understudy.models.files.lengths import max_length
from understudy.models.files.names import fine_tune, pretrain
from understudy.runs.saving import save_language_model
from understudy.settings.configuration import check
from understudy.settings.ship.import_fastai import ImportFastaiSettings
from understudy.terminal.lines import show


class ImportFastai(ImportFastaiSettings):
    """Make a model folder of a fast.ai language model: its weights and its vocabulary. No code in these files is executed."""

    def run(self) -> Path:
        """Read, convert, save; the folder.

        Raises:
            UnderstudyError: if a file cannot be read, or weights and vocabulary do not belong together.
        """
        check(self)
        paths = [Path(value).expanduser() for value in (self.weights, self.vocabulary)]
        weights, words, faults = None, None, list[str]()
        with gathered(faults):
            weights = read_weights(paths[0])
        with gathered(faults):
            words = read_vocabulary(paths[1])
        if weights is None or words is None:
            raise ModelError(*faults)
        tokenizer = fastai_tokenizer(words)
        model = awd_lstm_from_fastai(
            weights, pad_token_id=tokenizer.pad_token_id, backward=self.backward, name=str(paths[0])
        )
        if model.config.vocab_size != len(words):
            raise ModelError(
                f"{paths[1]}: has {len(words):,} words, but the weights are for {model.config.vocab_size:,}: they do not belong together. Give the vocabulary that was published with the weights."
            )
        folder = Path(self.output).expanduser()
        length = max_length(model.config, tokenizer, None)
        save_language_model(folder, model, tokenizer, max_length=length, texts=[" ".join(words[:100])])
        config = model.config
        show(
            f"{folder}: an AWD-LSTM of {config.num_hidden_layers} layers, {config.embedding_size}/{config.hidden_size}, {len(words):,} words{', backward' if config.backward else ''}; {model.num_parameters():,} parameters."
        )
        for note in self._notes(paths[0], alone="1.decoder.weight" not in weights):
            show(note)
        show("Texts are cut as fast.ai cut them, except for:")
        for exception in NOT_REPRODUCED:
            show(f"  {exception}")
        show(f"Go on with:\n  {pretrain(str(folder))}\n  {fine_tune(str(folder))}")
        return folder

    def _notes(self, path: Path, *, alone: bool) -> list[str]:
        notes = []
        if alone:
            notes.append(
                f"{path}: is an encoder alone; it predicts with its embeddings, and its output bias starts at zero."
            )
        if not self.backward and "bwd" in path.name:
            notes.append(f"{path}: is called a backward model; if it is one, import it again with --backward.")
        return notes
