"""Reviews of a dozen words, whose label a few of them give away: what the tests train on."""

from __future__ import annotations

import csv
import random
from pathlib import Path

WORDS = [
    "good",
    "fine",
    "great",
    "lovely",
    "nice",
    "bad",
    "awful",
    "poor",
    "dreadful",
    "sad",
    "film",
    "book",
    "song",
    "play",
    "cast",
    "plot",
    "the",
    "a",
    "is",
    "was",
    "very",
    "quite",
]
GOOD, BAD = WORDS[:5], WORDS[5:10]


def sentence(rng: random.Random, label: str) -> str:
    """A toy review whose class shows in one or two of its words."""
    words = [rng.choice(WORDS[10:]) for _ in range(rng.randint(3, 12))]
    for _ in range(rng.randint(1, 2)):
        words.insert(rng.randrange(len(words) + 1), rng.choice(GOOD if label == "positive" else BAD))
    return " ".join(words)


def write_reviews(path: Path, rows: int, seed: int) -> None:
    """A CSV of toy reviews."""
    rng = random.Random(seed)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(rows):
            label = ("negative", "positive")[i % 2]
            writer.writerow([f"{sentence(rng, label)} {seed}x{i}", label])
