"""Produce: batches into logs, in the order of the calls, and the acknowledgement afterwards.

Two stages, because callers need order before durability.
:meth:`BrokerProduceService.begin_produce` checks and appends at once and never waits, so whoever
calls it twice has his batches in that order. The :class:`PendingAppend` that it returns is done
when every partition of the request is acknowledged as ``acks`` asks, has failed, or the time is up:

====  ====================================================================================
acks  a partition is acknowledged
====  ====================================================================================
0, 1  when its records are in the leader's log
-1    when they are committed: the high watermark has passed them (what that takes is said
      in :mod:`ottla.cluster.partition`)
====  ====================================================================================

What is checked, and where: the request here; batches by :mod:`ottla.record.validation`, from their
headers and checksums; leadership and replicas by the partition; sequences of idempotent producers
by the log. All batches of one partition are appended, or none. Nothing here looks at a single
record, except for topics whose ``compression.type`` says that the broker is to recompress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from ottla.cluster.partition import Partition
from ottla.cluster.services import PartitionAppended, PartitionToAppend, Result
from ottla.model.errors import (
    InvalidRecordError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    NotEnoughReplicasAfterAppendError,
    OttlaError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import TopicPartition
from ottla.model.limits import (
    PARTITIONS_PER_REQUEST_MAX,
    PRODUCE_TIMEOUT_DEFAULT_MS,
    PRODUCE_TIMEOUT_MAX_MS,
    WAITERS_MAX,
)
from ottla.record.batch import RecordBatch, split_batches
from ottla.record.compression import Codec
from ottla.record.rewriting import recompressed
from ottla.record.validation import check_client_batch
from ottla.replication.leader import ACKS_ALL
from ottla.runtime.clock import Clock
from ottla.runtime.purgatory import Outcome, Purgatory

_ACKS: Final = (ACKS_ALL, 0, 1)


class LedPartitions(Protocol):
    """Where partitions are found; the replica manager is one."""

    def led(self, topic_partition: TopicPartition) -> Partition:
        """Return a partition that this broker leads, or raise why it is not to be had here."""


class PendingAppend:
    """One request that was appended; see :class:`ottla.cluster.services.PendingProduce`."""

    __slots__ = ("_acknowledged", "_outstanding", "_results")

    def __init__(self) -> None:
        self._results: list[Result[PartitionAppended]] = []
        self._outstanding = 0
        self._acknowledged: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<PendingAppend {self._outstanding} of {len(self._results)} outstanding>"

    def results(self) -> list[Result[PartitionAppended]] | None:
        """Return the results if nothing is outstanding, else ``None``."""
        return None if self._outstanding else self._results

    async def wait(self) -> list[Result[PartitionAppended]]:
        """Wait until nothing is outstanding; then every partition has its result."""
        if self._outstanding:
            self._acknowledged = asyncio.get_running_loop().create_future()
            await self._acknowledged
        return self._results

    def _settle(self) -> None:
        self._outstanding -= 1
        if not self._outstanding and self._acknowledged is not None:
            if not self._acknowledged.done():
                self._acknowledged.set_result(None)


class _Acknowledgement:
    """One partition of a request, waiting to be committed."""

    __slots__ = ("_index", "_partition", "_pending", "_timeout_ms")

    def __init__(
        self, pending: PendingAppend, index: int, partition: Partition, timeout_ms: int
    ) -> None:
        self._pending = pending
        self._index = index
        self._partition = partition
        self._timeout_ms = timeout_ms

    def __call__(self, outcome: Outcome | OttlaError) -> None:
        error = self._error(outcome)
        if error is not None:
            self._pending._results[self._index] = error
        self._pending._settle()

    def _error(self, outcome: Outcome | OttlaError) -> OttlaError | None:
        partition = self._partition
        if outcome is Outcome.EXPIRED:
            return RequestTimedOutError(
                f"the records are in the log of {partition.topic_partition} but were not "
                f"committed within {self._timeout_ms} ms; they may still be"
            )
        if isinstance(outcome, OttlaError):
            return outcome
        if partition.is_leader and partition.leader.is_under_min_insync:
            return NotEnoughReplicasAfterAppendError(
                f"the records are in the log of {partition.topic_partition}, but since then fewer "
                "replicas are in sync than min.insync.replicas asks for"
            )
        return None
