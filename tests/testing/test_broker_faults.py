"""What a test does to a broker, a real client feels, and afterwards all is well again."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from confluent_kafka import KafkaError

from ottla.testing.faults import Refused
from ottla.testing.sandbox import OttlaBroker
from tests.testing.confluent import consume, produce

pytestmark = [pytest.mark.integration, pytest.mark.faults]


def test_what_is_produced_is_consumed(ottla_shared_broker: OttlaBroker, ottla_topic: str) -> None:
    values = [b"%d" % number for number in range(100)]
    assert set(produce(ottla_shared_broker.kafka, ottla_topic, *values)) == {None}

    assert consume(ottla_shared_broker.kafka, ottla_topic, 100, "readers") == values
    assert ottla_shared_broker.requests("Produce") >= 1


def test_refused_request_does_not_reach_the_broker_and_is_repeated(
    ottla_shared_broker: OttlaBroker, ottla_topic: str
) -> None:
    ottla_shared_broker.refuse("Produce", "NOT_LEADER_OR_FOLLOWER", times=2)

    assert produce(ottla_shared_broker.kafka, ottla_topic, b"once") == [None]
    assert ottla_shared_broker.refused == [Refused("Produce", "NOT_LEADER_OR_FOLLOWER")] * 2


def test_refused_for_good_the_client_gives_up(
    ottla_shared_broker: OttlaBroker, ottla_topic: str
) -> None:
    ottla_shared_broker.refuse("Produce", KafkaError.TOPIC_AUTHORIZATION_FAILED)

    failed = produce(ottla_shared_broker.kafka, ottla_topic, b"never")
    assert failed == [KafkaError.TOPIC_AUTHORIZATION_FAILED]


def test_refused_fetch_is_repeated(ottla_shared_broker: OttlaBroker, ottla_topic: str) -> None:
    produce(ottla_shared_broker.kafka, ottla_topic, b"there")
    ottla_shared_broker.refuse("Fetch", "LEADER_NOT_AVAILABLE", times=1)

    assert consume(ottla_shared_broker.kafka, ottla_topic, 1, "patient") == [b"there"]
    assert ottla_shared_broker.refused == [Refused("Fetch", "LEADER_NOT_AVAILABLE")]


@pytest.mark.parametrize(("idempotent", "copies"), [(False, 2), (True, 1)])
def test_lost_response_doubles_a_record_unless_the_producer_is_idempotent(
    ottla_shared_broker: OttlaBroker, ottla_topic: str, *, idempotent: bool, copies: int
) -> None:
    ottla_shared_broker.lose_responses("Produce")
    kafka = ottla_shared_broker.kafka
    assert produce(kafka, ottla_topic, b"order", enable_idempotence=idempotent) == [None]
    produce(kafka, ottla_topic, b"end")

    read = consume(kafka, ottla_topic, copies + 1, f"readers-{idempotent}")
    assert read == [b"order"] * copies + [b"end"]


def test_delayed_request_is_late(ottla_shared_broker: OttlaBroker, ottla_topic: str) -> None:
    ottla_shared_broker.delay(100)
    started_s = time.monotonic()
    produce(ottla_shared_broker.kafka, ottla_topic, b"late")

    assert time.monotonic() - started_s > 0.3  # versions, metadata, produce


def test_cut_is_silent_and_what_was_sent_arrives_when_it_has_healed(
    ottla_shared_broker: OttlaBroker, ottla_topic: str
) -> None:
    ottla_shared_broker.cut()
    outcomes: list[int | None] = []
    sending = threading.Thread(
        target=lambda: outcomes.extend(produce(ottla_shared_broker.kafka, ottla_topic, b"held"))
    )
    sending.start()
    sending.join(0.2)
    assert ottla_shared_broker.requests("ApiVersions") == 0
    ottla_shared_broker.heal()
    sending.join(15)

    assert outcomes == [None]


def test_with_responses_cut_the_broker_does_what_it_is_asked(
    ottla_shared_broker: OttlaBroker,
) -> None:
    ottla_shared_broker.cut(requests=False)
    with socket.create_connection(_address(ottla_shared_broker), timeout=0.2) as client:
        client.sendall(bytes.fromhex("0000000a 0012 0000 00000007 ffff"))  # ApiVersions 0
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert ottla_shared_broker.requests("ApiVersions") == 1
        ottla_shared_broker.heal()
        client.settimeout(5)

        assert client.recv(8)[4:] == (7).to_bytes(4)


def test_dropped_connection_ends_and_clients_come_again(
    ottla_shared_broker: OttlaBroker, ottla_topic: str
) -> None:
    with socket.create_connection(_address(ottla_shared_broker), timeout=5) as client:
        client.sendall(bytes.fromhex("0000000a 0012 0000 00000007 ffff"))
        client.recv(8)
        ottla_shared_broker.drop_connections()
        while client.recv(4096):
            pass

    assert produce(ottla_shared_broker.kafka, ottla_topic, b"again") == [None]


def test_killed_broker_refuses_connections_and_comes_back_with_what_it_had(
    ottla_broker: OttlaBroker,
) -> None:
    topic = ottla_broker.topic()
    produce(ottla_broker.kafka, topic, b"kept")
    ottla_broker.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(_address(ottla_broker))
    assert repr(ottla_broker).endswith("not running>")
    ottla_broker.start()

    assert consume(ottla_broker.kafka, topic, 1, "readers") == [b"kept"]


def test_paused_broker_says_nothing_and_goes_on(ottla_broker: OttlaBroker) -> None:
    ottla_broker.pause()
    with socket.create_connection(_address(ottla_broker), timeout=0.1) as client:
        client.sendall(bytes.fromhex("0000000a 0012 0000 00000007 ffff"))
        with pytest.raises(TimeoutError):
            client.recv(1)
        ottla_broker.resume()
        client.settimeout(5)
        assert client.recv(8)[4:] == (7).to_bytes(4)


def test_large_batches_pass_both_ways(ottla_shared_broker: OttlaBroker, ottla_topic: str) -> None:
    values = [bytes([number]) * 900_000 for number in range(20)]
    produce(ottla_shared_broker.kafka, ottla_topic, *values, linger_ms=50)

    assert consume(ottla_shared_broker.kafka, ottla_topic, 20, "large") == values


def _address(broker: OttlaBroker) -> tuple[str, int]:
    host, _, port = broker.kafka.rpartition(":")
    return host, int(port)
