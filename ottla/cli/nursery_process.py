"""A process that has everything imported that a broker needs, and forks brokers.

Most of the time that a broker needs to start goes into imports. Here that is done once; a broker is
then a fork of this process that goes on as the command ``ottla`` with the arguments it is given.
Nothing is opened, and no thread is started, before the fork.

Requests come through standard input, a socket on which each message is one byte with the
descriptors of a file that says what to start, of the broker's output and errors, and of its *line*:
a socket on which its process id is told, and its exit status when it has ended. A broker that ended
is waited for only when the other end of its line is closed, so that nobody sends a signal to a
process that has got its number since.

When standard input ends, whoever wanted the brokers is gone, and all are killed. If this process is
killed, the kernel kills them.

Linux only: macOS does not promise that a process with its frameworks in it can be forked.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any, Final, NamedTuple

DESCRIPTORS: Final = 4
"""Of one request: what to start, output, errors, line."""

SHUTDOWN: Final = b""
_PR_SET_PDEATHSIG: Final = 1


class _Start(NamedTuple):
    """A broker to be."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str


class _Nursery:
    """Forks brokers, until there is nobody who wants them."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._lines: dict[int, socket.socket] = {}
        """By process id."""
        self._told: set[int] = set()
        """Those whose end was told."""
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.settimeout(0)

    def run(self) -> _Start | None:
        """Return in each process forked what it is to start, and here at the end nothing."""
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    message, descriptors, _, _ = socket.recv_fds(self._control, 1, DESCRIPTORS)
                    if message == SHUTDOWN:
                        self._end()
                        return None
                    if (start := self._fork(*descriptors)) is not None:
                        return start
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._tell_ends()
                else:
                    self._reap(key.data)

    def _fork(self, request: int, output: int, errors: int, line: int) -> _Start | None:
        with open(request, encoding="utf-8") as file:
            file.seek(0)
            start = _Start(**json.load(file))
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._leave()
            os.close(line)
            _attach(output, errors)
            _die_with(parent)
            return start
        os.close(output)
        os.close(errors)
        self._lines[pid] = socket.socket(fileno=line)
        self._selector.register(self._lines[pid], selectors.EVENT_READ, pid)
        self._say(pid, pid)
        return None

    def _leave(self) -> None:
        """Have nothing of this process in the one that was forked from it."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for own in (self._control, self._woken, self._wake, *self._lines.values()):
            own.close()

    def _tell_ends(self) -> None:
        for pid in self._lines.keys() - self._told:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                self._told.add(pid)
                by_itself = ended.si_code == os.CLD_EXITED
                self._say(pid, ended.si_status if by_itself else -ended.si_status)

    def _say(self, pid: int, number: int) -> None:
        try:
            self._lines[pid].sendall(b"%d" % number)
        except OSError:
            # Nobody listens; the end of the line will be noticed.
            return

    def _reap(self, pid: int) -> None:
        """Whoever wanted this broker wants it no more."""
        self._selector.unregister(self._lines[pid])
        self._lines.pop(pid).close()
        self._told.discard(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def _end(self) -> None:
        for pid in list(self._lines):
            self._reap(pid)
        self._leave()


def _attach(output: int, errors: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (output, 1), (errors, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    libc: Any = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # it died before the kernel knew


def _import_broker() -> None:
    """Import what a broker imports sooner or later."""
    import ottla.cli.broker  # noqa: PLC0415 -- this process exists to do so once
    import ottla.cli.serving  # noqa: F401, PLC0415
    from ottla.wire.codec import request_class  # noqa: PLC0415
    from ottla.wire.messages.catalogue import APIS  # noqa: PLC0415

    for api_key in APIS:
        request_class(api_key)


def main() -> None:
    """Serve requests; in each process forked, run the broker."""
    _import_broker()
    gc.collect()
    gc.freeze()  # so that collections in the brokers do not copy these pages
    control = socket.socket(fileno=os.dup(0))
    start = _Nursery(control).run()
    if start is None:
        return
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update(start.environment)
    sys.argv = ["ottla", *start.arguments]
    from ottla.__main__ import main as run_command  # noqa: PLC0415 -- imported by now

    run_command()


if __name__ == "__main__":
    main()
