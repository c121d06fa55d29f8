"""The page as a parser reads it: whole, self-contained, small, and with everything in its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_runs import (
    HOSTILE,
    described,
    entry,
    save,
    write_comparison,
    write_distillation,
    write_language_model,
    write_rows,
    write_search,
)

from understudy.data.tasks import Task
from understudy.recipes.choose.report import Report
from understudy.report.page.answers import KeptAnswers
from understudy.report.page.learning import curves_of
from understudy.report.page.models import model_lines
from understudy.report.page.rows import rows_to_read
from understudy.report.page.runs import read_runs

VOID = {"meta", "link", "input", "br", "img", "hr"}
IN_SVG = {"path", "circle", "rect", "polyline"}


class Reader(HTMLParser):
    """Elements with their attributes and their text; complains of what is not closed in its order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(html)
        self.close()
        self.wrong += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if len(dict(attrs)) < len(attrs):
            self.wrong.append(f"{tag} has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in IN_SVG:
            self.wrong.append(f"{tag} is closed by itself")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"{tag} ends at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("style", "script"))


def page_of(*folders: Path, **settings: Any) -> str:
    """The page of these runs."""
    output = folders[0].parent / "page.html"
    path = Report(folders=[str(folder) for folder in folders], output=str(output), overwrite=True, **settings).run()
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("runs")
    data, odd = write_rows(place / "rows"), write_rows(place / "odd-rows", hostile=True)
    several, numbers = (write_rows(place / kind, kind=kind) for kind in ("multi_label", "regression"))
    return {
        "comparison": write_comparison(place / "comparison", data, seeds=(0, 1)),
        "hostile": write_comparison(place / "hostile", odd, names=[HOSTILE, "static", "tfidf"]),
        "distillation": write_distillation(place / "distillation", data),
        "hostile distillation": write_distillation(place / HOSTILE.replace("/", "-"), odd, hostile=True),
        "several labels": write_comparison(place / "labels", several, models=3),
        "numbers": write_comparison(place / "numbers", numbers, models=3),
        "language model": write_language_model(place / "lm"),
    }


NAMES = ["comparison", "hostile", "distillation", "hostile distillation", "several labels", "numbers", "language model"]


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_well_formed_and_needs_nothing_else(name: str, runs: dict[str, Path]) -> None:
    page = page_of(runs[name])
    read = Reader(page)
    assert not read.wrong
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for tag, attributes in read.elements:
        for attribute, value in attributes.items():
            assert not attribute.startswith("on"), f"{tag} has a handler"
            assert attribute != "style", "inline styles are refused by the policy"
            if attribute in ("href", "src", "action", "srcset", "poster", "data"):
                assert value is not None
                assert value.startswith(("#", "data:image/svg+xml,")), f"{tag} loads {value}"
                assert not value.startswith("#") or value[1:] in ids
            if attribute in ("aria-labelledby", "aria-describedby"):
                assert value in ids
    assert not read.all("img")
    assert "url(" not in page
    assert "@import" not in page
    assert len(read.all("script")) == len(read.all("style")) == len(read.all("h1")) == len(read.all("main")) == 1
    assert read.all("html") == [{"lang": "en"}]
    for section in ("verdict", "models", "learning", "rows", "data", "configuration"):
        assert section in ids


def test_the_policy_allows_this_script_and_this_style_alone(runs: dict[str, Path]) -> None:
    page = page_of(runs["hostile"])
    read = Reader(page)
    first = next(attributes for tag, attributes in read.elements if tag == "meta" and "http-equiv" in attributes)
    assert first["http-equiv"] == "Content-Security-Policy"
    assert page.index("Content-Security-Policy") < min(
        page.index("<style"), page.index("<script"), page.index("<title")
    )
    policy = dict(part.strip().split(" ", 1) for part in (first["content"] or "").split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "data:"
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[directive] == f"'sha256-{digest}'"


def test_hostile_words_are_text_wherever_they_stand(runs: dict[str, Path]) -> None:
    for name in ("hostile", "hostile distillation"):
        page = page_of(runs[name])
        read = Reader(page)
        assert "<img" not in page
        assert "49" not in re.findall(r"&amp;amp;(\w+)", page)  # no template language reads them
        assert HOSTILE in read.text
        named = [attributes.get("aria-label") or "" for _, attributes in read.elements]
        assert name != "hostile" or any(HOSTILE in label for label in named)


def test_tables_have_headings_that_sort(runs: dict[str, Path]) -> None:
    page = page_of(runs["comparison"])
    tables = re.findall(r'<table class="sorts.*?</table>', page, re.DOTALL)
    assert len(tables) > 8
    for table in tables:
        read = Reader(table)
        headings = [attributes for attributes in read.all("th") if attributes.get("scope") == "col"]
        assert headings
        sorting = [attributes for attributes in headings if "aria-sort" in attributes]
        assert [attributes["aria-sort"] for attributes in sorting] == ["none"] * len(sorting)
        assert len(read.all("button")) == len(sorting) > 0
        rows = re.findall(r"<tr[ >].*?</tr>", table.split("<tbody")[1], re.DOTALL)
        assert {len(re.findall(r"<t[hd][ >]", row)) for row in rows} == {len(headings)}
        assert all(row.count('scope="row"') == 1 for row in rows)


def test_each_value_of_a_chart_can_be_reached_and_is_in_its_table(runs: dict[str, Path]) -> None:
    page = page_of(runs["comparison"])
    figures = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    titles = [re.findall(r"<figcaption>(.*?)</figcaption>", figure)[0] for figure in figures]
    assert titles == [
        "Final scores",
        "Quality against latency",
        "Quality against size",
        "Learning curves by step",
        "Learning curves by time",
        "Training loss by step",
        "Length of the training texts",
    ]
    for title, figure in zip(titles, figures, strict=True):
        marks = [attributes for attributes in Reader(figure).all("g") if "mark" in (attributes["class"] or "")]
        assert [mark["tabindex"] for mark in marks] == ["0", *["-1"] * (len(marks) - 1)], title
        assert all(mark["role"] == "img" and mark["aria-label"] for mark in marks)
        rows = figure.split("<tbody")[1].count("<tr")
        assert rows >= len(marks) > 1
    scores = Reader(figures[0])
    assert any(
        g.get("aria-label") == "encoder: accuracy 92.0 % (95 % interval 89.0 % to 95.0 %)" for g in scores.all("g")
    )
    clock = re.findall(r'<polyline class="line[^>]*points="([^"]*)"', figures[4])
    x = [[float(point.split(",")[0]) for point in line.split()] for line in clock]
    assert len(x) == 8  # four models, two seeds
    y = [float(point.split(",")[1]) for point in clock[0].split()]
    assert y[0::2] == y[1::2]  # flat while it is evaluated
    assert all(b > a for line in x for a, b in zip(line[0::2], line[1::2], strict=True))


def test_a_comparison_is_told_as_its_record_tells_it(runs: dict[str, Path]) -> None:
    text = Reader(page_of(runs["comparison"])).text
    assert "Ship tfidf" in text or "TF-IDF" in text or "Ship encoder" in text
    for said in (
        "92.0 ± 1.0",
        "89.0 to 95.0",
        "encoder − tfidf",
        "12 : 4",
        "0.030",
        "The same batches in the same order",
    ):
        assert said in text, said
    assert "Duplicates and leaks" in text
    assert "No text occurs twice" in text


def test_rows_to_look_at_are_those_of_the_answers(runs: dict[str, Path]) -> None:
    page = page_of(runs["comparison"])
    labels = np.load(runs["comparison"] / "model-0-seed-0" / "answers.npz")["labels"]
    answers = np.stack(
        [np.load(runs["comparison"] / f"model-{m}-seed-0" / "answers.npz")["answers"].argmax(1) for m in range(4)]
    )
    disagreeing = {int(row) + 1 for row in np.flatnonzero((answers != answers[0]).any(0))}
    shown = re.findall(r'<tr role="row" data-why="([^"]*)"><th[^>]*data-v="(\d+)"', page)
    assert {int(row) for why, row in shown if "disagree" in why.split()} == disagreeing
    chosen = 0  # the smaller models' differences are significant on this record
    mistaken = {int(row) + 1 for row in np.flatnonzero(answers[chosen] != labels)}
    assert {int(row) for why, row in shown if "sure" in why.split()} == mistaken
    assert f"Models disagree</b>: {len(disagreeing)}, of 60 rows of the test split" in page
    fewer = page_of(runs["comparison"], rows=2)
    counts = Counter(why for found in re.findall(r'data-why="([^"]*)"', fewer) for why in found.split())
    assert counts["disagree"] == counts["sure"] == 2
    surest = np.load(runs["comparison"] / "model-0-seed-0" / "answers.npz")["answers"].astype(float)
    shares = (np.exp(surest) / np.exp(surest).sum(1, keepdims=True)).max(1)
    first = sorted(mistaken, key=lambda row: -shares[row - 1])[:2]
    shown = re.findall(r'<tr role="row" data-why="([^"]*)"><th[^>]*data-v="(\d+)"', fewer)
    assert {int(row) for why, row in shown if "sure" in why.split()} == set(first)
    assert not re.findall(r"data-why", page_of(runs["comparison"], rows=0))


def test_numbers_and_several_labels_have_rows_too(runs: dict[str, Path]) -> None:
    numbers = page_of(runs["numbers"])
    assert "Largest errors" in numbers
    assert "data-why" in numbers
    several = page_of(runs["several labels"])
    assert "Labels that look wrong" in several
    assert "data-why" in several
    assert "Standard deviation" in Reader(numbers).text


def test_what_a_run_does_not_keep_is_said_in_its_place(runs: dict[str, Path], tmp_path: Path) -> None:
    text = Reader(page_of(runs["distillation"])).text
    assert "distillation: has no file answers.npz" in text
    assert "a text that is taken for another 3" in text
    assert "Confusion, student" in text
    language = Reader(page_of(runs["language model"])).text
    assert "None of these runs answers for rows." in language
    assert "The data could not be read again" in language
    assert "24.5" in language
    moved = write_comparison(tmp_path / "moved", write_rows(tmp_path / "gone"), models=2)
    (tmp_path / "gone").rename(tmp_path / "elsewhere")
    page = page_of(moved)
    assert "could not be read again, so only what the record says is shown: gone" in page
    assert str(tmp_path) not in page  # which tells of someone's home
    data = write_rows(tmp_path / "rows")
    broken = write_comparison(tmp_path / "broken", data, models=4)
    (broken / "model-0-seed-0" / "answers.npz").unlink()
    (broken / "model-1-seed-0" / "answers.npz").write_bytes(b"PK nothing")
    (broken / "model-2-seed-0" / "progress.csv").unlink()
    kept = broken / "model-3-seed-0" / "answers.npz"
    np.savez(kept, answers=np.zeros((60, 3)), labels=np.zeros(60, int))  # of another task
    text = Reader(page_of(broken)).text
    assert "encoder: its file answers.npz is not there." in text
    assert "layers:3: its file answers.npz cannot be read" in text
    assert "tfidf: its file answers.npz cannot be read (it does not fit the task of the record)" in text
    with open(data / "test.jsonl", "a", encoding="utf-8") as file:
        file.write('{"text": "one more", "label": "World"}\n')
    text = Reader(page_of(broken)).text
    assert "The data have changed since the run (test)" in text
    assert "their texts are not shown" in text


def test_a_run_without_models_and_one_that_is_not_finished(tmp_path: Path) -> None:
    folder = save(tmp_path / "begun", command="finetune", config={"data": "rows"}, finished=False)
    text = Reader(page_of(folder)).text
    for said in (
        "This run is not finished",
        "No model of this run has been scored",
        "No curves",
        "The records name no data",
    ):
        assert said in text


def test_a_comparison_that_is_not_summed_up_is_shown_as_its_runs(tmp_path: Path) -> None:
    folder = write_comparison(tmp_path / "stopped", write_rows(tmp_path / "rows"), models=2)
    record = json.loads((folder / "record.json").read_bytes())
    record |= {"finished": False, "models": [], "findings": {}, "aggregate": {}, "comparisons": []}
    (folder / "record.json").write_text(json.dumps(record))
    tuning = {"tuning": {"failed": [], "trials": {}, "best": {}}}  # the first trial is loading
    (folder / "record.json").write_text(json.dumps(record | {"findings": tuning, "children": []}))
    assert "This run is not finished" in page_of(folder)
    (folder / "record.json").write_text(json.dumps(record))
    page = page_of(folder)
    assert page.count("This is a run of stopped, which is not finished and not summed up yet.") == 2
    assert "Models disagree</b>: " in page  # the runs answered for the same rows


def test_several_runs_stand_side_by_side(runs: dict[str, Path]) -> None:
    page = page_of(runs["comparison"], runs["distillation"], runs["language model"])
    read = Reader(page)
    assert not read.wrong
    for said in ("comparison: encoder", "distillation: student", "Bold: settings in which the runs differ"):
        assert said in read.text
    assert len(re.findall(r"<h3>rows <small>comparison, distillation</small>", page)) == 1  # one card of the same data


def test_a_search_shows_the_curve_of_the_student_that_it_chose_and_its_own_data(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows")
    folder = write_search(tmp_path / "search", data)
    (run,) = found = read_runs([folder])
    assert run.one() == (folder, run.record)
    scores, losses = curves_of(found, model_lines(found), "accuracy")
    assert [curve.name for curve in scores] == [curve.name for curve in losses] == ["student"]
    assert scores[0].values[-1] == pytest.approx(0.9 - 0.3 / 30)  # that of the last rung
    text = Reader(page_of(folder)).text
    assert run.record["data"]["train"]["fingerprint"][:12] in text
    assert "efefef" not in text  # the fewer rows of the first rung
    del run.record["findings"]["chosen"]  # type: ignore[attr-defined]
    assert curves_of(found, model_lines(found), "accuracy") == ([], [])


def test_several_tasks_show_the_data_of_all(tmp_path: Path) -> None:
    task, parts, _ = described(write_rows(tmp_path / "rows"))
    folder = tmp_path / "glue"
    for name in ("mrpc", "rte"):
        models = [entry("model", 0.9, task["metrics"], 10)]
        save(folder / name, command="glue", config={}, task=task, data=parts, models=models)
    save(
        folder,
        command="glue",
        config={},
        task={"kind": "multi_task", "metrics": ["accuracy"]},
        data={f"{name}, {part}": known for name in ("mrpc", "rte") for part, known in parts.items()},
        models=[entry(name, 0.9, ["accuracy"], 10) for name in ("mrpc", "rte")],
        children=["mrpc/record.json", "rte/record.json"],
    )
    text = Reader(page_of(folder)).text
    assert "mrpc, train" in text
    assert "rte, train" in text


def test_the_notes_of_all_runs_of_a_data_set_are_shown(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows")
    folders = [write_distillation(tmp_path / name, data) for name in ("one", "two")]
    family = write_comparison(tmp_path / "family", data, models=2)
    for folder, notes in ((folders[1], ["Of two."]), (family, ["Of the family."]), (family / "model-0-seed-0", ["A."])):
        record = json.loads((folder / "record.json").read_bytes())
        (folder / "record.json").write_text(json.dumps(record | {"notes": [*record["notes"], *notes]}))
    notes = re.findall(r"<li>(.*?)</li>", page_of(*folders, family).split('<ul class="notes">')[1].split("</ul>")[0])
    leak = "12 training rows also stand in the test split."
    assert notes == [f"one, two: {leak}", "two: Of two.", "family: Of the family.", "family: A."]
    alone = page_of(family)
    assert "<li>Of the family.</li>" in alone
    assert "<li>A.</li>" in alone


def suggestions(shares: list[list[float]], labels: np.ndarray, kind: str) -> dict[int, str]:
    """What the page suggests, by the number of the row."""
    task = Task(text=(("text",),), label="label", kind=kind, labels=("A", "B", "C"))  # type: ignore[arg-type]
    kept = KeptAnswers(["model"], np.array([shares]), labels, task, {})
    found = rows_to_read(kept, None, split="test", most=100).rows
    return {row.number: row.suggestion for row in found if row.suggestion}


def test_the_suggested_class_is_the_one_that_is_in_doubt() -> None:
    sure_of_a, sure_of_b, sure_of_c, odd = [0.98, 0.01, 0.01], [0.35, 0.4, 0.25], [0.1, 0.1, 0.8], [0.5, 0.45, 0.05]
    shares = [sure_of_a] * 5 + [sure_of_b] * 5 + [sure_of_c] * 5 + [odd]
    labels = np.array([0] * 5 + [1] * 5 + [2] * 6)
    assert suggestions(shares, labels, "single_label") == {16: "B"}  # A is likelier, and less likely than A's rows are


def test_of_several_labels_only_those_in_doubt_are_changed() -> None:
    shares = [[0.9, 0.9, 0.1]] * 5 + [[0.1, 0.1, 0.2]] * 5 + [[0.05, 0.6, 0.2]]
    labels = np.array([[1, 1, 0]] * 5 + [[0, 0, 0]] * 5 + [[1, 0, 0]], np.float32)
    assert suggestions(shares, labels, "multi_label") == {11: "none"}  # B is likely, but not as it is in its own rows


def test_the_same_runs_give_the_same_bytes(runs: dict[str, Path]) -> None:
    assert page_of(runs["comparison"]) == page_of(runs["comparison"])


def test_a_thousand_rows_and_seven_models_stay_below_a_megabyte(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows", test=1000, words=80)
    folder = write_comparison(tmp_path / "large", data, models=7, seeds=(0, 1, 2))
    assert 100_000 < len(page_of(folder).encode()) < 1_000_000
    page = page_of(folder, rows=1000)  # more than fits
    assert len(page.encode()) < 1_000_000
    assert not Reader(page).wrong
    sure = sum("sure" in why.split() for why in re.findall(r'data-why="([^"]*)"', page))
    assert sure > 30  # half as many, again and again, of each list the first ones
    (disagree,) = re.findall(r"Models disagree</b>: ([\d,]+), of which (\d+) are shown", page)
    assert int(disagree[0].replace(",", "")) > int(disagree[1]) in (500, 250, 125, 62)
