"""The HTTP port answers what it should, refuses the rest in a sentence, and is never blocked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.metrics.http import HttpServer
from ottla.metrics.registry import BrokerMetrics
from ottla.model.limits import HTTP_CONNECTIONS_MAX, HTTP_REQUEST_BYTES_MAX


class Port:
    """A server whose probes answer what the test says, and a plain-text client of it."""

    def __init__(self) -> None:
        self.metrics = BrokerMetrics(version="1", node_id=0)
        self.sick: str | None = None
        self.unready: str | None = None
        self.server = HttpServer(
            metrics=self.metrics, health=lambda: self.sick, readiness=lambda: self.unready
        )
        self.number = 0

    async def start(self) -> None:
        self.number = await self.server.start("127.0.0.1", 0)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.number)

    async def send(self, request: bytes) -> str:
        """Send bytes, return everything that comes back until the server closes."""
        reader, writer = await self.connect()
        writer.write(request)
        try:
            return (await reader.read()).decode()
        finally:
            writer.close()

    async def get(self, path: str) -> str:
        return await self.send(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    port = Port()
    await port.start()
    yield port
    await port.server.stop()


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1])


def body(answer: str) -> str:
    return answer.partition("\r\n\r\n")[2]


async def test_metrics_come_in_prometheus_text_format(port: Port) -> None:
    port.metrics.produced_bytes.labels("web").inc(5)

    answer = await port.get("/metrics")

    assert status(answer) == 200
    assert "Content-Type: text/plain; version=1.0.0" in answer
    assert 'ottla_produced_bytes_total{topic="web"} 5.0\n' in body(answer)


async def test_healthy_broker_answers_200(port: Port) -> None:
    answer = await port.get("/healthz")

    assert (status(answer), body(answer)) == (200, "ok\n")


async def test_broken_broker_answers_503_with_the_reason(port: Port) -> None:
    port.sick = "log directory /data failed: Input/output error"

    answer = await port.get("/healthz")

    assert (status(answer), body(answer)) == (503, f"{port.sick}\n")


async def test_starting_broker_is_healthy_but_not_ready(port: Port) -> None:
    port.unready = "the broker is starting"

    assert status(await port.get("/healthz")) == 200
    assert status(await port.get("/readyz")) == 503


async def test_query_is_ignored(port: Port) -> None:
    assert status(await port.get("/healthz?verbose=1")) == 200


async def test_unknown_path_is_404_and_names_the_known_ones(port: Port) -> None:
    answer = await port.get("/")

    assert status(answer) == 404
    assert "/metrics, /healthz and /readyz" in body(answer)


async def test_other_method_is_405_and_names_the_allowed_ones(port: Port) -> None:
    answer = await port.send(b"DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert status(answer) == 405
    assert "Allow: GET, HEAD" in answer


async def test_head_has_the_length_and_no_body(port: Port) -> None:
    answer = await port.send(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert "Content-Length: 3" in answer
    assert body(answer) == ""


async def test_connection_takes_one_request_after_another(port: Port) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    answer = await port.send(request + request + last)

    assert answer.count("HTTP/1.1 200") == 3


async def test_garbage_is_400_with_a_sentence(port: Port) -> None:
    answer = await port.send(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")

    assert status(answer) == 400
    assert "This is not HTTP as it should be" in body(answer)


async def test_request_over_the_limit_is_refused_without_reading_all_of_it(port: Port) -> None:
    answer = await port.send(b"GET /" + b"x" * (4 * HTTP_REQUEST_BYTES_MAX))

    assert status(answer) == 431


async def test_body_is_refused(port: Port) -> None:
    answer = await port.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")

    assert status(answer) == 413


async def test_connections_over_the_limit_are_told_so_and_others_go_on(port: Port) -> None:
    idle = [await port.connect() for _ in range(HTTP_CONNECTIONS_MAX)]
    # The last of them has been accepted once it was answered.
    reader, writer = idle[-1]
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")

    refused = await port.get("/healthz")
    for _, open_writer in idle:
        open_writer.close()

    assert status(refused) == 503
    assert "64 connections are open already" in body(refused)


async def test_stop_drops_connections_that_wait_for_their_next_request(port: Port) -> None:
    reader, writer = await port.connect()
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"ok\n")

    await port.server.stop()

    assert await reader.read() == b""
    writer.close()
