"""Methods of an object that several threads use, one after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar


class TakesTurns(Protocol):
    """An object whose methods take turns."""

    @property
    def turn(self) -> AbstractContextManager[Any]:
        """A lock that a thread may take again while it has it (``threading.RLock``): such methods call each other."""
        ...


_Object = TypeVar("_Object", bound=TakesTurns)
_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def in_turn(method: Callable[Concatenate[_Object, _Given], _Answer]) -> Callable[Concatenate[_Object, _Given], _Answer]:
    """The method, which waits until no other thread is in one of the object's: what it reads at its start holds to its end."""

    @functools.wraps(method)
    def waiting(self: _Object, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
        with self.turn:
            return method(self, *args, **kwargs)

    return waiting
