from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TimestampType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CREATE_TIME: _ClassVar[TimestampType]
    LOG_APPEND_TIME: _ClassVar[TimestampType]

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_NONE: _ClassVar[Compression]
    COMPRESSION_GZIP: _ClassVar[Compression]
    COMPRESSION_SNAPPY: _ClassVar[Compression]
    COMPRESSION_LZ4: _ClassVar[Compression]
    COMPRESSION_ZSTD: _ClassVar[Compression]
CREATE_TIME: TimestampType
LOG_APPEND_TIME: TimestampType
COMPRESSION_NONE: Compression
COMPRESSION_GZIP: Compression
COMPRESSION_SNAPPY: Compression
COMPRESSION_LZ4: Compression
COMPRESSION_ZSTD: Compression

class Error(_message.Message):
    __slots__ = ("code", "message", "retriable")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        NONE: _ClassVar[Error.Code]
        UNKNOWN_SERVER_ERROR: _ClassVar[Error.Code]
        OFFSET_OUT_OF_RANGE: _ClassVar[Error.Code]
        CORRUPT_MESSAGE: _ClassVar[Error.Code]
        UNKNOWN_TOPIC_OR_PARTITION: _ClassVar[Error.Code]
        LEADER_NOT_AVAILABLE: _ClassVar[Error.Code]
        NOT_LEADER_OR_FOLLOWER: _ClassVar[Error.Code]
        REQUEST_TIMED_OUT: _ClassVar[Error.Code]
        BROKER_NOT_AVAILABLE: _ClassVar[Error.Code]
        MESSAGE_TOO_LARGE: _ClassVar[Error.Code]
        OFFSET_METADATA_TOO_LARGE: _ClassVar[Error.Code]
        COORDINATOR_LOAD_IN_PROGRESS: _ClassVar[Error.Code]
        COORDINATOR_NOT_AVAILABLE: _ClassVar[Error.Code]
        NOT_COORDINATOR: _ClassVar[Error.Code]
        INVALID_TOPIC_EXCEPTION: _ClassVar[Error.Code]
        RECORD_LIST_TOO_LARGE: _ClassVar[Error.Code]
        NOT_ENOUGH_REPLICAS: _ClassVar[Error.Code]
        NOT_ENOUGH_REPLICAS_AFTER_APPEND: _ClassVar[Error.Code]
        INVALID_REQUIRED_ACKS: _ClassVar[Error.Code]
        ILLEGAL_GENERATION: _ClassVar[Error.Code]
        INCONSISTENT_GROUP_PROTOCOL: _ClassVar[Error.Code]
        INVALID_GROUP_ID: _ClassVar[Error.Code]
        UNKNOWN_MEMBER_ID: _ClassVar[Error.Code]
        INVALID_SESSION_TIMEOUT: _ClassVar[Error.Code]
        REBALANCE_IN_PROGRESS: _ClassVar[Error.Code]
        CLUSTER_AUTHORIZATION_FAILED: _ClassVar[Error.Code]
        INVALID_TIMESTAMP: _ClassVar[Error.Code]
        UNSUPPORTED_VERSION: _ClassVar[Error.Code]
        TOPIC_ALREADY_EXISTS: _ClassVar[Error.Code]
        INVALID_PARTITIONS: _ClassVar[Error.Code]
        INVALID_REPLICATION_FACTOR: _ClassVar[Error.Code]
        INVALID_REPLICA_ASSIGNMENT: _ClassVar[Error.Code]
        INVALID_CONFIG: _ClassVar[Error.Code]
        NOT_CONTROLLER: _ClassVar[Error.Code]
        INVALID_REQUEST: _ClassVar[Error.Code]
        POLICY_VIOLATION: _ClassVar[Error.Code]
        OUT_OF_ORDER_SEQUENCE_NUMBER: _ClassVar[Error.Code]
        INVALID_PRODUCER_EPOCH: _ClassVar[Error.Code]
        INVALID_TXN_STATE: _ClassVar[Error.Code]
        OPERATION_NOT_ATTEMPTED: _ClassVar[Error.Code]
        KAFKA_STORAGE_ERROR: _ClassVar[Error.Code]
        NON_EMPTY_GROUP: _ClassVar[Error.Code]
        GROUP_ID_NOT_FOUND: _ClassVar[Error.Code]
        FENCED_LEADER_EPOCH: _ClassVar[Error.Code]
        UNKNOWN_LEADER_EPOCH: _ClassVar[Error.Code]
        UNSUPPORTED_COMPRESSION_TYPE: _ClassVar[Error.Code]
        STALE_BROKER_EPOCH: _ClassVar[Error.Code]
        OFFSET_NOT_AVAILABLE: _ClassVar[Error.Code]
        MEMBER_ID_REQUIRED: _ClassVar[Error.Code]
        PREFERRED_LEADER_NOT_AVAILABLE: _ClassVar[Error.Code]
        GROUP_MAX_SIZE_REACHED: _ClassVar[Error.Code]
        FENCED_INSTANCE_ID: _ClassVar[Error.Code]
        ELIGIBLE_LEADERS_NOT_AVAILABLE: _ClassVar[Error.Code]
        ELECTION_NOT_NEEDED: _ClassVar[Error.Code]
        NO_REASSIGNMENT_IN_PROGRESS: _ClassVar[Error.Code]
        GROUP_SUBSCRIBED_TO_TOPIC: _ClassVar[Error.Code]
        INVALID_RECORD: _ClassVar[Error.Code]
        UNSTABLE_OFFSET_COMMIT: _ClassVar[Error.Code]
        THROTTLING_QUOTA_EXCEEDED: _ClassVar[Error.Code]
        RESOURCE_NOT_FOUND: _ClassVar[Error.Code]
        INCONSISTENT_VOTER_SET: _ClassVar[Error.Code]
        INVALID_UPDATE_VERSION: _ClassVar[Error.Code]
        UNKNOWN_TOPIC_ID: _ClassVar[Error.Code]
        BROKER_ID_NOT_REGISTERED: _ClassVar[Error.Code]
        INCONSISTENT_CLUSTER_ID: _ClassVar[Error.Code]
        INELIGIBLE_REPLICA: _ClassVar[Error.Code]
        FENCED_MEMBER_EPOCH: _ClassVar[Error.Code]
        UNRELEASED_INSTANCE_ID: _ClassVar[Error.Code]
        UNSUPPORTED_ASSIGNOR: _ClassVar[Error.Code]
        STALE_MEMBER_EPOCH: _ClassVar[Error.Code]
        INVALID_REGULAR_EXPRESSION: _ClassVar[Error.Code]
    NONE: Error.Code
    UNKNOWN_SERVER_ERROR: Error.Code
    OFFSET_OUT_OF_RANGE: Error.Code
    CORRUPT_MESSAGE: Error.Code
    UNKNOWN_TOPIC_OR_PARTITION: Error.Code
    LEADER_NOT_AVAILABLE: Error.Code
    NOT_LEADER_OR_FOLLOWER: Error.Code
    REQUEST_TIMED_OUT: Error.Code
    BROKER_NOT_AVAILABLE: Error.Code
    MESSAGE_TOO_LARGE: Error.Code
    OFFSET_METADATA_TOO_LARGE: Error.Code
    COORDINATOR_LOAD_IN_PROGRESS: Error.Code
    COORDINATOR_NOT_AVAILABLE: Error.Code
    NOT_COORDINATOR: Error.Code
    INVALID_TOPIC_EXCEPTION: Error.Code
    RECORD_LIST_TOO_LARGE: Error.Code
    NOT_ENOUGH_REPLICAS: Error.Code
    NOT_ENOUGH_REPLICAS_AFTER_APPEND: Error.Code
    INVALID_REQUIRED_ACKS: Error.Code
    ILLEGAL_GENERATION: Error.Code
    INCONSISTENT_GROUP_PROTOCOL: Error.Code
    INVALID_GROUP_ID: Error.Code
    UNKNOWN_MEMBER_ID: Error.Code
    INVALID_SESSION_TIMEOUT: Error.Code
    REBALANCE_IN_PROGRESS: Error.Code
    CLUSTER_AUTHORIZATION_FAILED: Error.Code
    INVALID_TIMESTAMP: Error.Code
    UNSUPPORTED_VERSION: Error.Code
    TOPIC_ALREADY_EXISTS: Error.Code
    INVALID_PARTITIONS: Error.Code
    INVALID_REPLICATION_FACTOR: Error.Code
    INVALID_REPLICA_ASSIGNMENT: Error.Code
    INVALID_CONFIG: Error.Code
    NOT_CONTROLLER: Error.Code
    INVALID_REQUEST: Error.Code
    POLICY_VIOLATION: Error.Code
    OUT_OF_ORDER_SEQUENCE_NUMBER: Error.Code
    INVALID_PRODUCER_EPOCH: Error.Code
    INVALID_TXN_STATE: Error.Code
    OPERATION_NOT_ATTEMPTED: Error.Code
    KAFKA_STORAGE_ERROR: Error.Code
    NON_EMPTY_GROUP: Error.Code
    GROUP_ID_NOT_FOUND: Error.Code
    FENCED_LEADER_EPOCH: Error.Code
    UNKNOWN_LEADER_EPOCH: Error.Code
    UNSUPPORTED_COMPRESSION_TYPE: Error.Code
    STALE_BROKER_EPOCH: Error.Code
    OFFSET_NOT_AVAILABLE: Error.Code
    MEMBER_ID_REQUIRED: Error.Code
    PREFERRED_LEADER_NOT_AVAILABLE: Error.Code
    GROUP_MAX_SIZE_REACHED: Error.Code
    FENCED_INSTANCE_ID: Error.Code
    ELIGIBLE_LEADERS_NOT_AVAILABLE: Error.Code
    ELECTION_NOT_NEEDED: Error.Code
    NO_REASSIGNMENT_IN_PROGRESS: Error.Code
    GROUP_SUBSCRIBED_TO_TOPIC: Error.Code
    INVALID_RECORD: Error.Code
    UNSTABLE_OFFSET_COMMIT: Error.Code
    THROTTLING_QUOTA_EXCEEDED: Error.Code
    RESOURCE_NOT_FOUND: Error.Code
    INCONSISTENT_VOTER_SET: Error.Code
    INVALID_UPDATE_VERSION: Error.Code
    UNKNOWN_TOPIC_ID: Error.Code
    BROKER_ID_NOT_REGISTERED: Error.Code
    INCONSISTENT_CLUSTER_ID: Error.Code
    INELIGIBLE_REPLICA: Error.Code
    FENCED_MEMBER_EPOCH: Error.Code
    UNRELEASED_INSTANCE_ID: Error.Code
    UNSUPPORTED_ASSIGNOR: Error.Code
    STALE_MEMBER_EPOCH: Error.Code
    INVALID_REGULAR_EXPRESSION: Error.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRIABLE_FIELD_NUMBER: _ClassVar[int]
    code: Error.Code
    message: str
    retriable: bool
    def __init__(self, code: _Optional[_Union[Error.Code, str]] = ..., message: _Optional[str] = ..., retriable: _Optional[bool] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: bytes
    def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("key", "value", "headers", "timestamp_ms", "offset")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    timestamp_ms: int
    offset: int
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., timestamp_ms: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...
