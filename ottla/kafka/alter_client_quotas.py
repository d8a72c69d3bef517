"""``AlterClientQuotas``: what clients may send and be sent (KIP-546)."""

from __future__ import annotations

from ottla.cluster.services import Result, Services
from ottla.controller.requests import QuotaChanges
from ottla.kafka.handling import RequestContext
from ottla.kafka.quota_entities import entity_of
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.wire.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    RequestEntryData,
    ResponseEntityData,
    ResponseEntryData,
)


class AlterClientQuotasHandler:
    """Versions 0 and 1."""

    def __init__(self, services: Services) -> None:
        self._administration = services.administration

    async def __call__(
        self, _context: RequestContext, request: AlterClientQuotasRequest
    ) -> AlterClientQuotasResponse:
        """Make all changes of an entity, or none of them."""
        answers = [_answer(entry) for entry in request.entries]
        wanted: list[tuple[ResponseEntryData, QuotaChanges]] = []
        for entry, answer in zip(request.entries, answers, strict=True):
            try:
                wanted.append((answer, _changes(entry)))
            except OttlaError as error:
                _fill(answer, error)
        try:
            results: list[Result[None]] = await self._administration.alter_client_quotas(
                [changes for _, changes in wanted], validate_only=request.validate_only
            )
        except OttlaError as error:
            results = [error for _ in wanted]
        for (answer, _), result in zip(wanted, results, strict=True):
            _fill(answer, result)
        return AlterClientQuotasResponse(entries=answers)


def _changes(entry: RequestEntryData) -> QuotaChanges:
    changes = {op.key: None if op.remove else op.value for op in entry.ops}
    if len(changes) != len(entry.ops):
        raise InvalidRequestError("the request changes a quota of an entity twice; change it once")
    pairs = ((part.entity_type, part.entity_name) for part in entry.entity)
    return QuotaChanges(entity=entity_of(pairs), changes=changes)


def _answer(entry: RequestEntryData) -> ResponseEntryData:
    return ResponseEntryData(
        entity=[
            ResponseEntityData(entity_type=part.entity_type, entity_name=part.entity_name)
            for part in entry.entity
        ]
    )


def _fill(answer: ResponseEntryData, result: Result[None]) -> None:
    if result is not None:
        answer.error_code = result.code
        answer.error_message = str(result)
