"""kcat with the librdkafka of Debian 12, which decides by old rules what a broker can do, works.

The numbers are those of docs/compatibility-statements.md. `make compat` does more with kcat.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ottla.record.batch import split_batches
from ottla.record.compression import Codec
from ottla.testing.broker_process import BrokerProcess
from ottla.wire.api_keys import ApiKey
from ottla.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from tests.integration.kafka_frames import KafkaConnection

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed"),
]

LINES = b"".join(b"%d the same again and again\n" % number for number in range(200))


def kcat(broker: BrokerProcess, *arguments: str, sends: bytes = b"") -> bytes:
    done = subprocess.run(
        ["kcat", "-b", broker.kafka_address, *arguments],
        input=sends,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4])
def test_statement_2_an_old_client_compresses_what_it_is_told_to(
    shared_broker: BrokerProcess, codec: Codec
) -> None:
    topic, name = f"old-{codec.name}", codec.name.lower()
    # Together, for what compression makes no smaller is sent as it is.
    together = ("-X", "linger.ms=200")
    kcat(shared_broker, "-P", "-t", topic, "-p", "0", "-z", name, *together, sends=LINES)

    with KafkaConnection(shared_broker) as connection:
        asked = FetchPartition(partition_max_bytes=1 << 20)
        request = FetchRequest(topics=[FetchTopic(topic=topic, partitions=[asked])])
        records = connection.ask(ApiKey.FETCH, 11, request).responses[0].partitions[0].records
    assert {one.header.codec for one in split_batches(records)} == {codec}
    assert kcat(shared_broker, "-C", "-t", topic, "-p", "0", "-e", "-q") == LINES


def test_statement_3_an_old_client_consumes_as_a_member_of_a_group(
    shared_broker: BrokerProcess,
) -> None:
    kcat(shared_broker, "-P", "-t", "grouped", "-p", "0", sends=LINES)
    member = ("-G", "old-group", "-X", "auto.offset.reset=earliest", "-q", "-e", "grouped")

    first = kcat(shared_broker, *member)
    kcat(shared_broker, "-P", "-t", "grouped", "-p", "0", sends=b"later\n")
    second = kcat(shared_broker, *member)

    assert (first, second) == (LINES, b"later\n")
