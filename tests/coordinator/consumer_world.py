"""A consumer group with members that behave as clients do, and a log that can be read anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from uuid import UUID

from ottla.coordinator.consumer_group import ConsumerGroup
from ottla.coordinator.consumer_requests import check_heartbeat
from ottla.coordinator.effects import Effects, GroupRecord
from ottla.coordinator.requests import (
    ConsumerGroupDescription,
    ConsumerHeartbeat,
    ConsumerHeartbeatAnswer,
    ConsumerMemberDescription,
)
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import OttlaError
from ottla.model.ids import BrokerId, LeaderEpoch, PartitionEpoch, TopicId
from ottla.model.image import ClusterImage, PartitionImage, TopicImage
from ottla.wire.group_records import VALUE_CLASSES, read_record_key, read_record_value

PARTITION = PartitionImage(
    replicas=(BrokerId(1),),
    in_sync_replicas=(BrokerId(1),),
    eligible_leader_replicas=(),
    leader=BrokerId(1),
    leader_epoch=LeaderEpoch(1),
    partition_epoch=PartitionEpoch(1),
)

MINUTE_MS = 60_000


class ConsumerWorld:
    """One group, a clock, topics, and everything that was written of the group."""

    def __init__(self, settings: GroupSettings | None = None, **topics: int) -> None:
        """Begin with topics of so many partitions each, and nobody."""
        self.settings = settings or GroupSettings()
        self.now_ms = 1_000_000
        self.log: list[GroupRecord] = []
        self.image = ClusterImage(cluster_id="c")
        self._topic_numbers = count(1)
        self._member_numbers = count(1)
        self.group = self._empty_group()
        self.topics(**topics)

    # --- Topics ---------------------------------------------------------------------------

    def topics(self, **partition_counts: int) -> None:
        """Let there be these topics, too; with no partitions: not any more."""
        topics = dict(self.image.topics)
        for name, partitions in partition_counts.items():
            topic_name = name.replace("_", "-")
            old = topics.pop(topic_name, None)
            if partitions:
                topic_id = old.topic_id if old else TopicId(UUID(int=next(self._topic_numbers)))
                topics[topic_name] = TopicImage(
                    topic_id=topic_id,
                    name=topic_name,
                    partitions=(PARTITION,) * partitions,
                    configs={},
                )
        self._change_topics(topics)

    def rename(self, name: str, new_name: str) -> None:
        """Let a topic have a name that :meth:`topics` cannot give."""
        topics = dict(self.image.topics)
        topics[new_name] = replace(topics.pop(name), name=new_name)
        self._change_topics(topics)

    def topic_id(self, name: str) -> TopicId:
        """Return the id of a topic."""
        return self.image.topics[name].topic_id

    def named(self, partitions: Mapping[TopicId, Iterable[int]] | None) -> set[str]:
        """Return partitions as ``orders-0``; those of topics that are gone by their ids."""
        return {
            f"{self.image.topic_names.get(topic_id, topic_id)}-{partition}"
            for topic_id, numbers in (partitions or {}).items()
            for partition in numbers
        }

    def _change_topics(self, topics: dict[str, TopicImage]) -> None:
        self.image = ClusterImage(
            cluster_id="c",
            topics=topics,
            topic_names={one.topic_id: one.name for one in topics.values()},
        )
        self.group.image_changed(self.image, self.now_ms)

    # --- The group ------------------------------------------------------------------------

    def beat(self, request: ConsumerHeartbeat) -> ConsumerHeartbeatAnswer:
        """Send a heartbeat. One that is refused changes nothing."""
        effects = Effects()
        check_heartbeat(request, self.settings)
        try:
            answer = self.group.heartbeat(request, self.now_ms, effects)
        except OttlaError:
            assert not effects.records
            raise
        self.log += effects.records
        return answer

    def tick(self) -> None:
        """Let the group see what time it is."""
        effects = Effects()
        self.group.tick(self.now_ms, effects)
        self.log += effects.records

    def wait(self, passed_ms: int) -> None:
        """Let time pass, and the group do what is due."""
        self.now_ms += passed_ms
        while (due_ms := self.group.deadline_ms()) is not None and due_ms <= self.now_ms:
            self.tick()

    def read_log_anew(self) -> None:
        """Let another coordinator take over."""
        self.group = self._empty_group()
        replay(self.group, self.log)
        if self.group.is_unknown:
            self.group = self._empty_group()
        else:
            self.group.loaded(self.now_ms)

    def describe(self) -> ConsumerGroupDescription:
        """Return what tools are told of the group."""
        return self.group.describe()

    def member(self, member_id: str) -> ConsumerMemberDescription:
        """Return what tools are told of a member."""
        return next(one for one in self.describe().members if one.member_id == member_id)

    def request(
        self, member_id: str, epoch: int, *topics: str, **said: object
    ) -> ConsumerHeartbeat:
        """Make a heartbeat; one that joins says everything."""
        fields: dict[str, object] = {"client_id": "client", "client_host": "/host"}
        if topics:
            fields["subscribed_topic_names"] = topics
        if epoch == 0:
            fields |= {"rebalance_timeout_ms": MINUTE_MS, "owned": {}}
        fields |= {"group_id": "group", "member_id": member_id, "member_epoch": epoch, **said}
        return ConsumerHeartbeat(**fields)  # type: ignore[arg-type] # a test says what it likes

    def _empty_group(self) -> ConsumerGroup:
        return ConsumerGroup(
            "group",
            self.settings,
            new_member_id=lambda prefix: f"{prefix}-{next(self._member_numbers)}",
            image=self.image,
        )


def replay(group: ConsumerGroup, log: Iterable[GroupRecord]) -> None:
    """Let a group read a log."""
    for record in log:
        key = read_record_key(record.key)
        assert key is not None
        kind = VALUE_CLASSES[type(key)]
        group.replay(key, None if record.value is None else read_record_value(kind, record.value))


class Client:
    """A member as a client is one: it gives back what it is told to when it is let to."""

    def __init__(self, world: ConsumerWorld, member_id: str, *topics: str, **said: object) -> None:
        """Know what to subscribe to; ``said`` are fields of the heartbeat that joins."""
        self.world = world
        self.member_id = member_id
        self.topics = topics
        self.said = said
        self.epoch = 0
        self.owned: Mapping[TopicId, frozenset[int]] = {}
        """What it reads."""
        self.told: Mapping[TopicId, frozenset[int]] = {}
        """What it was told to read."""
        self.tells = False
        """It has to say what it owns."""

    def join(self) -> Client:
        """Join, or join again."""
        self.owned = self.told = {}
        self.take(self.world.beat(self.world.request(self.member_id, 0, *self.topics, **self.said)))
        return self

    def beat(self) -> ConsumerHeartbeatAnswer:
        """Send a heartbeat, and do at once as the answer says."""
        owned = self.owned if self.tells else None
        self.tells = False
        instance = self.said.get("group_instance_id")
        answer = self.world.beat(
            self.world.request(self.member_id, self.epoch, owned=owned, group_instance_id=instance)
        )
        self.take(answer)
        return answer

    def take(self, answer: ConsumerHeartbeatAnswer) -> None:
        """Do as an answer says."""
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            self.told = {one: frozenset(parts) for one, parts in answer.assignment.items()}
            if self.owned != self.told:
                self.owned = self.told
                self.tells = True

    def leave(self, epoch: int = -1) -> None:
        """Leave, for good unless told otherwise."""
        instance = self.said.get("group_instance_id")
        self.world.beat(self.world.request(self.member_id, epoch, group_instance_id=instance))
        self.owned = self.told = {}

    @property
    def has(self) -> set[str]:
        """What it reads, as ``orders-0``."""
        return self.world.named(self.owned)


def settle(world: ConsumerWorld, *clients: Client, rounds: int = 6) -> None:
    """Let members send heartbeats until all is quiet."""
    for _ in range(rounds):
        world.wait(world.settings.consumer_heartbeat_interval_ms)
        for client in clients:
            client.beat()
