"""The colours of the page have enough contrast, by the closed form of WCAG 2.2, in both themes and on paper."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = files("understudy.report").joinpath("templates", "page.css").read_text(encoding="utf-8")
TEXT, GRAPHIC = 4.5, 3.0
"""The least contrast of text (success criterion 1.4.3, level AA), and of what is drawn (1.4.11)."""
PAIRS = [
    *((ink, ground, TEXT) for ink in ("ink", "soft", "accent") for ground in ("ground", "card", "head", "chosen")),
    *((ink, ground, TEXT) for ink in ("good", "bad") for ground in ("card", "head")),
    ("on-accent", "accent", TEXT),
    ("warn", "warn-ground", TEXT),
    ("card", "ink", TEXT),
    *((f"s{place}", "card", GRAPHIC) for place in range(8)),
    ("grey", "card", GRAPHIC),
    ("edge", "card", GRAPHIC),
    ("edge", "ground", GRAPHIC),
]


def luminance(colour: str) -> float:
    """The relative luminance of ``#rrggbb``."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """(L1 + 0.05) / (L2 + 0.05), the lighter above the darker."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def palettes() -> list[dict[str, str]]:
    """Every block of the style sheet that sets the colours."""
    blocks = re.findall(r"\{([^{}]*--ground:[^{}]*)\}", STYLE)
    return [dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block)) for block in blocks]


def test_contrast_of_known_colours() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the well-known grey just below AA


@pytest.mark.parametrize("number", range(4))
def test_every_pair_has_enough_contrast(number: int) -> None:
    palette = palettes()[number]
    low = {
        (one, other): round(found, 2)
        for one, other, least in PAIRS
        if (found := contrast(palette[one], palette[other])) < least
    }
    assert not low


def test_all_palettes_name_the_same_colours() -> None:
    light, dark, chosen_dark, paper = palettes()
    assert {**light, "ground": "#ffffff"} == paper  # paper has no ground
    assert dark == chosen_dark
    assert light.keys() == dark.keys()
    used = set(re.findall(r"var\(--([\w-]+)\)", STYLE)) - {"c"}
    assert used <= light.keys()
