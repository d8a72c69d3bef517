"""What is produced is appended in order, acknowledged as asked, and refused with the reason."""

from __future__ import annotations

import errno

import pytest

from ottla.cluster.services import PartitionAppended, PartitionToAppend
from ottla.model.errors import (
    CorruptMessageError,
    InvalidRecordError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    InvalidTimestampError,
    InvalidTopicError,
    MessageTooLargeError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceError,
    RequestTimedOutError,
    StorageError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import TopicPartition
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX, PRODUCE_TIMEOUT_MAX_MS
from ottla.record.batch import split_batches
from ottla.record.compression import Codec
from tests.cluster.world import ME, OTHER, START_MS, World, batch, error_of, partition, until

ALL, LEADER, NONE = -1, 1, 0


def damaged(position: int) -> bytes:
    content = bytearray(batch())
    content[position] ^= 0x10
    return bytes(content)


async def test_batches_take_the_next_offsets(world: World) -> None:
    first = await world.appended(batch(b"a", b"b"))
    second = await world.appended(batch(b"c"))

    assert (first.base_offset, first.end_offset) == (0, 2)
    assert (second.base_offset, second.end_offset) == (2, 3)


async def test_requests_begun_one_after_another_are_appended_in_that_order(world: World) -> None:
    pending = [world.begin(("web", 0, batch(b"%d" % n))) for n in range(10)]

    results = [(await each.wait())[0] for each in pending]

    offsets = [result.base_offset for result in results if isinstance(result, PartitionAppended)]
    assert offsets == list(range(10))


async def test_acks_all_waits_until_the_records_are_durable(world: World) -> None:
    world.disk.hold()

    pending = world.begin(("web", 0, batch()), acks=ALL)

    assert pending.results() is None
    assert world.partition().high_watermark == 0
    world.disk.let_go()
    assert isinstance((await pending.wait())[0], PartitionAppended)
    assert world.partition().log.recovery_point == 1


async def test_sync_commits_what_was_there_when_it_began_and_nothing_later(world: World) -> None:
    world.disk.hold()
    first = world.begin(("web", 0, batch()))
    await until(lambda: world.disk.waiting)
    later = world.begin(("web", 0, batch()))

    world.disk.let_one_go()

    assert isinstance((await first.wait())[0], PartitionAppended)
    assert later.results() is None
    assert world.partition().high_watermark == 1


@pytest.mark.parametrize("acks", [NONE, LEADER])
async def test_fewer_acks_do_not_wait_for_the_disk(world: World, acks: int) -> None:
    world.disk.hold()

    results = world.begin(("web", 0, batch()), acks=acks).results()

    assert results is not None
    assert isinstance(results[0], PartitionAppended)


async def test_record_without_acks_becomes_visible_once_it_is_durable(world: World) -> None:
    world.begin(("web", 0, batch()), acks=NONE)

    await world.flushed()

    assert world.partition().high_watermark == 1


async def test_write_caching_acknowledges_before_the_disk_has_it(world: World) -> None:
    await world.create_topic("cached", write_caching="true")
    world.disk.hold()

    results = world.begin(("cached", 0, batch()), acks=ALL).results()

    assert results is not None
    assert isinstance(results[0], PartitionAppended)
    assert world.partition("cached").high_watermark == 1


async def test_write_caching_syncs_after_flush_messages(world: World) -> None:
    await world.create_topic("cached", write_caching="true", flush_messages="3")
    log = world.partition("cached").log

    await world.appended(batch(b"1", b"2"), name="cached")
    await world.flushed()
    before = log.recovery_point
    await world.appended(batch(b"3"), name="cached")
    await world.flushed()

    assert (before, log.recovery_point) == (0, 3)


async def test_write_caching_syncs_after_flush_ms(world: World) -> None:
    await world.create_topic("cached", write_caching="true", flush_ms="0")

    await world.appended(name="cached")
    await world.flushed()
    await world.flushed()

    assert world.partition("cached").log.recovery_point == 1


async def test_one_sync_covers_what_was_appended_while_the_disk_was_busy(world: World) -> None:
    world.disk.hold()
    pending = [world.begin(("web", 0, batch())) for _ in range(50)]
    world.disk.let_go()
    for each in pending:
        await each.wait()

    assert sum(world.counted.rounds) <= 3


async def test_unacknowledged_request_times_out(world: World) -> None:
    world.disk.hold()
    pending = world.begin(("web", 0, batch()), timeout_ms=100)

    world.clock.passed_ms += 100
    world.waiters.commits.expire_due()

    assert error_of((await pending.wait())[0]) is RequestTimedOutError


async def test_timed_out_request_does_not_disturb_the_next(world: World) -> None:
    world.disk.hold()
    late = world.begin(("web", 0, batch()), timeout_ms=100)
    world.clock.passed_ms += 100
    world.waiters.commits.expire_due()
    world.disk.let_go()
    await late.wait()

    assert (await world.appended()).base_offset == 1


# --- Batches that are refused -------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", InvalidRecordError),
        (b"no batch at all", CorruptMessageError),
        (batch()[:-1], CorruptMessageError),
        (batch() + b"\0", CorruptMessageError),
        (damaged(17), CorruptMessageError),
        (damaged(70), CorruptMessageError),
        (damaged(16), CorruptMessageError),
        (damaged(7), InvalidRecordError),
        (batch(bytes(1_100_000)), MessageTooLargeError),
        (batch(timestamp_ms=START_MS + 3_600_001), InvalidTimestampError),
    ],
)
async def test_bad_batch_is_refused_and_nothing_is_appended(
    world: World, sent: bytes, error: type[Exception]
) -> None:
    bad, good = await world.begin(("web", 0, sent), ("web", 1, batch())).wait()

    assert error_of(bad) is error
    assert isinstance(good, PartitionAppended)
    assert (world.log_end("web", 0), world.log_end("web", 1)) == (0, 1)


async def test_one_bad_batch_keeps_the_others_of_its_partition_out(world: World) -> None:
    result = await world.append(batch() + damaged(70))

    assert error_of(result) is CorruptMessageError
    assert world.log_end() == 0


async def test_partition_that_does_not_exist_is_unknown(world: World) -> None:
    results = await world.begin(
        ("nothing", 0, batch()), ("web", -1, batch()), ("web", 2, batch())
    ).wait()

    assert [error_of(result) for result in results] == [UnknownTopicOrPartitionError] * 3


async def test_nobody_else_writes_to_the_brokers_own_topics(world: World) -> None:
    await world.create_topic("__consumer_offsets")

    assert error_of(await world.append(name="__consumer_offsets")) is InvalidTopicError
    assert world.log_end("__consumer_offsets") == 0


async def test_partition_that_another_broker_leads_is_refused(world: World) -> None:
    await world.change_partition("web", 0, replicas=(OTHER, ME), leader=OTHER)

    assert error_of(await world.append()) is NotLeaderOrFollowerError


async def test_waiting_producer_hears_that_the_leader_has_changed(world: World) -> None:
    world.disk.hold()
    pending = world.begin(("web", 0, batch()))

    await world.change_partition("web", 0, replicas=(OTHER, ME), leader=OTHER)

    assert error_of((await pending.wait())[0]) is NotLeaderOrFollowerError


async def test_waiting_producer_hears_that_the_topic_is_deleted(world: World) -> None:
    world.disk.hold()
    pending = world.begin(("web", 0, batch()))
    deletion = world.delete_topic("web")
    world.disk.let_go()

    await deletion

    result = (await pending.wait())[0]
    assert isinstance(result, PartitionAppended | UnknownTopicOrPartitionError)


async def test_too_few_in_sync_replicas_refuse_acks_all_only(world: World) -> None:
    replicated = partition((ME, OTHER), isr=(ME,))
    await world.create_topic("two", min_insync_replicas="2")
    await world.change_partition(
        "two", 0, replicas=replicated.replicas, in_sync_replicas=replicated.in_sync_replicas
    )
    # What changed is read with the next reign.
    await world.change_partition("two", 0, leader_epoch=1)

    assert error_of(await world.append(name="two")) is NotEnoughReplicasError
    assert world.log_end("two") == 0
    assert isinstance(await world.append(name="two", acks=LEADER), PartitionAppended)


# --- Requests that are refused --------------------------------------------------------


@pytest.mark.parametrize("acks", [-2, 2, 5])
async def test_impossible_acks_are_refused(world: World, acks: int) -> None:
    with pytest.raises(InvalidRequiredAcksError):
        world.begin(("web", 0, batch()), acks=acks)

    assert world.log_end() == 0


@pytest.mark.parametrize("timeout_ms", [-1, PRODUCE_TIMEOUT_MAX_MS + 1])
async def test_impossible_time_outs_are_refused(world: World, timeout_ms: int) -> None:
    with pytest.raises(InvalidRequestError):
        world.begin(("web", 0, batch()), timeout_ms=timeout_ms)

    assert world.log_end() == 0


async def test_partition_named_twice_is_refused(world: World) -> None:
    with pytest.raises(InvalidRequestError, match="web-0 more than once"):
        world.begin(("web", 0, batch()), ("web", 1, batch()), ("web", 0, batch()))

    assert (world.log_end("web", 0), world.log_end("web", 1)) == (0, 0)


async def test_too_many_partitions_are_refused(world: World) -> None:
    with pytest.raises(InvalidRequestError, match=str(PARTITIONS_PER_REQUEST_MAX)):
        world.begin(*(("web", n, b"") for n in range(PARTITIONS_PER_REQUEST_MAX + 1)))


# --- Idempotent producers and other settings --------------------------------------------


async def test_retried_batch_gets_its_first_offset_and_is_not_appended_again(world: World) -> None:
    numbered = batch(producer_id=7, producer_epoch=0, sequence=0)
    first = await world.appended(numbered)
    await world.appended()

    again = await world.appended(numbered)

    assert again.base_offset == first.base_offset
    assert world.log_end() == 2
    assert world.counted.topics["web"].batches == 2


async def test_retry_waits_for_the_first_copy_to_be_durable(world: World) -> None:
    numbered = batch(producer_id=7, producer_epoch=0, sequence=0)
    world.disk.hold()
    world.begin(("web", 0, numbered))

    again = world.begin(("web", 0, numbered))

    assert again.results() is None
    world.disk.let_go()
    assert isinstance((await again.wait())[0], PartitionAppended)


async def test_retry_together_with_a_new_batch_waits_for_the_new_one(world: World) -> None:
    old = batch(producer_id=7, producer_epoch=0, sequence=0)
    new = batch(producer_id=7, producer_epoch=0, sequence=1)
    await world.appended(old)
    world.disk.hold()

    both = world.begin(("web", 0, old + new))

    assert both.results() is None
    world.disk.let_go()
    result = (await both.wait())[0]
    assert isinstance(result, PartitionAppended)
    assert (result.base_offset, result.end_offset) == (0, 2)


async def test_gap_in_the_sequence_is_refused(world: World) -> None:
    await world.appended(batch(producer_id=7, producer_epoch=0, sequence=0))

    result = await world.append(batch(producer_id=7, producer_epoch=0, sequence=5))

    assert error_of(result) is OutOfOrderSequenceError


async def test_log_append_time_stamps_the_batch(world: World) -> None:
    await world.create_topic("stamped", message_timestamp_type="LogAppendTime")
    world.clock.passed_ms = 5

    result = await world.appended(batch(timestamp_ms=1), name="stamped")

    assert result.log_append_time_ms == START_MS + 5


async def test_topic_that_recompresses_stores_its_own_codec(world: World) -> None:
    await world.create_topic("packed", compression_type="zstd")

    await world.appended(batch(b"a" * 1000, codec=Codec.GZIP), name="packed")

    log = world.partition("packed").log
    read = log.read(log.log_start_offset, max_bytes=10_000, end_offset=log.log_end_offset)
    assert read is not None
    assert split_batches(read.records)[0].header.codec is Codec.ZSTD


async def test_prepared_batch_is_appended_as_it_was_prepared(world: World) -> None:
    await world.create_topic("packed", compression_type="zstd")
    part = PartitionToAppend(TopicPartition("packed", 0), batch(b"a" * 1000))

    needed = world.produce.needs_preparation([part])
    (prepared,) = await world.produce.prepare([part])
    await world.appended(bytes(prepared.batches), name="packed")

    assert needed
    assert len(prepared.batches) < 200
    assert world.partition("packed").log.size_bytes == len(prepared.batches)


async def test_topics_that_store_what_they_get_need_no_preparation(world: World) -> None:
    parts = [PartitionToAppend(TopicPartition(name, 0), batch()) for name in ("web", "unknown")]

    assert not world.produce.needs_preparation(parts)


async def test_batch_for_a_compacted_topic_is_looked_at_even_if_nobody_prepared_it(
    world: World,
) -> None:
    await world.create_topic("table", cleanup_policy="compact")

    assert error_of(await world.append(batch(b"no key"), name="table")) is InvalidRecordError


async def test_compacted_topic_deletes_nothing_by_age(world: World) -> None:
    await world.create_topic("table", cleanup_policy="compact", retention_ms="1")

    assert world.partition("table").settings.log.retention_ms == -1


async def test_recompressing_does_not_hide_a_wrong_checksum(world: World) -> None:
    await world.create_topic("packed", compression_type="zstd")
    part = PartitionToAppend(TopicPartition("packed", 0), damaged(70))

    (prepared,) = await world.produce.prepare([part])

    assert error_of(await world.append(bytes(prepared.batches), name="packed")) is (
        CorruptMessageError
    )
    assert error_of(await world.append(damaged(70), name="packed")) is CorruptMessageError


async def test_batch_that_is_too_large_once_recompressed_is_refused(world: World) -> None:
    await world.create_topic("plain", compression_type="uncompressed", max_message_bytes="5000")

    result = await world.append(batch(bytes(10_000), codec=Codec.GZIP), name="plain")

    assert error_of(result) is MessageTooLargeError


async def test_refusal_of_the_door_is_the_result_of_its_partition(world: World) -> None:
    refusal = InvalidRecordError("both forms")
    parts = [
        PartitionToAppend(TopicPartition("web", 0), b"", refusal),
        PartitionToAppend(TopicPartition("web", 1), batch()),
    ]

    results = await world.produce.begin_produce(parts, acks=ALL, timeout_ms=0).wait()

    assert results[0] is refusal
    assert isinstance(results[1], PartitionAppended)


async def test_altered_limit_counts_from_the_next_batch(world: World) -> None:
    await world.alter_topic("web", max_message_bytes="100")

    assert error_of(await world.append(batch(bytes(200)))) is MessageTooLargeError


async def test_appends_are_counted_by_topic(world: World) -> None:
    await world.appended(batch(b"1", b"2") + batch(b"3"))

    counted = world.counted.topics["web"]
    assert (counted.batches, counted.records) == (2, 3)
    assert counted.appended_bytes == world.partition().log.size_bytes


# --- Failing disks --------------------------------------------------------------------


async def test_full_disk_fails_the_append_and_stops_the_directory(world: World) -> None:
    world.disk.fail("append", errno.ENOSPC, name_suffix=".log")

    full = await world.append()
    later = await world.append(number=1)

    assert (error_of(full), error_of(later)) == (StorageError, StorageError)
    assert world.directory.failure is not None
    assert (world.log_end("web", 0), world.log_end("web", 1)) == (0, 0)


async def test_failing_sync_fails_whoever_waits_for_it(world: World) -> None:
    world.disk.fail("sync", errno.EIO, name_suffix=".log")

    result = await world.append()

    assert error_of(result) is StorageError
    assert world.partition().high_watermark == 0
    assert world.directory.failure is not None


async def test_offline_partition_says_why(world: World) -> None:
    world.disk.fail("make_directory", errno.EIO)
    await world.create_topic("broken")

    result = await world.append(name="broken")

    assert error_of(result) is StorageError
    assert TopicPartition("broken", 0) in world.replicas.offline
