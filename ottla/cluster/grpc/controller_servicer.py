"""``ottla.v1.Controller``: what other brokers ask of this broker's controller.

Served before the gate opens, for a broker is no part of the cluster until it has asked. A refusal
is part of the answer, not a status: so every other end of a call means the same, that it is not
known whether the request was served.

With mutual TLS only brokers are heard, and each only as itself: what is asked for a broker, and its
session, must come from its own certificate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from ottla.cluster.broker_sessions import BrokerSessionsShell, ControllerSession, Heartbeat
from ottla.cluster.controller_answers import encode_answer, encode_refusal
from ottla.cluster.controller_codec import decode_request
from ottla.cluster.controller_driver import Answer, Served
from ottla.cluster.grpc.errors import to_message
from ottla.controller.requests import (
    AllocateProducerIds,
    AlterPartitions,
    Asks,
    BeginShutdown,
    FenceBroker,
    RegisterBroker,
    Request,
    UnfenceBroker,
)
from ottla.model.errors import ClusterAuthorizationError, InvalidRequestError, OttlaError
from ottla.model.ids import BrokerEpoch, BrokerId, MetadataOffset
from ottla.model.limits import ADMIN_TIMEOUT_MAX_MS
from ottla.security.identity import check_broker
from ottla.v1 import controller_pb2, controller_pb2_grpc

if TYPE_CHECKING:
    from ottla.cluster.grpc.errors import Context

_OF_THE_SENDER: Final = (
    RegisterBroker
    | FenceBroker
    | UnfenceBroker
    | BeginShutdown
    | AllocateProducerIds
    | AlterPartitions
)
"""A broker asks for these in its own name alone."""


class ControllerHere(Protocol):
    """See :class:`~ottla.cluster.controller_driver.ControllerDriver`."""

    @property
    def leader(self) -> BrokerId | None:
        """Who leads the metadata quorum."""

    async def serve(self, request: Asks[Answer], *, timeout_ms: int) -> Served[Answer]:
        """Serve the request if this broker is the controller."""


class ControllerServicer(controller_pb2_grpc.ControllerServicer):
    """Translates; see ``proto/ottla/v1/controller.proto`` for what each method means."""

    def __init__(
        self, controller: ControllerHere, sessions: BrokerSessionsShell, *, broker_id: BrokerId
    ) -> None:
        self._controller = controller
        self._sessions = sessions
        self._broker_id = broker_id

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have ``server`` serve it."""
        controller_pb2_grpc.add_ControllerServicer_to_server(self, server)

    # --- Submit ---

    async def Submit(
        self, message: controller_pb2.ControllerRequest, context: Context
    ) -> controller_pb2.ControllerResponse:
        try:
            return await self._submit(message, context)
        except OttlaError as error:
            return encode_refusal(error, controller=self._ask_instead())

    async def _submit(
        self, message: controller_pb2.ControllerRequest, context: Context
    ) -> controller_pb2.ControllerResponse:
        sender = BrokerId(message.sender_id)
        check_broker(context.auth_context(), sender)
        if not 0 < message.timeout_ms <= ADMIN_TIMEOUT_MAX_MS:
            raise InvalidRequestError(
                f"a timeout of {message.timeout_ms} ms is out of range; use 1 to "
                f"{ADMIN_TIMEOUT_MAX_MS}"
            )
        request = decode_request(message)
        _check_speaks_for_itself(sender, request)
        served: Served[object] = await self._controller.serve(
            request, timeout_ms=message.timeout_ms
        )
        return encode_answer(request, served.answer, metadata_offset=served.metadata_offset)

    def _ask_instead(self) -> BrokerId | None:
        leader = self._controller.leader
        return None if leader == self._broker_id else leader

    # --- Session ---

    async def Session(
        self, _: object, context: Context
    ) -> AsyncIterator[controller_pb2.SessionAnswer]:
        session: ControllerSession | None = None
        try:
            while (message := await _next(context, session)) is not None:
                heartbeat = _heartbeat(message)
                if session is None:
                    check_broker(context.auth_context(), heartbeat.broker_id)
                    session = self._sessions.open(heartbeat)
                answer = await session.beat(heartbeat)
                yield controller_pb2.SessionAnswer(
                    controller_epoch=answer.controller_epoch,
                    metadata_offset=answer.metadata_offset,
                    fenced=answer.fenced,
                )
        except OttlaError as error:
            yield controller_pb2.SessionAnswer(
                error=to_message(error), controller_id=self._ask_instead()
            )
        finally:
            if session is not None:
                session.close()


async def _next(
    context: Context, session: ControllerSession | None
) -> controller_pb2.SessionHeartbeat | None:
    """Wait for a heartbeat; ``None`` if there comes no other, from there or for us."""
    if session is None:
        return _as_heartbeat(await context.read())
    reading = asyncio.ensure_future(context.read())
    ended = asyncio.ensure_future(session.wait_ended())
    try:
        await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
        return _as_heartbeat(reading.result()) if reading.done() else None
    finally:
        reading.cancel()
        ended.cancel()


def _as_heartbeat(message: object) -> controller_pb2.SessionHeartbeat | None:
    return message if isinstance(message, controller_pb2.SessionHeartbeat) else None


def _heartbeat(message: controller_pb2.SessionHeartbeat) -> Heartbeat:
    return Heartbeat(
        BrokerId(message.broker_id),
        BrokerEpoch(message.broker_epoch),
        MetadataOffset(message.metadata_offset),
    )


def _check_speaks_for_itself(sender: BrokerId, request: Request) -> None:
    if isinstance(request, _OF_THE_SENDER) and request.broker_id != sender:
        raise ClusterAuthorizationError(
            f"broker {sender} asks for {type(request).__name__} in the name of broker "
            f"{request.broker_id}; each broker speaks for itself"
        )
