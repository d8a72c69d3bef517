"""What this broker hosts, for those who describe and measure it. Nothing here waits."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.partition import Partition
from ottla.cluster.replica_manager import ReplicaManager
from ottla.cluster.services import HostedPartitionDescription, LogDirectoryDescription
from ottla.metrics.registry import BrokerSample, DirectorySample, PartitionSample
from ottla.model.errors import StorageError
from ottla.model.ids import MetadataOffset, TopicPartition
from ottla.model.image import ClusterImage
from ottla.runtime.files import FileSystem


class ReplicaDescription:
    """The partitions and the directory of one broker; a ``HostedPartitions``."""

    def __init__(
        self, replicas: ReplicaManager, directory: DataDirectory, file_system: FileSystem
    ) -> None:
        self._replicas = replicas
        self._directory = directory
        self._file_system = file_system

    def describe_partition(
        self, topic_partition: TopicPartition
    ) -> HostedPartitionDescription | None:
        """Describe a partition that this broker leads; ``None`` for any other."""
        partition = self._replicas.partitions.get(topic_partition)
        if partition is None or not partition.is_leader:
            return None
        return _described(partition)

    def why_offline(self, topic_partition: TopicPartition) -> StorageError | None:
        """Return why a partition that should be here is not; ``None`` if there is no reason."""
        return self._replicas.offline.get(topic_partition)

    def offline_partitions(self) -> Collection[TopicPartition]:
        """Return the partitions that should be here and whose log cannot be used."""
        return self._replicas.offline.keys()

    @property
    def directory_failure(self) -> StorageError | None:
        """Why the directory takes no more writes; ``None`` while all is well."""
        return self._directory.failure

    def describe_log_directories(self) -> Sequence[LogDirectoryDescription]:
        """Describe the directory with all partitions in it."""
        usable_bytes, total_bytes = self._space()
        return [
            LogDirectoryDescription(
                path=str(self._directory.path),
                error=self._directory.failure,
                total_bytes=total_bytes,
                usable_bytes=usable_bytes,
                partitions=[_described(p) for _, p in sorted(self._replicas.partitions.items())],
            )
        ]

    def sample(self, image: ClusterImage) -> BrokerSample:
        """Take the figures that are measured when somebody looks."""
        usable_bytes, total_bytes = self._space()
        return BrokerSample(
            metadata_offset=MetadataOffset(image.metadata_offset),
            offline_partitions=len(self._replicas.offline),
            partitions=[_sampled(p) for _, p in sorted(self._replicas.partitions.items())],
            directories=[
                DirectorySample(
                    path=str(self._directory.path),
                    total_bytes=total_bytes,
                    usable_bytes=usable_bytes,
                    has_failed=self._directory.failure is not None,
                )
            ],
        )

    def _space(self) -> tuple[int, int]:
        """Return usable and total bytes; -1 each if the disk does not even say that."""
        try:
            return self._file_system.usable_bytes(self._directory.path)
        except OSError:
            return -1, -1


def _described(partition: Partition) -> HostedPartitionDescription:
    log = partition.log
    return HostedPartitionDescription(
        topic_partition=partition.topic_partition,
        size_bytes=log.size_bytes,
        segment_count=log.segment_count,
        log_start_offset=log.log_start_offset,
        log_end_offset=log.log_end_offset,
        durable_end_offset=log.recovery_point,
        high_watermark=partition.high_watermark,
    )


def _sampled(partition: Partition) -> PartitionSample:
    log = partition.log
    return PartitionSample(
        topic=partition.topic_partition.topic,
        partition=partition.topic_partition.partition,
        log_start_offset=log.log_start_offset,
        log_end_offset=log.log_end_offset,
        durable_end_offset=log.recovery_point,
        high_watermark=partition.high_watermark,
        size_bytes=log.size_bytes,
        segments=log.segment_count,
        is_leader=partition.is_leader,
        is_under_replicated=partition.is_under_replicated,
    )
