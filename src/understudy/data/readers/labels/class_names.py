"""The class names that ``datasets`` writes into the schema of its files, at any depth of a column."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa


def schema_features(schema: pa.Schema) -> dict[str, Any]:
    """What a schema's metadata say of each column, as ``datasets`` writes it; empty if they say nothing."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def class_names(feature: Any) -> list[str] | None:
    """The names of a column of class numbers; None if it is another kind of column."""
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def has_class_names(feature: Any) -> bool:
    """Whether there are class names in a column.

    Example:
        >>> has_class_names({"feature": {"names": ["no", "yes"], "_type": "ClassLabel"}, "_type": "List"})
        True
    """
    if isinstance(feature, list):
        return any(map(has_class_names, feature))
    if not isinstance(feature, dict):
        return False
    return class_names(feature) is not None or any(map(has_class_names, feature.values()))


def with_class_names(value: Any, feature: Any) -> Any:
    """A value with the names of its classes; a number that is no class (-1 means: no label) is missing.

    Example:
        >>> with_class_names([1, 0, -1], {"feature": {"names": ["no", "yes"], "_type": "ClassLabel"}, "_type": "List"})
        ['yes', 'no', None]
    """
    if value is None or not has_class_names(feature):
        return value
    if isinstance(feature, list):
        feature = {"feature": feature[0]}
    names = class_names(feature)
    if names is not None:
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
    inner = feature.get("feature", feature)
    if isinstance(value, list):
        return [with_class_names(item, inner) for item in value]
    if isinstance(value, dict):  # a Sequence of an object is an object of lists
        return {key: with_class_names(item, _part(item, inner, key)) for key, item in value.items()}
    return value


def _part(item: Any, feature: Any, key: str) -> Any:
    part = feature.get(key) if isinstance(feature, dict) else None
    return {"feature": part} if isinstance(item, list) and isinstance(part, dict) and "feature" not in part else part
