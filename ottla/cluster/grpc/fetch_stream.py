"""One ``FetchStream`` call: the client steers, batches flow.

The *reader* hands the client's messages to the service's stream; the *writer* sends what becomes
readable. gRPC's own window holds the writer back if the client does not read at all, and credit if
it reads but has nowhere to put more. A client that closes its side keeps receiving until its
credit is used up, which ends the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import grpc

from ottla.cluster.gate import Gate
from ottla.cluster.grpc import convert
from ottla.cluster.grpc.reading import next_request
from ottla.cluster.grpc.structured import in_background
from ottla.cluster.services import FetchFailed, FetchService, FetchStream, PartitionFetched
from ottla.model.ids import TopicPartition
from ottla.v1 import log_pb2

WRITE_ENDS_MS: Final = 500
"""For a message that is under way when the call is to end."""

if TYPE_CHECKING:
    FetchContext = grpc.aio.ServicerContext[log_pb2.FetchStreamRequest, log_pb2.FetchResponse]


async def serve_fetch_stream(service: FetchService, context: FetchContext, gate: Gate) -> None:
    """Serve one call until the client ends it; raises what the service raises."""
    first = await next_request(context)
    if first is None:
        return
    stream = service.open_stream(
        max_wait_ms=first.max_wait_ms, min_bytes=first.min_bytes, max_bytes=first.max_bytes
    )
    try:
        _steer(stream, first)
        await _serve(stream, context, gate, structured=first.structured)
    finally:
        stream.close()


async def _serve(
    stream: FetchStream, context: FetchContext, gate: Gate, *, structured: bool
) -> None:
    """Read and write until the writer is done, a side fails, the broker stops or the call ends."""
    writer = asyncio.create_task(_write(stream, context, structured=structured))
    others = [
        asyncio.create_task(_read(stream, context)),
        asyncio.create_task(_refuse_when_closing(gate)),
    ]
    for task in others:
        task.add_done_callback(partial(_stop_if_failed, stream, writer))
    try:
        await asyncio.wait([writer])
    finally:
        for task in (writer, *others):
            task.cancel()
        await asyncio.gather(writer, *others, return_exceptions=True)
    for task in (*others, writer):
        if not task.cancelled():
            task.result()  # raises what ended the stream


def _stop_if_failed(
    stream: FetchStream, writer: asyncio.Task[None], other: asyncio.Task[None]
) -> None:
    if other.cancelled() or other.exception() is None:
        return
    # A call whose message is under way cannot be given its status. So the writer ends by itself,
    # unless the client has ceased to read.
    stream.close()
    writer.get_loop().call_later(WRITE_ENDS_MS / 1000, writer.cancel)


async def _read(stream: FetchStream, context: FetchContext) -> None:
    while (message := await next_request(context)) is not None:
        _steer(stream, message)
    stream.end_of_credit()


async def _write(stream: FetchStream, context: FetchContext, *, structured: bool) -> None:
    async for results in stream.responses():
        if structured:
            responses, failed = await in_background(
                size_of(results), partial(convert.streamed_records, results)
            )
            stream.remove(failed)
        else:
            responses = [convert.fetched(results)]
        for response in responses:
            await context.write(response)


def size_of(results: Sequence[PartitionFetched | FetchFailed]) -> int:
    """Return how many bytes of batches were read."""
    return sum(len(result.records) for result in results if isinstance(result, PartitionFetched))


async def _refuse_when_closing(gate: Gate) -> None:
    await gate.wait_closing()
    raise gate.refusal()


def _steer(stream: FetchStream, message: log_pb2.FetchStreamRequest) -> None:
    if message.remove:
        stream.remove([TopicPartition(asked.topic, asked.partition) for asked in message.remove])
    if message.partitions:
        stream.add(convert.to_fetch(message.partitions, rack=message.rack))
    if message.credit_bytes:
        stream.grant(message.credit_bytes)
