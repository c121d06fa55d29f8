"""The commands of a card, run as they are written from the folder where its run was begun."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from understudy import cli

ROWS = ["text,label", *(f"a {word} film number {i},{label}" for i in range(20) for word, label in (("good", "yes"), ("bad", "no")))]  # fmt: skip


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.usefixtures("quick")
def test_the_commands_of_a_card_run_as_written(
    absolute: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_text("\n".join(ROWS) + "\n", encoding="utf-8")
    output = tmp_path / "my runs" / "first" if absolute else Path("my runs/first")
    assert cli.main(["finetune", "--data", "reviews.csv", "--model", "tfidf", "--output", str(output)]) == 0
    card = (output / "README.md").read_text(encoding="utf-8")
    assert str(tmp_path) not in card
    shell, python, again = re.findall(r"```(?:bash|python)\n(.*?)```", card, re.DOTALL)
    capsys.readouterr()

    given, command = shell.split(" | ")
    texts = shlex.split(given)[1].encode().decode("unicode_escape")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(texts.encode()), isatty=lambda: False))
    assert cli.main(shlex.split(command)[1:]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= texts.count("\n")

    exec(compile(python, "card", "exec"), {})
    assert cli.main(shlex.split(again)[1:]) == 0
    assert (tmp_path / "my runs" / "first-again" / "record.json").is_file()
