"""``UnregisterBroker``: a broker that is gone for good is not part of the cluster any more."""

from __future__ import annotations

from ottla.cluster.services import Services
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.model.ids import BrokerId
from ottla.wire.messages.unregister_broker import (
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
)


class UnregisterBrokerHandler:
    """Version 0."""

    def __init__(self, services: Services) -> None:
        self._administration = services.administration

    async def __call__(
        self, _context: RequestContext, request: UnregisterBrokerRequest
    ) -> UnregisterBrokerResponse:
        """Forget it, if it runs no more and has nothing."""
        try:
            await self._administration.unregister_broker(BrokerId(request.broker_id))
        except OttlaError as error:
            return UnregisterBrokerResponse(error_code=error.code, error_message=str(error))
        return UnregisterBrokerResponse()
