"""What is counted and sampled appears on the page, under documented names, once."""

from __future__ import annotations

import re

from ottla.metrics.registry import (
    OK,
    BrokerMetrics,
    BrokerSample,
    DirectorySample,
    PartitionSample,
)


def partition(number: int, **changes: int | bool) -> PartitionSample:
    values: dict[str, int | bool] = {
        "log_start_offset": 0,
        "log_end_offset": 10,
        "durable_end_offset": 9,
        "high_watermark": 8,
        "size_bytes": 700,
        "segments": 1,
        "is_leader": True,
        "is_under_replicated": False,
    }
    return PartitionSample(topic="web", partition=number, **(values | changes))  # type: ignore[arg-type]  # one dict for ints and bools


def page(metrics: BrokerMetrics) -> list[str]:
    metrics.sample()
    return metrics.render().decode().splitlines()


def test_counted_event_appears_with_its_labels() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)
    metrics.requests.labels("Produce", OK).inc()

    assert 'ottla_requests_total{error="NONE",method="Produce"} 1.0' in page(metrics)


def test_state_is_as_it_is_when_the_page_is_sampled() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)
    ends = iter([10, 25])
    metrics.sample_with(
        lambda: BrokerSample(
            metadata_offset=7, partitions=[partition(2, log_end_offset=next(ends))]
        )
    )

    first, second = page(metrics), page(metrics)

    assert 'ottla_partition_log_end_offset{partition="2",topic="web"} 10.0' in first
    assert 'ottla_partition_log_end_offset{partition="2",topic="web"} 25.0' in second


def test_partitions_are_totalled() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)
    metrics.sample_with(
        lambda: BrokerSample(
            metadata_offset=7,
            partitions=[
                partition(0),
                partition(1, is_leader=False),
                partition(2, is_under_replicated=True),
            ],
        )
    )

    lines = page(metrics)

    assert "ottla_partitions_hosted 3.0" in lines
    assert "ottla_partitions_led 2.0" in lines
    assert "ottla_partitions_under_replicated 1.0" in lines


def test_offline_partitions_are_counted() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)
    metrics.sample_with(lambda: BrokerSample(metadata_offset=0, offline_partitions=2))

    assert "ottla_offline_partitions 2.0" in page(metrics)


def test_failed_directory_is_one() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)
    metrics.sample_with(
        lambda: BrokerSample(
            metadata_offset=0,
            directories=[
                DirectorySample(path="/d", total_bytes=9, usable_bytes=4, has_failed=True)
            ],
        )
    )

    assert 'ottla_directory_has_failed{path="/d"} 1.0' in page(metrics)


def test_figures_of_a_deleted_topic_disappear_and_others_stay() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)
    for topic in ("web", "other"):
        metrics.produced_batches.labels(topic).inc()
        metrics.produced_records.labels(topic).inc()
        metrics.produced_bytes.labels(topic).inc()
        metrics.fetched_bytes.labels(topic).inc()

    metrics.forget_topic("web")

    lines = page(metrics)
    assert not any('topic="web"' in line for line in lines)
    assert 'ottla_produced_bytes_total{topic="other"} 1.0' in lines


def test_topic_without_figures_may_be_forgotten() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)

    metrics.forget_topic("never-seen")

    assert page(metrics)


def test_page_says_which_broker_it_is() -> None:
    lines = page(BrokerMetrics(version="0.9", node_id=3))

    assert 'ottla_broker_info{node_id="3",version="0.9"} 1.0' in lines


def test_every_metric_has_help_and_a_type() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)
    metrics.sample_with(lambda: BrokerSample(metadata_offset=0, partitions=[partition(0)]))
    lines = page(metrics)
    names = {re.split(r"[{ ]", line)[0] for line in lines if line and not line.startswith("#")}

    described = {line.split()[2] for line in lines if line.startswith("# HELP ")}

    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in names} <= described | {
        name for name in names if name.startswith("process_")
    }


def test_birth_times_of_counters_are_left_out() -> None:
    metrics = BrokerMetrics(version="1", node_id=3)
    metrics.produced_bytes.labels("web").inc()

    assert not any("_created" in line for line in page(metrics))


def test_two_brokers_in_one_process_count_apart() -> None:
    first, second = (BrokerMetrics(version="1", node_id=number) for number in (0, 1))

    first.flushed_logs.inc()

    assert "ottla_flushed_logs_total 0.0" in page(second)
