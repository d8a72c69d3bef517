from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MetadataBatch(_message.Message):
    __slots__ = ("controller_epoch", "records", "client_id", "sequence", "base_version")
    CONTROLLER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    controller_epoch: int
    records: _containers.RepeatedCompositeFieldContainer[MetadataRecord]
    client_id: int
    sequence: int
    base_version: int
    def __init__(self, controller_epoch: _Optional[int] = ..., records: _Optional[_Iterable[_Union[MetadataRecord, _Mapping]]] = ..., client_id: _Optional[int] = ..., sequence: _Optional[int] = ..., base_version: _Optional[int] = ...) -> None: ...

class MetadataAnswer(_message.Message):
    __slots__ = ("outcome", "version", "metadata_offset")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[MetadataAnswer.Outcome]
        APPLIED: _ClassVar[MetadataAnswer.Outcome]
        NOT_CONTROLLER: _ClassVar[MetadataAnswer.Outcome]
        CONFLICT: _ClassVar[MetadataAnswer.Outcome]
    UNSPECIFIED: MetadataAnswer.Outcome
    APPLIED: MetadataAnswer.Outcome
    NOT_CONTROLLER: MetadataAnswer.Outcome
    CONFLICT: MetadataAnswer.Outcome
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    outcome: MetadataAnswer.Outcome
    version: int
    metadata_offset: int
    def __init__(self, outcome: _Optional[_Union[MetadataAnswer.Outcome, str]] = ..., version: _Optional[int] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class MetadataRecord(_message.Message):
    __slots__ = ("controller_elected", "broker_registered", "broker_fencing_changed", "topic_created", "partition_changed", "topic_deleted", "topic_config_changed", "producer_ids_allocated", "feature_level", "cluster_created", "voter_admitted", "broker_shutting_down", "broker_draining_changed", "broker_unregistered", "broker_config_changed", "client_quota_changed")
    CONTROLLER_ELECTED_FIELD_NUMBER: _ClassVar[int]
    BROKER_REGISTERED_FIELD_NUMBER: _ClassVar[int]
    BROKER_FENCING_CHANGED_FIELD_NUMBER: _ClassVar[int]
    TOPIC_CREATED_FIELD_NUMBER: _ClassVar[int]
    PARTITION_CHANGED_FIELD_NUMBER: _ClassVar[int]
    TOPIC_DELETED_FIELD_NUMBER: _ClassVar[int]
    TOPIC_CONFIG_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_IDS_ALLOCATED_FIELD_NUMBER: _ClassVar[int]
    FEATURE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_CREATED_FIELD_NUMBER: _ClassVar[int]
    VOTER_ADMITTED_FIELD_NUMBER: _ClassVar[int]
    BROKER_SHUTTING_DOWN_FIELD_NUMBER: _ClassVar[int]
    BROKER_DRAINING_CHANGED_FIELD_NUMBER: _ClassVar[int]
    BROKER_UNREGISTERED_FIELD_NUMBER: _ClassVar[int]
    BROKER_CONFIG_CHANGED_FIELD_NUMBER: _ClassVar[int]
    CLIENT_QUOTA_CHANGED_FIELD_NUMBER: _ClassVar[int]
    controller_elected: ControllerElected
    broker_registered: BrokerRegistered
    broker_fencing_changed: BrokerFencingChanged
    topic_created: TopicCreated
    partition_changed: PartitionChanged
    topic_deleted: TopicDeleted
    topic_config_changed: TopicConfigChanged
    producer_ids_allocated: ProducerIdsAllocated
    feature_level: FeatureLevel
    cluster_created: ClusterCreated
    voter_admitted: VoterAdmitted
    broker_shutting_down: BrokerShuttingDown
    broker_draining_changed: BrokerDrainingChanged
    broker_unregistered: BrokerUnregistered
    broker_config_changed: BrokerConfigChanged
    client_quota_changed: ClientQuotaChanged
    def __init__(self, controller_elected: _Optional[_Union[ControllerElected, _Mapping]] = ..., broker_registered: _Optional[_Union[BrokerRegistered, _Mapping]] = ..., broker_fencing_changed: _Optional[_Union[BrokerFencingChanged, _Mapping]] = ..., topic_created: _Optional[_Union[TopicCreated, _Mapping]] = ..., partition_changed: _Optional[_Union[PartitionChanged, _Mapping]] = ..., topic_deleted: _Optional[_Union[TopicDeleted, _Mapping]] = ..., topic_config_changed: _Optional[_Union[TopicConfigChanged, _Mapping]] = ..., producer_ids_allocated: _Optional[_Union[ProducerIdsAllocated, _Mapping]] = ..., feature_level: _Optional[_Union[FeatureLevel, _Mapping]] = ..., cluster_created: _Optional[_Union[ClusterCreated, _Mapping]] = ..., voter_admitted: _Optional[_Union[VoterAdmitted, _Mapping]] = ..., broker_shutting_down: _Optional[_Union[BrokerShuttingDown, _Mapping]] = ..., broker_draining_changed: _Optional[_Union[BrokerDrainingChanged, _Mapping]] = ..., broker_unregistered: _Optional[_Union[BrokerUnregistered, _Mapping]] = ..., broker_config_changed: _Optional[_Union[BrokerConfigChanged, _Mapping]] = ..., client_quota_changed: _Optional[_Union[ClientQuotaChanged, _Mapping]] = ...) -> None: ...

class ControllerElected(_message.Message):
    __slots__ = ("broker_id", "controller_epoch")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    controller_epoch: int
    def __init__(self, broker_id: _Optional[int] = ..., controller_epoch: _Optional[int] = ...) -> None: ...

class BrokerRegistered(_message.Message):
    __slots__ = ("broker_id", "broker_epoch", "host", "grpc_port", "rack", "incarnation_id", "clean_shutdown", "directory_id", "listeners")
    class Listener(_message.Message):
        __slots__ = ("name", "host", "port", "security_protocol", "any_address")
        NAME_FIELD_NUMBER: _ClassVar[int]
        HOST_FIELD_NUMBER: _ClassVar[int]
        PORT_FIELD_NUMBER: _ClassVar[int]
        SECURITY_PROTOCOL_FIELD_NUMBER: _ClassVar[int]
        ANY_ADDRESS_FIELD_NUMBER: _ClassVar[int]
        name: str
        host: str
        port: int
        security_protocol: str
        any_address: bool
        def __init__(self, name: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., security_protocol: _Optional[str] = ..., any_address: _Optional[bool] = ...) -> None: ...
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    GRPC_PORT_FIELD_NUMBER: _ClassVar[int]
    RACK_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
    CLEAN_SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    host: str
    grpc_port: int
    rack: str
    incarnation_id: bytes
    clean_shutdown: bool
    directory_id: bytes
    listeners: _containers.RepeatedCompositeFieldContainer[BrokerRegistered.Listener]
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ..., host: _Optional[str] = ..., grpc_port: _Optional[int] = ..., rack: _Optional[str] = ..., incarnation_id: _Optional[bytes] = ..., clean_shutdown: _Optional[bool] = ..., directory_id: _Optional[bytes] = ..., listeners: _Optional[_Iterable[_Union[BrokerRegistered.Listener, _Mapping]]] = ...) -> None: ...

class BrokerFencingChanged(_message.Message):
    __slots__ = ("broker_id", "broker_epoch", "fenced")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    fenced: bool
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ..., fenced: _Optional[bool] = ...) -> None: ...

class TopicCreated(_message.Message):
    __slots__ = ("name", "topic_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    topic_id: bytes
    def __init__(self, name: _Optional[str] = ..., topic_id: _Optional[bytes] = ...) -> None: ...

class PartitionChanged(_message.Message):
    __slots__ = ("topic_id", "partition", "replicas", "in_sync_replicas", "eligible_leader_replicas", "leader", "leader_epoch", "partition_epoch", "adding_replicas", "removing_replicas")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ELIGIBLE_LEADER_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ADDING_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    REMOVING_REPLICAS_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    partition: int
    replicas: _containers.RepeatedScalarFieldContainer[int]
    in_sync_replicas: _containers.RepeatedScalarFieldContainer[int]
    eligible_leader_replicas: _containers.RepeatedScalarFieldContainer[int]
    leader: int
    leader_epoch: int
    partition_epoch: int
    adding_replicas: _containers.RepeatedScalarFieldContainer[int]
    removing_replicas: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ..., in_sync_replicas: _Optional[_Iterable[int]] = ..., eligible_leader_replicas: _Optional[_Iterable[int]] = ..., leader: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., partition_epoch: _Optional[int] = ..., adding_replicas: _Optional[_Iterable[int]] = ..., removing_replicas: _Optional[_Iterable[int]] = ...) -> None: ...

class TopicDeleted(_message.Message):
    __slots__ = ("topic_id",)
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    def __init__(self, topic_id: _Optional[bytes] = ...) -> None: ...

class TopicConfigChanged(_message.Message):
    __slots__ = ("topic_id", "key", "value")
    TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    topic_id: bytes
    key: str
    value: str
    def __init__(self, topic_id: _Optional[bytes] = ..., key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class ProducerIdsAllocated(_message.Message):
    __slots__ = ("broker_id", "broker_epoch", "next_producer_id")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    NEXT_PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    next_producer_id: int
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ..., next_producer_id: _Optional[int] = ...) -> None: ...

class ClusterCreated(_message.Message):
    __slots__ = ("cluster_id",)
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    cluster_id: str
    def __init__(self, cluster_id: _Optional[str] = ...) -> None: ...

class VoterAdmitted(_message.Message):
    __slots__ = ("broker_id", "directory_id")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    directory_id: bytes
    def __init__(self, broker_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ...) -> None: ...

class BrokerShuttingDown(_message.Message):
    __slots__ = ("broker_id", "broker_epoch")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ...) -> None: ...

class BrokerDrainingChanged(_message.Message):
    __slots__ = ("broker_id", "draining")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    draining: bool
    def __init__(self, broker_id: _Optional[int] = ..., draining: _Optional[bool] = ...) -> None: ...

class BrokerUnregistered(_message.Message):
    __slots__ = ("broker_id",)
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    def __init__(self, broker_id: _Optional[int] = ...) -> None: ...

class BrokerConfigChanged(_message.Message):
    __slots__ = ("broker_id", "key", "value")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    key: str
    value: str
    def __init__(self, broker_id: _Optional[int] = ..., key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class ClientQuotaChanged(_message.Message):
    __slots__ = ("user", "client_id", "key", "value")
    USER_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    user: str
    client_id: str
    key: str
    value: float
    def __init__(self, user: _Optional[str] = ..., client_id: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class FeatureLevel(_message.Message):
    __slots__ = ("name", "level")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    name: str
    level: int
    def __init__(self, name: _Optional[str] = ..., level: _Optional[int] = ...) -> None: ...

class MetadataSnapshot(_message.Message):
    __slots__ = ("metadata_offset", "records", "version", "applied")
    class AppliedBatch(_message.Message):
        __slots__ = ("client_id", "sequence", "answer")
        CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
        SEQUENCE_FIELD_NUMBER: _ClassVar[int]
        ANSWER_FIELD_NUMBER: _ClassVar[int]
        client_id: int
        sequence: int
        answer: bytes
        def __init__(self, client_id: _Optional[int] = ..., sequence: _Optional[int] = ..., answer: _Optional[bytes] = ...) -> None: ...
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    metadata_offset: int
    records: _containers.RepeatedCompositeFieldContainer[MetadataRecord]
    version: int
    applied: _containers.RepeatedCompositeFieldContainer[MetadataSnapshot.AppliedBatch]
    def __init__(self, metadata_offset: _Optional[int] = ..., records: _Optional[_Iterable[_Union[MetadataRecord, _Mapping]]] = ..., version: _Optional[int] = ..., applied: _Optional[_Iterable[_Union[MetadataSnapshot.AppliedBatch, _Mapping]]] = ...) -> None: ...
