"""Clients of any kind and age can connect to a broker and find it: statements 1 to 6.

The numbers are those of docs/compatibility-statements.md.
"""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from ottla.record.batch import split_batches
from ottla.record.compression import Codec
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import read_response
from ottla.wire.frames import read_response_header
from ottla.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from ottla.wire.messages.metadata import MetadataRequest
from tests.kafka.whole.broker import WholeBroker, batch

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNSUPPORTED_VERSION = 35

# What Sarama sends when it is told that brokers are of a Kafka version, found by listening. Up to
# 1.27 it asks nobody what is served; 1.61 asks, and sends its own largest versions if those served
# are all larger.
SARAMA = {
    "2.6.0 and not asking": "0:3 1:11 2:1 3:5 9:1 10:0 11:1 12:0 13:0 14:0 19:2 22:0",
    "1.1.0": "0:5 1:7 2:2 3:5 8:3 9:3 10:1 11:2 12:1 13:1 14:1 15:1 16:1 18:3 19:2 20:1 21:0 22:0 "
    "32:1 33:0 37:0 42:0",
    "2.8.0": "0:9 1:12 2:6 3:11 8:8 9:7 10:3 11:7 12:4 13:3 14:5 15:5 16:4 18:3 19:7 20:6 21:2 "
    "22:4 32:4 33:2 35:2 37:3 42:2 43:2 44:1 46:0 47:0 48:1 60:0",
    "4.3.1": "0:10 1:12 2:6 3:11 8:8 9:8 10:3 11:8 12:4 13:3 14:5 15:5 16:5 18:4 19:7 20:6 21:2 "
    "22:4 32:4 33:2 35:4 37:3 42:2 43:2 44:1 46:0 47:0 48:1 60:2",
}


async def versions(broker: WholeBroker, version: int, name: str = "test") -> ApiVersionsResponse:
    request = ApiVersionsRequest(client_software_name=name, client_software_version="1.61.1")
    response = await broker.ask(version, request)
    assert isinstance(response, ApiVersionsResponse)
    return response


async def test_statement_1_who_asks_in_a_version_of_the_future_can_go_on(
    broker: WholeBroker,
) -> None:
    client = await broker.connect()
    client.writer.write(struct.pack(">ihhih", 10, ApiKey.API_VERSIONS, 99, 7, -1))
    content = memoryview(await client.receive_frame())
    correlation_id, position = read_response_header(ApiKey.API_VERSIONS, 0, content)
    refusal = read_response(ApiKey.API_VERSIONS, 0, content, position)
    assert isinstance(refusal, ApiVersionsResponse)
    (said,) = [one for one in refusal.api_keys if one.api_key == ApiKey.API_VERSIONS]

    accepted = await client.versions(said.max_version)

    assert (correlation_id, refusal.error_code) == (7, UNSUPPORTED_VERSION)
    assert accepted.error_code == 0


@pytest.mark.parametrize(
    ("codec", "version"),
    [(Codec.GZIP, 3), (Codec.SNAPPY, 3), (Codec.LZ4, 3), (Codec.ZSTD, 7)],
    ids=["gzip", "snappy", "lz4", "zstd"],
)
async def test_statement_2_what_was_compressed_stays_so(
    broker: WholeBroker, codec: Codec, version: int
) -> None:
    topic = f"compressed-{codec.name}"
    await broker.create(topic)
    sent = batch(*[b"the same again and again"] * 50, codec=codec)

    await broker.produce(sent, name=topic, version=version)

    records = (await broker.fetch(name=topic, version=11)).records
    assert records is not None
    (stored,) = split_batches(records)
    assert (stored.header.codec, stored.header.record_count) == (codec, 50)
    assert bytes(records)[21:] == sent[21:], "everything behind the checksum"


@pytest.mark.parametrize("kafka", SARAMA)
async def test_statement_4_what_sarama_sends_is_served(broker: WholeBroker, kafka: str) -> None:
    answer = await versions(broker, 3, name="sarama")
    said = {one.api_key: range(one.min_version, one.max_version + 1) for one in answer.api_keys}
    sent = [tuple(map(int, pair.split(":"))) for pair in SARAMA[kafka].split()]

    assert answer.error_code == 0
    assert [pair for pair in sent if pair[1] not in said.get(pair[0], ())] == []


@pytest.mark.parametrize(
    ("listen", "to", "host"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1", "localhost"),
        ("0.0.0.0", "127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.2", "127.0.0.2"),
        ("[::]", "127.0.0.1", "127.0.0.1"),
    ],
)
async def test_statement_5_a_client_that_found_the_broker_is_told_where_it_finds_it_again(
    listen: str, to: str, host: str
) -> None:
    if ":" in listen and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    alone = WholeBroker(listeners=f"PLAINTEXT://{listen}:0")
    await alone.running.start()
    try:
        client = await alone.connect(host=to)
        metadata = await alone.ask(12, MetadataRequest(topics=[]), client=client)
        (told,) = metadata.brokers

        _, writer = await asyncio.open_connection(told.host, told.port, family=socket.AF_INET)

        assert (told.host, told.port) == (host, alone.port())
        writer.close()
    finally:
        await alone.close()


async def test_statement_6_what_cannot_be_costs_one_connection(broker: WholeBroker) -> None:
    other = await broker.connect()
    for start in (
        struct.pack(">ihh", 0, 0, 0),
        struct.pack(">ihh", 2**31 - 1, 0, 9),
        struct.pack(">ihh", 100, 32_767, 0),
        struct.pack(">ihh", 100, ApiKey.PRODUCE, 2),
    ):
        bad = await broker.connect()
        bad.writer.write(start)
        assert await bad.is_hung_up_on()

    assert (await broker.ask(12, MetadataRequest(topics=[]), client=other)).brokers
