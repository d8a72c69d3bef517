"""One ``WatchMetadata`` call: what changes flows to the client, until one side ends it.

gRPC's window holds the writer back if the client does not read; the service then keeps the names of
what changed, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import grpc

from ottla.cluster.gate import Gate
from ottla.cluster.services import MetadataChange
from ottla.v1 import cluster_pb2

WRITE_ENDS_MS: Final = 500
"""For a message that is under way when the call is to end."""

if TYPE_CHECKING:
    WatchContext = grpc.aio.ServicerContext[
        cluster_pb2.WatchMetadataRequest, cluster_pb2.WatchMetadataResponse
    ]


async def serve_watch(
    changes: AsyncGenerator[MetadataChange],
    convert: Callable[[MetadataChange], cluster_pb2.WatchMetadataResponse],
    context: WatchContext,
    gate: Gate,
) -> None:
    """Serve one call until the client ends it or the broker stops, which is raised."""
    tasks = [
        asyncio.create_task(_write(changes, convert, context)),
        asyncio.create_task(_refuse_when_closing(gate)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()  # raises what ended the call


async def _write(
    changes: AsyncGenerator[MetadataChange],
    convert: Callable[[MetadataChange], cluster_pb2.WatchMetadataResponse],
    context: WatchContext,
) -> None:
    async with aclosing(changes):
        async for change in changes:
            # A call whose message is under way cannot be given its status: a write that has begun
            # is waited for even when this is cancelled, unless the client has ceased to read.
            writing = asyncio.ensure_future(context.write(convert(change)))
            try:
                await asyncio.shield(writing)
            finally:
                if not writing.done():
                    await asyncio.wait((writing,), timeout=WRITE_ENDS_MS / 1000)
                    writing.cancel()


async def _refuse_when_closing(gate: Gate) -> None:
    await gate.wait_closing()
    raise gate.refusal()
