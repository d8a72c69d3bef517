"""The controllers of other brokers, over gRPC; see ``proto/ottla/v1/controller.proto``.

gRPC does not tell a call that was never sent from one whose answer was lost: both are
``UNAVAILABLE``. What may not be done twice depends on the difference, so whoever asks connects
first, and sends on a connection that stands; what fails after that may have been done.
"""

from __future__ import annotations

import asyncio
from typing import Final

import grpc

from ottla.cluster.broker_sessions import Heartbeat, SessionAnswer
from ottla.cluster.grpc.channels import BrokerChannels
from ottla.config.addresses import Address
from ottla.model.errors import (
    BrokerNotAvailableError,
    NotControllerError,
    RequestTimedOutError,
    RetriableError,
    error_for,
)
from ottla.model.ids import ControllerEpoch, MetadataOffset
from ottla.v1 import controller_pb2, controller_pb2_grpc

_NEVER_SERVED: Final = frozenset({grpc.StatusCode.UNIMPLEMENTED})
"""Statuses with which a server ends a call without having looked at it."""


class GrpcFarControllers:
    """Reaches the controllers of other brokers on this broker's channels."""

    def __init__(self, channels: BrokerChannels) -> None:
        """Use these; whoever made them closes them."""
        self._channels = channels

    def __repr__(self) -> str:
        return f"<GrpcFarControllers on {self._channels!r}>"

    async def connect(self, address: Address) -> None:
        """See :class:`~ottla.cluster.controller_client.FarControllers`."""
        channel = await self._channels.current(address)
        while True:
            state = channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return
            if state in {
                grpc.ChannelConnectivity.TRANSIENT_FAILURE,
                grpc.ChannelConnectivity.SHUTDOWN,
            }:
                raise BrokerNotAvailableError("the connection is refused or broken")
            await channel.wait_for_state_change(state)

    async def submit(
        self, address: Address, message: controller_pb2.ControllerRequest, *, timeout_ms: int
    ) -> controller_pb2.ControllerResponse:
        """See :class:`~ottla.cluster.controller_client.FarControllers`."""
        try:
            return await self._stub(address).Submit(message, timeout=timeout_ms / 1000)
        except grpc.aio.AioRpcError as error:
            reason = _reason(address, error)
            if error.code() in _NEVER_SERVED:
                raise BrokerNotAvailableError(reason) from error
            raise RequestTimedOutError(f"{reason}; the change may still be made") from error

    async def open_session(self, address: Address) -> GrpcSession:
        """Open a session with the controller at ``address``; nothing is sent yet.

        Raises :exc:`BrokerNotAvailableError`.
        """
        await self.connect(address)
        return GrpcSession(address, self._stub(address).Session(None))

    def _stub(self, address: Address) -> controller_pb2_grpc.ControllerAsyncStub:
        return controller_pb2_grpc.ControllerStub(self._channels.to(address))


class GrpcSession:
    """One session with the controller of another broker."""

    def __init__(
        self,
        address: Address,
        call: grpc.aio.StreamStreamCall[
            controller_pb2.SessionHeartbeat, controller_pb2.SessionAnswer
        ],
    ) -> None:
        self._address = address
        self._call = call

    def __repr__(self) -> str:
        return f"<GrpcSession with {self._address}>"

    async def beat(self, heartbeat: Heartbeat) -> SessionAnswer:
        """See :class:`~ottla.cluster.broker_session.Session`."""
        if self._call.done():
            raise await self._why_ended()
        try:
            await self._call.write(
                controller_pb2.SessionHeartbeat(
                    broker_id=heartbeat.broker_id,
                    broker_epoch=heartbeat.broker_epoch,
                    metadata_offset=heartbeat.metadata_offset,
                )
            )
            answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise BrokerNotAvailableError(_reason(self._address, error)) from error
        except asyncio.InvalidStateError:  # it ended between the lines
            raise await self._why_ended() from None
        if not isinstance(answer, controller_pb2.SessionAnswer):
            raise await self._why_ended()
        if answer.HasField("error"):
            raise error_for(answer.error.code, answer.error.message)
        return SessionAnswer(
            controller_epoch=ControllerEpoch(answer.controller_epoch),
            metadata_offset=MetadataOffset(answer.metadata_offset),
            fenced=answer.fenced,
        )

    async def _why_ended(self) -> RetriableError:
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            return NotControllerError(f"{self._address} ended the session: it is not controller")
        return BrokerNotAvailableError(
            f"{self._address}: {code.name}: {await self._call.details()}"
        )

    async def wait_ended(self) -> None:
        """Wait until it has ended, whyever; the next heartbeat says why."""
        await self._call.code()

    def close(self) -> None:
        """End it, if it has not ended."""
        self._call.cancel()


def _reason(address: Address, error: grpc.aio.AioRpcError) -> str:
    return f"{address}: {error.code().name}: {error.details()}"
