"""Write the model card of a run folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from understudy.atomic import write_bytes
from understudy.report.card.answering import answering_facts
from understudy.report.card.embeddings import EMBEDDING_MODEL, embeddings_facts
from understudy.report.card.facts import facts_of_a_run
from understudy.report.card.front_matter import front_matter
from understudy.report.card.language import LANGUAGE_MODELS, language_facts
from understudy.report.card.markdown import Markdown, code, escape
from understudy.report.card.several.comparison import comparison_facts
from understudy.report.card.several.family import family_facts
from understudy.report.card.several.searching import search_facts
from understudy.report.card.tasks import tasks_facts
from understudy.report.scores import MULTI_TASK, Record


def write_card(folder: Path, record: Record) -> Path:
    """Write the model card into a run folder; plots in the folder and cards of its children are linked relatively.

    Args:
        folder: the run folder.
        record: its parsed ``record.json``. One with an ``aggregate`` gets the card of a family.

    Returns:
        The card's path, ``README.md`` in the folder.
    """
    path = Path(folder) / "README.md"
    write_bytes(path, card_text(Path(folder), record, front=front_matter(record)).encode())
    return path


def card_text(folder: Path, record: Record, *, front: str, hub: str = "") -> str:
    """The model card of a run.

    Args:
        folder: the run folder.
        record: as for :func:`write_card`.
        front: the front matter, as YAML.
        hub: of a card for the hub, how to use the model from there. It takes the place of what only holds beside the run
            folder.
    """
    if record.get("findings") and record["command"] == "search":
        template, facts = "search_card.md.j2", search_facts(folder, record)
    elif record.get("findings"):
        template, facts = "comparison_card.md.j2", comparison_facts(folder, record)
    elif record.get("aggregate"):
        template, facts = "family_card.md.j2", family_facts(folder, record)
    elif record["task"]["kind"] == MULTI_TASK:
        template, facts = "tasks_card.md.j2", tasks_facts(folder, record)
    elif record["task"]["kind"] == EMBEDDING_MODEL:
        template, facts = "embeddings_card.md.j2", facts_of_a_run(folder, record) | embeddings_facts(folder, record)
    elif record["task"]["kind"] in LANGUAGE_MODELS:
        template, facts = "language_card.md.j2", facts_of_a_run(folder, record) | language_facts(folder, record)
    else:
        template, facts = "card.md.j2", facts_of_a_run(folder, record) | answering_facts(folder, record)
    more = {"front_matter": Markdown(front), "hub": Markdown(hub)}
    return _environment().get_template(template).render(facts | more)


@cache
def _environment() -> Environment:
    """The templates; each is compiled once, also for a family of runs."""
    environment = Environment(
        loader=PackageLoader("understudy.report"),
        autoescape=False,
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    return environment
