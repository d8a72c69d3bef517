"""The leader's side of one follower's stream: it steers, batches go out as they are appended.

What a follower follows here are *copies*, one for each partition. The *reader* takes what the
follower says: begin, acknowledgements, credit, that it lives. The *writer* sends what the outbox
gives it, at once if nothing was sent just before; else when the follower has spoken, or after a
millisecond. What is appended meanwhile is in the next message.

    append ──► changed(copy) ──► outbox ──► writer ──► message ──► follower
                                                                      │
                leader's high watermark ◄── reader ◄── acknowledgement, credit, alive

A follower may hear of a new leader before that leader does. What it asks for then is *parked* and
looked at again with each new image of the cluster, and refused only after ``PARKED_MS``: asking
again and again is what would make a change of leaders slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from ottla.cluster.follower_copy import FollowerCopy, refused
from ottla.cluster.follower_outbox import FollowerOutbox
from ottla.cluster.partition import Partition
from ottla.cluster.whole_messages import send_whole
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.ids import LeaderEpoch, TopicId
from ottla.model.limits import LOGS_PER_DIRECTORY_MAX
from ottla.replication.leader import IsrMember
from ottla.v1.replication_pb2 import (
    DivergingEpoch,
    FollowAcknowledgement,
    FollowedPartition,
    FollowPartition,
    FollowRequest,
    FollowResponse,
)

PARKED_MS: Final = 500
"""How long a follower that may be ahead of our metadata waits for us: several round trips to the
controller."""

GATHER_MS: Final = 1
"""How long after a message the next one may wait for more to send. A producer that waits for each
record does not notice: its next record comes after the acknowledgement. Many producers share
messages, which cost more than the bytes in them: 64 KiB batches, one a request, with three replicas
took 41 ms of CPU a megabyte without this, and take 32."""

PARTITIONS_AT_ONCE_MAX: Final = 100
"""Begun, or noted to be alive, before others get their turn of the event loop: some 3 ms, or 1."""

_TOPIC_ID_BYTES: Final = 16

Requests = AsyncIterator[FollowRequest]
Write = Callable[[FollowResponse], Awaitable[object]]


class CopiedPartitions(Protocol):
    """Where a stream finds partitions, and says which of them it copies."""

    def find(self, topic_id: TopicId, number: int) -> Partition:
        """Return a partition that is hosted here, or raise why it is not."""

    def is_news(self, topic_id: TopicId, number: int, leader_epoch: LeaderEpoch) -> bool:
        """Whether who knows of this leader epoch may know more than this broker does."""

    def watch(self, copy: FollowerCopy, stream: FollowerStream) -> None:
        """Have :meth:`FollowerStream.changed` called when something happens to the partition."""

    def unwatch(self, copy: FollowerCopy) -> None:
        """Stop that."""


class _Parked(NamedTuple):
    asked: FollowPartition
    until_s: float
    """In the time of the event loop."""


class FollowerStream:
    """One follower's call; see the module."""

    def __init__(
        self, follower: IsrMember, *, partitions: CopiedPartitions, readers: Executor
    ) -> None:
        """Serve ``follower``, with ``readers`` for what has to be read from the disk."""
        self.follower: Final = follower
        self._partitions = partitions
        self._loop = asyncio.get_running_loop()
        self._outbox = FollowerOutbox(readers=readers, failed=self._refuse)
        self._copies: dict[int, FollowerCopy] = {}
        self._parked: dict[int, _Parked] = {}
        self._parked_timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._heard = asyncio.Event()

    def __repr__(self) -> str:
        return (
            f"<FollowerStream of broker {self.follower.broker_id}: {len(self._copies)} partitions, "
            f"{len(self._parked)} parked, {self._outbox}>"
        )

    # --- Life ---

    async def run(self, first: FollowRequest, requests: Requests, write: Write) -> None:
        """Serve from the message ``first`` on, until the follower ends its side.

        Raises what :meth:`end` was given, what makes no sense in the follower's messages, and what
        reading and writing raise.
        """
        reader = asyncio.create_task(self._read(first, requests))
        writer = asyncio.create_task(self._write(write))
        try:
            await asyncio.wait({reader, writer, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._close()
            for task in (reader, writer):
                task.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
        ends: tuple[asyncio.Future[None], ...] = (self._ended, reader, writer)
        for end in ends:
            if end.done() and not end.cancelled():
                end.result()

    def end(self, reason: OttlaError) -> None:
        """End the call; :meth:`run` raises ``reason``."""
        if not self._ended.done():
            self._ended.set_exception(reason)

    def _close(self) -> None:
        """Forget this stream, and nothing that its partitions know of the follower."""
        for handle in list(self._copies):
            self._drop(handle)
        self._parked.clear()
        self._outbox.close()
        if self._parked_timer is not None:
            self._parked_timer.cancel()
        if not self._ended.done():
            self._ended.cancel()

    async def _read(self, first: FollowRequest, requests: Requests) -> None:
        await self._steer(first)
        async for request in requests:
            await self._steer(request)

    async def _write(self, write: Write) -> None:
        while True:
            response = await self._outbox.next_response()
            await send_whole(write(response))
            if any(entry.records for entry in response.partitions):
                await self._let_appends_gather()

    async def _let_appends_gather(self) -> None:
        """Wait until the follower says something, or ``GATHER_MS`` have passed."""
        self._heard.clear()
        timer = self._loop.call_later(GATHER_MS / 1000, self._heard.set)
        await self._heard.wait()
        timer.cancel()

    # --- What happens here ---

    def changed(self, copy: FollowerCopy) -> None:
        """Hear that something was appended or committed, or that this broker leads no more."""
        self._outbox.changed(copy)

    def image_published(self) -> None:
        """Look again at what was asked for too early."""
        for parked in list(self._parked.values()):
            self._begin(parked.asked, until_s=parked.until_s)

    # --- What the follower says ---

    async def _steer(self, request: FollowRequest) -> None:
        self._heard.set()
        for number, asked in enumerate(request.begin):
            if number and number % PARTITIONS_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
            self._begin(asked, until_s=self._loop.time() + PARKED_MS / 1000)
        for handle in request.end:
            self._parked.pop(handle, None)
            self._drop(handle)
        for acknowledgement in request.acknowledgements:
            self._hear_of(acknowledgement)
        if request.HasField("catch_up_bytes_per_second"):
            self._limit_behind(request.catch_up_bytes_per_second)
        if request.credit_bytes:
            self._outbox.grant(request.credit_bytes)
        if request.alive:
            await self._lives()

    def _begin(self, asked: FollowPartition, *, until_s: float) -> None:
        self._parked.pop(asked.handle, None)
        self._drop(asked.handle)
        if len(self._copies) >= LOGS_PER_DIRECTORY_MAX:
            raise InvalidRequestError(
                f"a follower copies at most {LOGS_PER_DIRECTORY_MAX} partitions from one leader"
            )
        topic_id = _topic_id(asked)
        epoch = LeaderEpoch(asked.leader_epoch)
        try:
            copy = FollowerCopy(
                self._partitions.find(topic_id, asked.partition), asked, self.follower
            )
            self._add(copy, asked)
        except OttlaError as error:
            may_wait = self._partitions.is_news(topic_id, asked.partition, epoch)
            if may_wait and self._loop.time() < until_s:
                self._park(_Parked(asked, until_s))
            else:
                self._answer_refusal(asked, error)

    def _add(self, copy: FollowerCopy, asked: FollowPartition) -> None:
        """Begin ``copy`` if both logs agree, else say where they part; raises why neither."""
        last_epoch = asked.last_fetched_epoch
        parts_at = copy.begin(LeaderEpoch(last_epoch) if last_epoch >= 0 else None)
        if parts_at is not None:
            diverging = DivergingEpoch(epoch=parts_at.epoch, end_offset=parts_at.end_offset)
            self._outbox.answer(
                FollowedPartition(
                    handle=asked.handle,
                    generation=asked.generation,
                    diverging=diverging,
                    high_watermark=copy.partition.high_watermark,
                    log_start_offset=copy.partition.log.log_start_offset,
                )
            )
            return
        self._copies[asked.handle] = copy
        self._partitions.watch(copy, self)
        self._outbox.changed(copy)

    def _hear_of(self, acknowledgement: FollowAcknowledgement) -> None:
        handle, generation = acknowledgement.handle, acknowledgement.generation
        copy, parked = self._copies.get(handle), self._parked.get(handle)
        if copy is not None and copy.generation == generation:
            self._acknowledge(copy, acknowledgement.end_offset)
        elif parked is not None and parked.asked.generation == generation:
            # It is not said again: the follower believes that we have begun.
            asked = parked.asked
            asked.durable_end_offset = max(asked.durable_end_offset, acknowledgement.end_offset)
        # Else it has crossed our answer that ended the copy.

    def _acknowledge(self, copy: FollowerCopy, end_offset: int) -> None:
        try:
            copy.acknowledge(end_offset)
        except OttlaError as error:
            self._refuse(copy, error)

    def _limit_behind(self, bytes_per_second: int) -> None:
        if bytes_per_second < 0:
            raise InvalidRequestError(
                f"{bytes_per_second} bytes a second cannot be meant; 0 is any number"
            )
        self._outbox.limit_behind(bytes_per_second or None)

    async def _lives(self) -> None:
        for number, copy in enumerate(list(self._copies.values())):
            if number and number % PARTITIONS_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
            if copy.is_removed:
                continue
            try:
                copy.fetched()
            except OttlaError as error:
                self._refuse(copy, error)
            else:
                # Retention raises the log start without a word.
                self._outbox.changed(copy)

    # --- The ends of copies ---

    def _refuse(self, copy: FollowerCopy, error: OttlaError) -> None:
        """End a copy and say why."""
        self._drop(copy.handle)
        answer = refused(copy.handle, copy.generation, error)
        answer.log_start_offset = copy.partition.log.log_start_offset
        self._outbox.answer(answer)

    def _answer_refusal(self, asked: FollowPartition, error: OttlaError) -> None:
        """Say why a copy does not begin."""
        answer = refused(asked.handle, asked.generation, error)
        try:
            partition = self._partitions.find(_topic_id(asked), asked.partition)
        except OttlaError:
            pass
        else:
            answer.log_start_offset = partition.log.log_start_offset
        self._outbox.answer(answer)

    def _drop(self, handle: int) -> None:
        copy = self._copies.pop(handle, None)
        if copy is not None:
            self._partitions.unwatch(copy)
            self._outbox.forget(copy)

    # --- What was asked for too early ---

    def _park(self, parked: _Parked) -> None:
        if len(self._parked) >= LOGS_PER_DIRECTORY_MAX:
            raise InvalidRequestError("a follower asks for more partitions than a broker may have")
        self._parked[parked.asked.handle] = parked
        if self._parked_timer is None:
            self._parked_timer = self._loop.call_at(parked.until_s, self._waited_enough)

    def _waited_enough(self) -> None:
        """Refuse those whose time is up, and wait on for the others."""
        self._parked_timer = None
        now_s = self._loop.time()
        for parked in list(self._parked.values()):
            if parked.until_s <= now_s:
                self._begin(parked.asked, until_s=parked.until_s)
        if self._parked and self._parked_timer is None:
            first_s = min(parked.until_s for parked in self._parked.values())
            self._parked_timer = self._loop.call_at(first_s, self._waited_enough)


def _topic_id(asked: FollowPartition) -> TopicId:
    if len(asked.topic_id) != _TOPIC_ID_BYTES:
        raise InvalidRequestError(
            f"a topic id of {len(asked.topic_id)} bytes; it has {_TOPIC_ID_BYTES}"
        )
    return TopicId(UUID(bytes=asked.topic_id))
