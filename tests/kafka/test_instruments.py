"""Requests of Kafka's protocol stand in the figures under their names, with Kafka's errors."""

from __future__ import annotations

from ottla.kafka.instruments import KafkaMetrics
from ottla.metrics.registry import BrokerMetrics


def page(metrics: BrokerMetrics) -> list[str]:
    return metrics.render().decode().splitlines()


def test_requests_are_counted_by_name_and_error() -> None:
    metrics = BrokerMetrics(version="1", node_id=0)
    api = KafkaMetrics(metrics).api("OffsetCommit")

    api.finished(0, 0.001)
    api.finished(27, 0.001)
    api.finished(30_000, 0.001)
    api.failed("CORRUPT_MESSAGE")

    counted = {line for line in page(metrics) if line.startswith("ottla_requests_total{")}
    assert counted == {
        f'ottla_requests_total{{error="{error}",method="kafka.OffsetCommit"}} 1.0'
        for error in ("NONE", "REBALANCE_IN_PROGRESS", "30000", "CORRUPT_MESSAGE")
    }
    assert 'ottla_request_seconds_count{method="kafka.OffsetCommit"} 3.0' in page(metrics)


def test_kind_of_request_that_never_came_has_no_figures() -> None:
    metrics = BrokerMetrics(version="1", node_id=0)

    KafkaMetrics(metrics).api("OffsetCommit")

    assert not [line for line in page(metrics) if "OffsetCommit" in line]


def test_connections_and_bytes_are_told() -> None:
    metrics = BrokerMetrics(version="1", node_id=0)
    instruments = KafkaMetrics(metrics)

    instruments.received(5)
    instruments.sent(7)
    instruments.connections_changed("LAN", 3)
    instruments.connection_refused("LAN")

    assert {
        "ottla_kafka_received_bytes_total 5.0",
        "ottla_kafka_sent_bytes_total 7.0",
        'ottla_kafka_connections{listener="LAN"} 3.0',
        'ottla_kafka_refused_connections_total{listener="LAN"} 1.0',
    } <= set(page(metrics))


def test_silence_of_throttled_clients_is_told() -> None:
    metrics = BrokerMetrics(version="1", node_id=0)
    api = KafkaMetrics(metrics).api("Produce")

    api.throttled(0.5)
    api.throttled(1.5)

    assert 'ottla_kafka_throttled_seconds_total{method="kafka.Produce"} 2.0' in page(metrics)
