"""What the broker counts, in the words of those who count: per batch and request, never per record.

The services hold an :class:`Instruments` and know nothing of Prometheus. A topic's counters are
looked up once and kept by its partitions (:class:`TopicInstruments`), so that an append pays
for three increments and no lookup.
"""

from __future__ import annotations

from typing import Protocol

from ottla.metrics.registry import OK, BrokerMetrics


class TopicInstruments(Protocol):
    """The counters of one topic."""

    def appended(self, *, batches: int, records: int, size_bytes: int) -> None:
        """A producer's batches are in the log of this leader."""

    def fetched(self, size_bytes: int) -> None:
        """Bytes of batches are on their way to a consumer."""


class Instruments(Protocol):
    """The counters of one broker."""

    def topic(self, name: str) -> TopicInstruments:
        """Return the counters of a topic, for its partitions to keep."""

    def forget_topic(self, name: str) -> None:
        """The topic was deleted."""

    def request_finished(self, method: str, *, seconds: float, error: str = OK) -> None:
        """A request was answered. ``seconds`` leaves out waiting that the client asked for."""

    def stream_opened(self, method: str) -> None:
        """A stream began."""

    def stream_closed(self, method: str, *, error: str = OK) -> None:
        """A stream ended, well or not."""

    def flush_round_finished(self, *, logs: int, seconds: float) -> None:
        """``logs`` logs were synced, one after another, in ``seconds``."""


class MetricsOfTopic:
    """Counters of one topic, in Prometheus' registry."""

    __slots__ = ("_batches", "_fetched", "_records", "_size")

    def __init__(self, metrics: BrokerMetrics, name: str) -> None:
        self._batches = metrics.produced_batches.labels(name)
        self._records = metrics.produced_records.labels(name)
        self._size = metrics.produced_bytes.labels(name)
        self._fetched = metrics.fetched_bytes.labels(name)

    def appended(self, *, batches: int, records: int, size_bytes: int) -> None:
        """See :class:`TopicInstruments`."""
        self._batches.inc(batches)
        self._records.inc(records)
        self._size.inc(size_bytes)

    def fetched(self, size_bytes: int) -> None:
        """See :class:`TopicInstruments`."""
        self._fetched.inc(size_bytes)


class MetricsInstruments:
    """Counters of one broker, in Prometheus' registry."""

    def __init__(self, metrics: BrokerMetrics) -> None:
        self._metrics = metrics

    def topic(self, name: str) -> TopicInstruments:
        """See :class:`Instruments`."""
        return MetricsOfTopic(self._metrics, name)

    def forget_topic(self, name: str) -> None:
        """See :class:`Instruments`."""
        self._metrics.forget_topic(name)

    def request_finished(self, method: str, *, seconds: float, error: str = OK) -> None:
        """See :class:`Instruments`."""
        self._metrics.requests.labels(method, error).inc()
        self._metrics.request_seconds.labels(method).observe(seconds)

    def stream_opened(self, method: str) -> None:
        """See :class:`Instruments`."""
        self._metrics.open_streams.labels(method).inc()

    def stream_closed(self, method: str, *, error: str = OK) -> None:
        """See :class:`Instruments`."""
        self._metrics.open_streams.labels(method).dec()
        self._metrics.requests.labels(method, error).inc()

    def flush_round_finished(self, *, logs: int, seconds: float) -> None:
        """See :class:`Instruments`."""
        self._metrics.flushed_logs.inc(logs)
        self._metrics.flush_seconds.observe(seconds)
