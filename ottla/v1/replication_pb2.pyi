from ottla.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FollowRequest(_message.Message):
    __slots__ = ("identity", "begin", "end", "acknowledgements", "credit_bytes", "alive", "catch_up_bytes_per_second")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    CATCH_UP_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    identity: FollowerIdentity
    begin: _containers.RepeatedCompositeFieldContainer[FollowPartition]
    end: _containers.RepeatedScalarFieldContainer[int]
    acknowledgements: _containers.RepeatedCompositeFieldContainer[FollowAcknowledgement]
    credit_bytes: int
    alive: bool
    catch_up_bytes_per_second: int
    def __init__(self, identity: _Optional[_Union[FollowerIdentity, _Mapping]] = ..., begin: _Optional[_Iterable[_Union[FollowPartition, _Mapping]]] = ..., end: _Optional[_Iterable[int]] = ..., acknowledgements: _Optional[_Iterable[_Union[FollowAcknowledgement, _Mapping]]] = ..., credit_bytes: _Optional[int] = ..., alive: _Optional[bool] = ..., catch_up_bytes_per_second: _Optional[int] = ...) -> None: ...

class FollowerIdentity(_message.Message):
    __slots__ = ("cluster_id", "broker_id", "broker_epoch")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    broker_id: int
    broker_epoch: int
    def __init__(self, cluster_id: _Optional[str] = ..., broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ...) -> None: ...

class FollowPartition(_message.Message):
    __slots__ = ("handle", "generation", "topic_id", "partition", "leader_epoch", "fetch_offset", "last_fetched_epoch", "durable_end_offset", "catching_up")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FETCH_OFFSET_FIELD_NUMBER: _ClassVar[int]
    LAST_FETCHED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    DURABLE_END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CATCHING_UP_FIELD_NUMBER: _ClassVar[int]
    handle: int
    generation: int
    topic_id: bytes
    partition: int
    leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    durable_end_offset: int
    catching_up: bool
    def __init__(self, handle: _Optional[int] = ..., generation: _Optional[int] = ..., topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., fetch_offset: _Optional[int] = ..., last_fetched_epoch: _Optional[int] = ..., durable_end_offset: _Optional[int] = ..., catching_up: _Optional[bool] = ...) -> None: ...

class FollowAcknowledgement(_message.Message):
    __slots__ = ("handle", "generation", "end_offset")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    handle: int
    generation: int
    end_offset: int
    def __init__(self, handle: _Optional[int] = ..., generation: _Optional[int] = ..., end_offset: _Optional[int] = ...) -> None: ...

class FollowResponse(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedCompositeFieldContainer[FollowedPartition]
    def __init__(self, partitions: _Optional[_Iterable[_Union[FollowedPartition, _Mapping]]] = ...) -> None: ...

class FollowedPartition(_message.Message):
    __slots__ = ("handle", "generation", "error", "diverging", "records", "high_watermark", "log_start_offset")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DIVERGING_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATERMARK_FIELD_NUMBER: _ClassVar[int]
    LOG_START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    handle: int
    generation: int
    error: _types_pb2.Error
    diverging: DivergingEpoch
    records: bytes
    high_watermark: int
    log_start_offset: int
    def __init__(self, handle: _Optional[int] = ..., generation: _Optional[int] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ..., diverging: _Optional[_Union[DivergingEpoch, _Mapping]] = ..., records: _Optional[bytes] = ..., high_watermark: _Optional[int] = ..., log_start_offset: _Optional[int] = ...) -> None: ...

class DivergingEpoch(_message.Message):
    __slots__ = ("epoch", "end_offset")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    end_offset: int
    def __init__(self, epoch: _Optional[int] = ..., end_offset: _Optional[int] = ...) -> None: ...
