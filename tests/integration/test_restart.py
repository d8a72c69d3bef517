"""A broker that is started again, with the same settings or others, goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.client.admin_values import ConfigResource, ConfigResourceType, NewTopic
from ottla.client.blocking import Admin, Consumer, Producer
from ottla.model.ids import TopicPartition
from ottla.testing.broker_process import BrokerDidNotStartError, BrokerProcess, free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


def read_all(address: str, topic: str, count: int) -> list[bytes | None]:
    with Consumer(topic, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        return [consumer.getone().value for _ in range(count)]


def config_of(address: str, topic: str, key: str) -> str:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    with Admin(address) as admin:
        entries = admin.describe_configs([resource])[resource]
    return next(entry.value for entry in entries if entry.key == key)


def test_records_of_every_codec_are_there_after_stop_and_after_kill(
    broker: BrokerProcess,
) -> None:
    values = [b"%d " % number * 50 for number in range(200)]
    for codec in CODECS:
        with Producer(broker.grpc_address, compression_type=codec) as producer:
            for value in values:
                producer.send(codec, value)

    broker.kill()
    broker.start()
    assert broker.stop() == 0
    broker.start()

    for codec in CODECS:
        assert read_all(broker.grpc_address, codec, len(values)) == values


def test_other_ports_and_defaults_take_effect_and_what_a_topic_set_stays(
    broker: BrokerProcess,
) -> None:
    with Admin(broker.grpc_address) as admin:
        own = {"retention.ms": "1000000"}
        admin.create_topics([NewTopic("own", configs=own), NewTopic("default")])
    assert broker.stop() == 0
    broker.environment = {"OTTLA_LOG_RETENTION_MS": "2000000", "OTTLA_NUM_PARTITIONS": "3"}
    broker.grpc_port, broker.http_port = free_port(), free_port()

    broker.start()

    assert config_of(broker.grpc_address, "own", "retention.ms") == "1000000"
    assert config_of(broker.grpc_address, "default", "retention.ms") == "2000000"
    with Admin(broker.grpc_address) as admin:
        (created,) = admin.create_topics([NewTopic("new")])
    assert created.partitions == 3


def test_deleted_prefix_stays_deleted(broker: BrokerProcess) -> None:
    partition = TopicPartition("cut", 0)
    with Producer(broker.grpc_address) as producer:
        for _ in range(5):
            producer.send_and_wait("cut", b"x")
    with Admin(broker.grpc_address) as admin:
        admin.delete_records({partition: 3})
    broker.stop()

    broker.start()

    with Consumer(bootstrap_servers=broker.grpc_address) as consumer:
        assert consumer.beginning_offsets([partition]) == {partition: 3}
        assert consumer.end_offsets([partition]) == {partition: 5}


def test_producer_goes_on_in_order_through_stop_and_kill(broker: BrokerProcess) -> None:
    with Producer(broker.grpc_address) as producer:
        producer.send_and_wait("through", b"0")
        broker.stop()
        broker.start()
        producer.send_and_wait("through", b"1")
        broker.kill()
        broker.start()
        producer.send_and_wait("through", b"2")

    assert read_all(broker.grpc_address, "through", 3) == [b"0", b"1", b"2"]


def test_directory_of_another_node_is_refused(broker: BrokerProcess, tmp_path: Path) -> None:
    broker.stop()
    (tmp_path / "data" / "broker-0").rename(tmp_path / "data" / "broker-4")

    with pytest.raises(
        BrokerDidNotStartError, match="belongs to node 0, but this broker is node 4"
    ):
        BrokerProcess(data_directory=tmp_path / "data", arguments=["--set", "node.id=4"]).start()


def test_partitions_without_their_metadata_log_are_refused(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    with Producer(broker.grpc_address) as producer:
        producer.send_and_wait("kept", b"x")
    broker.stop()
    (tmp_path / "data" / "broker-0" / "metadata" / "journal").unlink()

    with pytest.raises(BrokerDidNotStartError, match="but its metadata log is empty"):
        broker.start()
