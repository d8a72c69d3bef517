"""Requests to the controller as messages between brokers, and back.

A request means the same wherever it is decided, so nothing is added or left out on the way: for
every request, ``decode_request(encode_request(request)) == request``. What one means is said in
:mod:`ottla.controller.requests`; the answers are in :mod:`ottla.cluster.controller_answers`.

Whoever sends a message is a broker of this cluster, but perhaps of a newer version. A kind that is
not known here is refused as such, and so is a message whose fields cannot be what they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, assert_never
from uuid import UUID

from ottla.cluster.quota_messages import quota_entity_in, quota_entity_message
from ottla.controller.requests import (
    AllocateProducerIds,
    AlterBrokerConfigs,
    AlterClientQuotas,
    AlterPartition,
    AlterPartitions,
    AlterTopicConfigs,
    Assignment,
    BeginShutdown,
    ConfigChange,
    ConfigChanges,
    ConfigOperation,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    EstablishCluster,
    FenceBroker,
    NewPartitions,
    NewTopic,
    ProposedMember,
    QuotaChanges,
    ReadmitVoter,
    Reassign,
    Reassignment,
    RegisterBroker,
    Request,
    SetDraining,
    SetFeatureLevel,
    UnfenceBroker,
    UnregisterBroker,
)
from ottla.model.errors import InvalidRequestError, UnsupportedVersionError
from ottla.model.ids import (
    BrokerEpoch,
    BrokerId,
    LeaderEpoch,
    PartitionEpoch,
    TopicId,
    TopicPartition,
)
from ottla.model.image import BrokerListener
from ottla.v1.controller_pb2 import ControllerRequest

_BrokerLife = FenceBroker | UnfenceBroker | BeginShutdown | AllocateProducerIds
_OfPartitions = AlterPartitions | Reassign | ElectLeaders
_OfTheCluster = ReadmitVoter | EstablishCluster | SetFeatureLevel | AlterClientQuotas
_NotOfTopics = (
    RegisterBroker | _BrokerLife | UnregisterBroker | SetDraining | _OfPartitions | _OfTheCluster
)


def encode_request(request: Request, *, sender: BrokerId, timeout_ms: int) -> ControllerRequest:
    """Return the message that asks for ``request``, to be answered within ``timeout_ms``."""
    message = ControllerRequest(timeout_ms=timeout_ms, sender_id=sender)
    match request:
        case CreateTopics():
            message.create_topics.CopyFrom(_create_topics(request))
        case DeleteTopics():
            # Set, even if there are no names.
            message.delete_topics.SetInParent()
            message.delete_topics.names.extend(request.names)
            message.delete_topics.topic_ids.extend(topic.bytes for topic in request.topic_ids)
        case CreatePartitions():
            message.create_partitions.CopyFrom(_create_partitions(request))
        case AlterTopicConfigs():
            message.alter_topic_configs.CopyFrom(
                _alter_configs(request.topics, validate_only=request.validate_only)
            )
        case AlterBrokerConfigs():
            message.alter_broker_configs.CopyFrom(
                _alter_configs(request.brokers, validate_only=request.validate_only)
            )
        case _:
            _encode_of_brokers(request, message)
    return message


def _encode_of_brokers(request: _NotOfTopics, message: ControllerRequest) -> None:
    match request:
        case RegisterBroker():
            message.register_broker.CopyFrom(_register_broker(request))
        case FenceBroker():
            message.fence_broker.CopyFrom(_broker_life(request))
        case UnfenceBroker():
            message.unfence_broker.CopyFrom(_broker_life(request))
        case BeginShutdown():
            message.begin_shutdown.CopyFrom(_broker_life(request))
        case AllocateProducerIds():
            message.allocate_producer_ids.CopyFrom(_broker_life(request))
        case UnregisterBroker():
            message.unregister_broker.SetInParent()
            message.unregister_broker.broker_id = request.broker_id
        case SetDraining():
            message.set_draining.CopyFrom(
                ControllerRequest.SetDraining(
                    broker_id=request.broker_id, draining=request.draining
                )
            )
        case _:
            _encode_of_partitions(request, message)


def _encode_of_partitions(
    request: _OfPartitions | _OfTheCluster, message: ControllerRequest
) -> None:
    match request:
        case AlterPartitions():
            message.alter_partitions.CopyFrom(_alter_partitions(request))
        case Reassign():
            message.reassign.CopyFrom(_reassign(request))
        case ElectLeaders():
            message.elect_leaders.CopyFrom(_elect_leaders(request))
        case ReadmitVoter():
            message.readmit_voter.CopyFrom(
                ControllerRequest.ReadmitVoter(
                    broker_id=request.broker_id, directory_id=request.directory_id
                )
            )
        case EstablishCluster():
            message.establish_cluster.CopyFrom(
                ControllerRequest.EstablishCluster(cluster_id=request.cluster_id)
            )
        case AlterClientQuotas():
            message.alter_client_quotas.CopyFrom(_alter_client_quotas(request))
        case SetFeatureLevel():
            message.set_feature_level.CopyFrom(
                ControllerRequest.SetFeatureLevel(
                    name=request.name, level=request.level, validate_only=request.validate_only
                )
            )
        case _:
            assert_never(request)


def decode_request(message: ControllerRequest) -> Request:
    """Return what a message asks for.

    Raises:
        UnsupportedVersionError: it asks for something that this broker does not know.
        InvalidRequestError: a field has no value that it can have.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        raise UnsupportedVersionError(
            "the request is of a kind that this broker does not know; run the same version on "
            "all brokers"
        )
    try:
        return _DECODERS[kind](message)
    except ValueError as error:
        raise InvalidRequestError(f"the request {kind} cannot be read: {error}") from error


# --- Topics -----------------------------------------------------------------------------


def _create_topics(request: CreateTopics) -> ControllerRequest.CreateTopics:
    return ControllerRequest.CreateTopics(
        topics=[
            ControllerRequest.CreateTopics.NewTopic(
                name=topic.name,
                partitions=topic.partitions,
                replication_factor=topic.replication_factor,
                configs=topic.configs,
                assignments=[
                    ControllerRequest.CreateTopics.Assignment(
                        partition=partition, replicas=replicas
                    )
                    for partition, replicas in topic.assignments
                ],
            )
            for topic in request.topics
        ],
        validate_only=request.validate_only,
    )


def _to_create_topics(message: ControllerRequest) -> CreateTopics:
    return CreateTopics(
        topics=tuple(map(_to_new_topic, message.create_topics.topics)),
        validate_only=message.create_topics.validate_only,
    )


def _to_new_topic(topic: ControllerRequest.CreateTopics.NewTopic) -> NewTopic:
    return NewTopic(
        name=topic.name,
        partitions=topic.partitions if topic.HasField("partitions") else None,
        replication_factor=(
            topic.replication_factor if topic.HasField("replication_factor") else None
        ),
        configs=dict(topic.configs),
        assignments=tuple(
            Assignment(assigned.partition, tuple(map(BrokerId, assigned.replicas)))
            for assigned in topic.assignments
        ),
    )


def _to_delete_topics(message: ControllerRequest) -> DeleteTopics:
    return DeleteTopics(
        names=tuple(message.delete_topics.names),
        topic_ids=tuple(TopicId(UUID(bytes=topic)) for topic in message.delete_topics.topic_ids),
    )


def _create_partitions(request: CreatePartitions) -> ControllerRequest.CreatePartitions:
    return ControllerRequest.CreatePartitions(
        topics=[
            ControllerRequest.CreatePartitions.Total(
                name=topic.name,
                partitions=topic.partitions,
                assignments=_assignments(topic.assignments),
            )
            for topic in request.topics
        ],
        validate_only=request.validate_only,
    )


def _assignments(
    chosen: Iterable[Iterable[BrokerId]] | None,
) -> ControllerRequest.CreatePartitions.Assignments | None:
    if chosen is None:
        return None
    kind = ControllerRequest.CreatePartitions.Assignments
    return kind(partitions=[kind.Replicas(replicas=replicas) for replicas in chosen])


def _to_create_partitions(message: ControllerRequest) -> CreatePartitions:
    return CreatePartitions(
        topics=tuple(
            NewPartitions(
                name=total.name,
                partitions=total.partitions,
                assignments=(
                    tuple(
                        tuple(map(BrokerId, partition.replicas))
                        for partition in total.assignments.partitions
                    )
                    if total.HasField("assignments")
                    else None
                ),
            )
            for total in message.create_partitions.topics
        ),
        validate_only=message.create_partitions.validate_only,
    )


def _alter_configs(
    resources: Iterable[ConfigChanges], *, validate_only: bool
) -> ControllerRequest.AlterConfigs:
    return ControllerRequest.AlterConfigs(
        resources=[
            ControllerRequest.AlterConfigs.Resource(
                name=resource.name,
                changes=[
                    ControllerRequest.AlterConfigs.Change(
                        key=change.key, operation=change.operation.value, value=change.value
                    )
                    for change in resource.changes
                ],
                replaces=resource.replaces,
            )
            for resource in resources
        ],
        validate_only=validate_only,
    )


def _to_config_changes(message: ControllerRequest.AlterConfigs) -> tuple[ConfigChanges, ...]:
    return tuple(
        ConfigChanges(
            name=resource.name,
            changes=tuple(
                ConfigChange(
                    key=change.key,
                    operation=ConfigOperation(change.operation),
                    value=change.value,
                )
                for change in resource.changes
            ),
            replaces=resource.replaces,
        )
        for resource in message.resources
    )


# --- Brokers ----------------------------------------------------------------------------


def _register_broker(request: RegisterBroker) -> ControllerRequest.RegisterBroker:
    return ControllerRequest.RegisterBroker(
        cluster_id=request.cluster_id,
        broker_id=request.broker_id,
        incarnation_id=request.incarnation_id,
        host=request.host,
        grpc_port=request.grpc_port,
        rack=request.rack,
        clean_shutdown=request.clean_shutdown,
        directory_id=request.directory_id,
        voter=request.voter,
        listeners=(
            ControllerRequest.RegisterBroker.Listener(
                name=listener.name,
                host=listener.host,
                port=listener.port,
                security_protocol=listener.security_protocol,
                any_address=listener.any_address,
            )
            for listener in request.listeners
        ),
    )


def _to_register_broker(message: ControllerRequest) -> RegisterBroker:
    asked = message.register_broker
    return RegisterBroker(
        cluster_id=asked.cluster_id,
        broker_id=BrokerId(asked.broker_id),
        incarnation_id=asked.incarnation_id,
        host=asked.host,
        grpc_port=asked.grpc_port,
        rack=asked.rack,
        clean_shutdown=asked.clean_shutdown,
        directory_id=asked.directory_id,
        voter=asked.voter,
        listeners=tuple(
            BrokerListener(
                name=listener.name,
                host=listener.host,
                port=listener.port,
                security_protocol=listener.security_protocol,
                any_address=listener.any_address,
            )
            for listener in asked.listeners
        ),
    )


def _broker_life(request: _BrokerLife) -> ControllerRequest.BrokerLife:
    return ControllerRequest.BrokerLife(
        broker_id=request.broker_id, broker_epoch=request.broker_epoch
    )


def _to_fence_broker(message: ControllerRequest) -> FenceBroker:
    broker_id, broker_epoch = _life(message.fence_broker)
    return FenceBroker(broker_id=broker_id, broker_epoch=broker_epoch)


def _to_unfence_broker(message: ControllerRequest) -> UnfenceBroker:
    broker_id, broker_epoch = _life(message.unfence_broker)
    return UnfenceBroker(broker_id=broker_id, broker_epoch=broker_epoch)


def _to_begin_shutdown(message: ControllerRequest) -> BeginShutdown:
    broker_id, broker_epoch = _life(message.begin_shutdown)
    return BeginShutdown(broker_id=broker_id, broker_epoch=broker_epoch)


def _to_allocate_producer_ids(message: ControllerRequest) -> AllocateProducerIds:
    broker_id, broker_epoch = _life(message.allocate_producer_ids)
    return AllocateProducerIds(broker_id=broker_id, broker_epoch=broker_epoch)


def _life(life: ControllerRequest.BrokerLife) -> tuple[BrokerId, BrokerEpoch]:
    return BrokerId(life.broker_id), BrokerEpoch(life.broker_epoch)


def _to_unregister_broker(message: ControllerRequest) -> UnregisterBroker:
    return UnregisterBroker(broker_id=BrokerId(message.unregister_broker.broker_id))


def _to_set_draining(message: ControllerRequest) -> SetDraining:
    return SetDraining(
        broker_id=BrokerId(message.set_draining.broker_id), draining=message.set_draining.draining
    )


# --- Partitions -------------------------------------------------------------------------


def _alter_partitions(request: AlterPartitions) -> ControllerRequest.AlterPartitions:
    return ControllerRequest.AlterPartitions(
        broker_id=request.broker_id,
        broker_epoch=request.broker_epoch,
        partitions=[
            ControllerRequest.AlterPartition(
                topic_id=partition.topic_id.bytes,
                partition=partition.partition,
                leader_epoch=partition.leader_epoch,
                partition_epoch=partition.partition_epoch,
                isr=[
                    ControllerRequest.AlterPartition.Member(
                        broker_id=member.broker_id, broker_epoch=member.broker_epoch
                    )
                    for member in partition.isr
                ],
            )
            for partition in request.partitions
        ],
    )


def _to_alter_partitions(message: ControllerRequest) -> AlterPartitions:
    asked = message.alter_partitions
    return AlterPartitions(
        broker_id=BrokerId(asked.broker_id),
        broker_epoch=BrokerEpoch(asked.broker_epoch),
        partitions=tuple(map(_to_alter_partition, asked.partitions)),
    )


def _to_alter_partition(asked: ControllerRequest.AlterPartition) -> AlterPartition:
    return AlterPartition(
        topic_id=TopicId(UUID(bytes=asked.topic_id)),
        partition=asked.partition,
        leader_epoch=LeaderEpoch(asked.leader_epoch),
        partition_epoch=PartitionEpoch(asked.partition_epoch),
        isr=tuple(
            ProposedMember(BrokerId(member.broker_id), BrokerEpoch(member.broker_epoch))
            for member in asked.isr
        ),
    )


def _reassign(request: Reassign) -> ControllerRequest.Reassign:
    return ControllerRequest.Reassign(
        partitions=[
            ControllerRequest.Reassign.Partition(
                topic=reassignment.topic_partition.topic,
                partition=reassignment.topic_partition.partition,
                replicas=reassignment.replicas,
            )
            for reassignment in request.partitions
        ],
        keeps_replication_factor=request.keeps_replication_factor,
    )


def _to_reassign(message: ControllerRequest) -> Reassign:
    return Reassign(
        partitions=tuple(
            Reassignment(
                topic_partition=TopicPartition(asked.topic, asked.partition),
                replicas=tuple(map(BrokerId, asked.replicas)),
            )
            for asked in message.reassign.partitions
        ),
        keeps_replication_factor=message.reassign.keeps_replication_factor,
    )


def _elect_leaders(request: ElectLeaders) -> ControllerRequest.ElectLeaders:
    return ControllerRequest.ElectLeaders(
        partitions=[
            ControllerRequest.ElectLeaders.Partition(topic=topic, partition=partition)
            for topic, partition in request.partitions or ()
        ],
        all=request.partitions is None,
        unclean=request.unclean,
    )


def _to_elect_leaders(message: ControllerRequest) -> ElectLeaders:
    asked = message.elect_leaders
    partitions = tuple(TopicPartition(named.topic, named.partition) for named in asked.partitions)
    return ElectLeaders(partitions=None if asked.all else partitions, unclean=asked.unclean)


# --- The cluster ------------------------------------------------------------------------


def _to_readmit_voter(message: ControllerRequest) -> ReadmitVoter:
    return ReadmitVoter(
        broker_id=BrokerId(message.readmit_voter.broker_id),
        directory_id=message.readmit_voter.directory_id,
    )


def _alter_client_quotas(request: AlterClientQuotas) -> ControllerRequest.AlterClientQuotas:
    kind = ControllerRequest.AlterClientQuotas
    return kind(
        entities=[
            kind.Entity(
                entity=quota_entity_message(wanted.entity),
                changes=[
                    kind.Change(key=key, value=value) for key, value in wanted.changes.items()
                ],
            )
            for wanted in request.entities
        ],
        validate_only=request.validate_only,
    )


def _to_alter_client_quotas(message: ControllerRequest) -> AlterClientQuotas:
    return AlterClientQuotas(
        entities=tuple(
            QuotaChanges(
                entity=quota_entity_in(wanted.entity),
                changes={
                    change.key: change.value if change.HasField("value") else None
                    for change in wanted.changes
                },
            )
            for wanted in message.alter_client_quotas.entities
        ),
        validate_only=message.alter_client_quotas.validate_only,
    )


def _to_set_feature_level(message: ControllerRequest) -> SetFeatureLevel:
    return SetFeatureLevel(
        name=message.set_feature_level.name,
        level=message.set_feature_level.level,
        validate_only=message.set_feature_level.validate_only,
    )


_DECODERS: Final[Mapping[str, Callable[[ControllerRequest], Request]]] = {
    "create_topics": _to_create_topics,
    "delete_topics": _to_delete_topics,
    "alter_client_quotas": _to_alter_client_quotas,
    "create_partitions": _to_create_partitions,
    "alter_topic_configs": lambda message: AlterTopicConfigs(
        topics=_to_config_changes(message.alter_topic_configs),
        validate_only=message.alter_topic_configs.validate_only,
    ),
    "alter_broker_configs": lambda message: AlterBrokerConfigs(
        brokers=_to_config_changes(message.alter_broker_configs),
        validate_only=message.alter_broker_configs.validate_only,
    ),
    "register_broker": _to_register_broker,
    "fence_broker": _to_fence_broker,
    "unfence_broker": _to_unfence_broker,
    "begin_shutdown": _to_begin_shutdown,
    "unregister_broker": _to_unregister_broker,
    "allocate_producer_ids": _to_allocate_producer_ids,
    "set_feature_level": _to_set_feature_level,
    "alter_partitions": _to_alter_partitions,
    "reassign": _to_reassign,
    "elect_leaders": _to_elect_leaders,
    "set_draining": _to_set_draining,
    "readmit_voter": _to_readmit_voter,
    "establish_cluster": lambda message: EstablishCluster(
        cluster_id=message.establish_cluster.cluster_id
    ),
}
"""By the name of the field in ``kind``."""
