"""Copies the partitions that this broker follows: one link to each broker that leads some of them.

The replica manager gives partitions a role; those that follow assign themselves here, and are
copied by the link to their leader's broker (:mod:`ottla.cluster.follow_link`). A link is made with
the first partition for it, and given up when there are none. Partitions come and go without
disturbing others.

    replica manager ──follow──► Following ──assign──► ReplicaFetcher ──► FollowLink to broker 2
                                    │ cut                   │       └──► FollowLink to broker 3
                                    └──► LogCutter          └ addresses: metadata cache

Of what is not in sync, all links together copy so many bytes a second as a setting says: each has
the same share. That is rough, and enough to leave something to others.

A broker whose directory has failed copies nothing any more, so that leaders give it up: what it
would acknowledge it could lose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from typing import Final, NamedTuple, Protocol

from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.flusher import Flusher
from ottla.cluster.follow_link import FollowCall, FollowLink
from ottla.cluster.following import Following
from ottla.cluster.log_cutter import Cut, LogCutter
from ottla.cluster.metadata_cache import MetadataCache
from ottla.config.addresses import Address
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.model.image import BrokerImage, ClusterImage
from ottla.runtime.clock import Clock
from ottla.storage.log_manager import LogManager
from ottla.storage.removal import RemovedSegments
from ottla.v1.replication_pb2 import FollowerIdentity

LINK_IDLE_MS: Final = 1_000
"""A link without partitions is kept for this long: a leader that loses all of them in a moment of
trouble often gets some back."""


REGISTRATION_WAIT_MS: Final = 60_000
"""For the metadata log to tell of both brokers; then the operator hears of it, once a minute."""


class _ToCall(NamedTuple):
    """Where a leader is, and as who we call it."""

    address: Address
    broker_epoch: BrokerEpoch


class MayBeBehind(Protocol):
    """A link, as the others see it that share a rate with it."""

    @property
    def is_behind(self) -> bool:
        """Whether it copies something that is not in sync."""


def share_of(bytes_per_second: int, links: Iterable[MayBeBehind]) -> int:
    """Return the share of each link that is behind, in bytes a second; at least 1."""
    sharing = sum(link.is_behind for link in links)
    return max(1, bytes_per_second // max(1, sharing))


class ReplicaFetcher:
    """The follower's side of replication, for one broker. Used on one event loop."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        incarnation_id: bytes,
        metadata: MetadataCache,
        dial: Callable[[Address], Awaitable[FollowCall]],
        address_of: Callable[[BrokerImage], Address],
        logs: LogManager,
        directory: DataDirectory,
        flusher: Flusher,
        clock: Clock,
        log_thread: Executor,
        catch_up_rate: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Copy to ``logs`` from brokers whose addresses ``metadata`` and ``address_of`` tell.

        ``dial`` waits until an address can be reached, and calls it. Nobody is called before
        ``metadata`` knows of this life of the broker, ``incarnation_id``. ``catch_up_rate``: how
        many bytes a second to copy of what is not in sync; ``None``: any number.
        """
        self._broker_id = broker_id
        self._incarnation_id = incarnation_id
        self._metadata = metadata
        self._dial_address = dial
        self._address_of = address_of
        self._logs = logs
        self._directory = directory
        self._clock = clock
        self._catch_up_rate = catch_up_rate
        self._cutter = LogCutter(flusher=flusher, clock=clock, log_thread=log_thread)
        self._links: dict[BrokerId, FollowLink] = {}
        self._assigned: dict[Following, FollowLink] = {}
        self._called: dict[BrokerId, _ToCall | None] = {}
        self._running: dict[BrokerId, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        metadata.subscribe(self._image_published)

    def __repr__(self) -> str:
        return f"<ReplicaFetcher of {self._broker_id}: {list(self._links.values())}>"

    # --- For those who follow ---

    def assign(self, following: Following) -> None:
        """See :class:`~ottla.cluster.following.Copier`."""
        if self._directory.failure is not None:
            return
        link = self._links.get(following.leader)
        if link is None:
            link = FollowLink(following.leader, dial=self._dial, catch_up_rate=self._share_of_rate)
            self._links[following.leader] = link
            self._changed.set()
        self._assigned[following] = link
        link.add(following)

    def _share_of_rate(self) -> int | None:
        """How many bytes a second one link may have of what is not in sync."""
        rate = self._catch_up_rate()
        return None if rate is None else share_of(rate, self._links.values())

    def release(self, following: Following) -> None:
        """See :class:`~ottla.cluster.following.Copier`."""
        link = self._assigned.pop(following, None)
        if link is not None:
            link.remove(following)

    def cut(self, cut: Cut) -> None:
        """See :class:`~ottla.cluster.following.Copier`."""
        self._cutter.cut(cut)

    def remove_later(self, removed: RemovedSegments, delay_ms: int) -> None:
        """See :class:`~ottla.cluster.following.Copier`."""
        self._logs.remove_later(removed, due_ms=self._clock.now_ms() + delay_ms)

    # --- Its life ---

    async def run(self) -> None:
        """Keep links and cut logs, until cancelled."""
        cutting = asyncio.create_task(self._cutter.run(), name="log cutter")
        try:
            while True:
                await self._look_after_links(cutting)
        finally:
            tasks = [cutting, *self._running.values()]
            self._running.clear()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _look_after_links(self, cutting: asyncio.Task[None]) -> None:
        """Start and stop links as need be; raise what one of the tasks ended with."""
        for leader, link in self._links.items():
            if leader not in self._running:
                self._running[leader] = asyncio.create_task(link.run(), name=f"link to {leader}")
        changed = asyncio.create_task(self._changed.wait())
        tasks = {changed, cutting, *self._running.values()}
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=LINK_IDLE_MS / 1000, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            changed.cancel()
        for task in done - {changed}:
            # Neither the cutter nor a link ends by itself: this raises what was wrong.
            await task
            raise AssertionError(f"{task.get_name()} ended")
        self._changed.clear()
        if self._directory.failure is not None:
            for following in list(self._assigned):
                self.release(following)
        if not done:
            for leader in [leader for leader, link in self._links.items() if link.is_empty]:
                await self._give_up(leader)

    async def _give_up(self, leader: BrokerId) -> None:
        task = self._running.pop(leader, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._called.pop(leader, None)
        # While we waited something may have been assigned to it: then it is started again.
        if self._links[leader].is_empty:
            del self._links[leader]

    # --- Calling ---

    async def _dial(self, leader: BrokerId) -> tuple[FollowCall, FollowerIdentity]:
        """Call a leader when it and we are known, and it can be reached."""
        while True:
            image = await self._metadata.wait_for(
                lambda image: self._to_call(leader, image) is not None,
                timeout_ms=REGISTRATION_WAIT_MS,
                what=f"the registration of broker {leader}, or of this one, {self._broker_id},",
            )
            self._called[leader] = called = self._to_call(leader, image)
            assert called is not None
            call = await self._dial_address(called.address)
            if self._to_call(leader, self._metadata.image) == called:
                identity = FollowerIdentity(
                    cluster_id=self._metadata.image.cluster_id,
                    broker_id=self._broker_id,
                    broker_epoch=called.broker_epoch,
                )
                return call, identity
            call.cancel()

    def _to_call(self, leader: BrokerId, image: ClusterImage) -> _ToCall | None:
        """Where a leader is, and as who we call it."""
        broker, me = image.brokers.get(leader), image.brokers.get(self._broker_id)
        if broker is None or me is None or me.incarnation_id != self._incarnation_id:
            return None
        return _ToCall(self._address_of(broker), me.broker_epoch)

    def _image_published(self, image: ClusterImage) -> None:
        """Call again where somebody has moved, or we have registered anew; share the rate anew."""
        for link in self._links.values():
            link.rate_changed()
        for leader, called in list(self._called.items()):
            if self._to_call(leader, image) != called and leader in self._links:
                del self._called[leader]
                self._links[leader].restart()
