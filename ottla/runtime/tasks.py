"""Background tasks and threads that cannot die unnoticed.

An exception that nobody expected in a task of the broker means that a part of it has
stopped: a partition that replicates no more, a timer that never rings again. asyncio
mentions that when the task is garbage collected, perhaps. Here it goes to a *fatal handler*
at once, which stops the broker loudly; a restart recovers, a half-dead broker does not.

A task may end in three good ways: it is cancelled by whoever has it (:meth:`stop_task`), it is
cancelled with all others at shutdown (:meth:`stop_all`), or it was started with :meth:`run`,
for work that is finite, and returns. Everything else is fatal:

* an exception;
* returning, if it was started with :meth:`run_until_stopped`;
* ending as cancelled though nobody asked for that: it awaited something that was.

This is the one module that may catch every exception, in order to hand it on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Final

Fatal = Callable[[str, BaseException], None]
"""Stop the process, or a test, because the task of this name ended with this. May return."""

_MILLISECONDS_PER_SECOND: Final = 1000


class TaskEndedError(RuntimeError):
    """A task ended that should have gone on until it was stopped."""


class TaskSupervisor:
    """Owns the background tasks of one event loop."""

    def __init__(self, fatal: Fatal) -> None:
        self._fatal = fatal
        self._tasks: dict[asyncio.Task[None], bool] = {}  # whether it may return
        self._stopping = False

    def __repr__(self) -> str:
        return f"<TaskSupervisor of {', '.join(self.names) or 'nothing'}>"

    @property
    def names(self) -> tuple[str, ...]:
        """What is running, in alphabetical order."""
        return tuple(sorted(task.get_name() for task in self._tasks))

    def run_until_stopped(
        self, name: str, work: Coroutine[object, object, None]
    ) -> asyncio.Task[None]:
        """Start a task that goes on until it is stopped; it is fatal if it returns."""
        return self._start(name, work, may_return=False)

    def run(self, name: str, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start a task that comes to an end; it is fatal if it raises."""
        return self._start(name, work, may_return=True)

    async def stop_task(self, task: asyncio.Task[None], *, timeout_ms: int) -> bool:
        """Cancel a task and wait for its end; return whether it came within the time given."""
        task.cancel()
        return not await _wait([task], timeout_ms)

    async def stop_all(self, *, timeout_ms: int) -> tuple[str, ...]:
        """Cancel all tasks, let no new ones in, and wait for their ends, but not longer.

        Returns the names of those that are still running, for a last line in the log.
        """
        self._stopping = True
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        return tuple(sorted(task.get_name() for task in await _wait(tasks, timeout_ms)))

    def _start(
        self, name: str, work: Coroutine[object, object, None], *, may_return: bool
    ) -> asyncio.Task[None]:
        if self._stopping:
            work.close()
            raise TaskEndedError(f"{name} is not started: everything is being stopped")
        task = asyncio.get_running_loop().create_task(work, name=name)
        # The loop itself holds tasks weakly only.
        self._tasks[task] = may_return
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        may_return = self._tasks.pop(task)
        name = task.get_name()
        if task.cancelled():
            if not task.cancelling():
                self._fatal(name, TaskEndedError(f"{name} awaited something that was cancelled"))
            return
        error = task.exception()
        if error is not None:
            self._fatal(name, error)
        elif not may_return and not task.cancelling():
            self._fatal(name, TaskEndedError(f"{name} returned, though nobody stopped it"))


def start_thread(name: str, work: Callable[[], None], *, fatal: Fatal) -> threading.Thread:
    """Run ``work`` on a thread of its own, which does not keep the process alive.

    ``fatal`` is called *on that thread* if ``work`` raises. Returning is a good end, because a
    thread can be stopped only by being asked to.
    """

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed on, not handled
            fatal(name, error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


async def _wait(tasks: list[asyncio.Task[None]], timeout_ms: int) -> set[asyncio.Task[None]]:
    """Wait for the tasks' ends; return those that did not come in time."""
    if not tasks:
        return set()
    _, late = await asyncio.wait(tasks, timeout=timeout_ms / _MILLISECONDS_PER_SECOND)
    return late
