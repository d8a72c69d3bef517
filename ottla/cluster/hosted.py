"""What the descriptive services want to know about the partitions that this broker hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ottla.cluster.services import HostedPartitionDescription, LogDirectoryDescription
from ottla.model.ids import TopicPartition


class HostedPartitions(Protocol):
    """The replica manager, as those who describe see it. Nothing here waits."""

    def describe_partition(
        self, topic_partition: TopicPartition
    ) -> HostedPartitionDescription | None:
        """Describe a partition that this broker leads; ``None`` for any other."""

    def describe_log_directories(self) -> Sequence[LogDirectoryDescription]:
        """Describe every directory with all partitions in it."""
