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

What is named where a quota is set decides who shares its rate. By 3 and 6, all clients of one user
do; by 7 and 8, all clients of one id, whoever their users; otherwise those of one id and one user.
A default gives each of those that it stands for a rate of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ottla.cluster.client_rates import ClientRates, Quota, QuotaWindows
from ottla.cluster.services import ClientRate
from ottla.model.image import DEFAULT_ENTITY, ClusterImage, QuotaEntity
from ottla.model.limits import QUOTA_NAME_CHARACTERS_MAX
from ottla.model.quotas import CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE
from ottla.runtime.clock import Clock


class Metadata(Protocol):
    """Where the quotas stand."""

    @property
    def image(self) -> ClusterImage:
        """The cluster as this broker knows it."""


def quota_for(image: ClusterImage, user: str, client_id: str, key: str) -> Quota | None:
    """Return a client's quota of ``key``, ``None`` without one; ``user`` without ``User:``."""
    quotas = image.client_quotas
    # A longer one has no quota by its own name, and would take memory wherever it is counted.
    client_id = client_id[:QUOTA_NAME_CHARACTERS_MAX]
    for set_for, shared_by in _nearest_first(user, client_id):
        bytes_per_second = quotas.get(set_for, {}).get(key)
        if bytes_per_second is not None:
            return Quota(bytes_per_second, shared_by)
    return None


class BrokerQuotasService:
    """A ``QuotasService``: the quotas of the cluster, kept on this broker."""

    def __init__(self, metadata: Metadata, *, windows: QuotaWindows, clock: Clock) -> None:
        self._metadata = metadata
        self._clock = clock
        self._produced = ClientRates(windows)
        self._consumed = ClientRates(windows)

    def producer_rate(self, user: str, client_id: str) -> ClientRate | None:
        return self._rate(user, client_id, PRODUCER_BYTE_RATE, self._produced)

    def consumer_rate(self, user: str, client_id: str) -> ClientRate | None:
        return self._rate(user, client_id, CONSUMER_BYTE_RATE, self._consumed)

    def _rate(self, user: str, client_id: str, key: str, rates: ClientRates) -> ClientRate | None:
        image = self._metadata.image
        if not image.client_quotas:
            return None
        quota = quota_for(image, user, client_id, key)
        return None if quota is None else _Rate(quota, rates, self._clock)


class _Rate:
    """That of one client, for the time of a request."""

    __slots__ = ("_clock", "_quota", "_rates")

    def __init__(self, quota: Quota, rates: ClientRates, clock: Clock) -> None:
        self._quota = quota
        self._rates = rates
        self._clock = clock

    @property
    def portion_bytes(self) -> int:
        return self._rates.portion_bytes(self._quota)

    def spend(self, size_bytes: int) -> None:
        self._rates.spend(self._quota, size_bytes, self._clock.now_ms())

    def wait_ms(self) -> int:
        return self._rates.wait_ms(self._quota, self._clock.now_ms())


def _nearest_first(user: str, client_id: str) -> Iterator[tuple[QuotaEntity, QuotaEntity]]:
    """Yield for whom a quota could be set, and who would share it."""
    for of_user in (user, DEFAULT_ENTITY):
        for of_client in (client_id, DEFAULT_ENTITY):
            yield QuotaEntity(of_user, of_client), QuotaEntity(user, client_id)
        yield QuotaEntity(of_user), QuotaEntity(user)
    for of_client in (client_id, DEFAULT_ENTITY):
        yield QuotaEntity(client_id=of_client), QuotaEntity(client_id=client_id)
