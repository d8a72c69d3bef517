"""``ottla.v1.Replication/Follow``, from the side of the follower."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc

from ottla.cluster.grpc.channels import BrokerChannels
from ottla.config.addresses import Address
from ottla.model.errors import BrokerNotAvailableError
from ottla.v1.replication_pb2 import FollowRequest, FollowResponse
from ottla.v1.replication_pb2_grpc import ReplicationStub

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[FollowRequest, FollowResponse]


async def dial_leader(channels: BrokerChannels, address: Address) -> GrpcFollowCall:
    """Wait until the broker at ``address`` can be reached, however long, and call it."""
    channel = await channels.current(address)
    # Partitions begin when they are told that there is a call; not while nobody listens there.
    await channel.channel_ready()
    return GrpcFollowCall(ReplicationStub(channel).Follow(request_iterator=None), address)


class GrpcFollowCall:
    """See :class:`~ottla.cluster.follow_link.FollowCall`."""

    def __init__(self, call: Call, address: Address) -> None:
        """Use ``call``, which is to ``address``."""
        self._call = call
        self._address = address

    def __repr__(self) -> str:
        return f"<GrpcFollowCall to {self._address}>"

    async def write(self, request: FollowRequest) -> bool:
        """Send a message; false if the call has ended, and reading says why."""
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return False
        return True

    async def responses(self) -> AsyncIterator[FollowResponse]:
        """Yield what is sent back; raise :exc:`BrokerNotAvailableError` when the call ends."""
        try:
            async for response in self._call:
                yield response
        except grpc.aio.AioRpcError as error:
            reason = f"{self._address}: {error.code().name}: {error.details()}"
            raise BrokerNotAvailableError(reason) from error
        raise BrokerNotAvailableError(f"{self._address} ended the call")

    def cancel(self) -> None:
        """End the call."""
        self._call.cancel()
