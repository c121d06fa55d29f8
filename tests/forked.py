"""``python -c`` without its imports: processes that are forked from one in which nothing has been computed yet.

Such a process can be killed, and has a memory and an environment of its own, but takes a few hundredths of a second in
place of five seconds. It has the modules that were imported when the tests were collected, and those that runs import
later. What depends on how Python starts (what is imported, hash seeds, OpenMP's settings) is tested with ``subprocess``.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import IO, Any, NoReturn

import little

_ADDRESS = "UNDERSTUDY_TESTS_FORKED"
"""Where the server listens, for the processes that it forks too."""
_COMMAND = "import sys, torch; torch.set_num_threads(1); from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
_NEEDED = (
    *(
        "pandas",
        "pyarrow.pandas_compat",
        "pydantic.dataclasses",
        "pydantic.type_adapter",
        "sklearn.feature_extraction.text",
        "sklearn.linear_model",
    ),
    *("sklearn.metrics", "transformers.models.bert.modeling_bert", "understudy.parsing"),
    *("understudy.recipes.train.distill.recipe", "understudy.recipes.train.finetune.recipe"),
)
_MOST_FILES = 8
"""That one process is given."""
_NUMBER = 16
"""Bytes that a number is sent in."""


class Process:
    """A running process, with what callers need of :class:`subprocess.Popen`."""

    def __init__(self, connection: socket.socket, stdin: IO[bytes] | None) -> None:
        self._connection, self.stdin = connection, stdin
        self.pid, self.returncode = int(connection.recv(_NUMBER)), None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
            self.returncode = int(self._connection.recv(_NUMBER))
            self._connection.close()
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, kind: signal.Signals) -> None:
        if self.returncode is None and not select.select([self._connection], [], [], 0)[0]:
            os.kill(self.pid, kind)


def run(
    code: str, *arguments: object, env: Mapping[str, str] = os.environ, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)``."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(code, *arguments, env=env, stdout=out.fileno(), stderr=err.fileno())
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess([code, *map(str, arguments)], process.wait(), *said)


def understudy(*arguments: object, failpoint: str) -> subprocess.CompletedProcess[str]:
    """A command, on one thread, that a failpoint kills."""
    return run(_COMMAND, *arguments, env={**os.environ, "UNDERSTUDY_FAILPOINT": failpoint, "OMP_NUM_THREADS": "1"})


def start(
    code: str,
    *arguments: object,
    env: Mapping[str, str] = os.environ,
    stdout: int,
    stderr: int,
    stdin: bool | int = False,
    passed: Sequence[int] = (),
) -> Process:
    """A process that runs `code`; where its output goes are file descriptors, `stdin` too, or True for a pipe.

    It has the descriptors that are `passed`, by the same numbers.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ[_ADDRESS])
    read, write = os.pipe() if stdin is True else (os.open(os.devnull, os.O_RDONLY), None)
    if type(stdin) is int:
        os.dup2(stdin, read)
    given = {"code": code, "argv": ["-c", *map(str, arguments)], "path": sys.path, "cwd": os.getcwd()}
    given["passed"] = [*passed]
    message = json.dumps(given | {"env": {**env, _ADDRESS: os.environ[_ADDRESS]}}).encode()
    socket.send_fds(connection, [f"{len(message):{_NUMBER}}".encode()], [read, stdout, stderr, *passed])
    connection.sendall(message)
    os.close(read)
    return Process(connection, None if write is None else open(write, "wb"))


class Subprocess:
    """Takes the place of the module ``subprocess`` where that starts ``python -c`` with a pipe in."""

    PIPE, DEVNULL, TimeoutExpired = subprocess.PIPE, subprocess.DEVNULL, subprocess.TimeoutExpired

    @staticmethod
    def Popen(
        command: list[str],
        *,
        stdin: int,
        stdout: int | None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: None = None,
        start_new_session: bool,
    ) -> Process:
        """A forked process for ``[sys.executable, "-c", code]``, in this one's folder."""
        assert (command[1], stdin, start_new_session, cwd) == ("-c", subprocess.PIPE, True, None)
        with open(os.devnull, "w") as nowhere:
            out, err = (number if where is None else nowhere.fileno() for number, where in ((1, stdout), (2, stderr)))
            return start(
                *command[2:],
                env=os.environ if env is None else env,
                stdout=out,
                stderr=err,
                stdin=True,
                passed=pass_fds,
            )


# --- the server ---------------------------------------------------------------------------------------------------------


def begin() -> None:
    """Fork the server, which forks whatever is asked for later, and ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="forked-")
    os.environ[_ADDRESS] = os.path.join(folder.name, "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.environ[_ADDRESS])
    listener.listen(16)
    alive, held = os.pipe()
    server = _fork()
    if server == 0:
        os.close(held)
        _serve(listener, alive)
    os.close(alive)
    listener.close()

    def end() -> None:
        os.close(held)
        os.waitpid(server, 0)
        folder.cleanup()

    atexit.register(end)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the threads of pytest-xdist hold nothing that is needed
        return os.fork()


def _serve(listener: socket.socket, alive: int) -> NoReturn:
    """Fork for everybody who asks, until the tests end: then nobody writes to `alive` any more."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, and they end this
        running, loaded = set[int](), False
        while True:
            ready, _, _ = select.select([listener, alive], [], [], 1.0)
            running -= {pid for pid in running if os.waitpid(pid, os.WNOHANG)[0]}
            if alive in ready:
                os._exit(0)
            if listener in ready:
                connection = listener.accept()[0]
                if not loaded:
                    _load()
                    loaded = True
                pid = os.fork()
                if pid == 0:
                    listener.close()
                    _attend(connection)
                running.add(pid)
                connection.close()
    finally:
        os._exit(1)


def _load() -> None:
    """Import what runs import when they need it, once for all of them, and leave it to no garbage collection."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _NEEDED:
            with contextlib.suppress(ImportError):  # not all of them are needed by everything
                importlib.import_module(name)
    gc.freeze()


def _attend(connection: socket.socket) -> None:
    """Start one process, and say when and how it ended."""
    length, files, _, _ = socket.recv_fds(connection, _NUMBER, _MOST_FILES)
    with connection.makefile("rb") as stream:
        given = json.loads(stream.read(int(length)))
    pid = os.fork()
    if pid == 0:
        connection.close()
        numbers = [0, 1, 2, *given["passed"]]
        away = [fcntl.fcntl(file, fcntl.F_DUPFD, max(numbers) + 1) for file in files]  # or one would overwrite another
        for file in files:
            os.close(file)
        for number, file in zip(numbers, away):
            os.dup2(file, number)
            os.close(file)
        _become(given)
    for file in files:
        os.close(file)
    connection.sendall(f"{pid:{_NUMBER}}".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(f"{code:{_NUMBER}}".encode())
    os._exit(0)


def _become(given: dict[str, Any]) -> NoReturn:
    """Run the code as ``python -c`` would."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(given["env"])
    os.chdir(given["cwd"])
    sys.argv, sys.path[:] = given["argv"], given["path"]
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)
    sys.modules["__main__"] = types.ModuleType("__main__")
    code = 0
    try:
        little.begin_if_asked()
        exec(compile(given["code"], "<string>", "exec"), vars(sys.modules["__main__"]))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
