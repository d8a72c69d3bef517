from ottla.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class QuorumFrame(_message.Message):
    __slots__ = ("hello", "vote_request", "vote_response", "append_request", "append_response", "snapshot_chunk", "snapshot_response", "refusal", "accepted")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    VOTE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    VOTE_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    APPEND_REQUEST_FIELD_NUMBER: _ClassVar[int]
    APPEND_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    hello: QuorumHello
    vote_request: VoteRequest
    vote_response: VoteResponse
    append_request: AppendRequest
    append_response: AppendResponse
    snapshot_chunk: SnapshotChunk
    snapshot_response: SnapshotResponse
    refusal: _types_pb2.Error
    accepted: QuorumAccepted
    def __init__(self, hello: _Optional[_Union[QuorumHello, _Mapping]] = ..., vote_request: _Optional[_Union[VoteRequest, _Mapping]] = ..., vote_response: _Optional[_Union[VoteResponse, _Mapping]] = ..., append_request: _Optional[_Union[AppendRequest, _Mapping]] = ..., append_response: _Optional[_Union[AppendResponse, _Mapping]] = ..., snapshot_chunk: _Optional[_Union[SnapshotChunk, _Mapping]] = ..., snapshot_response: _Optional[_Union[SnapshotResponse, _Mapping]] = ..., refusal: _Optional[_Union[_types_pb2.Error, _Mapping]] = ..., accepted: _Optional[_Union[QuorumAccepted, _Mapping]] = ...) -> None: ...

class QuorumAccepted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QuorumHello(_message.Message):
    __slots__ = ("node_id", "peer_id", "cluster_id", "voters", "directory_id", "incarnation_id", "known_directory_id", "metadata_offset")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    PEER_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWN_DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    peer_id: int
    cluster_id: str
    voters: _containers.RepeatedScalarFieldContainer[int]
    directory_id: bytes
    incarnation_id: bytes
    known_directory_id: bytes
    metadata_offset: int
    def __init__(self, node_id: _Optional[int] = ..., peer_id: _Optional[int] = ..., cluster_id: _Optional[str] = ..., voters: _Optional[_Iterable[int]] = ..., directory_id: _Optional[bytes] = ..., incarnation_id: _Optional[bytes] = ..., known_directory_id: _Optional[bytes] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class VoteRequest(_message.Message):
    __slots__ = ("campaign_term", "last_log_index", "last_log_term", "pre_vote")
    CAMPAIGN_TERM_FIELD_NUMBER: _ClassVar[int]
    LAST_LOG_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_LOG_TERM_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    campaign_term: int
    last_log_index: int
    last_log_term: int
    pre_vote: bool
    def __init__(self, campaign_term: _Optional[int] = ..., last_log_index: _Optional[int] = ..., last_log_term: _Optional[int] = ..., pre_vote: _Optional[bool] = ...) -> None: ...

class VoteResponse(_message.Message):
    __slots__ = ("term", "campaign_term", "pre_vote", "granted")
    TERM_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_TERM_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    term: int
    campaign_term: int
    pre_vote: bool
    granted: bool
    def __init__(self, term: _Optional[int] = ..., campaign_term: _Optional[int] = ..., pre_vote: _Optional[bool] = ..., granted: _Optional[bool] = ...) -> None: ...

class AppendRequest(_message.Message):
    __slots__ = ("term", "previous_index", "previous_term", "entries", "commit_index")
    class Entry(_message.Message):
        __slots__ = ("command", "term")
        COMMAND_FIELD_NUMBER: _ClassVar[int]
        TERM_FIELD_NUMBER: _ClassVar[int]
        command: bytes
        term: int
        def __init__(self, command: _Optional[bytes] = ..., term: _Optional[int] = ...) -> None: ...
    TERM_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_INDEX_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_TERM_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_INDEX_FIELD_NUMBER: _ClassVar[int]
    term: int
    previous_index: int
    previous_term: int
    entries: _containers.RepeatedCompositeFieldContainer[AppendRequest.Entry]
    commit_index: int
    def __init__(self, term: _Optional[int] = ..., previous_index: _Optional[int] = ..., previous_term: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[AppendRequest.Entry, _Mapping]]] = ..., commit_index: _Optional[int] = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("term", "accepted", "next_index")
    TERM_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    term: int
    accepted: bool
    next_index: int
    def __init__(self, term: _Optional[int] = ..., accepted: _Optional[bool] = ..., next_index: _Optional[int] = ...) -> None: ...

class SnapshotChunk(_message.Message):
    __slots__ = ("term", "index", "index_term", "checksum", "offset", "total_bytes", "data")
    TERM_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    INDEX_TERM_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    term: int
    index: int
    index_term: int
    checksum: bytes
    offset: int
    total_bytes: int
    data: bytes
    def __init__(self, term: _Optional[int] = ..., index: _Optional[int] = ..., index_term: _Optional[int] = ..., checksum: _Optional[bytes] = ..., offset: _Optional[int] = ..., total_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class SnapshotResponse(_message.Message):
    __slots__ = ("term", "checksum", "received_bytes")
    TERM_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    term: int
    checksum: bytes
    received_bytes: int
    def __init__(self, term: _Optional[int] = ..., checksum: _Optional[bytes] = ..., received_bytes: _Optional[int] = ...) -> None: ...
