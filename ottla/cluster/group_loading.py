"""Read a group log into a fresh machine, and write it anew when it has become long.

Reading waits for the disk and decodes on a thread. Of each key only the last record counts, as if
the log were compacted, so those are gathered first and the others are forgotten: a log may repeat
itself many times, and a look at every record would be most of the work. Replaying happens on the
event loop, some records a turn, so that a long log does not keep anybody else waiting.

There is no compaction, so the coordinator keeps its log short by itself::

    start                    first                     end
      | records, most of them  | every record that lives |
      | out of date            | written again, and what |
      |                        | was new meanwhile       |

Once everything up to the end is committed, what lies before *first* says nothing that is not said
again behind it, and is deleted. What lives is written in pieces, each in one turn of the event loop
with the look at the machine, so that no change can come in between and be undone by an older value.
A coordinator that dies half way leaves a log that says some things twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol

from ottla.cluster.group_log import GroupLog, LoggedValue, LogPiece
from ottla.cluster.group_machine import ShardMachine
from ottla.coordinator.effects import GroupRecord
from ottla.model.ids import Offset
from ottla.model.limits import (
    GROUP_LOG_GARBAGE_MAX,
    GROUP_LOG_RECORDS_MIN,
    GROUP_RECORDS_PER_TURN_MAX,
)

COMMIT_TIMEOUT_MS: Final = 5_000
"""For a piece that was written anew; then it is left for another time."""


class ReadableLog(Protocol):
    """What is wanted of a :class:`GroupLog` to read it."""

    @property
    def start_offset(self) -> Offset:
        """Where reading begins."""

    @property
    def end_offset(self) -> Offset:
        """Where it ends."""

    def check_ours(self) -> None:
        """Raise if somebody else leads by now."""

    async def read(self, offset: Offset) -> LogPiece:
        """Read some records."""


async def replay_log(log: ReadableLog, machine: ShardMachine) -> int:
    """Replay all of ``log``, as it is when this returns; return how many records there were.

    Raises what :meth:`GroupLog.read` raises.
    """
    count = 0
    offset = log.start_offset
    latest: dict[bytes, LoggedValue] = {}
    while offset < log.end_offset:
        piece = await log.read(offset)
        for key in piece.latest:
            latest.pop(key, None)
        latest.update(piece.latest)
        count += piece.record_count
        offset = piece.next_offset
    for number, (key, (value, timestamp_ms)) in enumerate(latest.items(), start=1):
        if value is not None:
            machine.replay(key, value, timestamp_ms)
        if number % GROUP_RECORDS_PER_TURN_MAX == 0:
            await asyncio.sleep(0)
    log.check_ours()
    return count


class LogShortener:
    """Keeps one group log short while one machine leads it."""

    def __init__(
        self,
        log: GroupLog,
        machine: ShardMachine,
        *,
        append: Callable[[Sequence[GroupRecord]], None],
        records_min: int = GROUP_LOG_RECORDS_MIN,
    ) -> None:
        """Shorten ``log``; ``append`` appends to it.

        A log of fewer than ``records_min`` records is left alone.
        """
        self._log = log
        self._machine = machine
        self._append = append
        self._records_min = records_min
        self._due_at_records = records_min

    @property
    def is_due(self) -> bool:
        """Whether it is worth a look."""
        return self._length >= self._due_at_records

    def postpone(self) -> None:
        """Let the log become longer before the next look."""
        self._due_at_records = self._length + self._records_min

    @property
    def _length(self) -> int:
        return self._log.end_offset - self._log.start_offset

    async def shorten(self) -> int:
        """Write the log anew if most of it is out of date; return how many records were deleted.

        Raises:
            CoordinatorNotAvailableError: what was written was not committed in time.
            OttlaError: the log takes no records, or the machine was resigned.
        """
        live = await self._count()
        self._set_due(live)
        if not self.is_due:
            return 0
        before, first = self._log.start_offset, self._log.end_offset
        self._set_due(await self._write())
        self._log.delete_before(first)
        return first - before

    def _set_due(self, live: int) -> None:
        self._due_at_records = max(self._records_min, GROUP_LOG_GARBAGE_MAX * live)

    async def _count(self) -> int:
        count = 0
        for count, _ in enumerate(self._machine.live_records(), start=1):
            if count % GROUP_RECORDS_PER_TURN_MAX == 0:
                await asyncio.sleep(0)
        return count

    async def _write(self) -> int:
        """Write what lives; return how many records that were."""
        count = 0
        live = self._machine.live_records()
        # From here to the append, nobody else gets a turn.
        while piece := list(islice(live, GROUP_RECORDS_PER_TURN_MAX)):
            self._append(piece)
            count += len(piece)
            await self._log.wait_committed(
                end_offset=self._log.end_offset, timeout_ms=COMMIT_TIMEOUT_MS
            )
        await self._log.wait_committed(
            end_offset=self._log.end_offset, timeout_ms=COMMIT_TIMEOUT_MS
        )
        return count
