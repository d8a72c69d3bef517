"""The work of ``ottla produce``: lines to records to acknowledgements.

Lines are handed to the producer without waiting, as many as its memory holds; then the event loop
runs until brokers have acknowledged some. Whatever ends the input (its end, Ctrl-C, a line that
is no record, an error), what was sent before is waited for and counted. The count is of what was
acknowledged, which may be less than what was sent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ottla.cli.client_loop import run_client
from ottla.cli.connection import Connection
from ottla.cli.failure import INTERRUPTED, CommandError
from ottla.cli.lines import LINE_BYTES_MAX, LineReader, LineTooLongError
from ottla.cli.output import print_json, say
from ottla.cli.progress import Progress
from ottla.cli.record_json import InputRecord
from ottla.client.errors import BufferFullError
from ottla.client.producer import Producer
from ottla.model.errors import OttlaError
from ottla.record.builder import Headers

LINES_BETWEEN_ROUNDS: Final = 1_024
"""Lines sent before the event loop gets its turn: under ten milliseconds."""

HINDRANCE_LOOK_S: Final = 1.0
"""How often to look whether brokers refuse what they may take later. What passes sooner, such as a
new leader, is nobody's concern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What to send, where to, and how."""

    topic: str
    partition: int | None
    headers: Headers
    acks: str
    compression: str
    parse: Callable[[bytes], InputRecord] | None
    """From a line to a record, or :exc:`ValueError` with a sentence. ``None``: it is the value."""
    reports_json: bool


def run_sending(sending: Sending, connection: Connection) -> int:
    """Send standard input to its end, report, and return the exit status."""
    return run_client(_Sender(sending).run(connection))


class _Sender:
    def __init__(self, sending: Sending) -> None:
        self._sending = sending
        self._progress = Progress("sending")
        self._lines_read = 0
        self._is_interrupted = False

    async def run(self, connection: Connection) -> int:
        sending = self._sending
        reader = LineReader(sys.stdin.fileno())
        problem: Exception | None = None
        async with Producer(
            connection.servers,
            acks=sending.acks,
            compression_type=sending.compression,
            **connection.options(),
        ) as producer:
            await producer.partitions_for(sending.topic)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupt, reader)
            if sys.stdin.isatty():
                say("One record a line; Ctrl-D ends the input.")
            telling = asyncio.ensure_future(_tell_hindrance(producer))
            try:
                with self._progress:
                    try:
                        await self._send_everything(producer, reader)
                    except (OttlaError, CommandError) as error:
                        problem = error
                    await producer.flush()
            finally:
                telling.cancel()
            return self._report(producer, problem)

    async def _send_everything(self, producer: Producer, reader: LineReader) -> None:
        send = self._send_plain if self._sending.parse is None else self._send_parsed
        try:
            async for lines in reader.chunks():
                for start in range(0, len(lines), LINES_BETWEEN_ROUNDS):
                    piece = lines[start : start + LINES_BETWEEN_ROUNDS]
                    await send(producer, piece)
                    self._lines_read += len(piece)
                    self._progress.advance(len(piece), sum(map(len, piece)))
                    await producer.wait_for_space()
                if producer.statistics().records_failed:
                    return  # the report says why; more of the same would only take longer
        except OSError as error:
            raise CommandError(
                f"cannot read standard input: {error.strerror}; give it a file or a pipe"
            ) from error
        except LineTooLongError:
            raise CommandError(
                f"a line after line {self._lines_read} has more than {LINE_BYTES_MAX} bytes, which "
                "no record may have; is this text?"
            ) from None

    async def _send_plain(self, producer: Producer, lines: Sequence[bytes]) -> None:
        topic, partition = self._sending.topic, self._sending.partition
        headers = self._sending.headers
        now_ms = time.time_ns() // 1_000_000
        send = producer.send_nowait
        for line in lines:
            try:
                send(topic, line, headers=headers, partition=partition, timestamp_ms=now_ms)
            except BufferFullError:
                await producer.send(
                    topic, line, headers=headers, partition=partition, timestamp_ms=now_ms
                )

    async def _send_parsed(self, producer: Producer, lines: Sequence[bytes]) -> None:
        sending, topic, parse = self._sending, self._sending.topic, self._sending.parse
        send = producer.send_nowait
        assert parse is not None
        now_ms = time.time_ns() // 1_000_000
        for number, line in enumerate(lines, start=self._lines_read + 1):
            try:
                record = parse(line)
            except ValueError as error:
                raise CommandError(f"line {number} {error}") from None
            value, key, headers, partition, timestamp_ms = record
            if sending.headers:
                headers = (*sending.headers, *headers)
            if partition is None:
                partition = sending.partition
            if timestamp_ms is None:
                timestamp_ms = now_ms
            try:
                send(
                    topic,
                    value,
                    key=key,
                    headers=headers,
                    partition=partition,
                    timestamp_ms=timestamp_ms,
                )
            except BufferFullError:
                await producer.send(
                    topic,
                    value,
                    key=key,
                    headers=headers,
                    partition=partition,
                    timestamp_ms=timestamp_ms,
                )

    def _interrupt(self, reader: LineReader) -> None:
        if self._is_interrupted:
            os._exit(INTERRUPTED)  # what is under way may take minutes, and was told to leave
        self._is_interrupted = True
        say("Waiting for acknowledgements; Ctrl-C again leaves without them.")
        reader.stop()

    def _report(self, producer: Producer, problem: Exception | None) -> int:
        statistics = producer.statistics()
        failed = statistics.records_failed
        self._progress.records = statistics.records_acknowledged
        verb = "sent, not acknowledged:" if self._sending.acks == "0" else "acknowledged:"
        say(f"{verb} {self._progress.summary()}")
        if self._sending.reports_json:
            print_json(
                {
                    "topic": self._sending.topic,
                    "records_acknowledged": statistics.records_acknowledged,
                    "records_failed": failed,
                    "seconds": round(self._progress.seconds, 3),
                    "interrupted": self._is_interrupted,
                }
            )
        if failed:
            raise CommandError(
                f"{failed:,} of the records sent were not acknowledged: {statistics.last_error}"
            )
        if problem is not None:
            raise problem
        return INTERRUPTED if self._is_interrupted else 0


async def _tell_hindrance(producer: Producer) -> None:
    """Say once what keeps a broker from taking records, while the producer tries again."""
    while True:
        await asyncio.sleep(HINDRANCE_LOOK_S)
        hindrance = producer.statistics().hindrance
        if hindrance is not None:
            say(f"Trying again, because of {hindrance.name}: {hindrance}")
            return
