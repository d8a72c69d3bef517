"""A broker that serves and is not heard from is fenced: soon if its session broke, later if not."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from ottla.controller.sessions import BrokerSessions
from ottla.model.ids import BrokerEpoch, BrokerId

TIMEOUT, RECONNECT, TAKEOVER = 3_000, 150, 250
ONE, TWO = BrokerId(1), BrokerId(2)
E1, E2 = BrokerEpoch(10), BrokerEpoch(20)


def make() -> BrokerSessions:
    return BrokerSessions(
        session_timeout_ms=TIMEOUT, reconnect_grace_ms=RECONNECT, takeover_grace_ms=TAKEOVER
    )


def serving() -> BrokerSessions:
    """Broker 1 has a session and is unfenced, since time 0."""
    sessions = make()
    sessions.took_over([], frozenset(), 0)
    sessions.opened(ONE, E1, 1, 0)
    sessions.unfenced(ONE, E1, 0)
    return sessions


def test_nobody_is_waited_for_at_first() -> None:
    sessions = make()

    assert sessions.deadline_ms() is None
    assert sessions.expired(10**9) == []


def test_broker_that_is_silent_for_the_timeout_is_to_be_fenced() -> None:
    sessions = serving()

    assert sessions.deadline_ms() == TIMEOUT
    assert sessions.expired(TIMEOUT - 1) == []
    assert sessions.expired(TIMEOUT) == [(ONE, E1)]


def test_heartbeat_postpones_the_end() -> None:
    sessions = serving()
    sessions.heartbeat(ONE, 1, 2_000)

    assert sessions.deadline_ms() == 2_000 + TIMEOUT


def test_end_of_the_session_leaves_a_moment_to_open_another() -> None:
    sessions = serving()
    sessions.closed(ONE, 1, 1_000)
    assert sessions.deadline_ms() == 1_000 + RECONNECT

    sessions.opened(ONE, E1, 2, 1_100)

    assert sessions.deadline_ms() == 1_100 + TIMEOUT


def test_end_of_a_session_that_was_silent_postpones_nothing() -> None:
    sessions = serving()
    sessions.closed(ONE, 1, TIMEOUT - 10)

    assert sessions.deadline_ms() == TIMEOUT


def test_end_and_heartbeat_of_a_session_that_was_replaced_mean_nothing() -> None:
    sessions = serving()
    sessions.opened(ONE, E1, 2, 100)

    sessions.closed(ONE, 1, 200)
    sessions.heartbeat(ONE, 1, 200)

    assert sessions.deadline_ms() == 100 + TIMEOUT


def test_fenced_broker_is_not_waited_for_and_one_unfenced_is() -> None:
    sessions = serving()
    sessions.fenced(ONE)
    assert sessions.deadline_ms() is None

    sessions.unfenced(ONE, E1, 500)

    # By the session that it had all the time.
    assert sessions.deadline_ms() == TIMEOUT


def test_broker_that_is_to_be_fenced_is_asked_for_again_until_it_is() -> None:
    sessions = serving()
    assert sessions.expired(TIMEOUT) == [(ONE, E1)]

    assert sessions.expired(TIMEOUT + 1) == []
    assert sessions.deadline_ms() == TIMEOUT + RECONNECT
    assert sessions.expired(TIMEOUT + RECONNECT) == [(ONE, E1)]
    sessions.fenced(ONE)
    assert sessions.expired(TIMEOUT + 2 * RECONNECT) == []


def test_broker_that_is_heard_from_after_all_is_not_asked_for_again() -> None:
    sessions = serving()
    sessions.expired(TIMEOUT)

    sessions.heartbeat(ONE, 1, TIMEOUT + 10)

    assert sessions.deadline_ms() == 2 * TIMEOUT + 10


def test_new_controller_waits_longer_for_brokers_that_have_a_link() -> None:
    sessions = make()

    sessions.took_over([(ONE, E1), (TWO, E2)], frozenset([TWO]), 1_000)

    assert sessions.expired(1_000 + TAKEOVER) == [(ONE, E1)]
    sessions.fenced(ONE)
    assert sessions.deadline_ms() == 1_000 + TIMEOUT


def test_session_that_was_opened_before_the_takeover_counts() -> None:
    sessions = make()
    sessions.opened(ONE, E1, 1, 900)

    sessions.took_over([(ONE, E1)], frozenset(), 1_000)

    assert sessions.deadline_ms() == 1_000 + TIMEOUT


def test_session_of_another_life_does_not_keep_a_broker_unfenced() -> None:
    sessions = make()
    sessions.took_over([(ONE, E1)], frozenset(), 0)

    sessions.opened(ONE, E2, 1, 100)  # registered again; the log has not said so yet

    assert sessions.expired(TAKEOVER) == [(ONE, E1)]
    sessions.fenced(ONE)
    sessions.unfenced(ONE, E2, 300)
    assert sessions.deadline_ms() == 100 + TIMEOUT


def test_late_session_of_an_earlier_life_does_not_replace_one_of_the_present() -> None:
    sessions = make()
    sessions.opened(ONE, E2, 2, 100)
    sessions.unfenced(ONE, E2, 100)

    sessions.opened(ONE, E1, 3, 200)
    sessions.closed(ONE, 3, 200)

    assert sessions.deadline_ms() == 100 + TIMEOUT


@dataclass
class Model:
    """The same from the whole history: slow, and with nothing to keep up to date."""

    # Of each broker: when each event was, oldest first.
    heard: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    open: dict[int, tuple[int, int]] = field(default_factory=dict)  # session, epoch
    closed: dict[tuple[int, int], int] = field(default_factory=dict)  # broker, epoch: grace end
    serving: dict[int, tuple[int, int]] = field(default_factory=dict)  # epoch, first grace end

    def last_heard(self, broker: int, session: int) -> int:
        return max(at for number, _, at in self.heard[broker] if number == session)

    def expired(self, now_ms: int) -> set[int]:
        found = set()
        for broker, (epoch, grace_end_ms) in self.serving.items():
            session = self.open.get(broker)
            if session is not None and session[1] == epoch:
                end_ms = self.last_heard(broker, session[0]) + TIMEOUT
            else:
                end_ms = self.closed.get((broker, epoch), grace_end_ms)
            if now_ms >= end_ms:
                found.add(broker)
        return found


@pytest.mark.parametrize("seed", range(20))
def test_sessions_agree_with_the_whole_history(seed: int) -> None:
    chance = random.Random(seed)
    sessions, model, now_ms, number = make(), Model(), 0, 0
    sessions.took_over([], frozenset(), 0)
    epochs = dict.fromkeys(range(3), 1)
    for _ in range(400):
        now_ms += chance.choice([0, 1, 50, 100, 200, 1_000])
        broker = BrokerId(chance.randrange(3))
        match chance.randrange(6):
            case 0:
                number += 1
                epochs[broker] += chance.random() < 0.2
                epoch = epochs[broker]
                sessions.opened(broker, BrokerEpoch(epoch), number, now_ms)
                model.open[broker] = (number, epoch)
                model.heard.setdefault(broker, []).append((number, epoch, now_ms))
            case 1 if broker in model.open:
                session, epoch = model.open[broker]
                sessions.closed(broker, session, now_ms)
                end_ms = min(model.last_heard(broker, session) + TIMEOUT, now_ms + RECONNECT)
                if model.serving.get(broker, (0, 0))[0] == epoch:
                    model.closed[broker, epoch] = end_ms
                del model.open[broker]
            case 2 | 3 if broker in model.open:
                session, epoch = model.open[broker]
                sessions.heartbeat(broker, session, now_ms)
                model.heard[broker].append((session, epoch, now_ms))
            case 4 if broker not in model.serving:
                sessions.unfenced(broker, BrokerEpoch(epochs[broker]), now_ms)
                model.serving[broker] = (epochs[broker], now_ms + TIMEOUT)
                model.closed.pop((broker, epochs[broker]), None)
            case 5 if chance.random() < 0.3:
                sessions.fenced(broker)
                model.serving.pop(broker, None)
        deadline_ms = sessions.deadline_ms()
        found = {broker for broker, _ in sessions.expired(now_ms)}
        assert found == model.expired(now_ms)
        assert (deadline_ms is not None and deadline_ms <= now_ms) == bool(found)
        for broker in found:
            sessions.fenced(BrokerId(broker))
            del model.serving[broker]
