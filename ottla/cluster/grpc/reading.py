"""Read the next request of a stream."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import grpc

RequestT = TypeVar("RequestT")

_END_OF_STREAM: Final = grpc.aio.EOF  # type: ignore[attr-defined]  # not in the stubs


async def next_request(
    context: grpc.aio.ServicerContext[RequestT, Any],
) -> RequestT | None:
    """Wait for the client's next message; ``None`` once it has closed its side."""
    request = await context.read()
    return None if request is _END_OF_STREAM else request
