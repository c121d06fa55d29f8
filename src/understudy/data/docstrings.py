"""Prose from the docstrings of source code, with the names of libraries masked."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Iterator

MASK = "[library]"
"""Replaces the name of any library."""

SHORTEST, LONGEST, CUT = 80, 600, 300
"""A paragraph must have from 80 to 600 characters. It is cut at the last sentence end within 300: a fast demo."""

_NAMES = re.compile(
    r"""
    (?: numpy | scipy | scikits? [-_ ]? (?:learn)? | sklearn | pandas | (?: py | execu )? torch | transformers | cpython | python
      | hugging [ -]? face | matplotlib ) (?: \.org | \.pydata\.org | \.co \b )?
    | \b (?: np | npt | pd | plt | sp | nn ) (?= \. )      # import aliases before a dot
    | \b (?: np | pd | hf ) \b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_UNDERLINE = re.compile(r"[-=~^*#\"']{3,}")
_SECTIONS = {
    "args", "arguments", "attributes", "examples", "example", "methods", "other parameters", "parameters", "raises",
    "references", "return", "returns", "see also", "warns", "yields",
}  # fmt: skip
_NOT_PROSE = re.compile(
    r"[^\w\"'(`:]|\w+ ?:(?!\w)|:(?:param|type|return|rtype|raises)|\d+[.)]|@\w|`{2,}`|\w+ *\(.*\):?$"
)
_LINK = re.compile(r"\[([^\[\]]+)\]\([^()\s]*\)|`([^`<]+) ?<[^`>]*>`_*|https?://\S+|\[[\d, ]+\]_?")
_MARKUP = re.compile(r":(?:\w+:)?\w+:(?=`)|[`|]|~(?=[A-Za-z_.])|\*\*")
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)")


def paragraphs(docstring: str) -> Iterator[str]:
    """The prose of a docstring, paragraph by paragraph, without markup and with library names masked.

    Doctests, code, parameter tables, lists and directives are left out. Paragraphs shorter than :data:`SHORTEST` or
    longer than :data:`LONGEST` are left out too. The rest is cut at the last sentence end within :data:`CUT`.

    Example:
        >>> list(paragraphs('''Sum of the elements of an array over one of its axes, as ``np.add`` would do it.
        ...
        ... >>> np.sum([1, 2])
        ... 3
        ... '''))
        ['Sum of the elements of an array over one of its axes, as [library].add would do it.']
    """
    section = ""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        lines = block.strip("\n").split("\n")
        if len(lines) > 1 and _UNDERLINE.fullmatch(lines[1].strip()):
            section, lines = lines[0].strip().lower(), lines[2:]
        if not lines or section in _SECTIONS or any(line[:1].isspace() or ">>>" in line for line in lines):
            continue
        if lines[0].rstrip().endswith(":") or any(_NOT_PROSE.match(line) for line in lines):
            continue
        text = mask_names(_MARKUP.sub("", _LINK.sub(lambda match: match[1] or match[2] or "", " ".join(lines))))
        text = _cut(" ".join(text.split()))
        if len(text) >= SHORTEST and sum(char.isalpha() or char == " " for char in text) >= 0.85 * len(text):
            yield text


def mask_names(text: str) -> str:
    """Replace every import alias and every name of a library, alone or inside an identifier, by :data:`MASK`.

    Example:
        >>> mask_names("See np.dot, torch.nn.Linear and scikit-learn's is_pandas_df.")
        "See [library].dot, [library].[library].Linear and [library]'s is_[library]_df."
    """
    return _NAMES.sub(MASK, text)


def _cut(text: str) -> str:
    """`text` up to its last sentence end within the limit; empty if it is too long or has no such end."""
    if len(text) > LONGEST:
        return ""
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= CUT]
    return text[: ends[-1]] if ends else ""


def docstrings(source: bytes) -> Iterator[str]:
    """The docstrings of a module, its classes and its functions, in file order; none if the source does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as invalid escapes in other people's code
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    # Only statements are searched: docstrings are never inside expressions, and there are far more expressions.
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = ast.get_docstring(node, clean=False)
            if found:
                yield found
        for field in ("orelse", "body"):
            children = getattr(node, field, None)
            if isinstance(children, list):
                todo += [child for child in reversed(children) if isinstance(child, ast.stmt)]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # numpy's add_newdoc, torch's add_docstr
            for value in node.value.args:
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and len(value.value) > SHORTEST:
                    yield value.value
