"""1,000 damaged inputs (settings, rows, configurations, tokenizers, records): does each end with exit code 0 or 2?

Never a traceback, never a control character on the terminal, never more than a minute.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from evidence import begin, target, write

MUTATIONS = 1_000
LONGEST_S = 60
ESCAPE = "\x1b]0;PWNED\x07\x1b[31m"
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**63, 10**30, 10**400, -(2**64), 0.5, -0.0, 1e-320, 1e308),
    *(float("nan"), float("inf"), float("-inf")),
    *(
        "",
        " ",
        "nan",
        "inf",
        "-1",
        "1e999",
        "auto",
        "9" * 5000,
        "x" * 5000,
        "\0",
        "\ud800",
        "a\udce9",
        ESCAPE,
        "\u202e",
    ),
    *("2024-01-01", "../..", "/", "/dev/null", "/proc/self/mem", "evil/kernel", "tfidf", "[[", "{", "a|b", "--help"),
    *([], {}, [None], [[]], {"": None}, [1, "a"], {"a": {"b": []}}, ["x"] * 50, [float("nan")], {"\ud800": 1}),
)
"""What stands where something else is expected."""
TOKENS = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b":", b",", b"\n", b"\t"),
    *(b"&a [*a, *a]", b"*a", b"<<: *a", b"!!set {a}", b"!!python/object:os.system x", b"!!binary eA==", b"!!bool x"),
    *(b"2024-99-99", b"---\n", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 3000, b'{"a":' * 3000),
    *(b"\\ud800", b"\\u0000", b"\\u001b[31m", ESCAPE.encode(), b"%", b"|", b">", b"? ", b"~", b".inf", b"0x", b"1_0"),
)
"""What is put into the middle of a file."""
KEYS = (
    "_attn_implementation",
    "attn_implementation",
    "auto_map",
    "to_dict",
    "understudy",
    "",
    "\ud800",
    ESCAPE,
    "0",
    "<<",
)


class Inputs(NamedTuple):
    """Sound inputs, in one folder."""

    rows: Path
    model: Path
    run: Path


class Case(NamedTuple):
    """A damaged input and the command that reads it."""

    kind: str
    arguments: list[str]
    damaged: bytes


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a JSON value, with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def damaged_value(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value with another value somewhere, without some key, or with one more."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        found = list(places(value))
        if not found:
            return rng.choice(VALUES)
        holder, key = rng.choice(found)
        how = rng.random()
        if how < 0.65:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        elif how < 0.8:
            del holder[key]
        elif isinstance(holder, dict):
            holder[rng.choice(KEYS)] = holder.pop(key) if rng.random() < 0.3 else copy.deepcopy(rng.choice(VALUES))
        else:
            holder *= rng.choice((0, 2, 3))
    return value


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """A file with a token put in, a stretch cut out or repeated, a bit flipped, or its end missing."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.randint(1, 40))
        how = rng.random()
        if how < 0.5:
            content = content[:start] + rng.choice(TOKENS) + content[start:]
        elif how < 0.65:
            content = content[:start] + content[end:]
        elif how < 0.8:
            content = content[:end] + content[start:end] * rng.randint(1, 3) + content[end:]
        elif how < 0.95 and start < len(content):
            content = content[:start] + bytes([content[start] ^ 1 << rng.randrange(8)]) + content[start + 1 :]
        else:
            content = content[:start]
    return content


def damaged_json(content: bytes, rng: random.Random) -> bytes:
    """A JSON file with other values, or other bytes."""
    with contextlib.suppress(ValueError, RecursionError):  # it may have been damaged before
        if rng.random() < 0.7:
            return json.dumps(damaged_value(json.loads(content), rng)).encode()
    return damaged_bytes(content, rng)


def make_inputs(folder: Path) -> Inputs:
    """Toy rows, a BERT of random weights, and a finished run."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    from understudy.cli import main

    words = [f"w{i}" for i in range(30)]
    rng = random.Random(0)
    rows = folder / "rows.jsonl"
    lines = [
        {"text": " ".join(rng.sample(words, 6)), "label": ("no", "yes")[i % 2], "score": i / 40} for i in range(40)
    ]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    model = folder / "bert"
    model.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (model / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(model / "vocab.txt"), model_max_length=32).save_pretrained(model)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(**sizes, vocab_size=len(vocabulary), max_position_embeddings=32, type_vocab_size=2)
    BertForSequenceClassification(config).save_pretrained(model)
    run = folder / "run"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main([*finetune(rows), "--output", str(run)]) == 0
    return Inputs(rows, model, run)


def finetune(rows: Path) -> list[str]:
    """A finetune of TF-IDF."""
    return ["finetune", "--model", "tfidf", "--train", str(rows)]


def settings_case(sound: Inputs, folder: Path, rng: random.Random) -> Case:
    """A YAML file of settings."""
    content = (sound.run / "config.yaml").read_bytes()
    told = yaml.safe_load(content) | {"output": str(folder / "new"), "dry_run": True}
    if rng.random() < 0.5:
        content = damaged_bytes(yaml.safe_dump(told).encode(), rng)
    elif rng.random() < 0.5:
        content = yaml.safe_dump(damaged_value(told, rng), allow_unicode=True).encode(errors="replace")
    else:
        content = json.dumps(damaged_value(told, rng)).encode()
    path = _written(folder / "settings.yaml", content)
    commands = (["finetune", "--config", path], ["validate", "finetune", "--config", path], ["run", path])
    return Case("settings", rng.choice(commands), content)


def rows_case(sound: Inputs, folder: Path, rng: random.Random) -> Case:
    """JSON lines: to train on, to predict for, as a teacher's answers."""
    lines = sound.rows.read_bytes().splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 3))):
        line = rng.randrange(len(lines))
        lines[line] = damaged_json(lines[line], rng) + b"\n"
    content = b"".join(lines)
    path = _written(folder / "rows.jsonl", content)
    train = ["finetune", "--model", "tfidf", "--dry_run", "--train"]
    commands = (
        [*train, path],
        [*train, path, "--label", "score"],
        [*train, path, "--kind", "multi_label"],
        [*train, str(sound.rows), "--test", path, "--unlabeled", path],
        ["predict", "--model", str(sound.run), "--input", path],
        ["distill", "--student", "tfidf", "--dry_run", "--data", str(sound.rows), "--teacher", path],
    )
    return Case("rows", rng.choice(commands), content)


def model_case(sound: Inputs, folder: Path, rng: random.Random) -> Case:
    """A file of a model's folder."""
    linear = rng.random() < 0.25
    model = Path(shutil.copytree(sound.run / "model" if linear else sound.model, folder / "model"))
    names = (
        ("config.json", "vocabulary.json")
        if linear
        else ("config.json",) * 3 + ("tokenizer_config.json", "tokenizer.json")
    )
    path = model / rng.choice(names)
    content = damaged_json(path.read_bytes(), rng)
    path.write_bytes(content)
    train = ["finetune", "--train", str(sound.rows), "--dry_run", "--model", str(model)]
    predict = ["predict", "--input", str(sound.rows), "--model", str(model)]
    commands = (predict,) if linear else (predict, predict, train, ["params", str(model)])
    return Case(path.name, rng.choice(commands), content)


def record_case(sound: Inputs, folder: Path, rng: random.Random) -> Case:
    """The record of a run that is to go on, or to be replaced."""
    run = Path(shutil.copytree(sound.run, folder / "run"))
    told = json.loads((run / "record.json").read_bytes()) | {"finished": rng.random() < 0.3}
    content = damaged_json(json.dumps(told).encode(), rng)
    (run / "record.json").write_bytes(content)
    how = ["--resume"] if rng.random() < 0.8 else ["--overwrite", "--dry_run"]
    return Case("record.json", [*finetune(sound.rows), "--output", str(run), *how], content)


def _written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


KINDS = (settings_case, rows_case, model_case, record_case)


def outcome(arguments: list[str]) -> str:
    """How a command ends: its exit code, or what is wrong with its end."""
    from understudy.cli import main

    def late(*_: Any) -> None:
        raise TimeoutError(f"still busy after {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_S)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(arguments)
    except BaseException as error:  # a panic of a Rust library is no Exception
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    raw = {c for c in said.getvalue() if unicodedata.category(c) in {"Cc", "Cs"}} - set("\n\t")
    if raw and arguments[0] != "predict":  # its output is data
        return f"printed {raw}"
    return f"exit {code}"


def trial(sound: Inputs, folder: Path, seed: int) -> tuple[Case, str]:
    """One damaged input, and how the command that reads it ends."""
    rng = random.Random(seed)
    folder.mkdir()
    case = KINDS[seed % len(KINDS)](sound, folder, rng)
    ended = outcome(case.arguments)
    shutil.rmtree(folder)
    return case, ended


def main() -> None:
    """Try all damaged inputs; write how they ended."""
    setting = begin(__doc__)
    count = setting.pick(MUTATIONS, 40)
    raw: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["UNDERSTUDY_CACHE"] = str(folder / "cache")
        sound = make_inputs(folder)
        before = Path.cwd()
        os.chdir(Path(name))
        for seed in range(count):
            start = time.perf_counter()
            case, ended = trial(sound, folder / "case", seed)
            raw.append({"seed": seed, "kind": case.kind, "ended": ended, "seconds": time.perf_counter() - start})
            if ended not in ("exit 0", "exit 2"):
                print(f"{seed}: {case.kind}, {' '.join(case.arguments)}: {ended}", flush=True)
        os.chdir(before)
    bad = sum(row["ended"] not in ("exit 0", "exit 2") for row in raw)
    write(
        setting,
        "mutations",
        question=__doc__ or "",
        config={"mutations": count, "longest_s": LONGEST_S},
        raw=[row for row in raw if row["ended"] not in ("exit 0", "exit 2")],
        summary={
            kind: dict(Counter(row["ended"] for row in raw if row["kind"] == kind))
            for kind in sorted({row["kind"] for row in raw})
        }
        | {"slowest_s": max(row["seconds"] for row in raw)},
        targets=[target("damaged inputs that end otherwise than with exit code 0 or 2", bad, at_most=0)],
    )


if __name__ == "__main__":
    main()
