"""Which brokers are heard from: the soft state of the active controller, and its only clock.

Each broker keeps a *session* open to the controller and says at intervals that it lives. This
says which of the brokers that serve have been silent too long, and are to be fenced:

* no heartbeat for the session timeout: the broker hangs, or nobody reaches it;
* the session ended and no new one began within the reconnect grace: its process is gone. That is
  how a killed broker is noticed at once.

A new controller has heard from nobody. It gives a broker whose Raft link is up the whole session
timeout to open a session, and one without a link, which is most likely as dead as the controller
before, only the takeover grace.

A session belongs to one life of a broker, its broker epoch. A broker opens it before it is
unfenced, so sessions and unfenced brokers are noted separately; who is to be fenced is always one
that is unfenced. Sessions have numbers, so that a late end of an old one does not end its
successor.

Times are milliseconds of one clock that never goes back; the caller reads it. What this forgets
when the controller changes is nothing but when somebody was heard from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ottla.model.ids import BrokerEpoch, BrokerId


@dataclass(slots=True)
class _Session:
    number: int
    broker_epoch: BrokerEpoch
    deadline_ms: int


@dataclass(slots=True)
class _Serving:
    """An unfenced broker; when it is to be fenced if it has no session of its present life."""

    broker_epoch: BrokerEpoch
    deadline_ms: int
    ask_again_at_ms: int = 0
    """While a request to fence it is likely under way, it is not asked for again."""


class BrokerSessions:
    """When each broker was heard from, and who is to be fenced for it."""

    def __init__(
        self, *, session_timeout_ms: int, reconnect_grace_ms: int, takeover_grace_ms: int
    ) -> None:
        """Begin knowing nobody; :meth:`took_over` comes first."""
        self._session_timeout_ms = session_timeout_ms
        self._reconnect_grace_ms = reconnect_grace_ms
        self._takeover_grace_ms = takeover_grace_ms
        self._sessions: dict[BrokerId, _Session] = {}
        self._serving: dict[BrokerId, _Serving] = {}

    def __repr__(self) -> str:
        return f"<BrokerSessions {len(self._sessions)} open, {len(self._serving)} brokers unfenced>"

    def took_over(
        self,
        unfenced: Iterable[tuple[BrokerId, BrokerEpoch]],
        linked: frozenset[BrokerId],
        now_ms: int,
    ) -> None:
        """Begin anew, as the controller: these brokers are unfenced, those have a Raft link.

        Sessions that brokers opened before, because they heard of this controller earlier than
        it did itself, are kept.
        """
        self._serving = {}
        for broker_id, broker_epoch in unfenced:
            linked_now = broker_id in linked
            grace_ms = self._session_timeout_ms if linked_now else self._takeover_grace_ms
            self._serving[broker_id] = _Serving(broker_epoch, now_ms + grace_ms)
        for session in self._sessions.values():
            session.deadline_ms = now_ms + self._session_timeout_ms

    def opened(
        self, broker_id: BrokerId, broker_epoch: BrokerEpoch, session: int, now_ms: int
    ) -> None:
        """Note a new session; it takes the place of an earlier one, not that of a later life."""
        present = self._sessions.get(broker_id)
        if present is not None and present.broker_epoch > broker_epoch:
            return
        deadline_ms = now_ms + self._session_timeout_ms
        self._sessions[broker_id] = _Session(session, broker_epoch, deadline_ms)

    def heartbeat(self, broker_id: BrokerId, session: int, now_ms: int) -> None:
        """Note a sign of life; of a session that was replaced it means nothing."""
        present = self._sessions.get(broker_id)
        if present is not None and present.number == session:
            present.deadline_ms = now_ms + self._session_timeout_ms

    def closed(self, broker_id: BrokerId, session: int, now_ms: int) -> None:
        """Note that a session ended: its broker has the reconnect grace to open another."""
        present = self._sessions.get(broker_id)
        if present is None or present.number != session:
            return
        del self._sessions[broker_id]
        serving = self._serving.get(broker_id)
        if serving is not None and serving.broker_epoch == present.broker_epoch:
            grace_end_ms = now_ms + self._reconnect_grace_ms
            serving.deadline_ms = min(present.deadline_ms, grace_end_ms)

    def unfenced(self, broker_id: BrokerId, broker_epoch: BrokerEpoch, now_ms: int) -> None:
        """Learn from the metadata log that a broker serves. Repeating it changes nothing."""
        serving = self._serving.get(broker_id)
        if serving is None or serving.broker_epoch != broker_epoch:
            deadline_ms = now_ms + self._session_timeout_ms
            self._serving[broker_id] = _Serving(broker_epoch, deadline_ms)

    def fenced(self, broker_id: BrokerId) -> None:
        """Learn from the metadata log that a broker does not serve, or is no broker any more."""
        self._serving.pop(broker_id, None)

    def expired(self, now_ms: int) -> list[tuple[BrokerId, BrokerEpoch]]:
        """Return whom to fence now, by broker id.

        Until :meth:`fenced` says that it was done, a broker that stays silent is returned again
        each time the reconnect grace has passed.
        """
        found = []
        for broker_id in sorted(self._serving):
            serving = self._serving[broker_id]
            if now_ms >= max(self._expiry_ms(broker_id), serving.ask_again_at_ms):
                serving.ask_again_at_ms = now_ms + max(1, self._reconnect_grace_ms)
                found.append((broker_id, serving.broker_epoch))
        return found

    def deadline_ms(self) -> int | None:
        """When to ask :meth:`expired` if nothing else happens; ``None``: no need to."""
        return min(
            (
                max(self._expiry_ms(broker_id), serving.ask_again_at_ms)
                for broker_id, serving in self._serving.items()
            ),
            default=None,
        )

    def _expiry_ms(self, broker_id: BrokerId) -> int:
        """Return when the broker is to be fenced if it is not heard from again."""
        serving = self._serving[broker_id]
        session = self._sessions.get(broker_id)
        if session is not None and session.broker_epoch == serving.broker_epoch:
            return session.deadline_ms
        return serving.deadline_ms
