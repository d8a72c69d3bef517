"""A door with a few handlers of its own, on a real port, and clients that speak byte by byte."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ottla.config.addresses import Address
from ottla.config.broker_config import ConnectionLimits, TlsConfig
from ottla.config.listeners import KafkaListener
from ottla.kafka.api_versions import ApiVersionsHandler, Feature, Features
from ottla.kafka.connection import KafkaConnection
from ottla.kafka.door import KafkaDoor
from ottla.kafka.handling import Handler, RequestContext, ServedApi
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import read_response
from ottla.wire.frames import read_response_header, write_request_frame
from ottla.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.produce import ProduceRequest

PLAIN = TlsConfig(certificate=None, key=None, ca=None, client_certificate_required=False)
LIMITS = ConnectionLimits(
    idle_max_ms=600_000,
    connections_max=1_000,
    connections_per_ip_max=1_000,
    request_bytes_max=10 << 20,
    queued_bytes_max=64 << 20,
    fetch_bytes_max=1 << 20,
)
HEARTBEAT_VERSION = 4
PRODUCE_VERSION = 9


@dataclass
class Counted:
    """What is counted, as somebody would read it."""

    finished: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    throttled_seconds: dict[str, float] = field(default_factory=dict)
    received_bytes: int = 0
    sent_bytes: int = 0
    connections: dict[str, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    def api(self, name: str) -> CountedApi:
        return CountedApi(self, name)

    def received(self, size: int) -> None:
        self.received_bytes += size

    def sent(self, size: int) -> None:
        self.sent_bytes += size

    def connections_changed(self, listener: str, count: int) -> None:
        self.connections[listener] = count

    def connection_refused(self, listener: str) -> None:
        self.refused[listener] += 1


@dataclass
class CountedApi:
    counted: Counted
    name: str

    def finished(self, error_code: int, seconds: float) -> None:
        self.counted.finished[self.name, error_code] += 1
        self.counted.seconds[self.name] = seconds

    def failed(self, error: str) -> None:
        self.counted.failed[self.name, error] += 1

    def throttled(self, seconds: float) -> None:
        self.counted.throttled_seconds[self.name] = seconds


async def alive(context: RequestContext, request: HeartbeatRequest) -> HeartbeatResponse:
    """Answer with the generation asked for, as a throttle time."""
    del context
    return HeartbeatResponse(throttle_time_ms=request.generation_id)


def served(api_key: ApiKey, versions: tuple[int, int], handler: Handler) -> ServedApi:
    return ServedApi(
        api_key=api_key, min_version=versions[0], max_version=versions[1], handler=handler
    )


class Door:
    """A door that is open, and what has come through it."""

    def __init__(
        self,
        *,
        heartbeat: Handler = alive,
        produce: Handler | None = None,
        listeners: Sequence[KafkaListener] = (),
        tls: TlsConfig = PLAIN,
        **limits: Any,
    ) -> None:
        self.counted = Counted()
        self.door = KafkaDoor(
            listeners or [plain_listener()],
            replace(LIMITS, **limits),
            tls,
            machine="this-machine",
            instruments=self.counted,
        )
        apis = [served(ApiKey.HEARTBEAT, (0, HEARTBEAT_VERSION), heartbeat)]
        if produce is not None:
            apis.append(served(ApiKey.PRODUCE, (3, PRODUCE_VERSION), produce))
        features = Features(7, {"group.version": Feature(0, 1, 1), "other": Feature(1, 3, 2)})
        self.apis = [*apis, ApiVersionsHandler(apis, lambda: features).api]
        self.clients: list[Client] = []

    async def open(self) -> Door:
        await self.door.bind()
        self.door.serve(self.apis)
        return self

    async def connect(self, listener: str = "PLAINTEXT", **options: Any) -> Client:
        address = self.door.addresses[listener]
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port, **options)
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    def connection(self) -> KafkaConnection:
        """The only one, as the door has it."""
        (connection,) = self.door._connections.values()
        return connection

    async def aclose(self) -> None:
        await self.close()

    async def close(self) -> None:
        await self.door.stop(grace_ms=50)
        for client in self.clients:
            client.writer.close()


def plain_listener(name: str = "PLAINTEXT", host: str = "127.0.0.1") -> KafkaListener:
    return KafkaListener(name=name, listen=Address(host, 0), security_protocol="PLAINTEXT")


class Client:
    """One connection of a client that waits for nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.correlation_id = 0

    def send(self, request: Any, version: int, *, client_id: str | None = "test") -> int:
        """Send a request, and return its correlation id."""
        self.correlation_id += 1
        parts = write_request_frame(
            request.API_KEY, version, self.correlation_id, client_id, request
        )
        self.writer.writelines(parts)
        return self.correlation_id

    async def receive(self, api_key: int, version: int) -> tuple[int, Any]:
        """Return the next response, with its correlation id."""
        content = memoryview(await self.receive_frame())
        correlation_id, position = read_response_header(api_key, version, content)
        return correlation_id, read_response(api_key, version, content, position)

    async def receive_frame(self) -> bytes:
        async with asyncio.timeout(10):
            (size,) = struct.unpack(">i", await self.reader.readexactly(4))
            return await self.reader.readexactly(size)

    def beat(self, generation_id: int = 0, **options: Any) -> int:
        return self.send(
            HeartbeatRequest(group_id="g", generation_id=generation_id, member_id="m"),
            HEARTBEAT_VERSION,
            **options,
        )

    async def beaten(self) -> int:
        """Return what the next answer to a heartbeat has got."""
        _, response = await self.receive(ApiKey.HEARTBEAT, HEARTBEAT_VERSION)
        generation_id: int = response.throttle_time_ms
        return generation_id

    def produce(self, *, acks: int = -1, timeout_ms: int = 0) -> int:
        return self.send(ProduceRequest(acks=acks, timeout_ms=timeout_ms), PRODUCE_VERSION)

    async def produced(self) -> Any:
        return (await self.receive(ApiKey.PRODUCE, PRODUCE_VERSION))[1]

    async def versions(self, version: int = 4, **said: str) -> ApiVersionsResponse:
        request = ApiVersionsRequest(
            **{"client_software_name": "test", "client_software_version": "1.0", **said}
        )
        self.send(request, version)
        response = (await self.receive(ApiKey.API_VERSIONS, version))[1]
        assert isinstance(response, ApiVersionsResponse)
        return response

    async def is_hung_up_on(self) -> bool:
        """Whether the other side hangs up, after whatever else it says."""
        try:
            async with asyncio.timeout(10):
                while await self.reader.read(65_536):
                    pass
        except ConnectionError:
            pass
        return True


def answering(work: Callable[[Any], Awaitable[Any]]) -> Handler:
    """Make a handler of what looks at the request alone."""

    async def handle(context: RequestContext, request: Any) -> Any:
        del context
        return await work(request)

    return handle
