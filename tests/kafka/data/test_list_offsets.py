"""Kafka's ListOffsets finds positions by name and by time, each from the version that has it."""

from __future__ import annotations

import pytest

from ottla.model.ids import Offset, TopicPartition
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from tests.cluster.world import ME, OTHER, START_MS, batch
from tests.kafka.data.door import DataDoor, context

NONE, UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE, NOT_LEADER = 0, 3, 5, 6
UNSUPPORTED, INVALID_REQUEST, FENCED_EPOCH, UNKNOWN_EPOCH, NOT_AVAILABLE = 35, 42, 74, 75, 78
LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED, PENDING_UPLOAD = range(-1, -7, -1)
VERSIONS = range(1, 12)


@pytest.fixture
async def filled(door: DataDoor) -> DataDoor:
    """Records 0 to 4 in one batch each, the third the latest; the log begins at 1."""
    for after_ms in (0, 10, 40, 20, 30):
        await door.produced(batch(timestamp_ms=START_MS + after_ms))
    await door.world.offsets.delete_records([(TopicPartition("web", 0), Offset(1))])
    return door


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_finds_both_ends(filled: DataDoor, version: int) -> None:
    earliest = await filled.listed(EARLIEST, version=version)
    latest = await filled.listed(LATEST, version=version)

    assert (earliest.error_code, earliest.offset, earliest.timestamp) == (NONE, 1, -1)
    assert (latest.error_code, latest.offset, latest.timestamp) == (NONE, 5, -1)
    assert latest.leader_epoch == (0 if version >= 4 else -1)


async def test_statement_29_a_time_gives_the_first_record_that_is_not_before_it(
    filled: DataDoor,
) -> None:
    found = await filled.listed(START_MS + 11)

    assert (found.offset, found.timestamp, found.leader_epoch) == (2, START_MS + 40, 0)


async def test_statement_29_times_out_of_order_within_a_batch_are_looked_at_one_by_one(
    door: DataDoor,
) -> None:
    builder_order = [START_MS + 30, START_MS + 10, START_MS + 20]
    await door.produced(timed(*builder_order))

    found = await door.listed(START_MS + 15)

    assert (found.offset, found.timestamp) == (0, START_MS + 30)


async def test_statement_29_nothing_late_enough_is_no_error(filled: DataDoor) -> None:
    found = await filled.listed(START_MS + 1_000)

    assert (found.error_code, found.offset, found.timestamp, found.leader_epoch) == (
        NONE, -1, -1, -1,
    )  # fmt: skip


@pytest.mark.parametrize("isolation_level", [0, 1])
async def test_statement_29_what_is_not_committed_is_not_found(
    door: DataDoor, isolation_level: int
) -> None:
    await door.produced()
    door.world.disk.hold()
    door.world.begin(("web", 0, batch(timestamp_ms=START_MS + 100)), acks=1)

    found = await door.listed(START_MS + 50, isolation_level=isolation_level)
    latest = await door.listed(LATEST, isolation_level=isolation_level)

    assert (found.offset, latest.offset) == (-1, 1)


@pytest.mark.parametrize(
    ("timestamp", "since", "offset"),
    [
        (MAX_TIMESTAMP, 7, 2),
        (EARLIEST_LOCAL, 8, 1),
        (LATEST_TIERED, 9, -1),
        (PENDING_UPLOAD, 11, -1),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
async def test_statement_30_special_positions_are_there_from_their_versions_on(
    filled: DataDoor, timestamp: int, since: int, offset: int, version: int
) -> None:
    found = await filled.listed(timestamp, version=version)

    expected = (NONE, offset) if version >= since else (UNSUPPORTED, -1)
    assert (found.error_code, found.offset) == expected


async def test_statement_30_the_record_with_the_largest_timestamp_comes_with_it(
    filled: DataDoor,
) -> None:
    assert (await filled.listed(MAX_TIMESTAMP)).timestamp == START_MS + 40


async def test_other_negative_timestamps_are_unsupported(filled: DataDoor) -> None:
    assert (await filled.listed(-7)).error_code == UNSUPPORTED


@pytest.mark.parametrize("timestamp", [LATEST, MAX_TIMESTAMP, LATEST_TIERED, PENDING_UPLOAD])
async def test_partitions_that_are_not_here_fail_by_themselves(
    filled: DataDoor, timestamp: int
) -> None:
    await filled.lose_leadership(index=1)

    assert (await filled.listed(timestamp, name="gone")).error_code == UNKNOWN_TOPIC
    assert (await filled.listed(timestamp, index=1)).error_code == NOT_LEADER


@pytest.mark.parametrize(
    ("epoch", "code"), [(-1, NONE), (2, FENCED_EPOCH), (3, NONE), (4, UNKNOWN_EPOCH)]
)
async def test_a_leader_epoch_that_is_not_ours_is_an_error(
    filled: DataDoor, epoch: int, code: int
) -> None:
    await filled.lead_in_epoch(3)

    assert (await filled.listed(LATEST, epoch=epoch)).error_code == code


@pytest.mark.parametrize(("version", "code"), [(4, LEADER_NOT_AVAILABLE), (5, NOT_AVAILABLE)])
async def test_a_new_leader_that_does_not_know_what_is_committed_asks_for_patience(
    door: DataDoor, version: int, code: int
) -> None:
    await door.world.change_partition("web", 0, replicas=(ME, OTHER), in_sync_replicas=(ME, OTHER))
    door.world.disk.hold()
    door.world.begin(("web", 0, batch()), acks=1)
    await door.lead_in_epoch(1)

    assert (await door.listed(LATEST, version=version)).error_code == code


async def test_a_partition_named_twice_is_refused_and_others_are_answered(
    filled: DataDoor,
) -> None:
    response = await filled.list_offsets_handler(
        context(11),
        ListOffsetsRequest(
            topics=[
                ListOffsetsTopic(
                    name="web",
                    partitions=[
                        ListOffsetsPartition(partition_index=index, timestamp=LATEST)
                        for index in (0, 1, 0)
                    ],
                )
            ]
        ),
    )

    answers = response.topics[0].partitions
    assert [(answer.partition_index, answer.error_code) for answer in answers] == [
        (0, INVALID_REQUEST), (1, NONE), (0, INVALID_REQUEST),
    ]  # fmt: skip


def timed(*timestamps_ms: int) -> bytes:
    """A batch of records with these timestamps, in this order."""
    builder = BatchBuilder(Codec.NONE)
    for timestamp_ms in timestamps_ms:
        builder.append(key=None, value=b"v", timestamp_ms=timestamp_ms)
    return builder.build()
