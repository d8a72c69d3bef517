"""A topic's settings in the form in which its partitions use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ottla.config.topic_settings import TopicSettings, resolve_topic_settings
from ottla.model.limits import BATCH_BYTES_MAX
from ottla.record.batch import TimestampType
from ottla.record.compression import Codec
from ottla.record.validation import AppendRules
from ottla.storage.log_config import LogConfig

_TIMESTAMP_TYPES: Final = {
    "CreateTime": TimestampType.CREATE_TIME,
    "LogAppendTime": TimestampType.LOG_APPEND_TIME,
}
_CODECS: Final = {
    "producer": None,
    "uncompressed": Codec.NONE,
    "gzip": Codec.GZIP,
    "snappy": Codec.SNAPPY,
    "lz4": Codec.LZ4,
    "zstd": Codec.ZSTD,
}
_ANY: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSettings:
    """Everything that one topic's configuration means to a partition."""

    log: LogConfig
    rules: AppendRules
    """For the batches of clients."""
    codec: Codec | None
    """How batches are stored; ``None``: as they come."""
    min_insync_replicas: int
    is_compacted: bool = False
    """Whether records are told apart by their keys, so that each needs one."""
    deletes: bool = True
    """Whether old segments go by age and size."""

    @classmethod
    def of(
        cls,
        topic_configs: Mapping[str, str],
        *,
        broker_configs: Mapping[str, str],
        producer_id_expiration_ms: int,
    ) -> PartitionSettings:
        """Resolve what the topic sets, else what the broker sets, else the defaults.

        ``broker_configs`` is by broker key: :meth:`ClusterImage.settings_of_broker`.
        """
        settings = resolve_topic_settings(topic_configs, broker_configs)
        log = _log_config(settings, producer_id_expiration_ms)
        rules = AppendRules(
            max_message_bytes=log.max_message_bytes,
            segment_bytes=log.segment_bytes,
            timestamp_type=log.timestamp_type,
            timestamp_before_max_ms=log.timestamp_before_max_ms,
            timestamp_after_max_ms=log.timestamp_after_max_ms,
        )
        return cls(
            log=log,
            rules=rules,
            codec=_CODECS[settings.compression_type],
            min_insync_replicas=settings.min_insync_replicas,
            is_compacted="compact" in settings.cleanup_policy,
            deletes="delete" in settings.cleanup_policy,
        )


def _log_config(settings: TopicSettings, producer_id_expiration_ms: int) -> LogConfig:
    deletes = "delete" in settings.cleanup_policy
    return LogConfig(
        segment_bytes=settings.segment_bytes,
        segment_ms=settings.segment_ms,
        segment_index_bytes=settings.segment_index_bytes,
        index_interval_bytes=settings.index_interval_bytes,
        retention_ms=settings.retention_ms if deletes else _ANY,
        retention_bytes=settings.retention_bytes if deletes else _ANY,
        file_delete_delay_ms=settings.file_delete_delay_ms,
        flush_messages=settings.flush_messages,
        flush_ms=settings.flush_ms,
        write_caching=settings.write_caching,
        max_message_bytes=min(settings.max_message_bytes, BATCH_BYTES_MAX),
        timestamp_type=_TIMESTAMP_TYPES[settings.message_timestamp_type],
        timestamp_before_max_ms=settings.message_timestamp_before_max_ms,
        timestamp_after_max_ms=settings.message_timestamp_after_max_ms,
        producer_id_expiration_ms=producer_id_expiration_ms,
    )
