"""What can be done to a cluster, whatever it consists of: processes, or containers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Final, Protocol

from ottla.client import Admin
from ottla.model.errors import OttlaError

HEALED_TIMEOUT_S: Final = 60.0
ASK_AGAIN_S: Final = 0.1


class FaultyCluster(Protocol):
    """Three or more brokers, and a way to hurt each. Every method may wait for its effect."""

    @property
    def bootstrap(self) -> str:
        """Where clients connect."""

    @property
    def broker_ids(self) -> Collection[int]:
        """All brokers, running or not."""

    def logs(self, broker_id: int) -> str:
        """Return what a broker wrote last."""

    async def kill(self, broker_id: int) -> None:
        """``kill -9``."""

    async def stop(self, broker_id: int) -> None:
        """Ask it to stop in good order, and wait until it has."""

    async def start(self, broker_id: int) -> None:
        """Start it again, on the data that it has, and wait until it serves."""

    async def pause(self, broker_id: int) -> None:
        """Freeze it: it keeps its connections and says nothing."""

    async def resume(self, broker_id: int) -> None:
        """Let it go on."""

    async def isolate(self, broker_id: int) -> None:
        """Let nothing pass between it and the other brokers."""

    async def reconnect(self, broker_id: int) -> None:
        """Undo that."""


class NotHealedError(Exception):
    """Faults are over, and yet a partition is not led, or a replica is not in sync."""


async def wait_healed(bootstrap: str, topic: str, *, timeout_s: float = HEALED_TIMEOUT_S) -> float:
    """Wait until every partition is led and in sync everywhere; return how long that took.

    Raises :exc:`NotHealedError` if that is not so in time.
    """
    started_s = time.monotonic()
    what = "nobody answered"
    async with Admin(bootstrap_servers=bootstrap, request_timeout_ms=2_000) as admin:
        while time.monotonic() - started_s < timeout_s:
            try:
                (description,) = await admin.describe_topics([topic])
            except OttlaError as error:
                what = str(error)
            else:
                wrong = [
                    partition
                    for partition in description.partitions
                    if partition.leader < 0
                    or set(partition.in_sync_replicas) != set(partition.replicas)
                ]
                if not wrong:
                    return time.monotonic() - started_s
                what = str(wrong[:3])
            await asyncio.sleep(ASK_AGAIN_S)
    raise NotHealedError(f"not healed after {timeout_s:.0f} s: {what}")


async def controller_of(bootstrap: str) -> int:
    """Return the broker that is the controller."""
    async with Admin(bootstrap_servers=bootstrap) as admin:
        return (await admin.describe_cluster()).controller_id


async def leader_of(bootstrap: str, topic: str, partition: int = 0) -> int:
    """Return the broker that leads a partition."""
    async with Admin(bootstrap_servers=bootstrap) as admin:
        (description,) = await admin.describe_topics([topic])
        return description.partitions[partition].leader
