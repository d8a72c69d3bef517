"""What a caller is told when something went wrong.

A failed *part* of a request is an ``ottla.v1.Error`` in the answer. A failed *request* is a gRPC
status, with the same ``Error`` as a detail (``google.rpc.Status`` in the trailer
``grpc-status-details-bin``).

What nobody foresaw is an *incident*: it is logged with its traceback under a number, and the caller
is told that number and nothing else. Such an exception came out of a request, before or while it
was answered; it says nothing about the state of the log, whose own invariants are assertions that
stop the broker.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any, Final, NoReturn, cast

import grpc

from ottla.model.errors import OttlaError
from ottla.v1 import types_pb2

DETAILS_TRAILER: Final = "grpc-status-details-bin"

MESSAGE_CHARACTERS_MAX: Final = 500
"""Of one error. A status is sent as headers, all of which together have 8 KiB, and says it twice;
a character may take three bytes."""

Context = grpc.aio.ServicerContext[Any, Any]

_LOGGER = logging.getLogger(__name__)


def to_message(error: OttlaError) -> types_pb2.Error:
    """Describe a failed part of a request."""
    return types_pb2.Error(
        code=cast("types_pb2.Error.Code", error.code),
        message=_shortened(str(error)),
        retriable=error.retriable,
    )


async def abort(context: Context, error: OttlaError) -> NoReturn:
    """End the call with the status of ``error`` and its details."""
    # Imported when it is needed: most brokers never get here, and all of them want to start fast.
    from google.protobuf import any_pb2  # noqa: PLC0415
    from google.rpc import status_pb2  # noqa: PLC0415

    code = grpc.StatusCode[error.status]
    message = to_message(error)
    detail = any_pb2.Any()
    detail.Pack(message)
    status = status_pb2.Status(code=code.value[0], message=message.message, details=[detail])
    await context.abort(
        code, message.message, trailing_metadata=((DETAILS_TRAILER, status.SerializeToString()),)
    )


async def abort_incident(context: Context, method: str, error: Exception) -> NoReturn:
    """End the call because of a bug, and log what it was."""
    incident = uuid.uuid4().hex[:12]
    _LOGGER.error("request_failed method=%s incident=%s", method, incident, exc_info=error)
    await abort(
        context,
        OttlaError(f"the broker failed to answer; its log says more under incident {incident}"),
    )


def _shortened(message: str) -> str:
    """Cut a message that repeats something long which a client sent."""
    if len(message) <= MESSAGE_CHARACTERS_MAX:
        return message
    return f"{message[:MESSAGE_CHARACTERS_MAX]}... ({len(message)} characters)"
