"""Quotas of clients: how many bytes a second they may send to each broker, and be sent by it.

An *entity* has quotas: a user, a client by its id, or a client of a user, each by its name or as
the default of all that have none by theirs (KIP-13, KIP-55, KIP-546). Which one counts for a client
is looked up by :func:`ottla.cluster.quotas.quota_for`.

Only what brokers enforce can be set: a quota that is accepted and means nothing is worse than none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Final

from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.requests import AlterClientQuotas, QuotaChanges, QuotaResult
from ottla.controller.state import MetadataState
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.image import DEFAULT_ENTITY, QuotaEntity
from ottla.model.limits import (
    QUOTA_ENTITIES_MAX,
    QUOTA_ENTITIES_PER_REQUEST_MAX,
    QUOTA_NAME_CHARACTERS_MAX,
)
from ottla.model.quotas import QUOTA_KEYS

_QUOTA_MAX: Final = 2.0**63
_KAFKA_HAS_AND_WE_DO_NOT: Final = frozenset(
    {"request_percentage", "controller_mutation_rate", "connection_creation_rate"}
)


def alter_client_quotas(
    state: MetadataState, request: AlterClientQuotas
) -> Decision[tuple[QuotaResult, ...]]:
    """Decide on new quotas."""
    if len(request.entities) > QUOTA_ENTITIES_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"the request changes the quotas of {len(request.entities)} entities; change at most "
            f"{QUOTA_ENTITIES_PER_REQUEST_MAX} at a time"
        )
    counts = Counter(wanted.entity for wanted in request.entities)
    known = dict.fromkeys(state.image.client_quotas)
    results: list[QuotaResult] = []
    steps: list[Step] = []
    for wanted in request.entities:
        entity = wanted.entity
        try:
            if counts[entity] > 1:
                raise InvalidRequestError(
                    f"the request changes the quotas of {_title(entity)} {counts[entity]} times; "
                    "change them once"
                )
            _check_entity(entity)
            altered = _altered(wanted, state.image.client_quotas.get(entity, {}))
            if any(value is not None for value in altered.values()):
                known[entity] = None
                _check_room(len(known))
        except OttlaError as error:
            results.append(QuotaResult(entity=entity, error=error))
            continue
        results.append(QuotaResult(entity=entity))
        if altered and not request.validate_only:
            steps.append(
                tuple(
                    records.client_quota_changed(entity, key, value)
                    for key, value in altered.items()
                )
            )
    return decided(state, tuple(results), *steps)


def _altered(wanted: QuotaChanges, present: Mapping[str, float]) -> dict[str, float | None]:
    """Return what differs afterwards; ``None``: not set any more."""
    altered: dict[str, float | None] = {}
    for key, value in wanted.changes.items():
        _check_key(key)
        if value is not None:
            _check_value(key, value)
        if value != present.get(key):
            altered[key] = value
    return altered


def _check_entity(entity: QuotaEntity) -> None:
    names = [name for name in entity if name is not None]
    if not names:
        raise InvalidRequestError("quotas are of a user, a client-id, or both; name one")
    longest = max(map(len, names))
    if longest > QUOTA_NAME_CHARACTERS_MAX:
        raise InvalidRequestError(
            f"a name of {longest} characters cannot have quotas; use at most "
            f"{QUOTA_NAME_CHARACTERS_MAX}"
        )


def _check_key(key: str) -> None:
    if key in QUOTA_KEYS:
        return
    keys = ", ".join(QUOTA_KEYS)
    if key in _KAFKA_HAS_AND_WE_DO_NOT:
        raise InvalidRequestError(f"this version does not enforce {key}; there are {keys}")
    raise InvalidRequestError(f"there is no quota {key[:100]!r}; there are {keys}")


def _check_value(key: str, value: float) -> None:
    if not 0 < value < _QUOTA_MAX or not math.isfinite(value) or value != int(value):
        raise InvalidRequestError(
            f"{key} cannot be {value}; it takes a whole number of bytes a second above 0, and is "
            "removed to have no limit"
        )


def _check_room(count: int) -> None:
    if count > QUOTA_ENTITIES_MAX:
        raise InvalidRequestError(
            f"{QUOTA_ENTITIES_MAX} entities have quotas already, and there can be no more; remove "
            "some, or set a default"
        )


def _title(entity: QuotaEntity) -> str:
    parts = [
        f"{kind} {'<default>' if name == DEFAULT_ENTITY else repr(name[:100])}"
        for kind, name in (("user", entity.user), ("client-id", entity.client_id))
        if name is not None
    ]
    return " and ".join(parts) or "nobody"
