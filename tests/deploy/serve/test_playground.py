"""The page in a browser: it asks, it shows, and what a text says never runs."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from serving_stubs import PAIRS, Stub, server, shares_of

from understudy.deploy.serve.served import ServedModels

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
HOSTILE = "<img src=x onerror=document.title='ran'><script>document.title='ran'</script> \" ' & naïve 𝕏"


def opened(url: str, profile: Path) -> str:
    """What stands on the page when it has come to rest."""
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


def explain(model: Any) -> Any:
    """The first character speaks for the label, the second one against it."""
    if model.task is PAIRS:
        return None

    def attribute(text: str, label: str | None) -> dict[str, Any]:
        scores = [("for", 1.0, 0, 1), ("against", -0.5, 1, 2)]
        tokens = [{"token": name, "score": score, "start": a, "end": b, "text": 0} for name, score, a, b in scores]
        return {"label": label or "bad", "tokens": tokens}

    return "made up", attribute


def test_all_models_answer_side_by_side_and_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving_stubs import make_app

    monkeypatch.setattr(
        "serving_stubs.make_app",
        lambda models, **options: make_app(ServedModels(models.sources, explainer=explain), **options),
    )
    hostile = '<b onclick="x">evil</b>'
    with server({"teacher": Stub(), hostile: Stub(), "pairs": Stub(PAIRS)}) as address:
        page = opened(f"{address}/#text={quote(HOSTILE)}&other=second", tmp_path / "profile")
    assert "<title>understudy: playground</title>" in page, "no text has run"
    assert "3 models: teacher, &lt;b onclick" in page
    cards = re.findall(r"<article>.*?</article>", page, re.DOTALL)
    assert len(cards) == 3
    for card, text in zip(cards, (HOSTILE, HOSTILE, (HOSTILE, "second"))):
        shares = shares_of(text)
        label = max(shares, key=shares.__getitem__)
        assert f'<p class="label">{label}</p>' in card
        assert f"{100 * shares[label]:.1f} %" in card
        assert "ms in the model" in card
    told = re.search(r'<div class="heat">(.*?)</div>', cards[0], re.DOTALL)
    assert told
    assert html.unescape(re.sub("<[^>]*>", "", told[1])) == HOSTILE
    assert re.findall(r"<mark[^>]*>(.*?)</mark>", told[1]) == ["&lt;", "i"]
    assert "No gradients here" in cards[2]
    assert not re.search(r"<(img|script[^>]*>document|b )", page)
