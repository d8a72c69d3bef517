"""The work of ``ottla consume``: from a starting point to the end, to standard output.

The end is each partition's high watermark when the command started, so that it ends even if
somebody writes faster than it reads. Partitions that have reached it are paused.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final, Literal, assert_never

from ottla.cli.client_loop import run_client
from ottla.cli.connection import Connection
from ottla.cli.failure import CommandError
from ottla.cli.output import say, write_output
from ottla.cli.progress import Progress
from ottla.cli.starting_point import AtOffset, AtTime, Beginning, End, StartingPoint
from ottla.client.consumer import Consumer
from ottla.client.consumer_record import ConsumerRecord
from ottla.model.ids import TopicPartition

RECORDS_AT_ONCE: Final = 10_000
"""Written with one system call, a few megabytes at most."""

WAIT_MS: Final = 1_000
"""How long to wait for records before looking whether the end was reached without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What to read, from where to where, and how to write it."""

    topic: str
    partition: int | None
    """``None``: all, with those that are added later."""
    start: StartingPoint
    follow: bool
    records_max: int | None
    write: Callable[[Iterable[ConsumerRecord]], bytes]
    rack: str | None = None
    """Where we are."""
    group: str | None = None
    """Read as a member of it, from where it has committed on; ``start`` counts where it has not."""


def run_reading(reading: Reading, connection: Connection) -> int:
    """Read until the end, and return the exit status."""
    return run_client(_Reader(reading).run(connection))


class _Reader:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._progress = Progress("read")
        self._ends: dict[TopicPartition, int] = {}
        """Of the partitions that have not been read to their end; empty when following."""

    async def run(self, connection: Connection) -> int:
        reading = self._reading
        topics = (reading.topic,) if reading.partition is None else ()
        # Records that retention takes away while we read are gone; what is left is read on.
        reset: Literal["latest", "earliest"] = (
            "latest" if isinstance(reading.start, End) else "earliest"
        )
        async with Consumer(
            *topics,
            bootstrap_servers=connection.servers,
            auto_offset_reset=reset,
            allow_auto_create_topics=False,
            client_rack=reading.rack,
            group_id=reading.group,
            **connection.options(),
        ) as consumer:
            if reading.group is not None:
                # What was written is done with when the next is asked for, also if Ctrl-C ends
                # that: it is committed when the consumer stops.
                with nullcontext() if sys.stdout.isatty() else self._progress:
                    await self._copy(consumer)
                return 0
            if reading.partition is not None:
                await _check_partition(consumer, reading.topic, reading.partition)
                consumer.assign([TopicPartition(reading.topic, reading.partition)])
            await self._go_to_start(consumer)
            if isinstance(reading.start, End) and sys.stderr.isatty():
                say("Waiting for new records; Ctrl-C ends. (--from-beginning reads what is there.)")
            with nullcontext() if sys.stdout.isatty() else self._progress:
                await self._copy(consumer)
        return 0

    async def _go_to_start(self, consumer: Consumer) -> None:
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(partitions)
        starts = await self._starts(consumer, ends)
        for partition, offset in starts.items():
            consumer.seek(partition, offset)
        if not self._reading.follow:
            begins = starts or await consumer.beginning_offsets(partitions)
            self._ends = {each: end for each, end in ends.items() if begins[each] < end}
            consumer.pause(*partitions - set(self._ends))

    async def _starts(
        self, consumer: Consumer, ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Say where to seek to; nowhere if the consumer begins there anyway."""
        start = self._reading.start
        match start:
            case Beginning() | End():
                return {}
            case AtOffset():
                begins = await consumer.beginning_offsets(ends)
                return {each: _offset(start, each, begins[each], ends[each]) for each in ends}
            case AtTime():
                found = await consumer.offsets_for_times(dict.fromkeys(ends, start.timestamp_ms))
                return {
                    each: ends[each] if answer is None else answer.offset
                    for each, answer in found.items()
                }
            case _:
                assert_never(start)

    async def _copy(self, consumer: Consumer) -> None:
        reading = self._reading
        left = reading.records_max
        while (reading.follow or self._ends) and left != 0:
            at_once = RECORDS_AT_ONCE if left is None else min(left, RECORDS_AT_ONCE)
            taken = await consumer.getmany(timeout_ms=WAIT_MS, max_records=at_once)
            for partition, records in taken.items():
                wanted = self._before_end(partition, records)
                self._write(wanted)
                left = None if left is None else left - len(wanted)
            if not taken:
                _check_reader()
            for partition in taken or tuple(self._ends):
                await self._stop_at_end(consumer, partition)

    def _before_end(
        self, partition: TopicPartition, records: list[ConsumerRecord]
    ) -> list[ConsumerRecord]:
        end = self._ends.get(partition)
        if end is None or records[-1].offset < end:
            return records
        return [record for record in records if record.offset < end]

    async def _stop_at_end(self, consumer: Consumer, partition: TopicPartition) -> None:
        end = self._ends.get(partition)
        if end is not None and await consumer.position(partition) >= end:
            del self._ends[partition]
            consumer.pause(partition)

    def _write(self, records: list[ConsumerRecord]) -> None:
        content = self._reading.write(records)
        write_output(content)
        self._progress.advance(len(records), len(content))


async def _check_partition(consumer: Consumer, topic: str, partition: int) -> None:
    present = await consumer.partitions_for_topic(topic)
    if partition not in present:
        raise CommandError(
            f"topic {topic!r} has no partition {partition}: it has {len(present)}, from 0 on"
        )


def _check_reader() -> None:
    """Raise :exc:`BrokenPipeError` if nobody reads standard output any more.

    A write would tell, but while nothing is read nothing is written: ``consume --follow | head -1``
    would stay for ever.
    """
    look = select.poll()
    look.register(sys.stdout.fileno(), 0)  # errors are always told
    if any(event & select.POLLERR for _, event in look.poll(0)):
        raise BrokenPipeError


def _offset(start: AtOffset, partition: TopicPartition, begin: int, end: int) -> int:
    if start.offset < 0:
        return max(begin, end + start.offset)
    if not begin <= start.offset <= end:
        raise CommandError(
            f"{partition} has the offsets {begin} to {end}, and {start.offset} is outside; choose "
            "one of these, or --from-beginning"
        )
    return start.offset
