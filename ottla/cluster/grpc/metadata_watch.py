"""One ``WatchMetadata`` call: what changes flows to the client, until one side ends it.

gRPC's window holds the writer back if the client does not read; the service then keeps the names of
what changed, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import grpc

from ottla.cluster.gate import Gate
from ottla.cluster.services import MetadataChange
from ottla.cluster.whole_messages import send_whole
from ottla.v1 import cluster_pb2

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
            await send_whole(context.write(convert(change)))


async def _refuse_when_closing(gate: Gate) -> None:
    await gate.wait_closing()
    raise gate.refusal()
