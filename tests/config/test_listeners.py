"""Listeners of Kafka's protocol are read as Kafka writes them, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.config.addresses import Address
from ottla.config.broker_config import BadConfigurationError, BrokerConfig, broker_config
from ottla.config.listeners import KafkaListener
from ottla.config.settings import SETTINGS
from ottla.config.sources import load_broker_config

TLS = {"ssl.certificate.location": "/c.pem", "ssl.key.location": "/k.pem"}


def configured(values: dict[str, str]) -> BrokerConfig:
    return broker_config(values, default_log_dir=Path("/data"))


def problem(values: dict[str, str]) -> str:
    with pytest.raises(BadConfigurationError) as refused:
        configured(values)
    (only,) = refused.value.problems
    return only


def test_nothing_set_is_one_listener_on_loopback() -> None:
    (listener,) = configured({}).listeners.kafka

    assert listener == KafkaListener(
        name="PLAINTEXT", listen=Address("127.0.0.1", 9092), security_protocol="PLAINTEXT"
    )


def test_a_certificate_makes_it_an_encrypted_one() -> None:
    (listener,) = configured(TLS).listeners.kafka

    assert str(listener) == "SSL://127.0.0.1:9092"
    assert listener.is_encrypted


def test_a_listener_that_is_set_stays_what_it_is_beside_a_certificate() -> None:
    (listener,) = configured({**TLS, "listeners": "PLAINTEXT://127.0.0.1:9092"}).listeners.kafka

    assert not listener.is_encrypted


def test_empty_is_no_listener() -> None:
    assert configured({"listeners": ""}).listeners.kafka == ()


def test_several_listeners_have_their_own_addresses_and_protocols() -> None:
    config = configured(
        {
            **TLS,
            "listeners": "lan://:9092, NET://[::1]:9093",
            "advertised.listeners": "NET://broker.example:19093",
            "listener.security.protocol.map": "LAN:PLAINTEXT,NET:SSL",
        }
    )

    lan, net = config.listeners.kafka
    assert (lan.name, lan.listen, lan.advertised) == ("LAN", Address("0.0.0.0", 9092), None)
    assert (net.listen, net.advertised) == (Address("::1", 9093), Address("broker.example", 19093))
    assert (lan.is_encrypted, net.is_encrypted) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:9092",
        "PLAINTEXT://127.0.0.1",
        "PLAINTEXT://127.0.0.1:x",
        "PLAINTEXT://a:1,PLAINTEXT://b:2",
        "://a:1",
        ",".join(f"L{number}://a:{number}" for number in range(17)),
    ],
)
def test_what_is_no_listener_is_refused(text: str) -> None:
    assert "it takes NAME://HOST:PORT" in problem({"listeners": text})


@pytest.mark.parametrize("text", ["LAN", "LAN:SASL_SSL", "LAN:SSL,LAN:SSL"])
def test_what_is_no_protocol_map_is_refused(text: str) -> None:
    assert "protocols: PLAINTEXT, SSL" in problem({"listener.security.protocol.map": text})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"listeners": "LAN://a:1"}, "add LAN:PLAINTEXT or LAN:SSL"),
        ({"listeners": "SSL://a:1"}, "needs ssl.certificate.location and ssl.key.location"),
        ({"listeners": "PLAINTEXT://127.0.0.1:7092"}, "listeners and grpc.listen cannot both"),
        ({"advertised.listeners": "NET://a:1"}, "is none of listeners (PLAINTEXT)"),
        ({"advertised.listeners": "PLAINTEXT://0.0.0.0:1"}, "not every address"),
        ({"advertised.listeners": "PLAINTEXT://a:0"}, "not port 0"),
    ],
)
def test_settings_that_do_not_go_together_are_named(values: dict[str, str], sentence: str) -> None:
    assert sentence in problem(values)


def test_limits_of_connections_are_read() -> None:
    limits = configured(
        {
            "connections.max.idle.ms": "-1",
            "queued.max.request.bytes": "-1",
            "max.connections": "5",
            "max.connections.per.ip": "4",
            "socket.request.max.bytes": "1024",
        }
    ).connections

    assert (limits.idle_max_ms, limits.queued_bytes_max) == (None, None)
    assert (limits.connections_max, limits.connections_per_ip_max) == (5, 4)
    assert limits.request_bytes_max == 1024


def test_both_limits_of_connections_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "ottla.toml"
    file.write_text('"max.connections" = 5\nmax.connections.per.ip = 4\n')

    config = load_broker_config(file=file, environment={}, flags=[], data_directory=tmp_path)

    assert config.connections.connections_max == 5
    assert config.connections.connections_per_ip_max == 4


def test_default_is_the_one_of_the_table() -> None:
    (listener,) = configured({"listeners": SETTINGS["listeners"].default}).listeners.kafka

    assert str(listener) == SETTINGS["listeners"].default


def test_listener_of_sasl_is_told_that_there_is_none() -> None:
    assert "no SASL" in problem({"listeners": "SASL_SSL://127.0.0.1:9092"})
