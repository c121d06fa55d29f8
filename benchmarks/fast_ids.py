"""Are nanotoken's ids those of tokenizers, on all texts of the data sets and on 100,000 strings over all blocks of Unicode?

Every line of every data file is a text, whatever its format: quotes, tabs and JSON are odd texts, which is what is wanted.
The vocabulary is that of the bundled encoder, with and without its lower case, whole and cut at 128 tokens.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from evidence import DATA, ROOT, Setting, begin, target, write

GENERATED, AT_ONCE = 100_000, 2000
_ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".csv.gz", ".tsv.gz", ".txt.gz", ".jsonl.gz")
_CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
_BLOCK = 256


def lines_of(setting: Setting) -> Iterator[tuple[str, list[str]]]:
    """The name and the lines of each data file."""
    for path in sorted((ROOT / DATA).rglob("*")):
        if not path.is_file() or not path.name.endswith(_ENDINGS):
            continue
        opener: Any = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
            found = [line.rstrip("\n") for line, _ in zip(file, range(setting.pick(10**9, 200)))]
        yield str(path.relative_to(ROOT / DATA)), found


def generated(count: int) -> list[str]:
    """Strings of characters of one or two blocks, with ASCII among them."""
    rng = random.Random(0)
    texts = []
    for number in range(count):
        starts = [(number * _BLOCK) % len(_CODES), rng.randrange(0, len(_CODES), _BLOCK), 0x20]
        codes = [
            _CODES[min(rng.choice(starts) + rng.randrange(_BLOCK), len(_CODES) - 1)]
            for _ in range(rng.randrange(1, 40))
        ]
        texts.append("".join(map(chr, codes)))
    return texts


def tokenizers_of() -> dict[str, Tokenizer]:
    """The bundled encoder's tokenizer, and the same that keeps capitals and accents."""
    from understudy.models.files.names import bundled_encoder

    content = (Path(bundled_encoder()) / "tokenizer.json").read_text(encoding="utf-8")
    told = json.loads(content)
    told["normalizer"]["lowercase"] = False
    return {"uncased": Tokenizer.from_str(content), "cased": Tokenizer.from_str(json.dumps(told))}


def compared(tokenizer: Tokenizer, texts: list[str]) -> dict[str, Any]:
    """How many texts get other ids, whole or cut; the seconds of both."""
    from understudy.data.tokens.backend import Backend
    from understudy.data.tokens.fast import FastTokenizer

    other, spent, examples = 0, {"tokenizers": 0.0, "nanotoken": 0.0}, list[str]()
    for length in (None, 128):
        plain = Backend(Tokenizer.from_str(tokenizer.to_str()), max_length=length, fast=False)
        quick = FastTokenizer(plain.content, max_length=length, side="right")
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            began = time.perf_counter()
            right = plain.part(some)
            between = time.perf_counter()
            found = quick.encode(some)
            spent["tokenizers"] += between - began
            spent["nanotoken"] += time.perf_counter() - between
            if not (np.array_equal(right.lengths, found.lengths) and np.array_equal(right.ids, found.ids)):
                odd = [text for text in some if plain.part([text]).ids.tolist() != quick.encode([text]).ids.tolist()]
                other += max(len(odd), 1)
                examples += [repr(text)[:80] for text in odd[:3]]
    return {"texts": len(texts), "other": other, "examples": examples[:5], **spent}


def main() -> None:
    """Each file and each vocabulary, then the generated strings."""
    setting = begin(__doc__)
    raw: dict[str, Any] = {}
    for kind, tokenizer in tokenizers_of().items():
        for name, texts in (*lines_of(setting), ("generated", generated(setting.pick(GENERATED, 2000)))):
            raw[f"{kind}, {name}"] = compared(tokenizer, texts)
            print(f"{kind}, {name}: {raw[f'{kind}, {name}']}", flush=True)
    whole = {key: sum(row[key] for row in raw.values()) for key in ("texts", "other", "tokenizers", "nanotoken")}
    write(
        setting,
        "fast_ids",
        question=__doc__ or "",
        config={"generated": setting.pick(GENERATED, 2000), "at_once": AT_ONCE, "cut_at": [None, 128]},
        raw=raw,
        summary={
            **whole,
            "tokenizers_texts_per_second": 2 * whole["texts"] / whole["tokenizers"],
            "nanotoken_texts_per_second": 2 * whole["texts"] / whole["nanotoken"],
        },
        targets=[target("texts with other ids", float(whole["other"]), at_most=0.0)],
    )


if __name__ == "__main__":
    main()
