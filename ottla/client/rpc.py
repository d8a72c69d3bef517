"""One call to one broker, and what its failure means.

A request that fails as a whole ends with a gRPC status. If the broker itself said so, the
status carries an ``ottla.v1.Error`` in its details and becomes the class that has that code.
Otherwise gRPC made the status up -- nobody listens, the connection broke, time ran out -- and the
table below says what that means to a caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from ottla.client.addresses import Address
from ottla.client.errors import AccessDeniedError, BrokerUnavailableError
from ottla.model.errors import (
    InvalidRequestError,
    MessageTooLargeError,
    OttlaError,
    RequestTimedOutError,
    UnsupportedVersionError,
    error_for,
)
from ottla.v1 import types_pb2

Request = TypeVar("Request")
Response = TypeVar("Response")

_DETAILS_KEY: Final = "grpc-status-details-bin"

_ERRORS_BY_STATUS: Final[dict[grpc.StatusCode, type[OttlaError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: MessageTooLargeError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedVersionError,
    grpc.StatusCode.UNAUTHENTICATED: AccessDeniedError,
    grpc.StatusCode.PERMISSION_DENIED: AccessDeniedError,
}
"""Everything else -- UNAVAILABLE, CANCELLED, ABORTED, INTERNAL, UNKNOWN, DATA_LOSS -- is what a
connection or a broker that dies in the middle of a call may look like: BrokerUnavailableError."""


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    *,
    address: Address,
    timeout_ms: float,
) -> Response:
    """Make one call; raise the :exc:`OttlaError` that its failure amounts to."""
    try:
        return await method(request, timeout=max(0.001, timeout_ms / 1000))
    except grpc.aio.AioRpcError as error:
        raise error_from_status(error, address) from error


def error_from_status(error: grpc.aio.AioRpcError, address: Address) -> OttlaError:
    """Return the error that a call to ``address`` ended with."""
    described = _described_by_broker(error.trailing_metadata() or ())
    if described is not None:
        return described
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return RequestTimedOutError(
            f"{address} did not answer in time, and may still do what it was asked; "
            "it hangs, or waits for a broker that does"
        )
    kind = _ERRORS_BY_STATUS.get(error.code(), BrokerUnavailableError)
    return kind(f"{address}: {error.details() or error.code().name}")


def error_from_message(error: types_pb2.Error) -> OttlaError:
    """Return what a broker reported about one part of a request."""
    return error_for(error.code, error.message)


def _described_by_broker(trailer: Iterable[Any]) -> OttlaError | None:
    # Pairs of a key and, for "-bin" keys, bytes; gRPC's types say less than that.
    for key, value in trailer:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return _first_error(value)
            except DecodeError:
                # A proxy's, perhaps. The status itself still says something.
                return None
    return None


def _first_error(details: bytes) -> OttlaError | None:
    for detail in status_pb2.Status.FromString(details).details:
        if detail.Is(types_pb2.Error.DESCRIPTOR):
            return error_from_message(types_pb2.Error.FromString(detail.value))
    return None
