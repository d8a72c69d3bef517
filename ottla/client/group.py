"""A consumer's membership in its group: heartbeats, taking and giving up partitions, commits.

Two conversations run side by side. *Heartbeats* keep the member alive and bring its target; the
coordinator holds each until there is news, so a rebalance does not wait for the next beat.
*Reconciling* gives up what is not in the target any more and takes what is new:

    give up:  hand out nothing more  ->  wait until the application is done with what it has
              ->  commit  ->  ``on_partitions_revoked``  ->  report
    take:     ask what was committed  ->  read from there
              ->  ``on_partitions_assigned``  ->  report

If the coordinator says that the member is none any more -- it was silent for too long, or did not
give up partitions in time -- everything is lost at once (``on_partitions_lost``; committing would
be refused), and the member joins anew.

An application that has records and does not come back for ``max_poll_interval_ms`` is taken for
dead: the member leaves, so that others can go on, and joins again when it comes back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import uuid4

from ottla.client.backoff import Backoff
from ottla.client.fetcher import Fetcher
from ottla.client.group_coordinator import GroupCoordinator
from ottla.client.group_member import GroupMember, Subscription
from ottla.client.group_offsets import (
    Committer,
    OffsetAndMetadata,
    commit_offsets,
    committed_offsets,
)
from ottla.client.handed_over import HandedOver
from ottla.client.metadata import MetadataCache
from ottla.client.settings import ConsumerSettings
from ottla.model.errors import (
    FencedMemberEpochError,
    GroupIdNotFoundError,
    OttlaError,
    StaleMemberEpochError,
    UnknownMemberIdError,
    UnreleasedInstanceIdError,
)
from ottla.model.ids import TopicPartition
from ottla.v1 import groups_pb2

_log = logging.getLogger(__name__)

LEAVE_TIMEOUT_MS: Final = 3_000
"""For the coordinator to take note; without it the group waits for the session to end."""

MEMBERSHIP_LOST: Final = "group_membership_lost"
"""Log event, with group and reason: the coordinator took the member for dead."""

COMMIT_FAILED: Final = "group_commit_failed"
"""Log event, with group and reason: a commit that nobody waits for; the next makes up for it."""

POLL_OVERDUE: Final = "group_poll_overdue"
"""Log event, with group and interval: the application did not come back for records."""

_JOINS_ANEW: Final = (UnknownMemberIdError, FencedMemberEpochError, GroupIdNotFoundError)
"""Where the member was one. A group without members and offsets is soon forgotten altogether."""


class RebalanceListener(Protocol):
    """Told when partitions come and go; each method may be left as it is.

    They are awaited one at a time, on the consumer's event loop. If one raises, so does the
    consumer's next call.
    """

    async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Reading of these begins; what was committed, or the policy, says where."""

    async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These go to others. With ``enable_auto_commit``, positions are committed already."""

    async def on_partitions_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """These are others' already: nothing can be committed for them any more."""


class GroupSession:
    """One consumer's part in its group, between start and stop.

    Args:
        coordinator: of the group.
        metadata: told which topics to know about.
        settings: of the consumer.
        fetcher: what is owned is read by it.
        handed: what the application has.
        subscription: what to read.
        listener: told of changes; ``None``: nobody.
    """

    def __init__(
        self,
        coordinator: GroupCoordinator,
        *,
        metadata: MetadataCache,
        settings: ConsumerSettings,
        fetcher: Fetcher,
        handed: HandedOver,
        subscription: Subscription,
        listener: RebalanceListener | None,
    ) -> None:
        self._coordinator = coordinator
        self._metadata = metadata
        self._settings = settings
        self._fetcher = fetcher
        self._handed = handed
        self._listener = listener
        self._committed: dict[TopicPartition, int] = {}
        self._member = GroupMember(
            coordinator.group_id,
            str(uuid4()),
            client_id=settings.client_id,
            instance_id=settings.group_instance_id,
            rack=settings.client_rack,
            assignor=settings.group_assignor,
            rebalance_timeout_ms=settings.max_poll_interval_ms,
            subscription=subscription,
        )
        self._joined = asyncio.Event()
        self._speak = asyncio.Event()
        self._target_changed = asyncio.Event()
        self._tasks: list[asyncio.Task[object]] = []

    # --- What the consumer calls ----------------------------------------------------------------

    @property
    def member_id(self) -> str:
        """Chosen when the consumer started."""
        return self._member.member_id

    async def start(self) -> None:
        """Join. Raises the :exc:`OttlaError` that keeps the member out of the group."""
        self._tasks.append(self._fetcher.spawn(self._run(), name="ottla-consumer-group"))
        if self._settings.enable_auto_commit:
            self._tasks.append(
                self._fetcher.spawn(self._commit_regularly(), name="ottla-consumer-commits")
            )
        joined = asyncio.ensure_future(self._joined.wait())
        try:
            while not joined.done():
                news = asyncio.ensure_future(self._fetcher.wait_for_news())
                await asyncio.wait((joined, news), return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if self._fetcher.failure is not None:
                    raise self._fetcher.failure.with_traceback(None)
        finally:
            joined.cancel()

    async def stop(self, *, is_settled: bool) -> None:
        """Commit if that was asked for, and leave. ``is_settled``: all records are processed."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if is_settled:
            self._handed.asked()
        await self._leave()

    async def _leave(self) -> None:
        if not self._member.is_joined:
            return
        if self._settings.enable_auto_commit:
            await self._commit_quietly(self._member.owned)
        try:
            await self._coordinator.ask_once(
                lambda connection: connection.groups.Heartbeat,
                self._member.leaving(),
                timeout_ms=LEAVE_TIMEOUT_MS,
            )
        except OttlaError as error:
            _log.debug("group_leave_failed", extra={"reason": str(error)})

    def subscribe(self, subscription: Subscription, listener: RebalanceListener | None) -> None:
        """Read something else from now on."""
        self._listener = listener
        self._member.subscribe(subscription)
        self._speak.set()

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata] | None) -> None:
        """Commit the offsets given, or where the application is in every partition (``None``).

        Raises what keeps it from being committed; a member whose epoch is behind waits for its
        next heartbeat.
        """
        if offsets is None:
            # Who commits by hand says that everything handed out is processed.
            offsets = self._positions(self._member.owned, {})
        deadline_s = time.monotonic() + self._settings.request_timeout_ms / 1000
        while offsets:
            epoch = self._member.epoch
            try:
                await commit_offsets(
                    self._coordinator, offsets, Committer(self._member.member_id, epoch)
                )
            except StaleMemberEpochError:
                if time.monotonic() > deadline_s:
                    raise
                self._member.report()
                self._speak.set()
                await asyncio.sleep(self._settings.retry_backoff_ms / 1000)
            else:
                self._note_committed(offsets)
                return

    # --- Heartbeats -----------------------------------------------------------------------------

    async def _run(self) -> None:
        """Be a member, and again whenever the coordinator says that we are none."""
        while True:
            try:
                await self._be_member()
            except _JOINS_ANEW as error:
                if isinstance(error, GroupIdNotFoundError) and not self._member.is_joined:
                    # It could not join: the group has members of the other kind.
                    self._fetcher.fail(error)
                    return
                _log.warning(
                    MEMBERSHIP_LOST,
                    extra={"group": self._coordinator.group_id, "reason": str(error)},
                )
                await self._lose()
            except OttlaError as error:
                self._fetcher.fail(error)
                return
            else:
                await self._lose()
                await self._handed.wait_asked()

    async def _be_member(self) -> None:
        """Stay in the group until the coordinator or the application ends that."""
        reconciling = asyncio.ensure_future(self._reconcile())
        backoff = Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)
        try:
            while not self._is_overdue():
                try:
                    response = await self._beat(reconciling)
                except OttlaError as error:
                    self._member.report()
                    if not error.retriable and not isinstance(error, UnreleasedInstanceIdError):
                        raise
                    await asyncio.sleep(backoff.next_delay_ms() / 1000)
                    continue
                backoff.succeeded()
                if response is not None and self._member.answered(response):
                    self._target_changed.set()
                if self._member.is_joined:
                    self._joined.set()
        finally:
            reconciling.cancel()
            await asyncio.wait((reconciling,))
        _log.warning(
            POLL_OVERDUE,
            extra={
                "group": self._coordinator.group_id,
                "max_poll_interval_ms": self._settings.max_poll_interval_ms,
            },
        )
        await self._leave()

    async def _beat(
        self, reconciling: asyncio.Task[None]
    ) -> groups_pb2.GroupHeartbeatResponse | None:
        """Send a heartbeat; give up waiting for news when there is something to say."""
        self._speak.clear()
        request = self._member.heartbeat()
        request.max_wait_ms = min(request.max_wait_ms, self._patience_ms())
        asking = asyncio.ensure_future(
            self._coordinator.ask_once(
                lambda connection: connection.groups.Heartbeat,
                request,
                timeout_ms=request.max_wait_ms + self._settings.request_timeout_ms,
            )
        )
        speaking = asyncio.ensure_future(self._speak.wait())
        try:
            waits: set[asyncio.Task[Any]] = {asking, reconciling}
            if request.max_wait_ms:
                waits.add(speaking)
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if reconciling.done():
                reconciling.result()
            if not asking.done():
                self._member.report()  # its answer is lost
                return None
            return asking.result()
        finally:
            speaking.cancel()
            if not asking.done():
                asking.cancel()
                await asyncio.wait((asking,))

    def _is_overdue(self) -> bool:
        return self._patience_ms() <= 0

    def _patience_ms(self) -> int:
        """Return for how much longer the application may keep what it has; never below 0."""
        if not self._handed.unsettled():
            return self._settings.max_poll_interval_ms
        kept_s = time.monotonic() - self._handed.handed_at_s
        return max(0, self._settings.max_poll_interval_ms - int(kept_s * 1000))

    # --- Reconciling ----------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        while True:
            await self._target_changed.wait()
            self._target_changed.clear()
            revoked = self._member.to_revoke()
            if revoked:
                await self._revoke(revoked)
                self._speak.set()
            if taken := self._member.to_take():
                await self._take(taken)
                self._speak.set()

    async def _revoke(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            self._fetcher.pause(self._fetcher.readers[partition])
        self._handed.drop(partitions)
        await self._handed.settle(partitions)
        if self._settings.enable_auto_commit:
            await self._commit_quietly(partitions)
        if self._listener is not None:
            await self._listener.on_partitions_revoked(partitions)
        for partition in partitions:
            self._fetcher.remove(partition)
            self._committed.pop(partition, None)
            self._member.revoked(partition)

    async def _take(self, partitions: Sequence[TopicPartition]) -> None:
        target = self._member.target
        self._metadata.want({partition.topic for partition in partitions})
        committed = await self._committed_offsets(partitions)
        if self._member.target is not target:
            self._target_changed.set()
            return
        for partition in partitions:
            self._member.took(partition)
            self._fetcher.add(partition)
            begin = committed.get(partition)
            if begin is not None:
                self._fetcher.seek(self._fetcher.readers[partition], begin.offset)
                self._committed[partition] = begin.offset
        if self._listener is not None:
            await self._listener.on_partitions_assigned(partitions)

    async def _committed_offsets(
        self, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        while True:
            try:
                return await committed_offsets(self._coordinator, partitions)
            except OttlaError as error:
                if not error.retriable:
                    raise
            # It was tried for ``request_timeout_ms``. Whether that is too long, heartbeats tell.

    async def _lose(self) -> None:
        """Be no member any more."""
        lost = self._member.lost_membership()
        self._joined.clear()
        for partition in lost:
            self._fetcher.remove(partition)
        self._handed.drop(lost)
        self._committed.clear()
        if lost and self._listener is not None:
            await self._listener.on_partitions_lost(lost)

    # --- Commits --------------------------------------------------------------------------------

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.auto_commit_interval_ms / 1000)
            if self._member.is_joined:
                await self._commit_quietly(self._member.owned)

    async def _commit_quietly(self, partitions: Iterable[TopicPartition]) -> None:
        offsets = self._positions(partitions, self._handed.unsettled())
        try:
            await self.commit(offsets)
        except OttlaError as error:
            _log.warning(
                COMMIT_FAILED,
                extra={"group": self._coordinator.group_id, "reason": str(error)},
            )

    def _positions(
        self, partitions: Iterable[TopicPartition], unsettled: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return what to commit: where it differs from what was committed last."""
        offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        for partition in partitions:
            reader = self._fetcher.readers.get(partition)
            if reader is None or reader.position is None:
                continue
            offset = unsettled.get(partition, reader.position)
            if offset != self._committed.get(partition):
                offsets[partition] = OffsetAndMetadata(offset)
        return offsets

    def _note_committed(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        for partition, committed in offsets.items():
            if partition in self._member.owned:
                self._committed[partition] = committed.offset
