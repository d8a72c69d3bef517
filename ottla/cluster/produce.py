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
record, except for topics whose ``compression.type`` says that the broker is to recompress, and for
compacted ones, where every record needs a key.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from ottla.cluster.partition import Partition
from ottla.cluster.partition_settings import PartitionSettings
from ottla.cluster.services import PartitionAppended, PartitionToAppend, Result
from ottla.model.errors import (
    InvalidRecordError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    InvalidTopicError,
    InvalidTransactionStateError,
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
from ottla.model.topic_names import INTERNAL_TOPICS
from ottla.record.batch import RecordBatch, crc_matches, split_batches
from ottla.record.compression import Codec
from ottla.record.rewriting import recompressed
from ottla.record.validation import check_client_batch, check_client_records
from ottla.replication.leader import ACKS_ALL
from ottla.runtime.clock import Clock
from ottla.runtime.purgatory import Outcome, Purgatory
from ottla.storage.producer_state import ProducerEntry

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

    def add(self, result: Result[PartitionAppended]) -> int:
        """Take the result of the next partition, as it is so far; return its index."""
        self._results.append(result)
        return len(self._results) - 1

    def expect(self) -> None:
        """Wait for one :meth:`settle` more."""
        self._outstanding += 1

    def settle(self, index: int, error: OttlaError | None) -> None:
        """Hear that a partition is acknowledged, or why it is not."""
        if error is not None:
            self._results[index] = error
        self._outstanding -= 1
        acknowledged = self._acknowledged
        if not self._outstanding and acknowledged is not None and not acknowledged.done():
            acknowledged.set_result(None)


class BrokerProduceService:
    """Appends to the partitions that this broker leads; a ``ProduceService``."""

    def __init__(
        self, partitions: LedPartitions, *, commits: Purgatory[TopicPartition], clock: Clock
    ) -> None:
        self._partitions = partitions
        self._commits = commits
        self._clock = clock

    def needs_preparation(self, partitions: Sequence[PartitionToAppend]) -> bool:
        """Whether records are looked at; see :class:`ottla.cluster.services.ProduceService`."""
        settings = map(self._settings_of, partitions)
        return any(each is not None and _looks_at_records(each) for each in settings)

    async def prepare(self, partitions: Sequence[PartitionToAppend]) -> list[PartitionToAppend]:
        """Do that on a thread; see :class:`ottla.cluster.services.ProduceService`."""
        wanted = [(part, self._settings_of(part)) for part in partitions]
        wall_ms = self._clock.wall_ms()
        return await asyncio.to_thread(
            lambda: [_prepared(part, settings, wall_ms) for part, settings in wanted]
        )

    def _settings_of(self, part: PartitionToAppend) -> PartitionSettings | None:
        try:
            return self._partitions.led(part.topic_partition).settings
        except OttlaError:
            return None  # begin_produce says so to whom it concerns

    def begin_produce(
        self, partitions: Sequence[PartitionToAppend], *, acks: int, timeout_ms: int
    ) -> PendingAppend:
        """Append now what can be appended; see :class:`ottla.cluster.services.ProduceService`.

        Raises:
            InvalidRequiredAcksError: ``acks`` is none of 0, 1, -1.
            InvalidRequestError: too many partitions, one named twice, a time-out out of range.
            ThrottlingQuotaExceededError: too many requests wait for their acknowledgement.
        """
        timeout_ms = self._checked_timeout_ms(partitions, acks, timeout_ms)
        deadline_ms = self._clock.now_ms() + timeout_ms
        wall_ms = self._clock.wall_ms()
        pending = PendingAppend()
        for part in partitions:
            try:
                partition, appended = self._append(part, acks, wall_ms)
            except OttlaError as error:
                pending.add(error)
                continue
            index = pending.add(appended)
            if acks == ACKS_ALL and partition.high_watermark < appended.end_offset:
                pending.expect()
                self._commits.watch(
                    ((part.topic_partition, appended.end_offset),),
                    deadline_ms=deadline_ms,
                    done=_Acknowledgement(pending, index, partition, timeout_ms),
                )
        return pending

    def describe_producers(
        self, partitions: Sequence[TopicPartition]
    ) -> list[Result[Sequence[ProducerEntry]]]:
        check_partitions(partitions)
        return [self._producers_of(topic_partition) for topic_partition in partitions]

    def _producers_of(self, topic_partition: TopicPartition) -> Result[Sequence[ProducerEntry]]:
        try:
            return self._partitions.led(topic_partition).log.producer_states.entries()
        except OttlaError as error:
            return error

    def _checked_timeout_ms(
        self, partitions: Sequence[PartitionToAppend], acks: int, timeout_ms: int
    ) -> int:
        if acks not in _ACKS:
            raise InvalidRequiredAcksError(
                f"acks is {acks}; use 0 (none), 1 (the leader) or -1 (all in-sync replicas)"
            )
        if not 0 <= timeout_ms <= PRODUCE_TIMEOUT_MAX_MS:
            raise InvalidRequestError(
                f"timeout_ms is {timeout_ms}; use 0 (which means {PRODUCE_TIMEOUT_DEFAULT_MS}) to "
                f"{PRODUCE_TIMEOUT_MAX_MS}"
            )
        check_partitions([part.topic_partition for part in partitions])
        # Now, because once a batch is appended it is too late to refuse its request.
        if acks == ACKS_ALL and len(self._commits) + len(partitions) > WAITERS_MAX:
            raise ThrottlingQuotaExceededError(
                f"{len(self._commits)} appends wait for their acknowledgement, and no more than "
                f"{WAITERS_MAX} may; nothing was appended, try again shortly"
            )
        return timeout_ms or PRODUCE_TIMEOUT_DEFAULT_MS

    def _append(
        self, part: PartitionToAppend, acks: int, wall_ms: int
    ) -> tuple[Partition, PartitionAppended]:
        if part.refusal is not None:
            raise part.refusal
        if part.topic_partition.topic in INTERNAL_TOPICS:
            raise InvalidTopicError(
                f"{part.topic_partition.topic} is the brokers' own; they alone write to it"
            )
        partition = self._partitions.led(part.topic_partition)
        settings = partition.settings
        batches = split_batches(part.batches)
        if not batches:
            raise InvalidRecordError(
                f"the request has nothing to append to {part.topic_partition}; send a batch"
            )
        if not part.is_prepared:
            if settings.codec is not None:
                batches = _in_codec(batches, settings.codec)
            if settings.is_compacted:
                _check_keys(batches, settings, wall_ms)
        records = 0
        for batch in batches:
            check_client_batch(batch, settings.rules, now_ms=wall_ms)
            if batch.header.is_transactional:
                raise _no_transactions(part.topic_partition, batch)
            records += batch.header.record_count
        appended = partition.append(batches, acks=acks)
        if not appended.duplicate:
            partition.instruments.appended(
                batches=len(batches), records=records, size_bytes=len(part.batches)
            )
        return partition, PartitionAppended(
            appended.base_offset,
            appended.end_offset,
            appended.log_append_time_ms,
            partition.log.log_start_offset,
        )


class _Acknowledgement:
    """What is called when a partition of a request has been committed, or will not be in time."""

    __slots__ = ("_index", "_partition", "_pending", "_timeout_ms")

    def __init__(
        self, pending: PendingAppend, index: int, partition: Partition, timeout_ms: int
    ) -> None:
        self._pending = pending
        self._index = index
        self._partition = partition
        self._timeout_ms = timeout_ms

    def __call__(self, outcome: Outcome | OttlaError) -> None:
        self._pending.settle(self._index, self._error(outcome))

    def _error(self, outcome: Outcome | OttlaError) -> OttlaError | None:
        if isinstance(outcome, OttlaError):
            return outcome
        if outcome is Outcome.REACHED:
            return None
        partition = self._partition
        if partition.is_leader and partition.leader.is_under_min_insync:
            return NotEnoughReplicasAfterAppendError(
                f"the records are in the log of {partition.topic_partition}, but since then fewer "
                "replicas are in sync than min.insync.replicas asks for"
            )
        return RequestTimedOutError(
            f"the records are in the log of {partition.topic_partition} but were not committed "
            f"within {self._timeout_ms} ms; they may still be"
        )


def _no_transactions(
    topic_partition: TopicPartition, batch: RecordBatch
) -> InvalidTransactionStateError:
    # Once in the log it would hold back the last stable offset for ever: nobody could end it.
    return InvalidTransactionStateError(
        f"a batch for {topic_partition} belongs to a transaction of producer "
        f"{batch.header.producer_id}, and this version has no transactions; send it without"
    )


def _looks_at_records(settings: PartitionSettings) -> bool:
    return settings.codec is not None or settings.is_compacted


def _prepared(
    part: PartitionToAppend, settings: PartitionSettings | None, wall_ms: int
) -> PartitionToAppend:
    """Look at the records that were sent for one partition, and recompress them; on a thread."""
    if settings is None or part.refusal is not None or not _looks_at_records(settings):
        return part
    try:
        batches = split_batches(part.batches)
    except OttlaError:
        return part
    if settings.is_compacted:
        try:
            _check_keys(batches, settings, wall_ms)
        except OttlaError as error:
            return replace(part, refusal=error)
    if settings.codec is None:
        return replace(part, is_prepared=True)
    try:
        batches = _in_codec(batches, settings.codec)
    except OttlaError:
        return part
    content = b"".join(batch.view for batch in batches)
    return replace(part, batches=content, is_prepared=True)


def _check_keys(batches: Sequence[RecordBatch], settings: PartitionSettings, wall_ms: int) -> None:
    """Raise if a record of a compacted topic has no key, or cannot be read.

    What does not have its checksum is left to the checks of whole batches, which say so.
    """
    for batch in batches:
        if crc_matches(batch):
            check_client_records(batch, settings.rules, key_required=True, now_ms=wall_ms)


def _in_codec(batches: Sequence[RecordBatch], codec: Codec) -> list[RecordBatch]:
    """Recompress batches that are not compressed by ``codec``.

    They are checked afterwards, as they are then. So one that does not have its checksum must not
    be given a right one.
    """
    return [
        batch
        if batch.header.codec is codec or not crc_matches(batch)
        else recompressed(batch, codec)
        for batch in batches
    ]


def check_partitions(partitions: Sequence[TopicPartition]) -> None:
    """Raise :exc:`InvalidRequestError` if a request names too many partitions, or one twice."""
    if len(partitions) > PARTITIONS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"the request names {len(partitions)} partitions; name at most "
            f"{PARTITIONS_PER_REQUEST_MAX}"
        )
    if len(partitions) > 1 and len(set(partitions)) != len(partitions):
        twice = Counter(partitions).most_common(1)[0][0]
        raise InvalidRequestError(f"the request names {twice} more than once; name it once")
