"""``InitProducerId``: an identity for an idempotent producer."""

from __future__ import annotations

from ottla.cluster.services import ProducerIdsService
from ottla.kafka.handling import RequestContext
from ottla.model.errors import CoordinatorLoadInProgressError, InvalidRequestError, OttlaError
from ottla.model.ids import NO_PRODUCER_ID, ProducerEpoch, ProducerId
from ottla.record.batch import NO_PRODUCER_EPOCH
from ottla.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse


class InitProducerIdHandler:
    """Versions 0 to 5."""

    def __init__(self, producer_ids: ProducerIdsService) -> None:
        self._producer_ids = producer_ids

    async def __call__(
        self, context: RequestContext, request: InitProducerIdRequest
    ) -> InitProducerIdResponse:
        """Answer with a fresh id, or the one in the request with its epoch raised."""
        del context
        try:
            producer_id, epoch = await self._producer_ids.init_producer_id(
                _current(request), transactional_id=request.transactional_id
            )
        except OttlaError as error:
            return InitProducerIdResponse(
                error_code=_code(error),
                producer_id=NO_PRODUCER_ID,
                producer_epoch=NO_PRODUCER_EPOCH,
            )
        return InitProducerIdResponse(producer_id=producer_id, producer_epoch=epoch)


def _code(error: OttlaError) -> int:
    # What Kafka says while it waits for a block of ids; not every client knows another error here
    # after which it should try again.
    return CoordinatorLoadInProgressError.code if error.retriable else error.code


def _current(request: InitProducerIdRequest) -> tuple[ProducerId, ProducerEpoch] | None:
    has_id = request.producer_id != NO_PRODUCER_ID
    if has_id != (request.producer_epoch != NO_PRODUCER_EPOCH):
        raise InvalidRequestError(
            f"producer id {request.producer_id} with epoch {request.producer_epoch}: give both, or "
            "neither of them"
        )
    if not has_id:
        return None
    return ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch)
