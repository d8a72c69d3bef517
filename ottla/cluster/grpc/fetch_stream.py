"""One ``FetchStream`` call: the client steers, batches flow.

The *reader* hands the client's messages to the service's stream; the *writer* sends what becomes
readable. gRPC's own window holds the writer back if the client does not read at all, and credit if
it reads but has nowhere to put more. A client that closes its side keeps receiving until its
credit is used up or it ends the call.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from ottla.cluster.gate import Gate
from ottla.cluster.grpc import convert
from ottla.cluster.grpc.reading import next_request
from ottla.cluster.services import FetchService, FetchStream
from ottla.model.ids import TopicPartition
from ottla.v1 import log_pb2

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
    """Read and write until one side fails, the broker stops, or the call is cancelled."""
    tasks = [
        asyncio.create_task(_read(stream, context)),
        asyncio.create_task(_write(stream, context, structured=structured)),
        asyncio.create_task(_refuse_when_closing(gate)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(stream: FetchStream, context: FetchContext) -> None:
    while (message := await next_request(context)) is not None:
        _steer(stream, message)


async def _write(stream: FetchStream, context: FetchContext, *, structured: bool) -> None:
    async for results in stream.responses():
        await context.write(convert.fetched(results, structured=structured))


async def _refuse_when_closing(gate: Gate) -> None:
    await gate.wait_closing()
    raise gate.refusal()


def _steer(stream: FetchStream, message: log_pb2.FetchStreamRequest) -> None:
    if message.remove:
        stream.remove([TopicPartition(asked.topic, asked.partition) for asked in message.remove])
    if message.partitions:
        stream.add(convert.to_fetch(message.partitions))
    if message.credit_bytes:
        stream.grant(message.credit_bytes)
