"""The quotas of the nearest entity count for a client, key by key, and say who shares the rate."""

from __future__ import annotations

import pytest

from ottla.cluster.client_rates import Quota, QuotaWindows
from ottla.cluster.quotas import BrokerQuotasService, quota_for
from ottla.model.image import DEFAULT_ENTITY, ClusterImage, QuotaEntity
from tests.grpc.fakes import FixedClock

PRODUCER, CONSUMER = "producer_byte_rate", "consumer_byte_rate"

OF_BOTH = QuotaEntity("ann", "app")
NEAREST_FIRST = [
    (QuotaEntity("ann", "app"), OF_BOTH),
    (QuotaEntity("ann", DEFAULT_ENTITY), OF_BOTH),
    (QuotaEntity("ann"), QuotaEntity("ann")),
    (QuotaEntity(DEFAULT_ENTITY, "app"), OF_BOTH),
    (QuotaEntity(DEFAULT_ENTITY, DEFAULT_ENTITY), OF_BOTH),
    (QuotaEntity(DEFAULT_ENTITY), QuotaEntity("ann")),
    (QuotaEntity(client_id="app"), QuotaEntity(client_id="app")),
    (QuotaEntity(client_id=DEFAULT_ENTITY), QuotaEntity(client_id="app")),
]


def image(quotas: dict[QuotaEntity, dict[str, float]]) -> ClusterImage:
    return ClusterImage(cluster_id="c", client_quotas=quotas)


class Metadata:
    def __init__(self, quotas: dict[QuotaEntity, dict[str, float]]) -> None:
        self.image = image(quotas)


@pytest.mark.parametrize("present", range(len(NEAREST_FIRST)))
def test_nearest_entity_with_a_quota_counts(present: int) -> None:
    quotas = {
        entity: {PRODUCER: float(rate)}
        for rate, (entity, _) in enumerate(NEAREST_FIRST, start=1)
        if rate > present
    }

    found = quota_for(image(quotas), "ann", "app", PRODUCER)

    assert found == Quota(float(present + 1), NEAREST_FIRST[present][1])


def test_two_rates_may_come_from_two_entities() -> None:
    quotas = {
        QuotaEntity("ann"): {CONSUMER: 1.0},
        QuotaEntity(client_id="app"): {CONSUMER: 2.0, PRODUCER: 3.0},
    }

    consumer = quota_for(image(quotas), "ann", "app", CONSUMER)
    producer = quota_for(image(quotas), "ann", "app", PRODUCER)

    assert (consumer, producer) == (
        Quota(1.0, QuotaEntity("ann")),
        Quota(3.0, QuotaEntity(client_id="app")),
    )


@pytest.mark.parametrize(
    "entity", [QuotaEntity("bob"), QuotaEntity(client_id="other"), QuotaEntity("bob", "app")]
)
def test_quotas_of_others_do_not_count(entity: QuotaEntity) -> None:
    assert quota_for(image({entity: {PRODUCER: 1.0}}), "ann", "app", PRODUCER) is None


def test_there_is_no_rate_without_quotas() -> None:
    service = BrokerQuotasService(
        Metadata({}), windows=QuotaWindows(samples=11, size_ms=1_000), clock=FixedClock()
    )

    assert (service.producer_rate("ann", "app"), service.consumer_rate("ann", "app")) == (
        None,
        None,
    )


def test_producing_and_consuming_have_rates_of_their_own() -> None:
    service = BrokerQuotasService(
        Metadata({QuotaEntity("ann"): {PRODUCER: 100.0, CONSUMER: 100.0}}),
        windows=QuotaWindows(samples=2, size_ms=1_000),
        clock=FixedClock(),
    )
    producer, consumer = service.producer_rate("ann", "x"), service.consumer_rate("ann", "x")
    assert producer is not None
    assert consumer is not None

    producer.spend(200)

    assert (producer.wait_ms(), consumer.wait_ms()) == (1_000, 0)
