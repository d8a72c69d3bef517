"""The cluster as a client knows it: brokers, partitions, and who leads what.

A picture is a value; what a broker says makes a new one of it. Brokers know the metadata log up to
different places, so each answer says how far it goes, and what an earlier place says never replaces
what a later one said: a client that hears of a new leader does not go back to the old one because
some broker has not heard of the change yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ottla.client.addresses import Address
from ottla.client.rpc import error_from_message
from ottla.model.errors import (
    LeaderNotAvailableError,
    MetadataError,
    OttlaError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import NO_BROKER, TopicPartition
from ottla.v1 import cluster_pb2, topics_pb2


@dataclass(frozen=True, slots=True)
class PartitionLeader:
    """Who leads a partition; ``broker_id`` is -1 while nobody does."""

    broker_id: int
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class TopicLeaders:
    """The partitions of a topic, from 0 on, or the reason why they are not known."""

    partitions: tuple[PartitionLeader, ...]
    error: OttlaError | None
    metadata_offset: int = 0
    """How far the broker knew the metadata log that said so."""

    in_sync_replicas: tuple[frozenset[int], ...] = ()
    """Of each partition. Not part of what a leader is: they come and go while it leads."""


@dataclass(frozen=True, slots=True)
class ClusterPicture:
    """The cluster as brokers described it."""

    cluster_id: str = ""
    controller_id: int = NO_BROKER
    brokers: Mapping[int, Address] = field(default_factory=dict)
    topics: Mapping[str, TopicLeaders] = field(default_factory=dict)
    metadata_offset: int = -1

    def leader_of(self, topic_partition: TopicPartition) -> PartitionLeader | None:
        """Return the leader if there is one and its address is known."""
        topic = self.topics.get(topic_partition.topic)
        if topic is None or not 0 <= topic_partition.partition < len(topic.partitions):
            return None
        leader = topic.partitions[topic_partition.partition]
        return leader if leader.broker_id in self.brokers else None

    def in_sync_replicas(self, topic_partition: TopicPartition) -> frozenset[int]:
        """Return the brokers that have all that is committed, the leader among them."""
        topic = self.topics.get(topic_partition.topic)
        if topic is None or not 0 <= topic_partition.partition < len(topic.in_sync_replicas):
            return frozenset()
        return topic.in_sync_replicas[topic_partition.partition]

    def newer_leader(
        self, topic_partition: TopicPartition, known: PartitionLeader | None
    ) -> PartitionLeader | None:
        """Return the leader if it was elected after ``known``."""
        leader = self.leader_of(topic_partition)
        if leader is None or (known is not None and leader.leader_epoch <= known.leader_epoch):
            return None
        return leader

    def why_no_leader(self, topic_partition: TopicPartition) -> OttlaError:
        """Return what keeps a partition without a leader, as far as this picture tells."""
        topic = self.topics.get(topic_partition.topic)
        if topic is not None and topic.error is not None:
            return topic.error
        if topic is not None and topic_partition.partition >= len(topic.partitions):
            return UnknownTopicOrPartitionError(
                f"topic {topic_partition.topic!r} has no partition {topic_partition.partition}: "
                f"it has {len(topic.partitions)}, from 0 on"
            )
        return LeaderNotAvailableError(f"{topic_partition} has no leader at the moment")

    def available_partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic that have a leader whose address is known."""
        return [
            number
            for number, leader in enumerate(self.topics[topic].partitions)
            if leader.broker_id in self.brokers
        ]

    def with_cluster(self, answer: cluster_pb2.DescribeClusterResponse) -> ClusterPicture:
        """Return the picture after an answer that is about no topic."""
        metadata = cluster_pb2.GetMetadataResponse(
            cluster_id=answer.cluster_id,
            controller_id=answer.controller_id,
            brokers=answer.brokers,
            metadata_offset=answer.metadata_offset,
        )
        return self.with_metadata(metadata, wanted=())

    def with_metadata(
        self,
        answer: cluster_pb2.GetMetadataResponse,
        *,
        wanted: Collection[str],
        deleted: Iterable[str] = (),
    ) -> ClusterPicture:
        """Return the picture after an answer; topics that nobody wants are left out."""
        offset = answer.metadata_offset
        is_same = answer.cluster_id == self.cluster_id
        topics = {name: self.topics[name] for name in wanted if is_same and name in self.topics}
        told = {topic.name: _leaders(topic, offset) for topic in answer.topics}
        told |= {name: _deleted(name, offset) for name in deleted}
        for name, leaders in told.items():
            known = topics.get(name)
            if name in wanted and (known is None or known.metadata_offset <= offset):
                topics[name] = leaders
        if is_same and offset < self.metadata_offset:
            return ClusterPicture(
                self.cluster_id, self.controller_id, self.brokers, topics, self.metadata_offset
            )
        return ClusterPicture(
            answer.cluster_id, answer.controller_id, _addresses(answer.brokers), topics, offset
        )


def _addresses(brokers: Iterable[cluster_pb2.Broker]) -> dict[int, Address]:
    # A fenced broker is known, but serves nobody.
    return {broker.id: Address(broker.host, broker.port) for broker in brokers if not broker.fenced}


def _leaders(topic: topics_pb2.DescribeTopicsResponse.Topic, offset: int) -> TopicLeaders:
    if topic.error.code:
        return TopicLeaders((), error_from_message(topic.error), offset)
    described = sorted(topic.partitions, key=lambda partition: partition.partition)
    if not described:
        none = LeaderNotAvailableError(f"{topic.name!r} has no partitions yet")
        return TopicLeaders((), none, offset)
    if [partition.partition for partition in described] != list(range(len(described))):
        gaps = MetadataError(f"the partitions of {topic.name!r} have gaps")
        return TopicLeaders((), gaps, offset)
    return TopicLeaders(
        tuple(PartitionLeader(each.leader, each.leader_epoch) for each in described),
        None,
        offset,
        tuple(frozenset(each.in_sync_replicas) for each in described),
    )


def _deleted(name: str, offset: int) -> TopicLeaders:
    return TopicLeaders((), UnknownTopicOrPartitionError(f"topic {name!r} was deleted"), offset)
