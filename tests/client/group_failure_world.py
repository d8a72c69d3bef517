"""Members join, leave, hang and dawdle, and their coordinator moves, refuses, forgets, by a seed.

Checked at every moment: a partition is in the hands of one live member, unless the coordinator has
said that the other is none any more; what is committed never goes back, and never passes a record
that nobody was done with. At the end, every record was processed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

from ottla.client.consumer import Consumer
from ottla.coordinator.requests import CommitOffsets
from ottla.model.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
    OttlaError,
    RequestTimedOutError,
)
from ottla.model.ids import TopicPartition
from tests.client.fake_broker import FakeCluster
from tests.client.test_groups import member

PAUSE_S = 0.006
"""Between two events."""

MEMBERS_MAX = 4

REFUSALS: Sequence[OttlaError] = (
    NotCoordinatorError("the fake says so"),
    CoordinatorLoadInProgressError("the fake says so"),
    CoordinatorNotAvailableError("the fake says so"),
    RequestTimedOutError("the fake says so"),
)


class Member:
    """A consumer with an application that processes what it reads, a little later."""

    def __init__(self, world: GroupFailureWorld) -> None:
        self.world = world
        self.random = random.Random(world.random.random())
        self.by_hand = self.random.random() < 0.4
        self.consumer = Consumer()
        self.may_work = asyncio.Event()
        self.may_work.set()
        self.work = asyncio.create_task(self.run())
        self.owns: set[TopicPartition] = set()

    async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        await asyncio.sleep(PAUSE_S * self.random.random())
        self.owns.update(partitions)
        self.world.check_owners()

    async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        await asyncio.sleep(PAUSE_S * self.random.random())
        if self.by_hand:
            with suppress(OttlaError):
                await self.consumer.commit()
        self.owns.difference_update(partitions)

    async def on_partitions_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.owns.difference_update(partitions)

    async def run(self) -> None:
        self.consumer = member(
            self.world.cluster,
            enable_auto_commit=not self.by_hand,
            auto_commit_interval_ms=3,
            request_timeout_ms=600,
        )
        self.consumer.subscribe("web", listener=self)
        async with self.consumer:
            while True:
                await self.read()

    async def read(self) -> None:
        match self.random.randrange(3):
            case 0:
                record = await self.consumer.getone()
                taken = {record.topic_partition: [record]}
            case 1:
                piece = await anext(self.consumer.batches())
                taken = {piece[0].topic_partition: piece}
            case _:
                taken = await self.consumer.getmany(timeout_ms=5, max_records=7)
        await self.may_work.wait()
        if self.random.random() < 0.2:
            await asyncio.sleep(PAUSE_S * self.random.random())
        for partition, records in taken.items():
            self.world.processed[partition].update(record.offset for record in records)
        if self.by_hand and self.random.random() < 0.5:
            with suppress(OttlaError):
                await self.consumer.commit()

    async def leave(self) -> None:
        """Stop in the middle of whatever it does."""
        self.work.cancel()
        self.may_work.set()
        with suppress(asyncio.CancelledError):
            await self.work
        self.owns.clear()


class GroupFailureWorld:
    """See above."""

    def __init__(self, cluster: FakeCluster, seed: int, *, records: int, events: int = 14) -> None:
        self.cluster = cluster
        self.random = random.Random(seed)
        self.records = records
        self.events = events
        self.partitions = [TopicPartition("web", number) for number in range(3)]
        self.processed: dict[TopicPartition, set[int]] = {each: set() for each in self.partitions}
        self.committed: dict[TopicPartition, int] = dict.fromkeys(self.partitions, 0)
        self.members: list[Member] = []
        self.wrong: list[str] = []
        self.fences = 0
        cluster.groups.plan = iter(self.fault, 0)
        cluster.groups.took = self.took

    # --- What happens -----------------------------------------------------------------------

    async def run(self) -> None:
        self.members.append(Member(self))
        kinds = [self.join, self.join, self.leave, self.hang, self.wake, self.move, self.forget]
        for _ in range(self.events):
            await asyncio.sleep(PAUSE_S * self.random.random())
            await self.random.choice(kinds)()
        self.cluster.groups.plan = iter(())
        self.cluster.groups.loses_answers = 0
        await self.wake()
        if not self.members:
            await self.join()

    async def join(self) -> None:
        if len(self.members) < MEMBERS_MAX:
            self.members.append(Member(self))

    async def leave(self) -> None:
        if self.members:
            await self.members.pop(self.random.randrange(len(self.members))).leave()

    async def hang(self) -> None:
        """An application is busy; its member goes on."""
        if self.members:
            self.random.choice(self.members).may_work.clear()

    async def wake(self) -> None:
        for each in self.members:
            each.may_work.set()

    async def move(self) -> None:
        self.cluster.groups.move(to=self.random.choice((1, 2, 3)))

    async def forget(self) -> None:
        """All sessions end: members learn it when they speak next."""
        self.fences += 1
        self.cluster.groups.expire_members()

    def fault(self) -> OttlaError | None:
        if self.random.random() < 0.1:
            return self.random.choice(REFUSALS)
        if self.random.random() < 0.05:
            self.cluster.groups.loses_answers += 1
        return None

    async def finish(self) -> None:
        """Wait until everything was processed, and everybody has left."""
        whole = set(range(self.records))
        async with asyncio.timeout(15):
            while any(self.processed[each] != whole for each in self.partitions):
                self.raise_failures()
                await asyncio.sleep(PAUSE_S)
        for each in self.members:
            await each.leave()
        assert not self.wrong, "; ".join(self.wrong)

    def raise_failures(self) -> None:
        for each in self.members:
            if each.work.done():
                each.work.result()

    # --- What must hold ---------------------------------------------------------------------

    def check_owners(self) -> None:
        """Two may believe that they own a partition only after memberships were lost."""
        for partition in self.partitions:
            owners = [each for each in self.members if partition in each.owns]
            if len(owners) > 1 and not self.fences:
                self.wrong.append(f"{partition} has {len(owners)} owners")

    def took(self, request: object) -> None:
        """The coordinator has accepted a request."""
        if not isinstance(request, CommitOffsets):
            return
        for one in request.offsets:
            partition = one.topic_partition
            if one.offset < self.committed[partition]:
                self.wrong.append(
                    f"{partition} went back from {self.committed[partition]} to {one.offset}"
                )
            self.committed[partition] = one.offset
            skipped = set(range(one.offset)) - self.processed[partition]
            if skipped:
                self.wrong.append(f"{partition} committed {one.offset}, not done {sorted(skipped)}")
