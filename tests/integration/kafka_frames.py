"""A client of Kafka's protocol that says and reads one frame at a time."""

from __future__ import annotations

import socket
import struct
from typing import Any, Self

from ottla.testing.broker_process import BrokerProcess
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import read_response
from ottla.wire.frames import read_response_header, write_request_frame
from ottla.wire.schema import Message

_SIZE = struct.Struct(">i")


class KafkaConnection:
    """One connection; answers must come in the order of the requests."""

    def __init__(self, broker: BrokerProcess, *, timeout_s: float = 20) -> None:
        address = ("127.0.0.1", broker.kafka_port)
        self._socket = socket.create_connection(address, timeout=timeout_s)
        self._asked = 0
        self._expected: list[tuple[int, ApiKey, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, api_key: ApiKey, version: int, request: Message, *, silent: bool = False) -> None:
        """Send a request; with ``silent`` no answer is expected."""
        self._asked += 1
        if not silent:
            self._expected.append((self._asked, api_key, version))
        self._socket.sendall(
            b"".join(write_request_frame(api_key, version, self._asked, "test", request))
        )

    def hear(self) -> Any:
        """Return the next answer."""
        number, api_key, version = self._expected.pop(0)
        (size,) = _SIZE.unpack(self._exactly(_SIZE.size))
        frame = memoryview(self._exactly(size))
        correlation_id, position = read_response_header(api_key, version, frame)
        assert correlation_id == number
        return read_response(api_key, version, frame, position)

    def ask(self, api_key: ApiKey, version: int, request: Message) -> Any:
        """Send a request and return its answer."""
        self.say(api_key, version, request)
        return self.hear()

    def is_closed(self) -> bool:
        """Wait until the broker says something; whether that is the end of the connection."""
        return not self._socket.recv(1)

    def _exactly(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            piece = self._socket.recv(size - len(content))
            assert piece, "the broker closed the connection"
            content += piece
        return bytes(content)
