"""Whether this broker reaches enough voters for the cluster to decide anything.

A broker that stops has others take over first; without a majority nobody can decide that, and to
wait for it would be to wait in vain. It is so whenever a whole cluster is stopped at once: the
last two of three find themselves alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final, Protocol

from ottla.model.ids import BrokerId

LOST_CONFIRMED_MS: Final = 300
"""A link that breaks and is made again takes less."""


class VoterLinks(Protocol):
    """See :class:`~ottla.cluster.quorum_links.QuorumLinks`."""

    @property
    def present(self) -> frozenset[BrokerId]:
        """The peers that there is a link with now."""

    def subscribe(self, listener: Callable[[frozenset[BrokerId]], None]) -> None:
        """Tell of every change."""


class Majority:
    """Watches the links with the voters. Used on one event loop."""

    def __init__(
        self, *, broker_id: BrokerId, voters: Collection[BrokerId], links: VoterLinks
    ) -> None:
        """Watch ``links`` from now on; ``voters`` has this broker too if it votes."""
        self._broker_id = broker_id
        self._voters = frozenset(voters)
        self._links = links
        self._changed = asyncio.Event()
        links.subscribe(self._links_changed)

    @property
    def is_reached(self) -> bool:
        """Whether this broker and the voters it is linked with are a majority."""
        reached = self._voters & (self._links.present | {self._broker_id})
        if self._broker_id not in self._voters:
            # Whether the voters reach each other is not ours to see.
            return bool(reached)
        return 2 * len(reached) > len(self._voters)

    async def wait_lost(self) -> None:
        """Wait until no majority has been reached for a moment."""
        while True:
            self._changed.clear()
            if self.is_reached:
                await self._changed.wait()
                continue
            try:
                async with asyncio.timeout(LOST_CONFIRMED_MS / 1000):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _links_changed(self, present: frozenset[BrokerId]) -> None:
        del present
        self._changed.set()
