"""A round of the flusher covers every append before it, and its results arrive together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from ottla.cluster.flusher import Flusher
from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from tests.cluster.world import Counted, until


class Log:
    """A log of numbers, some of which are durable."""

    def __init__(self) -> None:
        self.flush_requested = False
        self.end = 0
        self.durable = 0
        self.syncs = 0
        self.told: list[int | StorageError] = []
        self.failing: Exception | None = None
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.changed = asyncio.Event()

    def append(self, flusher: Flusher) -> None:
        self.end += 1
        flusher.request(self)

    def flush(self) -> Offset:
        end = self.end
        assert self.may_sync.wait(10)
        if self.failing is not None:
            raise self.failing
        self.syncs += 1
        self.durable = end
        return Offset(end)

    def flushed(self, durable_end: Offset) -> None:
        self.told.append(durable_end)
        self.changed.set()

    def flush_failed(self, error: StorageError) -> None:
        self.told.append(error)
        self.changed.set()


@pytest.fixture
async def counted() -> Counted:
    return Counted()


@pytest.fixture
async def flusher(counted: Counted) -> AsyncIterator[Flusher]:
    made = Flusher(instruments=counted)
    running = asyncio.create_task(made.run())
    yield made
    made.stop()
    await running


async def test_request_is_answered_with_the_durable_end(flusher: Flusher) -> None:
    log = Log()

    log.append(flusher)
    await flusher.barrier()

    assert log.told == [1]


async def test_appends_during_a_sync_share_the_next_one(flusher: Flusher) -> None:
    log = Log()
    log.may_sync.clear()
    log.append(flusher)
    await until(lambda: not log.flush_requested)

    for _ in range(100):
        log.append(flusher)
    log.may_sync.set()
    await flusher.barrier()

    assert log.durable == log.told[-1] == 101
    assert log.syncs <= 3


async def test_logs_of_one_round_are_told_in_the_order_of_their_requests(
    flusher: Flusher, counted: Counted
) -> None:
    first, others = Log(), [Log() for _ in range(5)]
    order: list[int] = []
    for number, log in enumerate(others):
        log.flushed = lambda _end, number=number: order.append(number)  # type: ignore[method-assign, misc]
    first.may_sync.clear()
    first.append(flusher)
    for log in others:
        log.append(flusher)
    first.may_sync.set()

    await flusher.barrier()

    assert order == [0, 1, 2, 3, 4]
    assert sum(counted.rounds) == 6


async def test_failing_disk_is_told_to_its_log_alone(flusher: Flusher) -> None:
    bad, good = Log(), Log()
    bad.failing = StorageError("the disk failed")
    bad.append(flusher)
    good.append(flusher)

    await flusher.barrier()

    assert bad.told == [bad.failing]
    assert good.told == [1]


async def test_stop_finishes_what_was_requested(counted: Counted) -> None:
    flusher, log = Flusher(instruments=counted), Log()
    running = asyncio.create_task(flusher.run())
    log.append(flusher)

    flusher.stop()
    await running

    assert log.told == [1]


async def test_bug_on_the_thread_comes_out_of_run(counted: Counted) -> None:
    flusher, log = Flusher(instruments=counted), Log()
    running = asyncio.create_task(flusher.run())
    log.failing = ZeroDivisionError("a bug")

    log.append(flusher)

    with pytest.raises(ZeroDivisionError):
        await running


async def test_bug_in_who_is_told_comes_out_of_run(counted: Counted) -> None:
    def buggy(_end: Offset) -> None:
        raise ZeroDivisionError

    flusher, log = Flusher(instruments=counted), Log()
    log.flushed = buggy  # type: ignore[method-assign, assignment]
    running = asyncio.create_task(flusher.run())

    log.append(flusher)

    with pytest.raises(ZeroDivisionError):
        await running
