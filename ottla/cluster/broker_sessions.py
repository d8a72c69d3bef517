"""The sessions that brokers have with this controller: who is not heard from is fenced.

:class:`~ottla.controller.sessions.BrokerSessions` knows when; this drives it. A *reign* begins when
this broker becomes the controller and ends when it is deposed. What is known about sessions lasts
for one reign: it is not in the metadata log, and a new controller begins by giving everybody time
to come over.

* One timer. It rings at the next deadline, and in between so often that a pause of this process
  shows: if it rings much too late, the silence was our own. Then everybody gets the time that a
  new controller gives, rather than that all are fenced at once.
* Fencing goes before all other requests, several brokers at the same time, one attempt for each
  at a time.
* A session counts from its second heartbeat on. The broker sends that as soon as it has the answer
  to the first, so it shows that the broker hears. One that is heard and hears nothing opens session
  after session, and leads what it cannot lead.
* A fenced broker comes back on its own initiative: it asks to be unfenced when it hears in its
  session that it is not (:mod:`ottla.cluster.membership`), and so only if it has one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, Protocol

from ottla.cluster.controller_driver import ActiveListener, Answer, Served
from ottla.cluster.metadata_cache import MetadataCache
from ottla.controller.requests import Asks, FenceBroker
from ottla.controller.sessions import BrokerSessions
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    InvalidRequestError,
    NotControllerError,
    OttlaError,
    StaleBrokerEpochError,
)
from ottla.model.ids import NO_BROKER, BrokerEpoch, BrokerId, ControllerEpoch, MetadataOffset
from ottla.model.image import BrokerImage, ClusterImage
from ottla.runtime.clock import Clock
from ottla.runtime.logging import Event, Severity, emit

SESSION_EXPIRED = Event("controller.session_expired", Severity.WARNING)
BROKER_LEFT = Event("controller.broker_left")
PAUSED = Event("controller.paused", Severity.WARNING)

TICKS_PER_TIMEOUT: Final = 12
"""The timer rings at least so often in the time of a session; a pause of half of it shows."""

FENCING_RETRY_MS: Final = 50
"""Before a broker that could not be fenced is tried again: some round trips of the quorum."""


class Heartbeat(NamedTuple):
    """A broker says that it lives."""

    broker_id: BrokerId
    broker_epoch: BrokerEpoch
    metadata_offset: MetadataOffset
    """How far it has carried out the metadata log."""


class SessionAnswer(NamedTuple):
    """What the controller knows of the broker."""

    controller_epoch: ControllerEpoch
    metadata_offset: MetadataOffset
    fenced: bool
    """It is to catch up to ``metadata_offset`` and ask to be unfenced."""


class FencingController(Protocol):
    """See :class:`~ottla.cluster.controller_driver.ControllerDriver`."""

    def subscribe(self, listener: ActiveListener) -> None:
        """Tell ``listener`` when this node becomes the controller, or ceases to be."""

    async def serve(
        self, request: Asks[Answer], *, timeout_ms: int, urgent: bool = False
    ) -> Served[Answer]:
        """Serve the request."""


class _Reign:
    """What is known while this broker is the controller, once."""

    def __init__(self, sessions: BrokerSessions) -> None:
        self.sessions = sessions
        self.ended = asyncio.Event()


class BrokerSessionsShell:
    """Knows which brokers are heard from while this one is the controller."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        controller: FencingController,
        metadata: MetadataCache,
        clock: Clock,
        linked: Callable[[], Collection[BrokerId]],
        new_sessions: Callable[[], BrokerSessions],
        session_timeout_ms: int,
    ) -> None:
        """Wire it; ``linked`` are the brokers that the metadata quorum has a connection with now.

        ``metadata`` has what is applied, whether or not this broker has carried it out.
        ``new_sessions`` is called for every reign.
        """
        self._broker_id = broker_id
        self._controller = controller
        self._metadata = metadata
        self._clock = clock
        self._linked = linked
        self._new_sessions = new_sessions
        self._session_timeout_ms = session_timeout_ms
        self._image = metadata.image
        self._controller_before = NO_BROKER
        self._reign: _Reign | None = None
        self._numbers = itertools.count(1)
        self._fencing: set[BrokerId] = set()
        self._woken = asyncio.Event()
        controller.subscribe(self._active_changed)
        metadata.subscribe(self._image_applied)

    def __repr__(self) -> str:
        state = "not the controller" if self._reign is None else repr(self._reign.sessions)
        return f"<BrokerSessionsShell of broker {self._broker_id}: {state}>"

    # --- Sessions ---

    def open(self, heartbeat: Heartbeat) -> ControllerSession:
        """Open the session of a broker, which says so with its first heartbeat.

        Raises:
            NotControllerError: this broker is not the controller, or not yet.
            BrokerIdNotRegisteredError: the broker is not part of the cluster.
            StaleBrokerEpochError: the broker has registered again since.
        """
        if self._reign is None:
            raise self._not_controller()
        self._check(heartbeat)
        number, reign, broker_id = next(self._numbers), self._reign, heartbeat.broker_id
        answers = 0

        def beat(heartbeat: Heartbeat) -> SessionAnswer:
            nonlocal answers
            if reign is not self._reign:
                raise self._not_controller()
            if heartbeat.broker_id != broker_id:
                raise InvalidRequestError(
                    f"the session is of broker {broker_id}, and a heartbeat in it of broker "
                    f"{heartbeat.broker_id}; give each broker a session of its own"
                )
            broker = self._check(heartbeat)
            now_ms = self._clock.now_ms()
            if answers == 1:
                reign.sessions.opened(broker_id, broker.broker_epoch, number, now_ms)
                self._woken.set()
            elif answers > 1:
                reign.sessions.heartbeat(broker_id, number, now_ms)
            answers += 1
            image = self._metadata.image
            return SessionAnswer(image.controller_epoch, image.metadata_offset, broker.fenced)

        def close() -> None:
            # Of one that never counted it means nothing.
            reign.sessions.closed(broker_id, number, self._clock.now_ms())
            self._woken.set()

        return ControllerSession(beat=beat, close=close, ended=reign.ended)

    def _check(self, heartbeat: Heartbeat) -> BrokerImage:
        broker_id, epoch = heartbeat.broker_id, heartbeat.broker_epoch
        broker = self._metadata.image.brokers.get(broker_id)
        if broker is None:
            raise BrokerIdNotRegisteredError(
                f"broker {broker_id} is not registered with this cluster any more: somebody has "
                "unregistered it; start it again to register it"
            )
        if broker.broker_epoch < epoch:
            raise NotControllerError(
                f"broker {self._broker_id} has not heard yet that broker {broker_id} registered "
                f"with epoch {epoch}"
            )
        if broker.broker_epoch > epoch:
            raise StaleBrokerEpochError(
                f"broker {broker_id} has registered since with epoch {broker.broker_epoch} from "
                f"{broker.host}:{broker.grpc_port}, and this process has epoch {epoch}; "
                "two processes must not have one node.id"
            )
        return broker

    def _not_controller(self) -> NotControllerError:
        return NotControllerError(f"broker {self._broker_id} is not the controller")

    # --- Reigns ---

    async def run(self) -> None:
        """Have brokers fenced that are not heard from, until cancelled; all sessions end then."""
        try:
            async with asyncio.TaskGroup() as fencing:
                while True:
                    await self._tick(fencing)
        finally:
            self._end_reign()

    async def _tick(self, fencing: asyncio.TaskGroup) -> None:
        reign = self._reign
        if reign is None:
            await self._woken.wait()
            self._woken.clear()
            return
        due_ms = self._clock.now_ms() + self._wait_ms(reign)
        await self._wait_until(due_ms)
        if reign.ended.is_set():
            return
        now_ms = self._clock.now_ms()
        late_ms = now_ms - due_ms
        if late_ms > self._session_timeout_ms // 2:
            emit(PAUSED, late_ms=late_ms)
            self._take_over(reign, linked=self._image.brokers.keys())
        for broker_id, broker_epoch in reign.sessions.expired(now_ms):
            if broker_id not in self._fencing:
                self._fencing.add(broker_id)
                fencing.create_task(self._fence(broker_id, broker_epoch))

    def _wait_ms(self, reign: _Reign) -> int:
        """Return how long there is nothing to do."""
        tick_ms = max(1, self._session_timeout_ms // TICKS_PER_TIMEOUT)
        deadline_ms = reign.sessions.deadline_ms()
        if deadline_ms is None:
            return tick_ms
        wait_ms = max(0, deadline_ms - self._clock.now_ms())
        # A broker that is being fenced has a deadline that has passed.
        least_ms = FENCING_RETRY_MS if self._fencing else 0
        return min(tick_ms, max(wait_ms, least_ms))

    async def _wait_until(self, due_ms: int) -> None:
        try:
            async with asyncio.timeout(max(0, due_ms - self._clock.now_ms()) / 1000):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    def _active_changed(self, epoch: ControllerEpoch | None) -> None:
        if epoch is None:
            self._end_reign()
        else:
            # The controller before lost its place because it was not heard from, most likely. If it
            # lives, it hears of the new one at once and opens a session.
            self._begin_reign(linked=frozenset(self._linked()) - {self._controller_before})

    def _begin_reign(self, *, linked: Collection[BrokerId]) -> None:
        self._end_reign()
        self._reign = _Reign(self._new_sessions())
        self._image = self._metadata.image
        self._take_over(self._reign, linked=linked)
        self._woken.set()

    def _take_over(self, reign: _Reign, *, linked: Collection[BrokerId]) -> None:
        reign.sessions.took_over(
            [
                (broker.broker_id, broker.broker_epoch)
                for broker in self._image.brokers.values()
                if not broker.fenced
            ],
            frozenset(linked) | {self._broker_id},
            self._clock.now_ms(),
        )

    def _end_reign(self) -> None:
        if self._reign is not None:
            self._reign.ended.set()
            self._reign = None
        self._woken.set()

    def _image_applied(self, image: ClusterImage) -> None:
        """Tell the sessions who was fenced and unfenced since the last image."""
        before, self._image = self._image, image
        if image.controller_id != before.controller_id:
            self._controller_before = before.controller_id
        if self._reign is None or image.brokers is before.brokers:
            return
        sessions = self._reign.sessions
        for broker in image.brokers.values():
            known = before.brokers.get(broker.broker_id)
            same_life = known is not None and known.broker_epoch == broker.broker_epoch
            if known is not None and same_life and known.fenced == broker.fenced:
                continue
            if broker.fenced:
                sessions.fenced(broker.broker_id)
            else:
                sessions.unfenced(broker.broker_id, broker.broker_epoch, self._clock.now_ms())
        for gone in before.brokers.keys() - image.brokers.keys():
            sessions.fenced(gone)
        self._woken.set()

    # --- Fencing ---

    async def _fence(self, broker_id: BrokerId, broker_epoch: BrokerEpoch) -> None:
        broker = self._image.brokers.get(broker_id)
        leaves = broker is not None and broker.shutting_down
        emit(
            BROKER_LEFT if leaves else SESSION_EXPIRED, broker=broker_id, broker_epoch=broker_epoch
        )
        try:
            await self._controller.serve(
                FenceBroker(broker_id=broker_id, broker_epoch=broker_epoch),
                timeout_ms=self._session_timeout_ms,
                urgent=True,
            )
        except OttlaError:
            # It registered anew, or we are deposed, or it is tried again: the sessions still say
            # that it has expired, if that is so.
            await asyncio.sleep(FENCING_RETRY_MS / 1000)
        finally:
            self._fencing.discard(broker_id)
            self._woken.set()


class ControllerSession:
    """One session that a broker has with this controller."""

    def __init__(
        self,
        *,
        beat: Callable[[Heartbeat], SessionAnswer],
        close: Callable[[], None],
        ended: asyncio.Event,
    ) -> None:
        self._beat = beat
        self._close: Callable[[], None] | None = close
        self._ended = ended

    async def beat(self, heartbeat: Heartbeat) -> SessionAnswer:
        """Take a sign of life and answer it, at once; see :meth:`BrokerSessionsShell.open`.

        Raises what that raises, and :exc:`InvalidRequestError` if it is another broker's.
        """
        return self._beat(heartbeat)

    async def wait_ended(self) -> None:
        """Wait until this broker is not the controller any more, or begins a new reign."""
        await self._ended.wait()

    def close(self) -> None:
        """Note that the session has ended: the broker has some moments to open another one."""
        close, self._close = self._close, None
        if close is not None:
            close()
