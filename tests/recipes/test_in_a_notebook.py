"""Recipes as a notebook runs them: silent where asked, and what returns does not also print."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import understudy
from understudy.errors import UnderstudyError


@pytest.mark.usefixtures("quick")
def test_quiet_prints_nothing_and_changes_nothing(
    reviews: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = understudy.Finetune(model="tfidf", data=str(reviews), output=str(tmp_path / "a"), quiet=True).run()
    assert "".join(capfd.readouterr()) == ""
    assert record.folder == tmp_path / "a"
    assert "quiet" not in (tmp_path / "a" / "README.md").read_text(encoding="utf-8").partition("## Notes")[0]
    again = understudy.Finetune(model="tfidf", data=str(reviews), output=str(tmp_path / "a"), resume=True).run()
    assert again.finished
    assert "finished already" in "".join(capfd.readouterr())
    with pytest.raises(UnderstudyError, match="no such file"):
        understudy.Finetune(model="tfidf", data="gone.csv", quiet=True).run()


@pytest.mark.usefixtures("quick")
def test_in_a_notebook_the_record_is_the_table(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    record = understudy.Finetune(model="tfidf", data=str(reviews), output=str(tmp_path / "a")).run()
    said = capsys.readouterr().out
    assert "Quality on the test split" not in said
    assert f"Everything is in {tmp_path / 'a'}" in said
    assert "accuracy" in record._repr_html_()
    assert len(record.errors(3)) <= 3
