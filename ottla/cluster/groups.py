"""Consumer groups, as the doors ask for them: who coordinates a group, and what it answers.

A group is coordinated by the broker that leads the partition of ``__consumer_offsets`` that the
group's id falls on; see :mod:`ottla.cluster.group_partitions`. Groups of one partition share a
machine; what happens to it is in :mod:`ottla.cluster.group_shard`.

Offsets are committed and deleted for partitions that exist; of others the coordinator does not
hear, and the other partitions of the request are none the worse for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar, cast

from ottla.cluster.group_partitions import group_partition
from ottla.cluster.group_shard import HeldLease, HostedShard
from ottla.cluster.group_shards import GroupShards
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.offsets_topic import OffsetsTopic
from ottla.coordinator.requests import (
    CommitOffsets,
    DeleteOffsets,
    GroupListing,
    GroupRequest,
    Heartbeat,
    ListGroups,
    OffsetToCommit,
)
from ottla.model.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidGroupIdError,
    NotCoordinatorError,
    OttlaError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import NO_BROKER, BrokerId, TopicPartition
from ottla.model.topic_names import CONSUMER_OFFSETS

T = TypeVar("T")
Part = TypeVar("Part")
Outcomes = Sequence[OttlaError | None]


class BrokerGroupsService:
    """See :class:`~ottla.cluster.services.GroupsService`."""

    def __init__(
        self,
        shards: GroupShards,
        metadata: MetadataCache,
        topic: OffsetsTopic,
        lease: HeldLease,
    ) -> None:
        self._lease = lease
        self._shards = shards
        self._metadata = metadata
        self._topic = topic

    async def coordinator_of(self, group_id: str) -> BrokerId:
        if not group_id:
            raise InvalidGroupIdError("the id of a group is empty; give it one")
        image = await self._topic.ensure()
        partition = group_partition(group_id, image)
        part = None if partition is None else image.partition(partition)
        if partition is None or part is None or part.leader == NO_BROKER:
            raise CoordinatorNotAvailableError(
                f"nobody leads {partition}, where the group {group_id!r} belongs; try again"
            )
        if self._shards.leads(partition.partition) and not self._lease.is_held:
            raise CoordinatorNotAvailableError(
                "this broker has not heard from the controller for a while, and so does not know "
                f"whether it still coordinates the group {group_id!r}; ask another, or later"
            )
        return part.leader

    async def submit(self, request: GroupRequest[T]) -> T:
        match request:
            case CommitOffsets():
                return cast("T", await self._commit(request))
            case DeleteOffsets():
                return cast("T", await self._delete_offsets(request))
            case Heartbeat():
                # Who only says that it lives need not hear that nobody knows yet what it is.
                with suppress(CoordinatorLoadInProgressError):
                    await self._shard(request.group_id).submit(request)
                return cast("T", None)
            case _:
                return await self._shard(request.group_id).submit(request)

    async def wait_for_news(self, group_id: str, member_id: str, *, timeout_ms: int) -> bool:
        return await self._shard(group_id).wait_for_news(group_id, member_id, timeout_ms=timeout_ms)

    async def list_groups(self, which: ListGroups) -> Sequence[GroupListing]:
        return [
            listing
            for shard in self._shards.shards.values()
            for listing in shard.list_groups(which)
        ]

    async def _commit(self, request: CommitOffsets) -> Outcomes:
        shard = self._shard(request.group_id)

        async def commit(offsets: Sequence[OffsetToCommit]) -> Outcomes:
            return await shard.submit(replace(request, offsets=offsets))

        return await self._of_existing(request.offsets, lambda one: one.topic_partition, commit)

    async def _delete_offsets(self, request: DeleteOffsets) -> Outcomes:
        shard = self._shard(request.group_id)

        async def delete(partitions: Sequence[TopicPartition]) -> Outcomes:
            return await shard.submit(replace(request, partitions=partitions))

        return await self._of_existing(request.partitions, lambda partition: partition, delete)

    async def _of_existing(
        self,
        parts: Sequence[Part],
        partition_of: Callable[[Part], TopicPartition],
        submit: Callable[[Sequence[Part]], Awaitable[Outcomes]],
    ) -> Outcomes:
        """Submit what is about partitions that exist; return the outcomes of all."""
        image = self._metadata.image
        exist = [image.partition(partition_of(part)) is not None for part in parts]
        existing = [part for part, exists in zip(parts, exist, strict=True) if exists]
        # A request about nothing at all is the coordinator's to judge, too.
        outcomes = iter(await submit(existing) if existing or not parts else ())
        return [
            next(outcomes) if exists else _unknown(partition_of(part))
            for part, exists in zip(parts, exist, strict=True)
        ]

    def _shard(self, group_id: str) -> HostedShard:
        partition = group_partition(group_id, self._metadata.image)
        if partition is None:
            raise NotCoordinatorError(
                f"there is no topic {CONSUMER_OFFSETS} yet; find the coordinator, which makes it"
            )
        return self._shards.find(partition.partition)


def _unknown(partition: TopicPartition) -> OttlaError:
    return UnknownTopicOrPartitionError(
        f"there is no partition {partition.partition} of topic {partition.topic!r}"
    )
