"""The page in a real browser: it sorts, searches and tells its values; nothing leaves it, and nothing foreign runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from page_browser import CHROMIUM, Browser
from page_runs import HOSTILE, write_comparison, write_distillation, write_rows

from understudy.recipes.choose.report import Report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian's package is chromium)")

ORDER = """(() => {{
  const table = [...document.querySelectorAll("table")].find((t) => t.caption.textContent.startsWith({caption}));
  return [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()));
}})()"""
HEADING = """[...document.querySelectorAll("table")].find((t) => t.caption.textContent.startsWith({caption}))
  .tHead.rows[0].cells[{place}]"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("pages")
    data, odd = write_rows(place / "rows"), write_rows(place / "odd", hostile=True)
    folders = {
        "comparison": [write_comparison(place / "comparison", data, seeds=(0, 1))],
        "hostile": [
            write_comparison(place / "hostile", odd, names=[HOSTILE, "static", "tfidf"]),
            write_distillation(place / "distillation", odd, hostile=True),
        ],
    }
    found = {}
    for name, of in folders.items():
        path = Report(folders=[str(folder) for folder in of], output=str(place / f"{name}.html")).run()
        found[name] = path.as_uri()
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def column(browser: Browser, caption: str, place: int) -> list[str]:
    """The texts of a column of a table, in the order in which they stand."""
    rows = browser.evaluate(ORDER.format(caption=json.dumps(caption)))
    return [row[place] for row in rows]


def heading(caption: str, place: int) -> str:
    """The script that finds a heading."""
    return HEADING.format(caption=json.dumps(caption), place=place)


@pytest.mark.parametrize("name", ["comparison", "hostile"])
@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_is_logged_nothing_leaves_and_nothing_runs(
    name: str, width: int, browser: Browser, pages: dict[str, str]
) -> None:
    called: list[Any] = []
    browser.open(pages[name], width=width, phone=width < 500)
    browser.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    browser.evaluate("document.querySelectorAll('th button').forEach((button) => button.click())")
    called += [event for event in browser.events if event["method"] == "Page.javascriptDialogOpening"]
    assert not called
    assert browser.complaints() == []
    assert browser.requests() == [pages[name]]
    assert browser.evaluate("document.images.length + document.scripts.length") == 1
    assert browser.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    if name == "hostile":
        assert HOSTILE in browser.evaluate("document.querySelector('.texts tbody').textContent")


def test_the_policy_stops_what_is_not_of_the_page(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["comparison"])
    ran = browser.evaluate("""new Promise((done) => {
      const script = document.createElement("script");
      script.textContent = "window.foreign = true";
      document.body.append(script);
      const image = document.createElement("img");
      image.src = "http://127.0.0.1:9/x.png";
      image.onerror = () => done(window.foreign === true);
      document.body.append(image);
    })""")
    assert ran is False
    assert any("Content Security Policy" in text for text in browser.complaints())  # so the test would see one


def test_a_table_sorts_by_value_with_the_keyboard(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["comparison"])
    size = next(
        place
        for place, name in enumerate(
            browser.evaluate(f"[...{heading('Cost', 0)}.parentNode.cells].map((c) => c.textContent)")
        )
        if name.startswith("Size")
    )
    assert column(browser, "Cost", size) == ["100 MB", "33.3 MB", "11.1 MB", "3.7 MB"]
    browser.evaluate(f"{heading('Cost', size)}.querySelector('button').focus()")
    browser.press("Enter")
    assert column(browser, "Cost", size) == ["3.7 MB", "11.1 MB", "33.3 MB", "100 MB"]  # not as words
    assert browser.evaluate(f"{heading('Cost', size)}.getAttribute('aria-sort')") == "ascending"
    browser.press("Enter")
    assert column(browser, "Cost", size)[0] == "100 MB"
    assert browser.evaluate(f"{heading('Cost', size)}.getAttribute('aria-sort')") == "descending"
    assert "descending" in browser.evaluate("document.querySelector('#said').textContent")
    browser.evaluate(f"{heading('Cost', 0)}.querySelector('button').click()")
    assert column(browser, "Cost", 0) == ["encoder", "layers:3", "static", "tfidf"]
    assert browser.evaluate(f"{heading('Cost', size)}.getAttribute('aria-sort')") == "none"


def test_a_score_is_first_sorted_from_the_best_and_empty_cells_are_last(
    browser: Browser, pages: dict[str, str]
) -> None:
    browser.open(pages["comparison"])
    browser.evaluate(f"{heading('Quality', 1)}.querySelector('button').click()")
    assert column(browser, "Quality", 0) == ["encoder", "layers:3", "static", "tfidf"]
    browser.evaluate(f"{heading('Quality', 1)}.querySelector('button').click()")
    assert column(browser, "Quality", 0) == ["tfidf", "static", "layers:3", "encoder"]
    for _ in range(2):  # in both directions
        browser.evaluate(f"{heading('Rows of the test', 6)}.querySelector('button').click()")
        doubts = column(browser, "Rows of the test", 6)
        known = [text for text in doubts if text]
        assert doubts == known + [""] * (len(doubts) - len(known))
        assert 0 < len(known) < len(doubts)


def test_rows_are_searched_and_filtered(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["comparison"])
    shown = (
        "[...document.querySelectorAll('.texts tbody tr')].filter((row) => !row.hidden).map((row) => row.textContent)"
    )
    everything = browser.evaluate(shown)
    assert 5 < len(everything) <= 25
    words = everything[3].split()
    word = next(text for text in words if text.startswith("test"))
    browser.evaluate(
        f"(() => {{ const box = document.querySelector('[type=search]'); box.value = {json.dumps(word.upper())};"
        " box.dispatchEvent(new Event('input')); })()"
    )
    found = browser.evaluate(shown)
    assert 0 < len(found) < len(everything)
    assert all(word in text for text in found)
    assert f"{len(found)} of {len(found)} rows that fit" in browser.evaluate(
        "document.querySelector('.count').textContent"
    )
    browser.evaluate(
        "(() => { const box = document.querySelector('[type=search]'); box.value = ''; box.dispatchEvent(new Event('input'));"
        " document.querySelector('[type=radio][value=doubt]').click(); })()"
    )
    expected = browser.evaluate("document.querySelectorAll('[data-why~=doubt]').length")
    assert len(browser.evaluate(shown)) == min(expected, 25) > 0


def test_more_rows_are_shown_when_asked_for(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["comparison"])
    hidden = "[...document.querySelectorAll('.texts tbody tr')].filter((row) => row.hidden).length"
    before = browser.evaluate(hidden)
    assert browser.evaluate("document.querySelector('.more').hidden") is (before == 0)
    browser.evaluate("document.querySelector('.more').click()")
    assert browser.evaluate(hidden) == max(before - 50, 0)


def test_values_are_told_by_the_keyboard(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["comparison"])
    browser.evaluate("document.querySelectorAll('svg.chart')[3].querySelector('.mark[tabindex=\"0\"]').focus()")
    told = "[document.activeElement.getAttribute('aria-label'), document.querySelector('#tip').textContent, document.querySelector('#tip').hidden]"
    first = browser.evaluate(told)
    assert first[0] == first[1]
    assert first[0].startswith("encoder")
    assert "at step 5" in first[0]
    assert first[2] is False
    browser.press("ArrowRight")
    second = browser.evaluate(told)
    assert second[0] == second[1]
    assert "at step 10" in second[0]
    browser.press("ArrowDown")
    below = browser.evaluate(told)
    assert "at step 10" in below[0]
    assert not below[0].startswith("encoder")
    browser.press("End")
    assert "at step 30" in browser.evaluate(told)[0]
    assert (
        browser.evaluate("document.querySelectorAll('svg.chart')[3].querySelectorAll('.mark[tabindex=\"0\"]').length")
        == 1
    )
    browser.press("Tab")
    assert browser.evaluate(told)[2] is True


def test_values_are_told_by_the_pointer(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["comparison"])
    x, y, expected = browser.evaluate("""(() => {
      const mark = document.querySelectorAll("svg.chart")[1].querySelectorAll(".mark")[2];
      mark.scrollIntoView({ block: "center", behavior: "instant" });
      const box = mark.querySelector(".dot").getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2, mark.getAttribute("aria-label")];
    })()""")
    browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    browser.point(x + 3, y + 2)
    assert browser.evaluate("[document.querySelector('#tip').hidden, document.querySelector('#tip').textContent]") == [
        False,
        expected,
    ]
    box = browser.evaluate(
        "(() => { const b = document.querySelector('#tip').getBoundingClientRect(); return [b.left, b.right, innerWidth]; })()"
    )
    assert 0 <= box[0] < box[1] <= box[2]
    browser.point(2, 2)
    assert browser.evaluate("document.querySelector('#tip').hidden") is True


def test_the_theme_follows_the_system_until_it_is_chosen(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["comparison"])
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.evaluate(ground)
    browser.scheme(dark=True)
    dark = browser.evaluate(ground)
    assert light != dark
    browser.evaluate("document.querySelector('#theme').click()")
    assert browser.evaluate(ground) == light  # light, though the system is dark
    browser.evaluate("document.querySelector('#theme').click()")
    browser.scheme(dark=False)
    assert browser.evaluate(ground) == dark
    browser.evaluate("document.querySelector('#theme').click()")
    assert browser.evaluate(ground) == light


def test_on_paper_it_is_light_and_without_controls(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["comparison"], dark=True)
    browser.scheme(dark=True, media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        browser.evaluate(
            "['nav', '.tools', '#theme'].map((part) => getComputedStyle(document.querySelector(part)).display)"
        )
        == ["none"] * 3
    )


def test_without_a_script_everything_is_there(browser: Browser, pages: dict[str, str]) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["comparison"])
        document = browser.call("DOM.getDocument", depth=0)["root"]["nodeId"]
        rows = browser.call("DOM.querySelectorAll", nodeId=document, selector=".texts tbody tr:not([hidden])")
        charts = browser.call("DOM.querySelectorAll", nodeId=document, selector="svg.chart")
        dead = browser.call(
            "DOM.querySelectorAll", nodeId=document, selector="#theme:not([hidden]), .tools:not([hidden])"
        )
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert len(rows["nodeIds"]) > 5
    assert len(charts["nodeIds"]) == 7
    assert not dead["nodeIds"]
