"""One ``ProduceStream`` call: requests come in, answers go out, in the same order.

Two coroutines share a queue. The *reader* takes a request from the stream, appends its batches at
once, and puts what is outstanding into the queue; it does not wait for acknowledgements. The
*writer* answers from the head of the queue, whenever that is acknowledged. So many requests are
under way at once, one sync covers them all, and still both orders hold: appends happen in the order
sent, answers come in that order.

The bytes unanswered are bounded: past the bound the reader stops taking requests, gRPC's window
fills, and the client waits. If a request fails as a whole, the ones before it are answered, then
the call ends with that error. If the broker stops, the requests taken are answered and no more are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import grpc

from ottla.cluster.gate import Gate
from ottla.cluster.grpc import convert
from ottla.cluster.grpc.reading import next_request
from ottla.cluster.grpc.structured import in_background
from ottla.cluster.services import PartitionToAppend, PendingProduce, ProduceService
from ottla.model.limits import PRODUCE_STREAM_UNANSWERED_BYTES_MAX
from ottla.runtime.clock import Clock
from ottla.v1 import log_pb2

if TYPE_CHECKING:
    ProduceContext = grpc.aio.ServicerContext[log_pb2.ProduceRequest, log_pb2.ProduceResponse]


class BegunProduce(NamedTuple):
    """A request whose batches were appended; its answer is outstanding."""

    request: log_pb2.ProduceRequest
    pending: PendingProduce
    size_bytes: int

    async def response(self) -> log_pb2.ProduceResponse:
        """Wait for the acknowledgement and make the answer."""
        results = self.pending.results()
        if results is None:
            results = await self.pending.wait()
        return log_pb2.ProduceResponse(
            correlation_id=self.request.correlation_id,
            partitions=map(convert.appended, self.request.partitions, results),
        )


async def begin_produce(
    service: ProduceService, request: log_pb2.ProduceRequest, clock: Clock
) -> BegunProduce:
    """Append the batches of one request; raises what the service raises.

    Waits only for what takes long to prepare, and then nothing is appended yet.
    """
    structured_bytes = sum(asked.ByteSize() for asked in request.partitions if asked.records)
    parts, size_bytes = await in_background(
        structured_bytes, partial(_to_append, request, clock.wall_ms())
    )
    if service.needs_preparation(parts):
        parts = await service.prepare(parts)
    pending = service.begin_produce(parts, acks=request.acks, timeout_ms=request.timeout_ms)
    return BegunProduce(_without_records(request), pending, size_bytes + structured_bytes)


def _to_append(
    request: log_pb2.ProduceRequest, wall_ms: int
) -> tuple[list[PartitionToAppend], int]:
    """Translate the partitions; also return the bytes of those that came as batches."""
    parts: list[PartitionToAppend] = []
    size_bytes = 0
    for asked in request.partitions:
        batches = asked.batches
        size_bytes += len(batches)
        parts.append(convert.to_append(asked, batches, wall_ms=wall_ms))
    return parts, size_bytes


def _without_records(request: log_pb2.ProduceRequest) -> log_pb2.ProduceRequest:
    """Let go of the bytes: only names are needed for the answer."""
    for asked in request.partitions:
        asked.ClearField("batches")
        asked.ClearField("records")
    return request


class ProduceStream:
    """One call, from its first request to its end."""

    def __init__(
        self, service: ProduceService, context: ProduceContext, clock: Clock, gate: Gate
    ) -> None:
        self._service = service
        self._gate = gate
        self._context = context
        self._clock = clock
        self._unanswered: deque[BegunProduce] = deque()
        self._unanswered_bytes = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Serve until the client has closed its side and everything is answered."""
        reader = asyncio.create_task(self._read())
        reader.add_done_callback(lambda _: self._changed.set())
        closing = asyncio.create_task(self._gate.wait_closing())
        closing.add_done_callback(lambda _: reader.cancel())
        try:
            await self._write_until_done(reader)
        finally:
            closing.cancel()
            reader.cancel()
        if reader.cancelled():  # the broker stops; what it had taken is answered
            raise self._gate.refusal()
        reader.result()  # raises the error of the request that failed as a whole

    async def _read(self) -> None:
        while (request := await next_request(self._context)) is not None:
            begun = await begin_produce(self._service, request, self._clock)
            self._unanswered.append(begun)
            self._unanswered_bytes += begun.size_bytes
            self._changed.set()
            while self._unanswered_bytes > PRODUCE_STREAM_UNANSWERED_BYTES_MAX:
                await self._wait_change()

    async def _write_until_done(self, reader: asyncio.Task[None]) -> None:
        while self._unanswered or not reader.done():
            if not self._unanswered:
                await self._wait_change()
                continue
            begun = self._unanswered[0]
            await self._context.write(await begun.response())
            self._unanswered.popleft()
            self._unanswered_bytes -= begun.size_bytes
            self._changed.set()

    async def _wait_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
