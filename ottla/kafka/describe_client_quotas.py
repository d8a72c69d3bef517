"""``DescribeClientQuotas``: the quotas of entities that a filter lets through (KIP-546).

A filter has a component for each type of name that it is about: this name, the default, or any.
Strictly, an entity has names of these types and of no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ottla.cluster.services import ClusterService
from ottla.kafka.handling import RequestContext
from ottla.kafka.quota_entities import CLIENT_ID, IP, USER, pairs_of
from ottla.model.errors import InvalidRequestError, OttlaError, UnsupportedVersionError
from ottla.wire.messages.describe_client_quotas import (
    ComponentData,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    EntityData,
    EntryData,
    ValueData,
)

_EXACT: Final = 0
_DEFAULT: Final = 1
_ANY: Final = 2

_Names = Mapping[str, str | None]


class DescribeClientQuotasHandler:
    """Versions 0 and 1."""

    def __init__(self, cluster: ClusterService) -> None:
        self._cluster = cluster

    async def __call__(
        self, _context: RequestContext, request: DescribeClientQuotasRequest
    ) -> DescribeClientQuotasResponse:
        """Answer from this broker's metadata."""
        try:
            _check_filter(request.components)
        except OttlaError as error:
            return DescribeClientQuotasResponse(error_code=error.code, error_message=str(error))
        return DescribeClientQuotasResponse(
            entries=[
                EntryData(
                    entity=[
                        EntityData(entity_type=kind, entity_name=name)
                        for kind, name in pairs_of(entity)
                    ],
                    values=[ValueData(key=key, value=value) for key, value in quotas.items()],
                )
                for entity, quotas in self._cluster.image.client_quotas.items()
                if _passes(dict(pairs_of(entity)), request)
            ]
        )


def _passes(names: _Names, request: DescribeClientQuotasRequest) -> bool:
    if request.strict and len(names) != len(request.components):
        return False
    return all(_matches(names, component) for component in request.components)


def _matches(names: _Names, component: ComponentData) -> bool:
    if component.entity_type not in names:
        return False
    # The default is matched by its name, which is null.
    return component.match_type == _ANY or names[component.entity_type] == component.match


def _check_filter(components: list[ComponentData]) -> None:
    kinds = [component.entity_type for component in components]
    if len(set(kinds)) != len(kinds):
        raise InvalidRequestError("the filter has two components of a type; use one")
    if IP in kinds and len(kinds) > 1:
        raise InvalidRequestError(f"a filter for {IP} can have no other component")
    for component in components:
        if not component.entity_type:
            raise InvalidRequestError("a component of the filter has an empty type")
        if component.entity_type not in {USER, CLIENT_ID, IP}:
            raise UnsupportedVersionError(
                f"there are no quotas of {component.entity_type[:100]!r}; ask for {USER} or "
                f"{CLIENT_ID}"
            )
        if component.match_type not in {_EXACT, _DEFAULT, _ANY}:
            raise InvalidRequestError(f"there is no match of type {component.match_type}")
        if (component.match is None) == (component.match_type == _EXACT):
            raise InvalidRequestError(
                f"a component for {component.entity_type} has a name only if that is to match "
                f"exactly (type {_EXACT})"
            )
