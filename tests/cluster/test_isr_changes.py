"""A leader hears that its proposal was refused only when no copy of it can be applied any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from ottla.cluster.isr_changes import REFUSALS_BEFORE_WITHDRAWAL, Answer, IsrChanges
from ottla.controller.requests import AlterPartition, AlterPartitions, Asks, PartitionResult
from ottla.model.errors import (
    FencedLeaderEpochError,
    IneligibleReplicaError,
    InvalidUpdateVersionError,
    NotControllerError,
    OttlaError,
    RequestTimedOutError,
    StaleBrokerEpochError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicPartition
from ottla.replication.leader import FollowerFetched
from tests.cluster.following import ORDERS, THIRD, Leading
from tests.cluster.world import ME, OTHER, until

BEFORE, WANTED = [ME, OTHER], [ME, OTHER, THIRD]
APPLIED = None
INELIGIBLE = IneligibleReplicaError("broker 3 is fenced")
LOST = RequestTimedOutError("no answer")
OF_A_REQUEST = (
    RequestTimedOutError,
    NotControllerError,
    ThrottlingQuotaExceededError,
    StaleBrokerEpochError,
)


class FakeController:
    """Answers as the test says, and notes what it was asked."""

    def __init__(self) -> None:
        self.requests: list[AlterPartitions] = []
        self.answers: list[OttlaError | None] = [APPLIED]
        """The next ones; the last of them for ever."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def submit(self, request: Asks[Answer], *, timeout_ms: int) -> Answer:
        assert timeout_ms > 0
        assert isinstance(request, AlterPartitions)
        self.requests.append(request)
        await self.may_answer.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OF_A_REQUEST):
            raise answer
        results = tuple(
            PartitionResult(topic_partition=TopicPartition("orders", asked.partition), error=answer)
            for asked in request.partitions
        )
        return cast("Answer", results)

    @property
    def asked(self) -> list[AlterPartition]:
        return [partition for request in self.requests for partition in request.partitions]

    @property
    def members(self) -> list[list[BrokerId]]:
        return [[member.broker_id for member in asked.isr] for asked in self.asked]


class Proposing(Leading):
    """Brokers 1 and 2 are in sync in ``orders``; broker 3 is ready to join."""

    async def start(self) -> None:
        await super().start()
        self.controller = FakeController()
        self.changes = IsrChanges(
            self.controller,
            broker_id=ME,
            broker_epoch=lambda: BrokerEpoch(1),
            retry_backoff_ms=1,
            refused_backoff_ms=2,
        )
        self.propose_isr = self.changes.propose
        self.running = asyncio.create_task(self.changes.run())
        for number in range(3):
            await self.change_partition("orders", number, in_sync_replicas=(ME, OTHER))

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])
        await super().stop()

    def third_catches_up(self, number: int = 0) -> None:
        partition = self.partition("orders", number)
        fetched = FollowerFetched(
            replica=THIRD,
            broker_epoch=BrokerEpoch(1),
            leader_epoch=LeaderEpoch(0),
            fetch_offset=Offset(0),
        )
        partition.step_leader(fetched)

    def proposed(self, number: int = 0) -> frozenset[BrokerId] | None:
        """What the leader believes to be under way."""
        return self.partition("orders", number).leader.statistics().proposed_isr

    async def asked(self, times: int) -> None:
        await until(lambda: len(self.controller.asked) >= times)


@pytest.fixture
async def world() -> AsyncIterator[Proposing]:
    running = Proposing()
    await running.start()
    yield running
    await running.stop()


async def test_proposal_goes_to_the_controller_as_the_leader_made_it(world: Proposing) -> None:
    world.third_catches_up()
    await world.asked(1)

    (request,) = world.controller.requests[:1]
    (asked,) = request.partitions
    assert (request.broker_id, request.broker_epoch) == (ME, 1)
    assert (asked.topic_id, asked.partition, asked.leader_epoch) == (ORDERS, 0, 0)
    assert asked.partition_epoch == 1
    assert world.controller.members[0] == WANTED


async def test_committed_proposal_ends_with_the_image_that_tells_of_it(world: Proposing) -> None:
    world.third_catches_up()
    await world.asked(1)

    await world.change_partition("orders", 0, in_sync_replicas=(ME, OTHER, THIRD))

    await until(lambda: "0 without" in repr(world.changes))
    assert world.proposed() is None


async def test_proposals_made_meanwhile_go_together(world: Proposing) -> None:
    world.controller.may_answer.clear()
    world.third_catches_up(0)
    await world.asked(1)
    world.third_catches_up(1)
    world.third_catches_up(2)

    world.controller.may_answer.set()

    await until(lambda: len(world.controller.requests) >= 2)
    assert {asked.partition for asked in world.controller.requests[1].partitions} >= {1, 2}


async def test_refusal_reaches_the_leader(world: Proposing) -> None:
    world.controller.answers = [INELIGIBLE]

    world.third_catches_up()

    await until(lambda: world.controller.asked and world.proposed() is None)


@pytest.mark.parametrize("error", [NotControllerError("x"), ThrottlingQuotaExceededError("x")])
async def test_proposal_that_nobody_looked_at_is_made_again(
    world: Proposing, error: OttlaError
) -> None:
    world.controller.answers = [error, error, INELIGIBLE]

    world.third_catches_up()

    await until(lambda: world.proposed() is None)
    assert world.controller.members == [WANTED] * 3


async def test_refusal_of_the_broker_itself_is_a_refusal(world: Proposing) -> None:
    world.controller.answers = [StaleBrokerEpochError("registered again")]

    world.third_catches_up()

    await until(lambda: world.controller.asked and world.proposed() is None)


@pytest.mark.parametrize("error", [InvalidUpdateVersionError("x"), FencedLeaderEpochError("x")])
async def test_partition_that_has_changed_is_no_refusal(
    world: Proposing, error: OttlaError
) -> None:
    """It may have changed because an earlier copy was applied."""
    world.controller.answers = [error]

    world.third_catches_up()
    await world.asked(3)

    assert world.proposed() == frozenset(WANTED)


async def test_lost_proposal_is_made_again_as_it_was(world: Proposing) -> None:
    world.controller.answers = [LOST, LOST, APPLIED]

    world.third_catches_up()
    await world.asked(3)

    assert world.controller.members[:3] == [WANTED] * 3
    assert len(set(world.controller.asked)) == 1
    assert world.proposed() == frozenset(WANTED)


async def test_refusal_after_a_lost_copy_is_none_until_the_proposal_is_withdrawn(
    world: Proposing,
) -> None:
    world.controller.answers = [LOST, INELIGIBLE]

    world.third_catches_up()
    await until(lambda: BEFORE in world.controller.members)

    copies = world.controller.members.index(BEFORE)
    assert copies == 1 + REFUSALS_BEFORE_WITHDRAWAL
    assert world.controller.asked[copies].partition_epoch == 1
    assert world.proposed() == frozenset(WANTED)
    world.controller.answers = [APPLIED]
    # The controller has given the partition a new epoch, with the same set.
    await world.change_partition("orders", 0, in_sync_replicas=(ME, OTHER))
    await until(lambda: world.proposed() is None or len(world.controller.asked) > copies + 1)


async def test_partition_that_is_led_no_more_is_forgotten(world: Proposing) -> None:
    world.controller.answers = [LOST]
    world.third_catches_up()
    await world.asked(1)

    await world.change_partition("orders", 0, leader=OTHER)

    await until(lambda: "0 without" in repr(world.changes))


async def test_proposal_of_a_later_reign_replaces_that_of_an_earlier(world: Proposing) -> None:
    world.controller.may_answer.clear()
    world.third_catches_up()
    await world.asked(1)
    await world.change_partition("orders", 0, leader=OTHER)
    await world.change_partition("orders", 0, leader=ME)
    world.controller.answers = [INELIGIBLE]
    partition = world.partition("orders")
    partition.step_leader(
        FollowerFetched(
            replica=THIRD,
            broker_epoch=BrokerEpoch(1),
            leader_epoch=LeaderEpoch(2),
            fetch_offset=Offset(0),
        )
    )

    world.controller.may_answer.set()

    await world.asked(2)
    assert world.controller.asked[1].leader_epoch == 2
