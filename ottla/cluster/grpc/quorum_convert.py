"""Frames of the quorum's links to protobuf and back, field by field.

What arrives comes from a broker, and may be damaged or of another version all the same: what
contradicts itself, has a negative number, or is of a kind that this version does not know raises
:exc:`InvalidRequestError`, and the link ends. Nothing that arrives is executed or unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from ottla.cluster.grpc.errors import to_message
from ottla.cluster.quorum_handshake import Hello
from ottla.cluster.quorum_link import Accepted, Frame, Refusal
from ottla.controller.raft.messages import (
    AppendRequest,
    AppendResponse,
    Entry,
    SnapshotChunk,
    SnapshotResponse,
    VoteRequest,
    VoteResponse,
)
from ottla.model.errors import InvalidRequestError, error_for
from ottla.model.ids import BrokerId, MetadataOffset
from ottla.v1 import quorum_pb2

ID_BYTES: Final = 16
"""Of a directory or an incarnation."""

NO_PEER: Final = -1
"""In a Hello whose sender does not know yet who called it."""


def frame_to_message(frame: Frame) -> quorum_pb2.QuorumFrame:
    """Return the protobuf form of a frame."""
    message = quorum_pb2.QuorumFrame()
    match frame:
        case AppendRequest():
            message.append_request.CopyFrom(_append_request_to_message(frame))
        case AppendResponse():
            message.append_response.term = frame.term
            message.append_response.accepted = frame.accepted
            message.append_response.next_index = frame.next_index
        case VoteRequest():
            message.vote_request.campaign_term = frame.campaign_term
            message.vote_request.last_log_index = frame.last_log_index
            message.vote_request.last_log_term = frame.last_log_term
            message.vote_request.pre_vote = frame.pre_vote
        case VoteResponse():
            message.vote_response.term = frame.term
            message.vote_response.campaign_term = frame.campaign_term
            message.vote_response.pre_vote = frame.pre_vote
            message.vote_response.granted = frame.granted
        case SnapshotChunk():
            message.snapshot_chunk.CopyFrom(_chunk_to_message(frame))
        case SnapshotResponse():
            message.snapshot_response.term = frame.term
            message.snapshot_response.checksum = frame.checksum
            message.snapshot_response.received_bytes = frame.received_bytes
        case Hello():
            message.hello.CopyFrom(_hello_to_message(frame))
        case Accepted():
            message.accepted.SetInParent()
        case Refusal(error):
            message.refusal.CopyFrom(to_message(error))
        case _:
            assert_never(frame)
    return message


def frame_from_message(message: quorum_pb2.QuorumFrame) -> Frame:
    """Return the frame that a protobuf message stands for.

    Raises :exc:`InvalidRequestError`.
    """
    kind = message.WhichOneof("kind")
    if kind not in _DECODERS:
        raise InvalidRequestError("a frame of the quorum is of no kind that this version knows")
    try:
        return _DECODERS[kind](message)
    except ValueError as error:
        raise InvalidRequestError(f"a frame of the quorum makes no sense: {error}") from error


# --- Handshake ------------------------------------------------------------------------------


def _hello_to_message(frame: Hello) -> quorum_pb2.QuorumHello:
    return quorum_pb2.QuorumHello(
        node_id=frame.node_id,
        peer_id=NO_PEER if frame.peer_id is None else frame.peer_id,
        cluster_id=frame.cluster_id,
        voters=sorted(frame.voters),
        directory_id=frame.directory_id,
        incarnation_id=frame.incarnation_id,
        known_directory_id=frame.known_directory_id,
        metadata_offset=frame.metadata_offset,
    )


def _hello(message: quorum_pb2.QuorumHello) -> Hello:
    voters = frozenset(map(_broker_id, message.voters))
    if sorted(voters) != list(message.voters) or not voters:
        raise ValueError(f"voters {list(message.voters)} are not in ascending order")
    for what in (message.directory_id, message.incarnation_id):
        if len(what) != ID_BYTES:
            raise ValueError(f"an id has {len(what)} bytes, not {ID_BYTES}")
    if len(message.known_directory_id) not in {0, ID_BYTES} or message.metadata_offset < 0:
        raise ValueError(f"what it says of its metadata makes no sense: {message}")
    return Hello(
        node_id=_broker_id(message.node_id),
        peer_id=None if message.peer_id == NO_PEER else _broker_id(message.peer_id),
        cluster_id=message.cluster_id,
        voters=voters,
        directory_id=message.directory_id,
        incarnation_id=message.incarnation_id,
        known_directory_id=message.known_directory_id,
        metadata_offset=MetadataOffset(message.metadata_offset),
    )


# --- Messages -------------------------------------------------------------------------------


def _append_request_to_message(frame: AppendRequest) -> quorum_pb2.AppendRequest:
    return quorum_pb2.AppendRequest(
        term=frame.term,
        previous_index=frame.previous_index,
        previous_term=frame.previous_term,
        entries=[
            quorum_pb2.AppendRequest.Entry(command=entry.command, term=entry.term)
            for entry in frame.entries
        ],
        commit_index=frame.commit_index,
    )


def _append_request(message: quorum_pb2.AppendRequest) -> AppendRequest:
    previous_index = _natural(message.previous_index)
    return AppendRequest(
        term=_natural(message.term),
        previous_index=previous_index,
        previous_term=_natural(message.previous_term),
        entries=tuple(
            Entry(entry.command, index, entry.term)
            for index, entry in enumerate(message.entries, previous_index + 1)
        ),
        commit_index=_natural(message.commit_index),
    )


def _append_response(message: quorum_pb2.AppendResponse) -> AppendResponse:
    return AppendResponse(
        term=_natural(message.term),
        accepted=message.accepted,
        next_index=_natural(message.next_index),
    )


def _vote_request(message: quorum_pb2.VoteRequest) -> VoteRequest:
    return VoteRequest(
        campaign_term=_natural(message.campaign_term),
        last_log_index=_natural(message.last_log_index),
        last_log_term=_natural(message.last_log_term),
        pre_vote=message.pre_vote,
    )


def _vote_response(message: quorum_pb2.VoteResponse) -> VoteResponse:
    return VoteResponse(
        term=_natural(message.term),
        campaign_term=_natural(message.campaign_term),
        pre_vote=message.pre_vote,
        granted=message.granted,
    )


def _chunk_to_message(frame: SnapshotChunk) -> quorum_pb2.SnapshotChunk:
    return quorum_pb2.SnapshotChunk(
        term=frame.term,
        index=frame.index,
        index_term=frame.index_term,
        checksum=frame.checksum,
        offset=frame.offset,
        total_bytes=frame.total_bytes,
        data=frame.data,
    )


def _chunk(message: quorum_pb2.SnapshotChunk) -> SnapshotChunk:
    return SnapshotChunk(
        term=_natural(message.term),
        index=_natural(message.index),
        index_term=_natural(message.index_term),
        checksum=message.checksum,
        offset=_natural(message.offset),
        total_bytes=_natural(message.total_bytes),
        data=message.data,
    )


def _snapshot_response(message: quorum_pb2.SnapshotResponse) -> SnapshotResponse:
    return SnapshotResponse(
        term=_natural(message.term),
        checksum=message.checksum,
        received_bytes=_natural(message.received_bytes),
    )


def _natural(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number


def _broker_id(number: int) -> BrokerId:
    return BrokerId(_natural(number))


_DECODERS: Final[Mapping[str | None, Callable[[quorum_pb2.QuorumFrame], Frame]]] = {
    "append_request": lambda message: _append_request(message.append_request),
    "append_response": lambda message: _append_response(message.append_response),
    "vote_request": lambda message: _vote_request(message.vote_request),
    "vote_response": lambda message: _vote_response(message.vote_response),
    "snapshot_chunk": lambda message: _chunk(message.snapshot_chunk),
    "snapshot_response": lambda message: _snapshot_response(message.snapshot_response),
    "hello": lambda message: _hello(message.hello),
    "accepted": lambda _: Accepted(),
    "refusal": lambda message: Refusal(error_for(message.refusal.code, message.refusal.message)),
}
