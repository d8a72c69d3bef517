"""What is wrong with the way to one broker, and what went that way.

One :class:`Faults` is shared by all connections to a broker. It belongs to the thread of the proxy;
others set it by way of that thread, so that a fault is in force when the call that sets it returns,
and read it as they like.

An *order* is about the next requests of one kind: refuse them, or lose their responses. Each kind
has at most one; the last word counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from ottla.testing.kafka_errors import BrokerAddress

REMEMBERED_MAX: Final = 100_000
"""Refusals that are told apart; a client that asks again at once makes thousands a second."""


class Refused(NamedTuple):
    """A request that was answered in the broker's place."""

    api: str
    """Kafka's name of the request."""
    error: str
    """Kafka's name of the error."""


class Fate(Enum):
    """What becomes of a request."""

    PASS = auto()
    REFUSE = auto()
    LOSE = auto()
    """The broker gets it and answers, and the connection ends instead of the response."""


@dataclass(slots=True)
class Order:
    """What becomes of the next requests of one kind."""

    fate: Fate
    error_code: int = 0
    times: int | None = None
    """How many more; ``None``: all."""


class Faults:
    """See the top of this module."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.cuts_requests = False
        self.cuts_responses = False
        self.refused: list[Refused] = []
        """The oldest first, at most :data:`REMEMBERED_MAX`."""
        self.requests: Counter[int] = Counter()
        """How many requests of each kind came, by number, whatever became of them."""
        self.brokers: Sequence[BrokerAddress] = ()
        """Of the whole cluster, as clients know them."""
        self._orders: dict[int, Order] = {}

    def order(self, api_key: int, order: Order) -> None:
        """Have something done to the next requests of a kind; no times: nothing any more."""
        if order.times == 0:
            self._orders.pop(api_key, None)
        else:
            self._orders[api_key] = order

    def order_for(self, api_key: int) -> Order | None:
        """Return what is to be done to a request, without counting it as done."""
        return self._orders.get(api_key) if self._orders else None

    def carried_out(self, api_key: int, order: Order) -> None:
        """Note that an order was carried out once."""
        if order.times is None:
            return
        order.times -= 1
        if not order.times and self._orders.get(api_key) is order:
            del self._orders[api_key]

    def note_refused(self, refused: Refused) -> None:
        """Remember a request that was refused."""
        if len(self.refused) < REMEMBERED_MAX:
            self.refused.append(refused)

    def clear(self) -> None:
        """Be well again; what has happened so far is still known."""
        self.delay_s = 0.0
        self.cuts_requests = self.cuts_responses = False
        self._orders.clear()

    def forget(self) -> None:
        """Forget what has happened so far."""
        self.refused.clear()
        self.requests.clear()
