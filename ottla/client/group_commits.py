"""The commits of one member: by hand, at intervals, and of partitions that it gives up.

One commit is under way at a time. So a partition is given up only after every commit of it has been
answered, and the last one that the member makes of a partition is the one that holds. What the
application did not ask for is committed up to where it is certainly done
(:mod:`ottla.client.handed_over`), and not beyond where it sought back to.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Final

from ottla.client.fetcher import Fetcher
from ottla.client.group_coordinator import GroupCoordinator
from ottla.client.group_member import GroupMember
from ottla.client.group_offsets import Committer, OffsetAndMetadata, commit_offsets
from ottla.client.handed_over import HandedOver
from ottla.client.rebalance_listener import is_listening
from ottla.client.settings import ConsumerSettings
from ottla.model.errors import FencedMemberEpochError, OttlaError, StaleMemberEpochError
from ottla.model.ids import TopicPartition

_log = logging.getLogger(__name__)

COMMIT_FAILED: Final = "group_commit_failed"
"""Log event, with group and reason: a commit that nobody waits for; the next makes up for it."""

Offsets = Mapping[TopicPartition, OffsetAndMetadata]


class GroupCommits:
    """See above.

    Args:
        coordinator: of the group.
        member: who commits.
        fetcher: knows positions.
        handed: knows what the application is done with.
        settings: of the consumer.
        speak: has a heartbeat sent at once, which brings the member's epoch.
    """

    def __init__(
        self,
        coordinator: GroupCoordinator,
        *,
        member: GroupMember,
        fetcher: Fetcher,
        handed: HandedOver,
        settings: ConsumerSettings,
        speak: Callable[[], None],
    ) -> None:
        self._coordinator = coordinator
        self._member = member
        self._fetcher = fetcher
        self._handed = handed
        self._settings = settings
        self._speak = speak
        self._committed: dict[TopicPartition, int] = {}
        """Of partitions that are owned, as far as it was asked or committed here."""
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()
        self._memberships = 0
        self._is_ending = False

    def begin(self, partition: TopicPartition, offset: int) -> None:
        """A partition was taken, for which this is committed."""
        self._committed[partition] = offset

    def end(self, partition: TopicPartition) -> None:
        """A partition was given up."""
        self._committed.pop(partition, None)

    def lost(self) -> None:
        """The group went on without the member: what is under way must not be tried again."""
        self._memberships += 1
        self._committed.clear()

    def stopping(self) -> None:
        """Heartbeats have ended: an epoch that is behind stays behind."""
        self._is_ending = True

    async def by_hand(self, offsets: Offsets | None) -> None:
        """Commit the offsets given, or where the application is in every partition (``None``).

        Raises what keeps it from being committed; a member whose epoch is behind waits for its
        next heartbeat.
        """
        if offsets is None and self._handed.has_lost:
            raise self._fenced()
        # Who commits by hand says that everything handed out, up to now, is processed.
        asked = offsets
        before = dict(self._committed)
        if asked is None:
            handed = self._handed
            behind = handed.unsettled() if is_listening.get() else handed.waiting()
            asked = self._positions(self._member.owned, behind)
        memberships = self._memberships
        await self._finished(
            self._by_hand(asked, None if offsets is not None else before, memberships)
        )

    async def _by_hand(
        self, asked: Offsets, before: Mapping[TopicPartition, int] | None, memberships: int
    ) -> None:
        async with self._lock:
            if self._memberships != memberships:
                raise self._fenced()
            if before is not None:
                asked = {
                    each: one for each, one in asked.items() if self._is_news(each, one, before)
                }
            await self._commit(asked)

    async def quietly(self, partitions: Iterable[TopicPartition]) -> None:
        """Commit what the application is done with; if that fails, say so in the log."""
        await self._finished(self._quietly(list(partitions)))

    async def _quietly(self, partitions: Sequence[TopicPartition]) -> None:
        async with self._lock:
            offsets = self._positions(partitions, self._handed.unsettled())
            try:
                await self._commit(offsets)
            except OttlaError as error:
                _log.warning(
                    COMMIT_FAILED,
                    extra={"group": self._coordinator.group_id, "reason": str(error)},
                )

    async def _finished(self, commit: Coroutine[object, object, None]) -> None:
        """Wait for a commit, which goes on if nobody waits any more.

        It may have been sent, and must be answered before the next is, lest it come in later.
        """
        task = asyncio.create_task(commit, name="ottla-consumer-commit")
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited was told; if nobody did, nobody minds

    async def settled(self) -> None:
        """Wait for the commits that are under way; each ends after ``request_timeout_ms``."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def _commit(self, offsets: Offsets) -> None:
        memberships = self._memberships
        deadline_s = time.monotonic() + self._settings.request_timeout_ms / 1000
        while offsets:
            committer = Committer(self._member.member_id, self._member.epoch)
            try:
                await commit_offsets(self._coordinator, offsets, committer)
            except StaleMemberEpochError:
                if self._is_ending or time.monotonic() > deadline_s:
                    raise
                self._member.report()
                self._speak()
                await asyncio.sleep(self._settings.retry_backoff_ms / 1000)
                if self._memberships != memberships:
                    # In its next membership they would be accepted, whatever others have
                    # committed meanwhile.
                    raise self._fenced() from None
            else:
                break
        if self._memberships == memberships:
            for partition, committed in offsets.items():
                if partition in self._member.owned:
                    self._committed[partition] = committed.offset

    def _positions(
        self, partitions: Iterable[TopicPartition], before: Mapping[TopicPartition, int]
    ) -> Offsets:
        """Return what to commit: the position, or an offset ``before`` it, if that is news."""
        offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        for partition in partitions:
            reader = self._fetcher.readers.get(partition)
            if reader is None or reader.position is None:
                continue
            offset = min(reader.position, before.get(partition, reader.position))
            committed = self._committed.get(partition, -1)
            # By hand, the application may have committed what it has in hand: that holds, unless
            # it sought back since.
            if offset > committed or reader.position < committed:
                offsets[partition] = OffsetAndMetadata(offset)
        return offsets

    def _is_news(
        self,
        partition: TopicPartition,
        asked: OffsetAndMetadata,
        before: Mapping[TopicPartition, int],
    ) -> bool:
        """Whether the partition was not given up since, nor as much committed as is asked."""
        committed = self._committed.get(partition, -1)
        has_changed = committed != before.get(partition, -1)
        return partition in self._member.owned and not (has_changed and committed >= asked.offset)

    def _fenced(self) -> FencedMemberEpochError:
        return FencedMemberEpochError(
            f"group {self._coordinator.group_id!r} went on without this member, because it was "
            "not heard of for too long or did not come back for records in time; what it had in "
            "hand will be read again"
        )
