"""The quotas of the nearest entity count for a client, key by key."""

from __future__ import annotations

import pytest

from ottla.cluster.quotas import UNLIMITED, ClientQuota, quota_for
from ottla.model.image import DEFAULT_ENTITY, ClusterImage, QuotaEntity

NEAREST_FIRST = [
    QuotaEntity("ann", "app"),
    QuotaEntity("ann", DEFAULT_ENTITY),
    QuotaEntity("ann"),
    QuotaEntity(DEFAULT_ENTITY, "app"),
    QuotaEntity(DEFAULT_ENTITY, DEFAULT_ENTITY),
    QuotaEntity(DEFAULT_ENTITY),
    QuotaEntity(client_id="app"),
    QuotaEntity(client_id=DEFAULT_ENTITY),
]


def image(quotas: dict[QuotaEntity, dict[str, float]]) -> ClusterImage:
    return ClusterImage(cluster_id="c", client_quotas=quotas)


@pytest.mark.parametrize("present", range(len(NEAREST_FIRST)))
def test_nearest_entity_with_a_quota_counts(present: int) -> None:
    quotas = {
        entity: {"producer_byte_rate": float(rate)}
        for rate, entity in enumerate(NEAREST_FIRST)
        if rate >= present
    }

    assert quota_for(image(quotas), "ann", "app") == ClientQuota(float(present), None)


def test_two_rates_may_come_from_two_entities() -> None:
    quotas = {
        QuotaEntity("ann"): {"consumer_byte_rate": 1.0},
        QuotaEntity(client_id="app"): {"consumer_byte_rate": 2.0, "producer_byte_rate": 3.0},
    }

    assert quota_for(image(quotas), "ann", "app") == ClientQuota(3.0, 1.0)


@pytest.mark.parametrize(
    "entity", [QuotaEntity("bob"), QuotaEntity(client_id="other"), QuotaEntity("bob", "app")]
)
def test_quotas_of_others_do_not_count(entity: QuotaEntity) -> None:
    quotas = {entity: {"producer_byte_rate": 1.0}}

    assert quota_for(image(quotas), "ann", "app") == UNLIMITED


def test_there_is_no_limit_without_quotas() -> None:
    assert quota_for(image({}), "ann", "app") == UNLIMITED
