"""A consumer's membership in its group: heartbeats, taking and giving up partitions.

Two conversations run side by side. *Heartbeats* keep the member alive and bring its target; the
coordinator holds each until there is news, so a rebalance does not wait for the next beat.
*Reconciling* gives up what is not in the target any more and takes what is new:

    give up:  hand out nothing more  ->  wait until the application is done with what it has
              ->  commit  ->  ``on_partitions_revoked``  ->  report
    take:     ask what was committed  ->  report  ->  ``on_partitions_assigned``
              ->  hand out records

If the coordinator says that the member is none any more -- it was silent for too long, or did not
give up partitions in time -- everything is lost at once (``on_partitions_lost``; committing would
be refused), and the member joins anew.

An application that has records and does not come back for ``max_poll_interval_ms`` is taken for
dead: the member leaves, so that others can go on, and joins again when it comes back.

Only the consumer's start is impatient: who cannot join at all is told why. A member that was one
goes on trying for as long as the application likes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from ottla.client.backoff import Backoff
from ottla.client.fetcher import Fetcher
from ottla.client.group_commits import GroupCommits
from ottla.client.group_coordinator import GroupCoordinator
from ottla.client.group_member import GroupMember, Subscription
from ottla.client.group_offsets import OffsetAndMetadata, committed_offsets
from ottla.client.handed_over import HandedOver
from ottla.client.metadata import MetadataCache
from ottla.client.rebalance_listener import Listening, RebalanceListener
from ottla.client.settings import ConsumerSettings
from ottla.model.errors import (
    FencedMemberEpochError,
    GroupIdNotFoundError,
    OttlaError,
    UnknownMemberIdError,
    UnreleasedInstanceIdError,
)
from ottla.model.ids import TopicPartition
from ottla.v1 import groups_pb2

_log = logging.getLogger(__name__)

LEAVE_TIMEOUT_MS: Final = 3_000
"""For the coordinator to take note, unless a request may take less; without it the group waits for
the session to end."""

HEARTBEAT_TIMEOUT_MS: Final = 10_000
"""Beyond the time that a coordinator may hold a heartbeat; a third of ``request_timeout_ms`` if
that is less, so that one lost answer keeps nobody from joining. Twice this and the look-up of
another coordinator fit into the shortest session that brokers grant by default (45 s)."""

INSTANCE_RELEASE_MAX_MS: Final = 120_000
"""How long to wait for a static member of the same name to go: one that died does when its session
has ended, after 60 s at most by default. One that lives will not."""

MEMBERSHIP_LOST: Final = "group_membership_lost"
"""Log event, with group and reason: the coordinator took the member for dead."""

HEARTBEAT_FAILED: Final = "group_heartbeat_failed"
"""Log event, with group and reason, at the first of several: the coordinator could not be told."""

POLL_OVERDUE: Final = "group_poll_overdue"
"""Log event, with group and interval: the application did not come back for records."""

LISTENER_LATE: Final = "group_listener_late"
"""Log event, with group: a rebalance listener did not come back, and the consumer stops."""

_JOINS_ANEW: Final = (UnknownMemberIdError, FencedMemberEpochError, GroupIdNotFoundError)
"""Where the member was one. A group without members and offsets is soon forgotten altogether."""


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
        self._subscription = subscription
        self._listening = Listening(listener)
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
        self._speak = asyncio.Event()
        self._commits = GroupCommits(
            coordinator,
            member=self._member,
            fetcher=fetcher,
            handed=handed,
            settings=settings,
            speak=self._speak.set,
        )
        self._joined = asyncio.Event()
        self._is_started = asyncio.Event()
        self._target_changed = asyncio.Event()
        self._told_gone: set[TopicPartition] = set()
        """Partitions whose revocation the listener was told, and which are still owned."""
        self._tasks: list[asyncio.Task[object]] = []

    # --- What the consumer calls ----------------------------------------------------------------

    @property
    def member_id(self) -> str:
        """Made up when the consumer started, and again when the coordinator has forgotten it."""
        return self._member.member_id

    async def start(self) -> None:
        """Join.

        Raises the :exc:`OttlaError` that keeps the member out of the group, after
        ``request_timeout_ms`` if it might still pass.
        """
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
        # Not before: a listener may use the consumer, which has to be running then.
        self._is_started.set()

    async def stop(self, *, is_settled: bool) -> None:
        """Commit if that was asked for, tell the listener, and leave.

        ``is_settled``: all records are processed. Takes ``request_timeout_ms`` for each of the
        first two at most. Raises what the listener raises, after everything else.
        """
        owned = list(self._member.owned)
        for partition in owned:
            self._fetcher.withhold(self._fetcher.readers[partition])
        self._commits.stopping()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if is_settled:
            self._handed.asked()
        try:
            if self._member.is_joined:
                await self._end(owned)
        finally:
            await self._listening.stop()
            await self._commits.settled()
            await self._leave()

    async def _end(self, owned: Sequence[TopicPartition]) -> None:
        """Give everything up."""
        if self._settings.enable_auto_commit:
            await self._commits.quietly(owned)
        told = [partition for partition in owned if partition not in self._told_gone]
        try:
            async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
                if told:
                    await self._listening.revoked(told)
        except TimeoutError:
            _log.warning(LISTENER_LATE, extra={"group": self._coordinator.group_id})
        except OttlaError:
            if self._fetcher.failure is None:
                raise

    async def _leave(self) -> None:
        if not self._member.may_be_known:
            return
        timeout_ms = min(LEAVE_TIMEOUT_MS, self._settings.request_timeout_ms)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._coordinator.ask(
                    lambda connection: connection.groups.Heartbeat, self._member.leaving()
                )
        except (OttlaError, TimeoutError) as error:
            _log.debug("group_leave_failed", extra={"reason": str(error)})

    def subscribe(self, subscription: Subscription, listener: RebalanceListener | None) -> None:
        """Read something else from now on."""
        self._listening.listener = listener
        self._subscription = subscription
        self._member.subscribe(subscription)
        self._speak.set()

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata] | None) -> None:
        """See :meth:`GroupCommits.by_hand`."""
        await self._commits.by_hand(offsets)

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.auto_commit_interval_ms / 1000)
            if self._member.is_joined:
                await self._commits.quietly(self._member.owned)

    # --- Heartbeats -----------------------------------------------------------------------------

    async def _run(self) -> None:
        """Be a member, and again whenever the coordinator says that we are none."""
        backoff = Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)
        while True:
            joined_at_s = time.monotonic()
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
                if not isinstance(error, FencedMemberEpochError):
                    self._member.rename(str(uuid4()))
                if (time.monotonic() - joined_at_s) * 1000 > self._settings.retry_backoff_max_ms:
                    backoff.succeeded()
                await asyncio.sleep(backoff.next_delay_ms() / 1000)
            except OttlaError as error:
                self._fetcher.fail(error)
                return
            else:
                await self._leave_for_a_while()

    async def _be_member(self) -> None:
        """Stay in the group until the coordinator or the application ends that."""
        reconciling = asyncio.ensure_future(self._reconcile())
        backoff = Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)
        began_s = time.monotonic()
        try:
            while not self._is_overdue():
                if reconciling.done():
                    reconciling.result()
                try:
                    response = await self._beat(reconciling)
                except OttlaError as error:
                    self._member.report()
                    self._check_patience(error, began_s)
                    if not backoff.failures:
                        _log.info(
                            HEARTBEAT_FAILED,
                            extra={"group": self._coordinator.group_id, "reason": str(error)},
                        )
                    await asyncio.sleep(backoff.next_delay_ms() / 1000)
                    continue
                if response is None:
                    continue
                backoff.succeeded()
                if self._member.answered(response):
                    self._target_changed.set()
                if self._member.is_joined:
                    self._joined.set()
        finally:
            reconciling.cancel()
            await asyncio.wait((reconciling,))

    def _check_patience(self, error: OttlaError, began_s: float) -> None:
        """Raise ``error`` if there is no use, or no time, in waiting for it to pass."""
        waited_ms = (time.monotonic() - began_s) * 1000
        if isinstance(error, UnreleasedInstanceIdError):
            is_late = waited_ms > INSTANCE_RELEASE_MAX_MS
        else:
            is_starting = not self._is_started.is_set()
            is_late = is_starting and waited_ms > self._settings.request_timeout_ms
        if is_late or not (error.retriable or isinstance(error, UnreleasedInstanceIdError)):
            raise error

    async def _beat(
        self, reconciling: asyncio.Task[None]
    ) -> groups_pb2.GroupHeartbeatResponse | None:
        """Send a heartbeat; give up waiting for news when there is something to say."""
        self._speak.clear()
        request = self._member.heartbeat()
        request.max_wait_ms = min(request.max_wait_ms, self._patience_ms())
        timeout_ms = min(self._settings.request_timeout_ms / 3, HEARTBEAT_TIMEOUT_MS)
        asking = asyncio.ensure_future(
            self._coordinator.ask_once(
                lambda connection: connection.groups.Heartbeat,
                request,
                timeout_ms=request.max_wait_ms + timeout_ms,
            )
        )
        speaking = asyncio.ensure_future(self._speak.wait())
        try:
            waits: set[asyncio.Task[Any]] = {asking, reconciling}
            if request.max_wait_ms:
                waits.add(speaking)
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
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
        busy_since_s = self._handed.busy_since_s
        if busy_since_s is None:
            return self._settings.max_poll_interval_ms
        busy_ms = int((time.monotonic() - busy_since_s) * 1000)
        return max(0, self._settings.max_poll_interval_ms - busy_ms)

    async def _leave_for_a_while(self) -> None:
        """Be no member until the application comes back."""
        _log.warning(
            POLL_OVERDUE,
            extra={
                "group": self._coordinator.group_id,
                "max_poll_interval_ms": self._settings.max_poll_interval_ms,
            },
        )
        owned = list(self._member.owned)
        for partition in owned:
            self._fetcher.withhold(self._fetcher.readers[partition])
        if self._settings.enable_auto_commit:
            await self._commits.quietly(owned)
        await self._leave()
        await self._lose()
        await self._handed.settle_all()

    # --- Reconciling ----------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        await self._is_started.wait()
        while True:
            await self._target_changed.wait()
            self._target_changed.clear()
            if revoked := self._member.to_revoke():
                await self._revoke(revoked)
                self._speak.set()
            if taken := self._member.to_take():
                await self._take(taken)

    async def _revoke(self, partitions: Sequence[TopicPartition]) -> None:
        for partition in partitions:
            self._fetcher.withhold(self._fetcher.readers[partition])
        for partition, offset in self._handed.drop(partitions).items():
            # The application has not seen these, and others have to begin with them.
            self._fetcher.seek(self._fetcher.readers[partition], offset)
        await self._handed.settle(partitions)
        if self._settings.enable_auto_commit:
            # What was made anew under the same name has nothing to do with what we have read.
            target = self._member.target
            await self._commits.quietly([each for each in partitions if each not in target])
        await self._commits.settled()
        self._told_gone.update(partitions)
        await self._listening.revoked(partitions)
        await self._commits.settled()
        for partition in partitions:
            self._fetcher.remove(partition)
            self._commits.end(partition)
            self._member.revoked(partition)
        self._told_gone.clear()
        self._handed.gone(partitions)
        left = {partition.topic for partition in self._member.owned}
        self._metadata.forget(
            {each.topic for each in partitions} - left - set(self._subscription.topics)
        )

    async def _take(self, partitions: Sequence[TopicPartition]) -> None:
        wanted = {partition: self._member.target[partition] for partition in partitions}
        self._metadata.want({partition.topic for partition in partitions})
        committed = await self._committed_offsets(partitions)
        target = self._member.target
        taken = [each for each, topic_id in wanted.items() if target.get(each) == topic_id]
        if not taken:
            return
        readers = []
        for partition in taken:
            self._member.took(partition)
            reader = self._fetcher.add(partition)
            self._fetcher.withhold(reader)
            readers.append(reader)
            begin = committed.get(partition)
            if begin is not None:
                self._fetcher.seek(reader, begin.offset)
                self._commits.begin(partition, begin.offset)
        self._speak.set()
        await self._listening.assigned(taken)
        for reader in readers:
            self._fetcher.release(reader)

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
        self._commits.lost()
        self._target_changed.clear()
        for partition in lost:
            self._fetcher.remove(partition)
        self._handed.gone(lost)
        self._handed.lost()
        told = [partition for partition in lost if partition not in self._told_gone]
        self._told_gone.clear()
        if told:
            await self._listening.lost(told)
