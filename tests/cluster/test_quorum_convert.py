"""What one node of the quorum says is what the other hears; what makes no sense is refused."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ottla.cluster.grpc.quorum_convert import frame_from_message, frame_to_message
from ottla.cluster.quorum_handshake import Hello
from ottla.cluster.quorum_link import Accepted, Frame, Refusal
from ottla.controller.raft.journal import ENTRY_OVERHEAD_BYTES
from ottla.controller.raft.messages import (
    AppendRequest,
    AppendResponse,
    Entry,
    SnapshotChunk,
    SnapshotResponse,
    VoteRequest,
    VoteResponse,
)
from ottla.controller.raft.settings import RaftSettings
from ottla.model.errors import InconsistentVoterSetError, InvalidRequestError
from ottla.model.ids import BrokerId
from ottla.model.limits import REQUEST_BYTES_MAX
from ottla.v1 import quorum_pb2

NUMBERS = st.integers(0, 2**63 - 1)
IDS = st.integers(0, 2**31 - 1).map(BrokerId)
SIXTEEN = st.binary(min_size=16, max_size=16)


@st.composite
def appends(draw: st.DrawFn) -> AppendRequest:
    previous_index = draw(st.integers(0, 2**62))
    terms = sorted(draw(st.lists(NUMBERS, min_size=2, max_size=8)))
    entries = tuple(
        Entry(draw(st.binary(min_size=1, max_size=40)), index, term)
        for index, term in enumerate(terms[1:-1], previous_index + 1)
    )
    return AppendRequest(
        term=terms[-1],
        previous_index=previous_index,
        previous_term=terms[0],
        entries=entries,
        commit_index=draw(NUMBERS),
    )


@st.composite
def chunks(draw: st.DrawFn) -> SnapshotChunk:
    data, offset, rest = draw(st.binary(max_size=64)), draw(st.integers(0, 2**40)), draw(IDS)
    return SnapshotChunk(
        term=draw(NUMBERS),
        index=draw(NUMBERS),
        index_term=draw(NUMBERS),
        checksum=draw(st.binary(max_size=32)),
        offset=offset,
        total_bytes=offset + len(data) + rest,
        data=data,
    )


FRAMES: st.SearchStrategy[Frame] = st.one_of(
    appends(),
    chunks(),
    st.builds(AppendResponse, term=NUMBERS, accepted=st.booleans(), next_index=NUMBERS),
    st.builds(SnapshotResponse, term=NUMBERS, checksum=st.binary(), received_bytes=NUMBERS),
    st.builds(
        VoteRequest,
        campaign_term=NUMBERS,
        last_log_index=NUMBERS,
        last_log_term=NUMBERS,
        pre_vote=st.booleans(),
    ),
    st.builds(
        VoteResponse,
        term=NUMBERS,
        campaign_term=NUMBERS,
        pre_vote=st.booleans(),
        granted=st.booleans(),
    ),
    st.builds(
        Hello,
        node_id=IDS,
        peer_id=st.none() | IDS,
        cluster_id=st.text(max_size=30),
        voters=st.frozensets(IDS, min_size=1, max_size=5),
        directory_id=SIXTEEN,
        incarnation_id=SIXTEEN,
    ),
    st.just(Accepted()),
)


def over_the_wire(frame: Frame) -> Frame:
    content = frame_to_message(frame).SerializeToString()
    return frame_from_message(quorum_pb2.QuorumFrame.FromString(content))


@given(FRAMES)
def test_frame_arrives_as_it_was_sent(frame: Frame) -> None:
    assert over_the_wire(frame) == frame


def test_refusal_arrives_as_the_same_error() -> None:
    arrived = over_the_wire(Refusal(InconsistentVoterSetError("voter 1 has lost its memory")))

    assert isinstance(arrived, Refusal)
    assert type(arrived.error) is InconsistentVoterSetError
    assert str(arrived.error) == "voter 1 has lost its memory"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_typed_error(content: bytes) -> None:
    decode(content)


@given(FRAMES, st.data())
def test_damaged_frame_is_a_frame_or_a_typed_error(frame: Frame, data: st.DataObject) -> None:
    content = bytearray(frame_to_message(frame).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    decode(bytes(content))


def decode(content: bytes) -> None:
    """Decode as the links do; anything but a frame or one of these errors is raised."""
    try:
        message = quorum_pb2.QuorumFrame.FromString(content)
    except DecodeError:
        return
    try:
        frame = frame_from_message(message)
    except InvalidRequestError:
        return
    assert frame is not None


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(quorum_pb2.QuorumFrame(), id="unset"),
        pytest.param(
            quorum_pb2.QuorumFrame(append_response=quorum_pb2.AppendResponse(next_index=-1)),
            id="negative",
        ),
        pytest.param(
            quorum_pb2.QuorumFrame(
                append_request=quorum_pb2.AppendRequest(
                    term=1,
                    entries=[quorum_pb2.AppendRequest.Entry(command=b"\x00", term=2)],
                )
            ),
            id="term beyond the leader's",
        ),
        pytest.param(
            quorum_pb2.QuorumFrame(
                snapshot_chunk=quorum_pb2.SnapshotChunk(total_bytes=1, data=b"ab")
            ),
            id="part outside its snapshot",
        ),
        pytest.param(
            quorum_pb2.QuorumFrame(
                hello=quorum_pb2.QuorumHello(
                    voters=[1, 1], directory_id=bytes(16), incarnation_id=bytes(16)
                )
            ),
            id="voter twice",
        ),
        pytest.param(
            quorum_pb2.QuorumFrame(
                hello=quorum_pb2.QuorumHello(
                    voters=[1], directory_id=bytes(15), incarnation_id=bytes(16)
                )
            ),
            id="short id",
        ),
    ],
)
def test_frame_that_makes_no_sense_is_refused(message: quorum_pb2.QuorumFrame) -> None:
    with pytest.raises(InvalidRequestError, match="a frame of the quorum"):
        frame_from_message(message)


# --- Sizes ------------------------------------------------------------------------------------


def test_largest_append_fits_into_a_grpc_message() -> None:
    settings = RaftSettings()
    largest_number = 2**62
    entries_max = settings.append_bytes_max // (ENTRY_OVERHEAD_BYTES + 1)
    many_small = frame_to_message(
        AppendRequest(
            term=largest_number,
            previous_index=largest_number,
            previous_term=largest_number,
            entries=tuple(
                Entry(b"\x01", largest_number + 1 + position, largest_number)
                for position in range(entries_max)
            ),
            commit_index=largest_number,
        )
    )

    assert many_small.ByteSize() < REQUEST_BYTES_MAX
    assert settings.append_bytes_max + settings.entry_bytes_max < REQUEST_BYTES_MAX
    assert settings.snapshot_chunk_bytes < REQUEST_BYTES_MAX // 2
