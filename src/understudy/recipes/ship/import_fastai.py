"""``understudy import fastai``: fast.ai's published AWD-LSTM language models as ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from understudy.atomic import is_temporary
from understudy.settings.configuration import check

_OF_A_MODEL = (".json", ".safetensors", ".jinja", ".txt", ".md")
"""How the names of a model's files end."""


@dataclass(kw_only=True)
class ImportFastai:
    """Make a model folder of a fast.ai language model: its weights and its vocabulary, neither of which is run."""

    positional: ClassVar[tuple[str, ...]] = ("weights", "vocabulary")
    weights: str = ""
    """The weights: .pth or .h5 of fast.ai 0.7, 1 or 2, or .safetensors; also as a bare word
    (`understudy import fastai weights.pth itos.pkl`)."""
    vocabulary: str = ""
    """The vocabulary: itos.pkl, a pickled list of words, or the same as .json; also as a bare word."""
    output: str = ""
    """The folder to make."""
    backward: bool = False
    """The model was trained on reversed text, as fast.ai's `bwd` models were."""
    overwrite: bool = False
    """Replace --output if it exists."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        faults = []
        for name, what in (("weights", "a .pth file"), ("vocabulary", "fast.ai's itos.pkl")):
            value = getattr(self, name)
            if not value:
                faults.append(
                    f"no {name}: name {what}, as in: understudy import fastai weights.pth itos.pkl --output runs/wt103."
                )
            elif not Path(value).expanduser().is_file():
                faults.append(f"{value}: no such file. Check the path.")
        if not self.output:
            faults.append("no output: name the folder to make with --output.")
        elif Path(self.output).expanduser().is_file():
            faults.append(f"{self.output}: is a file. Name another --output.")
        elif Path(self.output).expanduser().exists() and not self.overwrite:
            faults.append(f"{self.output}: exists already. Name another --output, or give --overwrite.")
        elif not is_replaceable(Path(self.output).expanduser()):
            faults.append(f"{self.output}: the folder is not empty and holds no model. Name another --output.")
        return faults

    def run(self) -> Path:
        """Read, convert, save; the folder.

        Raises:
            UnderstudyError: if a file cannot be read, or weights and vocabulary do not belong together.
        """
        check(self)
        from understudy.data.tokens.fastai_words import NOT_REPRODUCED, fastai_tokenizer
        from understudy.errors import ModelError, UnderstudyError
        from understudy.models.awd_lstm.fastai import awd_lstm_from_fastai
        from understudy.models.awd_lstm.fastai_files import read_vocabulary, read_weights
        from understudy.models.files.lengths import max_length
        from understudy.models.files.save import save_model

        paths = [Path(value).expanduser() for value in (self.weights, self.vocabulary)]
        weights, words, faults = None, None, list[str]()
        try:
            weights = read_weights(paths[0])
        except UnderstudyError as error:
            faults += error.faults
        try:
            words = read_vocabulary(paths[1])
        except UnderstudyError as error:
            faults += error.faults
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
        save_model(folder, model, tokenizer, task=None, max_length=max_length(model.config, tokenizer, None))
        config = model.config
        print(
            f"{folder}: an AWD-LSTM of {config.num_hidden_layers} layers, {config.embedding_size}/{config.hidden_size}, {len(words):,} words{', backward' if config.backward else ''}; {model.num_parameters():,} parameters."
        )
        for note in self._notes(paths[0], alone="1.decoder.weight" not in weights):
            print(note)
        print("Texts are cut as fast.ai cut them, except for:")
        for exception in NOT_REPRODUCED:
            print(f"  {exception}")
        print(
            f"Go on with: understudy pretrain --model {folder} --data TEXTS, or understudy finetune --model {folder} --data ROWS"
        )
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


def is_replaceable(folder: Path) -> bool:
    """Whether a folder may go for a model: it is not there, or empty, or holds a model and nothing else."""
    inside = [path.name for path in folder.iterdir() if not is_temporary(path)] if folder.exists() else []
    return not inside or ("config.json" in inside and all(name.endswith(_OF_A_MODEL) for name in inside))
