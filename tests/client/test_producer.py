"""A producer delivers what it is given: once, in order, where it belongs, within its memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ottla.client.delivery import RecordHandle, RecordMetadata
from ottla.client.errors import (
    BufferFullError,
    ClientClosedError,
    NoBrokersAvailableError,
    TopicNotLoadedError,
)
from ottla.client.partitioners import partition_for_key
from ottla.client.producer import Producer
from ottla.model.errors import (
    InvalidTopicError,
    MessageTooLargeError,
    UnknownTopicOrPartitionError,
)
from tests.client.fake_broker import FakeCluster
from tests.client.waiting import until


async def test_sent_record_is_in_the_log_where_its_metadata_says(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_and_wait("web", b"first")
        metadata = await producer.send_and_wait("web", b"second", key=b"k", timestamp_ms=17)

    (partition,) = cluster.topics["web"]
    assert metadata == RecordMetadata("web", 0, 1, 17)
    assert partition.records()[1][:4] == (1, 17, b"k", b"second")


async def test_headers_travel_with_the_record(cluster: FakeCluster) -> None:
    headers = [("trace", b"1"), ("trace", None), ("ü", b"")]
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_and_wait("web", b"x", headers=headers)

    (record,) = cluster.topics["web"][0].records()
    assert list(record.headers) == headers


async def test_records_of_one_partition_are_in_the_order_of_sending(cluster: FakeCluster) -> None:
    values = [b"%d" % number for number in range(5_000)]
    async with Producer(cluster.bootstrap, batch_size=2_000) as producer:
        for value in values:
            await producer.send("web", value)

    assert cluster.topics["web"][0].values() == values


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_records_arrive_whatever_compresses_them(
    cluster: FakeCluster, codec: str | None
) -> None:
    values = [b"all work and no play %d" % number for number in range(300)]
    async with Producer(cluster.bootstrap, compression_type=codec) as producer:
        for value in values:
            await producer.send("web", value)

    assert cluster.topics["web"][0].values() == values


async def test_key_goes_to_the_partition_of_every_other_client(trio: FakeCluster) -> None:
    async with Producer(trio.bootstrap) as producer:
        for number in range(50):
            key = b"key-%d" % number
            metadata = await producer.send_and_wait("web", b"x", key=key)
            assert metadata.partition == partition_for_key(key, 3)


async def test_records_reach_every_leader(trio: FakeCluster) -> None:
    async with Producer(trio.bootstrap) as producer:
        for number in range(3):
            await producer.send("web", b"x", partition=number)

    assert [len(partition.values()) for partition in trio.topics["web"]] == [1, 1, 1]


async def test_serializers_make_bytes_of_keys_and_values_and_leave_null_alone(
    cluster: FakeCluster,
) -> None:
    async with Producer(
        cluster.bootstrap, key_serializer=str.encode, value_serializer=lambda it: b"<%d>" % it
    ) as producer:
        await producer.send_and_wait("web", 5, key="k")
        producer.send_nowait("web", 6)
        producer.send_nowait("web", None, key="gone")

    records = cluster.topics["web"][0].records()
    assert [(r.key, r.value) for r in records] == [(b"k", b"<5>"), (None, b"<6>"), (b"gone", None)]


async def test_text_is_refused_without_a_serializer(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(TypeError, match="value_serializer"):
            await producer.send("web", "text")


@pytest.mark.parametrize(
    "headers", ["text", 5, [("name", "text")], [(b"name", b"x")], [("name", 5)]]
)
async def test_headers_that_are_not_names_with_bytes_are_refused_at_once(
    cluster: FakeCluster, headers: Any
) -> None:
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(TypeError, match="header"):
            await producer.send("web", b"x", headers=headers)
        await producer.send_and_wait("web", b"y")


async def test_headers_may_be_a_mapping(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_and_wait("web", b"x", headers={"a": b"1", "b": None})  # type: ignore[arg-type]

    assert cluster.topics["web"][0].records()[0].headers == (("a", b"1"), ("b", None))


@pytest.mark.parametrize("timestamp_ms", [1.5, "5", True])
async def test_timestamp_that_is_no_integer_is_refused_at_once(
    cluster: FakeCluster, timestamp_ms: Any
) -> None:
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(TypeError, match="timestamp_ms"):
            await producer.send("web", b"x", timestamp_ms=timestamp_ms)


async def test_handle_does_not_keep_the_record_in_memory(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        handle = await producer.send("web", bytes(10_000))
        await handle

    assert (handle.batch.payload, handle.batch.builder) == (None, None)


async def test_buffer_that_changes_after_sending_does_not_change_the_record(
    cluster: FakeCluster,
) -> None:
    value = bytearray(b"before")
    async with Producer(cluster.bootstrap) as producer:
        await producer.send("web", value)
        value[:] = b"after!"

    assert cluster.topics["web"][0].values() == [b"before"]


async def test_flush_waits_for_everything_sent_before(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, linger_ms=60_000) as producer:
        handles = [await producer.send("web", b"%d" % number) for number in range(500)]

        await producer.flush()

        assert all(handle.done() for handle in handles)


async def test_flush_waits_while_acknowledgements_are_held_back(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        await producer.send("web", b"x")
        cluster.acks_flow.clear()
        await producer.send("web", b"y")
        flushing = asyncio.ensure_future(producer.flush())
        await until(lambda: cluster.topics["web"][0].log_end_offset == 2)
        assert not flushing.done()

        cluster.acks_flow.set()

        await flushing


async def test_flush_does_not_wait_for_what_is_sent_later(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, linger_ms=60_000) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.acks_flow.clear()
        before = await producer.send("web", b"before")
        flushing = asyncio.ensure_future(producer.flush())
        await until(lambda: cluster.topics["web"][0].log_end_offset == 2)
        after = await producer.send("web", b"after")
        cluster.acks_flow.set()

        await flushing

        assert (before.done(), after.done()) == (True, False)


async def test_stopping_sends_what_is_buffered(cluster: FakeCluster) -> None:
    producer = Producer(cluster.bootstrap, linger_ms=60_000)
    await producer.start()
    handle = await producer.send("web", b"x")

    await producer.stop()

    assert handle.result().offset == 0


async def test_record_lingers_no_longer_than_told(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, linger_ms=1) as producer:
        handle = await producer.send("web", b"x")

        assert (await handle).offset == 0


async def test_send_and_wait_does_not_linger(cluster: FakeCluster) -> None:
    async with Producer(
        cluster.bootstrap, linger_ms=60_000, delivery_timeout_ms=120_000
    ) as producer:
        async with asyncio.timeout(5):
            await producer.send_and_wait("web", b"x")


async def test_what_tasks_send_and_wait_for_together_travels_together(
    cluster: FakeCluster,
) -> None:
    async with Producer(cluster.bootstrap, linger_ms=60_000) as producer:
        await producer.send_and_wait("web", b"first")
        await asyncio.gather(*(producer.send_and_wait("web", b"x") for _ in range(200)))

    assert cluster.batches_seen <= 3


async def test_send_waits_for_memory_and_goes_on_when_there_is_some(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, batch_size=1_000, buffer_memory=5_000) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.acks_flow.clear()
        sending = asyncio.ensure_future(send_many(producer, 200))
        await until(lambda: producer.statistics().buffer_available_bytes < 1_000)
        await until(lambda: cluster.topics["web"][0].log_end_offset > 30)
        assert not sending.done()
        assert cluster.topics["web"][0].log_end_offset <= 1 + 5_000 // 100

        cluster.acks_flow.set()

        await sending
    assert len(cluster.topics["web"][0].values()) == 201


async def send_many(producer: Producer, count: int) -> None:
    for _ in range(count):
        await producer.send("web", bytes(100))


async def test_tasks_that_wait_for_memory_all_get_some(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, batch_size=1_000, buffer_memory=3_000) as producer:
        await asyncio.gather(*(send_many(producer, 40) for _ in range(20)))

    assert len(cluster.topics["web"][0].values()) == 800


async def test_task_that_gives_up_waiting_for_memory_leaves_it_to_the_next(
    cluster: FakeCluster,
) -> None:
    async with Producer(cluster.bootstrap, batch_size=1_000, buffer_memory=1_000) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.acks_flow.clear()
        first = asyncio.ensure_future(send_many(producer, 12))
        await until(lambda: producer.statistics().buffer_available_bytes == 0)
        waiting = [asyncio.ensure_future(send_many(producer, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()

        cluster.acks_flow.set()

        await first
        await waiting[2]


async def test_space_meant_for_a_task_that_gives_up_goes_to_the_next(
    cluster: FakeCluster,
) -> None:
    async with Producer(cluster.bootstrap, batch_size=1_000, buffer_memory=1_000) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.acks_flow.clear()
        handle = await producer.send("web", bytes(900))
        waiting = [asyncio.ensure_future(producer.wait_for_space()) for _ in range(2)]
        await until(lambda: cluster.topics["web"][0].log_end_offset == 2)
        # In the very round in which the first is woken, and nothing else will free memory later.
        handle.add_done_callback(lambda _: waiting[0].cancel())

        cluster.acks_flow.set()

        async with asyncio.timeout(5):
            await waiting[1]
        assert waiting[0].cancelled()


async def test_waiting_for_space_lets_the_loop_run_even_if_there_is_plenty(
    cluster: FakeCluster,
) -> None:
    async with Producer(cluster.bootstrap, linger_ms=0) as producer:
        await producer.partitions_for("web")
        handle = producer.send_nowait("web", b"x")
        for _ in range(100_000):
            await producer.wait_for_space()
            if handle.done():
                break

        assert handle.done()


async def test_send_gives_up_when_memory_stays_full(cluster: FakeCluster) -> None:
    async with Producer(
        cluster.bootstrap, batch_size=1_000, buffer_memory=1_000, max_block_ms=30
    ) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.acks_flow.clear()
        with pytest.raises(BufferFullError, match="max_block_ms"):
            await send_many(producer, 100)
        cluster.acks_flow.set()


async def test_send_nowait_refuses_when_memory_is_full(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, batch_size=1_000, buffer_memory=2_000) as producer:
        await producer.partitions_for("web")
        with pytest.raises(BufferFullError):
            any(producer.send_nowait("web", bytes(100)) is None for _ in range(100))
        assert producer.statistics().buffer_available_bytes == 0

        await producer.wait_for_space()
        producer.send_nowait("web", b"more")

    assert cluster.topics["web"][0].values()[-1] == b"more"


async def test_send_nowait_needs_a_topic_that_is_known(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(TopicNotLoadedError, match="partitions_for"):
            producer.send_nowait("web", b"x")


async def test_record_that_is_too_large_is_refused_at_once(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(MessageTooLargeError):
            await producer.send("web", bytes(2 << 20))


async def test_partitions_are_told(trio: FakeCluster) -> None:
    async with Producer(trio.bootstrap) as producer:
        assert await producer.partitions_for("web") == {0, 1, 2}


async def test_topic_that_does_not_exist_is_an_error(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, max_block_ms=30) as producer:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send("nowhere", b"x")


async def test_topic_is_created_where_brokers_do_that() -> None:
    cluster = FakeCluster(auto_create=True)
    await cluster.start()
    async with Producer(cluster.bootstrap) as producer:
        assert (await producer.send_and_wait("new", b"x")).offset == 0
    await cluster.stop()


async def test_name_that_no_topic_can_have_is_refused_without_asking(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(InvalidTopicError):
            await producer.send("no/topic", b"x")

    assert cluster.calls["GetMetadata"] == 0


async def test_new_partitions_are_noticed(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, metadata_max_age_ms=20) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.create("web", 2)
        await until(lambda: cluster.calls["GetMetadata"] >= 3)

        assert (await producer.send_and_wait("web", b"y", partition=1)).partition == 1


async def test_callback_is_called_with_the_handle_once_the_record_is_settled(
    cluster: FakeCluster,
) -> None:
    called: list[RecordHandle] = []
    async with Producer(cluster.bootstrap) as producer:
        handle = await producer.send("web", b"x")
        handle.add_done_callback(called.append)
        assert called == []
        await handle
        handle.add_done_callback(called.append)

        await until(lambda: len(called) == 2)

    assert called == [handle, handle]


async def test_callback_that_fails_disturbs_nothing(cluster: FakeCluster) -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with Producer(cluster.bootstrap) as producer:
        handle = await producer.send("web", b"x")
        handle.add_done_callback(lambda _: 1 / 0)
        await handle
        await producer.send_and_wait("web", b"y")

    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]


async def test_task_that_stops_waiting_does_not_take_the_record_back(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.acks_flow.clear()
        handle = await producer.send("web", b"y")
        waiting = [asyncio.ensure_future(producer_result(handle)) for _ in range(2)]
        await until(lambda: cluster.topics["web"][0].log_end_offset == 2)
        waiting[0].cancel()
        cluster.acks_flow.set()

        assert (await waiting[1]).offset == 1


async def producer_result(handle: RecordHandle) -> RecordMetadata:
    return await handle


async def test_result_of_a_record_on_its_way_is_not_there_yet(cluster: FakeCluster) -> None:
    async with Producer(cluster.bootstrap, linger_ms=60_000) as producer:
        handle = await producer.send("web", b"x")
        with pytest.raises(asyncio.InvalidStateError):
            handle.result()
        with pytest.raises(asyncio.InvalidStateError):
            handle.exception()


async def test_producer_is_used_between_start_and_stop_only(cluster: FakeCluster) -> None:
    producer = Producer(cluster.bootstrap)
    with pytest.raises(ClientClosedError, match="start"):
        await producer.send("web", b"x")
    await producer.start()
    await producer.stop()
    await producer.stop()
    with pytest.raises(ClientClosedError, match="stopped"):
        producer.send_nowait("web", b"x")


async def test_missing_broker_is_named_with_what_to_check() -> None:
    producer = Producer("127.0.0.1:1", connect_timeout_ms=50, retry_backoff_ms=10)

    with pytest.raises(NoBrokersAvailableError, match=r"127\.0\.0\.1:1 .*bootstrap_servers"):
        await producer.start()


async def test_broker_that_comes_up_late_is_found() -> None:
    cluster = FakeCluster()
    cluster.create("web")
    await cluster.start()
    await cluster.stop()
    producer = Producer(cluster.bootstrap, retry_backoff_ms=10)
    starting = asyncio.ensure_future(producer.start())
    await asyncio.sleep(0.02)

    await cluster.start()

    await starting
    await producer.send_and_wait("web", b"x")
    await producer.stop()
    await cluster.stop()


async def test_one_bootstrap_server_that_answers_is_enough(cluster: FakeCluster) -> None:
    async with Producer(f"127.0.0.1:1,{cluster.bootstrap}") as producer:
        await producer.send_and_wait("web", b"x")


async def test_broker_stamps_records_of_topics_with_log_append_time(cluster: FakeCluster) -> None:
    cluster.log_append_time_ms = 99
    async with Producer(cluster.bootstrap) as producer:
        metadata = await producer.send_and_wait("web", b"x", timestamp_ms=17)

    assert metadata.timestamp_ms == 99
