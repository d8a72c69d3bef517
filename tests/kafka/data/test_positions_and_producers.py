"""Epochs end where their records do, prefixes are deleted, producers get ids and are described."""

from __future__ import annotations

import asyncio

import pytest

from ottla.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from ottla.wire.messages.describe_producers import (
    DescribeProducersRequest,
    PartitionResponse,
    TopicRequest,
)
from ottla.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from ottla.wire.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from tests.cluster.world import START_MS, batch
from tests.kafka.data.door import DataDoor, arrived, context, received

NONE, OUT_OF_RANGE, UNKNOWN_TOPIC, NOT_LEADER, UNSUPPORTED, INVALID_REQUEST = 0, 1, 3, 6, 35, 42
LOAD_IN_PROGRESS, POLICY_VIOLATION, FENCED_EPOCH, UNKNOWN_EPOCH = 14, 44, 74, 75
UNDEFINED = (-1, -1)


async def end_of(
    door: DataDoor, epoch: int, *, current: int = -1, name: str = "web"
) -> EpochEndOffset:
    request = OffsetForLeaderEpochRequest(
        topics=[
            OffsetForLeaderTopic(
                topic=name,
                partitions=[
                    OffsetForLeaderPartition(
                        partition=0, current_leader_epoch=current, leader_epoch=epoch
                    )
                ],
            )
        ]
    )
    response = await door.offset_for_leader_epoch(context(4), arrived(request, 4))
    return received(response, 4).topics[0].partitions[0]


async def found(door: DataDoor, epoch: int) -> tuple[int, int]:
    end = await end_of(door, epoch)
    assert end.error_code == NONE
    return end.leader_epoch, end.end_offset


async def delete(door: DataDoor, offset: int, name: str = "web") -> DeleteRecordsPartitionResult:
    request = DeleteRecordsRequest(
        topics=[
            DeleteRecordsTopic(
                name=name, partitions=[DeleteRecordsPartition(partition_index=0, offset=offset)]
            )
        ]
    )
    response = await door.delete_records(context(2), arrived(request, 2))
    return received(response, 2).topics[0].partitions[0]


async def described(door: DataDoor, name: str = "web") -> PartitionResponse:
    response = await door.describe_producers(
        context(0),
        DescribeProducersRequest(topics=[TopicRequest(name=name, partition_indexes=[0])]),
    )
    return response.topics[0].partitions[0]


async def init(door: DataDoor, **fields: object) -> InitProducerIdResponse:
    request = InitProducerIdRequest(**fields)  # type: ignore[arg-type]
    return received(await door.init_producer_id(context(5), arrived(request, 5)), 5)


@pytest.fixture
async def epochs(door: DataDoor) -> DataDoor:
    """Records 0 and 1 of epoch 0, none of epoch 2, 2 and 3 of epoch 5; led in epoch 7."""
    for epoch in (0, 2, 5, 7):
        if epoch:
            await door.lead_in_epoch(epoch)
        if epoch in (0, 5):
            await door.produced(batch(b"a", b"b"))
    return door


# --- Epochs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (-1, UNDEFINED),
        (0, (0, 2)),
        (1, (0, 2)),
        (2, (0, 2)),
        (4, (0, 2)),
        (5, (5, 4)),
        (6, (5, 4)),
        (7, (7, 4)),
        (8, UNDEFINED),
    ],
)
async def test_statement_45_an_epoch_ends_where_the_next_one_wrote(
    epochs: DataDoor, epoch: int, expected: tuple[int, int]
) -> None:
    assert await found(epochs, epoch) == expected


async def test_statement_45_no_end_is_below_what_could_be_read(epochs: DataDoor) -> None:
    """Whatever epoch a reader has been told of, its position stays where it is."""
    latest = await epochs.listed(-1)
    before = await found(epochs, latest.leader_epoch)
    await epochs.lead_in_epoch(9)

    after = await found(epochs, latest.leader_epoch)

    assert before[1] == after[1] == latest.offset == 4


@pytest.mark.parametrize(("epoch", "expected"), [(0, (0, 0)), (1, (1, 0)), (2, UNDEFINED)])
async def test_statement_45_an_empty_log_ends_at_its_end_for_all_epochs_there_were(
    door: DataDoor, epoch: int, expected: tuple[int, int]
) -> None:
    await door.lead_in_epoch(1)

    assert await found(door, epoch) == expected


async def test_statement_45_what_was_deleted_ends_where_the_log_begins(epochs: DataDoor) -> None:
    await delete(epochs, 3)

    assert await found(epochs, 0) == (0, 3)


@pytest.mark.parametrize(
    ("current", "code"), [(-1, NONE), (6, FENCED_EPOCH), (7, NONE), (8, UNKNOWN_EPOCH)]
)
async def test_a_reader_with_other_metadata_is_told_so(
    epochs: DataDoor, current: int, code: int
) -> None:
    assert (await end_of(epochs, 0, current=current)).error_code == code


async def test_epochs_are_asked_of_the_leader(epochs: DataDoor) -> None:
    await epochs.follow()

    end = await end_of(epochs, 0)

    assert (end.error_code, end.leader_epoch, end.end_offset) == (NOT_LEADER, -1, -1)
    assert (await end_of(epochs, 0, name="gone")).error_code == UNKNOWN_TOPIC


# --- Deleting ---------------------------------------------------------------------------------


async def test_statement_28_minus_one_deletes_what_is_committed(door: DataDoor) -> None:
    await door.produced(batch(b"a", b"b"))

    result = await delete(door, -1)

    assert (result.error_code, result.low_watermark) == (NONE, 2)
    assert (await door.fetched(1)).error_code == OUT_OF_RANGE


@pytest.mark.parametrize("offset", [-2, 3])
async def test_statement_28_what_is_not_committed_cannot_be_deleted(
    door: DataDoor, offset: int
) -> None:
    await door.produced(batch(b"a", b"b"))

    result = await delete(door, offset)

    assert (result.error_code, result.low_watermark) == (OUT_OF_RANGE, -1)


async def test_statement_28_deleting_less_than_before_changes_nothing(door: DataDoor) -> None:
    await door.produced(batch(b"a", b"b"))
    await delete(door, 2)

    assert (await delete(door, 1)).low_watermark == 2


async def test_statement_28_what_the_broker_keeps_for_itself_stays(door: DataDoor) -> None:
    await door.world.create_topic("__consumer_offsets")

    assert (await delete(door, -1, "__consumer_offsets")).error_code == POLICY_VIOLATION


@pytest.mark.parametrize(
    ("policy", "code"), [("compact", POLICY_VIOLATION), ("compact,delete", NONE)]
)
async def test_statement_28_what_is_only_compacted_stays(
    door: DataDoor, policy: str, code: int
) -> None:
    await door.world.create_topic("table", cleanup_policy=policy)

    assert (await delete(door, -1, "table")).error_code == code


async def test_partitions_that_are_not_here_fail_by_themselves(door: DataDoor) -> None:
    assert (await delete(door, -1, "gone")).error_code == UNKNOWN_TOPIC


# --- Producers --------------------------------------------------------------------------------


async def test_statement_17_a_producer_goes_on_after_its_records_were_deleted(
    door: DataDoor,
) -> None:
    await door.produced(batch(b"a", producer_id=7, producer_epoch=0, sequence=0))
    await delete(door, -1)

    again = await door.produced(batch(b"b", producer_id=7, producer_epoch=0, sequence=1))

    assert (again.error_code, again.base_offset) == (NONE, 1)


async def test_statement_17_a_forgotten_producer_goes_on_where_it_is(door: DataDoor) -> None:
    await door.produced(batch(b"a", producer_id=7, producer_epoch=0, sequence=0))
    states = door.world.partition().log.producer_states
    assert states.expire(START_MS + 2 * 86_400_000) == 1

    assert (
        await door.produced(batch(b"b", producer_id=7, producer_epoch=0, sequence=5))
    ).error_code == NONE


async def test_producers_are_described_with_their_last_batch(door: DataDoor) -> None:
    await door.produced(batch(b"a", b"b", producer_id=7, producer_epoch=3, sequence=10))

    (producer,) = (await described(door)).active_producers

    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (7, 3, 11)
    assert (producer.last_timestamp, producer.current_txn_start_offset) == (START_MS, -1)


async def test_a_partition_without_idempotent_producers_has_none_to_describe(
    door: DataDoor,
) -> None:
    await door.produced()

    assert (await described(door)).active_producers == []


async def test_producers_of_a_partition_that_is_not_here_are_an_error(door: DataDoor) -> None:
    answer = await described(door, "gone")

    assert answer.error_code == UNKNOWN_TOPIC
    assert answer.error_message


async def test_every_producer_gets_an_id_of_its_own(door: DataDoor) -> None:
    first, second = await asyncio.gather(init(door), init(door))

    assert (first.error_code, second.error_code) == (NONE, NONE)
    assert first.producer_id != second.producer_id
    assert (first.producer_epoch, second.producer_epoch) == (0, 0)


async def test_statement_17_a_producer_that_has_an_id_gets_its_next_epoch(door: DataDoor) -> None:
    fresh = await init(door)

    raised = await init(door, producer_id=fresh.producer_id, producer_epoch=fresh.producer_epoch)

    assert (raised.producer_id, raised.producer_epoch) == (fresh.producer_id, 1)


async def test_without_a_controller_producers_are_told_to_try_again(door: DataDoor) -> None:
    door.controller.is_there = False

    assert (await init(door)).error_code == LOAD_IN_PROGRESS


@pytest.mark.parametrize("half", [{"producer_id": 5}, {"producer_epoch": 0}])
async def test_half_an_identity_is_refused(door: DataDoor, half: dict[str, int]) -> None:
    answer = await init(door, **half)

    assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (
        INVALID_REQUEST, -1, -1,
    )  # fmt: skip


@pytest.mark.parametrize(("transactional_id", "code"), [("", INVALID_REQUEST), ("t", UNSUPPORTED)])
async def test_transactional_ids_are_refused(
    door: DataDoor, transactional_id: str, code: int
) -> None:
    answer = await init(door, transactional_id=transactional_id, transaction_timeout_ms=60_000)

    assert answer.error_code == code
