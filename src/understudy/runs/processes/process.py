"""The process of one run, from the outside: begun, waited for, asked to write its checkpoint. No torch here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from understudy.runs.fitting.apart import framed

LAST_WORDS_S = 120.0
"""Seconds that a process may take to write its checkpoint."""


@dataclass
class RunProcess:
    """A process that carries out a run."""

    process: subprocess.Popen[bytes]
    report: int
    """The file descriptor of what it says in the end."""

    @classmethod
    def start(
        cls, work: bytes, *, quiet: bool, environment: Mapping[str, str] | None = None, folder: str | None = None
    ) -> RunProcess:
        """Begin a run. The process goes when this one does.

        Args:
            work: a pickled function of the file descriptor that it reports to, which returns the exit code.
            quiet: print nothing.
            environment: variables of the process; those of this one by default.
            folder: the one that it is in; that of this one by default.
        """
        report, theirs = os.pipe()
        begin = f"import sys; sys.path = {sys.path!r}; from understudy.runs.fitting.apart import main; main({theirs})"
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", begin],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if quiet else None,
                stderr=subprocess.DEVNULL if quiet else None,
                pass_fds=(theirs,),
                env=environment,
                cwd=folder,
                start_new_session=True,  # signals of the terminal are this process's to hand on
            )
        finally:
            os.close(theirs)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has died already: its exit code says so
            process.stdin.write(framed(work))
            process.stdin.flush()
        return cls(process, report)

    def end(self) -> tuple[int, bytes]:
        """Wait for its end; its exit code and its report, see :func:`understudy.runs.processes.child.failure`."""
        with os.fdopen(self.report, "rb") as file:
            said = file.read()
        code = self.process.wait()
        self._let_go()
        return code, said

    def ask_to_end(self) -> None:
        """Ask it to write a checkpoint and to end, and do not wait."""
        self.process.terminate()

    def stop(self) -> None:
        """Have it write a checkpoint and end."""
        self.ask_to_end()
        try:
            self.process.wait(LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.report)
        self._let_go()

    def _let_go(self) -> None:
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()
