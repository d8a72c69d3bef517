"""No task or thread of the broker ends unnoticed, and stopping them takes a bounded time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ottla.runtime.tasks import TaskEndedError, TaskSupervisor, start_thread


class Fatal:
    """Collects what would have stopped the broker."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, BaseException]] = []

    def __call__(self, name: str, error: BaseException) -> None:
        self.calls.append((name, error))

    @property
    def summary(self) -> list[tuple[str, str]]:
        return [(name, type(error).__name__) for name, error in self.calls]


@pytest.fixture
def fatal() -> Fatal:
    return Fatal()


@pytest.fixture
async def tasks(fatal: Fatal) -> TaskSupervisor:
    return TaskSupervisor(fatal)


async def forever() -> None:
    await asyncio.Event().wait()


async def nothing() -> None:
    pass


async def broken() -> None:
    raise KeyError("a bug")


async def stubborn(release: asyncio.Event) -> None:
    while not release.is_set():
        try:
            await release.wait()
        except asyncio.CancelledError:
            continue


async def ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
    await asyncio.sleep(0)  # the callbacks of the task's end


async def test_task_that_raises_is_fatal(tasks: TaskSupervisor, fatal: Fatal) -> None:
    await ended(tasks.run("fetcher", broken()))

    assert fatal.summary == [("fetcher", "KeyError")]


async def test_endless_task_that_raises_is_fatal(tasks: TaskSupervisor, fatal: Fatal) -> None:
    await ended(tasks.run_until_stopped("fetcher", broken()))

    assert fatal.summary == [("fetcher", "KeyError")]


async def test_endless_task_that_returns_is_fatal(tasks: TaskSupervisor, fatal: Fatal) -> None:
    await ended(tasks.run_until_stopped("flusher", nothing()))

    assert fatal.summary == [("flusher", "TaskEndedError")]


async def test_finite_task_may_return(tasks: TaskSupervisor, fatal: Fatal) -> None:
    await ended(tasks.run("cleanup", nothing()))

    assert fatal.calls == []


async def test_task_that_awaited_something_cancelled_is_fatal(
    tasks: TaskSupervisor, fatal: Fatal
) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait_for_it() -> None:
        await future

    task = tasks.run("waiter", wait_for_it())
    await asyncio.sleep(0)
    future.cancel()
    await ended(task)

    assert fatal.summary == [("waiter", "TaskEndedError")]


async def test_stopped_task_is_not_fatal(tasks: TaskSupervisor, fatal: Fatal) -> None:
    task = tasks.run_until_stopped("fetcher", forever())

    assert await tasks.stop_task(task, timeout_ms=1000)
    assert fatal.calls == []


async def test_task_that_fails_while_it_is_stopped_is_fatal(
    tasks: TaskSupervisor, fatal: Fatal
) -> None:
    async def fails_at_the_end() -> None:
        try:
            await forever()
        finally:
            raise OSError("the last write failed")

    task = tasks.run_until_stopped("writer", fails_at_the_end())
    await asyncio.sleep(0)
    await tasks.stop_task(task, timeout_ms=1000)

    assert fatal.summary == [("writer", "OSError")]


async def test_task_that_returns_when_it_is_stopped_is_not_fatal(
    tasks: TaskSupervisor, fatal: Fatal
) -> None:
    async def returns_at_the_end() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            return

    task = tasks.run_until_stopped("writer", returns_at_the_end())
    await asyncio.sleep(0)

    assert await tasks.stop_task(task, timeout_ms=1000)
    assert fatal.calls == []


async def test_all_tasks_are_stopped_at_once(tasks: TaskSupervisor, fatal: Fatal) -> None:
    for number in range(5):
        tasks.run_until_stopped(f"task {number}", forever())

    assert await tasks.stop_all(timeout_ms=1000) == ()
    assert (tasks.names, fatal.calls) == ((), [])


async def test_task_that_will_not_stop_is_named_and_not_waited_for(tasks: TaskSupervisor) -> None:
    release = asyncio.Event()
    task = tasks.run_until_stopped("stubborn", stubborn(release))
    await asyncio.sleep(0)

    assert await tasks.stop_all(timeout_ms=1) == ("stubborn",)
    release.set()
    await ended(task)


async def test_task_that_stops_all_is_not_waited_for_by_itself(tasks: TaskSupervisor) -> None:
    stopped: list[tuple[str, ...]] = []

    async def stop() -> None:
        stopped.append(await tasks.stop_all(timeout_ms=1000))

    tasks.run_until_stopped("other", forever())
    await ended(tasks.run("stopper", stop()))

    assert stopped == [()]


async def test_no_task_is_started_after_all_were_stopped(tasks: TaskSupervisor) -> None:
    await tasks.stop_all(timeout_ms=1000)

    with pytest.raises(TaskEndedError, match="late is not started"):
        tasks.run("late", nothing())


async def test_running_tasks_have_names(tasks: TaskSupervisor) -> None:
    tasks.run_until_stopped("b", forever())
    tasks.run_until_stopped("a", forever())

    assert tasks.names == ("a", "b")
    await tasks.stop_all(timeout_ms=1000)


def test_thread_that_raises_is_fatal(fatal: Fatal) -> None:
    def work() -> None:
        raise KeyError("a bug")

    start_thread("flusher", work, fatal=fatal).join()

    assert fatal.summary == [("flusher", "KeyError")]


def test_thread_may_return(fatal: Fatal) -> None:
    ran = threading.Event()

    start_thread("flusher", ran.set, fatal=fatal).join()

    assert ran.is_set()
    assert fatal.calls == []


def test_thread_does_not_keep_the_process_alive(fatal: Fatal) -> None:
    release = threading.Event()

    def work() -> None:
        release.wait()

    thread = start_thread("flusher", work, fatal=fatal)

    assert thread.daemon
    assert thread.name == "flusher"
    release.set()
    thread.join()
