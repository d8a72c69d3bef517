"""Whatever arrives on Kafka's port, a broker hangs up at worst, stays small, and serves others."""

from __future__ import annotations

import contextlib
import random
import re
import resource
import select
import socket
import ssl
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ottla.testing.broker_process import BrokerProcess
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import read_response
from ottla.wire.frames import read_response_header, write_request_frame
from ottla.wire.messages.api_versions import ApiVersionsRequest
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.schema import Message

pytestmark = [pytest.mark.integration, pytest.mark.faults]

MIB = 1 << 20
QUEUED_BYTES_MAX = 32 * MIB
REQUEST_BYTES_MAX = 16 * MIB
CONNECTIONS = 10_000
TOPIC = "hostile"


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerProcess]:
    settings = {
        "socket.request.max.bytes": REQUEST_BYTES_MAX,
        "queued.max.request.bytes": QUEUED_BYTES_MAX,
    }
    arguments = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    raise_open_files_limit()  # a child process has what its parent has
    with BrokerProcess(arguments=arguments) as process:
        yield process


def raise_open_files_limit() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for wanted in (4 * CONNECTIONS, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            return wanted
    return hard


def resident_bytes(broker: BrokerProcess) -> int:
    status = Path(f"/proc/{broker.pid}/status").read_text()
    (kilobytes,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return int(kilobytes) * 1024


class Talk:
    """A connection that says whatever it likes."""

    def __init__(self, broker: BrokerProcess) -> None:
        self.socket = socket.create_connection(("127.0.0.1", broker.kafka_port), timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, content: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # it may have heard enough
            self.socket.sendall(content)

    def say_no_more(self) -> None:
        with contextlib.suppress(OSError):  # it may have hung up
            self.socket.shutdown(socket.SHUT_WR)

    def hear(self) -> bytes:
        """Return one frame; empty if the broker has hung up."""
        (size,) = struct.unpack(">i", self._exactly(4) or bytes(4))
        return self._exactly(size)

    def is_hung_up_on(self) -> bool:
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionError:
            pass
        return True

    def ask(self, request: Message, version: int, client_id: str | None = "t") -> Any:
        self.say(frame(request, version, client_id))
        content = memoryview(self.hear())
        _, position = read_response_header(request.API_KEY, version, content)
        return read_response(request.API_KEY, version, content, position)

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            chunk = self.socket.recv(size - len(content))
            if not chunk:
                return b""
            content += chunk
        return content


def frame(request: Message, version: int, client_id: str | None = "t") -> bytes:
    return b"".join(write_request_frame(request.API_KEY, version, 1, client_id, request))


VERSIONS = ApiVersionsRequest(client_software_name="t", client_software_version="1")


def is_served(broker: BrokerProcess) -> bool:
    """Whether a client gets an answer, on a new connection and within 5 seconds."""
    began = time.monotonic()
    with Talk(broker) as talk:
        metadata = talk.ask(MetadataRequest(topics=[]), 12)
    return len(metadata.brokers) == 1 and time.monotonic() - began < 5


def wait_for_connections(broker: BrokerProcess, *, fewer_than: int) -> None:
    """Wait until the broker has noticed who is gone: first it reads what they had sent."""
    while True:  # the test's time-out is the limit
        with urllib.request.urlopen(f"{broker.http_url}/metrics") as answer:
            figures = answer.read().decode()
        found = re.search(r"^ottla_kafka_connections\{.*\} (\S+)$", figures, re.MULTILINE)
        if found is not None and float(found[1]) < fewer_than:
            return


def produces_and_consumes(broker: BrokerProcess) -> bool:
    """Whether a real client still can."""
    producer = Producer({"bootstrap.servers": broker.kafka_address})
    value = random.randbytes(20)
    offsets: list[int] = []
    producer.produce(
        TOPIC, value, on_delivery=lambda _, message: offsets.append(message.offset() or 0)
    )
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": broker.kafka_address, "group.id": "unused"})
    try:
        consumer.assign([TopicPartition(TOPIC, 0, offsets[0])])
        message = consumer.poll(10)
        return message is not None and message.value() == value
    finally:
        consumer.close()


@pytest.fixture(autouse=True)
def others_are_served(broker: BrokerProcess) -> Iterator[None]:
    """Hold of every test: who was connected before it, and who comes after it, is served."""
    with Talk(broker) as before:
        before.ask(VERSIONS, 3)
        yield
        after: Any = before.ask(VERSIONS, 3)
        assert after.error_code == 0
    assert is_served(broker)


# --- Frames ---


def test_statement_1_unknown_version_of_api_versions_is_answered_and_the_connection_goes_on(
    broker: BrokerProcess,
) -> None:
    with Talk(broker) as talk:
        talk.say(struct.pack(">ihhih", 10, ApiKey.API_VERSIONS, 99, 7, -1))
        content = memoryview(talk.hear())
        correlation_id, position = read_response_header(ApiKey.API_VERSIONS, 0, content)
        response: Any = read_response(ApiKey.API_VERSIONS, 0, content, position)

        assert (correlation_id, response.error_code) == (7, 35)
        (last,) = [one.max_version for one in response.api_keys if one.api_key == 18]
        assert talk.ask(VERSIONS, last).error_code == 0


@pytest.mark.parametrize("client_id", [None, ""])
def test_statement_6_client_without_a_name_is_served(
    broker: BrokerProcess, client_id: str | None
) -> None:
    with Talk(broker) as talk:
        assert talk.ask(MetadataRequest(topics=[]), 9, client_id).brokers


@pytest.mark.parametrize(
    "start",
    [
        struct.pack(">ihh", 0, 0, 0),
        struct.pack(">ihh", -1, 0, 9),
        struct.pack(">ihh", -(2**31), 0, 9),
        struct.pack(">ihh", REQUEST_BYTES_MAX + 1, 0, 9),
        struct.pack(">ihh", 2**31 - 1, 0, 9),
        struct.pack(">ihh", MIB + 1, 3, 9),
        struct.pack(">ihh", 100, 4, 0),
        struct.pack(">ihh", 100, 32_767, 0),
        struct.pack(">ihh", 100, 0, 2),
        struct.pack(">ihh", 100, 0, 99),
    ],
    ids=[
        "empty",
        "negative",
        "most negative",
        "too large",
        "largest",
        "too large for what it asks",
        "between brokers",
        "unknown",
        "too old",
        "too new",
    ],
)
def test_statement_6_request_that_cannot_be_costs_its_connection(
    broker: BrokerProcess, start: bytes
) -> None:
    with Talk(broker) as talk:
        talk.say(start)

        assert talk.is_hung_up_on()


@pytest.mark.parametrize("seed", range(5))
def test_garbage_costs_its_connection(broker: BrokerProcess, seed: int) -> None:
    garbage = random.Random(seed).randbytes(100_000)

    with Talk(broker) as talk:
        talk.say(garbage)
        talk.say_no_more()

        assert talk.is_hung_up_on()


def test_every_kind_of_request_with_random_content_costs_its_connection_at_worst(
    broker: BrokerProcess,
) -> None:
    with Talk(broker) as talk:
        served = talk.ask(VERSIONS, 3).api_keys
    chance = random.Random(0)
    for api in served:
        for version in range(api.min_version, api.max_version + 1):
            body = chance.randbytes(chance.randrange(60))
            content = struct.pack(">hhih", api.api_key, version, 1, -1) + body
            with Talk(broker) as talk:
                talk.say(struct.pack(">i", len(content)) + content)
                talk.say_no_more()
                assert talk.is_hung_up_on()

    assert "request_failed" not in broker.stderr()
    assert produces_and_consumes(broker)


def test_tls_on_the_plain_port_is_hung_up_on_and_told_of(broker: BrokerProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    deadline = time.monotonic() + 10

    # Of many events of a kind in one second, not all are told.
    while "looks like TLS, and this listener speaks plain text" not in broker.stderr():
        assert time.monotonic() < deadline
        with Talk(broker) as talk, pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(talk.socket)


def test_request_full_of_empty_structures_is_refused_in_time(broker: BrokerProcess) -> None:
    count = MIB // 2
    body = struct.pack(">hhih", ApiKey.METADATA, 0, 1, -1) + struct.pack(">i", count // 2)
    body += bytes(count)
    with Talk(broker) as talk:
        talk.say(struct.pack(">i", len(body)) + body)

        assert talk.is_hung_up_on()


# --- Memory ---


def test_half_sent_requests_take_no_more_memory_than_may_be_queued(broker: BrokerProcess) -> None:
    count = 300
    before = resident_bytes(broker)
    start = struct.pack(">ihhih", REQUEST_BYTES_MAX, ApiKey.PRODUCE, 9, 1, -1)
    with ExitStack() as stack:
        talks = [stack.enter_context(Talk(broker)) for _ in range(count)]
        for talk in talks:
            talk.socket.settimeout(0)
            # As much as the kernel takes; the broker takes of it what it has room for.
            with contextlib.suppress(BlockingIOError):
                talk.socket.send(start + bytes(MIB))
        assert is_served(broker)

        grown = resident_bytes(broker) - before

    # The bound, one request more, and what is small: 64 KiB a connection at most.
    assert grown < QUEUED_BYTES_MAX + REQUEST_BYTES_MAX + count * 64 * 1024
    wait_for_connections(broker, fewer_than=20)


def test_client_that_never_reads_its_answers_is_not_asked_what_else_it_wants(
    broker: BrokerProcess,
) -> None:
    before = resident_bytes(broker)
    questions = frame(VERSIONS, 3) * 1_000
    with Talk(broker) as talk:
        talk.socket.settimeout(0)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1_000 * MIB:
                _, writable, _ = select.select([], [talk.socket], [], 1.0)
                if not writable:
                    break
                sent += talk.socket.send(questions)
        assert is_served(broker)

        assert resident_bytes(broker) - before < 16 * MIB
    assert sent < 100 * MIB


# --- Connections ---


def test_ten_thousand_idle_connections_do_not_keep_others_out(broker: BrokerProcess) -> None:
    """As many as the machine lets this process and the broker have, and 10,000 at most."""
    count = min(CONNECTIONS, raise_open_files_limit() // 2 - 100)
    before = resident_bytes(broker)
    address = ("127.0.0.1", broker.kafka_port)
    idle = [socket.create_connection(address, timeout=20) for _ in range(count)]
    try:
        assert is_served(broker)
        grown = resident_bytes(broker) - before
        assert produces_and_consumes(broker)
    finally:
        for connection in idle:
            connection.close()

    assert grown < count * 10_000


def test_connections_that_are_reset_at_once_do_not_keep_others_out(broker: BrokerProcess) -> None:
    served: list[bool] = []
    flooding = threading.Event()

    def flood() -> None:
        reset = struct.pack("ii", 1, 0)
        for _ in range(2_000):
            connection = socket.create_connection(("127.0.0.1", broker.kafka_port), timeout=20)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            connection.close()
            flooding.set()

    thread = threading.Thread(target=flood)
    thread.start()
    flooding.wait(10)
    while thread.is_alive():
        served.append(is_served(broker))
    thread.join()

    assert all(served)


def test_broker_has_not_failed_and_stops_well(broker: BrokerProcess) -> None:
    """Last of this file: all the others have been done to it."""
    assert produces_and_consumes(broker)
    said = broker.stderr()

    assert "request_failed" not in said
    assert "Traceback" not in said
