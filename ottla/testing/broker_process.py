"""A real broker in a process of its own: start it, kill it, start it again.

The process is ``python -m ottla up --brokers 1`` with the interpreter that runs the caller, or
``python -m ottla broker`` for one of several, so what is tested is what a user starts. It counts
as started when it prints its ready line, and never before; a process that ends or stays silent
instead is reported with what it wrote to its standard error.

Faults are signals: :meth:`BrokerProcess.kill` is ``kill -9``, :meth:`BrokerProcess.pause`
is ``SIGSTOP``. The ports stay the same from one start to the next, so that clients find
the broker again.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from ottla.testing.ports import HeldPort


class Child(Protocol):
    """What is used here of ``subprocess.Popen``."""

    @property
    def pid(self) -> int: ...
    @property
    def stdout(self) -> IO[bytes] | None: ...
    @property
    def returncode(self) -> int | Any: ...  # noqa: ANN401 -- typeshed says so of Popen
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def communicate(self, *, timeout: float | None = None) -> object: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Launcher(Protocol):
    """Starts the command ``ottla`` in a process of its own."""

    def __call__(
        self, arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]
    ) -> Child:
        """Start it; standard output is a pipe, and standard input has nothing."""


class BrokerDidNotStartError(Exception):
    """The process ended, or printed no ready line in time; the message has its last words."""


def free_port() -> int:
    """Return a loopback port that was free a moment ago.

    It is none of those that systems give to outgoing connections, so nobody has it by chance when
    a broker that was killed wants it back.
    """
    held = HeldPort()
    held.release()
    return held.port


@dataclass(slots=True, kw_only=True)
class BrokerProcess:
    """One broker on loopback, with its data in ``data_directory`` (or nowhere lasting)."""

    data_directory: Path | None = None
    """``None`` starts an ephemeral broker."""
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    kafka_port: int = field(default_factory=free_port)
    kafka_name: str = "PLAINTEXT"
    """Of its listener; ``SSL`` speaks TLS. Empty: it has none, or those that arguments name."""
    subcommand: Sequence[str] = ("up", "--brokers", "1")
    arguments: Sequence[str] = ()
    """Further arguments of it."""
    environment: dict[str, str] = field(default_factory=dict)
    start_timeout_s: float = 20.0
    """Generous: a busy machine is not a broken broker."""
    launcher: Launcher = field(default_factory=lambda: spawn)
    _process: Child | None = None
    _ready: dict[str, object] = field(default_factory=dict)
    _stderr: IO[bytes] | None = None
    """From the first start to the end of the ``with`` block."""

    @property
    def grpc_address(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def kafka_address(self) -> str:
        """Where clients of Kafka's protocol connect."""
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def http_url(self) -> str:
        """Base of ``/metrics``, ``/healthz`` and ``/readyz``."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        return self._running().pid

    @property
    def ready_line(self) -> dict[str, object]:
        """What the broker printed when it was ready."""
        return self._ready

    def stderr(self) -> str:
        """Everything written to standard error, over all starts."""
        assert self._stderr is not None, "not started, or left for good"
        descriptor = self._stderr.fileno()
        # The broker writes where the descriptor stands, so that is left alone.
        content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        return content.decode(errors="replace").strip()

    def start(self) -> Self:
        """Start the process and wait for its ready line; :exc:`BrokerDidNotStartError`."""
        self.launch()
        self.wait_ready()
        return self

    def launch(self) -> None:
        """Start the process and wait for nothing."""
        assert self._process is None, "already running"
        where = ["--ephemeral"] if self.data_directory is None else ["--data", self.data_directory]
        listener = f"{self.kafka_name}://{self.kafka_address}" if self.kafka_name else ""
        command = [
            *self.subcommand, "--json",
            "--set", f"grpc.listen=127.0.0.1:{self.grpc_port}",
            "--set", f"http.listen=127.0.0.1:{self.http_port}",
            "--set", f"listeners={listener}",
            *map(str, where), *self.arguments,
        ]  # fmt: skip
        if self._stderr is None:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 -- kept over several starts
        self._process = self.launcher(command, {**os.environ, **self.environment}, self._stderr)

    def wait_ready(self) -> None:
        """Wait for the ready line of a launched process; :exc:`BrokerDidNotStartError`."""
        try:
            self._ready = self._wait_ready(time.monotonic() + self.start_timeout_s)
        except BaseException:
            self.leave()
            raise

    @property
    def is_running(self) -> bool:
        """Whether it was launched, and not stopped or killed here since."""
        return self._process is not None

    @property
    def has_ended(self) -> bool:
        """Whether the process ended, by itself or not."""
        return self._process is None or self._process.poll() is not None

    def stop(self, *, timeout_s: float = 20.0) -> int:
        """Ask the broker to stop (``SIGTERM``) and return its exit status."""
        self.terminate()
        return self.wait_stopped(timeout_s=timeout_s)

    def terminate(self) -> None:
        """Ask the broker to stop (``SIGTERM``), and wait for nothing."""
        self._running().terminate()

    def wait_stopped(self, *, timeout_s: float = 20.0) -> int:
        """Wait until the process has ended and return its exit status."""
        return self._reap(self._running(), timeout_s)

    def interrupt(self, *, timeout_s: float = 20.0) -> int:
        """Do what Ctrl-C does and return the exit status."""
        process = self._running()
        process.send_signal(signal.SIGINT)
        return self._reap(process, timeout_s)

    def kill(self) -> None:
        """``kill -9``: no word of farewell, nothing flushed. Harmless if it is gone already."""
        if self._process is not None:
            self._process.kill()
            self._reap(self._process, 20.0)

    def pause(self) -> None:
        """Stop the process in its tracks; it keeps its connections and says nothing."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Kill it if it runs, and forget what it said. It can be started again."""
        self.kill()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _running(self) -> Child:
        assert self._process is not None, "not running"
        return self._process

    def _reap(self, process: Child, timeout_s: float) -> int:
        try:
            process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        finally:
            self._process = None
        status: int = process.returncode
        return status

    def _wait_ready(self, deadline_s: float) -> dict[str, object]:
        process = self._running()
        assert process.stdout is not None
        received = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in received:
                if not selector.select(max(0.0, deadline_s - time.monotonic())):
                    raise BrokerDidNotStartError(
                        f"no ready line within {self.start_timeout_s:.0f} s\n{self.stderr()}"
                    )
                chunk = os.read(process.stdout.fileno(), 65_536)
                if not chunk:
                    process.wait()
                    raise BrokerDidNotStartError(
                        self.stderr() or "the process ended and said nothing"
                    )
                received += chunk
        ready: dict[str, object] = json.loads(received.splitlines()[0])
        return ready


def spawn(arguments: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]) -> Child:
    """Start the command ``ottla``; see :class:`Launcher`."""
    return subprocess.Popen(  # noqa: S603 -- our own interpreter and arguments
        [sys.executable, "-m", "ottla", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,  # a file: a pipe that nobody reads would fill up and block
        env=environment,
    )
