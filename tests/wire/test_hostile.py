"""Whatever a frame holds, reading it gives a message or a MalformedError, soon, in little memory.

The cases are those by which other implementations were brought down, or to a halt.
"""

from __future__ import annotations

import contextlib
import gc
import time
import tracemalloc
from collections.abc import Iterator
from random import Random

import pytest

from ottla.model.limits import (
    REQUEST_BYTES_MAX,
    WIRE_CONTROL_FRAME_BYTES_MAX,
    WIRE_REQUEST_ELEMENTS_MAX,
)
from ottla.wire import codec
from ottla.wire.malformed import MalformedError
from ottla.wire.messages import fetch, metadata, produce
from ottla.wire.schema import Message
from tests.wire.mutations import mutated
from tests.wire.random_messages import all_requests, make

PRODUCE = 0
FETCH = 1
METADATA = 3
HEARTBEAT = 12
CREATE_TOPICS = 19

SECONDS_MAX = 0.05


def read(api_key: int, version: int, content: bytes) -> Message:
    return codec.read_request(api_key, version, memoryview(content), 0)


def refused(api_key: int, version: int, content: bytes) -> str:
    """Read what must be refused quickly; return why it was."""
    read_once(api_key, version)
    with pytest.raises(MalformedError) as caught, at_most(SECONDS_MAX):
        read(api_key, version, content)
    return str(caught.value)


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Check the CPU time of a block, without collections: they depend on what else is in memory."""
    gc.disable()
    started = time.process_time()
    try:
        yield
    finally:
        taken = time.process_time() - started
        gc.enable()
        assert taken < seconds


def read_once(api_key: int, version: int) -> None:
    """Let the reader be compiled, which is not what is measured."""
    with pytest.raises(MalformedError):
        read(api_key, version, b"")


def test_array_claims_more_elements_than_a_varint_of_32_bits_can_say() -> None:
    assert "more than 32 bits" in refused(METADATA, 12, b"\xff\xff\xff\xff\x7f\x00\x00\x00")


def test_compact_array_claims_billions_of_elements() -> None:
    assert "4294967294 elements" in refused(METADATA, 12, b"\xff\xff\xff\xff\x0f\x00\x00\x00")


@pytest.mark.parametrize("exponent", [28, 29, 30])
def test_array_claims_a_quarter_of_a_billion_elements_and_more(exponent: int) -> None:
    assert "elements" in refused(METADATA, 4, (2**exponent).to_bytes(4) + b"\0")


def test_array_of_numbers_claims_more_than_there_is() -> None:
    topic = b"\x02t" + b"\xff\xff\x03" + bytes(100)

    assert "65534 elements" in refused(9, 6, b"\x02g" + b"\x02" + topic)


def test_varint_goes_on_for_a_megabyte() -> None:
    assert "32 bits, or five bytes" in refused(METADATA, 12, b"\xff" * 2**20)


def test_unknown_tagged_field_is_stepped_over() -> None:
    request = metadata.MetadataRequest(topics=None)
    content = codec.write_message(request, 12)
    tags = b"\x02" + b"\x07\x03abc" + b"\x80\x01\x00"  # numbers 7 and 128

    assert content.endswith(b"\0")
    assert read(METADATA, 12, content[:-1] + tags) == request


def test_unknown_tagged_field_among_known_ones_is_stepped_over() -> None:
    request = fetch.FetchRequest(cluster_id="c")
    content = codec.write_message(request, 12)
    known = b"\x01\x00\x02\x02c"

    assert content.endswith(known)
    with_another = content.removesuffix(known) + b"\x02\x00\x02\x02c\x63\x04wxyz"
    assert read(FETCH, 12, with_another) == request


def test_every_structure_carries_an_unknown_tagged_field() -> None:
    count = WIRE_REQUEST_ELEMENTS_MAX // 2 - 1
    topic = b"\x01" + b"\x01\x63\x01x"  # an empty name and one tag
    content = count_of(count) + topic * count + b"\x00\x00\x00"
    read_once(METADATA, 9)

    with at_most(2 * SECONDS_MAX):
        read(METADATA, 9, content + b"\x00")


def count_of(count: int) -> bytes:
    """A compact count."""
    number = count + 1
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def test_one_structure_carries_a_million_unknown_tagged_fields() -> None:
    count = 500_000
    tags = count_of(count - 1) + b"\x63\x00" * count

    assert "more elements" in refused(METADATA, 12, b"\x01\x00\x00" + tags)


def test_tagged_field_claims_more_bytes_than_there_are() -> None:
    assert "100 bytes" in refused(METADATA, 12, b"\x01\x00\x00" + b"\x01\x63\x64ab")


def test_tagged_field_is_shorter_than_it_claims() -> None:
    content = codec.write_message(fetch.FetchRequest(cluster_id="c"), 12)
    longer = content.removesuffix(b"\x01\x00\x02\x02c") + b"\x01\x00\x03\x02cd"

    assert "3 bytes" in refused(FETCH, 12, longer)


@pytest.mark.parametrize("version", [3, 8, 9, 13])
def test_records_claim_to_go_on_behind_the_end_of_the_frame(version: int) -> None:
    partition = produce.PartitionProduceData(records=b"r" * 1000)
    request = produce.ProduceRequest(
        topic_data=[produce.TopicProduceData(name="t", partition_data=[partition])]
    )
    content = codec.write_message(request, version)

    assert "1000 bytes" in refused(PRODUCE, version, content[:-10])


@pytest.mark.parametrize("version", [0, 4])
def test_null_for_a_string_that_is_never_null(version: int) -> None:
    null = b"\xff\xff" if version == 0 else b"\x00"

    assert "group_id" in refused(HEARTBEAT, version, null + bytes(20))


@pytest.mark.parametrize("version", [4, 7])
def test_null_for_an_array_that_is_never_null(version: int) -> None:
    null = b"\xff\xff\xff\xff" if version == 4 else b"\x00"

    assert "topics" in refused(CREATE_TOPICS, version, null + bytes(20))


def test_array_has_fewer_than_no_elements() -> None:
    assert "-2 elements" in refused(METADATA, 4, b"\xff\xff\xff\xfe\x00")


def test_string_has_fewer_than_no_bytes() -> None:
    assert "-2 bytes" in refused(HEARTBEAT, 0, b"\xff\xfe" + bytes(20))


def test_string_is_longer_than_any_string_of_the_protocol() -> None:
    assert "32768 bytes" in refused(HEARTBEAT, 4, count_of(32_768) + b"x" * 40_000)


def test_string_is_not_utf_8() -> None:
    assert "not UTF-8" in refused(HEARTBEAT, 4, b"\x03\xff\xfe" + bytes(10))


def test_yes_or_no_is_neither() -> None:
    assert "allow_auto_topic_creation" in refused(METADATA, 4, b"\xff\xff\xff\xff\x02")


def test_structure_is_neither_there_nor_null() -> None:
    assert "cursor" in refused(75, 0, b"\x01\x00\x00\x07\xd0\x02\x01\x00")


def test_something_stands_behind_the_request_as_librdkafka_writes_it() -> None:
    request = metadata.MetadataRequest(topics=None)
    content = codec.write_message(request, 12)

    assert codec.read_request(METADATA, 12, memoryview(content + b"abc"), 0) == request


def test_frame_is_full_of_empty_structures() -> None:
    size = WIRE_CONTROL_FRAME_BYTES_MAX
    count = size // 2 - 10
    content = count_of(count) + b"\x01\x00" * count
    read_once(METADATA, 9)
    tracemalloc.start()

    assert "more elements" in refused(METADATA, 9, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size


def test_arrays_inside_arrays_share_one_budget() -> None:
    topics = 1_000
    partitions = WIRE_REQUEST_ELEMENTS_MAX // topics
    partition = bytes(4) + b"\x00\x00"
    topic = b"\x01" + count_of(partitions) + partition * partitions + b"\x00"
    content = b"\x00" + bytes(6) + count_of(topics) + topic * topics + b"\x00"
    assert len(content) < REQUEST_BYTES_MAX

    assert "more elements" in refused(PRODUCE, 9, content)


def test_request_with_as_many_elements_as_it_may_have_takes_no_longer_than_one_turn() -> None:
    count = WIRE_REQUEST_ELEMENTS_MAX
    content = count_of(count) + b"\x01\x00" * count + b"\x00\x00\x00\x00"
    read_once(METADATA, 9)

    with at_most(2 * SECONDS_MAX):
        request = read(METADATA, 9, content)

    assert isinstance(request, metadata.MetadataRequest)
    assert len(request.topics or ()) == count


def test_every_request_cut_short_anywhere_is_refused() -> None:
    random = Random(5)
    accepted = []
    for kind in all_requests():
        content = codec.write_message(make(kind, random), kind.version)
        for size in sorted({random.randrange(len(content)) for _ in range(4)} if content else ()):
            try:
                read(kind.message.API_KEY, kind.version, content[:size])
            except MalformedError:
                continue
            accepted.append(f"{kind} without its last {len(content) - size} bytes")

    assert accepted == []


def test_flipped_bytes_are_refused_or_mean_something_else() -> None:
    random = Random(6)
    for kind in all_requests():
        content = codec.write_message(make(kind, random), kind.version)
        read(kind.message.API_KEY, kind.version, content)  # compiles
        for _ in range(5):
            frame = mutated(content, random)
            with at_most(SECONDS_MAX), contextlib.suppress(MalformedError):
                read(kind.message.API_KEY, kind.version, frame)
