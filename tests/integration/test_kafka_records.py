"""Records go in and out through Kafka's protocol, by frames and by the clients that people use."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioTopicPartition
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    Message,
    Producer,
    TopicPartition,
)

from ottla.client.admin_values import NewTopic
from ottla.client.blocking import Admin
from ottla.client.blocking import Consumer as OttlaConsumer
from ottla.client.blocking import Producer as OttlaProducer
from ottla.record.batch import split_batches
from ottla.record.builder import BatchBuilder
from ottla.testing.broker_process import BrokerProcess
from ottla.wire.api_keys import ApiKey
from ottla.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from ottla.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.integration.kafka_frames import KafkaConnection

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the way it reads its own files
    import kafka

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

NONE, OFFSET_OUT_OF_RANGE, SESSION_NOT_FOUND = 0, 1, 70
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
VALUES = [b"%d " % number * 50 for number in range(100)]
HEADERS = [("trace", b"\x00\xff"), ("empty", b"")]
TIMESTAMP_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def connection(shared_broker: BrokerProcess) -> Iterator[KafkaConnection]:
    with KafkaConnection(shared_broker) as opened:
        yield opened


def create(broker: BrokerProcess, name: str, **configs: str) -> None:
    with Admin(broker.grpc_address) as admin:
        admin.create_topics([NewTopic(name, partitions=1, configs=configs)])


def batch(*values: bytes, producer_id: int = -1, sequence: int = -1) -> bytes:
    builder = BatchBuilder(
        producer_id=producer_id, producer_epoch=-1 if producer_id < 0 else 0, base_sequence=sequence
    )
    for value in values:
        builder.append(key=None, value=value, timestamp_ms=TIMESTAMP_MS)
    return builder.build()


def produce(topic: str, records: bytes, *, acks: int = -1) -> ProduceRequest:
    return ProduceRequest(
        acks=acks,
        timeout_ms=10_000,
        topic_data=[
            TopicProduceData(name=topic, partition_data=[PartitionProduceData(records=records)])
        ],
    )


def only(response: ProduceResponse) -> PartitionProduceResponse:
    ((answer,),) = (topic.partition_responses for topic in response.responses)
    return answer


def fetch(topic: str, offset: int, **fields: Any) -> FetchRequest:
    asked = FetchPartition(fetch_offset=offset, partition_max_bytes=1 << 20)
    topics = [FetchTopic(topic=topic, partitions=[asked])]
    of_request: dict[str, Any] = {"topics": topics, "max_wait_ms": 100, "min_bytes": 1} | fields
    return FetchRequest(**of_request)


# --- By frames --------------------------------------------------------------------------------


def test_requests_sent_before_the_first_answer_are_appended_in_their_order(
    shared_broker: BrokerProcess, connection: KafkaConnection
) -> None:
    create(shared_broker, "pipelined")
    for value in VALUES:
        connection.say(ApiKey.PRODUCE, 9, produce("pipelined", batch(value)))

    answers = [only(connection.hear()) for _ in VALUES]

    assert [answer.base_offset for answer in answers] == list(range(len(VALUES)))


def test_statement_19_no_bytes_come_back_for_what_needs_no_acknowledgement(
    shared_broker: BrokerProcess, connection: KafkaConnection
) -> None:
    create(shared_broker, "silent")
    connection.say(ApiKey.PRODUCE, 9, produce("silent", batch(b"1"), acks=0), silent=True)

    answer = only(connection.ask(ApiKey.PRODUCE, 9, produce("silent", batch(b"2"))))

    assert answer.base_offset == 1


def test_statement_19_what_fails_without_acknowledgement_closes_the_connection(
    shared_broker: BrokerProcess,
) -> None:
    with KafkaConnection(shared_broker) as alone:
        alone.say(ApiKey.PRODUCE, 9, produce("missing", batch(b"1"), acks=0), silent=True)

        assert alone.is_closed()


@pytest.mark.parametrize("version", [4, 11, 12])
def test_fetched_bytes_are_those_that_were_produced(
    shared_broker: BrokerProcess, connection: KafkaConnection, version: int
) -> None:
    topic = f"bytes-{version}"
    create(shared_broker, topic)
    sent = batch(*VALUES)
    connection.ask(ApiKey.PRODUCE, 9, produce(topic, sent))

    response: FetchResponse = connection.ask(ApiKey.FETCH, version, fetch(topic, 50))

    (answer,) = response.responses[0].partitions
    assert (answer.error_code, answer.high_watermark) == (NONE, len(VALUES))
    assert answer.records is not None
    assert bytes(answer.records)[16:] == sent[16:]


def test_statement_16_statement_26_and_statement_27_after_a_restart(broker: BrokerProcess) -> None:
    """Records and producers are there as before, offsets too; sessions are not."""
    create(broker, "kept")
    with KafkaConnection(broker) as before:
        for sequence in range(3):
            sent = produce("kept", batch(b"v", producer_id=7, sequence=sequence))
            before.ask(ApiKey.PRODUCE, 9, sent)
        begun: FetchResponse = before.ask(ApiKey.FETCH, 12, fetch("kept", 3, session_epoch=0))
        assert begun.session_id
    broker.kill()
    broker.start()

    with KafkaConnection(broker) as after:
        stale: FetchResponse = after.ask(
            ApiKey.FETCH,
            12,
            fetch("kept", 3, topics=[], session_id=begun.session_id, session_epoch=1),
        )
        assert stale.error_code == SESSION_NOT_FOUND
        codes = [
            after.ask(ApiKey.FETCH, 12, fetch("kept", offset)).responses[0].partitions[0].error_code
            for offset in (0, 3, 4)
        ]
        assert codes == [NONE, NONE, OFFSET_OUT_OF_RANGE]
        retried = produce("kept", batch(b"v", producer_id=7, sequence=2))
        assert only(after.ask(ApiKey.PRODUCE, 9, retried)).base_offset == 2


# --- By clients -------------------------------------------------------------------------------


def read_by_librdkafka(address: str, topic: str, count: int) -> list[Message]:
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": "g", "enable.auto.commit": False}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        messages: list[Message] = []
        while len(messages) < count:
            messages += consumer.consume(count - len(messages), 10)
            assert messages, "nothing came"
        return messages
    finally:
        consumer.close()


@pytest.mark.parametrize("codec", CODECS)
def test_what_librdkafka_wrote_kafka_python_reads(shared_broker: BrokerProcess, codec: str) -> None:
    address, topic = f"127.0.0.1:{shared_broker.kafka_port}", f"librdkafka-{codec}"
    create(shared_broker, topic)
    producer = Producer(
        {"bootstrap.servers": address, "compression.type": codec, "enable.idempotence": True}
    )
    for value in VALUES:
        producer.produce(topic, value, key=value[:3], headers=list(HEADERS), timestamp=TIMESTAMP_MS)
    assert producer.flush(20) == 0

    reader = kafka.KafkaConsumer(bootstrap_servers=address, consumer_timeout_ms=10_000)
    reader.assign([kafka.TopicPartition(topic, 0)])
    reader.seek_to_beginning()
    records = [next(reader) for _ in VALUES]
    reader.close()

    assert [record.value for record in records] == VALUES
    assert [record.key for record in records] == [value[:3] for value in VALUES]
    assert list(records[0].headers) == HEADERS
    assert records[0].timestamp == TIMESTAMP_MS


@pytest.mark.parametrize("codec", CODECS)
def test_what_kafka_python_wrote_librdkafka_reads(shared_broker: BrokerProcess, codec: str) -> None:
    address, topic = f"127.0.0.1:{shared_broker.kafka_port}", f"kafka-python-{codec}"
    create(shared_broker, topic)
    writer = kafka.KafkaProducer(
        bootstrap_servers=address, compression_type=None if codec == "none" else codec
    )
    for value in VALUES:
        writer.send(topic, value, headers=HEADERS)
    writer.flush(20)
    writer.close()

    messages = read_by_librdkafka(address, topic, len(VALUES))

    assert [message.value() for message in messages] == VALUES
    assert messages[0].headers() == HEADERS


@pytest.mark.parametrize(
    ("kind", "seen"),
    [("CreateTime", TIMESTAMP_CREATE_TIME), ("LogAppendTime", TIMESTAMP_LOG_APPEND_TIME)],
)
def test_statement_20_a_reader_sees_who_stamped_a_record(
    shared_broker: BrokerProcess, kind: str, seen: int
) -> None:
    address, topic = f"127.0.0.1:{shared_broker.kafka_port}", f"stamped-{kind}"
    create(shared_broker, topic, **{"message.timestamp.type": kind})
    told: list[tuple[int, int]] = []
    producer = Producer({"bootstrap.servers": address})
    producer.produce(
        topic,
        b"value",
        timestamp=TIMESTAMP_MS,
        on_delivery=lambda _, message: told.append(message.timestamp()),
    )
    assert producer.flush(20) == 0

    (message,) = read_by_librdkafka(address, topic, 1)

    assert message.timestamp()[0] == seen
    assert (message.timestamp()[1] == TIMESTAMP_MS) == (kind == "CreateTime")
    assert [stamp for _, stamp in told] == [message.timestamp()[1]]


def test_what_aiokafka_wrote_it_reads(shared_broker: BrokerProcess) -> None:
    address = f"127.0.0.1:{shared_broker.kafka_port}"
    create(shared_broker, "aiokafka")

    async def write_and_read() -> list[bytes | None]:
        async with AIOKafkaProducer(
            bootstrap_servers=address, compression_type="gzip", enable_idempotence=True
        ) as writer:
            for value in VALUES:
                await writer.send("aiokafka", value)
        async with AIOKafkaConsumer(bootstrap_servers=address) as reader:
            reader.assign([AioTopicPartition("aiokafka", 0)])
            await reader.seek_to_beginning()
            return [(await reader.getone()).value for _ in VALUES]

    assert asyncio.run(asyncio.wait_for(write_and_read(), 30)) == VALUES


@pytest.mark.parametrize("codec", CODECS)
def test_what_came_by_one_door_goes_by_the_other(shared_broker: BrokerProcess, codec: str) -> None:
    address, topic = f"127.0.0.1:{shared_broker.kafka_port}", f"doors-{codec}"
    create(shared_broker, topic)
    with OttlaProducer(shared_broker.grpc_address, compression_type=codec) as writer:
        writer.send(
            topic, b"by gRPC", key=b"k", headers=HEADERS, timestamp_ms=TIMESTAMP_MS
        ).result()
    producer = Producer({"bootstrap.servers": address, "compression.type": codec})
    producer.produce(topic, b"by Kafka", key=b"k", headers=list(HEADERS), timestamp=TIMESTAMP_MS)
    assert producer.flush(20) == 0

    messages = read_by_librdkafka(address, topic, 2)
    with OttlaConsumer(
        topic, bootstrap_servers=shared_broker.grpc_address, auto_offset_reset="earliest"
    ) as reader:
        records = [reader.getone() for _ in range(2)]

    written = [(value, b"k", HEADERS, TIMESTAMP_MS) for value in (b"by gRPC", b"by Kafka")]
    assert written == [
        (message.value(), message.key(), message.headers(), message.timestamp()[1])
        for message in messages
    ]
    assert written == [
        (record.value, record.key, list(record.headers), record.timestamp_ms) for record in records
    ]


def test_statement_2_a_batch_of_the_log_holds_what_one_client_sent_together(
    shared_broker: BrokerProcess, connection: KafkaConnection
) -> None:
    """What a client compressed is stored as it came, and not once for each record."""
    create(shared_broker, "compressed")
    address = f"127.0.0.1:{shared_broker.kafka_port}"
    producer = Producer(
        {"bootstrap.servers": address, "compression.type": "zstd", "linger.ms": 500}
    )
    for value in VALUES:
        producer.produce("compressed", value)
    producer.flush(20)

    response: FetchResponse = connection.ask(ApiKey.FETCH, 12, fetch("compressed", 0))

    records = response.responses[0].partitions[0].records
    assert records is not None
    batches = split_batches(records)
    assert sum(one.header.record_count for one in batches) == len(VALUES)
    assert len(records) < sum(map(len, VALUES)) / 5
