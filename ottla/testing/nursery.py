"""Starts brokers for tests, faster than from nothing, and leaves none behind.

Where that works (Linux), brokers are forked from a process that has imported everything, see
:mod:`ottla.cli.nursery_process`. There is one for each process that runs tests, started when it
is first needed and gone with it, and its brokers with it, also if it was ``kill -9``. It has a
session of its own, so that Ctrl-C in the terminal reaches the tests and not the brokers.

Elsewhere each broker is started from nothing, and watches its standard input, which ends with the
process that runs the tests.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

import ottla
from ottla.testing.broker_process import BrokerDidNotStartError, Child

IS_FORKING: Final = sys.platform == "linux" and hasattr(socket, "SOCK_SEQPACKET")

_MESSAGE_BYTES: Final = 64

_MAIN: Final = "ottla.cli.nursery_process:main"
_CALL: Final = "import pkgutil, sys; pkgutil.resolve_name(sys.argv[1])()"


class Nursling:
    """A broker that was forked; what ``subprocess.Popen`` would be for one that was started."""

    def __init__(self, line: socket.socket, stdout: IO[bytes]) -> None:
        """Take over both; :exc:`BrokerDidNotStartError` if there is nobody at the other end."""
        self._line = line
        self.stdout: IO[bytes] | None = stdout
        self.returncode: int | None = None
        word = line.recv(_MESSAGE_BYTES)
        if not word:
            self._close()
            raise BrokerDidNotStartError("the process that forks brokers has died")
        self.pid = int(word)

    def poll(self) -> int | None:
        """Return the exit status if it has ended."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; :exc:`subprocess.TimeoutExpired`."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("ottla", timeout or 0)
        return status

    def communicate(self, *, timeout: float | None = None) -> None:
        """Wait until it has ended, and let go of it; :exc:`subprocess.TimeoutExpired`."""
        self.wait(timeout)
        self._close()

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._line], [], [], timeout)[0]:
            word = self._line.recv(_MESSAGE_BYTES)
            # Without a word the process that forked it is gone, and took it along.
            self.returncode = int(word) if word else -signal.SIGKILL
        return self.returncode

    def _close(self) -> None:
        self._line.close()
        if self.stdout is not None:
            self.stdout.close()
            self.stdout = None


class Nursery:
    """The process that forks brokers, for as long as the process lives that wants them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(ottla.__file__).parents[1])
        search = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        with theirs:
            # -P: a directory named ottla where the user stands is none of ours.
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and arguments
                [sys.executable, "-P", "-c", _CALL, _MAIN],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": search},
                start_new_session=True,
            )

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]
    ) -> Child:
        """Fork a broker; see :class:`~ottla.testing.broker_process.Launcher`."""
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "directory": str(Path.cwd()),
        }
        with ExitStack() as close:
            file = close.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
            json.dump(request, file)
            file.flush()
            reading, writing = os.pipe()
            close.callback(os.close, writing)
            stdout = open(reading, "rb", buffering=0)  # noqa: PTH123, SIM115 -- the nursling's
            line, their_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            close.enter_context(their_line)
            descriptors = [file.fileno(), writing, stderr.fileno(), their_line.fileno()]
            with self._lock:
                socket.send_fds(self._control, [b"+"], descriptors)
        return Nursling(line, stdout)

    @property
    def is_alive(self) -> bool:
        """Whether it can fork brokers."""
        return self._process.poll() is None

    def close(self) -> None:
        """Kill all brokers, and end."""
        self._control.close()
        self._process.wait()

    def forget(self) -> None:
        """Let go of it in a process that was forked from the one that started it."""
        self._control.close()
        self._process.returncode = 0


_shared: Nursery | None = None
_shared_lock: Final = threading.Lock()


def warm_up() -> None:
    """Begin with what the first broker would wait for. No error if that was done."""
    global _shared  # noqa: PLW0603 -- one a process, whoever wants it
    if not IS_FORKING:
        return
    with _shared_lock:
        if _shared is None or not _shared.is_alive:
            _shared = Nursery()


def launch(arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]) -> Child:
    """Start ``ottla broker``; see :class:`~ottla.testing.broker_process.Launcher`."""
    if not IS_FORKING:
        return _start_from_nothing(arguments, environment, stderr)
    warm_up()
    assert _shared is not None
    return _shared.start(arguments, environment, stderr)


def _start_from_nothing(
    arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]
) -> Child:
    return subprocess.Popen(  # noqa: S603 -- our own interpreter and arguments
        [sys.executable, "-P", "-m", "ottla", *arguments, "--supervised"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        start_new_session=True,
    )


def _end() -> None:
    global _shared  # noqa: PLW0603
    if _shared is not None:
        _shared.close()
        _shared = None


def _forked() -> None:
    global _shared  # noqa: PLW0603
    if _shared is not None:
        _shared.forget()
        _shared = None


atexit.register(_end)
os.register_at_fork(after_in_child=_forked)
