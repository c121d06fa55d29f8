"""The page by the rules of WCAG 2.2 AA and good practice, as axe-core checks them in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_browser import CHROMIUM, Browser
from page_runs import HOSTILE, write_comparison, write_distillation, write_rows

from understudy.recipes.choose.report import Report

AXE = Path(os.environ.get("UNDERSTUDY_AXE", "node_modules/axe-core/axe.min.js"))
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian's package is chromium)"),
    pytest.mark.skipif(
        not AXE.is_file(), reason="no axe-core: npm install axe-core, and name its axe.min.js in UNDERSTUDY_AXE"
    ),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("pages")
    data, odd = write_rows(place / "rows"), write_rows(place / "odd", hostile=True)
    comparison = write_comparison(place / "comparison", data, seeds=(0, 1))
    several = [
        comparison,
        write_comparison(place / "hostile", odd, names=[HOSTILE, "static", "tfidf"]),
        write_distillation(place / "distillation", data),
    ]
    made = [
        Report(folders=[str(comparison)], output=str(place / "one.html")).run(),
        Report(folders=[str(folder) for folder in several], output=str(place / "several.html")).run(),
    ]
    return [path.as_uri() for path in made]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("number", [0, 1])
def test_no_rule_is_broken(number: int, width: int, dark: bool, browser: Browser, pages: list[str]) -> None:
    browser.open(pages[number], width=width, phone=width < 500, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    browser.evaluate(f"{AXE.read_text(encoding='utf-8')};0")
    found = browser.evaluate(f"""axe.run(document, {{ runOnly: {{ type: "tag", values: {RULES} }} }}).then((result) => [
      result.passes.length,
      result.violations.map((rule) => `${{rule.id}}: ${{rule.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}}`),
    ])""")
    assert found[0] > 40
    assert found[1] == []
