"""The controller of a cluster, its driver and the metadata cache, on a quorum in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from ottla.cluster.controller_driver import ControllerDriver
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.raft_driver import Proposed
from ottla.cluster.services import HostedPartitionDescription, LogDirectoryDescription
from ottla.controller.controller import Controller
from ottla.controller.raft.consensus import Outcome, Role, RoleChanged
from ottla.controller.records import AnswerOutcome, MetadataAnswer
from ottla.controller.requests import (
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    FenceBroker,
    NewPartitions,
    NewTopic,
    UnfenceBroker,
)
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import OttlaError, RequestTimedOutError, StorageError
from ottla.model.ids import BrokerId, MetadataOffset, TopicId, TopicPartition
from ottla.model.image import BrokerListener, ClusterImage, TopicImage
from tests.controller.metadata import CLUSTER_ID, registration

ME = BrokerId(1)
NOW_MS = 1_700_000_000_000
TIMEOUT_MS = 10_000
"""Never reached: nothing here waits for anything but the event loop."""

Change = CreateTopics | DeleteTopics | CreatePartitions | FenceBroker
"""What somebody may have done in between."""


class FixedClock:
    def now_ms(self) -> int:
        return 0

    def wall_ms(self) -> int:
        return NOW_MS


class Quorum:
    """A quorum of one, which applies at once, unless it is told otherwise."""

    def __init__(self, machine: MetadataStateMachine, applied: Callable[[], None]) -> None:
        self.failures: list[OttlaError | Outcome] = []
        """What becomes of the next proposals instead, one each."""
        self.delayed = 0
        """So many proposals are not answered in time, and applied afterwards, before the next."""
        self.before_each: Callable[[], None] = lambda: None
        """Called before a proposal is applied: something gets into the log first."""
        self.after_each: Callable[[], None] = lambda: None
        self.proposals = 0
        self.barriers = 0
        self._machine = machine
        self._applied = applied
        self._entries = 0
        self._under_way: list[bytes] = []

    async def propose(self, entry: bytes, *, timeout_ms: int) -> Proposed:
        await asyncio.sleep(0)  # others run, as they do while a disk syncs
        self.proposals += 1
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, OttlaError):
                raise failure
            return Proposed(failure)
        if self.delayed:
            self.delayed -= 1
            self._under_way.append(entry)
            raise RequestTimedOutError(f"no answer in {timeout_ms} ms")
        self._catch_up()
        self.before_each()
        answer = self.append(entry)
        self.after_each()
        self._applied()
        return Proposed(Outcome.APPLIED, answer)

    async def barrier(self, *, timeout_ms: int) -> Proposed:
        assert timeout_ms > 0
        await asyncio.sleep(0)
        self.barriers += 1
        self._catch_up()
        return Proposed(Outcome.APPLIED)

    def append(self, entry: bytes) -> bytes:
        self._entries += 1
        return self._machine.apply(MetadataOffset(self._entries), entry)

    def _catch_up(self) -> None:
        for entry in self._under_way:
            self.append(entry)
        if self._under_way:
            self._under_way.clear()
            self._applied()


class ControlPlane:
    """Broker 1 is the controller; the brokers up to the number given are registered and serve."""

    def __init__(self, defaults: TopicDefaults) -> None:
        self.machine = MetadataStateMachine(cluster_id=CLUSTER_ID)
        self.metadata = MetadataCache(self.machine.image)
        self.quorum = Quorum(self.machine, self._applied)
        self.publishes = True
        """Whether this broker carries out what is applied."""
        self._controller = Controller(
            self.machine, new_topic_id=self._new_topic_id, defaults=defaults
        )
        self.driver = ControllerDriver(
            broker_id=ME,
            quorum=self.quorum,
            metadata=self.metadata,
            controller=self._controller,
            clock=FixedClock(),
            client_id=7,
        )
        self._topic_ids = 0
        self._foreign_sequence = 0

    @property
    def image(self) -> ClusterImage:
        """The cluster as it is, which the broker may not know yet."""
        return self.machine.image

    def topic(self, name: str) -> TopicImage:
        return self.image.topics[name]

    def publish(self) -> None:
        """Have the broker carry out what was applied meanwhile, and go on doing so."""
        self.publishes = True
        self.metadata.publish(self.machine.image)

    def intrude(self, change: Change) -> None:
        """Make a change behind the driver's back. It is published with the next one."""
        decision = self._controller.decide(change, NOW_MS)
        first = self._foreign_sequence + 1
        for entry in decision.entries(client_id=99, first_sequence=first):
            self._foreign_sequence += 1
            answer = MetadataAnswer.decode(self.quorum.append(entry))
            assert answer.outcome is AnswerOutcome.APPLIED, answer

    def fence(self, broker: int) -> None:
        """Take a broker out of service behind the driver's back."""
        epoch = self.image.brokers[BrokerId(broker)].broker_epoch
        self.intrude(FenceBroker(broker_id=BrokerId(broker), broker_epoch=epoch))

    async def create(self, name: str, *, partitions: int = 1, **configs: str) -> None:
        """Create a topic; a setting is its key with underscores."""
        keys = {key.replace("_", "."): value for key, value in configs.items()}
        topic = NewTopic(name=name, partitions=partitions, configs=keys)
        (created,) = await self.driver.submit(CreateTopics(topics=(topic,)), timeout_ms=TIMEOUT_MS)
        assert created.error is None, created.error

    async def start_broker(
        self, broker: int, *, rack: str = "", listeners: tuple[BrokerListener, ...] = ()
    ) -> None:
        request_to_join = registration(broker, rack=rack, listeners=listeners)
        epoch = await self.driver.submit(request_to_join, timeout_ms=TIMEOUT_MS)
        request = UnfenceBroker(broker_id=BrokerId(broker), broker_epoch=epoch)
        await self.driver.submit(request, timeout_ms=TIMEOUT_MS)

    def step_down(self) -> None:
        """Let broker 2 lead the quorum."""
        self.driver.role_changed(RoleChanged(Role.FOLLOWER, 2, BrokerId(2)))

    def _applied(self) -> None:
        if self.publishes:
            self.metadata.publish(self.machine.image)

    def _new_topic_id(self) -> TopicId:
        self._topic_ids += 1
        return TopicId(UUID(int=self._topic_ids))


@asynccontextmanager
async def control_plane(
    *, brokers: int = 1, defaults: TopicDefaults | None = None
) -> AsyncIterator[ControlPlane]:
    """Run a controller with so many brokers in its cluster."""
    plane = ControlPlane(defaults or TopicDefaults())
    running = asyncio.create_task(plane.driver.run())
    try:
        plane.driver.role_changed(RoleChanged(Role.LEADER, 1, ME))
        await plane.driver.wait_active()
        for broker in range(1, brokers + 1):
            await plane.start_broker(broker)
        yield plane
        assert not running.done(), "the driver has failed"
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def create(*names: str) -> CreateTopics:
    """Ask for topics of one partition."""
    return CreateTopics(topics=tuple(NewTopic(name=name, partitions=1) for name in names))


def grow(name: str, partitions: int) -> CreatePartitions:
    """Ask for partitions."""
    return CreatePartitions(topics=(NewPartitions(name=name, partitions=partitions),))


class Hosted:
    """The partitions that this broker leads, as a table."""

    def __init__(self) -> None:
        self.led: dict[TopicPartition, HostedPartitionDescription] = {}
        self.directories: list[LogDirectoryDescription] = []
        self.offline: dict[TopicPartition, StorageError] = {}
        self.directory_failure: StorageError | None = None

    def describe_partition(
        self, topic_partition: TopicPartition
    ) -> HostedPartitionDescription | None:
        return self.led.get(topic_partition)

    def why_offline(self, topic_partition: TopicPartition) -> StorageError | None:
        return self.offline.get(topic_partition)

    def offline_partitions(self) -> Collection[TopicPartition]:
        return self.offline.keys()

    def describe_log_directories(self) -> list[LogDirectoryDescription]:
        return self.directories


def code(result: object) -> str:
    """Return the name of the error that a result is, or ``NONE``."""
    return result.name if isinstance(result, OttlaError) else "NONE"


def codes(results: object) -> list[str]:
    """Return the same of several."""
    assert isinstance(results, list)
    return [code(result) for result in results]
