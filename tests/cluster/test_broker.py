"""A broker starts whole or not at all, says when it serves, and stops so that nothing is lost."""

from __future__ import annotations

import asyncio
import errno
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.error import HTTPError

import grpc
import pytest

from ottla.broker import Broker, BrokerFailedError
from ottla.config.broker_config import broker_config
from ottla.model.errors import InvalidConfigError, StorageError
from ottla.storage.claim import DirectoryInUseError, ForeignDirectoryError
from ottla.v1 import cluster_pb2, cluster_pb2_grpc, log_pb2, log_pb2_grpc
from tests.cluster.world import until
from tests.grpc.running_broker import DIRECTORY, RunningBroker, bases, batch, produce, refusal


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    running = await RunningBroker().start()
    await running.create_topic("web", partitions=2)
    yield running
    await running.end()


def another(running: RunningBroker, **settings: str) -> Broker:
    values = {
        "grpc.listen": "127.0.0.1:0",
        "http.listen": "127.0.0.1:0",
        "listeners": "PLAINTEXT://127.0.0.1:0",
        "log.dir": str(DIRECTORY),
        **{key.replace("__", "."): value for key, value in settings.items()},
    }
    return Broker(broker_config(values), file_system=running.disk)


async def get(running: RunningBroker, path: str) -> tuple[int, str]:
    assert running.broker is not None
    url = f"http://{running.broker.http_address}{path}"

    def read() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(read)


async def test_real_directory_keeps_everything_from_one_start_to_the_next(tmp_path: Path) -> None:
    values = {
        "grpc.listen": "127.0.0.1:0",
        "http.listen": "127.0.0.1:0",
        "listeners": "PLAINTEXT://127.0.0.1:0",
        "log.dir": str(tmp_path / "data"),
    }
    for round_number in range(3):
        running = RunningBroker()
        running.broker = Broker(broker_config(values))
        await running.broker.start()
        async with grpc.aio.insecure_channel(str(running.broker.grpc_address)) as channel:
            await cluster_pb2_grpc.ClusterStub(channel).GetMetadata(
                cluster_pb2.GetMetadataRequest(topics=["web"], allow_auto_creation=True)
            )
            answer = await log_pb2_grpc.LogStub(channel).Produce(produce((0, batch())))
        await running.broker.stop()

        assert answer.partitions[0].base_offset == round_number


async def test_directory_of_a_running_broker_is_refused(broker: RunningBroker) -> None:
    with pytest.raises(DirectoryInUseError):
        await another(broker).start()

    assert (await broker.append()).error.code == 0


async def test_directory_of_another_node_is_refused(broker: RunningBroker) -> None:
    await broker.stop()

    with pytest.raises(ForeignDirectoryError, match="belongs to node 0"):
        await another(broker, node__id="5").start()

    await broker.start()


async def test_taken_port_is_refused_and_leaves_the_directory_free(broker: RunningBroker) -> None:
    elsewhere = await RunningBroker().start()
    assert elsewhere.broker is not None
    taken = str(elsewhere.broker.grpc_address)
    await broker.stop()

    with pytest.raises(OSError) as refused:  # noqa: PT011 -- the number is asserted
        await another(broker, grpc__listen=taken).start()

    assert refused.value.errno == errno.EADDRINUSE
    await broker.start()
    await elsewhere.stop()


async def test_certificate_that_does_not_exist_is_refused(broker: RunningBroker) -> None:
    await broker.stop()
    files = {"ssl__certificate__location": "/none.pem", "ssl__key__location": "/none.key"}

    with pytest.raises(InvalidConfigError, match=r"none\.pem"):
        await another(broker, **files).start()

    await broker.start()


async def test_lost_metadata_log_is_no_reason_to_delete_every_partition(
    broker: RunningBroker,
) -> None:
    await broker.append()
    await broker.stop()
    broker.disk.remove(DIRECTORY / "metadata")

    with pytest.raises(StorageError, match="its metadata log is empty"):
        await another(broker).start()

    assert "web-0" in broker.disk.list(DIRECTORY)
    broker.disk.remove(DIRECTORY)
    await broker.start()


async def test_start_that_fails_half_way_writes_no_checkpoint(broker: RunningBroker) -> None:
    await broker.append()
    await broker.stop()
    checkpoint = broker.disk.read(DIRECTORY / "recovery-point-offset-checkpoint")
    broker.disk.fail("append", errno.EIO, name_suffix="journal")

    with pytest.raises(BrokerFailedError, match="writing the metadata journal"):
        await another(broker).start()

    assert broker.disk.read(DIRECTORY / "recovery-point-offset-checkpoint") == checkpoint
    await broker.start()
    assert bases(await broker.fetch()) == [0]


async def test_start_on_a_full_disk_is_refused_with_a_sentence(broker: RunningBroker) -> None:
    await broker.stop()
    broker.disk.capacity_bytes = 0

    with pytest.raises(BrokerFailedError, match="the disk is full: free some space"):
        await another(broker).start()


async def test_failing_metadata_log_fails_the_broker(broker: RunningBroker) -> None:
    assert broker.broker is not None
    broker.disk.fail("sync", errno.EIO, name_suffix="journal", times=100)

    creating = asyncio.ensure_future(broker.create_topic("another"))

    error = await asyncio.wait_for(broker.broker.wait_failed(), 10)
    assert "journal" in str(error)
    creating.cancel()
    await asyncio.wait([creating])
    status, reason = await get(broker, "/healthz")
    assert (status, "failed" in reason) == (503, True)


async def test_stop_of_a_failed_broker_does_not_count_as_clean(broker: RunningBroker) -> None:
    assert broker.broker is not None
    broker.disk.fail("sync", errno.EIO, name_suffix="journal")
    creating = asyncio.ensure_future(broker.create_topic("another"))
    await broker.broker.wait_failed()

    await broker.stop()

    assert ".kafka_cleanshutdown" not in broker.disk.list(DIRECTORY)
    await asyncio.wait([creating])  # answered, or cut off with its connection
    await broker.start()


async def test_broker_is_not_ready_before_what_it_recovered_is_durable(
    broker: RunningBroker,
) -> None:
    await broker.append()
    await broker.crash()
    broker.disk.hold()
    starting = asyncio.ensure_future(broker.start())
    await until(lambda: broker.disk.waiting)
    for _ in range(5_000):
        await asyncio.sleep(0)
    early = starting.done()

    broker.disk.let_go()
    await starting

    assert not early
    assert bases(await broker.fetch()) == [0]


# --- Ready, healthy ------------------------------------------------------------------------


async def test_probes_say_that_a_started_broker_is_ready(broker: RunningBroker) -> None:
    assert await get(broker, "/healthz") == (200, "ok\n")
    assert await get(broker, "/readyz") == (200, "ok\n")


async def test_probes_say_why_a_directory_takes_no_more_writes(broker: RunningBroker) -> None:
    broker.disk.fail("append", errno.ENOSPC, name_suffix=".log")
    await broker.append()

    status, reason = await get(broker, "/readyz")

    assert (status, "is full" in reason) == (503, True)
    assert "ottla_directory_has_failed" in (await get(broker, "/metrics"))[1]


async def test_metrics_tell_what_happened(broker: RunningBroker) -> None:
    await broker.append(batch(b"a", b"b"))
    await broker.fetch()

    _, page = await get(broker, "/metrics")

    for line in (
        'ottla_produced_records_total{topic="web"} 2.0',
        'ottla_produced_batches_total{topic="web"} 1.0',
        'ottla_partition_high_watermark{partition="0",topic="web"} 2.0',
        'ottla_requests_total{error="NONE",method="Produce"} 1.0',
        "ottla_partitions_led 2.0",
        'ottla_directory_has_failed{path="/data/broker-0"} 0.0',
    ):
        assert line in page


# --- The stop ---------------------------------------------------------------------------------


async def test_stop_answers_what_is_under_way_and_ends_the_streams(broker: RunningBroker) -> None:
    assert broker.broker is not None
    poll = asyncio.ensure_future(
        broker.log.Fetch(
            log_pb2.FetchRequest(
                partitions=[log_pb2.FetchPartition(topic="web")], max_wait_ms=60_000
            )
        )
    )
    fetching = broker.fetch_stream()
    await fetching.write(
        log_pb2.FetchStreamRequest(
            partitions=[log_pb2.FetchPartition(topic="web")], credit_bytes=1 << 20
        )
    )
    producing = broker.produce_stream()
    broker.disk.hold()
    await producing.write(produce((0, batch())))
    await broker.wait_for_log_end("web-0", 1)

    stopping = asyncio.ensure_future(broker.broker.stop())
    answered = await poll
    broker.disk.let_go()
    acknowledged = await producing.read()
    ended = [await refusal(stream.read()) for stream in (fetching, producing)]
    await stopping

    assert answered.partitions[0].error.code == 0
    assert acknowledged.partitions[0].end_offset == 1
    assert [status for status, _ in ended] == [grpc.StatusCode.UNAVAILABLE] * 2


async def test_start_that_is_given_up_leaves_the_directory_free(broker: RunningBroker) -> None:
    await broker.stop()
    starting = asyncio.ensure_future(another(broker).start())
    for _ in range(3):
        await asyncio.sleep(0)

    starting.cancel()
    await asyncio.wait([starting])

    assert starting.cancelled()
    await broker.start()


async def test_broker_may_be_stopped_twice(broker: RunningBroker) -> None:
    assert broker.broker is not None

    await broker.broker.stop()
    await broker.broker.stop()
