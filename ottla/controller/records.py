"""Records of the metadata log: from the model's values to bytes, and the answers they get.

A *record* states one fact; a *batch* is the records of one proposal, which apply together or not
at all. ``proto/ottla/v1/metadata_record.proto`` is the format. The functions here make records;
:mod:`ottla.controller.state` is the only place that reads them.

Bytes that do not decode, or hold a kind of record that this version does not know, are no error
of a caller: they are in the log, every replica would have to guess, and guesses differ. So they
are assertions, which stop the node before its state can differ from the others'.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from google.protobuf.message import DecodeError

from ottla.model.ids import (
    BrokerEpoch,
    BrokerId,
    ControllerEpoch,
    LeaderEpoch,
    MetadataOffset,
    PartitionEpoch,
    ProducerId,
    TopicId,
)
from ottla.model.image import BrokerImage, BrokerListener, PartitionImage, QuotaEntity
from ottla.v1 import metadata_record_pb2 as pb

NO_BASE_VERSION: Final = 0
"""The base of an election, which depends on no state. Every other batch has a base above it."""

# --- Records --------------------------------------------------------------------


def cluster_created(cluster_id: str) -> pb.MetadataRecord:
    """The cluster has its identity; there is one such record in a log."""
    return pb.MetadataRecord(cluster_created=pb.ClusterCreated(cluster_id=cluster_id))


def voter_admitted(broker_id: BrokerId, directory_id: bytes) -> pb.MetadataRecord:
    """The voter's memory is in this data directory, and in no other that it may have had."""
    return pb.MetadataRecord(
        voter_admitted=pb.VoterAdmitted(broker_id=broker_id, directory_id=directory_id)
    )


def controller_elected(broker_id: BrokerId, epoch: ControllerEpoch) -> pb.MetadataRecord:
    """``broker_id`` is the controller in ``epoch``, the Raft term in which it leads."""
    return pb.MetadataRecord(
        controller_elected=pb.ControllerElected(broker_id=broker_id, controller_epoch=epoch)
    )


def broker_registered(broker: BrokerImage, *, clean_shutdown: bool) -> pb.MetadataRecord:
    """``broker`` is in the cluster. A new broker epoch begins fenced, whatever ``fenced`` says."""
    return pb.MetadataRecord(
        broker_registered=pb.BrokerRegistered(
            broker_id=broker.broker_id,
            broker_epoch=broker.broker_epoch,
            host=broker.host,
            grpc_port=broker.grpc_port,
            rack=broker.rack,
            incarnation_id=broker.incarnation_id,
            clean_shutdown=clean_shutdown,
            directory_id=broker.directory_id,
            listeners=(
                pb.BrokerRegistered.Listener(
                    name=listener.name,
                    host=listener.host,
                    port=listener.port,
                    security_protocol=listener.security_protocol,
                    any_address=listener.any_address,
                )
                for listener in broker.listeners
            ),
        )
    )


def broker_fencing_changed(
    broker_id: BrokerId, broker_epoch: BrokerEpoch, *, fenced: bool
) -> pb.MetadataRecord:
    """The broker stops serving (fenced), or begins to."""
    return pb.MetadataRecord(
        broker_fencing_changed=pb.BrokerFencingChanged(
            broker_id=broker_id, broker_epoch=broker_epoch, fenced=fenced
        )
    )


def broker_shutting_down(broker_id: BrokerId, broker_epoch: BrokerEpoch) -> pb.MetadataRecord:
    """The broker is stopping in good order, until it is fenced or registers again."""
    return pb.MetadataRecord(
        broker_shutting_down=pb.BrokerShuttingDown(broker_id=broker_id, broker_epoch=broker_epoch)
    )


def broker_draining_changed(broker_id: BrokerId, *, draining: bool) -> pb.MetadataRecord:
    """The broker gets no new replicas any more (draining), or may again."""
    return pb.MetadataRecord(
        broker_draining_changed=pb.BrokerDrainingChanged(broker_id=broker_id, draining=draining)
    )


def broker_unregistered(broker_id: BrokerId) -> pb.MetadataRecord:
    """The broker, and its settings, are not part of the cluster any more."""
    return pb.MetadataRecord(broker_unregistered=pb.BrokerUnregistered(broker_id=broker_id))


def broker_config_changed(
    broker_id: BrokerId | None, key: str, value: str | None
) -> pb.MetadataRecord:
    """The setting is ``value`` on one broker, or by default on all; ``None``: not set there."""
    return pb.MetadataRecord(
        broker_config_changed=pb.BrokerConfigChanged(broker_id=broker_id, key=key, value=value)
    )


def topic_created(name: str, topic_id: TopicId) -> pb.MetadataRecord:
    """A topic without partitions exists; :func:`partition_changed` gives it some."""
    return pb.MetadataRecord(topic_created=pb.TopicCreated(name=name, topic_id=topic_id.bytes))


def partition_changed(
    topic_id: TopicId, number: int, partition: PartitionImage
) -> pb.MetadataRecord:
    """Partition ``number`` is now as ``partition`` says; the next free number adds one."""
    return pb.MetadataRecord(
        partition_changed=pb.PartitionChanged(
            topic_id=topic_id.bytes,
            partition=number,
            replicas=partition.replicas,
            in_sync_replicas=partition.in_sync_replicas,
            eligible_leader_replicas=partition.eligible_leader_replicas,
            leader=partition.leader,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            adding_replicas=partition.adding_replicas,
            removing_replicas=partition.removing_replicas,
        )
    )


def topic_deleted(topic_id: TopicId) -> pb.MetadataRecord:
    """The topic, its partitions and its settings are gone."""
    return pb.MetadataRecord(topic_deleted=pb.TopicDeleted(topic_id=topic_id.bytes))


def topic_config_changed(topic_id: TopicId, key: str, value: str | None) -> pb.MetadataRecord:
    """The topic's setting ``key`` is ``value``; ``None``: it has none of its own any more."""
    return pb.MetadataRecord(
        topic_config_changed=pb.TopicConfigChanged(topic_id=topic_id.bytes, key=key, value=value)
    )


def producer_ids_allocated(
    broker_id: BrokerId, broker_epoch: BrokerEpoch, *, next_producer_id: ProducerId
) -> pb.MetadataRecord:
    """A broker took the producer ids below ``next_producer_id`` that were still free."""
    return pb.MetadataRecord(
        producer_ids_allocated=pb.ProducerIdsAllocated(
            broker_id=broker_id, broker_epoch=broker_epoch, next_producer_id=next_producer_id
        )
    )


def client_quota_changed(entity: QuotaEntity, key: str, value: float | None) -> pb.MetadataRecord:
    """The entity's quota ``key`` is ``value``; ``None``: it has none any more."""
    return pb.MetadataRecord(
        client_quota_changed=pb.ClientQuotaChanged(
            user=entity.user, client_id=entity.client_id, key=key, value=value
        )
    )


def feature_level(name: str, level: int) -> pb.MetadataRecord:
    """From here on the log may hold what level ``level`` of feature ``name`` brings."""
    return pb.MetadataRecord(feature_level=pb.FeatureLevel(name=name, level=level))


# --- And back ---------------------------------------------------------------------


def broker_in(record: pb.BrokerRegistered) -> BrokerImage:
    """Return the broker that the record registers: fenced, and nothing else known of it."""
    return BrokerImage(
        broker_id=BrokerId(record.broker_id),
        broker_epoch=BrokerEpoch(record.broker_epoch),
        host=record.host,
        grpc_port=record.grpc_port,
        rack=record.rack,
        incarnation_id=record.incarnation_id,
        fenced=True,
        listeners=tuple(
            BrokerListener(
                name=listener.name,
                host=listener.host,
                port=listener.port,
                security_protocol=listener.security_protocol,
                any_address=listener.any_address,
            )
            for listener in record.listeners
        ),
        directory_id=record.directory_id,
    )


def partition_in(record: pb.PartitionChanged) -> PartitionImage:
    """Return the partition that the record describes."""
    return PartitionImage(
        replicas=tuple(map(BrokerId, record.replicas)),
        in_sync_replicas=tuple(map(BrokerId, record.in_sync_replicas)),
        eligible_leader_replicas=tuple(map(BrokerId, record.eligible_leader_replicas)),
        leader=BrokerId(record.leader),
        leader_epoch=LeaderEpoch(record.leader_epoch),
        partition_epoch=PartitionEpoch(record.partition_epoch),
        adding_replicas=tuple(map(BrokerId, record.adding_replicas)),
        removing_replicas=tuple(map(BrokerId, record.removing_replicas)),
    )


def quota_entity_in(record: pb.ClientQuotaChanged) -> QuotaEntity:
    """Return whose quota the record changes."""
    return QuotaEntity(
        user=record.user if record.HasField("user") else None,
        client_id=record.client_id if record.HasField("client_id") else None,
    )


def topic_id_in(content: bytes) -> TopicId:
    """Return the topic id that 16 bytes of a record stand for."""
    assert len(content) == _TOPIC_ID_BYTES, content
    return TopicId(UUID(bytes=content))


_TOPIC_ID_BYTES = 16

# --- Batches ------------------------------------------------------------------------


def encode_batch(
    records: Iterable[pb.MetadataRecord],
    *,
    controller_epoch: ControllerEpoch,
    base_version: int,
    client_id: int,
    sequence: int,
) -> bytes:
    """Return the entry to propose; the fields are those of ``MetadataBatch``."""
    batch = pb.MetadataBatch(
        controller_epoch=controller_epoch,
        records=records,
        client_id=client_id,
        sequence=sequence,
        base_version=base_version,
    )
    return batch.SerializeToString()


def encode_election(
    broker_id: BrokerId, epoch: ControllerEpoch, *, client_id: int, sequence: int
) -> bytes:
    """Return the entry that a node proposes first when it leads in Raft term ``epoch``.

    Once it is applied *here* and answered ``APPLIED``, and the term is still ``epoch``, the node
    is the controller: it has seen everything that earlier controllers did, and nothing of theirs
    can follow.
    """
    return encode_batch(
        (controller_elected(broker_id, epoch),),
        controller_epoch=epoch,
        base_version=NO_BASE_VERSION,
        client_id=client_id,
        sequence=sequence,
    )


def decode_batch(entry: bytes) -> pb.MetadataBatch:
    """Return the batch in an entry; anything else in the log stops the node."""
    batch = pb.MetadataBatch()
    try:
        batch.ParseFromString(entry)
    except DecodeError as error:
        raise AssertionError(f"an entry of {len(entry)} bytes is no batch: {error}") from error
    return batch


# --- Answers ------------------------------------------------------------------------


class AnswerOutcome(Enum):
    """What became of a batch that was applied."""

    APPLIED = pb.MetadataAnswer.APPLIED
    """Its records are part of the state."""
    NOT_CONTROLLER = pb.MetadataAnswer.NOT_CONTROLLER
    """Nothing changed, and never will: its proposer is not the controller elected last."""
    CONFLICT = pb.MetadataAnswer.CONFLICT
    """Nothing changed: the state is not the one it was decided on. Decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataAnswer:
    """What ``apply`` returns to the proposer of a batch."""

    outcome: AnswerOutcome
    version: int
    """Of the state after the batch."""
    metadata_offset: MetadataOffset
    """Where the batch is in the log: images from here on show it."""

    def encode(self) -> bytes:
        """Return the bytes that travel through the engine."""
        answer = pb.MetadataAnswer(
            outcome=self.outcome.value,
            version=self.version,
            metadata_offset=self.metadata_offset,
        )
        return answer.SerializeToString()

    @classmethod
    def decode(cls, content: bytes) -> MetadataAnswer:
        """Read what :meth:`encode` wrote."""
        answer = pb.MetadataAnswer.FromString(content)
        return cls(
            outcome=AnswerOutcome(answer.outcome),
            version=answer.version,
            metadata_offset=MetadataOffset(answer.metadata_offset),
        )
