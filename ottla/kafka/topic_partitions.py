"""The partitions of topics as ``Metadata`` tells them, made once for as long as nothing changes.

Every client asks for metadata every few minutes, and all of them do when a leader fails. What they
are told of a partition depends on the partition, on the brokers that serve, and on the listener
through which they came, so it is kept until one of these changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ottla.kafka.reachable_brokers import ReachableBrokers
from ottla.model.errors import LeaderNotAvailableError, ReplicaNotAvailableError
from ottla.model.ids import NO_BROKER, BrokerId
from ottla.model.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from ottla.wire.messages.metadata import MetadataResponsePartition

_FIRST_VERSION: Final = 0
"""Knows no offline replicas: they are left out, and their absence is an error."""
_LISTENER_NOT_FOUND_FROM: Final = 6


class _View(NamedTuple):
    listener: str
    version: int
    """The first of those that are answered alike."""


class TopicPartitions:
    """Keeps the messages of the latest image."""

    def __init__(self) -> None:
        self._brokers: Mapping[BrokerId, BrokerImage] = {}
        self._topics: Mapping[str, TopicImage] = {}
        self._kept: dict[_View, dict[str, tuple[TopicImage, list[MetadataResponsePartition]]]] = {}

    def of(
        self, image: ClusterImage, topic: TopicImage, reachable: ReachableBrokers, *, version: int
    ) -> list[MetadataResponsePartition]:
        """Return the partitions of ``topic``, one of those in ``image``; not to be changed."""
        self._forget(image)
        view = _View(reachable.listener, _answered_like(version))
        kept = self._kept.setdefault(view, {})
        found = kept.get(topic.name)
        if found is not None and found[0] is topic:
            return found[1]
        partitions = [
            _described(number, partition, reachable, view.version)
            for number, partition in enumerate(topic.partitions)
        ]
        kept[topic.name] = topic, partitions
        return partitions

    def _forget(self, image: ClusterImage) -> None:
        """Forget what a newer image has made untrue, or does not have any more."""
        if image.brokers is not self._brokers:
            self._kept.clear()
            self._brokers = image.brokers
        elif image.topics is not self._topics:
            for kept in self._kept.values():
                for name in kept.keys() - image.topics.keys():
                    del kept[name]
        self._topics = image.topics


def _answered_like(version: int) -> int:
    if version >= _LISTENER_NOT_FOUND_FROM:
        return _LISTENER_NOT_FOUND_FROM
    return min(version, _FIRST_VERSION + 1)


def _described(
    number: int, partition: PartitionImage, reachable: ReachableBrokers, version: int
) -> MetadataResponsePartition:
    led = partition.leader in reachable
    error_code = 0
    if not led:
        error_code = reachable.why_leaderless(partition.leader)
        if version < _LISTENER_NOT_FOUND_FROM:
            error_code = LeaderNotAvailableError.code
    described = MetadataResponsePartition(
        error_code=error_code,
        partition_index=number,
        leader_id=partition.leader if led else NO_BROKER,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.in_sync_replicas),
        offline_replicas=reachable.offline(partition.replicas),
    )
    if version == _FIRST_VERSION and described.offline_replicas:
        described.error_code = error_code or ReplicaNotAvailableError.code
        described.replica_nodes = [r for r in partition.replicas if r in reachable]
        described.isr_nodes = [r for r in partition.in_sync_replicas if r in reachable]
    return described
