"""What a producer was told is in the log is there once and in order, whatever fails on the way."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator

import grpc
import pytest

from ottla.client.delivery import RecordHandle
from ottla.client.errors import AccessDeniedError, ClientClosedError, DeliveryTimeoutError
from ottla.client.partition_queue import PRODUCER_EPOCH_MAX
from ottla.client.producer import Producer
from ottla.model.errors import (
    InvalidRequestError,
    InvalidTimestampError,
    MessageTooLargeError,
    OttlaError,
    StorageError,
)
from tests.client.fake_broker import (
    AnyFault,
    FakeCluster,
    Fault,
    LateError,
    Refusal,
    StreamRefusal,
)
from tests.client.waiting import until

NOT_LEADER = Refusal(6)
NOT_ENOUGH_REPLICAS_AFTER_APPEND = LateError(20)
INVALID_TIMESTAMP = Refusal(32)


def eager(cluster: FakeCluster, **options: object) -> Producer:
    """A producer that loses no time."""
    return Producer(
        cluster.bootstrap,
        **{"retry_backoff_ms": 2, "retry_backoff_max_ms": 10, **options},  # type: ignore[arg-type]
    )


async def send_all(producer: Producer, values: list[bytes]) -> list[RecordHandle]:
    handles = [await producer.send("web", value) for value in values]
    await producer.flush()
    return handles


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def test_batch_whose_acknowledgement_was_lost_is_not_appended_again(
    cluster: FakeCluster,
) -> None:
    cluster.plan = iter([Fault.LOSE_ACK])
    async with eager(cluster) as producer:
        metadata = await producer.send_and_wait("web", b"x")

    (partition,) = cluster.topics["web"]
    assert metadata.offset == 0
    assert (partition.values(), partition.duplicates) == ([b"x"], 1)


@pytest.mark.parametrize(
    "fault", [Fault.LOSE_REQUEST, Fault.LOSE_ACK, NOT_LEADER, NOT_ENOUGH_REPLICAS_AFTER_APPEND]
)
async def test_fault_in_the_middle_of_a_pipeline_neither_loses_nor_repeats_nor_reorders(
    cluster: FakeCluster, fault: AnyFault
) -> None:
    values = numbered(400)
    cluster.plan = iter([None, None, None, fault, None, None, fault])
    async with eager(cluster, batch_size=200) as producer:
        handles = await send_all(producer, values)

    assert cluster.topics["web"][0].values() == values
    assert [handle.result().offset for handle in handles] == list(range(400))


def faults(seed: int) -> Iterator[AnyFault]:
    source = random.Random(seed)
    kinds = (Fault.LOSE_REQUEST, Fault.LOSE_ACK, NOT_LEADER, NOT_ENOUGH_REPLICAS_AFTER_APPEND)
    for _ in range(60):
        yield source.choice(kinds) if source.random() < 0.3 else None


@pytest.mark.parametrize("seed", range(8))
async def test_random_faults_neither_lose_nor_repeat_nor_reorder(
    trio: FakeCluster, seed: int
) -> None:
    trio.plan = faults(seed)
    source = random.Random(seed)
    sent: list[list[bytes]] = [[], [], []]
    async with eager(trio, batch_size=300, linger_ms=0) as producer:
        for value in numbered(600):
            partition = source.randrange(3)
            sent[partition].append(value)
            await producer.send("web", value, partition=partition)
            if source.random() < 0.05:
                trio.move_leader("web", partition, to=source.randint(1, 3))

    assert [partition.values() for partition in trio.topics["web"]] == sent


async def test_restart_of_the_broker_neither_loses_nor_repeats_nor_reorders(
    cluster: FakeCluster,
) -> None:
    values = numbered(3_000)
    async with eager(cluster, batch_size=500) as producer:
        sending = asyncio.ensure_future(send_all(producer, values))
        for size in (300, 1_200):
            await until(lambda size=size: cluster.topics["web"][0].log_end_offset > size)  # type: ignore[misc]
            await cluster.brokers[0].restart()
        handles = await sending

    assert cluster.topics["web"][0].values() == values
    assert [handle.result().offset for handle in handles] == list(range(3_000))


async def test_records_follow_a_leader_that_moves(trio: FakeCluster) -> None:
    values = numbered(300)
    async with eager(trio, batch_size=200, linger_ms=0) as producer:
        for number, value in enumerate(values):
            await producer.send("web", value, partition=0)
            if number % 50 == 49:
                trio.move_leader("web", 0, to=1 + number % 3)

    assert trio.topics["web"][0].values() == values


async def test_records_go_to_the_new_leader_when_the_old_one_dies(trio: FakeCluster) -> None:
    async with eager(trio) as producer:
        await producer.send_and_wait("web", b"x", partition=0)
        await trio.brokers[0].stop()
        trio.move_leader("web", 0, to=2)

        await producer.send_and_wait("web", b"y", partition=0)

    assert trio.topics["web"][0].values() == [b"x", b"y"]


async def test_records_wait_for_a_broker_that_is_down(cluster: FakeCluster) -> None:
    async with eager(cluster) as producer:
        await producer.send_and_wait("web", b"x")
        await cluster.brokers[0].stop()
        handle = await producer.send("web", b"y")
        await asyncio.sleep(0.03)
        assert not handle.done()

        await cluster.brokers[0].start()

        assert (await handle).offset == 1


async def test_broker_that_hangs_is_given_up_after_the_request_timeout(trio: FakeCluster) -> None:
    async with eager(trio, request_timeout_ms=200) as producer:
        await producer.send_and_wait("web", b"x", partition=0)
        trio.acks_flow.clear()
        handle = await producer.send("web", b"y", partition=0)
        await until(lambda: trio.calls["ProduceStream"] == 2)
        trio.acks_flow.set()

        assert (await handle).offset == 1
    assert trio.topics["web"][0].values() == [b"x", b"y"]


async def test_refused_batch_fails_alone_and_the_others_keep_their_order(
    cluster: FakeCluster,
) -> None:
    cluster.plan = iter([None, None, INVALID_TIMESTAMP])
    values = numbered(400)
    async with eager(cluster, batch_size=200) as producer:
        handles = await send_all(producer, values)

    failed = [
        value
        for value, handle in zip(values, handles, strict=True)
        if isinstance(handle.exception(), InvalidTimestampError)
    ]
    expected = [value for value in values if value not in failed]
    assert 0 < len(failed) < 30
    assert cluster.topics["web"][0].values() == expected


async def test_error_names_what_the_broker_said(cluster: FakeCluster) -> None:
    cluster.topics["web"][0].max_message_bytes = 100
    async with eager(cluster) as producer:
        with pytest.raises(MessageTooLargeError, match="> 100"):
            await producer.send_and_wait("web", bytes(200))


async def test_unacknowledged_records_fail_after_the_delivery_timeout(
    cluster: FakeCluster,
) -> None:
    async with eager(
        cluster, delivery_timeout_ms=300, request_timeout_ms=250, linger_ms=0
    ) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.acks_flow.clear()
        handle = await producer.send("web", b"y")

        with pytest.raises(DeliveryTimeoutError, match="may be in the log"):
            await handle
        cluster.acks_flow.set()


async def test_delivery_timeout_carries_what_the_broker_answered(cluster: FakeCluster) -> None:
    cluster.plan = itertools.repeat(Refusal(56))
    async with eager(
        cluster, delivery_timeout_ms=500, request_timeout_ms=400, linger_ms=0
    ) as producer:
        handle = await producer.send("web", b"x")
        await until(lambda: handle.done() or producer.statistics().hindrance is not None)

        with pytest.raises(
            DeliveryTimeoutError, match="KAFKA_STORAGE_ERROR: refused by the fake"
        ) as raised:
            await handle

    assert isinstance(raised.value.__cause__, StorageError)


async def test_producer_goes_on_after_a_delivery_timeout(cluster: FakeCluster) -> None:
    async with eager(
        cluster, delivery_timeout_ms=800, request_timeout_ms=700, linger_ms=0
    ) as producer:
        await producer.send_and_wait("web", b"x")
        await cluster.brokers[0].stop()
        handle = await producer.send("web", b"y")
        with pytest.raises(DeliveryTimeoutError):
            await handle
        await cluster.brokers[0].start()

        await producer.send_and_wait("web", b"z")

    assert cluster.topics["web"][0].values() == [b"x", b"z"]


async def test_memory_is_free_again_after_a_delivery_timeout(cluster: FakeCluster) -> None:
    async with eager(
        cluster, delivery_timeout_ms=300, request_timeout_ms=250, linger_ms=0, buffer_memory=70_000
    ) as producer:
        await producer.send_and_wait("web", b"x")
        await cluster.brokers[0].stop()
        handle = await producer.send("web", b"y")
        assert isinstance(await settled(handle), DeliveryTimeoutError)

        assert producer.statistics().buffer_available_bytes == 70_000
        await cluster.brokers[0].start()


async def settled(handle: RecordHandle) -> OttlaError | None:
    await until(handle.done)
    return handle.exception()


async def test_batch_because_of_which_a_whole_stream_is_refused_is_found(
    cluster: FakeCluster,
) -> None:
    refused = StreamRefusal(42)
    # The third batch is refused wherever it turns up: on the first stream in company, then alone.
    cluster.plan = iter([None, None, refused, None, refused])
    values = numbered(300)
    async with eager(cluster, batch_size=200) as producer:
        handles = await send_all(producer, values)

    failed = {
        value
        for value, handle in zip(values, handles, strict=True)
        if isinstance(handle.exception(), InvalidRequestError)
    }
    assert failed
    assert cluster.topics["web"][0].values() == [v for v in values if v not in failed]


async def test_others_are_not_drawn_into_the_refusal_of_a_stream(cluster: FakeCluster) -> None:
    cluster.create("web", 8)
    cluster.poison = b"poison"
    async with eager(cluster, linger_ms=0) as producer:
        for number in range(8):
            await producer.send_and_wait("web", b"first", partition=number)
        handles = [
            await producer.send("web", b"poison" if number == 3 else b"x", partition=number)
            for number in range(8)
        ]
        errors = [await settled(handle) for handle in handles]

    assert [type(error) for error in errors] == [
        InvalidRequestError if number == 3 else type(None) for number in range(8)
    ]
    # The one that was refused, the one on which its cause was found, and one for the rest.
    assert cluster.calls["ProduceStream"] <= 3


async def test_client_that_is_not_let_in_fails_clearly_and_for_good(cluster: FakeCluster) -> None:
    async with eager(cluster) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.closed_with = grpc.StatusCode.PERMISSION_DENIED
        await cluster.brokers[0].restart()
        handle = await producer.send("web", b"y")

        with pytest.raises(AccessDeniedError):
            await handle
        with pytest.raises(AccessDeniedError):
            await producer.send("web", b"z")
        cluster.closed_with = None


async def test_stopping_is_bounded_by_the_delivery_timeout(cluster: FakeCluster) -> None:
    producer = eager(cluster, delivery_timeout_ms=300, request_timeout_ms=250)
    await producer.start()
    await producer.send_and_wait("web", b"x")
    await cluster.brokers[0].stop()
    handle = await producer.send("web", b"y")

    async with asyncio.timeout(5):
        await producer.stop()

    assert isinstance(handle.exception(), DeliveryTimeoutError)


async def test_stopping_that_is_interrupted_still_settles_every_record(
    cluster: FakeCluster,
) -> None:
    producer = eager(cluster)
    await producer.start()
    await producer.send_and_wait("web", b"x")
    await cluster.brokers[0].stop()
    handle = await producer.send("web", b"y")
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.sleep(0.01)

    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping

    assert isinstance(handle.exception(), ClientClosedError)


async def test_crash_inside_fails_the_producer_with_its_cause(cluster: FakeCluster) -> None:
    producer = eager(cluster)
    await producer.start()
    await producer.send_and_wait("web", b"x")
    session = producer._session
    assert session is not None

    async def crash() -> None:
        raise ZeroDivisionError

    session._sender.spawn(crash(), name="a task with a bug")
    await until(lambda: session.failure is not None)

    with pytest.raises(OttlaError, match="'a task with a bug' crashed") as raised:
        await producer.send("web", b"y")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    await until(lambda: not session._sender._tasks)
    await producer.stop()


async def test_error_in_the_middle_of_sending_fails_the_producer_with_itself(
    cluster: FakeCluster,
) -> None:
    async with eager(cluster) as producer:
        await producer.send_and_wait("web", b"x")
        assert producer._session is not None
        topic = producer._session.accumulator.topic("web")
        assert topic is not None
        topic.queues[0]._producer_epoch = PRODUCER_EPOCH_MAX
        cluster.plan = iter([INVALID_TIMESTAMP])
        with pytest.raises(InvalidTimestampError):
            await producer.send_and_wait("web", b"y")

        with pytest.raises(OttlaError, match="start a new producer"):
            await producer.send_and_wait("web", b"z")


async def test_without_idempotence_order_is_kept_though_records_may_repeat(
    cluster: FakeCluster,
) -> None:
    values = numbered(300)
    cluster.plan = iter([None, Fault.LOSE_ACK, None, NOT_LEADER, Fault.LOSE_REQUEST])
    async with eager(cluster, batch_size=200, enable_idempotence=False) as producer:
        await send_all(producer, values)

    found = cluster.topics["web"][0].values()
    assert set(found) == set(values)
    first_seen = list(dict.fromkeys(found))
    assert first_seen == values


@pytest.mark.parametrize("acks", [0, 1])
async def test_lesser_acks_need_no_producer_id(cluster: FakeCluster, acks: int) -> None:
    async with eager(cluster, acks=acks) as producer:
        await producer.send_and_wait("web", b"x")

    assert cluster.producer_ids == 0
    assert cluster.acks_asked == {acks}


async def test_at_most_five_batches_of_a_partition_are_unanswered(cluster: FakeCluster) -> None:
    async with eager(cluster, batch_size=200) as producer:
        await producer.send_and_wait("web", b"x")
        cluster.acks_flow.clear()
        for value in numbered(300):
            await producer.send("web", value)
        await until(lambda: cluster.batches_seen >= 6)
        for _ in range(20):
            await asyncio.sleep(0)
        assert cluster.batches_seen == 6
        cluster.acks_flow.set()


async def test_partitions_of_one_broker_share_one_stream(cluster: FakeCluster) -> None:
    cluster.create("web", 8)
    async with eager(cluster) as producer:
        handles = [
            await producer.send("web", b"x", partition=number)
            for number in itertools.chain(range(8), range(8))
        ]
        await asyncio.gather(*(settled(handle) for handle in handles))

    assert cluster.calls["ProduceStream"] == 1
