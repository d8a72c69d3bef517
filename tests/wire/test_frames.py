"""A frame is a size, a header of the right version and a message, and a wrong one is told apart."""

from __future__ import annotations

import pytest

from ottla.model.errors import OttlaError, UnsupportedVersionError
from ottla.wire import frames
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import read_request, read_response, response_class
from ottla.wire.frames import RequestHeader, UnsupportedRequestError
from ottla.wire.malformed import MalformedError
from ottla.wire.messages import api_versions, fetch, heartbeat
from ottla.wire.messages.catalogue import APIS


def frame(*parts: bytes) -> memoryview:
    return memoryview(b"".join(parts))


HEARTBEAT_3 = b"\x00\x0c" + b"\x00\x03" + b"\x00\x00\x00\x07"
HEARTBEAT_4 = b"\x00\x0c" + b"\x00\x04" + b"\x00\x00\x00\x07"


def test_header_before_flexible_versions_ends_with_the_clients_name() -> None:
    header, body = frames.read_request_header(frame(HEARTBEAT_3, b"\x00\x03abc", b"body"))

    assert header == RequestHeader(12, 3, 7, "abc")
    assert body == 13


def test_header_of_flexible_versions_has_tagged_fields_which_are_stepped_over() -> None:
    tags = b"\x01\x05\x02xy"
    _, without = frames.read_request_header(frame(HEARTBEAT_4, b"\x00\x03abc", b"\x00", b"body"))
    _, with_one = frames.read_request_header(frame(HEARTBEAT_4, b"\x00\x03abc", tags, b"body"))

    assert (without, with_one) == (14, 18)


def test_client_without_a_name_has_an_empty_one() -> None:
    header, body = frames.read_request_header(frame(HEARTBEAT_4, b"\xff\xff", b"\x00"))

    assert (header.client_id, body) == ("", 11)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(HEARTBEAT_3[:5], id="half a header"),
        pytest.param(HEARTBEAT_3 + b"\x00\x04abc", id="half a name"),
        pytest.param(HEARTBEAT_3 + b"\xff\xfeabc", id="a name of -2 bytes"),
        pytest.param(HEARTBEAT_3 + b"\x00\x02\xff\xfe", id="a name that is not UTF-8"),
        pytest.param(HEARTBEAT_4 + b"\x00\x03abc", id="no tagged fields"),
        pytest.param(HEARTBEAT_4 + b"\x00\x03abc\x01\x05\x09xy", id="a tagged field too long"),
    ],
)
def test_header_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedError):
        frames.read_request_header(memoryview(content))


@pytest.mark.parametrize(
    ("api_key", "version"),
    [
        pytest.param(4, 0, id="a request that clients do not send"),
        pytest.param(999, 0, id="a request that does not exist"),
        pytest.param(-1, 0, id="a negative request"),
        pytest.param(12, 5, id="a version that is too new"),
        pytest.param(1, 3, id="a version that is too old"),
        pytest.param(18, -1, id="a negative version"),
    ],
)
def test_unknown_request_is_told_apart_and_says_who_asked(api_key: int, version: int) -> None:
    start = api_key.to_bytes(2, signed=True) + version.to_bytes(2, signed=True)

    with pytest.raises(UnsupportedRequestError) as caught:
        frames.read_request_header(frame(start, b"\x00\x00\x00\x09", b"\x00\x01x", b"rest"))

    assert caught.value.header == RequestHeader(api_key, version, 9, "x")
    assert isinstance(caught.value, UnsupportedVersionError)
    assert caught.value.code == 35


def test_malformed_error_is_one_that_a_client_can_be_told() -> None:
    assert issubclass(MalformedError, OttlaError)
    assert MalformedError.code == 42


def test_response_has_size_correlation_id_and_body() -> None:
    parts = frames.write_response_frame(12, 3, 7, heartbeat.HeartbeatResponse(error_code=25))

    assert b"".join(parts) == b"\x00\x00\x00\x0a" + b"\x00\x00\x00\x07" + bytes(4) + b"\x00\x19"


def test_response_of_a_flexible_version_has_tagged_fields_behind_the_correlation_id() -> None:
    parts = frames.write_response_frame(12, 4, 7, heartbeat.HeartbeatResponse(error_code=25))

    content = b"\x00\x00\x00\x07" + b"\x00" + bytes(4) + b"\x00\x19" + b"\x00"
    assert b"".join(parts) == b"\x00\x00\x00\x0c" + content


@pytest.mark.parametrize("version", range(5))
def test_answer_to_api_versions_never_has_tagged_fields_in_its_header(version: int) -> None:
    response = api_versions.ApiVersionsResponse(error_code=35)
    content = b"".join(frames.write_response_frame(ApiKey.API_VERSIONS, version, 7, response))

    assert content[4:10] == b"\x00\x00\x00\x07" + b"\x00\x23"


def test_size_counts_records_that_are_handed_on() -> None:
    records = memoryview(bytes(100_000))
    topic = fetch.FetchableTopicResponse(partitions=[fetch.PartitionData(records=records)])
    parts = frames.write_response_frame(1, 12, 7, fetch.FetchResponse(responses=[topic]))

    assert any(part is records for part in parts)
    assert int.from_bytes(parts[0][:4]) == sum(map(len, parts)) - 4


def test_what_a_client_sends_is_read_with_its_header() -> None:
    request = heartbeat.HeartbeatRequest(group_id="g", generation_id=2, member_id="m")
    for version in range(5):
        parts = frames.write_request_frame(12, version, 3, "me", request)
        content = memoryview(b"".join(parts))

        assert int.from_bytes(content[:4]) == len(content) - 4
        header, body = frames.read_request_header(content[4:])
        assert header == RequestHeader(12, version, 3, "me")
        assert read_request(12, version, content[4:], body) == request


@pytest.mark.parametrize(("api_key", "version"), [(12, 3), (12, 4), (18, 0), (18, 4)])
def test_what_a_broker_sends_is_read_with_its_header(api_key: int, version: int) -> None:
    response = response_class(api_key)()
    content = b"".join(frames.write_response_frame(api_key, version, 7, response))
    correlation_id, body = frames.read_response_header(api_key, version, memoryview(content)[4:])

    assert correlation_id == 7
    assert read_response(api_key, version, memoryview(content)[4:], body) == response


def test_every_request_has_a_name() -> None:
    assert {key.value for key in ApiKey} == APIS.keys()
    assert {key.value: key.name.lower() for key in ApiKey} == {
        key: api.module for key, api in APIS.items()
    }
