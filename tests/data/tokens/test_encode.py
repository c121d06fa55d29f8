"""Encoding against transformers' own call, padding against its own pad, and the cache against damage and a full disk."""

from __future__ import annotations

import errno
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import AddedToken, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.models.ctrl.tokenization_ctrl import CTRLTokenizer

from understudy.data.cache import cache_dir
from understudy.data.texts import Texts
from understudy.data.tokens import backend as backend_module
from understudy.data.tokens.encode import collate, encode, encode_in_memory, input_names
from understudy.data.tokens.encoder import TextEncoder
from understudy.errors import ConfigError, OutputError

LETTERS = "abcdefghij"


def make_tokenizer(style: str = "bert", *, side: str = "right") -> PreTrainedTokenizerFast:
    """Pieces of one letter over a toy alphabet, in the template of BERT, RoBERTa (no types) or XLNet (types, left)."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: i for i, token in enumerate([*special, *LETTERS, *(f"##{letter}" for letter in LETTERS)])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    templates = {
        "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
        "roberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] [SEP] $B [SEP]"),
        "xlnet": ("$A [SEP] [CLS]:2", "$A [SEP] $B:1 [SEP]:1 [CLS]:2"),
    }
    single, pair = templates[style]
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        padding_side="left" if style == "xlnet" else "right",
        truncation_side=side,
        pad_token_type_id=3 if style == "xlnet" else 0,
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def random_texts(count: int, arity: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Words of a few letters, some unknown, some texts empty, some far too long."""
    rng = random.Random(seed)

    def text() -> str:
        words = ["".join(rng.choices(LETTERS + "Z", k=rng.randint(1, 4))) for _ in range(rng.choice([0, 1, 3, 8, 30]))]
        return " ".join(words)

    return [tuple(text() for _ in range(arity)) for _ in range(count)]


def reference(tokenizer: PreTrainedTokenizerBase, texts: list[tuple[str, ...]], max_length: int) -> dict:
    """The encodings that transformers itself makes."""
    columns = [list(column) for column in zip(*texts)]
    return tokenizer(*columns, truncation=True, max_length=max_length, return_token_type_ids=True)


@pytest.mark.parametrize("style", ["bert", "roberta", "xlnet"])
@pytest.mark.parametrize("arity", [1, 2])
@pytest.mark.parametrize("side", ["right", "left"])
def test_ids_are_those_of_transformers(style: str, arity: int, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "_TEXTS_AT_ONCE", 7)
    tokenizer = make_tokenizer(style, side=side)
    texts = random_texts(40, arity)
    encoded = encode(texts, tokenizer, max_length=17)
    expected = reference(tokenizer, texts, 17)
    assert [encoded.row(i).tolist() for i in range(len(encoded))] == expected["input_ids"]
    assert encoded.lengths.tolist() == [len(ids) for ids in expected["input_ids"]]
    one = TextEncoder(tokenizer, max_length=17)
    assert [one.one(text)[0] for text in texts] == expected["input_ids"]


@pytest.mark.parametrize(("style", "arity"), [("bert", 1), ("bert", 2), ("roberta", 1), ("xlnet", 1), ("xlnet", 2)])
def test_batches_are_padded_as_transformers_pads(style: str, arity: int) -> None:
    tokenizer = make_tokenizer(style)
    texts = random_texts(30, arity)
    encoded = encode(texts, tokenizer, max_length=17)
    rows = np.array([3, 29, 0, 11])
    names = ("input_ids", "attention_mask", "token_type_ids")
    batch = collate(encoded, rows, names=names)
    expected = tokenizer.pad(reference(tokenizer, [texts[i] for i in rows], 17), return_tensors="pt")
    assert list(batch) == list(names)
    for name in names:
        assert batch[name].dtype == torch.int64
        torch.testing.assert_close(batch[name], expected[name], rtol=0, atol=0)


def test_a_pair_without_type_ids_gets_its_place_in_the_pair() -> None:
    tokenizer = make_tokenizer("roberta")
    encoded = encode([("a b", "c"), ("a", "")], tokenizer, max_length=16)
    batch = collate(encoded, np.arange(2), names=["token_type_ids"])
    # [CLS] a b [SEP] [SEP] c [SEP]: the second text begins at its first token
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0]]
    assert TextEncoder(tokenizer, max_length=16).one(("a b", "c"))[1] == [0, 0, 0, 0, 0, 1, 1]


def test_truncation_and_padding_in_the_tokenizers_file_do_not_count() -> None:
    clean, carrying = make_tokenizer(), make_tokenizer()
    carrying.backend_tokenizer.enable_truncation(3)
    carrying.backend_tokenizer.enable_padding(length=9)
    texts = random_texts(10, 1)
    first, second = (encode(texts, tokenizer, max_length=40) for tokenizer in (clean, carrying))
    assert second.ids.tolist() == first.ids.tolist()
    assert second.fingerprint == first.fingerprint
    assert carrying.backend_tokenizer.truncation["max_length"] == 3  # the tokenizer itself is unchanged


def test_an_encoding_is_made_once_and_mapped() -> None:
    tokenizer, texts = make_tokenizer(), Texts.of(random_texts(25, 1))
    first = encode(texts, tokenizer, max_length=16)
    folder = cache_dir() / "encodings" / first.fingerprint
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    second = encode(texts, tokenizer, max_length=16)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert isinstance(second.ids.base, np.memmap)
    assert not second.ids.flags.writeable
    assert second.ids.tolist() == first.ids.tolist()
    assert [path.name for path in folder.parent.iterdir()] == [first.fingerprint]  # nothing temporary is left


def test_fingerprints_tell_tokenizers_lengths_and_texts_apart() -> None:
    texts = Texts.of(["a", "b"])
    base = encode(texts, make_tokenizer(), max_length=16).fingerprint
    other_side = make_tokenizer(side="left")
    assert encode(texts, make_tokenizer(), max_length=16).fingerprint == base
    assert encode(texts, make_tokenizer(), max_length=15).fingerprint != base
    assert encode(texts, make_tokenizer("xlnet"), max_length=16).fingerprint != base
    assert encode(texts, other_side, max_length=16).fingerprint != base
    assert encode(Texts.of(["b", "a"]), make_tokenizer(), max_length=16).fingerprint != base


def cut_short(folder: Path) -> None:
    """Half of the ids are lost."""
    os.truncate(folder / "ids.bin", (folder / "ids.bin").stat().st_size // 2)


def forget(folder: Path) -> None:
    """The description is gone."""
    (folder / "meta.json").unlink()


@pytest.mark.parametrize("damage", [cut_short, forget])
def test_a_damaged_entry_is_made_again(damage) -> None:
    tokenizer, texts = make_tokenizer(), random_texts(25, 1)
    expected = encode(texts, tokenizer, max_length=16)
    ids = expected.ids.tolist()
    damage(cache_dir() / "encodings" / expected.fingerprint)
    assert encode(texts, tokenizer, max_length=16).ids.tolist() == ids


@pytest.fixture
def fast_parts() -> dict[str, Any]:
    """A fast tokenizer's content, part by part."""
    parts: dict[str, Any] = json.loads(make_tokenizer().backend_tokenizer.to_str())
    merging = models.BPE({"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4}, [("a", "b"), ("b", "c")])
    return parts | {"model": json.loads(Tokenizer(merging).to_str())["model"]}


def key_of(parts: dict[str, Any]) -> str:
    backend = Tokenizer.from_str(json.dumps(parts))
    return TextEncoder(PreTrainedTokenizerFast(tokenizer_object=backend), max_length=16).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts["model"]["merges"].reverse(),
        lambda parts: parts["model"]["vocab"].update(ab=4, bc=3),
        lambda parts: parts["model"].update(dropout=0.1),
        lambda parts: parts.update(normalizer={"type": "NFC"}),
        lambda parts: parts.update(pre_tokenizer={"type": "WhitespaceSplit"}),
        lambda parts: parts.update(post_processor=None),
        lambda parts: parts["added_tokens"].append({**parts["added_tokens"][0], "id": 30, "content": "[NEW]"}),
        lambda parts: parts["added_tokens"][0].update(lstrip=True),
        lambda parts: parts["added_tokens"][0].update(single_word=True),
        lambda parts: parts["added_tokens"][0].update(normalized=True),
        lambda parts: parts["added_tokens"][0].update(special=False),
    ],
)
def test_the_fingerprint_of_a_fast_tokenizer_covers_every_part(
    fast_parts: dict[str, Any], change: Callable[[dict[str, Any]], Any]
) -> None:
    before = key_of(fast_parts)
    assert key_of(fast_parts) == before
    change(fast_parts)
    assert key_of(fast_parts) != before


def slow_tokenizer(folder: Path, **options: Any) -> CTRLTokenizer:
    """A tokenizer in Python: words by merges."""
    folder.mkdir(exist_ok=True)
    pieces = {"<unk>": 0, "a@@": 1, "b</w>": 2, "b": 3, "a": 4, "ab": 5}
    (folder / "vocab.json").write_text(json.dumps(pieces))
    if not (folder / "merges.txt").exists():
        (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    return CTRLTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), **options)


def test_the_fingerprint_of_a_slow_tokenizer_covers_its_files_and_settings(tmp_path: Path) -> None:
    def key(tokenizer: Any) -> str:
        return TextEncoder(tokenizer, max_length=16).fingerprint

    tokenizer = slow_tokenizer(tmp_path / "one")
    tokenizer.save_pretrained(tmp_path / "saved")
    tokenizer("ab a")  # it keeps what it has split
    assert key(tokenizer) == key(slow_tokenizer(tmp_path / "other"))
    assert key(CTRLTokenizer.from_pretrained(tmp_path / "saved")) == key(
        CTRLTokenizer.from_pretrained(tmp_path / "saved")
    )
    (tmp_path / "other" / "merges.txt").write_text("#version: 0.2\nb a</w>\n")
    added, flagged, wide = (slow_tokenizer(tmp_path / "one") for _ in range(3))
    added.add_tokens([AddedToken("new")])
    flagged.add_tokens([AddedToken("new", lstrip=True)])
    wide.token_type_ids_include_special_tokens = False
    keys = [key(tokenizer), key(slow_tokenizer(tmp_path / "other")), key(added), key(flagged), key(wide)]
    keys += [
        key(slow_tokenizer(tmp_path / "one", unk_token="a")),
        key(slow_tokenizer(tmp_path / "one", model_max_length=5)),
    ]
    assert len(set(keys)) == len(keys)


def test_what_cannot_be_described_is_never_found_again() -> None:
    class Whole:
        def pre_tokenize(self, text: Any) -> None:
            """All in one piece."""

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Whole())
    one, other = (TextEncoder(tokenizer, max_length=16).fingerprint for _ in range(2))
    assert one != other


def test_without_the_cache_nothing_is_written() -> None:
    texts = random_texts(25, 2)
    encoded = encode(texts, make_tokenizer(), max_length=16, cache=False)
    assert not (cache_dir() / "encodings").exists()
    assert encoded.ids.tolist() == encode(texts, make_tokenizer(), max_length=16).ids.tolist()


def test_what_killed_runs_left_goes_after_a_day() -> None:
    folder = cache_dir() / "encodings"
    for name, age_s in {
        ".old.understudy-0123456789ab.tmp": 2 * 86400,
        ".young.understudy-0123456789ab.tmp": 60,
    }.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "ids.bin").write_bytes(b"0")
        for path in (folder / name / "ids.bin", folder / name):
            os.utime(path, (time.time() - age_s,) * 2)
    found = encode(["a"], make_tokenizer(), max_length=16).fingerprint
    assert {path.name for path in folder.iterdir()} == {".young.understudy-0123456789ab.tmp", found}


def test_a_full_disk_is_said_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = TextEncoder.parts

    def fills_up(self: TextEncoder, texts):
        yield next(parts(self, texts))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TextEncoder, "parts", fills_up)
    with pytest.raises(OutputError, match=r"encodings: the disk is full.*UNDERSTUDY_CACHE"):
        encode(random_texts(5, 1), make_tokenizer(), max_length=16)
    assert list((cache_dir() / "encodings").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match=r"cannot be written.*UNDERSTUDY_CACHE"):
        encode(["a"], make_tokenizer(), max_length=16)


def test_a_length_without_room_is_an_error() -> None:
    with pytest.raises(
        ConfigError, match=r"max_length is 3, but the tokenizer alone adds 3 special tokens. Give at least 4"
    ):
        encode([("a", "b")], make_tokenizer(), max_length=3)


def test_no_texts_at_all() -> None:
    for cache in (True, False):
        encoded = encode(Texts.of([]), make_tokenizer(), max_length=16, cache=cache)
        assert len(encoded) == 0
        assert encoded.ids.shape == (0,)


def test_a_tokenizer_without_a_fast_one_underneath_is_called_itself() -> None:
    class Slow:
        """A stand-in for a tokenizer written in Python."""

        def __init__(self, inner: PreTrainedTokenizerFast) -> None:
            self._inner = inner

        def __getattr__(self, name: str):
            if name == "backend_tokenizer":
                raise AttributeError(name)
            return getattr(self._inner, name)

        def __call__(self, *args, **kwargs):
            return self._inner(*args, **kwargs)

    tokenizer, texts = make_tokenizer(), random_texts(20, 2)
    slow, fast = TextEncoder(Slow(tokenizer), max_length=16), TextEncoder(tokenizer, max_length=16)
    a, b = encode_in_memory(slow, texts), encode_in_memory(fast, texts)
    assert a.ids.tolist() == b.ids.tolist()
    assert a.segments.tolist() == b.segments.tolist()
    assert slow.one(texts[0]) == fast.one(texts[0])


@pytest.mark.parametrize("slow", [False, True])
def test_a_long_text_goes_on_in_further_rows(slow: bool) -> None:
    tokenizer = make_tokenizer()
    texts = [("a b c d e f g",), ("a",), ("",), ("j " * 10,)]
    encoder = TextEncoder(tokenizer, max_length=5, split=True)
    if slow:
        encoder._backend = None
        tokenizer.build_inputs_with_special_tokens = lambda ids: [2, *ids, 3]
    encoded = encode_in_memory(encoder, texts)
    rows = [tokenizer.convert_ids_to_tokens(encoded.row(i)[1:-1]) for i in range(len(encoded))]
    assert ["".join(row) for row in rows] == ["abc", "def", "g", "a", "", "jjj", "jjj", "jjj", "j"]
    assert all(encoded.row(i)[0] == 2 and encoded.row(i)[-1] == 3 for i in range(len(encoded)))


def test_splitting_has_cache_entries_of_its_own() -> None:
    tokenizer, texts = make_tokenizer(), Texts.of(["a b c d e", "f"])
    assert len(encode(texts, tokenizer, max_length=4)) == 2
    assert len(encode(texts, tokenizer, max_length=4, split=True)) == 4
    assert len(encode(texts, tokenizer, max_length=4)) == 2


@pytest.mark.parametrize("slow", [False, True])
def test_texts_are_encoded_whole_and_ended_however_many_go_at_once(slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer()
    texts = Texts.of(["a b c d e " * 200, "f", "g h"])

    def encoded(limit: int) -> list[list[int]]:
        monkeypatch.setattr(backend_module, "_CHARACTERS_AT_ONCE", limit)
        encoder = TextEncoder(tokenizer, max_length=None, end_id=7)
        if slow:
            encoder._backend = None
        found = encode_in_memory(encoder, texts)
        return [found.row(i).tolist() for i in range(len(found))]

    plain = encode_in_memory(TextEncoder(tokenizer, max_length=2000), texts)
    assert encoded(10**6) == encoded(3) == [[*plain.row(i).tolist(), 7] for i in range(3)]


def test_whole_texts_and_ends_have_cache_entries_of_their_own() -> None:
    tokenizer, texts = make_tokenizer(), Texts.of(["a b", "c"])
    fingerprints = {
        encode(texts, tokenizer, max_length=length, end_id=end).fingerprint
        for length, end in ((None, None), (8, None), (None, 7), (None, 8))
    }
    assert len(fingerprints) == 4


class Takes(nn.Module):
    """A model with a configuration that may or may not take segments."""

    def __init__(self, **config: object) -> None:
        super().__init__()
        self.config = type("Config", (), config)()

    def forward(self, input_ids, attention_mask=None, token_type_ids=None) -> None:
        """Nothing."""


class TakesNone(Takes):
    """A model without segments."""

    def forward(self, input_ids, attention_mask=None) -> None:
        """Nothing."""


def test_segments_are_fed_only_where_they_say_something() -> None:
    bert, roberta = make_tokenizer("bert"), make_tokenizer("roberta")
    assert "token_type_ids" in input_names(Takes(type_vocab_size=2), bert)
    assert "token_type_ids" not in input_names(Takes(type_vocab_size=1), bert)  # RoBERTa: it would fail on a 1
    assert "token_type_ids" not in input_names(Takes(), bert)  # GPT-2: it would read them as words
    assert "token_type_ids" not in input_names(TakesNone(), bert)
    assert "token_type_ids" not in input_names(Takes(type_vocab_size=2), roberta)
    assert "token_type_ids" in input_names(Takes(understudy_student=True, pair=True), roberta)
    assert "token_type_ids" not in input_names(Takes(understudy_student=True, pair=False), bert)
    bert.model_input_names = ["input_ids", "attention_mask"]
    assert "token_type_ids" not in input_names(Takes(type_vocab_size=2), bert)
