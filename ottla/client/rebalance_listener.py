"""Tells an application which partitions come and go, one thing after another.

A listener that was told something is left to finish, also if the group goes on without the member
meanwhile: whatever it is told next waits for that. Only the end of the consumer does not wait for
ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Final, Protocol

from ottla.client.errors import RebalanceListenerError
from ottla.model.errors import FencedMemberEpochError, UnknownMemberIdError
from ottla.model.ids import TopicPartition


class RebalanceListener(Protocol):
    """Told when partitions come and go; each method may be left as it is.

    They are awaited one at a time, on the consumer's event loop, and may call the consumer: seek
    where reading is to begin, commit what the application is done with. Records of a partition are
    handed out after ``on_partitions_assigned`` has returned, and not any more when
    ``on_partitions_revoked`` is called.

    If one raises, so does the consumer's next call
    (:exc:`~ottla.client.errors.RebalanceListenerError`); that the group went on without this
    member, which a commit in there may find out, is no error of the listener.
    """

    async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Reading of these begins; what was committed, or the policy, says where."""
        del partitions  # a body, so that type checkers let it be left as it is

    async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These go to others, or the consumer stops.

        With ``enable_auto_commit``, positions are committed already.
        """
        del partitions  # a body, so that type checkers let it be left as it is

    async def on_partitions_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """These are others' already: nothing can be committed for them any more."""
        del partitions  # a body, so that type checkers let it be left as it is


is_listening: Final = ContextVar("is_listening", default=False)
"""Whether a rebalance listener is what runs, also in another thread: it knows nothing of what the
application does with its records meanwhile, and cannot say that they are processed."""

Tell = Callable[[RebalanceListener], Awaitable[None]]


class Listening:
    """Calls the listener, if there is one. Each method raises what came of the call before, too."""

    def __init__(self, listener: RebalanceListener | None) -> None:
        self.listener = listener
        self._running: asyncio.Task[None] | None = None

    async def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Tell that reading begins.

        Raises :exc:`RebalanceListenerError`, or what says that the member is none any more.
        """
        await self._tell(lambda listener: listener.on_partitions_assigned(partitions))

    async def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """Tell that partitions go to others; raises as :meth:`assigned`."""
        await self._tell(lambda listener: listener.on_partitions_revoked(partitions))

    async def lost(self, partitions: Sequence[TopicPartition]) -> None:
        """Tell that partitions are others' already; raises as :meth:`assigned`."""
        await self._tell(lambda listener: listener.on_partitions_lost(partitions))

    async def stop(self) -> None:
        """Wait no longer for a listener that is busy."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
            self._running = None

    async def _tell(self, tell: Tell) -> None:
        await self._finish()
        if self.listener is not None:
            self._running = asyncio.create_task(
                _run(tell, self.listener), name="ottla-consumer-listener"
            )
            await self._finish()

    async def _finish(self) -> None:
        running = self._running
        if running is None:
            return
        # If we are cancelled, the listener is not.
        await asyncio.wait((running,))
        self._running = None
        if running.cancelled():
            raise RebalanceListenerError("the rebalance listener was cancelled")
        error = running.exception()
        if error is None:
            return
        if isinstance(error, UnknownMemberIdError | FencedMemberEpochError):
            raise error
        raise RebalanceListenerError(f"the rebalance listener failed: {error!r}") from error


async def _run(tell: Tell, listener: RebalanceListener) -> None:
    is_listening.set(True)  # in this task and what it calls
    await tell(listener)
