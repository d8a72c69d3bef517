"""``ottla.v1.Quorum``: other nodes of the metadata quorum make links with this one.

Served from the start, before there is anything for clients: the brokers need the quorum to find out
what to serve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.cluster.grpc.errors import abort
from ottla.cluster.grpc.quorum_calls import Served
from ottla.cluster.quorum_links import QuorumLinks
from ottla.model.errors import OttlaError
from ottla.model.ids import BrokerId
from ottla.security.identity import check_broker
from ottla.v1 import quorum_pb2_grpc

if TYPE_CHECKING:
    from ottla.cluster.grpc.quorum_calls import LinkContext


class QuorumServicer(quorum_pb2_grpc.QuorumServicer):
    """Hands calls to the links; see ``proto/ottla/v1/quorum.proto``."""

    def __init__(self, links: QuorumLinks) -> None:
        """Serve incoming calls of ``links``."""
        self._links = links

    # The stubs know streams as generators only; see the log's servicer.

    async def Link(  # type: ignore[override]
        self, request_iterator: object, context: LinkContext
    ) -> None:
        """Carry one link until it ends."""
        del request_iterator

        def check_identity(claimed: BrokerId) -> None:
            check_broker(context.auth_context(), claimed)

        try:
            await self._links.accept(Served(context), check_identity)
        except OttlaError as error:
            await abort(context, error)
