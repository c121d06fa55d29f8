"""Mistakes of the user, and the messages for them: the thing, the rule, the value, the way out."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType


class UnderstudyError(Exception):
    """A mistake of the user, as one or more complete sentences. It is shown without a traceback; the exit code is 2.

    Example:
        >>> UnderstudyError("a.csv: no such file.", "epochs must be positive, but is 0.").faults
        ('a.csv: no such file.', 'epochs must be positive, but is 0.')
    """

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class ConfigError(UnderstudyError):
    """A flag, key or value of the configuration is wrong."""


class DataError(UnderstudyError):
    """A data file is missing, cannot be read, or contains what the task does not allow."""


class ModelError(UnderstudyError):
    """A model folder or hub id cannot be used for what it was given for."""


class OutputError(UnderstudyError):
    """A run folder or a cache cannot be written, or must not be overwritten."""


class Interrupted(Exception):
    """A signal asked the run to stop.

    Args:
        signal_number: the number of the signal.
        remedy: a sentence that says how to continue.
        saved: whether a checkpoint was written.
    """

    def __init__(
        self, signal_number: int, remedy: str = "Go on with the same command and --resume.", *, saved: bool = True
    ) -> None:
        super().__init__(f"stopped by signal {signal_number}{'; the checkpoint is written' * saved}")
        self.signal_number = signal_number
        self.remedy = remedy


@contextmanager
def gathered(faults: list[str]) -> Iterator[None]:
    """Inside, a mistake of the user is added to `faults` instead of ending the work.

    Example:
        >>> faults = ["a.csv: no such file."]
        >>> with gathered(faults):
        ...     raise ConfigError("epochs must be positive, but is 0.")
        >>> faults
        ['a.csv: no such file.', 'epochs must be positive, but is 0.']
    """
    try:
        yield
    except UnderstudyError as error:
        faults += error.faults


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message: the known name that is most like `word`, or nothing.

    Example:
        >>> nearest("postive", ["negative", "positive"])
        " Did you mean 'positive'?"
        >>> nearest("zebra", ["negative", "positive"])
        ''
        >>> nearest("int4", ["int8", "int4-weight"])
        " Did you mean 'int4-weight'?"
    """
    names = [str(name) for name in known]
    begun = [name for name in names if name.startswith(word)] if len(word) > 1 else []
    close = begun[:1] if len(begun) == 1 else difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def shortened(value: object, most: int = 100) -> str:
    """A value as Python writes it, cut in the middle where that is long: a message is for reading.

    Example:
        >>> shortened("reviews.csv"), shortened("x" * 50, 12)
        ("'reviews.csv'", "'xxxxx…xxxx'")
    """
    try:
        written = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return f"a value of type {type(value).__name__} that is too long to write"
    return written if len(written) <= most else f"{written[: most // 2]}…{written[-(most // 2) + 1 :]}"


def require(module: str, *, extra: str, package: str = "understudy") -> ModuleType:
    """Import an optional module. Where it is missing, the error says how to install it.

    Args:
        module: its name.
        extra: what brings it along.
        package: the distribution with that extra.

    Raises:
        UnderstudyError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise UnderstudyError(
            f"this needs '{module}', which is not installed. Run: pip install '{package}[{extra}]'"
        ) from None
