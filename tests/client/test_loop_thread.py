"""The shared event loop runs what other threads give it, and stops what they no longer wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from ottla.client.loop_thread import LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    shared = LoopThread.acquire()
    yield shared
    shared.release()


async def answer() -> int:
    return 42


async def fail() -> None:
    raise ZeroDivisionError


def test_result_comes_back(thread: LoopThread) -> None:
    assert thread.call(answer()) == 42


def test_exception_comes_back(thread: LoopThread) -> None:
    with pytest.raises(ZeroDivisionError):
        thread.call(fail())


def test_work_that_nobody_waits_for_any_more_is_cancelled(thread: LoopThread) -> None:
    cancelled = threading.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        thread.call(wait_for_ever(), timeout_s=0.01)

    assert cancelled.wait(10)


def test_thread_is_shared_while_somebody_uses_it(thread: LoopThread) -> None:
    another = LoopThread.acquire()
    another.release()

    assert another is thread
    assert thread.call(answer()) == 42


def test_call_from_the_loop_itself_is_a_bug_that_shows(thread: LoopThread) -> None:
    async def call_back() -> None:
        work = answer()
        try:
            thread.call(work)
        finally:
            work.close()

    with pytest.raises(AssertionError, match="called from a callback"):
        thread.call(call_back())
