"""Clients of Kafka reach every broker by the listener that they came through, encrypted or not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from ottla.testing.broker_process import BrokerProcess, free_port
from ottla.testing.cluster_processes import ClusterProcesses

pytestmark = [pytest.mark.integration, pytest.mark.faults]

OTTLA = (sys.executable, "-m", "ottla")


def addresses_told(bootstrap: str, **conf: str) -> set[str]:
    """Where a client is told that the brokers are."""
    client = AdminClient({"bootstrap.servers": bootstrap, **conf})
    brokers = client.list_topics(timeout=20).brokers.values()
    return {f"{broker.host}:{broker.port}" for broker in brokers}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certs") / "files"
    subprocess.run(
        [*OTTLA, "certs", "create", "--out", directory, "--brokers", "1"],
        check=True,
        capture_output=True,
    )
    return directory


def with_certificate(certificates: Path) -> Mapping[str, str]:
    return {
        "security.protocol": "ssl",
        "ssl.ca.location": str(certificates / "ca.pem"),
        "ssl.certificate.location": str(certificates / "client.pem"),
        "ssl.key.location": str(certificates / "client-key.pem"),
    }


@pytest.fixture(scope="module")
def encrypted(certificates: Path) -> Iterator[BrokerProcess]:
    arguments = ["--certs", str(certificates)]
    with BrokerProcess(kafka_name="SSL", arguments=arguments) as process:
        yield process


def test_client_with_a_certificate_writes_to_an_encrypted_listener(
    encrypted: BrokerProcess, certificates: Path
) -> None:
    bootstrap = {"bootstrap.servers": encrypted.kafka_address}
    offsets: list[int | None] = []
    producer = Producer({**bootstrap, **with_certificate(certificates)})

    producer.produce("web", bytes(500_000), on_delivery=lambda _, m: offsets.append(m.offset()))

    assert producer.flush(20) == 0
    assert offsets == [0]


@pytest.mark.parametrize("known_as", ["plain text", "nobody"])
def test_client_without_a_certificate_is_told_nothing(
    encrypted: BrokerProcess, certificates: Path, known_as: str
) -> None:
    conf: dict[str, str | int | float | bool] = {
        "bootstrap.servers": encrypted.kafka_address,
        "log_level": 0,
    }
    if known_as == "nobody":
        conf |= {"security.protocol": "ssl", "ssl.ca.location": str(certificates / "ca.pem")}

    with pytest.raises(KafkaException):
        AdminClient(conf).list_topics(timeout=1)


def test_clients_of_each_listener_are_told_the_brokers_of_that_listener() -> None:
    ports = [(free_port(), free_port()) for _ in range(3)]
    listeners = {
        number: {"listeners": f"LAN://127.0.0.1:{lan},NET://0.0.0.0:{net}"}
        for number, (lan, net) in enumerate(ports)
    }
    settings = {"listener.security.protocol.map": "LAN:PLAINTEXT,NET:PLAINTEXT"}
    with ClusterProcesses(settings=settings, settings_of=listeners) as cluster:
        assert len(cluster.running) == 3

        lan = addresses_told(f"127.0.0.1:{ports[0][0]}")
        # On every address: that by which the client came.
        net = addresses_told(f"127.0.0.2:{ports[0][1]}")

    assert lan == {f"127.0.0.1:{port}" for port, _ in ports}
    assert net == {f"127.0.0.2:{port}" for _, port in ports}


def test_client_is_told_what_is_advertised(tmp_path: Path) -> None:
    port = free_port()
    advertised = f"localhost:{port}"
    arguments = ["--set", f"advertised.listeners=PLAINTEXT://{advertised}"]
    with BrokerProcess(data_directory=tmp_path, kafka_port=port, arguments=arguments) as broker:
        assert addresses_told(broker.kafka_address) == {advertised}


def test_broker_without_a_listener_serves_all_the_same(tmp_path: Path) -> None:
    with BrokerProcess(data_directory=tmp_path, kafka_name="") as broker:
        assert broker.ready_line["kafka"] is None


def test_broker_with_waiting_clients_stops_at_once(tmp_path: Path) -> None:
    """Long polls and idle connections are ended, not waited for."""
    with BrokerProcess(data_directory=tmp_path) as broker:
        conf = {"bootstrap.servers": broker.kafka_address, "log_level": 0}
        producer = Producer(conf)
        producer.produce("web", b"x")
        assert producer.flush(20) == 0
        polling = {"group.id": "g", "fetch.wait.max.ms": 60_000, "enable.auto.commit": False}
        consumer = Consumer({**conf, **polling, "auto.offset.reset": "earliest"})
        consumer.assign([TopicPartition("web", 0, 0)])
        assert consumer.poll(20) is not None
        began = time.monotonic()

        assert broker.stop() == 0

        assert time.monotonic() - began < 4
        consumer.close()
