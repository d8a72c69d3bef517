"""What a broker counts and measures, for Prometheus.

Two kinds of figure:

* *Events* are counted where they happen, with :class:`BrokerMetrics`' counters and histograms. One
  increment costs less than half a microsecond on a child that the caller keeps
  (``metrics.produced_bytes.labels("web")``), so hot paths look a child up once, not per batch.
* *States* (ends of logs, free space) are not tracked but asked for when somebody looks:
  :meth:`BrokerMetrics.sample` calls the function given as ``sampler``.

Names end with their unit, in base units (seconds, bytes), as Prometheus asks for. Events are
counted by topic; only states, of which there is one a partition anyway, are told by partition.

The sampling must run where the state lives, the event loop; :meth:`BrokerMetrics.render`, which
for thousands of partitions takes a while, may run in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

REQUESTS: Final = "ottla_requests_total"
REQUEST_SECONDS: Final = "ottla_request_seconds"
OPEN_STREAMS: Final = "ottla_open_streams"
PRODUCED_BATCHES: Final = "ottla_produced_batches_total"
PRODUCED_RECORDS: Final = "ottla_produced_records_total"
PRODUCED_BYTES: Final = "ottla_produced_bytes_total"
FETCHED_BYTES: Final = "ottla_fetched_bytes_total"
FLUSH_SECONDS: Final = "ottla_flush_seconds"
FLUSHED_LOGS: Final = "ottla_flushed_logs_total"
KAFKA_CONNECTIONS: Final = "ottla_kafka_connections"
KAFKA_REFUSED_CONNECTIONS: Final = "ottla_kafka_refused_connections_total"
KAFKA_RECEIVED_BYTES: Final = "ottla_kafka_received_bytes_total"
KAFKA_SENT_BYTES: Final = "ottla_kafka_sent_bytes_total"
KAFKA_THROTTLED_SECONDS: Final = "ottla_kafka_throttled_seconds_total"

LATENCY_BUCKETS_SECONDS: Final = (
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30,
)  # fmt: skip
"""From a batch into the page cache to the time-out of a produce request."""

OK: Final = "NONE"
"""The ``error`` label of a request that succeeded: Kafka's name for no error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionSample:
    """One hosted partition at the moment of looking."""

    topic: str
    partition: int
    log_start_offset: int
    log_end_offset: int
    durable_end_offset: int
    high_watermark: int
    size_bytes: int
    segments: int
    is_leader: bool
    is_under_replicated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySample:
    """One log directory at the moment of looking."""

    path: str
    total_bytes: int
    usable_bytes: int
    has_failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSample:
    """The state of the broker at the moment of looking."""

    metadata_offset: int
    offline_partitions: int = 0
    """Partitions that should be hosted and whose log cannot be used."""
    partitions: Sequence[PartitionSample] = ()
    directories: Sequence[DirectorySample] = ()


Sampler = Callable[[], BrokerSample]


class KafkaFigures:
    """Those of the door for Kafka's protocol."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            KAFKA_CONNECTIONS,
            "Connections of Kafka's protocol that are open now.",
            ["listener"],
            registry=registry,
        )
        self.refused_connections = Counter(
            KAFKA_REFUSED_CONNECTIONS,
            "Connections of Kafka's protocol that were closed at once: there were too many.",
            ["listener"],
            registry=registry,
        )
        self.received_bytes = Counter(
            KAFKA_RECEIVED_BYTES, "Bytes received on Kafka's listeners.", registry=registry
        )
        self.sent_bytes = Counter(
            KAFKA_SENT_BYTES, "Bytes of responses on Kafka's listeners.", registry=registry
        )
        self.throttled_seconds = Counter(
            KAFKA_THROTTLED_SECONDS,
            "For how long connections of Kafka's protocol were told to keep quiet, by the method "
            "that told them so.",
            ["method"],
            registry=registry,
        )


class BrokerMetrics:
    """All figures of one broker, in a registry of its own: two brokers may share a process."""

    def __init__(self, *, version: str, node_id: int) -> None:
        self._registry = _Registry()
        self._states = _StateCollector()
        self._sampler: Sampler | None = None
        registry = self._registry
        self.requests = Counter(
            REQUESTS,
            "Requests answered, by method and by Kafka's name of the error (NONE: success). "
            "Those of Kafka's protocol are kafka.Produce and so on.",
            ["method", "error"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            REQUEST_SECONDS,
            "From the arrival of a request to its answer, without waits that the client asked for.",
            ["method"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self.open_streams = Gauge(
            OPEN_STREAMS, "Streams that are open now.", ["method"], registry=registry
        )
        self.produced_batches = Counter(
            PRODUCED_BATCHES, "Record batches appended by producers.", ["topic"], registry=registry
        )
        self.produced_records = Counter(
            PRODUCED_RECORDS, "Records appended by producers.", ["topic"], registry=registry
        )
        self.produced_bytes = Counter(
            PRODUCED_BYTES, "Bytes appended by producers, as stored.", ["topic"], registry=registry
        )
        self.fetched_bytes = Counter(
            FETCHED_BYTES, "Bytes of batches sent to consumers.", ["topic"], registry=registry
        )
        self.flush_seconds = Histogram(
            FLUSH_SECONDS,
            "One round of the flusher: every log with unsynced batches synced once.",
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self.flushed_logs = Counter(FLUSHED_LOGS, "Logs synced to disk.", registry=registry)
        self.kafka = KafkaFigures(registry)
        Info("ottla_broker", "What runs here.", registry=registry).info(
            {"version": version, "node_id": str(node_id)}
        )
        registry.register(self._states)
        ProcessCollector(registry=registry)

    def sample_with(self, sampler: Sampler) -> None:
        """Ask ``sampler`` for the state from now on; it must not wait."""
        self._sampler = sampler

    def forget_topic(self, topic: str) -> None:
        """Drop the figures of a topic that was deleted. Children kept elsewhere count on unseen."""
        for family in (
            self.produced_batches,
            self.produced_records,
            self.produced_bytes,
            self.fetched_bytes,
        ):
            family.remove_by_labels({"topic": topic})

    def sample(self) -> None:
        """Take the state as it is now, for the next :meth:`render`. On the event loop."""
        if self._sampler is not None:
            self._states.latest = self._sampler()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format (:data:`CONTENT_TYPE`). In any thread."""
        return generate_latest(self._registry)


class _Registry(CollectorRegistry):
    """Leaves out the time at which each counter began, which would double the page."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            kept = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            if kept or not metric.samples:
                metric.samples = kept
                yield metric


class _StateCollector(Collector):
    """The latest sample as metrics."""

    def __init__(self) -> None:
        self.latest: BrokerSample | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing yet: without this, registering would ask for a sample that is not there."""
        return ()

    def collect(self) -> Iterable[Metric]:
        sample = self.latest
        if sample is None:
            return
        yield GaugeMetricFamily(
            "ottla_metadata_offset",
            "Position in the metadata log that this broker has applied.",
            sample.metadata_offset,
        )
        yield GaugeMetricFamily(
            "ottla_offline_partitions",
            "Partitions that belong here and whose log cannot be used; the broker's log says why.",
            sample.offline_partitions,
        )
        yield from _partition_totals(sample.partitions)
        yield from _partition_gauges(sample.partitions)
        yield from _directory_gauges(sample.directories)


def _partition_totals(partitions: Sequence[PartitionSample]) -> Iterable[Metric]:
    for name, help_text, count in (
        ("hosted", "Partitions that this broker has a replica of.", len(partitions)),
        ("led", "Partitions that this broker leads.", sum(p.is_leader for p in partitions)),
        (
            "under_replicated",
            "Partitions led here with fewer in-sync replicas than replicas.",
            sum(p.is_under_replicated for p in partitions),
        ),
    ):
        yield GaugeMetricFamily(f"ottla_partitions_{name}", help_text, count)


_PARTITION_GAUGES: Final = (
    ("log_start_offset", "First offset that can be read."),
    ("log_end_offset", "Offset that the next record will get."),
    ("durable_end_offset", "End of what is synced to disk here."),
    ("high_watermark", "End of what is committed."),
    ("size_bytes", "Bytes in the log's segments."),
    ("segments", "Segments of the log."),
)


def _partition_gauges(partitions: Sequence[PartitionSample]) -> Iterable[Metric]:
    labels = [(partition.topic, str(partition.partition)) for partition in partitions]
    for name, help_text in _PARTITION_GAUGES:
        family = GaugeMetricFamily(
            f"ottla_partition_{name}", help_text, labels=("topic", "partition")
        )
        for label, partition in zip(labels, partitions, strict=True):
            family.add_metric(label, getattr(partition, name))
        yield family


_DIRECTORY_GAUGES: Final = (
    ("total_bytes", "Size of the disk that holds the directory."),
    ("usable_bytes", "Bytes of that disk which this broker may still use."),
    ("has_failed", "1 if the directory failed and takes no writes until the broker restarts."),
)


def _directory_gauges(directories: Sequence[DirectorySample]) -> Iterable[Metric]:
    for name, help_text in _DIRECTORY_GAUGES:
        family = GaugeMetricFamily(f"ottla_directory_{name}", help_text, labels=("path",))
        for directory in directories:
            family.add_metric((directory.path,), getattr(directory, name))
        yield family
