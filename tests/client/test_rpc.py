"""What a failed call means: the broker's own words where there are any, else what gRPC saw."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import status_pb2

from ottla.client.addresses import Address
from ottla.client.errors import AccessDeniedError, BrokerUnavailableError
from ottla.client.rpc import error_from_status
from ottla.model.errors import (
    InvalidRequestError,
    MessageTooLargeError,
    OttlaError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
    UnsupportedVersionError,
)
from ottla.v1 import types_pb2

HERE = Address("broker", 7092)


def failed(code: grpc.StatusCode, trailer: bytes | None = None) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata()
    if trailer is not None:
        trailing.add("grpc-status-details-bin", trailer)
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), trailing, details="went wrong", debug_error_string=""
    )


def details(error: types_pb2.Error) -> bytes:
    packed = any_pb2.Any()
    packed.Pack(error)
    return bytes(status_pb2.Status(code=8, message="no", details=[packed]).SerializeToString())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, BrokerUnavailableError),
        (grpc.StatusCode.CANCELLED, BrokerUnavailableError),
        (grpc.StatusCode.INTERNAL, BrokerUnavailableError),
        (grpc.StatusCode.UNKNOWN, BrokerUnavailableError),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, MessageTooLargeError),
        (grpc.StatusCode.UNIMPLEMENTED, UnsupportedVersionError),
        (grpc.StatusCode.UNAUTHENTICATED, AccessDeniedError),
        (grpc.StatusCode.PERMISSION_DENIED, AccessDeniedError),
    ],
)
def test_status_that_grpc_made_up_names_the_broker(
    code: grpc.StatusCode, expected: type[OttlaError]
) -> None:
    error = error_from_status(failed(code), HERE)

    assert (type(error), str(error)) == (expected, "broker:7092: went wrong")


def test_time_that_ran_out_says_that_the_outcome_is_not_known() -> None:
    error = error_from_status(failed(grpc.StatusCode.DEADLINE_EXCEEDED), HERE)

    assert isinstance(error, RequestTimedOutError)
    assert "broker:7092 did not answer in time, and may still do" in str(error)


def test_words_of_the_broker_outweigh_the_status() -> None:
    trailer = details(types_pb2.Error(code="THROTTLING_QUOTA_EXCEEDED", message="later"))

    error = error_from_status(failed(grpc.StatusCode.RESOURCE_EXHAUSTED, trailer), HERE)

    assert (type(error), str(error)) == (ThrottlingQuotaExceededError, "later")


@pytest.mark.parametrize("trailer", [b"", b"\xff\xff", status_pb2.Status().SerializeToString()])
def test_details_that_say_nothing_are_passed_over(trailer: bytes) -> None:
    error = error_from_status(failed(grpc.StatusCode.UNAVAILABLE, trailer), HERE)

    assert type(error) is BrokerUnavailableError
