"""The door opens when the broker serves, counts who comes in, and closes without cutting words."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ottla.config.addresses import Address
from ottla.config.broker_config import TlsConfig
from ottla.config.listeners import KafkaListener
from ottla.kafka.handling import RequestContext
from ottla.security.certificates import Authority
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.cluster.world import until
from tests.kafka.doors import PRODUCE_VERSION, Client, Door, plain_listener

MakeDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
async def make() -> AsyncIterator[MakeDoor]:
    doors: list[Door] = []

    async def open_door(**options: Any) -> Door:
        doors.append(await Door(**options).open())
        return doors[-1]

    yield open_door
    for door in doors:
        await door.close()


async def refused(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", address.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


# --- Opening ---


async def test_nobody_comes_in_before_the_broker_serves() -> None:
    door = Door()
    await door.door.bind()
    address = door.door.addresses["PLAINTEXT"]

    assert await refused(address)

    door.door.serve(door.apis)
    assert not await refused(address)
    await door.close()


async def test_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = Address("127.0.0.1", holder.getsockname()[1])
        listener = replace(plain_listener(), listen=taken)

        with pytest.raises(OSError, match="in use") as refusal:
            await Door(listeners=[listener]).open()

    assert refusal.value.errno == errno.EADDRINUSE
    assert refusal.value.filename == str(taken)


async def test_door_of_which_one_address_is_taken_lets_the_others_go() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = Address("127.0.0.1", holder.getsockname()[1])
        listeners = [plain_listener("LAN"), replace(plain_listener("NET"), listen=taken)]
        door = Door(listeners=listeners)

        with pytest.raises(OSError, match="in use"):
            await door.open()

    free = door.door.addresses["LAN"]
    with socket.create_server(free):
        pass


async def test_door_without_listeners_is_no_door() -> None:
    door = Door()
    door.door._listeners = []

    await door.open()

    assert door.door.addresses == {}
    await door.close()


# --- What the cluster is told ---


@pytest.mark.parametrize(
    ("listener", "told"),
    [
        (plain_listener(), ("127.0.0.1", None, False)),
        (plain_listener(host="localhost"), ("localhost", None, False)),
        (plain_listener(host="0.0.0.0"), ("this-machine", None, True)),
        (
            replace(plain_listener(host="0.0.0.0"), advertised=Address("a.example", 19_092)),
            ("a.example", 19_092, False),
        ),
    ],
    ids=["where it listens", "by name", "everywhere", "advertised"],
)
async def test_listener_is_registered_where_clients_reach_it(
    make: MakeDoor, listener: KafkaListener, told: tuple[str, int | None, bool]
) -> None:
    door = (await make(listeners=[listener])).door

    (registered,) = door.registered

    host, port, any_address = told
    assert registered.host == host
    assert registered.port == (port or door.addresses["PLAINTEXT"].port)
    assert registered.any_address is any_address


async def test_handler_hears_through_which_listener_a_request_came(make: MakeDoor) -> None:
    heard: list[tuple[str, str, str]] = []

    async def hear(context: RequestContext, request: HeartbeatRequest) -> Any:
        del request
        connection = context.connection
        heard.append((connection.listener, connection.client.host, connection.principal))
        return HeartbeatResponse()

    listeners = [plain_listener("LAN"), plain_listener("NET")]
    door = await make(listeners=listeners, heartbeat=hear)

    for name in ("NET", "LAN"):
        client = await door.connect(name)
        client.beat()
        await client.beaten()

    assert heard == [("NET", "127.0.0.1", "User:ANONYMOUS"), ("LAN", "127.0.0.1", "User:ANONYMOUS")]


# --- How many ---


async def test_one_connection_too_many_is_closed_and_the_others_are_not(make: MakeDoor) -> None:
    door = await make(connections_max=2)
    good = [await door.connect() for _ in range(2)]
    for client in good:
        client.beat()
        await client.beaten()

    assert await (await door.connect()).is_hung_up_on()

    good[0].beat(3)
    assert await good[0].beaten() == 3
    assert door.counted.refused == {"PLAINTEXT": 1}


async def test_connection_that_goes_makes_room_for_another(make: MakeDoor) -> None:
    door = await make(connections_per_ip_max=1)
    first = await door.connect()
    first.beat()
    await first.beaten()
    assert await (await door.connect()).is_hung_up_on()

    first.writer.close()
    await until(lambda: door.counted.connections == {"PLAINTEXT": 0})

    second = await door.connect()
    second.beat(1)
    assert await second.beaten() == 1


# --- Versions ---


async def test_versions_are_those_that_are_served(make: MakeDoor) -> None:
    client = await (await make()).connect()

    versions = await client.versions()

    assert [(one.api_key, one.min_version, one.max_version) for one in versions.api_keys] == [
        (12, 0, 4),
        (18, 0, 4),
    ]


@pytest.mark.parametrize("version", [5, 99, 32_767])
async def test_statement_1_unknown_version_of_the_question_is_answered_in_the_first(
    make: MakeDoor, version: int
) -> None:
    """Error 35, the range of key 18, and the connection goes on."""
    client = await (await make()).connect()
    client.writer.write((12).to_bytes(4, "big") + version_header(version) + b"\xff\xff")

    correlation_id, response = await client.receive(18, 0)

    assert correlation_id == 77
    assert response.error_code == 35
    assert (18, 0, 4) in [(o.api_key, o.min_version, o.max_version) for o in response.api_keys]
    assert (await client.versions(4)).error_code == 0


def version_header(version: int) -> bytes:
    return (18).to_bytes(2, "big") + version.to_bytes(2, "big") + (77).to_bytes(4, "big") + b"\0\0"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, 0),
        ({"client_software_name": "apache-kafka-java", "client_software_version": "4.1.0"}, 0),
        ({"client_software_name": ""}, 42),
        ({"client_software_name": "-x"}, 42),
        ({"client_software_version": "1 0"}, 42),
        ({"client_software_version": "v"}, 0),
    ],
)
async def test_client_that_says_what_it_is_says_so_in_letters(
    make: MakeDoor, said: dict[str, str], code: int
) -> None:
    client = await (await make()).connect()

    response = await client.versions(3, **said)

    assert response.error_code == code
    assert bool(response.api_keys) is (code == 0)


@pytest.mark.parametrize(("version", "names"), [(3, ["other"]), (4, ["group.version", "other"])])
async def test_features_from_level_zero_are_told_to_those_who_can_read_them(
    make: MakeDoor, version: int, names: list[str]
) -> None:
    response = await (await (await make()).connect()).versions(version)

    assert [one.name for one in response.supported_features] == names
    assert response.finalized_features_epoch == 7
    assert {one.name: one.max_version_level for one in response.finalized_features} == {
        "group.version": 1,
        "other": 2,
    }


# --- Closing ---


async def test_request_under_way_is_answered_before_the_door_closes(make: MakeDoor) -> None:
    going_on = asyncio.Event()
    asked = asyncio.Event()

    async def slow(context: RequestContext, request: HeartbeatRequest) -> Any:
        del context
        asked.set()
        await going_on.wait()
        return HeartbeatResponse(throttle_time_ms=request.generation_id)

    door = await make(heartbeat=slow)
    idle, busy = await door.connect(), await door.connect()
    idle.writer.write(b"\0")
    busy.beat(5)
    await asked.wait()

    closing = asyncio.ensure_future(door.door.stop(grace_ms=10_000))
    assert await idle.is_hung_up_on()
    assert await refused(door.door._listeners[0].address)
    assert not closing.done()
    going_on.set()

    assert await busy.beaten() == 5
    assert await busy.is_hung_up_on()
    await closing


async def test_request_that_goes_on_for_too_long_is_cut_off(make: MakeDoor) -> None:
    asked = asyncio.Event()

    async def endless(context: RequestContext, request: HeartbeatRequest) -> Any:
        del context, request
        asked.set()
        await asyncio.Event().wait()

    door = await make(heartbeat=endless)
    client = await door.connect()
    client.beat()
    await asked.wait()

    await door.door.stop(grace_ms=10)

    assert await client.is_hung_up_on()


# --- TLS ---


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certs")
    authority = Authority.create("test", days=1)
    (directory / "ca.pem").write_bytes(authority.credential.certificate)
    for file, name, hosts in (("broker-0", "broker-0", ["localhost"]), ("client", "billing", [])):
        credential = authority.issue(name, days=1, hosts=hosts)
        (directory / f"{file}.pem").write_bytes(credential.certificate)
        (directory / f"{file}-key.pem").write_bytes(credential.key)
    return directory


def mutual(files: Path, *, required: bool = True) -> TlsConfig:
    return TlsConfig(
        certificate=files / "broker-0.pem",
        key=files / "broker-0-key.pem",
        ca=files / "ca.pem",
        client_certificate_required=required,
    )


def encrypted() -> KafkaListener:
    return KafkaListener(name="SSL", listen=Address("127.0.0.1", 0), security_protocol="SSL")


def client_context(files: Path, *, named: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    if named:
        context.load_cert_chain(files / "client.pem", files / "client-key.pem")
    return context


@pytest.mark.parametrize(
    ("asked_for", "principal"), [("name", "User:CN=billing"), ("nothing", "User:ANONYMOUS")]
)
async def test_client_is_who_its_certificate_says(
    make: MakeDoor, files: Path, asked_for: str, principal: str
) -> None:
    heard: list[str] = []

    async def hear(context: RequestContext, request: HeartbeatRequest) -> Any:
        del request
        heard.append(context.connection.principal)
        return HeartbeatResponse()

    named = asked_for == "name"
    door = await make(listeners=[encrypted()], tls=mutual(files, required=named), heartbeat=hear)
    client = await door.connect(
        "SSL", ssl=client_context(files, named=named), server_hostname="localhost"
    )
    client.beat()
    await client.beaten()

    assert heard == [principal]


async def test_plain_text_and_strangers_get_nothing_from_an_encrypted_listener(
    make: MakeDoor, files: Path
) -> None:
    door = await make(listeners=[encrypted()], tls=mutual(files))
    plain = await door.connect("SSL")
    plain.beat()
    stranger = await door.connect(
        "SSL", ssl=client_context(files, named=False), server_hostname="localhost"
    )
    stranger.beat()

    assert await plain.is_hung_up_on()
    assert await stranger.is_hung_up_on()
    await until(lambda: door.counted.connections == {"SSL": 0})
    assert door.counted.received_bytes == 0


async def test_requests_of_any_size_come_through_tls(make: MakeDoor, files: Path) -> None:
    async def acknowledge(context: RequestContext, request: ProduceRequest) -> Any:
        del context
        (topic,) = request.topic_data
        (partition,) = topic.partition_data
        assert partition.records is not None
        return ProduceResponse(throttle_time_ms=len(partition.records))

    door = await make(listeners=[encrypted()], tls=mutual(files), produce=acknowledge)
    client = await door.connect(
        "SSL", ssl=client_context(files, named=True), server_hostname="localhost"
    )
    sizes = [1_000, 3_000_000, 70_000, 1]
    for size in sizes:
        partition = PartitionProduceData(records=bytes(size))
        topic = TopicProduceData(name="t", partition_data=[partition])
        client.send(ProduceRequest(acks=1, topic_data=[topic]), PRODUCE_VERSION)

    assert [(await client.produced()).throttle_time_ms for _ in sizes] == sizes


def address_in_a_network() -> str:
    """Return an address of this machine that is not loopback, or skip the test."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nothing_is_sent:
        try:
            nothing_is_sent.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine is in no network")
        host: str = nothing_is_sent.getsockname()[0]
        return host


async def test_operator_hears_of_a_client_that_was_told_loopback_and_has_left(
    make: MakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    advertised = Address("127.0.0.1", 9_092)
    door = await make(listeners=[replace(plain_listener(host="0.0.0.0"), advertised=advertised)])
    address = door.door.addresses["PLAINTEXT"]

    with caplog.at_level(logging.WARNING):
        reader, writer = await asyncio.open_connection(address_in_a_network(), address.port)
        await Client(reader, writer).versions()
        writer.close()
        await until(lambda: door.counted.connections == {"PLAINTEXT": 0})

    assert "kafka.unreachable_address" in caplog.text
