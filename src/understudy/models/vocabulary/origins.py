"""Where the rows of a table over a new vocabulary come from: from old tokens that share their text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from understudy.data.tokens.pieces import Piece, pieces, role_id, role_ids, special_ids


@dataclass(frozen=True)
class Origins:
    """For each row of a new table: the old rows whose mean it becomes. No old rows means the mean of all old rows."""

    ids: Tensor
    """The old rows of all new rows, end to end."""
    offsets: Tensor
    """``(rows + 1,)``: where the old rows of each new row begin in `ids`."""
    tokens: Tensor
    """The new rows that belong to a token."""
    same: Tensor
    """The new rows whose token is in both vocabularies."""
    old: Tensor
    """The old rows that belong to a token."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def kept(self) -> int:
        """How many tokens are in both vocabularies and keep their row."""
        return len(self.same)

    @property
    def composed(self) -> int:
        """How many new tokens get the mean of the old pieces that they are cut into."""
        return len(self.tokens) - self.kept - self.averaged

    @property
    def averaged(self) -> int:
        """How many new tokens are unknown to the old vocabulary and get the mean of all old rows."""
        return int((self.offsets.diff()[self.tokens] == 0).sum())

    def carry(self, table: Tensor, *, dim: int = 0) -> Tensor:
        """A table over the new vocabulary.

        Args:
            table: a table over the old vocabulary: embeddings ``(tokens, width)``, a bias ``(tokens,)``.
            dim: the dimension of the vocabulary.

        Returns:
            A detached tensor of the table's type and shape, except along `dim`.

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
    """The old rows that each token of a new vocabulary starts from.

    A piece that is in both vocabularies keeps its row. A new piece gets the mean of the rows of the old pieces into
    which the old tokenizer cuts its text, or the mean of all old rows if the old tokenizer does not know its text.
    Special tokens are matched by their role, whatever their names, and by name if they have no role.

    With word-level vocabularies, where a word is either known or not, this is ULMFiT's rule. For sub-words it is that
    of fast vocabulary transfer. It is *not* FOCUS, which weights the rows of overlapping tokens by their similarity to
    the new token in a fastText space trained on the new texts, nor WECHSEL, which uses bilingual word vectors: both
    need other vectors.

    Args:
        old: the tokenizer of the old vocabulary.
        new: the tokenizer of the new one.

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
    """The old id of a piece. Tokenizers differ in whether punctuation begins a word, so for it the mark may differ."""
    found = index.get(piece)
    if found is None and piece.text and not any(map(str.isalnum, piece.text.decode(errors="replace"))):
        found = index.get(Piece(piece.text, not piece.begins))
    return found


def _cut(
    old: PreTrainedTokenizerBase, wanted: Mapping[int, Piece], known: Mapping[int, Piece], index: Mapping[Piece, int]
) -> dict[int, list[int]]:
    """The old tokens that each wanted piece is cut into. Pieces that the old tokenizer does not know are left out."""
    texts = {}
    for number, piece in wanted.items():
        try:
            text = piece.text.decode()
        except UnicodeDecodeError:  # an incomplete character says nothing
            continue
        if text.strip():
            texts[number] = f" {text}" if piece.begins else text  # byte-level tokenizers need the space
    if not texts:
        return {}
    found = {}
    for number, ids in zip(texts, old(list(texts.values()), add_special_tokens=False)["input_ids"], strict=True):
        begins = wanted[number].begins
        # Most tokenizers take the first piece for the beginning of a word, but this piece may be inside a word.
        if ids and ids[0] in known and known[ids[0]].begins != begins:
            ids = [index.get(Piece(known[ids[0]].text, begins), ids[0]), *ids[1:]]
        found[number] = [
            i for i in ids if i in known and known[i].text
        ]  # the mark of a word's start alone says nothing
    return {number: ids for number, ids in found.items() if ids}
