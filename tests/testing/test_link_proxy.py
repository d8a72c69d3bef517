"""A cut proxy passes nothing on and tells nobody; a healed one passes on again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from ottla.testing.link_proxy import LinkProxy

LONG_S = 5.0
SHORT_S = 0.05


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while chunk := await reader.read(100):
            heard.append(chunk)
            writer.write(chunk)

    writers: list[asyncio.StreamWriter] = []
    heard.clear()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


heard: list[bytes] = []


@asynccontextmanager
async def connection(
    proxy: LinkProxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.mark.asyncio
async def test_what_is_sent_comes_back() -> None:
    async with echo() as port, LinkProxy(port) as proxy, connection(proxy) as (reader, writer):
        writer.write(b"hello")

        assert await asyncio.wait_for(reader.readexactly(5), LONG_S) == b"hello"


@pytest.mark.asyncio
@pytest.mark.parametrize(("there", "back"), [(True, False), (False, True), (True, True)])
async def test_cut_is_silent_in_the_directions_named(*, there: bool, back: bool) -> None:
    async with echo() as port, LinkProxy(port) as proxy, connection(proxy) as (reader, writer):
        writer.write(b"a")
        await reader.readexactly(1)
        proxy.cut(there=there, back=back)
        writer.write(b"b")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), SHORT_S)
        assert heard == ([b"a"] if there else [b"a", b"b"])


@pytest.mark.asyncio
async def test_healing_ends_what_was_cut_and_lets_new_connections_pass() -> None:
    async with echo() as port, LinkProxy(port) as proxy:
        async with connection(proxy) as (cut, writer):
            writer.write(b"a")
            await cut.readexactly(1)
            proxy.cut()
            writer.write(b"lost")
            proxy.heal()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(cut.readexactly(1), LONG_S)
        async with connection(proxy) as (reader, writer):
            writer.write(b"found")

            assert await asyncio.wait_for(reader.readexactly(5), LONG_S) == b"found"
