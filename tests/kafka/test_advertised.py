"""A client is told the address of the listener that it came through, and one it can use."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest

from ottla.config.addresses import Address
from ottla.kafka.advertised import AddressAdvice, address_for
from ottla.kafka.handling import Connection
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.model.image import BrokerImage, BrokerListener
from ottla.runtime.logging import Format, configure


def broker(*listeners: BrokerListener, number: int = 0) -> BrokerImage:
    return BrokerImage(
        broker_id=BrokerId(number),
        broker_epoch=BrokerEpoch(1),
        host="grpc-host",
        grpc_port=7092,
        rack="",
        incarnation_id=bytes(16),
        fenced=False,
        listeners=listeners,
    )


def listener(
    name: str = "LAN", host: str = "host-a", port: int = 9092, *, any_address: bool = False
) -> BrokerListener:
    return BrokerListener(
        name=name,
        host=host,
        port=port,
        security_protocol="PLAINTEXT",
        any_address=any_address,
    )


def connection(
    name: str = "LAN", *, client: str = "192.0.2.7", local: str = "192.0.2.1"
) -> Connection:
    return Connection(
        listener=name,
        client=Address(client, 50_000),
        local=Address(local, 9092),
        principal="User:ANONYMOUS",
        number=1,
    )


OWN = broker(listener(any_address=True))


def test_address_is_that_of_the_listener_of_the_same_name() -> None:
    other = broker(listener(), listener("NET", "public.example", 19_093))

    assert address_for(other, connection("NET"), OWN) == Address("public.example", 19_093)


def test_broker_without_a_listener_of_the_name_has_no_address() -> None:
    assert address_for(broker(listener("NET")), connection(), OWN) is None


def test_broker_on_every_address_of_the_machine_asked_is_where_the_client_found_it() -> None:
    neighbour = broker(listener(port=9_093, any_address=True), number=1)

    assert address_for(neighbour, connection(), OWN) == Address("192.0.2.1", 9_093)


def test_broker_on_every_address_of_another_machine_is_where_it_registered() -> None:
    far = broker(listener(host="host-b", any_address=True), number=1)

    assert address_for(far, connection(), OWN) == Address("host-b", 9_092)


def test_broker_that_was_told_what_to_advertise_is_there() -> None:
    told = broker(listener("LAN", "host-a", 30_000))

    assert address_for(told, connection(), OWN) == Address("host-a", 30_000)


def test_broker_that_is_not_registered_any_more_still_answers() -> None:
    assert address_for(OWN, connection(), None) == Address("host-a", 9_092)


# --- Advice ---


class Diagnostics:
    def __init__(self) -> None:
        self.stream = StringIO()
        configure(form=Format.JSON, stream=self.stream)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def diagnostics() -> Diagnostics:
    return Diagnostics()


def advice(told: str = "127.0.0.1", *, gateway: str | None = None) -> AddressAdvice:
    return AddressAdvice({"LAN": Address(told, 9_092)}, gateway=lambda: gateway)


def test_client_of_another_machine_that_is_told_loopback_is_told_of(
    diagnostics: Diagnostics,
) -> None:
    advice().look_at(connection())

    (event,) = diagnostics.events()
    assert event["event"] == "kafka.unreachable_address"
    assert event["client"] == "192.0.2.7:50000"
    assert "advertised.listeners=LAN://192.0.2.1:9092" in event["advice"]


def test_operator_is_told_once_for_a_listener(diagnostics: Diagnostics) -> None:
    told = advice()

    told.look_at(connection())
    told.look_at(connection(client="192.0.2.8"))

    assert len(diagnostics.events()) == 1


@pytest.mark.parametrize(
    ("told", "asking"),
    [
        (advice(), connection(client="127.0.0.1")),
        (advice("host-a"), connection()),
        (advice(gateway="192.0.2.7"), connection()),
        (advice(), connection("NET")),
    ],
    ids=["same machine", "name", "through a published port", "other listener"],
)
def test_client_that_may_well_find_the_broker_is_nothing_to_tell(
    diagnostics: Diagnostics, told: AddressAdvice, asking: Connection
) -> None:
    told.look_at(asking)

    assert diagnostics.events() == []
