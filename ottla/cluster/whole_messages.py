"""Sends a message of a stream whole, even to a call that is to end.

A call whose message is under way cannot be given its status: gRPC drops the status, and the other
end waits until the connection closes. So a write that has begun is waited for even when whoever
writes is cancelled, unless the other end has ceased to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

WRITE_ENDS_MS: Final = 500
"""For a message that is under way when the call is to end."""


async def send_whole(message: Awaitable[object]) -> None:
    """Await the writing of one message; when cancelled, until it is written or the time is up."""
    writing = asyncio.ensure_future(message)
    try:
        await asyncio.shield(writing)
    finally:
        if not writing.done():
            await asyncio.wait((writing,), timeout=WRITE_ENDS_MS / 1000)
            writing.cancel()
