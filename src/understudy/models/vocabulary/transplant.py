"""A model carried to another vocabulary: what is known of the old tokens goes to the new ones that share their text."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.pieces import ROLES, Piece, pieces, role_id, role_ids, special_ids
from understudy.errors import ModelError
from understudy.models.structure.layers import word_embeddings


@dataclass(frozen=True)
class Origins:
    """Of each row of a new table, the old rows whose mean it becomes; none stands for the mean of all.

    ``ids`` holds the old rows end to end, ``offsets`` ``(rows + 1,)`` where each new row's begin, ``tokens`` the new
    rows that a token has, ``same`` those of them whose token is in both vocabularies, ``old`` the old rows that a token
    has.
    """

    ids: Tensor
    offsets: Tensor
    tokens: Tensor
    same: Tensor
    old: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def kept(self) -> int:
        """Tokens that are in both vocabularies and keep their row."""
        return len(self.same)

    @property
    def composed(self) -> int:
        """New tokens that got the mean of the old pieces they are cut into."""
        return len(self.tokens) - self.kept - self.averaged

    @property
    def averaged(self) -> int:
        """New tokens of which nothing was known: they got the mean of all old rows."""
        return int((self.offsets.diff()[self.tokens] == 0).sum())

    def carry(self, table: Tensor, *, dim: int = 0) -> Tensor:
        """A table over the new vocabulary.

        Args:
            table: over the old one along `dim`: embeddings ``(tokens, width)``, a bias ``(tokens,)``.
            dim: the dimension that counts the vocabulary.

        Returns:
            The same shape but for `dim`, in the table's type; detached.

        Example:
            >>> origins = Origins(*map(torch.tensor, ([2, 0, 1], [0, 1, 3, 3], [0, 1, 2], [0], [0, 1, 2])))
            >>> origins.carry(torch.tensor([1.0, 3.0, 8.0]))
            tensor([8., 2., 4.])
        """
        rows = table.detach().movedim(dim, 0)
        flat = rows.reshape(len(rows), -1).float()
        ids, offsets, old = (part.to(flat.device) for part in (self.ids, self.offsets, self.old))
        made = F.embedding_bag(ids, flat, offsets[:-1], mode="mean")
        made[offsets.diff() == 0] = flat[old].mean(0)
        return made.to(table.dtype).reshape(len(self), *rows.shape[1:]).movedim(0, dim).contiguous()


def origins(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> Origins:
    """How to carry what is known of an old vocabulary's tokens to a new one.

    A piece that both have keeps its row. A new one gets the mean of the rows of the old pieces that the old tokenizer
    cuts its text into; where that knows nothing of it, the mean of all old rows. Special tokens are matched by their
    role, whatever their names, and by their names where they have none.

    With word-level vocabularies, where a word is known or not, this is ULMFiT's rule. For sub-words it is that of fast
    vocabulary transfer. It is *not* FOCUS, which weights the rows of overlapping tokens by their similarity to the new
    one in a fastText space trained on the new texts, nor WECHSEL, which goes by bilingual word vectors: both need
    vectors from elsewhere.

    Reference:
        Howard & Ruder 2018, arXiv 1801.06146 (words); Gee et al. 2022, arXiv 2402.09977 (pieces). Compare Dobler &
        de Melo 2023, arXiv 2305.14481 (FOCUS), and Minixhofer et al. 2022, arXiv 2112.06598 (WECHSEL).
    """
    known, wanted = pieces(old), pieces(new)
    index = {piece: number for number, piece in sorted(known.items(), reverse=True)}  # the lowest id wins
    old_ids, special = old.get_vocab(), special_ids(old)
    names = {number: old_ids.get(token) for token, number in new.get_vocab().items() if number not in wanted}
    matched: dict[int, int | None] = {number: match for number, match in names.items() if match in special}
    matched |= {number: role_id(old, role) for role, number in role_ids(new).items() if role_id(old, role) is not None}
    matched |= {number: _match(piece, index) for number, piece in wanted.items()}
    found = {number: [match] for number, match in matched.items() if match is not None}
    same = sorted(found)
    found |= _cut(old, {number: piece for number, piece in wanted.items() if number not in found}, known, index)
    tokens = sorted(new.get_vocab().values())
    rows = [found.get(number, []) for number in range(max(tokens, default=-1) + 1)]
    return Origins(
        ids=torch.tensor([number for row in rows for number in row], dtype=torch.long),
        offsets=torch.tensor([0, *map(len, rows)]).cumsum(0),
        tokens=torch.tensor(tokens, dtype=torch.long),
        same=torch.tensor(same, dtype=torch.long),
        old=torch.tensor(sorted(set(old_ids.values())), dtype=torch.long),
    )


def _match(piece: Piece, index: Mapping[Piece, int]) -> int | None:
    """The old id of a piece. Whether punctuation begins a word is a matter of the tokenizer: there the mark may differ."""
    found = index.get(piece)
    if found is None and piece.text and not any(map(str.isalnum, piece.text.decode(errors="replace"))):
        found = index.get(Piece(piece.text, not piece.begins))
    return found


def _cut(
    old: PreTrainedTokenizerBase, wanted: Mapping[int, Piece], known: Mapping[int, Piece], index: Mapping[Piece, int]
) -> dict[int, list[int]]:
    """The old tokens that each wanted piece is cut into; without those that the old tokenizer does not know."""
    texts = {}
    for number, piece in wanted.items():
        try:
            text = piece.text.decode()
        except UnicodeDecodeError:  # some bytes of a character say nothing of it
            continue
        if text.strip():
            texts[number] = f" {text}" if piece.begins else text  # the space matters to byte-level tokenizers
    if not texts:
        return {}
    found = {}
    for number, ids in zip(texts, old(list(texts.values()), add_special_tokens=False)["input_ids"], strict=True):
        begins = wanted[number].begins
        # Most tokenizers take whatever stands first for the beginning of a word, which this piece may not be.
        if ids and ids[0] in known and known[ids[0]].begins != begins:
            ids = [index.get(Piece(known[ids[0]].text, begins), ids[0]), *ids[1:]]
        found[number] = [i for i in ids if i in known and known[i].text]  # a bare mark of a word's start says nothing
    return {number: ids for number, ids in found.items() if ids}


def transplant(model: Any, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> tuple[Any, Origins]:
    """The same model over another vocabulary.

    Every tensor that the vocabulary sizes (input and output tables, biases, whatever else an architecture has) is
    carried by :func:`origins`, every other one is copied; what was tied is tied again. The configuration gets the new
    size and the new ids of its special tokens.

    Args:
        model: of transformers or ours; left as it is.
        old: its tokenizer.
        new: the tokenizer to carry it to.

    Returns:
        The new model, of the same class, on the same device; and where its rows come from.

    Raises:
        ModelError: if the architecture expects the padding at an id at which `new` has something else.
    """
    size = getattr(model.config, "vocab_size", None)
    if not isinstance(size, int):
        raise ModelError(
            f"{type(model).__name__}: its configuration names no vocab_size, so it cannot be carried to another vocabulary. Keep its own: --vocabulary keep."
        )
    rows = origins(old, new)
    weights, counted = model.state_dict(), _counting_dimensions(model)
    config = _config_for(model.config, old, new, size=len(rows))
    with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten: they must not move the seed
        made = type(model)(config)
    made.to(next(model.parameters()).dtype)
    _check_padding(model, made, old, new)
    made.load_state_dict(
        {name: rows.carry(weight, dim=counted[name]) if name in counted else weight for name, weight in weights.items()}
    )
    return made.to(next(model.parameters()).device).train(model.training), rows


def _counting_dimensions(model: Any) -> dict[str, int]:
    """The names of the tensors that the vocabulary sizes, and which of their dimensions does."""
    probe = copy.deepcopy(model.config)
    probe.vocab_size += 1
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        larger = type(model)(probe).state_dict()
    found = {}
    for name, weight in model.state_dict().items():
        differing = [d for d, (own, other) in enumerate(zip(weight.shape, larger[name].shape)) if own != other]
        if differing:
            (found[name],) = differing
    return found


def _config_for(config: Any, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, *, size: int) -> Any:
    """The configuration with the new vocabulary's size, and its ids where it names those of special tokens."""
    made = copy.deepcopy(config)
    made.vocab_size = size
    for role in ROLES:
        name = f"{role}_token_id"
        if getattr(made, name, None) is not None:
            setattr(made, name, role_id(new, role))
    return made


def _check_padding(model: nn.Module, made: Any, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> None:
    """See that the padding is where the new model has it, and has not moved where positions are counted from it."""
    table = word_embeddings(made)
    others = [part for part in model.modules() if isinstance(part, nn.Embedding) and part is not word_embeddings(model)]
    counted_from_it = any(part.padding_idx is not None for part in others)
    fixed = table.padding_idx if table.padding_idx != new.pad_token_id else None
    if counted_from_it and new.pad_token_id != old.pad_token_id:
        fixed = old.pad_token_id
    if fixed is not None:
        raise ModelError(
            f"{type(model).__name__}: wants its padding token at id {fixed}, but the new tokenizer has it at {new.pad_token_id}. Give a tokenizer that has it at {fixed}."
        )
