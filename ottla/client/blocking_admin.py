"""The admin client for programs without an event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Unpack

from ottla.client.admin import Admin as AsyncioAdmin
from ottla.client.admin_groups import GroupDescription, GroupListing
from ottla.client.admin_values import (
    BrokerDescription,
    ClusterDescription,
    ConfigChange,
    ConfigEntry,
    ConfigResource,
    CreatedTopic,
    MetadataChange,
    NewTopic,
    PlannedMove,
    QuorumDescription,
    TopicDescription,
)
from ottla.client.blocking_client import BlockingClient
from ottla.client.group_offsets import OffsetAndMetadata
from ottla.client.offset_lookup import OffsetFound
from ottla.client.settings import ConnectionOptions
from ottla.model.ids import TopicPartition


class Admin(BlockingClient):
    """Administers a cluster.

    Every method does, and raises, what the one of that name in :class:`ottla.client.Admin` does.
    """

    def __init__(
        self,
        bootstrap_servers: str | Iterable[str] = "127.0.0.1:7092",
        **options: Unpack[ConnectionOptions],
    ) -> None:
        self._admin = AsyncioAdmin(bootstrap_servers, **options)
        super().__init__(start=self._admin.start, stop=self._admin.stop)

    def create_topics(
        self,
        topics: Iterable[NewTopic],
        *,
        validate_only: bool = False,
        timeout_ms: int = 30_000,
    ) -> list[CreatedTopic]:
        """Create topics, and wait until every partition has a leader."""
        return self._call(
            self._admin.create_topics, topics, validate_only=validate_only, timeout_ms=timeout_ms
        )

    def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics with all their records."""
        self._call(self._admin.delete_topics, names)

    def create_partitions(self, totals: Mapping[str, int], *, validate_only: bool = False) -> None:
        """Raise the number of partitions of topics to new totals."""
        self._call(self._admin.create_partitions, totals, validate_only=validate_only)

    def list_topics(self, *, include_internal: bool = False) -> list[str]:
        """Return the names of all topics, sorted."""
        return self._call(self._admin.list_topics, include_internal=include_internal)

    def describe_topics(
        self, names: Iterable[str] | None = None, *, include_internal: bool = False
    ) -> list[TopicDescription]:
        """Describe the topics named, or all of them."""
        return self._call(self._admin.describe_topics, names, include_internal=include_internal)

    def describe_configs(
        self, resources: Iterable[ConfigResource], *, keys: Iterable[str] = ()
    ) -> dict[ConfigResource, list[ConfigEntry]]:
        """Return the settings of topics and brokers; only ``keys``, if any are named."""
        return self._call(self._admin.describe_configs, resources, keys=keys)

    def alter_configs(
        self,
        changes: Mapping[ConfigResource, Iterable[ConfigChange]],
        *,
        validate_only: bool = False,
    ) -> None:
        """Change some settings and leave the others; of one resource all changes, or none."""
        self._call(self._admin.alter_configs, changes, validate_only=validate_only)

    def describe_cluster(self) -> ClusterDescription:
        """Describe the cluster as a whole."""
        return self._call(self._admin.describe_cluster)

    def describe_broker(self, broker_id: int | None = None) -> BrokerDescription:
        """Describe a broker, asking it; ``None``: whichever answers first."""
        return self._call(self._admin.describe_broker, broker_id)

    def describe_quorum(self, broker_id: int | None = None) -> QuorumDescription:
        """Describe the metadata quorum as a broker sees it; ``None``: whichever answers first."""
        return self._call(self._admin.describe_quorum, broker_id)

    def set_draining(self, broker_id: int, *, draining: bool) -> None:
        """Give a broker no new replicas, or let it have some again."""
        self._call(self._admin.set_draining, broker_id, draining=draining)

    def unregister_broker(self, broker_id: int) -> None:
        """Forget a broker that is gone for good."""
        self._call(self._admin.unregister_broker, broker_id)

    def readmit_voter(self, broker_id: int, directory_id: bytes) -> None:
        """Let a voter that lost its data directory vote again, with the one it has now."""
        self._call(self._admin.readmit_voter, broker_id, directory_id)

    def watch_metadata(self, topics: Iterable[str] | None = None) -> Iterator[MetadataChange]:
        """Yield brokers and topics, then every change, as it happens; waits for the next."""
        changes = self._call_nowait(self._admin.watch_metadata, topics)
        try:
            while True:
                yield self._call(changes.__anext__)
        finally:
            if not self._is_stopped:
                self._call(changes.aclose)

    def reassign(self, replicas: Mapping[TopicPartition, Sequence[int]]) -> None:
        """Begin to move partitions to other brokers, or (no brokers) cancel that."""
        self._call(self._admin.reassign, replicas)

    def plan_rebalancing(self, *, draining: Iterable[int] = ()) -> list[PlannedMove]:
        """Return which replicas to move so that every broker has its share; move nothing."""
        return self._call(self._admin.plan_rebalancing, draining=draining)

    def elect_leaders(
        self, partitions: Iterable[TopicPartition] | None = None, *, unclean: bool = False
    ) -> list[TopicPartition]:
        """Let preferred leaders lead (``unclean``: any); return where they now do."""
        return self._call(self._admin.elect_leaders, partitions, unclean=unclean)

    def list_offsets(
        self, positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetFound]:
        """Find offsets: by time, or EARLIEST, LATEST, MAX_TIMESTAMP."""
        return self._call(self._admin.list_offsets, positions)

    def delete_records(
        self, before_offsets: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Delete the records below an offset (-1: all committed ones); return the new starts."""
        return self._call(self._admin.delete_records, before_offsets)

    def list_groups(
        self, *, states: Iterable[str] = (), types: Iterable[str] = ()
    ) -> list[GroupListing]:
        """Return the groups of the whole cluster, or those in some states or of some types."""
        return self._call(self._admin.list_groups, states=states, types=types)

    def describe_group(self, group_id: str) -> GroupDescription:
        """Return a group with its members."""
        return self._call(self._admin.describe_group, group_id)

    def delete_group(self, group_id: str) -> None:
        """Forget a group and its offsets."""
        self._call(self._admin.delete_group, group_id)

    def group_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition] | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """Return what a group has committed: for all its partitions, or for those named."""
        return self._call(self._admin.group_offsets, group_id, partitions)

    def alter_group_offsets(
        self, group_id: str, offsets: Mapping[TopicPartition, int | OffsetAndMetadata]
    ) -> None:
        """Commit offsets for a group that has no members, so that it goes on there."""
        self._call(self._admin.alter_group_offsets, group_id, offsets)

    def delete_group_offsets(self, group_id: str, partitions: Iterable[TopicPartition]) -> None:
        """Forget what a group has committed."""
        self._call(self._admin.delete_group_offsets, group_id, partitions)
