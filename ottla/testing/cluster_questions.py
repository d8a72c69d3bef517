"""What a test asks a cluster before it begins: a new topic, who leads, who coordinates.

These are plain requests on a socket that waits, to the brokers themselves: no fault of a proxy is
in their way, no client is needed, and they can be asked where an event loop runs.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, Final
from uuid import uuid4

from ottla.config.addresses import Address
from ottla.model.errors import ERRORS_BY_CODE, OttlaError, RetriableError
from ottla.testing.kafka_names import error_name
from ottla.wire.codec import read_response
from ottla.wire.frames import read_response_header, write_request_frame
from ottla.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from ottla.wire.schema import Message

TIMEOUT_S: Final = 20.0
"""For what is asked to be so, elections included."""

REQUEST_TIMEOUT_S: Final = 5.0
INTERVAL_S: Final = 0.005

_CREATE_TOPICS_VERSION: Final = 7
_METADATA_VERSION: Final = 12
_FIND_COORDINATOR_VERSION: Final = 4

_AS_MANY_AS_USUAL: Final = -1
_SIZE: Final = Struct(">i")


class ClusterQuestions:
    """Asks the brokers that can be asked.

    Args:
        addresses: says where the brokers are that run, the Kafka port of each.
    """

    def __init__(self, addresses: Callable[[], Sequence[Address]]) -> None:
        self._addresses = addresses

    def new_topic(self, partitions: int, configs: Mapping[str, str], name: str | None) -> str:
        """Create a topic, and return its name when every broker that runs knows who leads it.

        Raises the :exc:`OttlaError` that the brokers answer; :exc:`TimeoutError`.
        """
        topic = CreatableTopic(
            name=name or f"test-{uuid4().hex[:12]}",
            num_partitions=partitions,
            replication_factor=_AS_MANY_AS_USUAL,
            configs=[CreatableTopicConfig(name=key, value=configs[key]) for key in configs],
        )
        request = CreateTopicsRequest(topics=[topic], timeout_ms=int(TIMEOUT_S * 1000))
        for _ in _attempts(f"topic {topic.name} was not created"):
            answer = self._ask(request, _CREATE_TOPICS_VERSION)
            if answer is not None and _is_done(answer.topics[0]):
                break
        for _ in _attempts(f"not every broker has heard of topic {topic.name} and its leaders"):
            if all(self._knows(address, topic.name) for address in self._addresses()):
                break
        return topic.name

    def leader_of(self, topic: str, partition: int) -> int:
        """Return the id of the broker that leads a partition, as soon as one does.

        Raises :exc:`TimeoutError` if none does, or there is no such partition.
        """
        for _ in _attempts(f"nobody leads partition {partition} of topic {topic}"):
            answer = self._ask(_metadata_of(topic), _METADATA_VERSION)
            for found in answer.topics[0].partitions if answer is not None else ():
                if found.partition_index == partition and not found.error_code:
                    return int(found.leader_id)
        raise AssertionError("attempts end with an error")

    def coordinator_of(self, group_id: str) -> int:
        """Return the id of the broker that coordinates a group; :exc:`TimeoutError`."""
        request = FindCoordinatorRequest(coordinator_keys=[group_id])
        for _ in _attempts(f"nobody coordinates group {group_id}"):
            answer = self._ask(request, _FIND_COORDINATOR_VERSION)
            if answer is not None and _is_done(answer.coordinators[0]):
                return int(answer.coordinators[0].node_id)
        raise AssertionError("attempts end with an error")

    def _ask(self, request: Message, version: int) -> Any:  # noqa: ANN401 -- any message
        """Return the first answer of a broker; ``None`` if none answers."""
        for address in self._addresses():
            try:
                return ask(address, request, version)
            except OSError:
                continue
        return None

    def _knows(self, address: Address, topic: str) -> bool:
        try:
            found = ask(address, _metadata_of(topic), _METADATA_VERSION).topics[0]
        except OSError:
            return False
        errors = (found.error_code, *(each.error_code for each in found.partitions))
        return bool(found.partitions) and not any(errors)


def ask(address: Address, request: Message, version: int) -> Any:  # noqa: ANN401 -- any message
    """Return a broker's answer; :exc:`OSError` if there is none within some seconds."""
    with socket.create_connection(address, timeout=REQUEST_TIMEOUT_S) as connection:
        parts = write_request_frame(request.API_KEY, version, 0, "ottla-testing", request)
        connection.sendall(b"".join(parts))
        (size,) = _SIZE.unpack(_receive(connection, _SIZE.size))
        frame = memoryview(_receive(connection, size))
    _, position = read_response_header(request.API_KEY, version, frame)
    return read_response(request.API_KEY, version, frame, position)


def _receive(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        if not chunk:
            raise ConnectionResetError("the broker closed the connection")
        received += chunk
    return received


def _metadata_of(topic: str) -> MetadataRequest:
    return MetadataRequest(
        topics=[MetadataRequestTopic(name=topic)], allow_auto_topic_creation=False
    )


def _is_done(result: Any) -> bool:  # noqa: ANN401 -- any structure with an error
    """Whether it went well; ``False`` if it may go well later."""
    if not result.error_code:
        return True
    kind = ERRORS_BY_CODE.get(result.error_code, OttlaError)
    if issubclass(kind, RetriableError):
        return False
    raise kind(result.error_message or error_name(result.error_code))


def _attempts(failure: str) -> Iterator[int]:
    """Count attempts, some time apart; :exc:`TimeoutError` when it has been long enough."""
    deadline_s = time.monotonic() + TIMEOUT_S
    attempt = 0
    while time.monotonic() < deadline_s:
        yield attempt
        attempt += 1
        time.sleep(INTERVAL_S)
    raise TimeoutError(f"{failure} within {TIMEOUT_S:.0f} s")
