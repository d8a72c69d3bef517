"""Find out where to read: for partitions without a position, or with one that is out of range.

``auto_offset_reset`` decides. A position that a broker calls out of range is looked at again
before it is given up: the complaint may be about an earlier one, which was under way while the
application sought elsewhere. One behind which the log has changed
(:exc:`~ottla.client.errors.LogTruncatedError`) is given up at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final

from ottla.client.backoff import Backoff
from ottla.client.errors import LogTruncatedError, NoOffsetError
from ottla.client.metadata import MetadataCache, patience_ms
from ottla.client.offset_lookup import EARLIEST, LATEST, OffsetFound, OffsetLookup
from ottla.client.partition_reader import PartitionReader
from ottla.client.settings import ConsumerSettings
from ottla.model.errors import OffsetOutOfRangeError, OttlaError
from ottla.model.ids import TopicPartition

_log = logging.getLogger(__name__)

OFFSET_RESET: Final = "offset_reset"
"""Log event, with partition and offsets: a position was out of range, and was chosen anew."""


class PositionFinder:
    """Run :meth:`run` as a task.

    Args:
        lookup: asks brokers.
        metadata: asked for anew when a leader does not answer.
        settings: policy and times.
        found: called when a reader has a position, or was blocked because there is none.
    """

    def __init__(
        self,
        lookup: OffsetLookup,
        metadata: MetadataCache,
        settings: ConsumerSettings,
        *,
        found: Callable[[PartitionReader], None],
    ) -> None:
        self._lookup = lookup
        self._metadata = metadata
        self._settings = settings
        self._found = found
        self._pending: dict[TopicPartition, PartitionReader] = {}
        self._begin: dict[TopicPartition, int] = {}
        self._lost: dict[TopicPartition, LogTruncatedError] = {}
        self._unproven: set[TopicPartition] = set()
        self._failing: dict[TopicPartition, tuple[type[OttlaError], float]] = {}
        # With what error, and since when.
        self._asked = asyncio.Event()

    def find(
        self,
        reader: PartitionReader,
        *,
        begin: int | None = None,
        lost: LogTruncatedError | None = None,
        is_unproven: bool = False,
    ) -> None:
        """Look up where ``reader`` is to go on; with ``begin``, there instead of by the policy.

        ``lost`` says why it cannot go on where it is, even if there are records. ``is_unproven``:
        the record before its place is not there, as it should be if it was not deleted.
        """
        self._pending[reader.topic_partition] = reader
        if lost is not None:
            self._lost[reader.topic_partition] = lost
        if is_unproven:
            self._unproven.add(reader.topic_partition)
        if begin is not None:
            self._begin[reader.topic_partition] = begin
        self._asked.set()

    def forget(self, reader: PartitionReader) -> None:
        """The application has chosen a position itself."""
        self._pending.pop(reader.topic_partition, None)
        self._begin.pop(reader.topic_partition, None)
        self._lost.pop(reader.topic_partition, None)
        self._unproven.discard(reader.topic_partition)
        self._failing.pop(reader.topic_partition, None)

    def is_finding(self, reader: PartitionReader) -> bool:
        """Whether ``reader`` is being looked up."""
        return reader.topic_partition in self._pending

    async def run(self) -> None:
        """Look up what is asked for, until cancelled."""
        backoff = Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._find_pending()
            if not self._pending:
                backoff.succeeded()
                continue
            self._asked.set()
            self._metadata.request_refresh()
            await asyncio.sleep(backoff.next_delay_ms() / 1000)

    async def _find_pending(self) -> None:
        """Settle what can be settled now; the rest stays pending."""
        readers = dict(self._pending)
        timeout_ms = self._settings.request_timeout_ms
        earliest, failures = await self._lookup.ask_once(
            dict.fromkeys(readers, EARLIEST), timeout_ms=timeout_ms
        )
        latest, more_failures = await self._lookup.ask_once(
            dict.fromkeys(earliest, LATEST), timeout_ms=timeout_ms
        )
        for partition, reader in readers.items():
            if self._pending.get(partition) is not reader:
                continue
            if partition in latest:
                self._settle(reader, earliest[partition], latest[partition])
                continue
            error = failures.get(partition) or more_failures[partition]
            if self._is_hopeless(partition, error):
                reader.block(error)
                self._done(reader)

    def _is_hopeless(self, partition: TopicPartition, error: OttlaError) -> bool:
        """Whether to tell the application instead of trying again."""
        patience = patience_ms(error)
        if math.isinf(patience):
            return False
        now_ms = asyncio.get_running_loop().time() * 1000
        kind, since_ms = self._failing.get(partition, (type(error), now_ms))
        if kind is not type(error):
            since_ms = now_ms
        self._failing[partition] = (type(error), since_ms)
        return now_ms - since_ms >= min(patience, self._settings.request_timeout_ms)

    def _settle(self, reader: PartitionReader, earliest: OffsetFound, latest: OffsetFound) -> None:
        offset = reader.fetch_offset
        lost = self._lost.get(reader.topic_partition)
        if offset is not None and earliest.offset < offset and self._is_unproven(reader):
            lost = lost or _truncated(reader, earliest.offset, latest.offset)
        if lost is None and offset is not None and earliest.offset <= offset <= latest.offset:
            self._done(reader)
            return
        begin = self._begin.get(reader.topic_partition)
        if begin is None and self._settings.auto_offset_reset == "none":
            reader.block(lost or _nowhere_to_go(reader, earliest.offset, latest.offset))
            self._done(reader)
            return
        if begin is None:
            begin = EARLIEST if self._settings.auto_offset_reset == "earliest" else LATEST
        chosen = earliest.offset if begin == EARLIEST else latest.offset
        if offset is None:
            reader.seek(chosen)
        else:
            _log.warning(
                OFFSET_RESET,
                extra={
                    "partition": str(reader.topic_partition),
                    "from": offset,
                    "to": chosen,
                    "reason": str(lost or _nowhere_to_go(reader, earliest.offset, latest.offset)),
                },
            )
            reader.jump(chosen)
        self._done(reader)

    def _is_unproven(self, reader: PartitionReader) -> bool:
        return reader.topic_partition in self._unproven

    def _done(self, reader: PartitionReader) -> None:
        self.forget(reader)
        self._found(reader)


def _nowhere_to_go(reader: PartitionReader, earliest: int, latest: int) -> OttlaError:
    there = _what_there_is(earliest, latest)
    if reader.fetch_offset is None:
        return NoOffsetError(
            f"{reader.topic_partition} has no position, and auto_offset_reset is 'none'; {there}"
        )
    if reader.last_epoch is not None and reader.fetch_offset > latest:
        return _truncated(reader, earliest, latest)
    return OffsetOutOfRangeError(
        f"offset {reader.fetch_offset} of {reader.topic_partition} does not exist, and "
        f"auto_offset_reset is 'none'; {there}"
    )


def _truncated(reader: PartitionReader, earliest: int, latest: int) -> LogTruncatedError:
    assert reader.fetch_offset is not None, "nothing was read"
    return LogTruncatedError(
        f"{reader.topic_partition} has lost records: those below offset {reader.fetch_offset} "
        f"were read, and are gone; {_what_there_is(earliest, latest)}",
        topic_partition=reader.topic_partition,
        offset=reader.fetch_offset,
    )


def _what_there_is(earliest: int, latest: int) -> str:
    return f"it has records from {earliest} up to but not including {latest}; seek to one of them"
