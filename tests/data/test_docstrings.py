"""Prose from docstrings: what is taken from source code, and which names are masked."""

from __future__ import annotations

import pytest

from understudy.data.docstrings import CUT, MASK, docstrings, mask_names, paragraphs


@pytest.mark.parametrize(
    "name",
    [
        "numpy",
        "NumPy",
        "np.",
        "SciPy",
        "sklearn",
        "scikit-learn",
        "scikit_learn",
        "pandas",
        "pd.",
        "PyTorch",
        "torch",
        "transformers",
        "huggingface",
        "CPython",
        "Python",
        "plt.",
        "nn.",
        "TorchScript",
        "from_numpy",
    ],
)
def test_every_name_becomes_the_same_token(name: str) -> None:
    masked = mask_names(f"as in {name} here")
    assert MASK in masked
    assert "".join(masked.split(MASK)) in (
        "as in  here",
        "as in . here",
        "as in Script here",
        "as in from_ here",
    )


PROSE = "Compute the thing along the axis and give it back in the order in which it was asked for, one by one."


@pytest.mark.parametrize(
    "block",
    [
        ">>> compute(1)\n" + PROSE,
        "x : array_like, " + PROSE,
        "x : array_like\n    " + PROSE,
        "Args:\n    x: " + PROSE,
        "- " + PROSE,
        "1. " + PROSE,
        ".. versionadded:: 1.2 " + PROSE,
        ":param x: " + PROSE,
        "| a | table | " + PROSE,
        "Parameters\n----------\n" + PROSE,
        "See Also\n--------\n" + PROSE,
        "References\n==========\n" + PROSE,
        "Too short to say what it is.",
        "Much too long, " * 60 + "indeed.",
        "No sentence end in the first three hundred characters " + "and on " * 50 + "it goes.",
        "The following code does what one would expect it to do, in the right order, one by one::",
        "x = a + b * (c - d) / [e, f, {g: 1}]; y = x[1:2, ::3] | 0x7f; z = (((1 + 2) * 3) ** 4) % 5.",
    ],
)
def test_what_is_not_prose_is_left_out(block: str) -> None:
    assert list(paragraphs(f"{PROSE}\n\n{block}\n\nNotes\n-----\n{PROSE}\n")) == [PROSE, PROSE]


def test_paragraphs_lose_their_markup_and_end_with_a_sentence() -> None:
    text = f":func:`~collections.namedtuple` makes ``it`` so, see `the guide <https://x.org/y>`_ and [this](http://a.b). {PROSE} "
    [found] = paragraphs(text + PROSE.replace("along", "across") + " " + "More of it. " * 10)
    assert found.startswith("collections.namedtuple makes it so, see the guide and this. Compute")
    assert len(found) <= CUT
    assert found.endswith(".")


def test_docstrings_of_everything_that_has_one() -> None:
    source = b'''"""module"""
class A:
    """class"""
    async def f(self):
        """method"""
        "not a docstring"
if True:
    def g():
        """conditional"""
        return """a string"""
else:
    def h():
        """otherwise"""
try:
    pass
except ImportError:
    def i():
        """except"""
add_newdoc("a", """A docstring that is handed to a call, as compiled functions need it: long enough to be one.""")
'''
    found = list(docstrings(source))
    assert found[:5] == ["module", "class", "method", "conditional", "otherwise"]
    assert found[-1].startswith("A docstring that is handed")


@pytest.mark.parametrize("source", [b"def f(:", b"\x00", b"\xff\xfe", b"# coding: nonsense\nx = 1"])
def test_files_that_do_not_parse_are_no_trouble(source: bytes) -> None:
    assert list(docstrings(source)) == []
