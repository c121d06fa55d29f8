"""A static embedding model: a table, a tokenizer, and nothing else. NumPy and tokenizers; no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from understudy.atomic import OUTPUT, new_folder
from understudy.checksums import list_checksums
from understudy.errors import ModelError
from understudy.models.files.names import EMBEDDINGS, check_undamaged

_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"},
    {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
]
"""What sentence-transformers builds of the folder."""
_NO_LIMIT = 1_000_000
"""Tokens of a text that model2vec reads: its configuration has no word for all of them."""
_TEXTS = 1024


@dataclass(frozen=True, eq=False)
class StaticVectors:
    """Vectors of texts: the mean of their tokens' rows, scaled to length 1.

    The folder that :meth:`save` writes is one of sentence-transformers and one of model2vec, too.

    Example:
        >>> from tokenizers import models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"good": 0, "film": 1}, unk_token="film"))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> model = StaticVectors(np.array([[3.0, 0.0], [0.0, 4.0]], np.float32), tokenizer)
        >>> model.encode(["good", "good film"]).astype(float).round(1).tolist()
        [[1.0, 0.0], [0.6, 0.8]]
    """

    table: np.ndarray
    """float32 ``(tokens, width)``; the rows of special tokens are 0, so that they change no direction."""
    tokenizer: Tokenizer
    """Without truncation and padding."""
    about: dict[str, Any] = field(default_factory=dict)
    """What config.json says of how it was made."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, in their order: float32 ``(texts, width)``, each of length 1, or 0 for a text without tokens.

        Raises:
            ValueError: if `texts` is a bare string, or one of them is no string.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts must be a list of texts, but is the string {texts!r:.80}")
        texts = [text[0] if isinstance(text, tuple) and len(text) == 1 else text for text in texts]
        if odd := [text for text in texts if not isinstance(text, str)]:
            raise ValueError(f"each text must be a string for this model, but one is {odd[0]!r:.80}")
        found = np.zeros((len(texts), self.table.shape[1]), np.float32)
        for start in range(0, len(texts), _TEXTS):
            some = self.tokenizer.encode_batch(texts[start : start + _TEXTS], add_special_tokens=False)
            for place, encoding in enumerate(some, start):
                if encoding.ids:
                    found[place] = self.table[encoding.ids].mean(0)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths > 0, lengths, 1)

    def summary(self) -> dict[str, int]:
        """The size of the model: all its parameters are those of the table."""
        size = self.table.size
        return {
            "parameters": size,
            "trainable_parameters": 0,
            "embedding_parameters": size,
            "size_bytes": size * self.table.itemsize,
        }

    def save(self, folder: str | os.PathLike[str], *, check: Callable[[Path], None] = lambda written: None) -> None:
        """Write config.json, model.safetensors, tokenizer.json and modules.json. The folder appears whole or not at all.

        Args:
            check: called with the complete folder before it gets its name.

        Raises:
            OutputError: if it cannot be written.
        """
        from safetensors.numpy import save

        config = {
            "model_type": "model2vec",
            "architectures": ["StaticModel"],
            "hidden_dim": self.table.shape[1],
            "seq_length": _NO_LIMIT,
            "normalize": True,
            "understudy": {"kind": EMBEDDINGS, **self.about},
        }
        with new_folder(Path(folder), remedy=OUTPUT, replace=True) as temporary:
            (temporary / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2), encoding="utf-8")
            (temporary / "modules.json").write_text(json.dumps(_MODULES, indent=2), encoding="utf-8")
            (temporary / "model.safetensors").write_bytes(save({"embeddings": np.ascontiguousarray(self.table)}))
            (temporary / "tokenizer.json").write_text(self.tokenizer.to_str(), encoding="utf-8")
            list_checksums(temporary, without="config.json")
            check(temporary)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> StaticVectors:
        """Read what :meth:`save` wrote. The vectors are the same, bit for bit.

        Raises:
            ModelError: if a file is missing or broken, or the folder holds another kind of model.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        source = Path(folder)
        for weights in (True, False):
            check_undamaged(source, weights=weights)
        try:
            about = dict(json.loads((source / "config.json").read_text(encoding="utf-8"))["understudy"])
            if about.pop("kind", None) != EMBEDDINGS:
                raise ModelError(f"{source}: this is no static embedding model, by its config.json.")
            table = load((source / "model.safetensors").read_bytes())["embeddings"]
            content = (source / "tokenizer.json").read_text(encoding="utf-8")
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
            raise ModelError(f"{source}: the embedding model cannot be read ({error}). Make it again.") from None
        try:
            tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # `tokenizers` raises exactly this class
            raise ModelError(f"{source}: the tokenizer cannot be read ({error}). Make the model again.") from None
        if table.ndim != 2 or not np.isfinite(table).all() or tokenizer.get_vocab_size() > len(table):
            raise ModelError(f"{source}: the table does not fit the tokenizer, or is damaged. Make it again.")
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(table, tokenizer, about)
