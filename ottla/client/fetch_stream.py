"""One FetchStream from one broker: partitions and credit out, batches in, until it breaks.

The broker sends what is readable without being asked, as long as it has credit. Partitions are
added, moved and removed while the stream runs; all changes that come up while a message is being
written travel together in the next one.

What was under way when a partition is moved still arrives. That does no harm if the new place is
at or beyond what this stream has brought: the reader drops what lies below. Moving *back* is
another matter -- a batch under way would look like a gap -- so it takes a new stream, on which
nothing old can arrive: see :meth:`FetchStream.can_serve`.

A stream on which nothing has arrived for a while may be idle, or its broker may hang. Then a small
call on the same connection is made to find out; while that is not answered, other brokers are asked
who leads now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Final

from ottla.client.connections import BrokerConnection
from ottla.client.partition_reader import PartitionReader
from ottla.client.rpc import call
from ottla.client.settings import ConsumerSettings
from ottla.client.stream_life import StreamLife, write
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX
from ottla.v1 import cluster_pb2, log_pb2

if TYPE_CHECKING:
    import grpc

    FetchCall = grpc.aio.StreamStreamCall[log_pb2.FetchStreamRequest, log_pb2.FetchResponse]

IDLE_PROBE_MS: Final = 5_000
"""Silence after which a broker is asked whether it is still there; it has as long to answer."""

SLOW_PROBE_MS: Final = 500
"""A probe that takes longer may never be answered."""


class FetchStream:
    """See above. Run :meth:`run` as a task.

    Args:
        connection: to the broker.
        settings: sizes and times.
        received: called for each partition in a response: ``(stream, partition fetched)``.
        leader_epoch_of: what metadata says, or ``None``.
        doubted: called every now and then while the broker owes an answer.
    """

    def __init__(
        self,
        connection: BrokerConnection,
        settings: ConsumerSettings,
        *,
        received: Callable[[FetchStream, log_pb2.PartitionFetched], None],
        leader_epoch_of: Callable[[TopicPartition], int | None],
        doubted: Callable[[], None],
    ) -> None:
        self.readers: dict[TopicPartition, PartitionReader] = {}
        self.credit_bytes = 0
        """Granted and not used yet; negative if the last batch was larger than what was left."""
        self.has_received = False
        self._reached: dict[TopicPartition, int] = {}
        self._connection = connection
        self._settings = settings
        self._received = received
        self._leader_epoch_of = leader_epoch_of
        self._doubted = doubted
        self._changed: dict[TopicPartition, None] = {}
        self._removed: dict[TopicPartition, None] = {}
        self._new_credit_bytes = 0
        self._wake = asyncio.Event()
        self._heard_ms = 0.0
        self._life = StreamLife(connection.address)

    def can_serve(self, reader: PartitionReader) -> bool:
        """Whether the reader's place is not behind what this stream brought, or may bring yet."""
        assert reader.fetch_offset is not None
        return reader.fetch_offset >= self._reached.get(reader.topic_partition, 0)

    def add(self, reader: PartitionReader) -> None:
        """Read a partition from its fetch offset on; if it is being read, go there."""
        assert self.can_serve(reader)
        assert reader.fetch_offset is not None
        partition = reader.topic_partition
        self.readers[partition] = reader
        self._reached[partition] = reader.fetch_offset
        self._removed.pop(partition, None)
        self._changed[partition] = None
        self._wake.set()

    def remove(self, partition: TopicPartition) -> None:
        """Stop reading a partition; what is under way will be dropped."""
        if self.readers.pop(partition, None) is not None:
            self._changed.pop(partition, None)
            self._removed[partition] = None
            self._wake.set()

    def replenish(self, share_bytes: int) -> None:
        """Grant what is missing to ``share_bytes``, in memory and on the way together.

        Not before a quarter is missing: otherwise every batch taken would cost a message. A debt
        is paid on top, because the batch that made it is counted where it is held.
        """
        held_bytes = sum(reader.buffered_bytes for reader in self.readers.values())
        room_bytes = share_bytes - held_bytes - max(0, self.credit_bytes)
        if room_bytes >= max(1, share_bytes // 4):
            granted_bytes = room_bytes - min(0, self.credit_bytes)
            self.credit_bytes += granted_bytes
            self._new_credit_bytes += granted_bytes
            self._wake.set()

    def end(self, reason: OttlaError) -> None:
        """Give the stream up; :meth:`run` returns ``reason``."""
        self._life.end(reason)

    async def run(self) -> OttlaError:
        """Receive until the stream breaks; return why it did."""
        self._heard_ms = asyncio.get_running_loop().time() * 1000
        call_ = self._connection.log.FetchStream(request_iterator=None)

        async def write_requests() -> None:
            await self._write(call_)

        return await self._life.run(call_, self._receive, (write_requests, self._probe_when_idle))

    # --- Out ----------------------------------------------------------------------------

    async def _write(self, call_: FetchCall) -> None:
        is_first = True
        while True:
            await self._wake.wait()
            self._wake.clear()
            request = self._next_request(is_first=is_first)
            is_first = False
            if not await write(call_, request):
                return

    def _next_request(self, *, is_first: bool) -> log_pb2.FetchStreamRequest:
        request = log_pb2.FetchStreamRequest(credit_bytes=self._new_credit_bytes)
        self._new_credit_bytes = 0
        for partition in _take(self._changed, PARTITIONS_PER_REQUEST_MAX):
            request.partitions.append(self._place(self.readers[partition]))
        left = PARTITIONS_PER_REQUEST_MAX - len(request.partitions)
        for topic, number in _take(self._removed, left):
            request.remove.add(topic=topic, partition=number)
        if self._changed or self._removed:
            self._wake.set()
        if self._settings.client_rack and request.partitions:
            request.rack = self._settings.client_rack
        if is_first:
            request.min_bytes = self._settings.fetch_min_bytes
            request.max_wait_ms = self._settings.fetch_max_wait_ms
            request.max_bytes = self._settings.fetch_max_bytes
        return request

    def _place(self, reader: PartitionReader) -> log_pb2.FetchPartition:
        topic, partition = reader.topic_partition
        return log_pb2.FetchPartition(
            topic=topic,
            partition=partition,
            offset=reader.next_offset,
            max_bytes=self._settings.max_partition_fetch_bytes,
            current_leader_epoch=self._leader_epoch_of(reader.topic_partition),
            from_follower=reader.follower is not None,
        )

    # --- In -----------------------------------------------------------------------------

    def _receive(self, response: log_pb2.FetchResponse) -> None:
        self._heard_ms = asyncio.get_running_loop().time() * 1000
        self.has_received = True
        for fetched in response.partitions:
            partition = TopicPartition(fetched.topic, fetched.partition)
            self.credit_bytes -= len(fetched.batches)
            # Not after an error: it may be about a place before the last move, while batches from
            # the new place are under way.
            if not fetched.error.code and partition in self._reached:
                reached = max(self._reached[partition], fetched.next_offset)
                self._reached[partition] = reached
            self._received(self, fetched)

    async def _probe_when_idle(self) -> None:
        """End the stream if the broker is silent and does not answer when asked."""
        loop = asyncio.get_running_loop()
        interval_ms = min(IDLE_PROBE_MS, self._settings.request_timeout_ms)
        while True:
            idle_ms = loop.time() * 1000 - self._heard_ms
            if idle_ms < interval_ms:
                await asyncio.sleep((interval_ms - idle_ms) / 1000)
                continue
            doubting = asyncio.create_task(self._doubt())
            try:
                await call(
                    self._connection.cluster.DescribeCluster,
                    cluster_pb2.DescribeClusterRequest(),
                    address=self._connection.address,
                    timeout_ms=interval_ms,
                )
            except OttlaError as error:
                self.end(error)
                return
            finally:
                doubting.cancel()
            self._heard_ms = loop.time() * 1000

    async def _doubt(self) -> None:
        while True:
            await asyncio.sleep(SLOW_PROBE_MS / 1000)
            self._doubted()


def _take(partitions: dict[TopicPartition, None], count: int) -> list[TopicPartition]:
    """Remove and return up to ``count`` partitions, oldest first."""
    taken = list(islice(partitions, count))
    for partition in taken:
        del partitions[partition]
    return taken
