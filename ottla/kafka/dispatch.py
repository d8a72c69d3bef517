"""Which requests are served, and what stands between their bytes and their handlers.

The table is made once from the lists of the APIs. What a client is told of it by ``ApiVersions`` is
what is served, with one exception that Kafka makes as well (see
:class:`~ottla.kafka.handling.ServedApi`). A request that is not in it costs the connection, because
its sender could not read any answer. That is found out before the request is received.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable
from struct import Struct
from typing import Final

from ottla.kafka.framing import Frame
from ottla.kafka.handling import (
    Begun,
    Connection,
    DisconnectError,
    Message,
    RequestContext,
    ServedApi,
)
from ottla.kafka.instruments import ApiInstruments, KafkaInstruments
from ottla.model.limits import (
    KAFKA_ASSIGNMENT_REQUEST_BYTES_MAX,
    WIRE_CONTROL_FRAME_BYTES_MAX,
)
from ottla.runtime.files import Buffer
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import read_request
from ottla.wire.frames import read_request_header, write_response_frame
from ottla.wire.messages.catalogue import APIS

_CORRELATION_ID: Final = Struct(">i")
_CORRELATION_ID_POSITION: Final = 4

Outcome = Awaitable[Message | None] | Begun[Message]


class _Served:
    """One kind of request."""

    __slots__ = ("api", "bytes_max", "instruments", "name")

    def __init__(self, api: ServedApi, *, bytes_max: int, instruments: KafkaInstruments) -> None:
        self.api = api
        self.name = APIS[api.api_key].name
        self.bytes_max = bytes_max
        self.instruments: ApiInstruments = instruments.api(self.name)


class Request:
    """One request from its first byte to its answer."""

    __slots__ = ("_served", "_started", "_waited_s", "api_version", "correlation_id", "size")

    def __init__(self, served: _Served, api_version: int, size: int) -> None:
        self._served = served
        self._started = time.perf_counter()
        self._waited_s = 0.0
        self.api_version = api_version
        self.correlation_id = 0
        self.size = size
        """Bytes to give back when it is answered."""

    def leave_out(self, seconds: float) -> None:
        """See :attr:`~ottla.kafka.handling.RequestContext.leave_out`."""
        self._waited_s += seconds

    def answer(self, response: Message) -> list[Buffer]:
        """Return the response as it is sent, and count the request."""
        served = self._served
        parts = write_response_frame(
            served.api.api_key, self.api_version, self.correlation_id, response
        )
        self.finished(getattr(response, "error_code", 0))
        return parts

    def finished(self, error_code: int = 0) -> None:
        """Count the request."""
        seconds = time.perf_counter() - self._started - self._waited_s
        self._served.instruments.finished(error_code, max(0.0, seconds))

    def throttled(self, seconds: float) -> None:
        """Count for how long its client has to keep quiet."""
        self._served.instruments.throttled(seconds)

    def failed(self, error: str) -> None:
        """Count a request that gets no answer and costs the connection."""
        self._served.instruments.failed(error)

    def __str__(self) -> str:
        return f"{self._served.name} version {self.api_version}"


class Dispatch:
    """The table of one broker."""

    def __init__(
        self, apis: Iterable[ServedApi], *, request_bytes_max: int, instruments: KafkaInstruments
    ) -> None:
        """``request_bytes_max`` is that of requests that bring records."""
        limits = {
            ApiKey.PRODUCE: request_bytes_max,
            ApiKey.SYNC_GROUP: KAFKA_ASSIGNMENT_REQUEST_BYTES_MAX,
        }
        self._served: dict[int, _Served] = {}
        for api in apis:
            assert api.api_key not in self._served, api
            self._served[api.api_key] = _Served(
                api,
                bytes_max=min(
                    request_bytes_max, limits.get(api.api_key, WIRE_CONTROL_FRAME_BYTES_MAX)
                ),
                instruments=instruments,
            )
        assert ApiKey.API_VERSIONS in self._served, "nobody would find out what is served"

    def check(self, size: int, api_key: int, api_version: int) -> None:
        """Raise :exc:`DisconnectError` for a request that is not served, or not of this size."""
        served = self._served.get(api_key)
        if served is None:
            raise DisconnectError(f"requests with key {api_key} are not served")
        api = served.api
        if api_version < api.min_version or (
            # Whoever asks for the versions of the protocol may do so in a newer one (KIP-511).
            api_version > api.max_version and api_key != ApiKey.API_VERSIONS
        ):
            raise DisconnectError(
                f"{served.name} is served in versions {api.min_version} to {api.max_version}, not "
                f"{api_version}"
            )
        if size > served.bytes_max:
            raise DisconnectError(
                f"a request {served.name} of {size} bytes is larger than {served.bytes_max}"
            )

    def request(self, frame: Frame) -> Request:
        """Return the request of a frame that :meth:`check` let pass; nothing happens yet."""
        return Request(self._served[frame.api_key], frame.api_version, frame.size)

    def begin(self, request: Request, frame: Frame, connection: Connection) -> Outcome:
        """Have a request handled.

        Raises:
            MalformedError: the bytes are not this request; close the connection.
            DisconnectError: the handler says that the connection must be closed.
        """
        api = self._served[frame.api_key].api
        message: Message = None
        client_id = ""
        if frame.api_version > api.max_version:
            # Only ApiVersions, in a version that is not known; the answer is in the first one.
            request.api_version = 0
            (request.correlation_id,) = _CORRELATION_ID.unpack_from(
                frame.content, _CORRELATION_ID_POSITION
            )
        else:
            header, position = read_request_header(frame.content)
            request.correlation_id = header.correlation_id
            client_id = header.client_id
            message = read_request(frame.api_key, frame.api_version, frame.content, position)
        context = RequestContext(
            api_version=frame.api_version,
            client_id=client_id,
            connection=connection,
            leave_out=request.leave_out,
        )
        return api.handler(context, message)
