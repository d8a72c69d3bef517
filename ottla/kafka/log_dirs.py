"""``DescribeLogDirs`` and ``AlterReplicaLogDirs``: the directory of the broker asked.

A broker has one directory, so nothing can be moved between directories: a replica that is here is
where it is asked to be, and whatever else is asked for is refused, as Kafka refuses it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ottla.cluster.services import ClusterService, LogDirectoryDescription
from ottla.kafka.handling import RequestContext
from ottla.kafka.partition_results import by_topic
from ottla.model.errors import (
    LogDirNotFoundError,
    ReplicaNotAvailableError,
    StorageError,
)
from ottla.model.ids import TopicPartition
from ottla.wire.messages.alter_replica_log_dirs import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)
from ottla.wire.messages.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)


class DescribeLogDirsHandler:
    """Versions 1 to 5."""

    def __init__(self, cluster: ClusterService) -> None:
        self._cluster = cluster

    async def __call__(
        self, _context: RequestContext, request: DescribeLogDirsRequest
    ) -> DescribeLogDirsResponse:
        """Describe the partitions named that are here; null asks for all of them."""
        wanted = None
        if request.topics is not None:
            wanted = {
                TopicPartition(topic.topic, partition)
                for topic in request.topics
                for partition in topic.partitions
            }
        return DescribeLogDirsResponse(
            results=[
                _directory(directory, wanted)
                for directory in self._cluster.describe_broker().log_directories
            ]
        )


class AlterReplicaLogDirsHandler:
    """Versions 1 and 2."""

    def __init__(self, cluster: ClusterService) -> None:
        self._cluster = cluster

    async def __call__(
        self, _context: RequestContext, request: AlterReplicaLogDirsRequest
    ) -> AlterReplicaLogDirsResponse:
        """Move nothing, and say of each partition whether it is where it is asked to be."""
        directories = {
            directory.path: directory
            for directory in self._cluster.describe_broker().log_directories
        }
        here = {
            partition.topic_partition
            for directory in directories.values()
            for partition in directory.partitions
        }
        results = [
            (TopicPartition(topic.name, partition), code)
            for asked in request.dirs
            for topic in asked.topics
            for partition in topic.partitions
            for code in (
                _code_of_move(TopicPartition(topic.name, partition), asked.path, directories, here),
            )
        ]
        return AlterReplicaLogDirsResponse(
            results=[
                AlterReplicaLogDirTopicResult(
                    topic_name=topic_name,
                    partitions=[
                        AlterReplicaLogDirPartitionResult(
                            partition_index=partition, error_code=code
                        )
                        for partition, code in of_topic
                    ],
                )
                for topic_name, of_topic in by_topic(results).items()
            ]
        )


def _code_of_move(
    topic_partition: TopicPartition,
    path: str,
    directories: Mapping[str, LogDirectoryDescription],
    here: Collection[TopicPartition],
) -> int:
    directory = directories.get(path)
    if directory is None:
        return LogDirNotFoundError.code
    if directory.error is not None:
        return StorageError.code
    # The replica may come here later; it will be in this directory then.
    return 0 if topic_partition in here else ReplicaNotAvailableError.code


def _directory(
    directory: LogDirectoryDescription, wanted: Collection[TopicPartition] | None
) -> DescribeLogDirsResult:
    result = DescribeLogDirsResult(
        log_dir=directory.path,
        total_bytes=directory.total_bytes,
        usable_bytes=directory.usable_bytes,
    )
    if directory.error is not None:
        result.error_code = directory.error.code
        return result
    result.topics = [
        DescribeLogDirsTopic(name=name, partitions=[partition for _, partition in of_topic])
        for name, of_topic in by_topic(_partitions(directory, wanted)).items()
    ]
    return result


def _partitions(
    directory: LogDirectoryDescription, wanted: Collection[TopicPartition] | None
) -> Iterator[tuple[TopicPartition, DescribeLogDirsPartition]]:
    for hosted in directory.partitions:
        name = hosted.topic_partition
        if wanted is None or name in wanted:
            yield (
                name,
                DescribeLogDirsPartition(
                    partition_index=name.partition,
                    partition_size=hosted.size_bytes,
                    offset_lag=max(0, hosted.high_watermark - hosted.log_end_offset),
                ),
            )
