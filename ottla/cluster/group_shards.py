"""The shards of the group coordinator that are this broker's at the moment.

The image of the cluster says which partitions of ``__consumer_offsets`` this broker leads, and in
which epoch; by the time an image is published here, the partitions have their roles. For each there
is a :class:`~ottla.cluster.group_shard.HostedShard`, from the image that says so to the first that
does not. An epoch of its own makes a shard of its own: what was known in the last one may be old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from ottla.cluster.group_log import GroupLog, GroupLogContext
from ottla.cluster.group_shard import HostedShard, ShardContext
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.partition import Partition
from ottla.model.errors import NotCoordinatorError, OttlaError
from ottla.model.ids import BrokerId, TopicPartition
from ottla.model.image import ClusterImage, TopicImage
from ottla.model.topic_names import CONSUMER_OFFSETS


class HostedPartitions(Protocol):
    """Where partitions are found; the replica manager is one."""

    @property
    def partitions(self) -> Mapping[TopicPartition, Partition]:
        """Those that are hosted here."""


class GroupShards:
    """Begins and ends shards as the cluster changes. Used on one event loop."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        metadata: MetadataCache,
        partitions: HostedPartitions,
        log_context: GroupLogContext,
        shard_context: ShardContext,
    ) -> None:
        """Follow ``metadata`` from now on; shards live while :meth:`run` does."""
        self._broker_id = broker_id
        self._metadata = metadata
        self._partitions = partitions
        self._log_context = log_context
        self._shard_context = shard_context
        self._shards: dict[int, HostedShard] = {}
        self._lives: dict[HostedShard, asyncio.Task[None]] = {}
        self._is_running = False
        self._is_closed = False
        self._seen: Mapping[str, TopicImage] | None = None
        """The topics that every shard has heard of."""
        self._changed = asyncio.Event()
        metadata.subscribe(self._image_published)

    def __repr__(self) -> str:
        leading = sum(shard.is_leading for shard in self._shards.values())
        return f"<GroupShards {len(self._shards)} of which {leading} have been read>"

    @property
    def shards(self) -> Mapping[int, HostedShard]:
        """By partition number; not to be changed."""
        return self._shards

    def leads(self, number: int) -> bool:
        """Whether the shard of a partition is ours."""
        return number in self._shards

    def find(self, number: int) -> HostedShard:
        """Return the shard of a partition; :exc:`NotCoordinatorError` if it is not ours."""
        shard = self._shards.get(number)
        if shard is None:
            raise NotCoordinatorError(
                f"broker {self._broker_id} does not lead partition {number} of {CONSUMER_OFFSETS}; "
                "find the coordinator again"
            )
        return shard

    # --- Life ---

    async def run(self) -> None:
        """Let shards live until cancelled; they end with it."""
        self._is_running = True
        try:
            async with asyncio.TaskGroup() as lives:
                self._follow(self._metadata.image)
                while True:
                    for shard in self._shards.values():
                        if shard not in self._lives:
                            name = f"group shard {shard.log.topic_partition.partition}"
                            self._lives[shard] = lives.create_task(shard.run(), name=name)
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            self._is_running = False
            self.close()

    def close(self) -> None:
        """Coordinate nothing any more; whoever waits is told to go elsewhere."""
        self._is_closed = True
        for number in list(self._shards):
            self._end(number, self._stopping())

    def _stopping(self) -> OttlaError:
        return NotCoordinatorError(
            f"broker {self._broker_id} is stopping; find the coordinator again"
        )

    def _end(self, number: int, error: OttlaError) -> None:
        shard = self._shards.pop(number)
        shard.end(error)
        life = self._lives.pop(shard, None)
        if life is not None:
            life.cancel()

    # --- Following the metadata ---

    def _image_published(self, image: ClusterImage) -> None:
        if self._is_running and not (image.topics is self._seen and self._all_begun(image)):
            self._follow(image)

    def _all_begun(self, image: ClusterImage) -> bool:
        return self._wanted(image).keys() == self._shards.keys()

    def _follow(self, image: ClusterImage) -> None:
        wanted = self._wanted(image)
        for number, shard in list(self._shards.items()):
            if number not in wanted or not shard.log.is_ours:
                self._end(number, self._leads_no_more(number))
        changed = image.topics is not self._seen
        self._seen = image.topics
        if changed:
            for shard in self._shards.values():
                shard.image_changed(image)
        for number, partition in wanted.items():
            if number not in self._shards:
                log = GroupLog(partition, self._log_context)
                self._shards[number] = HostedShard(log, self._shard_context)
                self._changed.set()

    def _wanted(self, image: ClusterImage) -> dict[int, Partition]:
        """Return the partitions that this broker leads."""
        topic = image.topics.get(CONSUMER_OFFSETS)
        if topic is None or self._is_closed:
            return {}
        wanted: dict[int, Partition] = {}
        for number, part in enumerate(topic.partitions):
            if part.leader == self._broker_id:
                hosted = self._partitions.partitions.get(TopicPartition(CONSUMER_OFFSETS, number))
                if hosted is not None and hosted.is_leader:
                    wanted[number] = hosted
        return wanted

    def _leads_no_more(self, number: int) -> OttlaError:
        return NotCoordinatorError(
            f"broker {self._broker_id} leads partition {number} of {CONSUMER_OFFSETS} no more, or "
            "in another epoch; find the coordinator again"
        )
