"""Every request of Kafka's can be refused: the response says so where clients look for it."""

from __future__ import annotations

import importlib
from random import Random
from typing import Any

import pytest

from ottla.testing.kafka_errors import BrokerAddress, failed_response, names_what_it_asks
from ottla.testing.kafka_names import ERROR_NAMES, api_key_of, error_code_of
from ottla.wire import codec
from ottla.wire.api_keys import ApiKey
from ottla.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from ottla.wire.messages.metadata import MetadataRequest
from ottla.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from ottla.wire.schema import Message
from tests.wire import random_messages
from tests.wire.random_messages import Kind

NOT_LEADER = 6
BROKERS = [BrokerAddress(0, "127.0.0.1", 9092)]


def refused(kind: Kind, random: Random) -> tuple[Message, bytes, Message]:
    """Return a request as a broker reads it, its failure, and that as our codec reads it."""
    key, version = kind.message.API_KEY, kind.version
    sent = codec.write_message(random_messages.make(kind, random), version)
    request = codec.read_request(key, version, memoryview(sent), 0)
    failure = failed_response(version, request, NOT_LEADER, BROKERS)
    content = codec.write_message(failure, version)
    return request, content, codec.read_response(key, version, memoryview(content), 0)


def errors_in(value: Any) -> list[int]:
    if isinstance(value, list):
        return [code for each in value for code in errors_in(each)]
    if not isinstance(value, Message):
        return []
    return [
        code
        for field in value.FIELDS
        for code in (
            [getattr(value, field.name)]
            if field.name in {"error_code", "partition_error_code"}
            else errors_in(getattr(value, field.name))
        )
        if code
    ]


def is_empty(value: Any) -> bool:
    """Whether there is a list in it that names nothing, so that nothing can fail."""
    if not isinstance(value, Message):
        return False
    lists = [getattr(value, field.name) for field in value.FIELDS if field.array]
    return any(not each or any(is_empty(one) for one in each) for each in lists)


def test_every_version_of_every_request_gets_its_error_and_no_other() -> None:
    random = Random(1)
    wrong = []
    for kind in random_messages.all_requests():
        for _ in range(6):
            request, _, response = refused(kind, random)
            errors = set(errors_in(response))
            if errors - {NOT_LEADER} or not (errors or is_empty(request)):
                wrong.append(f"{kind}: {response}")

    assert wrong == []


def kafka_python_responses() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in ("admin", "consumer", "metadata", "producer", "sasl"):
        module = importlib.import_module(f"kafka.protocol.{part}")
        found |= {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return found


# It reads its own files in a way that Python has deprecated.
@pytest.mark.filterwarnings("ignore:.*_text is deprecated:DeprecationWarning")
def test_kafka_python_reads_every_refusal_that_it_knows() -> None:
    random, classes, known = Random(2), kafka_python_responses(), set()
    for kind in random_messages.all_requests():
        theirs = classes.get(kind.message.__name__.replace("Request", "Response"))
        if theirs is None or kind.version > theirs.max_version:
            continue
        if kind.message.API_KEY == ApiKey.API_VERSIONS:
            continue  # it takes some errors to mean that version 0 is meant
        _, content, response = refused(kind, random)
        read = theirs.decode(content, version=kind.version)
        if hasattr(response, "error_code") and response.error_code:
            assert read.error_code == NOT_LEADER, kind
        known.add(kind.message)

    assert len(known) > 40


def test_produce_fails_for_each_partition() -> None:
    partitions = [PartitionProduceData(index=index) for index in (3, 5)]
    request = ProduceRequest(topic_data=[TopicProduceData(name="t", partition_data=partitions)])

    response = failed_response(9, request, NOT_LEADER)

    found = response.responses[0].partition_responses
    assert response.responses[0].name == "t"
    assert [(each.index, each.error_code, each.base_offset) for each in found] == [
        (3, NOT_LEADER, -1),
        (5, NOT_LEADER, -1),
    ]


def test_metadata_that_fails_names_the_brokers_and_blames_the_topics() -> None:
    request: Any = codec.read_request(3, 1, memoryview(b"\0\0\0\1\0\1t"), 0)
    assert isinstance(request, MetadataRequest)

    response = failed_response(1, request, NOT_LEADER, BROKERS)

    assert response.error_code == 0
    assert [(each.node_id, each.port) for each in response.brokers] == [(0, 9092)]
    assert [(each.name, each.error_code) for each in response.topics] == [("t", NOT_LEADER)]


@pytest.mark.parametrize(("error_code", "whole"), [(NOT_LEADER, 0), (71, 71)])
def test_fetch_fails_as_a_whole_for_errors_of_the_session_alone(
    error_code: int, whole: int
) -> None:
    topic = FetchTopic(topic="t", partitions=[FetchPartition(partition=1)])

    response = failed_response(11, FetchRequest(topics=[topic]), error_code)

    assert response.error_code == whole
    assert bool(response.responses) is (whole == 0)


def test_fetch_within_a_session_does_not_name_what_it_asks() -> None:
    assert names_what_it_asks(FetchRequest(session_epoch=0), NOT_LEADER)
    assert not names_what_it_asks(FetchRequest(session_id=7, session_epoch=2), NOT_LEADER)
    assert names_what_it_asks(FetchRequest(session_id=7, session_epoch=2), 70)


@pytest.mark.parametrize("name", ["NOT_LEADER_OR_FOLLOWER", "NotLeaderOrFollower", 6])
def test_error_is_found_however_it_is_written(name: str | int) -> None:
    assert error_code_of(name) == NOT_LEADER


def test_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean NOT_COORDINATOR"):
        error_code_of("NOT_CORDINATOR")
    with pytest.raises(ValueError, match="did you mean Produce"):
        api_key_of("Prodce")
    with pytest.raises(ValueError, match="is no error"):
        error_code_of(0)


def test_errors_have_the_numbers_that_the_c_client_knows() -> None:
    from confluent_kafka import KafkaError  # noqa: PLC0415

    theirs = {value: name for name, value in vars(KafkaError).items() if isinstance(value, int)}
    unknown = {code for code in ERROR_NAMES if code > 0} - theirs.keys()

    # Those that only brokers tell each other.
    assert unknown == {98, 99, 101, 102, 104, 105, 106, 107, 108, 109}
