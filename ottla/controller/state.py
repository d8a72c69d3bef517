"""The state that the metadata log stands for, and the only way it changes: replay.

A :class:`MetadataState` is a value. It never changes, so any thread may hold one, decide on it
and compare it with a later one. :class:`Replay` takes a state and a batch of records and makes
the next state; what the records do not touch is shared between the two: all topics but those
named, all brokers if no broker changed. A batch costs one copy of each *index* it touches (topics
by name, partitions of one topic), not a copy of what is in it.

Replay refuses nothing. Decisions were checked when they were made, on this very state (the
version says so, see :mod:`ottla.controller.state_machine`), so a record that does not fit is a
bug of ours: an assertion, which stops the node before anything changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ottla.controller.records import broker_in, partition_in, quota_entity_in, topic_id_in
from ottla.model.ids import (
    NO_BROKER,
    BrokerId,
    ControllerEpoch,
    MetadataOffset,
    ProducerId,
    TopicId,
)
from ottla.model.image import (
    BrokerImage,
    ClusterImage,
    PartitionImage,
    QuotaEntity,
    TopicImage,
)
from ottla.v1 import metadata_record_pb2 as pb

SUPPORTED_FEATURES: Final[Mapping[str, int]] = {"metadata.version": 1}
"""The features that this version knows, each with the highest level it can read and write."""

FIRST_PRODUCER_ID: Final = ProducerId(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataState:
    """Everything the metadata log says so far."""

    image: ClusterImage
    """What all brokers need to know."""
    version: int = 0
    """Batches that have changed the state. Rises by one with each, so it names a state."""
    next_producer_id: ProducerId = FIRST_PRODUCER_ID
    """The first producer id that nobody has."""
    feature_levels: Mapping[str, int] = field(default_factory=dict)
    """Features in use."""

    def __repr__(self) -> str:
        image = self.image
        return (
            f"<MetadataState version {self.version} at {image.metadata_offset}: "
            f"controller {image.controller_id} epoch {image.controller_epoch}, "
            f"{len(image.brokers)} brokers, {len(image.topics)} topics>"
        )


@dataclass(slots=True)
class _TopicDraft:
    """A topic while records about it are replayed."""

    name: str
    partitions: list[PartitionImage]
    configs: dict[str, str]


class Replay:
    """One use: give it records one after another, then take the next state."""

    def __init__(self, state: MetadataState) -> None:
        self._image = state.image
        self._brokers: dict[BrokerId, BrokerImage] | None = None
        self._drafts: dict[TopicId, _TopicDraft] = {}
        self._created: set[str] = set()
        self._deleted: dict[TopicId, str] = {}
        self._features = state.feature_levels
        self._next_producer_id = state.next_producer_id
        self._controller = (state.image.controller_id, state.image.controller_epoch)
        self._cluster_id = state.image.cluster_id
        self._voters = state.image.voters
        self._broker_configs = state.image.broker_configs
        self._client_quotas: dict[QuotaEntity, Mapping[str, float]] | None = None
        self._replay_by_kind: dict[str, Callable[[pb.MetadataRecord], None]] = {
            "cluster_created": self._cluster_created,
            "controller_elected": self._controller_elected,
            "voter_admitted": self._voter_admitted,
            "broker_registered": self._broker_registered,
            "broker_fencing_changed": self._broker_fencing_changed,
            "broker_shutting_down": self._broker_shutting_down,
            "broker_draining_changed": self._broker_draining_changed,
            "broker_unregistered": self._broker_unregistered,
            "broker_config_changed": self._broker_config_changed,
            "client_quota_changed": self._client_quota_changed,
            "topic_created": self._topic_created,
            "partition_changed": self._partition_changed,
            "topic_config_changed": self._topic_config_changed,
            "topic_deleted": self._topic_deleted,
            "producer_ids_allocated": self._producer_ids_allocated,
            "feature_level": self._feature_level,
        }

    def record(self, record: pb.MetadataRecord) -> None:
        """Replay one record; one that does not fit the state is an :exc:`AssertionError`."""
        kind = record.WhichOneof("kind")
        assert kind is not None, f"a kind of record that this version does not know: {record!r}"
        self._replay_by_kind[kind](record)

    def state(self, *, metadata_offset: MetadataOffset, version: int) -> MetadataState:
        """Return the state after the records."""
        topics, topic_names = self._topics()
        controller_id, controller_epoch = self._controller
        image = replace(
            self._image,
            cluster_id=self._cluster_id,
            metadata_offset=metadata_offset,
            controller_id=controller_id,
            controller_epoch=controller_epoch,
            brokers=self._image.brokers if self._brokers is None else self._brokers,
            topics=topics,
            topic_names=topic_names,
            voters=self._voters,
            broker_configs=self._broker_configs,
            client_quotas=(
                self._image.client_quotas if self._client_quotas is None else self._client_quotas
            ),
        )
        return MetadataState(
            image=image,
            version=version,
            next_producer_id=self._next_producer_id,
            feature_levels=self._features,
        )

    # --- One method a kind of record ---

    def _cluster_created(self, whole: pb.MetadataRecord) -> None:
        record = whole.cluster_created
        assert record.cluster_id, record
        assert self._cluster_id in ("", record.cluster_id), (record, self._cluster_id)
        self._cluster_id = record.cluster_id

    def _voter_admitted(self, whole: pb.MetadataRecord) -> None:
        record = whole.voter_admitted
        assert record.directory_id, record
        self._voters = {**self._voters, BrokerId(record.broker_id): record.directory_id}

    def _controller_elected(self, whole: pb.MetadataRecord) -> None:
        record = whole.controller_elected
        elected = (BrokerId(record.broker_id), ControllerEpoch(record.controller_epoch))
        # The same election may be proposed twice, but Raft elects one leader a term.
        assert elected == self._controller or elected[1] > self._controller[1], (
            record,
            self._controller,
        )
        self._controller = elected

    def _broker_registered(self, whole: pb.MetadataRecord) -> None:
        record = whole.broker_registered
        broker_id = BrokerId(record.broker_id)
        known = self._writable_brokers().get(broker_id)
        same_life = known is not None and known.broker_epoch == record.broker_epoch
        assert same_life or known is None or record.broker_epoch > known.broker_epoch, (
            record,
            known,
        )
        broker = broker_in(record)
        if known is not None:
            broker = replace(broker, draining=known.draining)
        if known is not None and same_life:
            # An amended registration (new address, same process) leaves the broker as it is.
            broker = replace(broker, fenced=known.fenced, shutting_down=known.shutting_down)
        self._writable_brokers()[broker_id] = broker

    def _broker_fencing_changed(self, whole: pb.MetadataRecord) -> None:
        record = whole.broker_fencing_changed
        broker = self._broker(record.broker_id, record.broker_epoch)
        # Whoever is fenced has stopped, in good order or not.
        shutting_down = broker.shutting_down and not record.fenced
        self._writable_brokers()[broker.broker_id] = replace(
            broker, fenced=record.fenced, shutting_down=shutting_down
        )

    def _broker_shutting_down(self, whole: pb.MetadataRecord) -> None:
        record = whole.broker_shutting_down
        broker = self._broker(record.broker_id, record.broker_epoch)
        assert not broker.fenced, (record, broker)
        self._writable_brokers()[broker.broker_id] = replace(broker, shutting_down=True)

    def _broker_draining_changed(self, whole: pb.MetadataRecord) -> None:
        record = whole.broker_draining_changed
        broker = self._broker(record.broker_id)
        self._writable_brokers()[broker.broker_id] = replace(broker, draining=record.draining)

    def _broker_unregistered(self, whole: pb.MetadataRecord) -> None:
        broker = self._broker(whole.broker_unregistered.broker_id)
        assert broker.fenced, broker
        del self._writable_brokers()[broker.broker_id]
        self._broker_configs = {
            owner: configs
            for owner, configs in self._broker_configs.items()
            if owner != broker.broker_id
        }

    def _broker_config_changed(self, whole: pb.MetadataRecord) -> None:
        record = whole.broker_config_changed
        owner = BrokerId(record.broker_id) if record.HasField("broker_id") else None
        configs = dict(self._broker_configs.get(owner, {}))
        if record.HasField("value"):
            configs[record.key] = record.value
        else:
            configs.pop(record.key, None)
        others = {other: of for other, of in self._broker_configs.items() if other != owner}
        self._broker_configs = {**others, owner: configs} if configs else others

    def _client_quota_changed(self, whole: pb.MetadataRecord) -> None:
        record = whole.client_quota_changed
        entity = quota_entity_in(record)
        if self._client_quotas is None:
            self._client_quotas = dict(self._image.client_quotas)
        quotas = dict(self._client_quotas.get(entity, {}))
        if record.HasField("value"):
            quotas[record.key] = record.value
        else:
            quotas.pop(record.key, None)
        if quotas:
            self._client_quotas[entity] = quotas
        else:
            self._client_quotas.pop(entity, None)

    def _topic_created(self, whole: pb.MetadataRecord) -> None:
        record = whole.topic_created
        topic_id = topic_id_in(record.topic_id)
        assert self._name_is_free(record.name), record
        assert topic_id not in self._drafts, record
        assert topic_id not in self._image.topic_names, record
        self._drafts[topic_id] = _TopicDraft(record.name, [], {})
        self._created.add(record.name)

    def _partition_changed(self, whole: pb.MetadataRecord) -> None:
        record = whole.partition_changed
        partitions = self._draft(record.topic_id).partitions
        partition = partition_in(record)
        _check_partition(partition)
        assert 0 <= record.partition <= len(partitions), record
        if record.partition == len(partitions):
            partitions.append(partition)
            return
        before = partitions[record.partition]
        assert partition.partition_epoch > before.partition_epoch, (record, before)
        new_reign = partition.leader != before.leader
        assert partition.leader_epoch >= before.leader_epoch + new_reign, (record, before)
        partitions[record.partition] = partition

    def _topic_config_changed(self, whole: pb.MetadataRecord) -> None:
        record = whole.topic_config_changed
        configs = self._draft(record.topic_id).configs
        if record.HasField("value"):
            configs[record.key] = record.value
        else:
            configs.pop(record.key, None)

    def _topic_deleted(self, whole: pb.MetadataRecord) -> None:
        record = whole.topic_deleted
        name = self._draft(record.topic_id).name
        topic_id = topic_id_in(record.topic_id)
        del self._drafts[topic_id]
        self._created.discard(name)
        self._deleted[topic_id] = name

    def _producer_ids_allocated(self, whole: pb.MetadataRecord) -> None:
        record = whole.producer_ids_allocated
        assert record.next_producer_id > self._next_producer_id, (record, self._next_producer_id)
        self._next_producer_id = ProducerId(record.next_producer_id)

    def _feature_level(self, whole: pb.MetadataRecord) -> None:
        record = whole.feature_level
        # Whoever wrote this may write records that this version cannot read.
        assert record.level <= SUPPORTED_FEATURES.get(record.name, 0), record
        self._features = {**self._features, record.name: record.level}

    # --- Copies, made when first needed ---

    def _broker(self, number: int, broker_epoch: int | None = None) -> BrokerImage:
        """Return the broker that a record is about, in the life that it names."""
        brokers = self._image.brokers if self._brokers is None else self._brokers
        broker = brokers.get(BrokerId(number))
        assert broker is not None, number
        assert broker_epoch in (None, broker.broker_epoch), (broker_epoch, broker)
        return broker

    def _writable_brokers(self) -> dict[BrokerId, BrokerImage]:
        if self._brokers is None:
            self._brokers = dict(self._image.brokers)
        return self._brokers

    def _draft(self, content: bytes) -> _TopicDraft:
        topic_id = topic_id_in(content)
        draft = self._drafts.get(topic_id)
        if draft is None:
            assert topic_id not in self._deleted, topic_id
            assert topic_id in self._image.topic_names, topic_id
            topic = self._image.topics[self._image.topic_names[topic_id]]
            draft = _TopicDraft(topic.name, list(topic.partitions), dict(topic.configs))
            self._drafts[topic_id] = draft
        return draft

    def _name_is_free(self, name: str) -> bool:
        if name in self._created:
            return False
        return name not in self._image.topics or name in self._deleted.values()

    def _topics(self) -> tuple[Mapping[str, TopicImage], Mapping[TopicId, str]]:
        if not self._drafts and not self._deleted:
            return self._image.topics, self._image.topic_names
        topics, topic_names = dict(self._image.topics), dict(self._image.topic_names)
        for topic_id, name in self._deleted.items():
            # A topic that was created by this same batch is in neither.
            if topic_names.pop(topic_id, None) is not None:
                del topics[name]
        for topic_id, draft in self._drafts.items():
            topic_names[topic_id] = draft.name
            topics[draft.name] = TopicImage(
                topic_id=topic_id,
                name=draft.name,
                partitions=tuple(draft.partitions),
                configs=draft.configs,
            )
        return topics, topic_names


def replay(
    state: MetadataState, records: Sequence[pb.MetadataRecord], *, metadata_offset: MetadataOffset
) -> MetadataState:
    """Return the state after one batch of records, at ``metadata_offset`` of the log."""
    replaying = Replay(state)
    for record in records:
        replaying.record(record)
    return replaying.state(metadata_offset=metadata_offset, version=state.version + 1)


def _check_partition(partition: PartitionImage) -> None:
    replicas = set(partition.replicas)
    assert replicas, partition
    assert len(replicas) == len(partition.replicas), partition
    in_sync, eligible = set(partition.in_sync_replicas), set(partition.eligible_leader_replicas)
    assert in_sync | eligible <= replicas, partition
    assert not in_sync & eligible, partition
    assert partition.leader == NO_BROKER or partition.leader in in_sync, partition
    adding, removing = set(partition.adding_replicas), set(partition.removing_replicas)
    assert adding | removing <= replicas, partition
    assert not adding & removing, partition
