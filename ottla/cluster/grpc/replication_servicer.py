"""``ottla.v1.Replication``: serves the brokers that copy partitions from this one.

Served before there is anything for clients: a partition may be writable only when its followers
are in sync.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

import grpc

from ottla.cluster.follower_streams import FollowerStreams
from ottla.cluster.grpc.errors import abort
from ottla.cluster.grpc.reading import next_request
from ottla.model.errors import OttlaError
from ottla.security.identity import check_broker
from ottla.v1 import replication_pb2_grpc
from ottla.v1.replication_pb2 import FollowRequest, FollowResponse

if TYPE_CHECKING:
    FollowContext = grpc.aio.ServicerContext[FollowRequest, FollowResponse]


class ReplicationServicer(replication_pb2_grpc.ReplicationServicer):
    """Hands calls to the streams; see ``proto/ottla/v1/replication.proto``."""

    def __init__(self, streams: FollowerStreams) -> None:
        """Serve followers by ``streams``."""
        self._streams = streams

    def add_to(self, server: grpc.aio.Server) -> None:
        """Have ``server`` serve it."""
        replication_pb2_grpc.add_ReplicationServicer_to_server(self, server)

    # The stubs know streams as generators only; see the log's servicer.

    async def Follow(  # type: ignore[override]
        self, request_iterator: object, context: FollowContext
    ) -> None:
        """Serve one follower until it ends the call."""
        del request_iterator
        try:
            await self._streams.serve(
                _requests(context),
                context.write,
                check_caller=partial(check_broker, context.auth_context()),
            )
        except OttlaError as error:
            await abort(context, error)


async def _requests(context: FollowContext) -> AsyncIterator[FollowRequest]:
    while (request := await next_request(context)) is not None:
        yield request
