"""A file for each text: folders that are called like the classes of the texts in them. And a label a line in a file beside."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from itertools import zip_longest

import pyarrow as pa

from understudy.data.arrow_columns import string_column
from understudy.data.readers.faults import Faults
from understudy.data.readers.formats.files import DataFile, format_of, stem_of
from understudy.data.readers.formats.parsed import BATCH_BYTES, BATCH_ROWS, BOM, Lines, Parsed
from understudy.data.readers.places.archives import entries
from understudy.data.readers.places.source import How, Source, digest_of
from understudy.data.readers.places.split_names import splits_of

_NO_CLASS = ("unsup", "unsupervised", "unlabeled", "unlabelled")
"""What a folder of texts without labels is called beside those of the classes."""
_TEXT_WORDS = re.compile(r"(?:^|[._-])(?:texts?|sentences?|inputs?)$", re.IGNORECASE)
_LABEL_WORDS = re.compile(r"(?:^|[._-])(?:labels?|targets?|classes)$", re.IGNORECASE)


def text_files(folder: Traversable) -> list[Traversable]:
    """The files of a folder if all of them are texts (.txt, or names without an ending), and no folder is among them."""
    inside = entries(folder)
    texts = all(entry.is_file() and (format_of(entry)[0] == "txt" or "." not in entry.name) for entry in inside)
    return inside if texts else []


def class_folders(folder: Traversable) -> dict[str, list[Traversable]]:
    """The texts of each class, if a folder holds at least two folders of texts and nothing else but files."""
    folders = {entry.name: text_files(entry) for entry in entries(folder) if entry.is_dir()}
    return folders if len(folders) > 1 and all(folders.values()) else {}


def folder_splits(folder: Traversable) -> dict[str, Traversable]:
    """The split of each folder that holds class folders: ``train/pos/1.txt``."""
    folders = {entry.name: entry for entry in entries(folder) if entry.is_dir()}
    found = splits_of({name: name for name in folders})
    places = {split: folders[names[0]] for split, names in found.items() if len(names) == 1}
    return {split: place for split, place in places.items() if class_folders(place)}


def class_source(folder: Traversable, origin: str, how: How, notes: list[str]) -> Source:
    """The texts of class folders as rows of text, label and file. A folder of texts without labels is left out and noted."""
    classes = class_folders(folder)
    for name in [name for name in classes if name.lower() in _NO_CLASS and len(classes) > 2]:
        texts = classes.pop(name)
        notes.append(
            f"{origin}/{name}: {len(texts):,} texts without labels, not read. They can be a pool: --unlabeled {origin}/{name}."
        )
    files = [(f"{name}/{file.name}", name, file) for name, found in classes.items() for file in found]
    return _source(files, origin, how, ("text", "label", "file"))


def texts_source(folder: Traversable, origin: str, how: How) -> Source:
    """The files of a folder as texts without labels."""
    files = [(file.name, None, file) for file in text_files(folder)]
    return _source(files, origin, how, ("text", "file"))


def _source(
    files: Sequence[tuple[str, str | None, Traversable]], origin: str, how: How, names: tuple[str, ...]
) -> Source:
    def content() -> bytes:
        digest = hashlib.sha256()
        for name, _, file in files:
            digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
        return digest.digest()

    def parse(faults: Faults) -> Parsed:
        parsed = Parsed(origin, faults, unit="file")
        parsed.names = names
        if "label" in names:
            parsed.say(
                f"each folder is a class: {', '.join(list(dict.fromkeys(str(label) for _, label, _ in files))[:10])}."
            )
        parsed.batches = lambda: _batches(parsed, files, how.reading.encoding)
        return parsed

    key = repr(("files", names, how.reading.encoding)).encode()
    return Source(origin, content, parse, key, takes=frozenset({"encoding"}))


def _batches(
    parsed: Parsed, files: Sequence[tuple[str, str | None, Traversable]], encoding: str | None
) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[str | None, ...]] = []
    size = 0
    for number, (name, label, file) in enumerate(files, 1):
        raw = file.read_bytes()
        marked = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None
        marked = "utf-8" if raw.startswith(BOM) else marked
        codec = marked or encoding or "utf-8"
        try:
            text = raw.removeprefix(BOM).decode(codec)
        except UnicodeError as error:
            byte = f" (byte 0x{raw[error.start]:02x})" if isinstance(error, UnicodeDecodeError) else ""
            parsed.faults.row(
                parsed.origin,
                f"that are not {codec.upper()}",
                f"{parsed.origin}/{name}: not {codec.upper()}{byte}. Name the encoding of the files with --encoding, such as cp1252.",
            )
            text = raw.decode("latin-1")
        rows.append((text.strip(), name) if label is None else (text.strip(), label, name))
        size += len(raw)
        if len(rows) == BATCH_ROWS or size > BATCH_BYTES or number == len(files):
            columns = [string_column(column) for column in zip(*rows)]
            yield parsed.batch(columns, range(number - len(rows) + 1, number + 1))
            rows, size = [], 0


def text_and_label_files(files: Mapping[str, Traversable]) -> dict[str, tuple[str, str]]:
    """The pairs of a file of texts and a file of labels, a line each: ``train_text.txt`` and ``train_labels.txt``.

    Args:
        files: those of a folder, by name.

    Returns:
        For each split the names of both.
    """
    stems = {name: _stem(file) for name, file in files.items()}
    texts = {name: _TEXT_WORDS.sub("", stem) for name, stem in stems.items() if _TEXT_WORDS.search(stem)}
    labels = {_LABEL_WORDS.sub("", stem): name for name, stem in stems.items() if _LABEL_WORDS.search(stem)}
    pairs = {name: (name, labels[base]) for name, base in texts.items() if base in labels}
    found = splits_of({name: texts[name] for name in pairs})
    return {split: pairs[names[0]] for split, names in found.items() if len(names) == 1}


def _stem(file: Traversable) -> str:
    """A name without .txt: the files may also be called train.texts and train.labels."""
    return stem_of(file) if format_of(file)[0] == "txt" else file.name


def paired_source(texts: Traversable, labels: Traversable, origin: str, how: How) -> Source:
    """A file of texts and one of labels, line by line, as rows of text and label."""
    both = [DataFile(path, f"{origin}/{path.name}", "txt", format_of(path)[1], how.reading) for path in (texts, labels)]

    def parse(faults: Faults) -> Parsed:
        parsed = Parsed(both[0].origin, faults)
        parsed.names = ("text", "label")
        parsed.batches = lambda: _pairs(parsed, *both)
        return parsed

    key = repr(("paired", both[0].zipped, both[1].zipped, how.reading.encoding)).encode()
    return Source(
        f"{both[0].origin}", lambda: digest_of(texts) + digest_of(labels), parse, key, takes=frozenset({"encoding"})
    )


def _pairs(parsed: Parsed, texts: DataFile, labels: DataFile) -> Iterator[pa.RecordBatch]:
    parsed.say(f"the labels are the lines of {labels.origin}.")
    rows: list[tuple[str, str]] = []
    others = Parsed(labels.origin, parsed.faults)
    counts = [0, 0]
    first = done = 0
    with texts.text(parsed)() as one, labels.text(others)() as other:
        lines = Lines(one, parsed)
        for text, label in zip_longest(lines, Lines(other, others)):
            counts[0] += text is not None
            counts[1] += label is not None
            if text is None or label is None:
                continue
            rows.append((text.rstrip("\r\n"), label.strip()))
            if len(rows) == BATCH_ROWS or lines.bytes - done > BATCH_BYTES:
                yield _paired(parsed, rows, first)
                first, rows, done = first + len(rows), [], lines.bytes
    if counts[0] != counts[1]:
        parsed.faults.add(
            f"{texts.origin}: {counts[0]:,} lines of text, but {labels.origin} has {counts[1]:,} labels. Each line needs its own."
        )
    if rows:
        yield _paired(parsed, rows, first)


def _paired(parsed: Parsed, rows: Sequence[tuple[str, str]], first: int) -> pa.RecordBatch:
    columns = [string_column(column) for column in zip(*rows)]
    return parsed.batch(columns, range(first + 1, first + 1 + len(rows)))
