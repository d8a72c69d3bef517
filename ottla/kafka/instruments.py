"""What the Kafka door counts, for ``/metrics``."""

from __future__ import annotations

from typing import Final, Protocol

from prometheus_client import Counter, Histogram

from ottla.metrics.registry import OK, BrokerMetrics
from ottla.model.errors import ERRORS_BY_CODE

METHOD_PREFIX: Final = "kafka."
"""Before the name of an API in the label ``method``, where gRPC's methods stand as well."""


class ApiInstruments(Protocol):
    """Of one kind of request."""

    def finished(self, error_code: int, seconds: float) -> None:
        """A request was answered; ``error_code`` is the one of the response as a whole."""

    def failed(self, error: str) -> None:
        """A request got no answer, because of the error of this name."""

    def throttled(self, seconds: float) -> None:
        """The client has to keep quiet for so long after a request."""


class KafkaInstruments(Protocol):
    """Of all listeners."""

    def api(self, name: str) -> ApiInstruments:
        """Return those of one kind of request, to be kept."""

    def received(self, size: int) -> None:
        """Bytes came in."""

    def sent(self, size: int) -> None:
        """Bytes of responses are on their way."""

    def connections_changed(self, listener: str, count: int) -> None:
        """So many connections are open at a listener."""

    def connection_refused(self, listener: str) -> None:
        """A connection was closed at once, because there are too many."""


class MetricsOfApi:
    """In Prometheus' registry."""

    __slots__ = ("_method", "_metrics", "_ok", "_seconds")

    def __init__(self, metrics: BrokerMetrics, name: str) -> None:
        self._method = METHOD_PREFIX + name
        self._metrics = metrics
        # Made when first needed: most kinds of request never come.
        self._ok: Counter | None = None
        self._seconds: Histogram | None = None

    def finished(self, error_code: int, seconds: float) -> None:
        """See :class:`ApiInstruments`."""
        if self._ok is None or self._seconds is None:
            self._ok = self._metrics.requests.labels(self._method, OK)
            self._seconds = self._metrics.request_seconds.labels(self._method)
        if error_code:
            self.failed(error_name(error_code))
        else:
            self._ok.inc()
        self._seconds.observe(seconds)

    def failed(self, error: str) -> None:
        """See :class:`ApiInstruments`."""
        self._metrics.requests.labels(self._method, error).inc()

    def throttled(self, seconds: float) -> None:
        """See :class:`ApiInstruments`."""
        self._metrics.kafka.throttled_seconds.labels(self._method).inc(seconds)


class KafkaMetrics:
    """In Prometheus' registry."""

    def __init__(self, metrics: BrokerMetrics) -> None:
        self._metrics = metrics
        self.received = metrics.kafka.received_bytes.inc
        self.sent = metrics.kafka.sent_bytes.inc

    def api(self, name: str) -> ApiInstruments:
        """See :class:`KafkaInstruments`."""
        return MetricsOfApi(self._metrics, name)

    def connections_changed(self, listener: str, count: int) -> None:
        """See :class:`KafkaInstruments`."""
        self._metrics.kafka.connections.labels(listener).set(count)

    def connection_refused(self, listener: str) -> None:
        """See :class:`KafkaInstruments`."""
        self._metrics.kafka.refused_connections.labels(listener).inc()


def error_name(code: int) -> str:
    """Return Kafka's name of an error code, as far as it has a class here."""
    kind = ERRORS_BY_CODE.get(code)
    return str(code) if kind is None else kind.name
