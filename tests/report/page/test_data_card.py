"""The data card counts what a loop over rows counts."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.report.page.data_card import MOST_LABELS, DataCard, ReadData, data_card
from understudy.report.page.tables import PageTable

LABELS = ("no", "yes", "maybe")


def rows(seed: int, count: int) -> list[tuple[str, int]]:
    """Rows of few texts, so that many occur more than once, also under other labels; some have no label."""
    random = np.random.default_rng(seed)
    return [
        (" ".join(["word"] * int(random.integers(1, 9))) + f" {random.integers(0, 25)}", int(random.integers(-1, 3)))
        for _ in range(count)
    ]


def card(parts: dict[str, list[tuple[str, int]]]) -> DataCard:
    """The card of these rows."""
    texts = {name: Texts.of([text for text, _ in part]) for name, part in parts.items()}
    labels = {name: np.array([label if label >= 0 else -100 for _, label in part]) for name, part in parts.items()}
    task = Task(text=(("text",),), label="label", kind="single_label", labels=LABELS)
    data = ReadData(texts, labels, {name: label >= 0 for name, label in labels.items()}, task)
    record = {"data": {name: {"rows": len(part), "fingerprint": "ab" * 32} for name, part in parts.items()}}
    return data_card("rows", ["run"], record, data, missing="")


def column(table: PageTable | None, name: str) -> dict[str, str]:
    """A column by the first cell of each row."""
    assert table is not None
    place = [column.name for column in table.columns].index(name)
    return {row[0].text: row[place].text for row in table.rows}


def test_duplicates_conflicts_and_leaks_by_a_loop() -> None:
    parts = {"train": rows(0, 60), "validation": rows(1, 20), "test": rows(2, 30)}
    found = card(parts).findings
    texts = {name: [text for text, _ in part] for name, part in parts.items()}
    assert column(found, "Repeats") == {name: str(len(part) - len(set(part))) for name, part in texts.items()}
    for name, part in parts.items():
        labels = defaultdict(set)
        for text, label in part:
            if label >= 0:
                labels[text].add(label)
        expected = sum(len(of_text) > 1 for of_text in labels.values())
        assert column(found, "Different labels")[name] == str(expected)
    leaked = {name: sum(text in set(texts["test"]) for text in texts[name]) for name in ("train", "validation")}
    assert column(found, "Also in test") == {name: str(count) for name, count in leaked.items()} | {"test": ""}
    assert column(found, "Also in validation")["train"] == str(
        sum(t in set(texts["validation"]) for t in texts["train"])
    )
    assert found is not None
    assert found.note == ""
    assert all(cell.bad == (cell.text not in ("", "0")) for row in found.rows for cell in row[1:])


def test_clean_data_are_called_clean() -> None:
    parts = {name: [(f"{name} {i}", i % 3) for i in range(9)] for name in ("train", "test")}
    found = card(parts).findings
    assert found is not None
    assert found.note == "No text occurs twice, and none leaks from one part into another."


def test_lengths_and_labels_by_a_loop() -> None:
    parts = {"train": rows(3, 101), "test": rows(4, 40)}
    made = card(parts)
    for name, part in parts.items():
        words = sorted(len(text.split()) for text, _ in part)
        assert column(made.parts, "Words, median")[name] == str(words[int(np.ceil((len(words) - 1) / 2))])
        assert column(made.parts, "Longest")[name] == str(max(words))
        assert column(made.parts, "With label")[name] == str(sum(label >= 0 for _, label in part))
        counts = Counter(LABELS[label] for _, label in part if label >= 0)
        assert column(made.labels, name) == {label: str(counts[label]) for label in LABELS}
    assert made.labels is not None
    first = [int(row[1].text) for row in made.labels.rows]
    assert first == sorted(first, reverse=True)
    assert made.lengths is not None
    assert sum(int(row[1].value or 0) for row in made.lengths.values.rows) == 101


def test_many_labels_are_cut_and_it_is_said() -> None:
    names = tuple(f"label {number}" for number in range(MOST_LABELS + 50))
    labels = np.arange(len(names))
    texts = Texts.of([f"text {number}" for number in labels])
    task = Task(text=(("text",),), label="label", kind="single_label", labels=names)
    data = ReadData({"train": texts}, {"train": labels}, {"train": labels >= 0}, task)
    made = data_card("rows", ["run"], {"data": {"train": {"rows": len(names), "fingerprint": "ab"}}}, data, missing="")
    assert made.labels is not None
    assert len(made.labels.rows) == MOST_LABELS
    assert made.labels.note == "The 200 most frequent of 250 labels."
