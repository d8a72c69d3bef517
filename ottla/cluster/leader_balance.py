"""Preferred leaders lead again, without anybody asking.

Placement spreads the preferred leaders evenly. When a broker goes others lead what it led, and when
it comes back they still do. So the controller elects the preferred leaders

* when a broker has come back: every ``SETTLING_INTERVAL_MS``, those that have caught up by then,
  until all replicas on brokers that serve are in sync, or it has taken too long;
* at a long interval, whatever the reason.

Each election interrupts a partition for some milliseconds; several at a time cost one decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from ottla.cluster.broker_sessions import FencingController
from ottla.cluster.metadata_cache import MetadataCache
from ottla.controller.requests import ElectLeaders
from ottla.model.errors import OttlaError
from ottla.model.ids import BrokerId, ControllerEpoch, TopicPartition
from ottla.model.image import ClusterImage
from ottla.runtime.logging import Event, Severity, emit

LEADERS_BALANCED = Event("controller.leaders_balanced")
NOT_BALANCED = Event("controller.leaders_not_balanced", Severity.WARNING)

SETTLING_INTERVAL_MS: Final = 2_000
"""A cluster that starts is even after a few of these; a broker that comes back is not flooded with
leaderships one by one."""

SETTLING_MAX_MS: Final = 120_000
"""A replica that takes longer than this to catch up is left to the long interval."""

ELECTION_TIMEOUT_MS: Final = 30_000


class LeaderBalance:
    """Balances the leaders while this broker is the controller. Used on one event loop."""

    def __init__(
        self,
        *,
        controller: FencingController,
        metadata: MetadataCache,
        imbalanced: Callable[[], Collection[TopicPartition]],
        interval_ms: int,
    ) -> None:
        """Wire it; ``imbalanced`` are the partitions that their preferred leader could lead."""
        self._controller = controller
        self._metadata = metadata
        self._imbalanced = imbalanced
        self._interval_ms = interval_ms
        self._is_active = False
        self._settling_ms = 0
        """How long it is still worth looking often."""
        self._serving = _serving(metadata.image)
        self._woken = asyncio.Event()
        controller.subscribe(self._active_changed)
        metadata.subscribe(self._image_applied)

    def __repr__(self) -> str:
        state = "active" if self._is_active else "not active"
        return f"<LeaderBalance {state}, settling for {self._settling_ms} ms>"

    async def run(self) -> None:
        """Balance until cancelled."""
        while True:
            if not self._is_active:
                await self._woken.wait()
            self._woken.clear()
            if self._is_active and await self._interval_passed():
                await self._balance()

    async def _interval_passed(self) -> bool:
        """Wait for the interval; false if something happened that changes it."""
        settling = self._settling_ms > 0
        interval_ms = SETTLING_INTERVAL_MS if settling else self._interval_ms
        try:
            async with asyncio.timeout(interval_ms / 1000):
                await self._woken.wait()
        except TimeoutError:
            if settling:
                self._settling_ms = max(0, self._settling_ms - interval_ms)
                if _all_in_sync(self._metadata.image):
                    self._settling_ms = 0
            return True
        return False

    async def _balance(self) -> None:
        partitions = self._imbalanced()
        if not partitions:
            return
        try:
            await self._controller.serve(
                ElectLeaders(partitions=None), timeout_ms=ELECTION_TIMEOUT_MS
            )
        except OttlaError as error:  # the next interval is another chance
            emit(NOT_BALANCED, partitions=len(partitions), reason=str(error))
        else:
            emit(LEADERS_BALANCED, partitions=len(partitions))

    def _active_changed(self, epoch: ControllerEpoch | None) -> None:
        self._is_active = epoch is not None
        # Whoever came back while nobody controlled the cluster came back unseen.
        self._settle()

    def _image_applied(self, image: ClusterImage) -> None:
        before, self._serving = self._serving, _serving(image)
        if self._serving - before:
            self._settle()

    def _settle(self) -> None:
        self._settling_ms = SETTLING_MAX_MS
        self._woken.set()


def _serving(image: ClusterImage) -> frozenset[BrokerId]:
    return frozenset(broker.broker_id for broker in image.brokers.values() if not broker.fenced)


def _all_in_sync(image: ClusterImage) -> bool:
    serving = _serving(image)
    return all(
        serving.isdisjoint(set(partition.replicas) - set(partition.in_sync_replicas))
        for topic in image.topics.values()
        for partition in topic.partitions
    )
