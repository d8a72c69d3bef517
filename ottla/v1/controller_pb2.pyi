from ottla.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionHeartbeat(_message.Message):
    __slots__ = ("broker_id", "broker_epoch", "metadata_offset")
    BROKER_ID_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    broker_id: int
    broker_epoch: int
    metadata_offset: int
    def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ..., metadata_offset: _Optional[int] = ...) -> None: ...

class SessionAnswer(_message.Message):
    __slots__ = ("controller_epoch", "metadata_offset", "fenced", "error", "controller_id")
    CONTROLLER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_ID_FIELD_NUMBER: _ClassVar[int]
    controller_epoch: int
    metadata_offset: int
    fenced: bool
    error: _types_pb2.Error
    controller_id: int
    def __init__(self, controller_epoch: _Optional[int] = ..., metadata_offset: _Optional[int] = ..., fenced: _Optional[bool] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ..., controller_id: _Optional[int] = ...) -> None: ...

class ControllerRequest(_message.Message):
    __slots__ = ("timeout_ms", "sender_id", "create_topics", "delete_topics", "create_partitions", "alter_topic_configs", "alter_broker_configs", "register_broker", "fence_broker", "unfence_broker", "begin_shutdown", "unregister_broker", "allocate_producer_ids", "set_feature_level", "alter_partitions", "reassign", "elect_leaders", "set_draining", "readmit_voter", "establish_cluster", "alter_client_quotas")
    class CreateTopics(_message.Message):
        __slots__ = ("topics", "validate_only")
        class NewTopic(_message.Message):
            __slots__ = ("name", "partitions", "replication_factor", "configs", "assignments")
            class ConfigsEntry(_message.Message):
                __slots__ = ("key", "value")
                KEY_FIELD_NUMBER: _ClassVar[int]
                VALUE_FIELD_NUMBER: _ClassVar[int]
                key: str
                value: str
                def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
            NAME_FIELD_NUMBER: _ClassVar[int]
            PARTITIONS_FIELD_NUMBER: _ClassVar[int]
            REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
            CONFIGS_FIELD_NUMBER: _ClassVar[int]
            ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
            name: str
            partitions: int
            replication_factor: int
            configs: _containers.ScalarMap[str, str]
            assignments: _containers.RepeatedCompositeFieldContainer[ControllerRequest.CreateTopics.Assignment]
            def __init__(self, name: _Optional[str] = ..., partitions: _Optional[int] = ..., replication_factor: _Optional[int] = ..., configs: _Optional[_Mapping[str, str]] = ..., assignments: _Optional[_Iterable[_Union[ControllerRequest.CreateTopics.Assignment, _Mapping]]] = ...) -> None: ...
        class Assignment(_message.Message):
            __slots__ = ("partition", "replicas")
            PARTITION_FIELD_NUMBER: _ClassVar[int]
            REPLICAS_FIELD_NUMBER: _ClassVar[int]
            partition: int
            replicas: _containers.RepeatedScalarFieldContainer[int]
            def __init__(self, partition: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ...) -> None: ...
        TOPICS_FIELD_NUMBER: _ClassVar[int]
        VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
        topics: _containers.RepeatedCompositeFieldContainer[ControllerRequest.CreateTopics.NewTopic]
        validate_only: bool
        def __init__(self, topics: _Optional[_Iterable[_Union[ControllerRequest.CreateTopics.NewTopic, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...
    class DeleteTopics(_message.Message):
        __slots__ = ("names", "topic_ids")
        NAMES_FIELD_NUMBER: _ClassVar[int]
        TOPIC_IDS_FIELD_NUMBER: _ClassVar[int]
        names: _containers.RepeatedScalarFieldContainer[str]
        topic_ids: _containers.RepeatedScalarFieldContainer[bytes]
        def __init__(self, names: _Optional[_Iterable[str]] = ..., topic_ids: _Optional[_Iterable[bytes]] = ...) -> None: ...
    class CreatePartitions(_message.Message):
        __slots__ = ("topics", "validate_only")
        class Total(_message.Message):
            __slots__ = ("name", "partitions", "assignments")
            NAME_FIELD_NUMBER: _ClassVar[int]
            PARTITIONS_FIELD_NUMBER: _ClassVar[int]
            ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
            name: str
            partitions: int
            assignments: ControllerRequest.CreatePartitions.Assignments
            def __init__(self, name: _Optional[str] = ..., partitions: _Optional[int] = ..., assignments: _Optional[_Union[ControllerRequest.CreatePartitions.Assignments, _Mapping]] = ...) -> None: ...
        class Assignments(_message.Message):
            __slots__ = ("partitions",)
            class Replicas(_message.Message):
                __slots__ = ("replicas",)
                REPLICAS_FIELD_NUMBER: _ClassVar[int]
                replicas: _containers.RepeatedScalarFieldContainer[int]
                def __init__(self, replicas: _Optional[_Iterable[int]] = ...) -> None: ...
            PARTITIONS_FIELD_NUMBER: _ClassVar[int]
            partitions: _containers.RepeatedCompositeFieldContainer[ControllerRequest.CreatePartitions.Assignments.Replicas]
            def __init__(self, partitions: _Optional[_Iterable[_Union[ControllerRequest.CreatePartitions.Assignments.Replicas, _Mapping]]] = ...) -> None: ...
        TOPICS_FIELD_NUMBER: _ClassVar[int]
        VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
        topics: _containers.RepeatedCompositeFieldContainer[ControllerRequest.CreatePartitions.Total]
        validate_only: bool
        def __init__(self, topics: _Optional[_Iterable[_Union[ControllerRequest.CreatePartitions.Total, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...
    class AlterConfigs(_message.Message):
        __slots__ = ("resources", "validate_only")
        class Change(_message.Message):
            __slots__ = ("key", "operation", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            OPERATION_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            operation: int
            value: str
            def __init__(self, key: _Optional[str] = ..., operation: _Optional[int] = ..., value: _Optional[str] = ...) -> None: ...
        class Resource(_message.Message):
            __slots__ = ("name", "changes", "replaces")
            NAME_FIELD_NUMBER: _ClassVar[int]
            CHANGES_FIELD_NUMBER: _ClassVar[int]
            REPLACES_FIELD_NUMBER: _ClassVar[int]
            name: str
            changes: _containers.RepeatedCompositeFieldContainer[ControllerRequest.AlterConfigs.Change]
            replaces: bool
            def __init__(self, name: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[ControllerRequest.AlterConfigs.Change, _Mapping]]] = ..., replaces: _Optional[bool] = ...) -> None: ...
        RESOURCES_FIELD_NUMBER: _ClassVar[int]
        VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
        resources: _containers.RepeatedCompositeFieldContainer[ControllerRequest.AlterConfigs.Resource]
        validate_only: bool
        def __init__(self, resources: _Optional[_Iterable[_Union[ControllerRequest.AlterConfigs.Resource, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...
    class RegisterBroker(_message.Message):
        __slots__ = ("cluster_id", "broker_id", "incarnation_id", "host", "grpc_port", "rack", "clean_shutdown", "directory_id", "voter", "listeners")
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
        CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
        BROKER_ID_FIELD_NUMBER: _ClassVar[int]
        INCARNATION_ID_FIELD_NUMBER: _ClassVar[int]
        HOST_FIELD_NUMBER: _ClassVar[int]
        GRPC_PORT_FIELD_NUMBER: _ClassVar[int]
        RACK_FIELD_NUMBER: _ClassVar[int]
        CLEAN_SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
        DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
        VOTER_FIELD_NUMBER: _ClassVar[int]
        LISTENERS_FIELD_NUMBER: _ClassVar[int]
        cluster_id: str
        broker_id: int
        incarnation_id: bytes
        host: str
        grpc_port: int
        rack: str
        clean_shutdown: bool
        directory_id: bytes
        voter: bool
        listeners: _containers.RepeatedCompositeFieldContainer[ControllerRequest.RegisterBroker.Listener]
        def __init__(self, cluster_id: _Optional[str] = ..., broker_id: _Optional[int] = ..., incarnation_id: _Optional[bytes] = ..., host: _Optional[str] = ..., grpc_port: _Optional[int] = ..., rack: _Optional[str] = ..., clean_shutdown: _Optional[bool] = ..., directory_id: _Optional[bytes] = ..., voter: _Optional[bool] = ..., listeners: _Optional[_Iterable[_Union[ControllerRequest.RegisterBroker.Listener, _Mapping]]] = ...) -> None: ...
    class BrokerLife(_message.Message):
        __slots__ = ("broker_id", "broker_epoch")
        BROKER_ID_FIELD_NUMBER: _ClassVar[int]
        BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
        broker_id: int
        broker_epoch: int
        def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ...) -> None: ...
    class UnregisterBroker(_message.Message):
        __slots__ = ("broker_id",)
        BROKER_ID_FIELD_NUMBER: _ClassVar[int]
        broker_id: int
        def __init__(self, broker_id: _Optional[int] = ...) -> None: ...
    class SetFeatureLevel(_message.Message):
        __slots__ = ("name", "level", "validate_only")
        NAME_FIELD_NUMBER: _ClassVar[int]
        LEVEL_FIELD_NUMBER: _ClassVar[int]
        VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
        name: str
        level: int
        validate_only: bool
        def __init__(self, name: _Optional[str] = ..., level: _Optional[int] = ..., validate_only: _Optional[bool] = ...) -> None: ...
    class AlterPartitions(_message.Message):
        __slots__ = ("broker_id", "broker_epoch", "partitions")
        BROKER_ID_FIELD_NUMBER: _ClassVar[int]
        BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
        PARTITIONS_FIELD_NUMBER: _ClassVar[int]
        broker_id: int
        broker_epoch: int
        partitions: _containers.RepeatedCompositeFieldContainer[ControllerRequest.AlterPartition]
        def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ..., partitions: _Optional[_Iterable[_Union[ControllerRequest.AlterPartition, _Mapping]]] = ...) -> None: ...
    class AlterPartition(_message.Message):
        __slots__ = ("topic_id", "partition", "leader_epoch", "partition_epoch", "isr")
        class Member(_message.Message):
            __slots__ = ("broker_id", "broker_epoch")
            BROKER_ID_FIELD_NUMBER: _ClassVar[int]
            BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
            broker_id: int
            broker_epoch: int
            def __init__(self, broker_id: _Optional[int] = ..., broker_epoch: _Optional[int] = ...) -> None: ...
        TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
        PARTITION_FIELD_NUMBER: _ClassVar[int]
        LEADER_EPOCH_FIELD_NUMBER: _ClassVar[int]
        PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
        ISR_FIELD_NUMBER: _ClassVar[int]
        topic_id: bytes
        partition: int
        leader_epoch: int
        partition_epoch: int
        isr: _containers.RepeatedCompositeFieldContainer[ControllerRequest.AlterPartition.Member]
        def __init__(self, topic_id: _Optional[bytes] = ..., partition: _Optional[int] = ..., leader_epoch: _Optional[int] = ..., partition_epoch: _Optional[int] = ..., isr: _Optional[_Iterable[_Union[ControllerRequest.AlterPartition.Member, _Mapping]]] = ...) -> None: ...
    class Reassign(_message.Message):
        __slots__ = ("partitions", "keeps_replication_factor")
        class Partition(_message.Message):
            __slots__ = ("topic", "partition", "replicas")
            TOPIC_FIELD_NUMBER: _ClassVar[int]
            PARTITION_FIELD_NUMBER: _ClassVar[int]
            REPLICAS_FIELD_NUMBER: _ClassVar[int]
            topic: str
            partition: int
            replicas: _containers.RepeatedScalarFieldContainer[int]
            def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., replicas: _Optional[_Iterable[int]] = ...) -> None: ...
        PARTITIONS_FIELD_NUMBER: _ClassVar[int]
        KEEPS_REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
        partitions: _containers.RepeatedCompositeFieldContainer[ControllerRequest.Reassign.Partition]
        keeps_replication_factor: bool
        def __init__(self, partitions: _Optional[_Iterable[_Union[ControllerRequest.Reassign.Partition, _Mapping]]] = ..., keeps_replication_factor: _Optional[bool] = ...) -> None: ...
    class ElectLeaders(_message.Message):
        __slots__ = ("partitions", "unclean", "all")
        class Partition(_message.Message):
            __slots__ = ("topic", "partition")
            TOPIC_FIELD_NUMBER: _ClassVar[int]
            PARTITION_FIELD_NUMBER: _ClassVar[int]
            topic: str
            partition: int
            def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ...) -> None: ...
        PARTITIONS_FIELD_NUMBER: _ClassVar[int]
        UNCLEAN_FIELD_NUMBER: _ClassVar[int]
        ALL_FIELD_NUMBER: _ClassVar[int]
        partitions: _containers.RepeatedCompositeFieldContainer[ControllerRequest.ElectLeaders.Partition]
        unclean: bool
        all: bool
        def __init__(self, partitions: _Optional[_Iterable[_Union[ControllerRequest.ElectLeaders.Partition, _Mapping]]] = ..., unclean: _Optional[bool] = ..., all: _Optional[bool] = ...) -> None: ...
    class SetDraining(_message.Message):
        __slots__ = ("broker_id", "draining")
        BROKER_ID_FIELD_NUMBER: _ClassVar[int]
        DRAINING_FIELD_NUMBER: _ClassVar[int]
        broker_id: int
        draining: bool
        def __init__(self, broker_id: _Optional[int] = ..., draining: _Optional[bool] = ...) -> None: ...
    class ReadmitVoter(_message.Message):
        __slots__ = ("broker_id", "directory_id")
        BROKER_ID_FIELD_NUMBER: _ClassVar[int]
        DIRECTORY_ID_FIELD_NUMBER: _ClassVar[int]
        broker_id: int
        directory_id: bytes
        def __init__(self, broker_id: _Optional[int] = ..., directory_id: _Optional[bytes] = ...) -> None: ...
    class EstablishCluster(_message.Message):
        __slots__ = ("cluster_id",)
        CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
        cluster_id: str
        def __init__(self, cluster_id: _Optional[str] = ...) -> None: ...
    class AlterClientQuotas(_message.Message):
        __slots__ = ("entities", "validate_only")
        class Change(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: float
            def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
        class Entity(_message.Message):
            __slots__ = ("entity", "changes")
            ENTITY_FIELD_NUMBER: _ClassVar[int]
            CHANGES_FIELD_NUMBER: _ClassVar[int]
            entity: QuotaEntity
            changes: _containers.RepeatedCompositeFieldContainer[ControllerRequest.AlterClientQuotas.Change]
            def __init__(self, entity: _Optional[_Union[QuotaEntity, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[ControllerRequest.AlterClientQuotas.Change, _Mapping]]] = ...) -> None: ...
        ENTITIES_FIELD_NUMBER: _ClassVar[int]
        VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
        entities: _containers.RepeatedCompositeFieldContainer[ControllerRequest.AlterClientQuotas.Entity]
        validate_only: bool
        def __init__(self, entities: _Optional[_Iterable[_Union[ControllerRequest.AlterClientQuotas.Entity, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SENDER_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TOPICS_FIELD_NUMBER: _ClassVar[int]
    DELETE_TOPICS_FIELD_NUMBER: _ClassVar[int]
    CREATE_PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    ALTER_TOPIC_CONFIGS_FIELD_NUMBER: _ClassVar[int]
    ALTER_BROKER_CONFIGS_FIELD_NUMBER: _ClassVar[int]
    REGISTER_BROKER_FIELD_NUMBER: _ClassVar[int]
    FENCE_BROKER_FIELD_NUMBER: _ClassVar[int]
    UNFENCE_BROKER_FIELD_NUMBER: _ClassVar[int]
    BEGIN_SHUTDOWN_FIELD_NUMBER: _ClassVar[int]
    UNREGISTER_BROKER_FIELD_NUMBER: _ClassVar[int]
    ALLOCATE_PRODUCER_IDS_FIELD_NUMBER: _ClassVar[int]
    SET_FEATURE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    ALTER_PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    REASSIGN_FIELD_NUMBER: _ClassVar[int]
    ELECT_LEADERS_FIELD_NUMBER: _ClassVar[int]
    SET_DRAINING_FIELD_NUMBER: _ClassVar[int]
    READMIT_VOTER_FIELD_NUMBER: _ClassVar[int]
    ESTABLISH_CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ALTER_CLIENT_QUOTAS_FIELD_NUMBER: _ClassVar[int]
    timeout_ms: int
    sender_id: int
    create_topics: ControllerRequest.CreateTopics
    delete_topics: ControllerRequest.DeleteTopics
    create_partitions: ControllerRequest.CreatePartitions
    alter_topic_configs: ControllerRequest.AlterConfigs
    alter_broker_configs: ControllerRequest.AlterConfigs
    register_broker: ControllerRequest.RegisterBroker
    fence_broker: ControllerRequest.BrokerLife
    unfence_broker: ControllerRequest.BrokerLife
    begin_shutdown: ControllerRequest.BrokerLife
    unregister_broker: ControllerRequest.UnregisterBroker
    allocate_producer_ids: ControllerRequest.BrokerLife
    set_feature_level: ControllerRequest.SetFeatureLevel
    alter_partitions: ControllerRequest.AlterPartitions
    reassign: ControllerRequest.Reassign
    elect_leaders: ControllerRequest.ElectLeaders
    set_draining: ControllerRequest.SetDraining
    readmit_voter: ControllerRequest.ReadmitVoter
    establish_cluster: ControllerRequest.EstablishCluster
    alter_client_quotas: ControllerRequest.AlterClientQuotas
    def __init__(self, timeout_ms: _Optional[int] = ..., sender_id: _Optional[int] = ..., create_topics: _Optional[_Union[ControllerRequest.CreateTopics, _Mapping]] = ..., delete_topics: _Optional[_Union[ControllerRequest.DeleteTopics, _Mapping]] = ..., create_partitions: _Optional[_Union[ControllerRequest.CreatePartitions, _Mapping]] = ..., alter_topic_configs: _Optional[_Union[ControllerRequest.AlterConfigs, _Mapping]] = ..., alter_broker_configs: _Optional[_Union[ControllerRequest.AlterConfigs, _Mapping]] = ..., register_broker: _Optional[_Union[ControllerRequest.RegisterBroker, _Mapping]] = ..., fence_broker: _Optional[_Union[ControllerRequest.BrokerLife, _Mapping]] = ..., unfence_broker: _Optional[_Union[ControllerRequest.BrokerLife, _Mapping]] = ..., begin_shutdown: _Optional[_Union[ControllerRequest.BrokerLife, _Mapping]] = ..., unregister_broker: _Optional[_Union[ControllerRequest.UnregisterBroker, _Mapping]] = ..., allocate_producer_ids: _Optional[_Union[ControllerRequest.BrokerLife, _Mapping]] = ..., set_feature_level: _Optional[_Union[ControllerRequest.SetFeatureLevel, _Mapping]] = ..., alter_partitions: _Optional[_Union[ControllerRequest.AlterPartitions, _Mapping]] = ..., reassign: _Optional[_Union[ControllerRequest.Reassign, _Mapping]] = ..., elect_leaders: _Optional[_Union[ControllerRequest.ElectLeaders, _Mapping]] = ..., set_draining: _Optional[_Union[ControllerRequest.SetDraining, _Mapping]] = ..., readmit_voter: _Optional[_Union[ControllerRequest.ReadmitVoter, _Mapping]] = ..., establish_cluster: _Optional[_Union[ControllerRequest.EstablishCluster, _Mapping]] = ..., alter_client_quotas: _Optional[_Union[ControllerRequest.AlterClientQuotas, _Mapping]] = ...) -> None: ...

class QuotaEntity(_message.Message):
    __slots__ = ("user", "client_id")
    USER_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    user: str
    client_id: str
    def __init__(self, user: _Optional[str] = ..., client_id: _Optional[str] = ...) -> None: ...

class ControllerResponse(_message.Message):
    __slots__ = ("metadata_offset", "results", "broker_epoch", "first_producer_id", "producer_id_count", "partitions_led", "cluster_id", "error", "controller_id")
    class Result(_message.Message):
        __slots__ = ("name", "error", "topic_id", "partitions", "replication_factor", "configs", "partition", "entity")
        class ConfigsEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: str
            def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
        NAME_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        TOPIC_ID_FIELD_NUMBER: _ClassVar[int]
        PARTITIONS_FIELD_NUMBER: _ClassVar[int]
        REPLICATION_FACTOR_FIELD_NUMBER: _ClassVar[int]
        CONFIGS_FIELD_NUMBER: _ClassVar[int]
        PARTITION_FIELD_NUMBER: _ClassVar[int]
        ENTITY_FIELD_NUMBER: _ClassVar[int]
        name: str
        error: _types_pb2.Error
        topic_id: bytes
        partitions: int
        replication_factor: int
        configs: _containers.ScalarMap[str, str]
        partition: int
        entity: QuotaEntity
        def __init__(self, name: _Optional[str] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ..., topic_id: _Optional[bytes] = ..., partitions: _Optional[int] = ..., replication_factor: _Optional[int] = ..., configs: _Optional[_Mapping[str, str]] = ..., partition: _Optional[int] = ..., entity: _Optional[_Union[QuotaEntity, _Mapping]] = ...) -> None: ...
    METADATA_OFFSET_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    BROKER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_COUNT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_LED_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_ID_FIELD_NUMBER: _ClassVar[int]
    metadata_offset: int
    results: _containers.RepeatedCompositeFieldContainer[ControllerResponse.Result]
    broker_epoch: int
    first_producer_id: int
    producer_id_count: int
    partitions_led: int
    cluster_id: str
    error: _types_pb2.Error
    controller_id: int
    def __init__(self, metadata_offset: _Optional[int] = ..., results: _Optional[_Iterable[_Union[ControllerResponse.Result, _Mapping]]] = ..., broker_epoch: _Optional[int] = ..., first_producer_id: _Optional[int] = ..., producer_id_count: _Optional[int] = ..., partitions_led: _Optional[int] = ..., cluster_id: _Optional[str] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ..., controller_id: _Optional[int] = ...) -> None: ...
