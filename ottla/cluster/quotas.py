"""Which quotas count for a client: those of the nearest entity that has any of the kind.

Kafka's order of precedence (KIP-55). The first entity that has a quota of a key gives it, so the
two rates of one client may come from different entities:

1. this user with this client id;
2. this user with any other client id (the default);
3. this user;
4. any other user with this client id;
5. any other user with any other client id;
6. any other user;
7. this client id, whoever the user;
8. any other client id, whoever the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ottla.model.image import DEFAULT_ENTITY, ClusterImage, QuotaEntity
from ottla.model.quotas import CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE


class ClientQuota(NamedTuple):
    """Bytes a second on one broker; ``None``: as many as it can."""

    producer_byte_rate: float | None
    consumer_byte_rate: float | None


UNLIMITED = ClientQuota(None, None)


def quota_for(image: ClusterImage, user: str, client_id: str) -> ClientQuota:
    """Return what a client may send and receive; ``user`` without ``User:``."""
    quotas = image.client_quotas
    if not quotas:
        return UNLIMITED
    found: dict[str, float] = {}
    for entity in _nearest_first(user, client_id):
        found = {**quotas.get(entity, {}), **found}
    return ClientQuota(found.get(PRODUCER_BYTE_RATE), found.get(CONSUMER_BYTE_RATE))


def _nearest_first(user: str, client_id: str) -> Iterator[QuotaEntity]:
    for of_user in (user, DEFAULT_ENTITY):
        yield QuotaEntity(of_user, client_id)
        yield QuotaEntity(of_user, DEFAULT_ENTITY)
        yield QuotaEntity(of_user)
    yield QuotaEntity(client_id=client_id)
    yield QuotaEntity(client_id=DEFAULT_ENTITY)
