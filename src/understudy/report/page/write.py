"""The page itself: facts and template in, one file of HTML out that loads nothing and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from understudy.report.card.markdown import one_line
from understudy.report.page.data_card import DataCard
from understudy.report.page.facts import configuration, group_of, grouped_runs, judgement, made_with
from understudy.report.page.rows import RowsToRead
from understudy.report.page.runs import PageRun
from understudy.version import VERSION

MOST_BYTES = 1_000_000
"""A page is smaller than this."""


class Page(NamedTuple):
    """A page of HTML."""

    html: bytes
    rows: int
    """Rows of each list that are shown at most, after rows were left out for the sake of its size."""


def render_page(
    runs: Sequence[PageRun], *, rows: Sequence[RowsToRead], data: Sequence[DataCard], most_rows: int
) -> Page:
    """The page of these runs.

    Args:
        rows: to look at, of each group of runs that answered for the same ones; in each list the first come first.
        data: of each data set.
        most_rows: rows of each list at most. There are fewer where the page would be too large.
    """
    names = [run.name for run in runs]
    groups = [group_of(of) for of in grouped_runs(runs)]
    lines = [line for group in groups for line in group.lines]
    facts = {
        "title": one_line(", ".join(names) if len(names) <= 3 else f"{', '.join(names[:3])} and {len(names) - 3} more"),
        "runs": runs,
        "judgements": [judgement(run, lines) for run in runs],
        "groups": groups,
        "data": data,
        "configuration": configuration(runs),
        "made": [made_with(run) for run in runs],
        "version": VERSION,
        "style": Markup(_asset("page.css")),
        "script": Markup(_asset("page.js")),
        "policy": _policy(),
    }
    while True:
        html = _template().render(facts | {"rows": [part.first(most_rows) for part in rows]}).encode(errors="replace")
        if len(html) < MOST_BYTES or most_rows == 0:
            return Page(html, most_rows)
        most_rows //= 2


def _policy() -> str:
    """Nothing is loaded, sent or run but the style sheet and the script of the page, which are known by their hashes."""
    style, script = (_digest(_asset(name)) for name in ("page.css", "page.js"))
    return f"default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _asset(name: str) -> str:
    """A file of the page, with no line feed at its ends, so that its hash is that of the element's content."""
    return files("understudy.report").joinpath("templates", name).read_text(encoding="utf-8").strip()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("understudy.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: (
            value if isinstance(value, Markup) else one_line(value) if isinstance(value, str) else value
        ),
    )
    return environment.get_template("page.html.j2")
