"""A root with toy tasks of GLUE, in the official layout."""

from __future__ import annotations

import random
from pathlib import Path

WORDS = ["good", "fine", "bad", "awful", "film", "book", "song", "play", "cast", "plot", "the", "is", "very"]


def _words(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(3, 8)))


def _cola(rng: random.Random, i: int, labelled: bool) -> str:
    text = _words(rng) + (" good" if i % 2 else " bad")
    return f"gj04\t{i % 2}\t\t{text}\n" if labelled else f"{i}\t{text}\n"


def _pair(rng: random.Random, i: int, labels: tuple[str, ...]) -> tuple[str, str, str]:
    one = _words(rng)
    return one, one if i % 2 else _words(rng), labels[i % 2]


def write_glue(root: Path, *, train: int = 40, dev: int = 16, test: int = 6) -> Path:
    """CoLA, MRPC, RTE and STS-B, official TSV files, with test files without labels."""
    rng = random.Random(0)
    sizes = {"train": train, "dev": dev, "test": test}
    for split, rows in sizes.items():
        known = split != "test"
        for folder in ("CoLA", "MRPC", "RTE", "STS-B"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        cola = "".join(_cola(rng, i, known) for i in range(rows))
        (root / "CoLA" / f"{split}.tsv").write_text(cola if known else f"index\tsentence\n{cola}", encoding="utf-8")
        lines = [
            "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String" if known else "index\t#1 ID\t#2 ID\t#1 String\t#2 String"
        ]
        for i in range(rows):
            one, other, label = _pair(rng, i, ("0", "1"))
            lines.append(f"{label if known else i}\t1\t2\t{one}\t{other}")
        (root / "MRPC" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        lines = ["index\tsentence1\tsentence2" + "\tlabel" * known]
        for i in range(rows):
            one, other, label = _pair(rng, i, ("not_entailment", "entailment"))
            lines.append(f"{i}\t{one}\t{other}" + f"\t{label}" * known)
        (root / "RTE" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        lines = ["index\tgenre\tsentence1\tsentence2" + "\tscore" * known]
        for i in range(rows):
            one, other = _words(rng).split(), _words(rng).split()
            score = 5 * len(set(one) & set(other)) / len(set(one) | set(other))
            lines.append(f"{i}\tg\t{' '.join(one)}\t{' '.join(other)}" + f"\t{score:.3f}" * known)
        (root / "STS-B" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root
