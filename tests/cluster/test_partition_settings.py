"""What a topic sets is what its partitions work with."""

from __future__ import annotations

import pytest

from ottla.cluster.partition_settings import PartitionSettings
from ottla.model.limits import BATCH_BYTES_MAX
from ottla.record.batch import TimestampType
from ottla.record.compression import Codec


def settings(broker: dict[str, str] | None = None, **topic: str) -> PartitionSettings:
    return PartitionSettings.of(
        {key.replace("_", "."): value for key, value in topic.items()},
        broker_configs=broker or {},
        producer_id_expiration_ms=5,
    )


def test_topic_outranks_the_broker_which_outranks_the_default() -> None:
    broker = {"log.retention.ms": "7", "log.segment.bytes": "2000000"}

    resolved = settings(broker, retention_ms="9").log

    assert (resolved.retention_ms, resolved.segment_bytes) == (9, 2_000_000)
    assert resolved.index_interval_bytes == 4096
    assert resolved.producer_id_expiration_ms == 5


def test_topic_without_a_cleanup_policy_keeps_everything() -> None:
    resolved = settings(cleanup_policy="", retention_ms="1", retention_bytes="1").log

    assert (resolved.retention_ms, resolved.retention_bytes) == (-1, -1)


def test_no_batch_is_larger_than_a_request_can_carry() -> None:
    assert settings(max_message_bytes="2000000000").rules.max_message_bytes == BATCH_BYTES_MAX


@pytest.mark.parametrize(
    ("text", "codec"),
    [("producer", None), ("uncompressed", Codec.NONE), ("gzip", Codec.GZIP), ("zstd", Codec.ZSTD)],
)
def test_compression_type_names_the_codec_to_store(text: str, codec: Codec | None) -> None:
    assert settings(compression_type=text).codec is codec


def test_rules_for_batches_and_the_log_agree() -> None:
    resolved = settings(message_timestamp_type="LogAppendTime", message_timestamp_after_max_ms="3")

    assert resolved.rules.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert resolved.log.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert resolved.rules.timestamp_after_max_ms == resolved.log.timestamp_after_max_ms == 3
    assert resolved.rules.segment_bytes == resolved.log.segment_bytes
