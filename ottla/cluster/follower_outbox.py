"""What is to be sent to one follower, and in which order.

A copy with records to send stands in one of two queues: that of those *in step*, or that of those
*behind*, whose follower is catching up. A message takes from both in turn until it is full or
credit is used up. Those in step come first, for producers wait for them; a part of each message is
left to those behind. Each copy has one turn a message, so a busy partition does not starve others.

    changed(copy) ──► in step ──┐
         │                      ├──► next_response()
         └──────────► behind ───┘         │
                        ▲                 │ not in the page cache
                        └──── a thread ◄──┘

* What is in the page cache is read on the event loop. What is not is read on a thread, a few at a
  time, while the other copies go on.
* A high watermark that has risen goes out with the next records. If none come, it goes out with all
  others of the stream after ``NEWS_DELAY_MS``: a producer that waits for each record has sent its
  next one by then, and pays for no second message.
* Of those behind no more is sent in a second than the follower wants
  (:mod:`ottla.cluster.byte_rate`).
* Credit is bytes of batches. A message begins while credit is positive, and its debt is carried; so
  what a follower has not taken in is bounded by its credit and one message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final

from ottla.cluster.byte_rate import ByteRate
from ottla.cluster.follower_copy import FollowerCopy
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.limits import (
    FETCH_CREDIT_BYTES_MAX,
    FOLLOW_ANSWERS_MAX,
    FOLLOW_COLD_READS_MAX,
    FOLLOW_MESSAGE_BYTES_MAX,
    FOLLOW_PARTITIONS_PER_MESSAGE_MAX,
    FOLLOW_TURN_BYTES_MIN,
)
from ottla.storage.segment_reader import LogRead
from ottla.v1.replication_pb2 import FollowedPartition, FollowResponse

NEWS_DELAY_MS: Final = 10
"""How late a follower may hear that records which it has are committed, if nothing else is sent."""

_SHARE_OF_THOSE_BEHIND: Final = 4
"""One part in so many of each message."""


class FollowerOutbox:
    """See the module. Used on the event loop; one task takes messages out."""

    def __init__(
        self, *, readers: Executor, failed: Callable[[FollowerCopy, OttlaError], None]
    ) -> None:
        """Read on the threads of ``readers`` what has to wait for the disk.

        ``failed`` hears of a copy of which nothing more can be sent, and is to :meth:`forget` it.
        """
        self._readers = readers
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._in_step: deque[FollowerCopy] = deque()
        self._behind: deque[FollowerCopy] = deque()
        self._cold: deque[FollowerCopy] = deque()
        self._cold_reads = 0
        self._behind_needs_room = False
        """Whether the next batch of those behind did not fit into what was left to them."""
        self._behind_rate = ByteRate()
        self._behind_timer: asyncio.TimerHandle | None = None
        self._news: dict[FollowerCopy, None] = {}
        self._news_are_due = False
        self._news_timer: asyncio.TimerHandle | None = None
        self._answers: deque[FollowedPartition] = deque()
        self._credit_bytes = 0
        self._woken = asyncio.Event()

    def __repr__(self) -> str:
        return (
            f"<FollowerOutbox: records of {len(self._in_step)} in step and {len(self._behind)} "
            f"behind, news of {len(self._news)}, credit {self._credit_bytes}>"
        )

    # --- What is to be sent ---

    def grant(self, credit_bytes: int) -> None:
        """Allow that many more bytes; :exc:`InvalidRequestError` for what nobody can mean."""
        total = self._credit_bytes + credit_bytes
        if credit_bytes < 0 or total > FETCH_CREDIT_BYTES_MAX:
            raise InvalidRequestError(
                f"credit of {credit_bytes} bytes on top of {self._credit_bytes} is not possible; "
                f"grant 0 or more, and at most {FETCH_CREDIT_BYTES_MAX} in all"
            )
        self._credit_bytes = total
        if self._in_step or self._behind:
            self._woken.set()

    def limit_behind(self, bytes_per_second: int | None) -> None:
        """Send so much a second of those behind from now on; ``None``: as much as there is."""
        self._behind_rate.limit(bytes_per_second, self._loop.time())
        self._woken.set()

    def changed(self, copy: FollowerCopy) -> None:
        """Send what is new in ``copy``: records, offsets, or that it has ended."""
        if copy.is_queued or copy.is_removed:
            return
        if copy.has_more or not copy.partition.is_leader:
            self._queue(copy)
        elif copy.has_news:
            self._news[copy] = None
            if self._news_timer is None:
                self._news_timer = self._loop.call_later(
                    NEWS_DELAY_MS / 1000, self._news_become_due
                )

    def answer(self, answer: FollowedPartition) -> None:
        """Send an answer that ends a copy, or that stands for one that could not begin.

        Raises:
            InvalidRequestError: the follower asks on and on, and reads nothing.
        """
        if len(self._answers) >= FOLLOW_ANSWERS_MAX:
            raise InvalidRequestError(
                f"{FOLLOW_ANSWERS_MAX} answers wait to be read; read them before asking again"
            )
        self._answers.append(answer)
        self._woken.set()

    def forget(self, copy: FollowerCopy) -> None:
        """Send nothing more of ``copy``."""
        copy.is_removed = True
        self._news.pop(copy, None)

    def close(self) -> None:
        """Forget everything."""
        for copies in (self._in_step, self._behind, self._cold):
            copies.clear()
        self._news.clear()
        for timer in (self._news_timer, self._behind_timer):
            if timer is not None:
                timer.cancel()
        self._news_timer = self._behind_timer = None

    # --- Messages ---

    async def next_response(self) -> FollowResponse:
        """Return the next message as soon as there is something to say."""
        while True:
            response = FollowResponse()
            while self._answers and len(response.partitions) < FOLLOW_PARTITIONS_PER_MESSAGE_MAX:
                response.partitions.append(self._answers.popleft())
            self._add_records(response)
            if self._news_are_due:
                self._add_news(response)
            # A copy that failed has left an answer.
            if response.partitions:
                return response
            if not self._answers:
                self._woken.clear()
                await self._woken.wait()

    def _add_records(self, response: FollowResponse) -> None:
        behind_bytes = self._room_of_those_behind()
        if not behind_bytes:
            self._take_turns(self._in_step, response, taken=0, room=FOLLOW_MESSAGE_BYTES_MAX)
        elif self._behind_needs_room:
            self._behind_needs_room = False
            taken = self._take_turns(self._behind, response, taken=0, room=behind_bytes)
            self._behind_rate.spend(taken)
            self._take_turns(self._in_step, response, taken=taken, room=FOLLOW_MESSAGE_BYTES_MAX)
        else:
            kept = FOLLOW_MESSAGE_BYTES_MAX // _SHARE_OF_THOSE_BEHIND if self._in_step else 0
            room = FOLLOW_MESSAGE_BYTES_MAX - min(kept, behind_bytes)
            taken = self._take_turns(self._in_step, response, taken=0, room=room)
            room = min(FOLLOW_MESSAGE_BYTES_MAX, taken + behind_bytes)
            total = self._take_turns(self._behind, response, taken=taken, room=room)
            self._behind_rate.spend(total - taken)

    def _room_of_those_behind(self) -> int:
        """Return how many bytes a message may have of those behind; if none, come again."""
        if not self._behind:
            return 0
        available = self._behind_rate.available(self._loop.time())
        if available is None:
            return FOLLOW_MESSAGE_BYTES_MAX
        if not available and self._behind_timer is None:
            self._behind_timer = self._loop.call_later(
                self._behind_rate.wait_s(), self._behind_may_go_on
            )
        return min(available, FOLLOW_MESSAGE_BYTES_MAX)

    def _behind_may_go_on(self) -> None:
        self._behind_timer = None
        self._woken.set()

    def _take_turns(
        self, copies: deque[FollowerCopy], response: FollowResponse, *, taken: int, room: int
    ) -> int:
        """Let each copy have its turn until ``room`` bytes are taken.

        So much was ``taken`` before; returns how much then is.
        """
        turn_bytes = max(FOLLOW_TURN_BYTES_MIN, (room - taken) // max(1, len(copies)))
        for _ in range(len(copies)):
            if self._credit_bytes <= 0 or taken >= room:
                break
            if len(response.partitions) >= FOLLOW_PARTITIONS_PER_MESSAGE_MAX:
                break
            copy = copies.popleft()
            copy.is_queued = False
            if copy.is_removed:
                continue
            size_bytes = self._add_copy(
                copy, response, turn_bytes=turn_bytes, room=room - taken, minimum_one=not taken
            )
            if size_bytes is None:  # it does not fit, so it comes first next time
                copy.is_queued = True
                copies.appendleft(copy)
                self._behind_needs_room = copies is self._behind
                break
            taken += size_bytes
        return taken

    def _add_copy(
        self,
        copy: FollowerCopy,
        response: FollowResponse,
        *,
        turn_bytes: int,
        room: int,
        minimum_one: bool,
    ) -> int | None:
        """Add what follows in ``copy``; return how much, or ``None`` if it needs more room."""
        try:
            read = copy.read(max_bytes=min(turn_bytes, room), minimum_one=minimum_one)
            if read is not None and not read.records and turn_bytes < room:
                # Its next batch is larger than a turn, which is no reason to send half a message.
                read = copy.read(max_bytes=room, minimum_one=False)
        except OttlaError as error:
            self._failed(copy, error)
            return 0
        if read is None:
            copy.is_queued = True
            self._cold.append(copy)
            self._read_cold()
            return 0
        if not read.records:
            return None if copy.has_more else 0
        copy.put(response, read)
        self._news.pop(copy, None)
        size_bytes = len(read.records)
        self._credit_bytes -= size_bytes
        if copy.has_more:
            self._queue(copy)
        else:
            copy.is_behind = False
        return size_bytes

    def _queue(self, copy: FollowerCopy) -> None:
        copy.is_queued = True
        (self._behind if copy.is_behind else self._in_step).append(copy)
        self._woken.set()

    # --- Reads from the disk ---

    def _read_cold(self) -> None:
        while self._cold and self._cold_reads < FOLLOW_COLD_READS_MAX:
            copy = self._cold.popleft()
            if copy.is_removed:
                continue
            self._cold_reads += 1
            copy.cold_read = self._loop.run_in_executor(
                self._readers, partial(copy.read_cold, max_bytes=FOLLOW_MESSAGE_BYTES_MAX)
            )
            copy.cold_read.add_done_callback(partial(self._was_read, copy))

    def _was_read(self, copy: FollowerCopy, reading: asyncio.Future[LogRead | None]) -> None:
        self._cold_reads -= 1
        if copy.is_removed:
            reading.exception()  # nobody is interested any more
        else:
            self._queue(copy)
        self._read_cold()

    # --- News ---

    def _news_become_due(self) -> None:
        self._news_timer = None
        if self._news:
            self._news_are_due = True
            self._woken.set()

    def _add_news(self, response: FollowResponse) -> None:
        while self._news and len(response.partitions) < FOLLOW_PARTITIONS_PER_MESSAGE_MAX:
            copy = next(iter(self._news))
            del self._news[copy]
            if copy.has_news:
                copy.put(response, None)
        self._news_are_due = bool(self._news)
