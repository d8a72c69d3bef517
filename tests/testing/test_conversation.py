"""In the middle of a connection, responses keep their order, however its bytes are cut up."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.testing.conversation import Conversation
from ottla.testing.faults import Fate, Faults, Order
from ottla.wire.api_keys import ApiKey
from ottla.wire.frames import read_response_header, write_request_frame, write_response_frame
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from ottla.wire.schema import Buffer, Message

PIECES = [1, 3, 7, 10_000]


class Middle:
    """A conversation whose ends only remember."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.broker = bytearray()
        self.client = bytearray()
        self.is_open = True
        self.conversation = Conversation(self.faults, self)

    def to_broker(self, content: Buffer) -> None:
        self.broker += content

    def to_client(self, content: Buffer) -> None:
        self.client += content

    def hang_up(self) -> None:
        self.is_open = False

    def answered(self) -> list[int]:
        """Return the correlation ids of the responses, whole frames all of them."""
        ids, rest = [], memoryview(bytes(self.client))
        while rest:
            size = int.from_bytes(rest[:4])
            assert len(rest) >= 4 + size
            ids.append(read_response_header(ApiKey.HEARTBEAT, 3, rest[4 : 4 + size])[0])
            rest = rest[4 + size :]
        return ids


def heartbeat(correlation_id: int) -> bytes:
    return request(ApiKey.HEARTBEAT, 3, correlation_id, HeartbeatRequest(group_id="g"))


def beat(correlation_id: int) -> bytes:
    response = HeartbeatResponse()
    return b"".join(write_response_frame(ApiKey.HEARTBEAT, 3, correlation_id, response))


def produce(correlation_id: int, *, acks: int, version: int = 9) -> bytes:
    partition = PartitionProduceData(index=0, records=b"r" * 100)
    topic = TopicProduceData(name="t", partition_data=[partition])
    message = ProduceRequest(acks=acks, transactional_id="x", topic_data=[topic])
    return request(ApiKey.PRODUCE, version, correlation_id, message)


def request(api_key: int, version: int, correlation_id: int, message: Message) -> bytes:
    return b"".join(write_request_frame(api_key, version, correlation_id, "me", message))


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def talk(receive: Any, content: bytes, size: int) -> None:
    for piece in pieces(content, size):
        receive(piece)


@pytest.mark.parametrize("size", PIECES)
def test_everything_passes_as_it_is(size: int) -> None:
    middle = Middle()
    sent = heartbeat(1) + produce(2, acks=1) + heartbeat(3)
    talk(middle.conversation.from_client, sent, size)
    answers = beat(1) + beat(2) + beat(3)
    talk(middle.conversation.from_broker, answers, size)

    assert (bytes(middle.broker), bytes(middle.client)) == (sent, answers)


@pytest.mark.parametrize("size", PIECES)
def test_response_made_here_waits_for_those_that_the_broker_owes(size: int) -> None:
    middle = Middle()
    talk(middle.conversation.from_client, heartbeat(1), size)
    middle.faults.order(ApiKey.HEARTBEAT, Order(Fate.REFUSE, 27, times=2))
    talk(middle.conversation.from_client, heartbeat(2) + heartbeat(3) + heartbeat(4), size)

    assert middle.answered() == []
    assert bytes(middle.broker) == heartbeat(1) + heartbeat(4)
    talk(middle.conversation.from_broker, beat(1), size)
    assert middle.answered() == [1, 2, 3]
    talk(middle.conversation.from_broker, beat(4), size)
    assert middle.answered() == [1, 2, 3, 4]


@pytest.mark.parametrize("version", [3, 8, 9, 13])
@pytest.mark.parametrize("size", PIECES)
def test_produce_without_acknowledgement_has_no_place_among_the_responses(
    size: int, version: int
) -> None:
    middle = Middle()
    middle.faults.order(ApiKey.HEARTBEAT, Order(Fate.REFUSE, 27, times=1))
    sent = produce(1, acks=0, version=version)
    talk(middle.conversation.from_client, sent + heartbeat(2), size)

    assert bytes(middle.broker) == sent
    assert middle.answered() == [2]


def test_response_made_here_is_not_put_into_one_of_the_brokers() -> None:
    middle = Middle()
    middle.conversation.from_client(heartbeat(1))
    middle.conversation.from_broker(beat(1)[:6])
    middle.faults.order(ApiKey.HEARTBEAT, Order(Fate.REFUSE, 27))
    middle.conversation.from_client(heartbeat(2))
    middle.conversation.from_broker(beat(1)[6:])

    assert middle.answered() == [1, 2]


def test_refused_produce_without_acknowledgement_costs_the_connection() -> None:
    middle = Middle()
    middle.faults.order(ApiKey.PRODUCE, Order(Fate.REFUSE, 6))
    middle.conversation.from_client(produce(1, acks=0))

    assert not middle.is_open
    assert not middle.client


@pytest.mark.parametrize("size", PIECES)
def test_lost_response_costs_the_connection_behind_those_before_it(size: int) -> None:
    middle = Middle()
    middle.faults.order(ApiKey.PRODUCE, Order(Fate.LOSE, times=1))
    sent = heartbeat(1) + produce(2, acks=-1)
    talk(middle.conversation.from_client, sent, size)
    for piece in pieces(beat(1) + beat(2), size):
        if middle.is_open:
            middle.conversation.from_broker(piece)

    assert bytes(middle.broker) == sent
    assert middle.answered() == [1]
    assert not middle.is_open


def test_what_is_not_the_protocol_passes_as_it_is() -> None:
    middle = Middle()
    hello = b"GET / HTTP/1.1\r\n\r\n"
    middle.conversation.from_client(hello)
    middle.conversation.from_client(hello)
    middle.conversation.from_broker(b"HTTP/1.1 400\r\n\r\n")

    assert bytes(middle.broker) == hello + hello
    assert bytes(middle.client) == b"HTTP/1.1 400\r\n\r\n"


def test_request_that_cannot_be_read_is_the_brokers_to_answer() -> None:
    middle = Middle()
    middle.faults.order(ApiKey.HEARTBEAT, Order(Fate.REFUSE, 27))
    broken = (12).to_bytes(4) + heartbeat(1)[4:16]
    middle.conversation.from_client(broken)

    assert bytes(middle.broker) == broken
    assert middle.faults.refused == []


def test_two_connections_share_the_number_of_times() -> None:
    middle = Middle()
    other = Conversation(middle.faults, middle)
    middle.faults.order(ApiKey.HEARTBEAT, Order(Fate.REFUSE, 27, times=1))
    middle.conversation.from_client(heartbeat(1)[:20])
    other.from_client(heartbeat(2))
    middle.conversation.from_client(heartbeat(1)[20:])

    assert middle.answered() == [2]
    assert bytes(middle.broker) == heartbeat(1)
