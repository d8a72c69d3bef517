"""What opening the logs at the start of a broker tells its operator."""

from __future__ import annotations

from ottla.model.errors import StorageError
from ottla.model.ids import TopicPartition
from ottla.runtime.logging import Event, Severity, emit
from ottla.storage.log import PartitionLog

LOG_OFFLINE = Event("broker.log_offline", Severity.ERROR)
LOG_CUT = Event("broker.log_cut", Severity.WARNING)


def tell_of_log(topic_partition: TopicPartition, result: PartitionLog | StorageError) -> None:
    """Tell what opening a log took, or why it cannot be used; on the log thread."""
    if isinstance(result, StorageError):
        emit(LOG_OFFLINE, partition=topic_partition, reason=str(result))
        return
    report = result.recovery
    if report.cut is not None:
        emit(
            LOG_CUT,
            partition=topic_partition,
            bytes_scanned=report.bytes_scanned,
            cut=report.cut,
        )
