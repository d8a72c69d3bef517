"""A seeded random walk of a consumer group, whose promises are checked at every step.

Members join, leave, crash, come back, change their minds, are slow to give back, and lose answers;
topics appear, grow and vanish; the coordinator is lost and another reads the log. A *walker* knows
what it was told and what it has not said that it gave back: that is what no two may have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from ottla.coordinator.effects import GroupRecord
from ottla.coordinator.requests import ConsumerHeartbeatAnswer
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    FencedInstanceIdError,
    FencedMemberEpochError,
    UnknownMemberIdError,
    UnreleasedInstanceIdError,
)
from ottla.model.ids import TopicId
from ottla.wire.group_records import ConsumerGroupRegularExpressionKey, read_record_key
from tests.coordinator.consumer_world import MINUTE_MS, ConsumerWorld

SETTINGS: Final = GroupSettings()
SESSION_MS: Final = SETTINGS.consumer_session_timeout_ms
TOPICS: Final = ("orders", "parts", "pears", "plums")
SUBSCRIPTIONS: Final[tuple[dict[str, object], ...]] = (
    {"subscribed_topic_names": ("orders",), "subscribed_topic_regex": ""},
    {"subscribed_topic_names": ("orders",), "subscribed_topic_regex": ""},
    {"subscribed_topic_names": ("orders", "parts"), "subscribed_topic_regex": ""},
    {"subscribed_topic_names": (), "subscribed_topic_regex": "p.*"},
    {"subscribed_topic_names": ("orders",), "subscribed_topic_regex": "pl.*|pears"},
    {"subscribed_topic_names": (), "subscribed_topic_regex": ""},
)


class Walker:
    """A member that takes its time."""

    def __init__(self, member_id: str, instance_id: str | None, said: dict[str, object]) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        self.said = said
        self.epoch = 0
        self.told: Mapping[TopicId, frozenset[int]] = {}
        self.owned: Mapping[TopicId, frozenset[int]] = {}
        self.says_everything = False
        """An answer was lost."""
        self.says_owned = False
        self.crashed = False
        self.heard_ms = 0
        """When the coordinator heard of it last."""
        self.slow_since_ms: int | None = None
        """Since when it has had something to give back."""

    @property
    def is_slow(self) -> bool:
        return any(numbers - self.told.get(one, frozenset()) for one, numbers in self.owned.items())

    def give_back(self) -> None:
        """Do what it was told."""
        if self.owned != self.told:
            self.owned = self.told
            self.says_owned = True


class Walk:
    """The world, the members, and what may happen."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = ConsumerWorld(SETTINGS, orders=7, parts=3)
        self.walkers: dict[str, Walker] = {}
        self.gone: list[Walker] = []
        """Crashed ones. What they were told is theirs until their sessions end."""
        self._names = 0

    def step(self) -> None:
        """Let something happen, and check what must hold."""
        events: list[tuple[int, Callable[[], None]]] = [
            (30, self.beat_somebody),
            (6, self.give_back_somewhere),
            (8, self.pass_time),
            (12, self.join),
            (2, self.leave),
            (2, self.crash),
            (2, self.stop_for_a_while),
            (3, self.resubscribe),
            (4, self.lose_an_answer),
            (2, self.change_topics),
            (1, self.take_over),
        ]
        weights = [weight for weight, _ in events]
        self.random.choices([event for _, event in events], weights)[0]()
        self.check()

    # --- Events ---------------------------------------------------------------------------

    def beat_somebody(self) -> None:
        if walker := self._anybody():
            self.beat(walker)

    def give_back_somewhere(self) -> None:
        if walker := self._anybody():
            walker.give_back()

    def pass_time(self) -> None:
        for _ in range(self.random.choice((1, 1, 2, 12))):
            self.world.wait(self.random.randrange(5_000))
            for walker in list(self.walkers.values()):
                if self.random.random() < 0.9:
                    self.beat(walker)

    def join(self) -> None:
        if len(self.walkers) > 7:
            return
        self._names += 1
        static = self.random.random() < 0.3
        instance_id = f"i{self.random.randrange(4)}" if static else None
        if any(one.instance_id == instance_id for one in self.walkers.values() if static):
            return
        said = dict(self.random.choice(SUBSCRIPTIONS))
        if self.random.random() < 0.1:
            said["server_assignor"] = self.random.choice(("uniform", "range"))
        self._join(Walker(f"m{self._names}", instance_id, said))

    def leave(self) -> None:
        if walker := self._anybody():
            self._send(walker, -1)
            del self.walkers[walker.member_id]

    def crash(self) -> None:
        if walker := self._anybody():
            walker.crashed = True
            del self.walkers[walker.member_id]
            self.gone.append(walker)

    def stop_for_a_while(self) -> None:
        statics = [one for one in self.walkers.values() if one.instance_id is not None]
        if statics:
            walker = self.random.choice(statics)
            if self._send(walker, -2) is not None:
                walker.crashed = True
                # What it was to give back is free, even if it has not heard that it was to. The
                # rest waits for its successor.
                walker.owned = {} if walker.says_everything else walker.told
                self.gone.append(walker)
            del self.walkers[walker.member_id]

    def resubscribe(self) -> None:
        if walker := self._anybody():
            walker.said = {**walker.said, **self.random.choice(SUBSCRIPTIONS)}
            subscription = {
                name: walker.said[name]
                for name in ("subscribed_topic_names", "subscribed_topic_regex")
            }
            self._take(walker, self._talk(walker, **subscription))

    def lose_an_answer(self) -> None:
        if (walker := self._anybody()) and self._talk(walker) is not None:
            walker.says_everything = True
            if walker.slow_since_ms is None:
                # It may have been told to give something back.
                walker.slow_since_ms = self.world.now_ms

    def change_topics(self) -> None:
        name = self.random.choice(TOPICS)
        known = self.world.image.topics.get(name)
        if known is not None and self.random.random() < 0.4:
            self.world.topics(**{name: 0})
            return
        least = 0 if known is None else len(known.partitions)
        self.world.topics(**{name: least + self.random.randrange(1, 4)})

    def take_over(self) -> None:
        """Another coordinator reads the log, in whatever order keys come."""
        before, said = self.world.describe(), _live(self.world)
        if self.random.random() < 0.5:
            self.world.log = shuffled(self.world.log, self.random)
        elif self.random.random() < 0.5:
            self.world.log = list(self.world.group.records())
        self.world.read_log_anew()
        assert self.world.describe() == before
        assert _live(self.world) == said
        for walker in self.gone:
            walker.heard_ms = self.world.now_ms
        for walker in self.walkers.values():
            walker.heard_ms = self.world.now_ms
            if walker.slow_since_ms is not None:
                walker.slow_since_ms = self.world.now_ms

    # --- Talking --------------------------------------------------------------------------

    def beat(self, walker: Walker) -> None:
        """Send what it has to say, and take the answer."""
        self.world.wait(0)
        says_nothing = not (walker.says_everything or walker.says_owned) and walker.epoch > 0
        expects_news = says_nothing and self.world.group.has_news(walker.member_id)
        epoch = walker.epoch
        answer = self._talk(walker)
        if says_nothing:
            is_news = (
                answer is None or answer.assignment is not None or answer.member_epoch != epoch
            )
            assert is_news == expects_news, (walker.member_id, answer)
        self._take(walker, answer)

    def _talk(self, walker: Walker, **said: object) -> ConsumerHeartbeatAnswer | None:
        if walker.epoch == 0:
            return self._send(walker, 0, **walker.said)
        if walker.says_everything:
            said = {**walker.said, "rebalance_timeout_ms": MINUTE_MS, "owned": walker.owned}
        elif walker.says_owned:
            said["owned"] = walker.owned
        return self._send(walker, walker.epoch, **said)

    def _send(self, walker: Walker, epoch: int, **said: object) -> ConsumerHeartbeatAnswer | None:
        """Send a heartbeat; a member that is out joins anew, and there is no answer."""
        request = self.world.request(
            walker.member_id, epoch, group_instance_id=walker.instance_id, **said
        )
        try:
            answer = self.world.beat(request)
        except (UnknownMemberIdError, FencedMemberEpochError):
            assert not self._must_be_in(walker), walker.member_id
            if epoch >= 0:
                self._join(walker)
            return None
        except (FencedInstanceIdError, UnreleasedInstanceIdError):
            assert walker.instance_id is not None
            self.walkers.pop(walker.member_id, None)
            return None
        if epoch >= 0:
            walker.heard_ms = self.world.now_ms
        return answer

    def _join(self, walker: Walker) -> None:
        walker.epoch = 0
        walker.owned = walker.told = {}
        walker.says_everything = walker.says_owned = False
        walker.slow_since_ms = None
        # A static member takes over what the one before it left.
        before = [one for one in self.gone if one.instance_id == walker.instance_id]
        answer = self._send(walker, 0, **walker.said)
        if answer is None:
            return
        if walker.instance_id is not None:
            self.gone = [one for one in self.gone if one not in before]
        self.walkers[walker.member_id] = walker
        self._take(walker, answer)

    def _take(self, walker: Walker, answer: ConsumerHeartbeatAnswer | None) -> None:
        if answer is None:
            return
        walker.says_everything = walker.says_owned = False
        walker.epoch = answer.member_epoch
        if answer.assignment is not None:
            walker.told = {one: frozenset(parts) for one, parts in answer.assignment.items()}
        if not walker.is_slow:
            walker.give_back()
            walker.slow_since_ms = None
        elif walker.slow_since_ms is None:
            walker.slow_since_ms = self.world.now_ms

    def _must_be_in(self, walker: Walker) -> bool:
        """Return whether the coordinator has no reason to have put a member out."""
        now_ms = self.world.now_ms
        is_late = walker.slow_since_ms is not None and now_ms - walker.slow_since_ms >= MINUTE_MS
        return not is_late and not walker.says_everything and now_ms - walker.heard_ms < SESSION_MS

    def _anybody(self) -> Walker | None:
        return self.random.choice(list(self.walkers.values())) if self.walkers else None

    # --- Promises -------------------------------------------------------------------------

    def check(self) -> None:
        """Check what must hold at any moment."""
        now_ms = self.world.now_ms
        self.gone = [one for one in self.gone if now_ms - one.heard_ms < SESSION_MS]
        members = {one.member_id for one in self.world.describe().members}
        holders: Counter[tuple[TopicId, int]] = Counter()
        for walker in (*self.walkers.values(), *self.gone):
            if walker.member_id in members:
                holders.update(
                    (topic_id, one) for topic_id, numbers in walker.owned.items() for one in numbers
                )
            else:
                assert not self._must_be_in(walker), walker.member_id
        assert not holders or max(holders.values()) == 1, holders

    def settle(self) -> None:
        """Let nothing happen any more but heartbeats, until all must be quiet."""
        for _ in range(40):
            self.world.wait(SETTINGS.consumer_heartbeat_interval_ms)
            for walker in list(self.walkers.values()):
                walker.give_back()
                self.beat(walker)
            self.check()

    def check_quiet(self) -> None:
        """Check what must hold once everybody has what it shall have."""
        group = self.world.describe()
        assert group.state == ("Stable" if self.walkers else "Empty"), group
        assert {one.member_id for one in group.members} == self.walkers.keys()
        topics = self.world.image.topics
        holders: dict[tuple[TopicId, int], str] = {}
        loads: dict[frozenset[TopicId], list[int]] = {}
        for walker in self.walkers.values():
            subscribed = self._subscribed(walker)
            assert walker.owned.keys() <= subscribed, walker.member_id
            for topic_id, numbers in walker.owned.items():
                for partition in numbers:
                    assert holders.setdefault((topic_id, partition), walker.member_id) == (
                        walker.member_id
                    )
            loads.setdefault(subscribed, []).append(sum(map(len, walker.owned.values())))
        wanted = set().union(*loads)
        everything = {
            (topic.topic_id, partition)
            for topic in topics.values()
            if topic.topic_id in wanted
            for partition in range(len(topic.partitions))
        }
        assert holders.keys() == everything
        if group.assignor == "uniform":
            assert all(max(alike) - min(alike) <= 1 for alike in loads.values()), loads

    def _subscribed(self, walker: Walker) -> frozenset[TopicId]:
        member = self.world.member(walker.member_id)
        names = set(member.subscribed_topic_names)
        match member.subscribed_topic_regex:
            case "p.*":
                names |= {"parts", "pears", "plums"}
            case "pl.*|pears":
                names |= {"plums", "pears"}
        topics = self.world.image.topics
        return frozenset(topics[name].topic_id for name in names if name in topics)


def _live(world: ConsumerWorld) -> dict[bytes, bytes | None]:
    """Return everything that there is to say of the group, but what expressions mean by now."""
    return {
        record.key: record.value
        for record in world.group.records()
        if not isinstance(read_record_key(record.key), ConsumerGroupRegularExpressionKey)
    }


def shuffled(log: list[GroupRecord], random: Random) -> list[GroupRecord]:
    """Return a log in which only records of the same key are in order."""
    by_key: dict[bytes, list[GroupRecord]] = {}
    for record in log:
        by_key.setdefault(record.key, []).append(record)
    order = [record.key for record in log]
    random.shuffle(order)
    queues = {key: iter(records) for key, records in by_key.items()}
    return [next(queues[key]) for key in order]
