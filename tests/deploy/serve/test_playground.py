"""The page in a browser: it asks, it shows, and what a text says never runs."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from serving_stubs import PAIRS, Stub, server, shares_of

from chromium import tab
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


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "rows.csv",
            'id,review\n1,"Good, ""really"""\n2,dull\n3,"two\nlines"\n',
            [("1", 'Good, "really"'), ("2", "dull"), ("3", "two\nlines")],
        ),
        ("lines.txt", "First, with a comma\r\n\r\nlast\n", [("First, with a comma",), ("last",)]),
    ],
)
def test_a_file_comes_back_with_every_models_answers(
    name: str, content: str, expected: list[tuple[str, ...]], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    with server({"one": Stub(), "two": Stub()}) as address, tab() as page:
        page.open(address)
        page.until("document.querySelectorAll('#choices input').length === 2")
        # the page's policy lets nothing read what it has made, so it is kept when it is made
        page.value("URL.createObjectURL = (made) => { window.kept = made; return '#'; }; true")
        root = page.call("DOM.getDocument")["root"]["nodeId"]
        node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        page.call("DOM.setFileInputFiles", files=[str(tmp_path / name)], nodeId=node)
        page.until("!document.getElementById('rows').hidden")
        page.value("document.getElementById('rows').requestSubmit()")
        page.until("!document.getElementById('result').hidden")
        made = page.value("window.kept.text()")
        assert page.value("document.getElementById('result').download") == f"{Path(name).stem}-answers.csv"
        assert page.complaints() == []
    header, *rows = csv.reader(io.StringIO(made, newline=""))
    assert header[-4:] == ["one_label", "one_probability", "two_label", "two_probability"]
    assert [tuple(row[:-4]) for row in rows] == expected
    for row in rows:
        shares = shares_of(row[-5])
        label = max(shares, key=shares.__getitem__)
        assert row[-4:] == [label, f"{shares[label]:.6f}"] * 2
