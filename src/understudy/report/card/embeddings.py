"""What only the card of a static embedding model shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from understudy.report.card.facts import folder_path
from understudy.report.card.markdown import Markdown, one_line
from understudy.report.scores import Record

EMBEDDING_MODEL = "embeddings"
"""The ``kind`` of the record's task."""


def embeddings_facts(folder: Path, record: Record) -> dict[str, Any]:
    """The values that only ``embeddings_card.md.j2`` uses."""
    path = one_line(folder_path(folder))
    run, model = (json.dumps(name, ensure_ascii=False) for name in (path, f"{path}/model"))
    scored = any((model.get("metrics") or {}) for model in record["models"])
    return {
        "python_example": Markdown(
            f'import understudy\n\nvectors = understudy.load({run}).encode(["a text", "another one"])'
        ),
        "alone_example": Markdown(
            f'from sentence_transformers import SentenceTransformer\n\nvectors = SentenceTransformer({model}).encode(["a text", "another one"])'
        ),
        "scored": scored,
    }
