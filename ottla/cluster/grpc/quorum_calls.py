"""The two ends of a ``Quorum.Link`` call as :class:`~ottla.cluster.quorum_link.Frames`.

gRPC reports the end of a call in many ways; here they become three: the end of what the peer has
to say, a frame that makes no sense, and a network that failed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import grpc
from google.protobuf.message import DecodeError

from ottla.cluster.grpc.channels import BrokerChannels
from ottla.cluster.grpc.quorum_convert import frame_from_message, frame_to_message
from ottla.cluster.quorum_link import Frame, Frames
from ottla.config.addresses import Address
from ottla.model.errors import BrokerNotAvailableError, InvalidRequestError
from ottla.v1 import quorum_pb2, quorum_pb2_grpc

if TYPE_CHECKING:
    LinkContext = grpc.aio.ServicerContext[quorum_pb2.QuorumFrame, quorum_pb2.QuorumFrame]
    LinkCall = grpc.aio.StreamStreamCall[quorum_pb2.QuorumFrame, quorum_pb2.QuorumFrame]

_END_OF_STREAM: Final = grpc.aio.EOF  # type: ignore[attr-defined]  # not in the stubs


async def dial_quorum(channels: BrokerChannels, address: Address) -> Frames:
    """Call the quorum service at ``address``; reads and writes wait until that answers."""
    stub = quorum_pb2_grpc.QuorumStub(await channels.current(address))
    # Waits for the channel, which connects by itself as soon as somebody listens: then a peer that
    # starts is found at once, and not when our pause and the channel's happen to be over.
    return _Dialled(stub.Link(request_iterator=None, wait_for_ready=True), address)


class _Dialled:
    """The calling end."""

    def __init__(self, call: LinkCall, address: Address) -> None:
        self._call = call
        self._address = address

    async def read(self) -> Frame | None:
        """See :class:`Frames`."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from error
        if message is _END_OF_STREAM:
            return None
        return _decoded(cast("quorum_pb2.QuorumFrame | None", message))

    async def write(self, frame: Frame) -> None:
        """See :class:`Frames`."""
        try:
            await self._call.write(frame_to_message(frame))
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from error
        except asyncio.InvalidStateError:
            raise BrokerNotAvailableError(f"the call to {self._address} has ended") from None

    def close(self) -> None:
        """See :class:`Frames`."""
        self._call.cancel()

    def _failed(self, error: grpc.aio.AioRpcError) -> BrokerNotAvailableError:
        return BrokerNotAvailableError(f"{self._address}: {error.details() or error.code().name}")


class Served:
    """The called end. The call ends when its servicer returns."""

    def __init__(self, context: LinkContext) -> None:
        """Read from and write to the call that ``context`` is of."""
        self._context = context

    async def read(self) -> Frame | None:
        """See :class:`Frames`."""
        try:
            message = await self._context.read()
        except DecodeError:
            message = None
        except grpc.aio.BaseError as error:
            raise BrokerNotAvailableError(f"the caller has gone: {error}") from error
        return None if message is _END_OF_STREAM else _decoded(message)

    async def write(self, frame: Frame) -> None:
        """See :class:`Frames`."""
        try:
            await self._context.write(frame_to_message(frame))
        except grpc.aio.BaseError as error:
            raise BrokerNotAvailableError(f"the caller has gone: {error}") from error

    def close(self) -> None:
        """See :class:`Frames`."""


def _decoded(message: quorum_pb2.QuorumFrame | None) -> Frame:
    if message is None:  # what gRPC makes of bytes that are no protobuf
        raise InvalidRequestError("a frame of the quorum is not a protobuf message")
    return frame_from_message(message)
