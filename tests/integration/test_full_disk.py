"""A full disk stops the writes with an error that says so, and costs nothing acknowledged."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from ottla.client.admin_values import NewTopic
from ottla.client.blocking import Admin, Consumer, Producer
from ottla.client.errors import DeliveryTimeoutError
from ottla.record.builder import BatchBuilder
from ottla.testing.broker_process import BrokerDidNotStartError, BrokerProcess
from ottla.v1 import log_pb2, log_pb2_grpc, types_pb2
from tests.integration.small_disk import SmallDisk

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk of a chosen size"),
]

TOPIC, OTHER = "full", "other"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.unmount()


@pytest.fixture
def broker(disk: SmallDisk) -> Iterator[BrokerProcess]:
    process = BrokerProcess(data_directory=disk.directory / "data")
    with ExitStack() as stack:
        stack.push(process)
        process.start()
        with Admin(process.grpc_address) as admin:
            admin.create_topics([NewTopic(TOPIC, partitions=1), NewTopic(OTHER, partitions=1)])
        with Producer(process.grpc_address) as producer:
            producer.send_and_wait(OTHER, b"before")
        yield process


def send(address: str, topic: str, value: bytes) -> types_pb2.Error:
    """Send one record without trying again."""
    builder = BatchBuilder()
    builder.append(key=None, value=value, timestamp_ms=1_700_000_000_000)
    request = log_pb2.ProduceRequest(
        acks=-1,
        partitions=[log_pb2.PartitionRecords(topic=topic, partition=0, batches=builder.build())],
    )
    with grpc.insecure_channel(address) as channel:
        answer = log_pb2_grpc.LogStub(channel).Produce(request, timeout=20)
    error: types_pb2.Error = answer.partitions[0].error
    return error


def fill_topic(broker: BrokerProcess) -> tuple[int, types_pb2.Error]:
    """Send until it fails; return how many records were acknowledged, and why no more."""
    for count in range(100):
        error = send(broker.grpc_address, TOPIC, b"%06d" % count * 160_000)
        if error.code:
            return count, error
    raise AssertionError("a disk of 16 MiB took 96 MB")


def values_of(broker: BrokerProcess, topic: str) -> list[bytes]:
    values: list[bytes] = []
    with Consumer(topic, bootstrap_servers=broker.grpc_address) as consumer:
        (partition,) = consumer.assignment()
        consumer.seek_to_beginning()
        end = consumer.end_offsets([partition])[partition]
        while consumer.position(partition) < end:
            taken = consumer.getmany(timeout_ms=5_000)
            values += [record.value or b"" for record in taken[partition]]
    return values


def health(broker: BrokerProcess) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", broker.http_port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_full_disk_refuses_writes_serves_reads_and_says_so(broker: BrokerProcess) -> None:
    count, error = fill_topic(broker)

    assert count > 5
    assert error.code == types_pb2.Error.KAFKA_STORAGE_ERROR
    assert "is full; free some space" in error.message
    status, why = health(broker)
    assert status == 503
    assert "is full" in why
    # The directory takes no more writes, of whatever topic; what it has is there to be read.
    assert send(broker.grpc_address, OTHER, b"x").code == types_pb2.Error.KAFKA_STORAGE_ERROR
    assert values_of(broker, OTHER) == [b"before"]
    assert values_of(broker, TOPIC) == [b"%06d" % number * 160_000 for number in range(count)]


def test_acknowledged_records_are_there_when_there_is_room_again(
    broker: BrokerProcess, disk: SmallDisk
) -> None:
    count, _ = fill_topic(broker)
    assert broker.stop() == 1  # the last word is why
    disk.grow()

    broker.start()

    assert values_of(broker, TOPIC)[:count] == [
        b"%06d" % number * 160_000 for number in range(count)
    ]
    assert not send(broker.grpc_address, TOPIC, b"after").code
    assert health(broker) == (200, "ok\n")


def test_producer_that_gives_up_says_that_the_disk_is_full(broker: BrokerProcess) -> None:
    fill_topic(broker)

    with (
        Producer(
            broker.grpc_address, request_timeout_ms=1_000, delivery_timeout_ms=2_000
        ) as producer,
        pytest.raises(DeliveryTimeoutError, match="is full"),
    ):
        producer.send_and_wait(TOPIC, b"x")


def test_produce_says_what_it_waits_for_while_it_waits(broker: BrokerProcess) -> None:
    fill_topic(broker)
    command = [sys.executable, "-m", "ottla", "produce", TOPIC, "--bootstrap", broker.grpc_address]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as producing:
        assert producing.stdin is not None
        assert producing.stderr is not None
        producing.stdin.write("x\n")
        producing.stdin.close()

        first = producing.stderr.readline()
        producing.kill()

    assert first.startswith("Trying again, because of KAFKA_STORAGE_ERROR: ")
    assert "is full; free some space" in first


def test_start_on_a_full_disk_is_refused_with_a_sentence(
    broker: BrokerProcess, disk: SmallDisk
) -> None:
    fill_topic(broker)
    broker.stop()
    disk.fill()

    with pytest.raises(BrokerDidNotStartError) as refused:
        broker.start()

    last = str(refused.value).splitlines()[-1]
    assert last.startswith("ottla: ")
    assert "full" in last
    assert "Traceback" not in str(refused.value)
