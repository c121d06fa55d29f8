"""Every command and every Python snippet of ours in ``docs/coming-from.md`` runs, on tiny data with tiny models."""

from __future__ import annotations

import ast
import csv
import io
import pickle
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from torch import nn

from understudy import cli
from understudy.commands import BY_NAME, COMMANDS, settings_class
from understudy.errors import UnderstudyError
from understudy.parsing import parse
from understudy.record import RunRecord
from understudy.settings.flags import flags

PAGE = Path(__file__).parents[2] / "docs" / "coming-from.md"
OURS = "here"
ONE: dict[str, str | None] = {"epochs": "1"}
ALONE = {**ONE, "no_baseline": None}
SMALLER = {
    "runs/lm-rate": {"steps": "20"},
    "runs/lm": ONE,
    "runs/classifier": {"unfreeze_epochs": "1", "no_baseline": None},
    "runs/teacher": ALONE,
    "runs/glove": ONE,
    "runs/labels": ONE,
    "runs/domain": ONE,
    "runs/gpt2": {**ONE, "max_length": "32"},
    "runs/sst2": ALONE,
    "runs/adapted": ONE,
    "runs/student": ALONE,
    "runs/small": ONE,
    "runs/two-stage": ALONE,
    "runs/few-frozen": {"no_baseline": None},
    "runs/few": ALONE,
    "runs/few-student": ALONE,
    "runs/static": ALONE,
}
"""What is made smaller for a test, by the output of the command. All else runs as it stands in the page."""


class Fence(NamedTuple):
    """A block of code: its language, whose it is, what it says, and where it begins."""

    language: str
    title: str
    code: str
    line: int


def fences(text: str) -> list[Fence]:
    """All blocks of code, in order."""
    found = re.finditer(r"^```(\w*)([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    return [
        Fence(
            match[1],
            "".join(re.findall(r'title="([^"]+)"', match[2])),
            match[3],
            text.count("\n", 0, match.start()) + 1,
        )
        for match in found
    ]


def commands(fence: Fence) -> list[list[str]]:
    """The command lines of a block, as a shell would split them."""
    lines = fence.code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def ours(text: str) -> list[str]:
    """The inline code that speaks of Understudy: all but the first column of tables."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    parts = [line.split(" | ", 1)[1] if line.startswith("| ") else line for line in prose.splitlines()]
    return re.findall(r"`([^`]+)`", "\n".join(parts))


TEXT = PAGE.read_text(encoding="utf-8")
FENCES = fences(TEXT)
RECIPES = [row.name for row in COMMANDS if row.settings]


def smaller(words: list[str]) -> list[str]:
    """The command with fewer epochs, steps or tokens, where the table above has some for its output."""
    output = words[words.index("--output") + 1] if "--output" in words else None
    for name, value in SMALLER.get(str(output), {}).items():
        if f"--{name}" in words:
            start = words.index(f"--{name}") + 1
            end = next((i for i in range(start, len(words)) if words[i].startswith("--")), len(words))
            words = words[: start - 1] + words[end:]
        words = [*words, f"--{name}", *([] if value is None else [value])]
    return words


def write_fastai(folder: Path, words: list[str]) -> None:
    """A published model of fast.ai 1 at toy size: three layers of 4 and 6, and its vocabulary."""
    torch.manual_seed(0)
    words = ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep", *words]
    table = torch.randn(len(words), 4)
    weights = {"0.encoder.weight": table, "0.encoder_dp.emb.weight": table, "1.decoder.weight": table}
    weights["1.decoder.bias"] = torch.randn(len(words))
    for i, lstm in enumerate([nn.LSTM(4, 6), nn.LSTM(6, 6), nn.LSTM(6, 4)]):
        for name, tensor in lstm.state_dict().items():
            weights[f"0.rnns.{i}.{name}_raw" if name == "weight_hh_l0" else f"0.rnns.{i}.module.{name}"] = tensor
    torch.save({"model": weights, "opt": {}}, folder / "lstm_wt103.pth")
    (folder / "itos_wt103.pkl").write_bytes(pickle.dumps(words))


@pytest.fixture
def place(
    tmp_path: Path, reviews: Path, tiny_bert: Path, byte_level: Any, monkeypatch: pytest.MonkeyPatch, quick: None
) -> Path:
    """A folder with everything that the page names, hub ids included: they are tiny models under the same path."""
    monkeypatch.chdir(tmp_path)
    for name, split in {"reviews.csv": "train", "valid.csv": "validation", "new.csv": "test"}.items():
        shutil.copy(reviews / f"{split}.csv", tmp_path / name)
    lines = (reviews / "pool.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    for name, some in {"texts.txt": lines[:70], "valid.txt": lines[70:90], "pool.txt": lines[90:130]}.items():
        (tmp_path / name).write_text("".join(some), encoding="utf-8")
    (tmp_path / "SST-2").mkdir()
    for name, split in {"train": "train", "dev": "validation"}.items():
        rows = csv.DictReader(io.StringIO((reviews / f"{split}.csv").read_text(encoding="utf-8")))
        table = [f"{row['text']}\t{int(row['label'] == 'positive')}\n" for row in rows]
        (tmp_path / "SST-2" / f"{name}.tsv").write_text("".join(["sentence\tlabel\n", *table]), encoding="utf-8")

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert, model_max_length=128)
    words = [word for word in tokenizer.get_vocab() if word.isalpha()]
    vectors = [f"{word} {' '.join(f'{number:.3f}' for number in torch.randn(100).tolist())}\n" for word in words]
    (tmp_path / "glove.6B.100d.txt").write_text("".join(vectors), encoding="utf-8")
    write_fastai(tmp_path, words)
    config = transformers.BertConfig.from_pretrained(tiny_bert, max_position_embeddings=128)
    gpt2 = transformers.GPT2Config(
        vocab_size=300, n_embd=8, n_layer=1, n_head=1, n_positions=512, bos_token_id=0, eos_token_id=0
    )
    for name, model, its in (
        ("google-bert/bert-base-uncased", transformers.BertModel(config), tokenizer),
        ("sentence-transformers/paraphrase-mpnet-base-v2", transformers.BertModel(config), tokenizer),
        ("openai-community/gpt2", transformers.GPT2LMHeadModel(gpt2), byte_level),
    ):
        model.save_pretrained(tmp_path / name)
        its.save_pretrained(tmp_path / name)
    return tmp_path


def test_every_command_and_snippet_of_the_page_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs: set[str] = set()
    for fence in FENCES:
        if fence.title != OURS:
            continue
        if fence.language == "python":
            exec(compile("\n" * fence.line + fence.code, str(PAGE), "exec"), {"__name__": "snippet"})
            continue
        for program, *words in commands(fence):
            said = f"{PAGE.name}, block at line {fence.line}: {program} {shlex.join(words)}"
            assert program == "understudy", said
            code = cli.main(smaller(words))
            assert code == 0, f"{said}\n{capsys.readouterr().err}"
            if "--output" in words:
                outputs.add(words[words.index("--output") + 1])
    assert set(SMALLER) <= outputs, "SMALLER has outputs that the page no longer has"
    for output in outputs:
        assert (place / output).exists()
        record = place / output / "record.json"
        assert not record.exists() or RunRecord.load(record).finished


def test_blocks_say_whose_they_are() -> None:
    """So that none of ours can be missed: it would be taken for another library's, and not run."""
    sections = TEXT.split("\n## ")[1:]
    assert len(sections) == 8
    for section in sections[:-1]:
        titles = [fence.title for fence in fences(section)]
        assert all(titles), f"a block without a title in {section.splitlines()[0]}"
        assert OURS in titles
        assert set(titles) != {OURS}
        assert "| there | here |" in section
    for fence in FENCES:
        assert fence.language in ("bash", "python")
        assert fence.title == OURS or "understudy" not in fence.code
        if fence.language == "python":
            ast.parse(fence.code)


def test_what_is_said_in_passing_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """Inline code of ours: commands stand alone, as in ``understudy generate``; flags exist, with the values shown."""
    known = {name: {f"--{flag.name}" for flag in flags(settings_class(name))} for name in RECIPES}
    names = set(BY_NAME)
    spans = ours(TEXT)
    for span in spans:
        if span.startswith("understudy "):
            command = span.removeprefix("understudy ")
            assert command in names, f"`{span}`: not a command by itself; put it into a block, so that it is run"
        if span.startswith("--"):
            words = shlex.split(span)
            takers = [name for name in RECIPES if words[0] in known[name]]
            assert takers, f"`{span}`: no command has this flag"
            assert len(words) == 1 or any(accepts(name, words) for name in takers), f"`{span}`\n{capsys.readouterr()}"
    assert sum(span.startswith("--") for span in spans) > 80


def accepts(command: str, words: list[str]) -> bool:
    """Whether a command can read these flags; nothing is run."""
    try:
        return not isinstance(parse(command, words), int)
    except UnderstudyError:
        return False
