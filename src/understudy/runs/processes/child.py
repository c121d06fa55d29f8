"""What a process does that carries out one run of a family, and what it reports in the end."""

from __future__ import annotations

import json
import os
import signal
import traceback
from pathlib import Path
from typing import Any

import torch

from understudy.errors import Interrupted, ModelError, UnderstudyError
from understudy.runs.devices import on_threads
from understudy.terminal.lines import say

_TOO_LARGE = ("can't allocate memory", "not enough memory", "out of memory")


class ChildError(Exception):
    """A run failed by a mistake of ours; what went wrong was printed when it failed."""


def carry_out(recipe: Any, threads: int | None, report_to: int) -> int:
    """Run a recipe, and write down what went wrong, if anything did.

    Args:
        recipe: of the run; everything of it can be sent to another process.
        threads: the most that the run may use; None for what torch finds. How many it trains with is the run's to choose.
        report_to: the file descriptor for :func:`failure`.

    Returns:
        The exit code.
    """
    code, said = 0, dict[str, Any]()
    try:
        with on_threads(threads or torch.get_num_threads()):
            recipe.run()
    except Interrupted as error:
        code = 128 + error.signal_number
    except UnderstudyError as error:
        code, said = 2, {"faults": list(error.faults)}
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            code, said = 2, {"faults": list(out_of_memory(str(error)).faults)}
        else:
            code, said = 1, {"error": _last_line(error), "trace": traceback.format_exc()}
    except Exception as error:
        code, said = 1, {"error": _last_line(error), "trace": traceback.format_exc()}
    with os.fdopen(report_to, "wb") as file:
        file.write(json.dumps(said).encode())
    return code


def failure(code: int, said: bytes) -> Exception | None:
    """What a run failed by, from its exit code and its report; None if it did not.

    Example:
        >>> failure(0, b"{}")
        >>> failure(2, b'{"faults": ["a: no such folder."]}').faults
        ('a: no such folder.',)
        >>> failure(-9, b"").faults[0].partition(".")[0]
        'out of memory (its process was killed by signal 9)'
    """
    if code == 0:
        return None
    try:
        report = json.loads(said)
    except ValueError:
        report = {}
    if "faults" in report:
        return ModelError(*report["faults"])
    if code == -signal.SIGKILL:  # as the system ends a process for which there is no memory
        return out_of_memory(f"its process was killed by signal {-code}")
    if code < 0:
        return ChildError(f"its process was ended by signal {-code}")
    if "trace" in report:
        say(report["trace"])
        return ChildError(report["error"])
    return ChildError(f"its process ended with exit code {code}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there is no memory left, of the machine or of an accelerator.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."))
        True
        >>> is_out_of_memory(RuntimeError("shapes differ"))
        False
    """
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(error).lower() for words in _TOO_LARGE)


def out_of_memory(said: str) -> ModelError:
    """What a run failed by that needed more memory than there is."""
    first = said.strip().partition("\n")[0][:160]
    return ModelError(
        f"out of memory{f' ({first})' if first else ''}. Give --max_tokens 1024, or a smaller --batch_size or --max_length."
    )


def peak_memory_bytes() -> int | None:
    """The most memory that this process has had so far, libraries included; None where the system does not say.

    Example:
        >>> (peak_memory_bytes() or 10**7) > 10**6
        True
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _last_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
