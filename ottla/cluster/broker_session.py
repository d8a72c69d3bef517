"""This broker's session with the controller: the sign that it lives.

One session at a time, with whoever leads the metadata quorum as far as this broker knows, itself
included: then nothing goes over the network. Heartbeats are sent when the session opens, again when
that is answered -- the controller sees that it is heard, and counts the session from there -- and
``HEARTBEATS_PER_TIMEOUT`` times in the time that the controller waits for one; each is answered.

* The session breaks: a new one is opened at once. The controller waits some 150 ms for it before
  it has others lead what this broker led.
* Another broker leads the quorum: the session goes there, as soon as this one hears of it. While
  nobody leads, the old one stays: its controller may still be the controller.
* An answer says that the broker is fenced: that is handed on (:mod:`ottla.cluster.membership`).
* The controller does not know this process as the broker that it believes to be: it has no place
  in the cluster any more, and :meth:`BrokerSession.run` fails with a sentence that says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

from ottla.cluster.broker_sessions import BrokerSessionsShell, Heartbeat, SessionAnswer
from ottla.cluster.lease import Lease
from ottla.cluster.metadata_cache import MetadataCache
from ottla.config.addresses import Address
from ottla.model.errors import RequestTimedOutError, RetriableError
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.runtime.logging import Event, emit

SESSION_OPENED = Event("broker.session_opened")
SESSION_ENDED = Event("broker.session_ended")

HEARTBEATS_PER_TIMEOUT: Final = 6
"""Several may be late before the controller gives up."""

REOPEN_PAUSE_MS: Final = 20
"""After an attempt that failed. Much shorter than the grace for a broken session."""


class Session(Protocol):
    """One session with a controller, here or elsewhere."""

    async def beat(self, heartbeat: Heartbeat) -> SessionAnswer:
        """Send a heartbeat and wait for its answer.

        Raises a :exc:`RetriableError` if the session is broken or the other broker is not the
        controller, and any other :exc:`OttlaError` if the controller does not know this broker.
        """

    async def wait_ended(self) -> None:
        """Wait until it has ended by itself; the next heartbeat says why."""

    def close(self) -> None:
        """End it."""


class ControllerLocation(Protocol):
    """See :class:`~ottla.cluster.controller_client.ControllerClient`."""

    @property
    def controller_id(self) -> BrokerId | None:
        """Who leads the metadata quorum; ``None``: nobody."""

    def address_of(self, broker_id: BrokerId) -> Address | None:
        """Return where a controller is asked."""

    async def wait_moved(self, *, timeout_ms: int) -> None:
        """Wait until the controller may be another, or the time is up."""


class FarSessions(Protocol):
    """Opens sessions with other brokers."""

    async def open_session(self, address: Address) -> Session:
        """Open one; :exc:`BrokerNotAvailableError` if the broker is not reached."""


class BrokerSession:
    """Keeps a session with the controller, wherever it is. Used on one event loop."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        broker_epoch: BrokerEpoch,
        location: ControllerLocation,
        local: BrokerSessionsShell,
        far: FarSessions,
        metadata: MetadataCache,
        session_timeout_ms: int,
        lease: Lease,
        answered: Callable[[SessionAnswer], None],
    ) -> None:
        """Wire it, for the life of the broker that has ``broker_epoch``.

        ``answered`` is told every answer; it must not wait. ``lease`` is renewed by answers.
        """
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._location = location
        self._local = local
        self._far = far
        self._metadata = metadata
        self._session_timeout_ms = session_timeout_ms
        self._lease = lease
        self._answered = answered
        self._with: BrokerId | None = None

    def __repr__(self) -> str:
        return f"<BrokerSession of broker {self._broker_id} with {self._with}>"

    async def run(self) -> None:
        """Keep the session until cancelled.

        Raises:
            StaleBrokerEpochError: another process registered as this broker since.
            BrokerIdNotRegisteredError: somebody removed this broker from the cluster.
            OttlaError: the controller refuses the session for another reason that stays.
        """
        pause_ms = 0
        while True:
            if pause_ms:
                await self._location.wait_moved(timeout_ms=pause_ms)
            controller = self._location.controller_id
            if controller is None:
                await self._location.wait_moved(timeout_ms=self._heartbeat_interval_ms)
                pause_ms = 0
                continue
            pause_ms = 0 if await self._keep_while_controller(controller) else REOPEN_PAUSE_MS

    @property
    def _heartbeat_interval_ms(self) -> int:
        return max(1, self._session_timeout_ms // HEARTBEATS_PER_TIMEOUT)

    async def _keep_while_controller(self, controller: BrokerId) -> bool:
        """Keep a session until it breaks or another broker leads; return whether it had begun."""
        keeping = asyncio.ensure_future(self._keep(controller))
        moved = asyncio.ensure_future(self._wait_other(controller))
        try:
            await asyncio.wait({keeping, moved}, return_when=asyncio.FIRST_COMPLETED)
            # Nothing to wait for if the controller is another one.
            return keeping.result() if keeping.done() else True
        finally:
            moved.cancel()
            keeping.cancel()

    async def _wait_other(self, controller: BrokerId) -> None:
        while self._location.controller_id in {None, controller}:
            await self._location.wait_moved(timeout_ms=self._session_timeout_ms)

    async def _keep(self, controller: BrokerId) -> bool:
        """Keep a session until it breaks; return whether the controller had answered in it."""
        session: Session | None = None
        try:
            session = await self._open(controller)
            # Answered; the one after it says at once that the answer was heard.
            await self._beat(session, controller)
            while True:
                await self._beat(session, controller)
                if await self._ended_within_interval(session):
                    await self._beat(session, controller)  # it says why
                    return True
        except RetriableError as error:
            began = self._with is not None
            if began:
                emit(SESSION_ENDED, controller=controller, reason=str(error))
            return began
        finally:
            if self._with is not None:
                self._lease.session_ended()
            self._with = None
            if session is not None:
                session.close()

    async def _open(self, controller: BrokerId) -> Session:
        if controller == self._broker_id:
            return self._local.open(self._heartbeat())
        address = self._location.address_of(controller)
        if address is None:
            raise RequestTimedOutError(f"nobody has said yet where broker {controller} is")
        async with self._in_time(controller):
            return await self._far.open_session(address)

    async def _beat(self, session: Session, controller: BrokerId) -> None:
        sent_ms = self._lease.now_ms()
        async with self._in_time(controller):
            answer = await session.beat(self._heartbeat())
        self._lease.renew(sent_ms, answer)
        if self._with is None:
            self._with = controller
            emit(SESSION_OPENED, controller=controller)
        self._answered(answer)

    @asynccontextmanager
    async def _in_time(self, controller: BrokerId) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._session_timeout_ms / 1000):
                yield
        except TimeoutError:
            raise RequestTimedOutError(
                f"broker {controller} did not answer within {self._session_timeout_ms} ms"
            ) from None

    async def _ended_within_interval(self, session: Session) -> bool:
        """Wait until the next heartbeat is due; return whether the session ended before."""
        try:
            async with asyncio.timeout(self._heartbeat_interval_ms / 1000):
                await session.wait_ended()
        except TimeoutError:
            return False
        return True

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(self._broker_id, self._broker_epoch, self._metadata.image.metadata_offset)
