"""What is appended goes to every follower at once, in order, and as far as it lets us."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace

import pytest

from ottla.model.errors import (
    FencedLeaderEpochError,
    InvalidRequestError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    StorageError,
)
from ottla.model.ids import LeaderEpoch, Offset, PartitionEpoch
from ottla.model.limits import REQUEST_BYTES_MAX
from ottla.storage.format import segment_file
from tests.cluster.following import CREDIT_BYTES, THIRD, Follower, Leading, append, turns
from tests.cluster.world import DIRECTORY, ME, OTHER, BusyReaders, batch, until

# --- What is appended ---


def first_message_of(follower: Follower, handle: int) -> int:
    """Which message was the first with records of this partition."""
    return next(
        position
        for position, message in enumerate(follower.messages)
        if any(entry.handle == handle and entry.records for entry in message.partitions)
    )


async def following(leading: Leading, *numbers: int, broker_id: int = OTHER) -> Follower:
    """A follower that has begun, and has heard of it."""
    follower = leading.follower(broker_id)
    follower.begin(*numbers)
    await follower.heard(lambda: len(follower.entries) == len(numbers))
    follower.messages.clear()
    return follower


async def test_one_record_is_one_message_without_a_pause(leading: Leading) -> None:
    followers = [await following(leading, 0, broker_id=id_) for id_ in (OTHER, THIRD)]

    append(leading, b"a")

    await turns()
    for follower in followers:
        assert [len(message.partitions) for message in follower.messages] == [1]
        assert follower.end_offset() == 1


async def test_records_are_committed_once_all_acknowledge(leading: Leading) -> None:
    followers = [await following(leading, 0, broker_id=id_) for id_ in (OTHER, THIRD)]
    produced = asyncio.create_task(leading.appended(name="orders"))
    for follower in followers:
        await follower.has(1)
    await leading.flushed()
    assert not produced.done()

    for follower in followers:
        follower.acknowledge(1)

    await produced
    await followers[0].heard(lambda: followers[0].high_watermark() == 1)


async def test_high_watermark_goes_with_the_next_records(leading: Leading) -> None:
    followers = [await following(leading, 0, broker_id=id_) for id_ in (OTHER, THIRD)]
    append(leading, b"a")
    await leading.flushed()
    for follower in followers:
        await follower.has(1)
        follower.acknowledge(1)
    await until(lambda: leading.partition("orders").high_watermark == 1)

    append(leading, b"b")

    await turns()
    assert [len(m.partitions) for m in followers[0].messages] == [1, 1]
    assert followers[0].entries[1].high_watermark == 1


async def test_high_watermarks_of_many_partitions_come_in_one_message(leading: Leading) -> None:
    followers = [await following(leading, 0, 1, 2, broker_id=id_) for id_ in (OTHER, THIRD)]
    for number in range(3):
        append(leading, number=number)
    await leading.flushed()
    for follower in followers:
        for number in range(3):
            await follower.has(1, number)
            follower.acknowledge(1, handle=number)
    follower = followers[0]

    await follower.heard(lambda: all(follower.high_watermark(n) == 1 for n in range(3)))

    assert [len(message.partitions) for message in follower.messages][-1] == 3


async def test_what_is_appended_while_a_message_is_sent_is_in_the_next_one(
    leading: Leading,
) -> None:
    follower = await following(leading, 0, 1)
    follower.reads.clear()
    append(leading)
    await turns()
    for number in (0, 1, 0, 1):
        append(leading, number=number)

    follower.reads.set()

    await follower.has(3, 0)
    await follower.has(2, 1)
    assert [len(message.partitions) for message in follower.messages] == [1, 2]


async def test_no_more_is_sent_than_the_follower_has_room_for(leading: Leading) -> None:
    follower = await following(leading, 0)
    for _ in range(40):
        leading.begin(("orders", 0, batch(bytes(100_000))), acks=1)

    def sent_bytes() -> int:
        return sum(len(entry.records) for entry in follower.entries)

    await follower.heard(lambda: sent_bytes() >= CREDIT_BYTES)
    await turns()

    assert sent_bytes() < 2 * CREDIT_BYTES + 200_000
    follower.say(credit_bytes=4 * CREDIT_BYTES)
    await follower.has(40)


async def test_messages_are_filled_with_batches_larger_than_a_turn(leading: Leading) -> None:
    await leading.put_orders(partitions=20)
    follower = await following(leading, *range(20))
    follower.say(credit_bytes=64 << 20)
    follower.reads.clear()
    append(leading)
    await turns()
    for number in range(20):
        append(leading, bytes(100_000), number=number)

    follower.reads.set()

    await follower.has(1, 19)
    assert len(follower.messages) <= 1 + 3


async def test_large_batches_of_a_follower_that_catches_up_are_not_put_off_for_ever(
    leading: Leading,
) -> None:
    append(leading, bytes(900_000))
    follower = await following(leading, 1)
    follower.reads.clear()
    follower.begin(0, catching_up=True)
    follower.say(credit_bytes=64 << 20)
    for _ in range(60):
        append(leading, bytes(100_000), number=1)
    await turns()

    follower.reads.set()

    await follower.has(60, 1)
    assert first_message_of(follower, 0) <= 2


async def test_batch_read_from_the_disk_is_no_addition_to_a_full_message(
    leading: Leading,
) -> None:
    await leading.put_orders(max_message_bytes="8000000")
    append(leading, bytes(7_700_000))
    await leading.flushed()
    leading.disk.make_cold(segment_file(DIRECTORY / "orders-0", 0, ".log"))
    busy = BusyReaders(leading.readers)
    follower = leading.follower()
    follower.begin(0, 1)
    follower.say(credit_bytes=64 << 20)
    await turns()
    follower.reads.clear()
    append(leading, bytes(900_000), number=1)
    await turns()
    append(leading, bytes(900_000), number=1)
    busy.end()
    await until(leading.readers._work_queue.empty)
    await turns()

    follower.reads.set()

    await follower.has(1, 0)
    await follower.has(2, 1)
    assert all(message.ByteSize() < REQUEST_BYTES_MAX for message in follower.messages)


async def test_batch_larger_than_a_message_is_sent_all_the_same(leading: Leading) -> None:
    await leading.put_orders(max_message_bytes="4000000")
    follower = await following(leading, 0, 1)
    append(leading, number=1)
    append(leading, bytes(3_000_000))

    await follower.has(1)


async def test_busy_partition_does_not_starve_the_others(leading: Leading) -> None:
    follower = await following(leading, 0, 1)
    follower.reads.clear()
    follower.say(credit_bytes=64 << 20)
    for _ in range(60):
        leading.begin(("orders", 0, batch(bytes(100_000))), acks=1)
    append(leading, number=1)

    follower.reads.set()

    await follower.has(60, 0)
    assert first_message_of(follower, 1) <= 1


async def test_follower_that_catches_up_does_not_hold_up_those_in_step(leading: Leading) -> None:
    for _ in range(60):
        leading.begin(("orders", 0, batch(bytes(100_000))), acks=1)
    follower = await following(leading, 1)
    follower.reads.clear()
    follower.begin(0, catching_up=True)
    follower.say(credit_bytes=64 << 20)
    await turns()
    append(leading, number=1)

    follower.reads.set()

    await follower.has(60, 0)
    assert first_message_of(follower, 1) <= 1


async def test_record_goes_before_all_that_others_have_to_catch_up_with(
    leading: Leading,
) -> None:
    await leading.put_orders(partitions=60)
    for number in range(1, 60):
        append(leading, bytes(60_000), number=number)
    follower = await following(leading, 0)
    follower.reads.clear()
    follower.begin(*range(1, 60), catching_up=True)
    follower.say(credit_bytes=64 << 20)
    await turns()
    append(leading, number=0)

    follower.reads.set()

    await follower.has(1, 59)
    assert first_message_of(follower, 0) <= 1


async def test_many_partitions_on_the_disk_are_read_a_few_at_a_time(leading: Leading) -> None:
    await leading.put_orders(partitions=6)
    for number in range(6):
        append(leading, number=number)
    await leading.flushed()
    for number in range(6):
        leading.disk.make_cold(segment_file(DIRECTORY / f"orders-{number}", 0, ".log"))
    follower = leading.follower()

    follower.begin(*range(6))

    for number in range(6):
        await follower.has(1, number)


async def test_what_waits_for_a_partition_that_was_ended_is_not_sent(leading: Leading) -> None:
    follower = await following(leading, 0, 1)
    follower.reads.clear()
    append(leading, number=1)
    await turns()
    append(leading, number=0)
    follower.say(end=[0])
    await turns()
    append(leading, number=1)

    follower.reads.set()

    await follower.has(2, 1)
    assert follower.of(0) == []


async def test_partition_on_the_disk_does_not_hold_up_those_in_memory(leading: Leading) -> None:
    append(leading)
    await leading.flushed()
    leading.disk.make_cold(segment_file(DIRECTORY / "orders-0", 0, ".log"))
    busy = BusyReaders(leading.readers)
    follower = leading.follower()
    follower.begin(0, 1)
    append(leading, number=1)

    await follower.has(1, 1)

    assert follower.end_offset(0) == 0
    busy.end()
    await follower.has(1, 0)


async def test_what_was_read_from_the_disk_for_a_copy_that_ended_is_thrown_away(
    leading: Leading,
) -> None:
    append(leading)
    await leading.flushed()
    leading.disk.make_cold(segment_file(DIRECTORY / "orders-0", 0, ".log"))
    busy = BusyReaders(leading.readers)
    follower = leading.follower()
    follower.begin(0)
    await turns()

    follower.say(end=[0])
    busy.end()
    follower.begin(1)
    append(leading, number=1)

    await follower.has(1, 1)
    assert follower.of(0) == []


async def test_partition_that_cannot_be_read_is_refused_and_others_go_on(
    leading: Leading,
) -> None:
    append(leading)
    await leading.flushed()
    path = segment_file(DIRECTORY / "orders-0", 0, ".log")
    leading.disk.make_cold(path)
    leading.disk.fail("read", errno.EIO, name_suffix=str(path))
    follower = leading.follower()
    follower.begin(0, 1)
    append(leading, number=1)

    assert isinstance(await follower.refused(0), StorageError)
    await follower.has(1, 1)


async def test_log_start_that_has_risen_is_news(leading: Leading) -> None:
    follower = await following(leading, 0)
    for _ in range(3):
        append(leading)
    await follower.has(3)

    leading.partition("orders").delete_records_before(Offset(2))

    await follower.heard(lambda: follower.entries[-1].log_start_offset == 2)


async def test_log_start_that_retention_has_raised_is_news_with_the_next_sign_of_life(
    leading: Leading,
) -> None:
    follower = await following(leading, 0)
    for _ in range(3):
        append(leading)
    await follower.has(3)
    leading.partition("orders").log.delete_records_before(Offset(2))

    follower.say(alive=True)

    await follower.heard(lambda: follower.entries[-1].log_start_offset == 2)


# --- What followers say later ---


@pytest.mark.parametrize("written", [0, 40])
async def test_acknowledgement_of_what_was_not_sent_is_refused(
    leading: Leading, written: int
) -> None:
    follower = await following(leading, 0)
    for _ in range(written):
        append(leading, bytes(100_000))
    await turns()

    follower.acknowledge(40)

    assert isinstance(await follower.refused(), OffsetOutOfRangeError)


async def test_acknowledgement_of_an_earlier_generation_is_ignored(leading: Leading) -> None:
    append(leading, b"a")
    follower = await following(leading, 0)
    follower.begin(0, generation=2)
    await follower.heard(lambda: follower.entries)

    follower.acknowledge(1, generation=1)
    follower.acknowledge(0, generation=2)
    await turns()

    assert leading.partition("orders").leader.statistics().follower_end_offsets[OTHER] == 0


async def test_acknowledgement_of_a_partition_that_was_ended_is_ignored(
    leading: Leading,
) -> None:
    follower = await following(leading, 0, 1)
    follower.say(end=[0])
    follower.acknowledge(0)
    append(leading, number=1)

    await follower.has(1, 1)

    assert follower.of(0) == []


async def test_acknowledgement_counts_that_comes_before_the_leader_knows_its_epoch(
    leading: Leading,
) -> None:
    append(leading, b"a")
    follower = leading.follower()
    follower.begin(0, leader_epoch=3, fetch_offset=1, last_fetched_epoch=0, durable_end_offset=0)
    follower.acknowledge(1)
    await turns()
    topic = leading.image.topics["orders"]
    newer = replace(
        topic.partitions[0], leader_epoch=LeaderEpoch(3), partition_epoch=PartitionEpoch(9)
    )

    await leading.put_topic(replace(topic, partitions=(newer, *topic.partitions[1:])))
    await follower.heard(lambda: follower.entries)

    # The follower says it once.
    assert leading.partition("orders").leader.statistics().follower_end_offsets[OTHER] == 1


async def test_sign_of_life_keeps_an_idle_follower_in_sync(leading: Leading) -> None:
    proposed = []
    leading.propose_isr = lambda _, effect: proposed.append(effect)
    follower = await following(leading, 0)
    leading.clock.passed_ms += 29_000
    follower.say(alive=True)
    await turns()

    leading.clock.passed_ms += 29_000
    leading.partition("orders").flushed(Offset(0))

    (proposal,) = proposed
    assert [member.broker_id for member in proposal.members] == [ME, OTHER]


async def test_stream_that_ends_leaves_to_the_leader_what_it_said(leading: Leading) -> None:
    append(leading)
    follower = await following(leading, 0)
    follower.acknowledge(1)
    await follower.leave()

    assert leading.partition("orders").leader.statistics().follower_end_offsets[OTHER] == 1
    append(leading)  # nobody is there to be told
    assert not leading.streams._watched


async def test_follower_of_a_leader_that_resigned_is_told(leading: Leading) -> None:
    follower = await following(leading, 0)

    await leading.change_partition("orders", 0, leader=OTHER)

    assert isinstance(await follower.refused(), NotLeaderOrFollowerError)


async def test_follower_of_a_topic_that_was_deleted_is_told(leading: Leading) -> None:
    follower = await following(leading, 0)

    await leading.delete_topic("orders")

    assert isinstance(await follower.refused(), NotLeaderOrFollowerError)


async def test_copy_of_an_earlier_reign_ends(leading: Leading) -> None:
    follower = await following(leading, 0)
    topic = leading.image.topics["orders"]
    newer = replace(
        topic.partitions[0], leader_epoch=LeaderEpoch(3), partition_epoch=PartitionEpoch(9)
    )

    await leading.put_topic(replace(topic, partitions=(newer, *topic.partitions[1:])))

    assert isinstance(await follower.refused(), NotLeaderOrFollowerError | FencedLeaderEpochError)


@pytest.mark.parametrize("credit", [-1, 2 << 30])
async def test_credit_that_nobody_can_mean_ends_the_call(leading: Leading, credit: int) -> None:
    follower = await following(leading, 0)

    follower.say(credit_bytes=credit)

    assert isinstance(await follower.ended(), InvalidRequestError)


async def test_follower_comes_in_sync_again(leading: Leading) -> None:
    proposed = []
    leading.propose_isr = lambda _, effect: proposed.append(effect)
    await leading.change_partition("orders", 0, in_sync_replicas=(ME, THIRD))
    append(leading, b"a")
    follower = leading.follower()
    follower.begin(0)
    await follower.has(1)

    follower.acknowledge(1)

    await until(lambda: proposed)
    assert [member.broker_id for member in proposed[0].members] == [ME, OTHER, THIRD]


async def test_many_partitions_are_begun_a_few_hundred_a_message(leading: Leading) -> None:
    await leading.put_orders(partitions=300)
    follower = leading.follower()
    follower.begin(*range(300))
    follower.say(alive=True)

    await follower.heard(lambda: len(follower.entries) >= 300)

    assert max(len(message.partitions) for message in follower.messages) <= 256
