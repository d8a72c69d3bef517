"""Every request that is served, from the lists of those who serve them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ottla.cluster.services import Services
from ottla.config.addresses import Address
from ottla.controller.state import SUPPORTED_FEATURES
from ottla.kafka.admin_apis import admin_apis
from ottla.kafka.advertised import address_for
from ottla.kafka.api_versions import GROUP_FEATURE, ApiVersionsHandler, Feature, Features
from ottla.kafka.data_apis import data_apis
from ottla.kafka.group_apis import group_apis
from ottla.kafka.handling import Connection, ServedApi
from ottla.kafka.metadata_apis import metadata_apis
from ottla.model.ids import BrokerId
from ottla.model.image import BrokerImage
from ottla.runtime.clock import Clock


def all_apis(
    services: Services,
    *,
    broker_id: BrokerId,
    feature_levels: Callable[[], Mapping[str, int]],
    fetch_bytes_max: int,
    clock: Clock,
) -> list[ServedApi]:
    """Put everything in front of the services that clients of Kafka may ask for.

    ``feature_levels`` are those in force in the cluster, by name, and ``fetch_bytes_max`` is the
    setting ``fetch.max.bytes``.
    """

    def address_of(broker: BrokerImage, connection: Connection) -> Address | None:
        own = services.cluster.image.brokers.get(broker_id)
        return address_for(broker, connection, own)

    apis = [
        *data_apis(services, address_of=address_of, clock=clock, fetch_bytes_max=fetch_bytes_max),
        *metadata_apis(services, address_of),
        *admin_apis(services),
        *group_apis(services, address_of=address_of),
    ]

    def features() -> Features:
        levels = feature_levels()
        by_name = {
            name: Feature(1, highest, levels.get(name, 0))
            for name, highest in SUPPORTED_FEATURES.items()
        }
        # The groups of KIP-848 are there whatever the cluster has agreed on.
        by_name[GROUP_FEATURE] = Feature(0, 1, 1)
        return Features(services.cluster.image.metadata_offset, by_name)

    return [*apis, ApiVersionsHandler(apis, features).api]
