"""What can go wrong on the client's side of the wire.

Errors that a broker answers are the classes of :mod:`ottla.model.errors`, as they are.
The ones here never cross the wire:

* :exc:`~ottla.model.errors.OttlaError`
    * :exc:`ClientClosedError` -- used before ``start`` or after ``stop``
    * :exc:`BufferFullError` -- the producer's memory is used up
    * :exc:`TopicNotLoadedError` -- ``send_nowait`` cannot wait for metadata
    * :exc:`DeliveryTimeoutError` -- a batch was not acknowledged in time
    * :exc:`DeserializationError` -- the application's deserializer failed on a record
    * :exc:`NoOffsetError` -- no position, and ``auto_offset_reset="none"``
    * :exc:`LogTruncatedError` -- records that were read are not in the log any more
    * :exc:`RebalanceListenerError` -- the application's rebalance listener failed
    * :exc:`AccessDeniedError` -- the broker does not let this client in
    * :exc:`PartialFailureError` -- some parts of an administrative request failed
    * :exc:`~ottla.model.errors.MetadataError`
        * :exc:`BrokerUnavailableError` -- one broker cannot be reached
    * :exc:`~ottla.model.errors.RetriableError`
        * :exc:`NoBrokersAvailableError` -- none can
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from ottla.model.errors import (
    MetadataError,
    OffsetOutOfRangeError,
    OttlaError,
    RefusedError,
    RetriableError,
)
from ottla.model.ids import TopicPartition

Result = TypeVar("Result")


class ClientClosedError(OttlaError):
    """The client was not started yet, or was stopped."""

    name = "CLIENT_CLOSED"


class BufferFullError(OttlaError):
    """``buffer_memory`` is used up: records come in faster than brokers acknowledge them."""

    name = "BUFFER_FULL"


class TopicNotLoadedError(OttlaError):
    """``send_nowait`` met a topic whose partitions are not known yet."""

    name = "TOPIC_NOT_LOADED"


class DeliveryTimeoutError(OttlaError):
    """A batch was not acknowledged within ``delivery_timeout_ms``.

    If it had been sent, its records may be in the log, or still get there.
    """

    name = "DELIVERY_TIMEOUT"
    status = "DEADLINE_EXCEEDED"


class DeserializationError(OttlaError):
    """The application's deserializer failed on a record; its own exception is the cause.

    The consumer stays at the record; ``consumer.seek(error.topic_partition, error.offset + 1)``
    leaves it out.
    """

    name = "DESERIALIZATION_FAILED"

    def __init__(self, message: str, *, topic_partition: TopicPartition, offset: int) -> None:
        super().__init__(message)
        self.topic_partition = topic_partition
        self.offset = offset


class NoOffsetError(OttlaError):
    """A partition has no position to read from, and the policy is to choose none."""

    name = "NO_OFFSET"


class LogTruncatedError(OffsetOutOfRangeError):
    """Records that were read are not in the log any more (KIP-320).

    A leader was elected that did not have them: an unclean election, or a disk that lied. From
    ``offset`` back to an unknown place, other records have taken their offsets, or will.
    """

    def __init__(self, message: str, *, topic_partition: TopicPartition, offset: int) -> None:
        super().__init__(message)
        self.topic_partition = topic_partition
        self.offset = offset


class RebalanceListenerError(OttlaError):
    """The application's rebalance listener failed; its own exception is the cause.

    The consumer ends: what the listener was to do for the partitions is not done.
    """

    name = "REBALANCE_LISTENER_FAILED"


class AccessDeniedError(RefusedError):
    """The broker wants other credentials than this client showed."""

    name = "ACCESS_DENIED"
    status = "PERMISSION_DENIED"


class BrokerUnavailableError(MetadataError):
    """One broker could not be reached, or went away in the middle of a call."""

    name = "BROKER_UNAVAILABLE"


class NoBrokersAvailableError(RetriableError):
    """No broker could be reached in the time given."""

    name = "NO_BROKERS_AVAILABLE"


class PartialFailureError(OttlaError, Generic[Result]):
    """A request named several things, and not all of them succeeded.

    ``errors`` has the failures by name, ``results`` what the others returned. What succeeded
    stays done.
    """

    name = "PARTIAL_FAILURE"

    def __init__(self, *, errors: Mapping[str, OttlaError], results: Sequence[Result]) -> None:
        self.errors = errors
        self.results = results
        sentences = "; ".join(f"{name}: {error}" for name, error in errors.items())
        super().__init__(f"{len(errors)} of {len(errors) + len(results)} failed: {sentences}")
