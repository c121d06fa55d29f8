"""One table of commands feeds the command line, the public names, the README and the docs."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from pathlib import Path

import pytest

import understudy
from understudy.commands import COMMANDS, Command, recipe_class, settings_class
from understudy.errors import ConfigError
from understudy.help import help_text
from understudy.report.shown_settings import HIDDEN, shown_settings
from understudy.settings.flags import GROUPS, flags

ROOT = Path(__file__).parents[1]
WITH_SETTINGS = [row for row in COMMANDS if row.settings]


@pytest.mark.parametrize("row", WITH_SETTINGS, ids=lambda row: row.name)
def test_a_command_lies_where_its_heading_says(row: Command) -> None:
    for place in (row.settings, row.recipe):
        assert place.startswith(f"{row.heading.lower()}.")
    settings, recipe = settings_class(row.name), recipe_class(row.name)
    assert issubclass(recipe, settings)
    assert settings.command == recipe.command == row.name
    assert [f.name for f in dataclasses.fields(recipe)] == [f.name for f in dataclasses.fields(settings)]
    assert callable(recipe.run)
    assert (ROOT / "docs" / row.page).exists()


@pytest.mark.parametrize("row", WITH_SETTINGS, ids=lambda row: row.name)
def test_every_flag_has_a_text_and_a_heading(row: Command) -> None:
    for flag in flags(settings_class(row.name)):
        text = help_text(flag)
        assert text.rstrip(")").endswith(".") or text.endswith(")."), f"--{flag.name}: {text!r}"
        assert flag.shown.group in GROUPS
        assert flag.default is not True or flag.shown.off, f"--{flag.name} is on by default: say what --no_ does"
        assert "(default:" not in text


@pytest.mark.parametrize("row", [row for row in WITH_SETTINGS if row.heading == "Train"], ids=lambda row: row.name)
def test_common_flags_fit_two_screens(row: Command, capsys: pytest.CaptureFixture[str]) -> None:
    from understudy.cli import main

    for arguments, most in (([row.name, "--help"], 80), ([row.name, "--help_all"], 200)):
        assert main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= most
        assert max(map(len, lines)) <= 80


def test_public_names_are_the_recipes() -> None:
    tree = ast.parse((ROOT / "src" / "understudy" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.asname: node.module for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert typed == understudy._PUBLIC
    for name in understudy.__all__:
        assert getattr(understudy, name) is not None
    for row in WITH_SETTINGS:
        assert getattr(understudy, row.public) is recipe_class(row.name)


def test_the_readme_and_the_docs_list_every_command() -> None:
    rows = [f"| `understudy {row.name}` | {row.help}. |" for row in COMMANDS]
    readme = "\n".join(["| Command | What it does |", "| --- | --- |", *rows])
    assert readme in (ROOT / "README.md").read_text(encoding="utf-8"), readme
    linked = [f"| [`understudy {row.name}`]({row.page}) | {row.help}. |" for row in COMMANDS]
    index = "\n".join(["| Command | What it does |", "| --- | --- |", *linked])
    assert index in (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), index


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'distill'"):
        settings_class("distil")
    with pytest.raises(ConfigError, match="no settings of its own"):
        recipe_class("validate")


@pytest.mark.parametrize("row", [row for row in WITH_SETTINGS if row.heading == "Train"], ids=lambda row: row.name)
def test_cards_show_every_setting_that_is_given(row: Command) -> None:
    names = [flag.name for flag in flags(settings_class(row.name))]
    shown = dict(shown_settings({"given": dict.fromkeys(names, "given")}))
    assert set(shown) == set(names) - set(HIDDEN)


@pytest.mark.parametrize("row", WITH_SETTINGS, ids=lambda row: row.name)
def test_settings_modules_stand_alone(row: Command) -> None:
    module = importlib.import_module(f"understudy.settings.{row.settings.split(':')[0]}")
    assert module.__doc__
