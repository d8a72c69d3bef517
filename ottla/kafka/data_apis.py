"""The APIs that move records: which versions are served, and by whom."""

from __future__ import annotations

import secrets
from typing import Final

from ottla.cluster.services import Services
from ottla.kafka.current_leaders import AddressOf, CurrentLeaders
from ottla.kafka.delete_records import DeleteRecordsHandler
from ottla.kafka.describe_producers import DescribeProducersHandler
from ottla.kafka.fetch import FetchHandler
from ottla.kafka.fetch_sessions import FetchSessions
from ottla.kafka.fetch_shares import FetchShares
from ottla.kafka.handling import ServedApi
from ottla.kafka.init_producer_id import InitProducerIdHandler
from ottla.kafka.list_offsets import ListOffsetsHandler
from ottla.kafka.offset_for_leader_epoch import OffsetForLeaderEpochHandler
from ottla.kafka.produce import ProduceHandler
from ottla.runtime.clock import Clock
from ottla.wire.api_keys import ApiKey

_SESSION_ID_MAX: Final = 2**31 - 1


def data_apis(
    services: Services, *, address_of: AddressOf, clock: Clock, fetch_bytes_max: int
) -> list[ServedApi]:
    """Put handlers in front of the services.

    ``address_of`` says where a client reaches a broker, and ``fetch_bytes_max`` is the setting
    ``fetch.max.bytes``.
    """
    leaders = CurrentLeaders(services.cluster, address_of)
    fetch = FetchHandler(
        services.fetch,
        services.cluster,
        leaders,
        services.quotas,
        sessions=FetchSessions(new_id=lambda: 1 + secrets.randbelow(_SESSION_ID_MAX)),
        shares=FetchShares(answer_bytes_max=fetch_bytes_max),
        clock=clock,
    )
    return [
        # Clients up to librdkafka 2.11.0 compress only if version 0 is offered, and none sends it.
        ServedApi(
            api_key=ApiKey.PRODUCE,
            min_version=3,
            max_version=13,
            handler=ProduceHandler(services.produce, services.cluster, leaders, services.quotas),
            advertised_min_version=0,
        ),
        ServedApi(api_key=ApiKey.FETCH, min_version=4, max_version=18, handler=fetch),
        ServedApi(
            api_key=ApiKey.LIST_OFFSETS,
            min_version=1,
            max_version=11,
            handler=ListOffsetsHandler(services.offsets),
        ),
        ServedApi(
            api_key=ApiKey.DELETE_RECORDS,
            min_version=0,
            max_version=2,
            handler=DeleteRecordsHandler(services.offsets),
        ),
        # Version 6 prepares transactions for two phases, and is not stable in Kafka 4.4.
        ServedApi(
            api_key=ApiKey.INIT_PRODUCER_ID,
            min_version=0,
            max_version=5,
            handler=InitProducerIdHandler(services.producer_ids),
        ),
        ServedApi(
            api_key=ApiKey.OFFSET_FOR_LEADER_EPOCH,
            min_version=2,
            max_version=4,
            handler=OffsetForLeaderEpochHandler(services.offsets),
        ),
        ServedApi(
            api_key=ApiKey.DESCRIBE_PRODUCERS,
            min_version=0,
            max_version=0,
            handler=DescribeProducersHandler(services.produce),
        ),
    ]
