"""Settings have the names that Kafka users type, and nonsense is refused with a sentence."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from ottla.client import settings as settings_module
from ottla.client.settings import (
    ConnectionOptions,
    ConnectionSettings,
    ConsumerOptions,
    ConsumerSettings,
    ProducerOptions,
    ProducerSettings,
    read_settings,
)
from ottla.model.errors import InvalidConfigError
from ottla.record.compression import Codec

PAIRS = [
    (ConnectionSettings, ConnectionOptions),
    (ProducerSettings, ProducerOptions),
    (ConsumerSettings, ConsumerOptions),
]


def produce(**options: object) -> ProducerSettings:
    return read_settings(ProducerSettings, "a:1", options)


def consume(**options: object) -> ConsumerSettings:
    return read_settings(ConsumerSettings, "a:1", options)


@pytest.mark.parametrize(("kind", "options"), PAIRS)
def test_keyword_arguments_and_settings_are_the_same(kind: type[Any], options: type) -> None:
    hints = get_type_hints(kind)
    expected = {field.name: hints[field.name] for field in fields(kind)}
    del expected["bootstrap_servers"]

    assert get_type_hints(options) == expected


@pytest.mark.parametrize("kind", [kind for kind, _ in PAIRS])
def test_every_setting_is_documented(kind: type[Any]) -> None:
    tree = ast.parse(inspect.getsource(settings_module))
    (definition,) = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    documented = {
        statement.target.id
        for statement, following in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }

    inherited = {field.name for field in fields(ConnectionSettings)} - documented
    assert {field.name for field in fields(kind)} - inherited == documented


def test_unknown_setting_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match="did you mean 'linger_ms'"):
        produce(lingerms=5)


def test_group_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidConfigError, match="group_id is empty"):
        consume(group_id="")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"acks": "some"}, "acks"),
        ({"acks": 2}, "acks"),
        ({"compression_type": "rar"}, "compression_type"),
        ({"linger_ms": -1}, "linger_ms"),
        ({"linger_ms": "5"}, "linger_ms"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2 << 20}, "max_request_size"),
        ({"buffer_memory": 10}, "buffer_memory"),
        ({"max_request_size": 8 << 20}, "max_request_size"),
        ({"delivery_timeout_ms": 100}, "delivery_timeout_ms"),
        ({"enable_idempotence": True, "acks": 1}, "enable_idempotence"),
        ({"request_timeout_ms": True}, "request_timeout_ms"),
        ({"client_id": "naïve"}, "client_id"),
        ({"ssl_key_location": "key.pem"}, "ssl_certificate_location"),
        ({"security_protocol": "SASL"}, "security_protocol"),
    ],
)
def test_producer_setting_that_makes_no_sense_is_refused_by_name(
    options: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidConfigError, match=named):
        produce(**options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"auto_offset_reset": "smallest"}, "auto_offset_reset"),
        ({"fetch_max_bytes": 8 << 20}, "fetch_max_bytes"),
        ({"max_poll_records": 0}, "max_poll_records"),
        ({"prefetch_bytes": 2 << 30}, "prefetch_bytes"),
        ({"client_rack": "r" * 256}, "client_rack"),
        ({"client_rack": "hall\n2"}, "client_rack"),
        ({"fetch_max_wait_ms": 60_001}, "fetch_max_wait_ms"),
    ],
)
def test_consumer_setting_that_makes_no_sense_is_refused_by_name(
    options: dict[str, object], named: str
) -> None:
    with pytest.raises(InvalidConfigError, match=named):
        consume(**options)


@pytest.mark.parametrize(
    ("acks", "on_wire"), [("all", -1), (-1, -1), ("-1", -1), (0, 0), ("1", 1), (1, 1)]
)
def test_acks_are_taken_as_numbers_and_as_text(acks: int | str, on_wire: int) -> None:
    assert produce(acks=acks).required_acks == on_wire


@pytest.mark.parametrize(
    ("name", "codec"),
    [(None, Codec.NONE), ("none", Codec.NONE), ("gzip", Codec.GZIP), ("zstd", Codec.ZSTD)],
)
def test_compression_is_chosen_by_name(name: str | None, codec: Codec) -> None:
    assert produce(compression_type=name).codec is codec


def test_idempotence_is_on_with_acks_all_and_off_with_less() -> None:
    assert (produce().is_idempotent, produce(acks=1).is_idempotent) == (True, False)


def test_naming_a_tls_file_means_tls() -> None:
    assert (produce().uses_tls, produce(ssl_ca_location="ca.pem").uses_tls) == (False, True)
