"""Tables are read as pandas reads them, or refused with a remedy that works."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from understudy.data.readers.sources import load_splits
from understudy.errors import DataError

pandas: Any = pytest.importorskip("pandas", reason="pandas comes with datasets")

ODD = ["a", "b", "é", "1", " ", '"', "'", ",", ", ", ";", "|", "\t", "\n", "\r\n", "[", "]", "#", "\\", "NA", "\u2028"]
texts = st.lists(st.sampled_from(ODD), min_size=1, max_size=6).map("".join).filter(lambda text: bool(text.strip()))
STYLES: dict[str, list[str]] = {
    "names": ["good", "bad", "so, so", 'the "best"'],
    "integers": ["0", "1", "10"],
    "floats": ["0.0", "1.0", "10.0"],
    "fractions": ["0.5", "-1", "2e-1"],
    "truth": ["True", "False"],
    "joined": ["a,b", "a", "b,c", ""],
    "barred": ["a|b", "a", "b|c", ""],
    "lists": ["['a', 'b']", "['c']", "[]"],
    "hot": ["[0, 1, 1]", "[1, 0, 0]"],
    "missing": ["good", "bad", "NA", "", "NaN"],
}


@st.composite
def written(draw: st.DrawFn) -> tuple[str, bytes, str]:
    """A table as one of many programs writes it: its ending, its bytes, and how its labels are written."""
    style = draw(st.sampled_from(sorted(STYLES)))
    cells = st.sampled_from(STYLES[style])
    rows = draw(st.lists(st.tuples(texts, cells), min_size=4, max_size=8))
    ending = draw(st.sampled_from(["csv", "tsv"]))
    if ending == "tsv":  # a line of a quoted text that is as wide as the header looks like a row
        rows = [(text.replace("\t", " ") if "\n" in text else text, label) for text, label in rows]
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    stream = io.StringIO(newline="")
    ends = draw(st.sampled_from(["\n", "\r\n"]))
    writer = csv.writer(stream, delimiter="\t" if ending == "tsv" else ",", quoting=quoting, lineterminator=ends)
    writer.writerow(["text", "label"])
    for row in rows:
        writer.writerow(row)
        if draw(st.integers(0, 9)) == 0:
            stream.write(ends)  # an empty line
    content = stream.getvalue()
    if draw(st.booleans()):
        content = content.removesuffix(ends)
    return ending, draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + content.encode(), style


def as_pandas_reads(path: Path, content: bytes, style: str) -> list[tuple[str, Any]]:
    separator = "\t" if path.suffix == ".tsv" else ","
    missing = (
        {"keep_default_na": style == "missing", "na_values": {"label": []}}
        if style == "missing"
        else {"keep_default_na": False}
    )
    frame = pandas.read_csv(path, sep=separator, dtype=str, encoding="utf-8-sig", **missing)
    plain = pandas.read_csv(path, sep=separator, dtype=str, encoding="utf-8-sig", keep_default_na=False)
    return [(text, None if pandas.isna(label) else label.strip()) for text, label in zip(plain["text"], frame["label"])]


def as_understudy_reads(path: Path, style: str) -> list[tuple[str, Any]]:
    kind: Any = {"joined": "multi_label", "barred": "multi_label", "fractions": "regression"}.get(style)
    splits = load_splits(str(path), validation=str(path), kind=kind, label="label", allow_unlabelled=True)
    rows, task = splits.train, splits.task
    found: list[tuple[str, Any]] = []
    for (text,), label, known in zip(rows.texts, rows.labels.tolist(), rows.labelled):
        if not known:
            found.append((text, None))
        elif task.kind == "multi_label":
            found.append((text, {name for name, on in zip(task.labels, label) if on}))
        else:
            found.append((text, label if task.kind == "regression" else task.labels[label]))
    return found


def meant(label: str | None, style: str) -> Any:
    """What a cell of each style stands for, by a reading of its own."""
    if label is None:
        return None
    if style in ("joined", "barred"):
        return set(label.replace("|", ",").split(",")) - {""}
    if style == "lists":
        return {part for part in "abc" if part in label}
    if style == "hot":
        return {str(i) for i, digit in enumerate(label.strip("[]").split(", ")) if digit == "1"}
    if style in ("integers", "floats"):
        return str(int(float(label)))
    return np.float32(label).item() if style == "fractions" else label


@settings(
    deadline=None, derandomize=True, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(table=written())
def test_tables_are_read_as_pandas_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: tuple[str, bytes, str]
) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    ending, content, style = table
    path = tmp_path / f"table.{ending}"
    path.write_bytes(content)
    expected = [(text, meant(label, style)) for text, label in as_pandas_reads(path, content, style)]
    if len({label for _, label in expected if isinstance(label, str)}) == 1:
        with pytest.raises(DataError, match="at least two classes"):
            as_understudy_reads(path, style)
    elif not any(label for _, label in expected) and style != "fractions":  # all empty
        with pytest.raises(DataError, match=r"no row has a label|every list .* is empty"):
            as_understudy_reads(path, style)
    else:
        assert as_understudy_reads(path, style) == expected


def stray(rows: int, *, extra: bool = False, first: str = "") -> str:
    """A tsv file without quoting in which two fields begin or end with a quote mark, as GLUE's do."""
    lines = [f"text {i} of some words\t{'ab'[i % 2]}" for i in range(rows)]
    lines[3] = '"' + lines[3]
    lines[8] = lines[8].replace("\t", '"\t')
    if extra:
        lines[6] = lines[6].replace(" ", "\t", 1)
    return first + "text\tlabel\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("first", ["", "\n"])
def test_one_odd_line_turns_no_quoting_on(tmp_path: Path, first: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(stray(40, first=first), encoding="utf-8")
    splits = load_splits(str(path), validation=str(path))
    assert len(splits.train) == 40
    assert splits.train.texts[3] == ('"text 3 of some words',)
    assert f"{path}: quote marks are read as plain text; as quoting, they would join 5 rows to others." in splits.notes
    path.write_text(stray(40, first=first, extra=True), encoding="utf-8")
    place = 8 + len(first)
    with pytest.raises(DataError, match=f"line {place}: too many fields.* Take the tab out of the text"):
        load_splits(str(path))
    mended = path.read_text(encoding="utf-8").split("\n")
    mended[place - 1] = mended[place - 1].replace("\t", " ", 1)  # the remedy, to the letter
    path.write_text("\n".join(mended), encoding="utf-8")
    assert len(load_splits(str(path), validation=str(path)).train) == 40


def test_one_stray_quote_turns_no_quoting_off(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    lines = [f'"a text {i}\nof two lines"\t{"ab"[i % 2]}' for i in range(20)]
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    splits = load_splits(str(path), validation=str(path))
    assert [text for (text,) in splits.train.texts] == [f"a text {i}\nof two lines" for i in range(20)]
    lines[5] = '"a "quoted" word"\ta'
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 12: a quote mark inside a quoted field is not doubled\. Write it twice"):
        load_splits(str(path))
    lines[5] = '"a ""quoted"" word"\ta'
    path.write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert ('a "quoted" word',) in {*load_splits(str(path), validation=str(path)).train.texts}
