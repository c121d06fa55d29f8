"""YAML files of settings: plain values alone, and no more of them than anybody writes."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from understudy.errors import ConfigError, shortened

_MOST_BYTES = 1 << 20
_MOST_VALUES = 10_000
"""Values in one document, those behind aliases counted wherever they stand: a few lines can stand for billions."""

_TEXTS = "labels"
"""A list under this name holds texts as they are written: the classes `no` and `yes` are no truth values."""
_NO_SETTING = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "binary", "set", "omap", "pairs")}
_TEXT = "tag:yaml.org,2002:str"
_DECIMAL = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(0|[1-9][0-9_]*)\Z"),
    "tag:yaml.org,2002:float": re.compile(
        r"([-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9_]+)([eE][-+][0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
}
"""Numbers as people write them. To YAML, 1:30 is 90 and 010 is 8."""


def read_documents(path: str) -> list[dict[str, Any]]:
    """The settings in a YAML file: one document, or several between lines of ``---``.

    Raises:
        ConfigError: if it is missing, no YAML, or one of them is no mapping of names.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Name a YAML file.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Name a YAML file.") from None
    except ValueError as error:
        raise ConfigError(f"{path!r}: is not a path ({error}). Name a YAML file.") from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{path}: has more than {_MOST_BYTES:,} bytes, which no file of settings has.")
    try:
        documents = list(yaml.load_all(content.decode(), _Loader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply. Settings are 'name: value' lines.") from None
    if not documents or not all(
        isinstance(document, dict) and all(isinstance(key, str) for key in document) for document in documents
    ):
        raise ConfigError(f"{path}: must hold 'name: value' lines.")
    return documents


class _Loader(yaml.SafeLoader):
    """Mappings, lists, texts, decimal numbers, yes and no. A date is a text: there is no setting that is one."""

    yaml_implicit_resolvers = {
        first: [(tag, _DECIMAL.get(tag, pattern)) for tag, pattern in known if tag not in _NO_SETTING]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {tag: made for tag, made in yaml.SafeLoader.yaml_constructors.items() if tag not in _NO_SETTING}

    def construct_document(self, node: yaml.Node) -> Any:
        """The values of a document, once it is known how many they are."""
        _count(node, {})
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """One value. What Python cannot make of its text is a fault of the file."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, ArithmeticError):
            raise _fault(node, f"{shortened(node.value)} cannot be read as {node.tag.rpartition(':')[2]}") from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping in which no key stands twice; one that `<<` brings in may stand beside a key of its own."""
        seen: set[str] = set()
        for key, value in node.value:
            if key.value == _TEXTS and isinstance(value, yaml.SequenceNode):
                for part in value.value:
                    part.tag = _TEXT if isinstance(part, yaml.ScalarNode) else part.tag
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise _fault(key, f"the key {shortened(key.value)} stands here a second time")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _fault(node: yaml.Node, reason: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, reason, node.start_mark)


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values stand in a node when every alias is written out."""
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES  # an alias to a list inside of it
        parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_count(part, known) for part in parts if isinstance(part, yaml.Node))
    if known[id(node)] > _MOST_VALUES:
        raise _fault(node, f"stands for more than {_MOST_VALUES:,} values")
    return known[id(node)]
