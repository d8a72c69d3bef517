"""One call to one broker, for all partitions that it leads and this broker copies.

Each partition has a *handle* in the link, a new one each time it is added; begins and
acknowledgements that come up while a message is being written travel together in the next one::

    partitions ── begin, acknowledge ──► noted by handle ──► writer ──► FollowRequest
    partitions ◄── batches, offsets, refusals ── by handle ◄── reader ◄── FollowResponse

The leader's broker sends batches within a credit for all of them together, which is topped up as
they are taken. Once a second it hears that we live. Where we are behind, it sends no more in a
second than we tell it.

A call that ended is made again: at once if it had served, later and later if it is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from itertools import count, islice
from typing import Any, Final, Protocol

from ottla.cluster.following import Following
from ottla.model.errors import OffsetOutOfRangeError, OttlaError, error_for
from ottla.model.ids import BrokerId, LeaderEpoch, Offset
from ottla.model.limits import (
    FOLLOW_ALIVE_INTERVAL_MS,
    FOLLOW_CREDIT_BYTES,
    FOLLOW_REDIAL_MAX_MS,
    FOLLOW_REDIAL_MIN_MS,
    PARTITIONS_PER_REQUEST_MAX,
)
from ottla.replication.follower import (
    Acknowledge,
    Begin,
    LeaderDiverged,
    LeaderOutOfRange,
    LinkClosed,
    LinkOpened,
)
from ottla.runtime.logging import Event, Severity, emit
from ottla.v1.replication_pb2 import (
    FollowAcknowledgement,
    FollowedPartition,
    FollowerIdentity,
    FollowPartition,
    FollowRequest,
    FollowResponse,
)

LINK_ENDED: Final = Event("replica.link_ended", Severity.WARNING)

_NO_EPOCH: Final = -1
_ANY_RATE: Final = 0


class FollowCall(Protocol):
    """A ``Replication.Follow`` call, from the calling side."""

    async def write(self, request: FollowRequest) -> bool:
        """Send a message; false if the call has ended, and reading says why."""

    def responses(self) -> AsyncIterator[FollowResponse]:
        """What is sent back; raises :exc:`OttlaError` when the call fails."""

    def cancel(self) -> None:
        """End it."""


Dial = Callable[[BrokerId], Awaitable[tuple[FollowCall, FollowerIdentity]]]
"""Wait until a broker can be reached, and call it; what to say first. May wait for long."""


class FollowLink:
    """See the module. Used on one event loop; :meth:`run` is a task of its owner's."""

    def __init__(
        self, leader: BrokerId, *, dial: Dial, catch_up_rate: Callable[[], int | None]
    ) -> None:
        """Copy from ``leader`` what will be added.

        ``catch_up_rate`` says how many bytes a second to have of what is not in sync; ``None``: any
        number.
        """
        self.leader: Final = leader
        self._dial = dial
        self._catch_up_rate = catch_up_rate
        self._rate: int | None = None
        self._rate_is_said = True
        self._handles: dict[Following, int] = {}
        self._followings: dict[int, Following] = {}
        self._new_handles = count(1)
        self._call: FollowCall | None = None
        self._begins: dict[Following, Begin] = {}
        self._begun: set[int] = set()
        self._ends: list[int] = []
        self._acknowledgements: dict[Following, Acknowledge] = {}
        self._credit_bytes = 0
        self._taken_bytes = 0
        self._identity: FollowerIdentity | None = None
        self._alive = False
        self._served = False
        self._wake = asyncio.Event()
        self._restart = asyncio.Event()

    def __repr__(self) -> str:
        state = "open" if self._call is not None else "closed"
        return f"<FollowLink to {self.leader}: {state}, {len(self._handles)} partitions>"

    # --- What it copies ---

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to copy."""
        return not self._handles

    @property
    def is_behind(self) -> bool:
        """Whether some replica that it copies to is not in sync."""
        return not all(following.is_in_sync for following in self._handles)

    @property
    def is_open(self) -> bool:
        """Whether there is a call."""
        return self._call is not None

    def add(self, following: Following) -> None:
        """Copy one more partition."""
        handle = next(self._new_handles)
        self._handles[following] = handle
        self._followings[handle] = following
        following.call = self
        if self._call is not None:
            following.step(LinkOpened())

    def remove(self, following: Following) -> None:
        """Copy a partition no more."""
        handle = self._handles.pop(following)
        del self._followings[handle]
        following.call = None
        self._begins.pop(following, None)
        self._acknowledgements.pop(following, None)
        if handle in self._begun:
            self._begun.discard(handle)
            self._ends.append(handle)
            self._wake.set()

    def begin(self, following: Following, effect: Begin) -> None:
        """See :class:`~ottla.cluster.following.LeaderCall`."""
        self._begins[following] = effect
        self._acknowledgements.pop(following, None)
        self._wake.set()

    def acknowledge(self, following: Following, effect: Acknowledge) -> None:
        """See :class:`~ottla.cluster.following.LeaderCall`."""
        self._acknowledgements[following] = effect
        self._wake.set()

    # --- Its life ---

    async def run(self) -> None:
        """Call, and call again, until cancelled."""
        pause_ms = FOLLOW_REDIAL_MIN_MS
        while True:
            self._served = False
            self._restart.clear()
            try:
                await _until_one_ends(self._call_once(), self._restarted())
            except OttlaError as error:
                emit(LINK_ENDED, leader=self.leader, reason=str(error))
            if self._served or self._restart.is_set():
                pause_ms = FOLLOW_REDIAL_MIN_MS
            await asyncio.sleep(pause_ms / 1000)
            pause_ms = min(2 * pause_ms, FOLLOW_REDIAL_MAX_MS)

    def restart(self) -> None:
        """End the call, and call anew."""
        self._restart.set()

    def rate_changed(self) -> None:
        """Look at the rate again, and tell the leader's broker if it is another."""
        rate = self._catch_up_rate()
        if rate != self._rate:
            self._rate = rate
            self._rate_is_said = False
            self._wake.set()

    async def _restarted(self) -> None:
        await self._restart.wait()

    async def _call_once(self) -> None:
        """Call, and serve until that ends; raises why."""
        call, self._identity = await self._dial(self.leader)
        self._opened(call)
        try:
            await _until_one_ends(self._read(call), self._write(call), self._live())
        finally:
            call.cancel()
            self._closed()

    def _opened(self, call: FollowCall) -> None:
        self._call = call
        self._begins.clear()
        self._acknowledgements.clear()
        self._begun.clear()
        self._ends.clear()
        self._taken_bytes = 0
        self._credit_bytes = FOLLOW_CREDIT_BYTES
        self._rate = self._catch_up_rate()
        self._rate_is_said = self._rate is None  # which is so for a new call
        self._wake.set()
        for following in list(self._handles):
            following.step(LinkOpened())

    def _closed(self) -> None:
        self._call = None
        for following in list(self._handles):
            following.step(LinkClosed())

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_ALIVE_INTERVAL_MS / 1000)
            self._alive = True
            self._wake.set()

    # --- Out ---

    async def _write(self, call: FollowCall) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await call.write(self._next_request()):
                # The reader says why, in a moment.
                await asyncio.Event().wait()

    def _next_request(self) -> FollowRequest:
        request = FollowRequest(credit_bytes=self._credit_bytes, alive=self._alive)
        self._credit_bytes = 0
        self._alive = False
        if not self._rate_is_said:
            request.catch_up_bytes_per_second = self._rate or _ANY_RATE
            self._rate_is_said = True
        if self._identity is not None:
            request.identity.CopyFrom(self._identity)
            self._identity = None
        for following in list(islice(self._begins, PARTITIONS_PER_REQUEST_MAX)):
            handle = self._handles[following]
            self._begun.add(handle)
            request.begin.append(_asked(handle, following, self._begins.pop(following)))
        request.end.extend(self._ends)
        self._ends.clear()
        for following in list(islice(self._acknowledgements, PARTITIONS_PER_REQUEST_MAX)):
            if following in self._begins:
                continue
            effect = self._acknowledgements.pop(following)
            request.acknowledgements.append(
                FollowAcknowledgement(
                    handle=self._handles[following],
                    generation=effect.generation,
                    end_offset=effect.end_offset,
                )
            )
        if self._begins or self._acknowledgements:
            self._wake.set()
        return request

    # --- In ---

    async def _read(self, call: FollowCall) -> None:
        async for response in call.responses():
            self._served = True
            for followed in response.partitions:
                following = self._followings.get(followed.handle)
                if following is not None:
                    _take(following, followed)
                self._topped_up(len(followed.records))

    def _topped_up(self, taken_bytes: int) -> None:
        """Give back the credit for batches that were taken, or dropped, a quarter at a time."""
        self._taken_bytes += taken_bytes
        if self._taken_bytes >= FOLLOW_CREDIT_BYTES // 4:
            self._credit_bytes += self._taken_bytes
            self._taken_bytes = 0
            self._wake.set()


def _asked(handle: int, following: Following, effect: Begin) -> FollowPartition:
    epoch = effect.last_fetched_epoch
    partition = following.partition
    return FollowPartition(
        handle=handle,
        generation=effect.generation,
        topic_id=partition.topic_id.bytes,
        partition=partition.topic_partition.partition,
        leader_epoch=effect.leader_epoch,
        fetch_offset=effect.fetch_offset,
        last_fetched_epoch=_NO_EPOCH if epoch is None else epoch,
        durable_end_offset=min(effect.durable_end_offset, effect.fetch_offset),
        catching_up=not following.is_in_sync,
    )


def _take(following: Following, followed: FollowedPartition) -> None:
    """Hand on what the leader says about one partition."""
    generation = followed.generation
    if followed.HasField("diverging"):
        following.step(
            LeaderDiverged(
                generation=generation,
                epoch=LeaderEpoch(followed.diverging.epoch),
                end_offset=Offset(followed.diverging.end_offset),
            )
        )
    elif followed.HasField("error"):
        error = error_for(followed.error.code, followed.error.message)
        if isinstance(error, OffsetOutOfRangeError):
            following.step(
                LeaderOutOfRange(
                    generation=generation, log_start_offset=Offset(followed.log_start_offset)
                )
            )
        else:
            following.refused(error, generation=generation)
    else:
        following.received(
            followed.records,
            generation=generation,
            high_watermark=followed.high_watermark,
            log_start_offset=followed.log_start_offset,
        )


async def _until_one_ends(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until one returns or raises, then stop the others; raise what it raised."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()
