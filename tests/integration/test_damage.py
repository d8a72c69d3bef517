"""What a disk loses or alters is reported or repaired by the broker, never passed over.

The files are those of a broker that stopped well: three segments of two batches, one record each.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ottla.client.admin_values import NewTopic
from ottla.client.blocking import Admin, Consumer, Producer
from ottla.model.errors import OttlaError, StorageError
from ottla.testing.broker_process import BrokerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

TOPIC, OTHER = "damaged", "sound"
VALUES = [b"%d" % number * 400_000 for number in range(6)]
FIRST, SECOND, LAST = (f"{base:020d}.log" for base in (0, 2, 4))

MAGIC, BASE_OFFSET_HIGH, VALUE = 16, 3, 1_000
"""Bytes of a batch."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a broker that stopped well; to be copied, not to be changed."""
    directory = tmp_path_factory.mktemp("stopped") / "data"
    with BrokerProcess(data_directory=directory) as broker:
        address = broker.grpc_address
        with Admin(address) as admin:
            segments = {"segment.bytes": "1048576"}
            admin.create_topics([NewTopic(TOPIC, partitions=1, configs=segments), NewTopic(OTHER)])
        with Producer(address) as producer:
            for number, value in enumerate(VALUES):
                producer.send_and_wait(TOPIC, value, timestamp_ms=1_000 * number)
            producer.send_and_wait(OTHER, b"here")
        assert broker.stop() == 0
    return directory


class Damaged:
    """A copy of the data, to be damaged and then served."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "broker-0"
        self.partition = self.directory / f"{TOPIC}-0"
        self.broker = BrokerProcess(data_directory=directory)

    def flip_bit(self, name: str, *, batch: int, byte: int) -> None:
        content = bytearray((self.partition / name).read_bytes())
        position = 0
        for _ in range(batch):
            position += 12 + struct.unpack_from(">i", content, position + 8)[0]
        content[position + byte] ^= 0x40
        (self.partition / name).write_bytes(content)

    def forget_the_clean_stop(self) -> None:
        (self.directory / ".kafka_cleanshutdown").unlink()

    def read(self, topic: str, *, offset: int = 0) -> tuple[list[bytes], OttlaError | None]:
        """Read to the end; return the values, and the error that came before the end."""
        values: list[bytes] = []
        with Consumer(
            topic, bootstrap_servers=self.broker.grpc_address, request_timeout_ms=1_000
        ) as consumer:
            try:
                (partition,) = consumer.assignment()
                end = consumer.end_offsets([partition])[partition]
                consumer.seek(partition, offset)
                while consumer.position(partition) < end:
                    taken = consumer.getmany(timeout_ms=10_000)
                    assert taken, f"nothing comes after {len(values)} records, and no error"
                    values += [record.value or b"" for record in taken[partition]]
            except OttlaError as error:
                return values, error
        return values, None

    def log_dump(self) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "ottla", "log", "dump", self.partition],
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def damaged(stopped: Path, tmp_path: Path) -> Iterator[Damaged]:
    shutil.copytree(stopped, tmp_path / "data")
    data = Damaged(tmp_path / "data")
    with ExitStack() as stack:
        stack.push(data.broker)
        yield data


def test_altered_record_in_a_closed_segment_ends_reading_at_its_offset(damaged: Damaged) -> None:
    damaged.flip_bit(SECOND, batch=1, byte=VALUE)
    damaged.broker.start()

    values, error = damaged.read(TOPIC)

    assert values == VALUES[:3]
    assert f"{TOPIC}-0 at offset 3" in str(error)
    assert damaged.read(TOPIC, offset=4) == (VALUES[4:], None)
    assert damaged.read(OTHER) == ([b"here"], None)
    status, text = damaged.log_dump()
    assert status == 1
    assert SECOND in text
    assert "NOT SOUND" in text


@pytest.mark.parametrize("byte", [MAGIC, BASE_OFFSET_HIGH])
def test_altered_header_in_a_closed_segment_is_an_error_of_the_reader(
    damaged: Damaged, byte: int
) -> None:
    damaged.flip_bit(SECOND, batch=1, byte=byte)
    damaged.broker.start()

    values, error = damaged.read(TOPIC)

    assert values == VALUES[: len(values)]
    assert len(values) <= 3
    assert f"{TOPIC}-0" in str(error)
    assert damaged.read(OTHER) == ([b"here"], None)


@pytest.mark.parametrize("name", [FIRST, SECOND])
def test_missing_segment_is_an_error_and_not_a_gap(damaged: Damaged, name: str) -> None:
    (damaged.partition / name).unlink()
    damaged.broker.start()

    values, error = damaged.read(TOPIC)

    assert values == VALUES[: len(values)]
    assert isinstance(error, StorageError)
    assert f"{TOPIC}-0" in str(error)
    assert damaged.read(OTHER) == ([b"here"], None)


def test_emptied_segment_is_an_error_and_not_a_wait(damaged: Damaged) -> None:
    (damaged.partition / SECOND).write_bytes(b"")
    damaged.broker.start()

    values, error = damaged.read(TOPIC)

    assert values == VALUES[: len(values)]
    assert isinstance(error, StorageError)
    assert f"{TOPIC}-0" in str(error)


def test_missing_partition_directory_is_an_error_and_not_an_empty_partition(
    damaged: Damaged,
) -> None:
    shutil.rmtree(damaged.partition)
    damaged.broker.start()

    assert isinstance(damaged.read(TOPIC)[1], StorageError)
    assert damaged.read(OTHER) == ([b"here"], None)


def test_altered_record_that_was_synced_takes_the_partition_offline_and_no_other(
    damaged: Damaged,
) -> None:
    damaged.flip_bit(LAST, batch=1, byte=VALUE)
    damaged.forget_the_clean_stop()
    position = (damaged.partition / LAST).stat().st_size // 2
    damaged.broker.start()

    values, error = damaged.read(TOPIC)

    assert values == []
    assert f"{damaged.partition / LAST} is damaged at position {position} (offset 5)" in str(error)
    assert f"{LAST} is damaged at position {position}" in damaged.broker.stderr()
    assert damaged.read(OTHER) == ([b"here"], None)


def test_offline_partition_is_counted(damaged: Damaged) -> None:
    damaged.flip_bit(LAST, batch=1, byte=VALUE)
    damaged.forget_the_clean_stop()
    damaged.broker.start()

    with Admin(damaged.broker.grpc_address) as admin:
        assert admin.describe_cluster().offline_partitions == 1


def test_partition_whose_file_names_another_topic_is_offline_and_kept(damaged: Damaged) -> None:
    shutil.copy(
        damaged.directory / f"{OTHER}-0" / "partition.metadata",
        damaged.partition / "partition.metadata",
    )
    damaged.broker.start()

    values, error = damaged.read(TOPIC)

    assert values == []
    assert "partition.metadata names topic id" in str(error)
    assert (damaged.partition / FIRST).exists()
    assert damaged.read(OTHER) == ([b"here"], None)


def test_torn_tail_is_cut_and_everything_before_it_served(damaged: Damaged) -> None:
    damaged.forget_the_clean_stop()
    sound = (damaged.partition / LAST).read_bytes()
    (damaged.partition / LAST).write_bytes(sound + sound[:10_000])
    damaged.broker.start()

    assert damaged.read(TOPIC) == (VALUES, None)
    assert (damaged.partition / LAST).read_bytes() == sound


def removed(file: Path) -> None:
    file.unlink()


def garbled(file: Path) -> None:
    file.write_bytes(b"\x7f" * 60)


@pytest.mark.parametrize("spoil", [removed, garbled])
def test_lost_indexes_cost_nothing_but_time(
    damaged: Damaged, spoil: Callable[[Path], None]
) -> None:
    for file in damaged.partition.glob("*index"):
        spoil(file)
    damaged.broker.start()

    assert damaged.read(TOPIC, offset=3) == (VALUES[3:], None)
    with Consumer(TOPIC, bootstrap_servers=damaged.broker.grpc_address) as consumer:
        (partition,) = consumer.assignment()
        found = consumer.offsets_for_times({partition: 2_500})[partition]
    assert found is not None
    assert found.offset == 3
