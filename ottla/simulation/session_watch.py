"""The controller's side of the sessions: who is not heard from is fenced.

Soft state, as :class:`~ottla.controller.sessions.BrokerSessions` keeps it; a new controller begins
with everybody that the metadata log has as unfenced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ottla.controller.requests import FenceBroker
from ottla.controller.sessions import BrokerSessions
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.model.image import ClusterImage
from ottla.simulation.controller_shell import ControllerShell, Result
from ottla.simulation.membership import SessionIdentity
from ottla.simulation.network import LinkEnd
from ottla.simulation.process import Process

RECONNECT_GRACE_MS: Final = 150
TAKEOVER_GRACE_MS: Final = 250


class SessionWatch:
    """The sessions of all brokers, while this broker is the controller."""

    def __init__(
        self,
        process: Process,
        shell: ControllerShell,
        *,
        session_timeout_ms: int,
        linked: Callable[[], frozenset[BrokerId]],
    ) -> None:
        """Fence by ``shell``; ``linked`` are the peers with a quorum link now."""
        self._process = process
        self._shell = shell
        self._session_timeout_ms = session_timeout_ms
        self._linked = linked
        self._sessions: BrokerSessions | None = None
        self._numbers = 0
        self._fencing: set[tuple[BrokerId, BrokerEpoch]] = set()
        self._fenced: dict[BrokerId, bool] = {}
        self._look_at_ms: int | None = None

    def took_over(self, image: ClusterImage) -> None:
        """Begin: this broker has become the controller."""
        self._sessions = BrokerSessions(
            session_timeout_ms=self._session_timeout_ms,
            reconnect_grace_ms=RECONNECT_GRACE_MS,
            takeover_grace_ms=TAKEOVER_GRACE_MS,
        )
        self._fencing.clear()
        self._fenced = {broker.broker_id: broker.fenced for broker in image.brokers.values()}
        unfenced = [(b.broker_id, b.broker_epoch) for b in image.brokers.values() if not b.fenced]
        me = BrokerId(self._process.number)
        self._sessions.took_over(unfenced, self._linked() | {me}, self._now_ms())
        self._look()

    def accept(self, end: LinkEnd, identity: SessionIdentity) -> bool:
        """Take a session, if this broker is the controller."""
        sessions = self._sessions
        if sessions is None or not self._shell.is_active:
            return False
        self._numbers += 1
        number = self._numbers
        sessions.opened(identity.broker_id, identity.broker_epoch, number, self._now_ms())

        def beat(_message: object) -> None:
            if self._sessions is sessions and self._shell.is_active:
                sessions.heartbeat(identity.broker_id, number, self._now_ms())
            else:
                end.close()

        def ended() -> None:
            if self._sessions is sessions:
                sessions.closed(identity.broker_id, number, self._now_ms())
                self._look()

        end.on_message = beat
        end.on_end = ended
        self._look()
        return True

    def image_applied(self, image: ClusterImage) -> None:
        """Note who was fenced and unfenced."""
        sessions = self._sessions
        if sessions is None:
            return
        for broker in image.brokers.values():
            if self._fenced.get(broker.broker_id, True) != broker.fenced:
                if broker.fenced:
                    sessions.fenced(broker.broker_id)
                else:
                    sessions.unfenced(broker.broker_id, broker.broker_epoch, self._now_ms())
            self._fenced[broker.broker_id] = broker.fenced
        self._look()

    # --- Inside ---

    def _look(self) -> None:
        """Fence whose time is over, and look again when the next one's is."""
        sessions = self._sessions
        if sessions is None:
            return
        if not self._shell.is_active:
            self._sessions = None
            return
        for broker_id, broker_epoch in sessions.expired(self._now_ms()):
            self._fence(broker_id, broker_epoch)
        deadline_ms = sessions.deadline_ms()
        if deadline_ms is not None and (self._look_at_ms is None or deadline_ms < self._look_at_ms):
            self._look_at_ms = deadline_ms
            delay_ms = max(20, deadline_ms - self._now_ms())
            self._process.after(delay_ms, "sessions", lambda: self._look_again(deadline_ms))

    def _look_again(self, deadline_ms: int) -> None:
        if self._look_at_ms == deadline_ms:
            self._look_at_ms = None
            self._look()

    def _fence(self, broker_id: BrokerId, broker_epoch: BrokerEpoch) -> None:
        broker = (broker_id, broker_epoch)
        if broker in self._fencing:
            return
        self._fencing.add(broker)
        self._process.note(f"fences broker {broker_id}")

        def answered(_result: Result) -> None:
            self._fencing.discard(broker)

        self._shell.submit(FenceBroker(broker_id=broker_id, broker_epoch=broker_epoch), answered)

    def _now_ms(self) -> int:
        return self._process.clock.now_ms()
