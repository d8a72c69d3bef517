"""Several processes that live and die together, as one command.

Each child is a program that prints one line of JSON to its standard output when it is ready, tells
its operator everything else on standard error, and stops in good order when its standard input
ends. The supervisor holds the other end of that input: whatever ends the supervisor, even
``kill -9``, the children stop.

* **Start.** All at once. The cluster is ready when every child is; a child that ends before that
  ends the whole, with what it said last.
* **A child dies.** It is said, and the child is started again: at once the first time, later
  after a pause that doubles up to :data:`PAUSE_MAX_S`. Whoever ran for :data:`STEADY_S` starts
  from nothing again.
* **Stop.** All inputs are closed at once: nobody hands anything over to a child that stops as
  well, and nobody waits for a majority that is not there any more. Who has not stopped in
  :data:`STOP_GRACE_S` is killed.
* **Stop now.** All are killed, and recover when they are started again.

Children are in a process group each, so that Ctrl-C reaches them through the supervisor alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ottla.cli.failure import CommandError

PAUSE_MIN_S: Final = 0.1
PAUSE_MAX_S: Final = 10.0
STEADY_S: Final = 10.0

STOP_GRACE_S: Final = 30.0
"""Longer than a broker takes to end what is under way and to write everything down."""

LINE_BYTES_MAX: Final = 64 << 10
"""A longer line is shown in pieces."""

_COMPLAINT: Final = b"ottla: "
_WORDS: Final[Mapping[bool, str]] = {True: "it will be started again", False: "it stays down"}

Document = Mapping[str, object]
Show = Callable[[str, bytes], None]
"""Shows a line, without its end, that a child of that name said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A program to run."""

    name: str
    command: Sequence[str]


@dataclass(slots=True)
class _Run:
    """One process of a child, from its start to its end."""

    process: Process
    ready: asyncio.Future[Document]
    complaint: str = ""
    """The last line that says what is wrong."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Supervisor:
    """Runs children on the event loop; see the module."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        show: Show,
        say: Callable[[str], None],
        restart: bool = True,
        pause_s: float = PAUSE_MIN_S,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        """Prepare. ``say`` tells the user what happens to children, a sentence a time."""
        self._children = {child.name: child for child in children}
        self._show = show
        self._say = say
        self._restart = restart
        self._pause_s = pause_s
        self._stop_grace_s = stop_grace_s
        self._runs: dict[str, _Run] = {}
        """Those that run now."""
        self._stopping = asyncio.Event()
        self._failed = False

    def __repr__(self) -> str:
        state = "stopping" if self._stopping.is_set() else "running"
        return f"<Supervisor {state}, {len(self._runs)} of {len(self._children)}>"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the children that run, by name."""
        return {name: run.process.pid for name, run in self._runs.items()}

    async def run(self, ready: Callable[[Mapping[str, Document]], None]) -> int:
        """Start all, call ``ready`` with what they printed, and keep them until told to stop.

        Returns the exit status: 0 if it was told to stop and everybody did, 1 otherwise.

        Raises :exc:`CommandError` if a child ended before all were ready.
        """
        try:
            documents = await self._start()
            if documents is not None:
                ready(documents)
                await self._keep()
        finally:
            await self._stop()
        return int(self._failed)

    def stop(self) -> None:
        """Have all children stop in good order."""
        self._stopping.set()

    def kill(self) -> None:
        """Have all children stop at once."""
        self._stopping.set()
        for run in self._runs.values():
            _kill(run.process)

    # --- The start ---

    async def _start(self) -> dict[str, Document] | None:
        """Start all; ``None`` if told to stop before all were ready."""
        runs = {name: await self._spawn(name) for name in self._children}
        stopping = asyncio.create_task(self._stopping.wait())
        everyone = asyncio.create_task(_all_ready(runs))
        try:
            await asyncio.wait({stopping, everyone}, return_when=asyncio.FIRST_COMPLETED)
            return None if stopping.done() else everyone.result()
        finally:
            stopping.cancel()
            everyone.cancel()

    async def _spawn(self, name: str) -> _Run:
        loop = asyncio.get_running_loop()
        process = await asyncio.create_subprocess_exec(
            *self._children[name].command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            process_group=0,
        )
        run = self._runs[name] = _Run(process, loop.create_future())
        if self._stopping.is_set():
            _kill(process)  # too late for a start, and it has hardly begun
        # Nobody looks at it where the child is started again.
        run.ready.add_done_callback(lambda future: future.cancelled() or future.exception())
        run.tasks = [
            asyncio.create_task(self._read_output(run)),
            asyncio.create_task(self._read_diagnostics(name, run)),
        ]
        run.tasks.append(asyncio.create_task(self._wait_end(name, run, run.tasks[:2])))
        return run

    async def _read_output(self, run: _Run) -> None:
        assert run.process.stdout is not None
        async for line in _lines(run.process.stdout):
            if run.ready.done():
                continue
            with contextlib.suppress(ValueError):
                document = json.loads(line)
                if isinstance(document, dict):
                    run.ready.set_result(document)

    async def _read_diagnostics(self, name: str, run: _Run) -> None:
        assert run.process.stderr is not None
        async for line in _lines(run.process.stderr):
            if line.startswith(_COMPLAINT):
                run.complaint = line.removeprefix(_COMPLAINT).decode(errors="replace")
                if not run.ready.done():
                    continue  # said once, at the end
            self._show(name, line)

    async def _wait_end(self, name: str, run: _Run, reading: Sequence[asyncio.Task[None]]) -> None:
        await asyncio.wait(reading)
        status = await run.process.wait()
        del self._runs[name]
        if not run.ready.done():
            said = run.complaint or f"it {_ending(status)} before it was ready"
            run.ready.set_exception(CommandError(f"{name} did not start: {said}"))
        if self._stopping.is_set():
            self._failed = self._failed or status != 0

    # --- The life ---

    async def _keep(self) -> None:
        async with asyncio.TaskGroup() as keepers:
            for name, run in list(self._runs.items()):
                keepers.create_task(self._keep_one(name, run))
            await self._stopping.wait()
            await self._stop()

    async def _keep_one(self, name: str, run: _Run) -> None:
        loop = asyncio.get_running_loop()
        pause_s, started_s = 0.0, loop.time()
        while True:
            await run.tasks[-1]
            if self._stopping.is_set():
                return
            status = run.process.returncode
            assert status is not None
            why = f" ({run.complaint})" if run.complaint else ""
            self._say(f"{name} {_ending(status)}{why}; {_WORDS[self._restart]}")
            if not self._restart:
                self._failed = True
                if not self._runs:
                    self._stopping.set()
                return
            if loop.time() - started_s >= STEADY_S:
                pause_s = 0.0
            if await self._stops_within(pause_s):
                return
            pause_s = min(max(2 * pause_s, self._pause_s), PAUSE_MAX_S)
            started_s = loop.time()
            run = await self._spawn(name)  # the same child's next life

    async def _stops_within(self, pause_s: float) -> bool:
        """Wait; return whether it was told to stop meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        return self._stopping.is_set()

    # --- The end ---

    async def _stop(self) -> None:
        self._stopping.set()
        endings = [run.tasks[-1] for run in self._runs.values()]
        for run in self._runs.values():
            assert run.process.stdin is not None
            run.process.stdin.close()
        if not endings:
            return
        _, late = await asyncio.wait(endings, timeout=self._stop_grace_s)
        if late:
            for name, run in self._runs.items():
                self._say(f"{name} did not stop within {self._stop_grace_s:g} s and is killed")
                _kill(run.process)
            await asyncio.wait(late)


async def _all_ready(runs: Mapping[str, _Run]) -> dict[str, Document]:
    """Wait until all are ready; raises what the first says that will never be."""
    readies = [run.ready for run in runs.values()]
    await asyncio.wait(readies, return_when=asyncio.FIRST_EXCEPTION)
    # Of several, the one that has failed: the others may be pending still.
    for ready in readies:
        if ready.done():
            ready.result()
    return {name: run.ready.result() for name, run in runs.items()}


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Read lines, without their ends, until nobody writes any more."""
    rest = b""
    while chunk := await reader.read(LINE_BYTES_MAX):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) >= LINE_BYTES_MAX:
            yield rest
            rest = b""
    if rest:
        yield rest


def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _ending(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended by itself with status {status}"
