"""What a broker says that it serves is what clients of all ages look for, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.wire.api_keys import ApiKey
from ottla.wire.messages.api_versions import ApiVersionsResponse
from ottla.wire.messages.catalogue import APIS
from tests.grpc.running_broker import RunningBroker
from tests.kafka.doors import Client


@pytest.fixture
async def answer() -> AsyncIterator[ApiVersionsResponse]:
    running = await RunningBroker().start()
    assert running.broker is not None
    address = running.broker.addresses.kafka["PLAINTEXT"]
    reader, writer = await asyncio.open_connection(*address)
    yield await Client(reader, writer).versions(4)
    writer.close()
    await running.end()


# The versions by which librdkafka up to 2.11.0 decides what a broker can do.
LOOKED_FOR = [
    (ApiKey.PRODUCE, 0),
    (ApiKey.PRODUCE, 3),
    (ApiKey.PRODUCE, 7),
    (ApiKey.FETCH, 4),
    (ApiKey.FETCH, 10),
    (ApiKey.LIST_OFFSETS, 1),
    (ApiKey.OFFSET_COMMIT, 2),
    (ApiKey.OFFSET_FETCH, 1),
    (ApiKey.FIND_COORDINATOR, 0),
    (ApiKey.JOIN_GROUP, 0),
    (ApiKey.SYNC_GROUP, 0),
    (ApiKey.HEARTBEAT, 0),
    (ApiKey.LEAVE_GROUP, 0),
    (ApiKey.INIT_PRODUCER_ID, 0),
]

# The lowest that the most demanding client, @platformatic/kafka, can use.
NEEDED = [
    (ApiKey.PRODUCE, 7),
    (ApiKey.FETCH, 12),
    (ApiKey.LIST_OFFSETS, 5),
    (ApiKey.METADATA, 9),
    (ApiKey.OFFSET_COMMIT, 8),
    (ApiKey.OFFSET_FETCH, 8),
    (ApiKey.FIND_COORDINATOR, 4),
    (ApiKey.JOIN_GROUP, 6),
    (ApiKey.HEARTBEAT, 4),
    (ApiKey.LEAVE_GROUP, 4),
    (ApiKey.SYNC_GROUP, 4),
    (ApiKey.DESCRIBE_GROUPS, 5),
    (ApiKey.LIST_GROUPS, 4),
    (ApiKey.API_VERSIONS, 3),
    (ApiKey.CREATE_TOPICS, 7),
    (ApiKey.DELETE_TOPICS, 6),
    (ApiKey.INIT_PRODUCER_ID, 3),
]

NOT_SERVED = [
    ApiKey.SASL_HANDSHAKE,
    ApiKey.ADD_PARTITIONS_TO_TXN,
    ApiKey.END_TXN,
    ApiKey.DESCRIBE_ACLS,
    ApiKey.GET_TELEMETRY_SUBSCRIPTIONS,
    ApiKey.SHARE_FETCH,
]


async def test_statement_2_and_statement_3_versions_looked_for_are_within_what_is_said(
    answer: ApiVersionsResponse,
) -> None:
    said = {one.api_key: range(one.min_version, one.max_version + 1) for one in answer.api_keys}

    assert [
        (key, version) for key, version in LOOKED_FOR + NEEDED if version not in said[key]
    ] == []
    assert [key for key in NOT_SERVED if key in said] == []


async def test_nothing_is_said_that_cannot_be_read_and_written(answer: ApiVersionsResponse) -> None:
    beyond = [
        one.api_key
        for one in answer.api_keys
        if one.max_version > APIS[one.api_key].version_last
        or (one.min_version < APIS[one.api_key].version_first and one.api_key != ApiKey.PRODUCE)
    ]

    assert beyond == []


async def test_groups_of_both_kinds_are_a_feature_and_transactions_are_not(
    answer: ApiVersionsResponse,
) -> None:
    levels = {one.name: one.max_version_level for one in answer.finalized_features}

    assert levels["group.version"] == 1
    assert "transaction.version" not in levels
    assert answer.finalized_features_epoch >= 0
