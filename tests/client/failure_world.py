"""Three brokers whose leaders move, die and hang by a seeded plan, and a history that is checked.

What is committed is never lost. What a leader has appended and not yet committed when it falls may
survive or not, as the plan says; a leader that hung and wakes up finds that it leads no more.
"""

from __future__ import annotations

import asyncio
import random

from ottla.client.consumer import Consumer
from ottla.client.producer import Producer
from tests.client.fake_broker import FakeBroker, FakeCluster

PARTITIONS = 3
PAUSE_S = 0.004
"""Between two events."""


class FailureWorld:
    """See above; ``events`` of them happen, then everything is well again."""

    def __init__(self, cluster: FakeCluster, seed: int, *, events: int = 12) -> None:
        self.cluster = cluster
        self.random = random.Random(seed)
        self.events = events
        self.kills = seed % 4 == 0
        self.sent: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self.seen: list[list[tuple[int, bytes | None]]] = [[] for _ in range(PARTITIONS)]
        for partition in cluster.topics["web"]:
            partition.replicates = True

    # --- What happens -----------------------------------------------------------------------

    async def run(self) -> None:
        """Let the events happen, one after another."""
        kinds = [self.hang, self.hang, self.hang, self.wake, self.move, self.move, self.cut_off]
        if self.kills:
            kinds.append(self.kill)
        for _ in range(self.events):
            await asyncio.sleep(PAUSE_S * self.random.random())
            await self.random.choice(kinds)()
        for broker in self.cluster.brokers:
            broker.wake()
            broker.stale = None
            if not broker.is_up:
                await broker.start()
        self.cluster.tell_metadata()

    async def move(self) -> None:
        """A leader hands over in good order: all that it has, the next one has."""
        self.elect(self.random.randrange(PARTITIONS), loses=False)

    async def hang(self) -> None:
        """A broker stops in its tracks; some time later others lead."""
        broker = self.random.choice(self.able() or self.cluster.brokers)
        if len(self.able()) > 1:
            broker.hang(appends=self.random.random() < 0.7)
            # Until the others notice, it takes in some more.
            await asyncio.sleep(PAUSE_S)
            self.depose(broker)

    async def kill(self) -> None:
        """A broker dies; others lead."""
        broker = self.random.choice(self.cluster.brokers)
        if len(self.able()) > 1 and broker.is_up:
            await broker.stop()
            broker.wake()
            self.depose(broker)

    async def wake(self) -> None:
        """Whoever hung goes on, believing that it leads what it led."""
        for broker in self.cluster.brokers:
            broker.wake()

    async def cut_off(self) -> None:
        """A broker hears of nothing new any more, or again."""
        broker = self.random.choice(self.cluster.brokers)
        if broker.stale is None:
            broker.cut_off()
        else:
            broker.stale = None
            self.cluster.tell_metadata()

    def depose(self, broker: FakeBroker) -> None:
        for number, partition in enumerate(self.cluster.topics["web"]):
            if partition.leader == broker.id:
                self.elect(number, loses=True)

    def elect(self, number: int, *, loses: bool) -> None:
        able = self.able()
        if not able:
            return
        partition = self.cluster.topics["web"][number]
        if loses:
            partition.truncate(self.random.randint(partition.committed, partition.log_end_offset))
        # What a new leader has is committed once it leads.
        partition.commit(partition.log_end_offset)
        self.cluster.move_leader("web", number, to=self.random.choice(able).id)

    def able(self) -> list[FakeBroker]:
        """Return the brokers that may lead."""
        return [each for each in self.cluster.brokers if each.is_up and each.flow.is_set()]

    # --- What is done meanwhile -------------------------------------------------------------

    async def send(self, producer: Producer, count: int) -> None:
        for number in range(count):
            partition = self.random.randrange(PARTITIONS)
            value = b"%d" % number
            self.sent[partition].append(value)
            await producer.send("web", value, partition=partition)
            if self.random.random() < 0.15:
                await asyncio.sleep(PAUSE_S * self.random.random())
        await producer.flush()

    async def read(self, consumer: Consumer, count: int) -> None:
        while sum(map(len, self.seen)) < count:
            for partition, records in (await consumer.getmany(timeout_ms=1_000)).items():
                self.seen[partition.partition] += [(each.offset, each.value) for each in records]

    def check(self) -> None:
        """Every record is in the log once and in order, and was read once and in order."""
        for number, partition in enumerate(self.cluster.topics["web"]):
            assert partition.values() == self.sent[number], f"log of partition {number}"
            assert self.seen[number] == list(enumerate(self.sent[number])), f"read of {number}"
