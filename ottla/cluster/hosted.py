"""What the descriptive services want to know about the partitions that this broker hosts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from ottla.cluster.services import HostedPartitionDescription, LogDirectoryDescription
from ottla.model.errors import StorageError
from ottla.model.ids import TopicPartition


class HostedPartitions(Protocol):
    """The replica manager, as those who describe see it. Nothing here waits."""

    def describe_partition(
        self, topic_partition: TopicPartition
    ) -> HostedPartitionDescription | None:
        """Describe a partition that this broker leads; ``None`` for any other."""

    def why_offline(self, topic_partition: TopicPartition) -> StorageError | None:
        """Return why a partition that should be here is not; ``None`` if there is no reason."""

    def offline_partitions(self) -> Collection[TopicPartition]:
        """Return the partitions that should be here and whose log cannot be used."""

    @property
    def directory_failure(self) -> StorageError | None:
        """Why the directory takes no more writes; ``None`` while all is well."""

    def describe_log_directories(self) -> Sequence[LogDirectoryDescription]:
        """Describe every directory with all partitions in it."""
