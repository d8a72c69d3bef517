"""Statement 51: whoever is over a quota is answered at once, told how long to keep quiet, and kept
waiting that long.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ottla.kafka.handling import Begun, Throttled
from ottla.model.ids import MetadataOffset
from ottla.model.image import QuotaEntity
from ottla.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from ottla.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.cluster.world import batch
from tests.kafka.data.door import DataDoor, context

TEST = QuotaEntity(client_id="test")
"""The requests of :func:`context` are this client's."""

BATCH = batch(bytes(1_000))


def set_quota(door: DataDoor, entity: QuotaEntity = TEST, **rates: float) -> None:
    image = door.world.image
    door.world.metadata.publish(
        replace(
            image,
            metadata_offset=MetadataOffset(image.metadata_offset + 1),
            client_quotas={entity: rates},
        )
    )


def produce_request(records: bytes = BATCH, *, acks: int = -1) -> ProduceRequest:
    return ProduceRequest(
        acks=acks,
        timeout_ms=30_000,
        topic_data=[
            TopicProduceData(name="web", partition_data=[PartitionProduceData(records=records)])
        ],
    )


async def produced(door: DataDoor, **request: Any) -> ProduceResponse | Throttled[Any] | None:
    handled = door.produce_handler(context(12), produce_request(**request))
    return await (handled.response if isinstance(handled, Begun) else handled)


async def fetched(
    door: DataDoor, offset: int = 0, **request: Any
) -> FetchResponse | Throttled[FetchResponse]:
    partition = FetchPartition(fetch_offset=offset, partition_max_bytes=1 << 20)
    fields: dict[str, Any] = {"session_epoch": -1, "max_bytes": 1 << 20} | request
    return await door.fetch_handler(
        context(12),
        FetchRequest(topics=[FetchTopic(topic="web", partitions=[partition])], **fields),
    )


def within_session(session_id: int, epoch: int) -> FetchRequest:
    return FetchRequest(session_id=session_id, session_epoch=epoch, max_bytes=1 << 20)


async def test_statement_51_producer_over_its_quota_is_answered_and_has_to_wait(
    door: DataDoor,
) -> None:
    set_quota(door, producer_byte_rate=len(BATCH))
    assert isinstance(await produced(door), ProduceResponse)  # what a window allows
    door.world.clock.passed_ms += 500

    throttled = await produced(door)

    assert isinstance(throttled, Throttled)
    assert throttled.mute_ms == throttled.response.throttle_time_ms == 500
    (answer,) = throttled.response.responses[0].partition_responses
    assert (answer.error_code, answer.base_offset) == (0, 1)


async def test_producer_that_waited_is_not_throttled(door: DataDoor) -> None:
    set_quota(door, producer_byte_rate=len(BATCH))
    for _ in range(20):
        response = await produced(door)
        assert isinstance(response, ProduceResponse)
        assert response.throttle_time_ms == 0
        door.world.clock.passed_ms += 1_000


async def test_producer_that_wants_no_answer_has_to_wait_as_well(door: DataDoor) -> None:
    set_quota(door, producer_byte_rate=len(BATCH))
    await produced(door, acks=0)

    assert await produced(door, acks=0) == Throttled(None, mute_ms=1_000)


async def test_what_is_refused_was_sent_as_well(door: DataDoor) -> None:
    set_quota(door, producer_byte_rate=len(BATCH))
    damaged = BATCH[:-1] + b"?"
    await produced(door, records=damaged)

    assert isinstance(await produced(door, records=damaged), Throttled)


async def test_requests_over_the_quota_are_not_begun_ahead_of_each_other(door: DataDoor) -> None:
    set_quota(door, producer_byte_rate=len(BATCH))

    within = door.produce_handler(context(12), produce_request())
    over = door.produce_handler(context(12), produce_request())

    assert isinstance(within, Begun)
    assert not isinstance(over, Begun)
    await within.response
    await over


@pytest.mark.parametrize(
    "entity", [QuotaEntity("ann"), QuotaEntity(client_id="other"), QuotaEntity("ann", "test")]
)
async def test_quotas_of_others_slow_nobody_down(door: DataDoor, entity: QuotaEntity) -> None:
    set_quota(door, entity, producer_byte_rate=1, consumer_byte_rate=1)

    assert isinstance(await produced(door), ProduceResponse)
    assert isinstance(await fetched(door), FetchResponse)
    assert isinstance(await fetched(door), FetchResponse)


async def test_quota_of_a_user_holds_for_a_client_of_any_name(door: DataDoor) -> None:
    set_quota(door, QuotaEntity("ANONYMOUS"), producer_byte_rate=1)

    assert isinstance(await produced(door), Throttled)


async def test_statement_51_reader_over_its_quota_gets_an_empty_answer_and_has_to_wait(
    door: DataDoor,
) -> None:
    for _ in range(4):
        await produced(door)
    set_quota(door, consumer_byte_rate=2 * len(BATCH))
    first = await fetched(door)
    assert isinstance(first, FetchResponse)
    assert len(first.responses[0].partitions[0].records or b"") == 2 * len(BATCH)
    second = await fetched(door, 2)
    assert isinstance(second, FetchResponse)

    throttled = await fetched(door, 4, max_wait_ms=60_000)

    assert throttled == Throttled(FetchResponse(throttle_time_ms=1_000), mute_ms=1_000)


async def test_batch_larger_than_the_quota_is_read_all_the_same(door: DataDoor) -> None:
    await produced(door)
    set_quota(door, consumer_byte_rate=10)

    response = await fetched(door)

    assert isinstance(response, FetchResponse)
    assert len(response.responses[0].partitions[0].records or b"") == len(BATCH)


async def test_throttled_reader_keeps_its_session(door: DataDoor) -> None:
    begun = await fetched(door, session_epoch=0)
    assert isinstance(begun, FetchResponse)
    await produced(door)
    set_quota(door, consumer_byte_rate=len(BATCH))
    await fetched(door)
    await fetched(door)

    session_id = begun.session_id
    throttled = await door.fetch_handler(context(12), within_session(session_id, 1))
    assert isinstance(throttled, Throttled)
    assert throttled.response.session_id == session_id

    door.world.clock.passed_ms += throttled.mute_ms
    response = await door.fetch_handler(context(12), within_session(session_id, 2))
    assert isinstance(response, FetchResponse)
    assert len(response.responses[0].partitions[0].records or b"") == len(BATCH)


async def test_throttled_reader_that_would_begin_a_session_begins_none(door: DataDoor) -> None:
    await produced(door)
    set_quota(door, consumer_byte_rate=1)
    await fetched(door)

    throttled = await fetched(door, session_epoch=0)

    assert isinstance(throttled, Throttled)
    assert (throttled.response.session_id, len(door.sessions)) == (0, 0)
