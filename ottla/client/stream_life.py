"""The life of a stream of answers: read until it breaks, with helper tasks beside it.

Shared by the producer's, the consumer's and the metadata's streams. A stream lives until the first
thing that goes wrong with it as a whole, or until its owner gives it up, and then says why. A
helper that crashes takes the stream down with its own exception: a bug must not look like a broken
connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from ottla.client.addresses import Address
from ottla.client.errors import BrokerUnavailableError
from ottla.client.rpc import error_from_status
from ottla.model.errors import OttlaError

Request = TypeVar("Request")
Response = TypeVar("Response")

if TYPE_CHECKING:
    StreamCall = grpc.aio.StreamStreamCall[Request, Response]
    Answers = (
        grpc.aio.StreamStreamCall[Request, Response] | grpc.aio.UnaryStreamCall[Request, Response]
    )

Helper = Callable[[], Coroutine[Any, Any, None]]


class StreamLife:
    """One stream to ``address``."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._cancel: Callable[[], object] = _do_nothing
        self._reason: OttlaError | None = None

    def is_over(self) -> bool:
        """Whether the stream was given up."""
        return self._reason is not None

    def end(self, reason: OttlaError) -> None:
        """Give the stream up: :meth:`run` returns ``reason``. The first reason counts."""
        if self._reason is None:
            self._reason = reason
            self._cancel()

    async def run(
        self,
        call: Answers[Request, Response],
        receive: Callable[[Response], None],
        helpers: tuple[Helper, ...],
    ) -> OttlaError:
        """Pass each response to ``receive`` until the stream breaks; return why it did."""
        if self.is_over():
            call.cancel()
            return self._why()
        self._cancel = call.cancel
        loop = asyncio.get_running_loop()
        # In a task that nobody cancels but the call itself: while gRPC sends a request, it swallows
        # the cancellation of whoever waits for it.
        reader = loop.create_task(self._read(call, receive))
        tasks = [loop.create_task(helper(), name=helper.__qualname__) for helper in helpers]
        for task in tasks:
            task.add_done_callback(self._stop_if_crashed)
        try:
            await asyncio.wait((reader,))
        finally:
            call.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.wait((reader, *tasks))
            for task in tasks:
                if not task.cancelled():
                    task.result()
        return self._why() if self.is_over() else reader.result()

    async def _read(
        self, call: Answers[Request, Response], receive: Callable[[Response], None]
    ) -> OttlaError:
        try:
            async for response in call:
                if self.is_over():
                    return self._why()
                receive(response)
        except grpc.aio.AioRpcError as error:
            return error_from_status(error, self._address)
        return BrokerUnavailableError(f"the broker at {self._address} closed the stream")

    def _why(self) -> OttlaError:
        assert self._reason is not None
        return self._reason

    def _stop_if_crashed(self, helper: asyncio.Task[None]) -> None:
        if not helper.cancelled() and helper.exception() is not None:
            self._cancel()


async def write(call: StreamCall[Request, Response], request: Request) -> bool:
    """Write to a stream; return whether it still takes anything.

    If not, it is over, and who reads from it learns why.
    """
    try:
        await call.write(request)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False
    return True


def _do_nothing() -> None:
    """There is no call yet."""
