"""``DescribeConfigs``: the settings of topics and of the broker asked, with where they come from.

A broker's log is described as one logger, ``root``, whose level is that of ``diagnostics.level``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from ottla.cluster.admin_services import ConfigEntry, Resource, ResourceType
from ottla.cluster.services import Result, Services
from ottla.kafka.config_entries import (
    BROKER_LOGGER,
    TYPE_CODES,
    WITHOUT_SETTINGS,
    resource_of,
)
from ottla.kafka.handling import RequestContext
from ottla.model.errors import (
    InvalidRequestError,
    OttlaError,
    ResourceNotFoundError,
)
from ottla.model.limits import DESCRIBED_RESOURCES_MAX
from ottla.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)

_RESOURCES_PER_TURN: Final = 50
"""Described before others get their turn of the event loop: some milliseconds."""

_LOG_LEVEL: Final = "diagnostics.level"
_ROOT_LOGGER: Final = "root"
_LOGGER_SOURCE: Final = 6
_TYPE_NOT_TOLD: Final = 0


class DescribeConfigsHandler:
    """Versions 1 to 4."""

    def __init__(self, services: Services) -> None:
        self._configs = services.configs

    async def __call__(
        self, _context: RequestContext, request: DescribeConfigsRequest
    ) -> DescribeConfigsResponse:
        """Answer for each resource, with a break for others among many."""
        response = DescribeConfigsResponse()
        for number, resource in enumerate(request.resources[:DESCRIBED_RESOURCES_MAX]):
            if number % _RESOURCES_PER_TURN == _RESOURCES_PER_TURN - 1:
                await asyncio.sleep(0)
            response.results.append(self._answer(resource, request))
        for resource in request.resources[DESCRIBED_RESOURCES_MAX:]:
            response.results.append(_too_many(resource))
        return response

    def _answer(
        self, asked: DescribeConfigsResource, request: DescribeConfigsRequest
    ) -> DescribeConfigsResult:
        result = DescribeConfigsResult(
            resource_type=asked.resource_type, resource_name=asked.resource_name
        )
        try:
            result.configs = self._described(asked, request)
        except OttlaError as error:
            # A broker that is not this one is a request gone astray; Kafka has no code for it.
            code = InvalidRequestError.code if isinstance(error, ResourceNotFoundError) else None
            result.error_code = error.code if code is None else code
            result.error_message = str(error)
        return result

    def _described(
        self, asked: DescribeConfigsResource, request: DescribeConfigsRequest
    ) -> list[DescribeConfigsResourceResult]:
        if asked.resource_type in WITHOUT_SETTINGS:
            if not asked.resource_name:
                raise InvalidRequestError("the name of the resource is empty; give it one")
            return []
        keys = asked.configuration_keys
        if asked.resource_type == BROKER_LOGGER:
            return list(self._loggers(asked.resource_name, keys))
        resource = resource_of(asked.resource_type, asked.resource_name)
        return [_entry(entry, request) for entry in self._entries(resource, keys or ())]

    def _loggers(
        self, broker: str, keys: Sequence[str] | None
    ) -> Iterable[DescribeConfigsResourceResult]:
        if not broker:
            raise InvalidRequestError("a log is one broker's; name the broker by its id")
        (level,) = self._entries(Resource(ResourceType.BROKER, broker), [_LOG_LEVEL])
        if not keys or _ROOT_LOGGER in keys:
            yield DescribeConfigsResourceResult(
                name=_ROOT_LOGGER,
                value=level.value.upper().replace("WARNING", "WARN"),
                config_source=_LOGGER_SOURCE,
                read_only=True,
                config_type=_TYPE_NOT_TOLD,
            )

    def _entries(self, resource: Resource, keys: Sequence[str]) -> Sequence[ConfigEntry]:
        (result,) = self._configs.describe_configs([(resource, keys)])
        return _or_raise(result)


def _too_many(asked: DescribeConfigsResource) -> DescribeConfigsResult:
    return DescribeConfigsResult(
        error_code=InvalidRequestError.code,
        error_message=f"ask for at most {DESCRIBED_RESOURCES_MAX} resources at a time",
        resource_type=asked.resource_type,
        resource_name=asked.resource_name,
    )


def _or_raise(result: Result[Sequence[ConfigEntry]]) -> Sequence[ConfigEntry]:
    if isinstance(result, OttlaError):
        raise result
    return result


def _entry(entry: ConfigEntry, request: DescribeConfigsRequest) -> DescribeConfigsResourceResult:
    synonyms = entry.synonyms if request.include_synonyms else ()
    return DescribeConfigsResourceResult(
        name=entry.key,
        value=None if entry.sensitive else entry.value,
        read_only=entry.read_only,
        config_source=entry.source.value,
        is_sensitive=entry.sensitive,
        synonyms=[
            DescribeConfigsSynonym(
                name=synonym.key,
                value=None if entry.sensitive else synonym.value,
                source=synonym.source.value,
            )
            for synonym in synonyms
        ],
        config_type=TYPE_CODES[entry.type],
        documentation=entry.documentation if request.include_documentation else None,
    )
