"""Members of a group share partitions, and what they were not done with is read again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ottla.client.admin import Admin
from ottla.client.consumer import Consumer
from ottla.client.consumer_record import ConsumerRecord
from ottla.client.group_offsets import OffsetAndMetadata
from ottla.coordinator.requests import CommitOffsets, ConsumerHeartbeat
from ottla.model.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    FencedMemberEpochError,
    GroupIdNotFoundError,
    InvalidRegularExpressionError,
    InvalidRequestError,
    NonEmptyGroupError,
    StaleMemberEpochError,
)
from ottla.model.ids import TopicPartition
from tests.client.fake_broker import FakeCluster
from tests.client.test_consumer import WEB_0, WEB_1, WEB_2, fill, offsets, take
from tests.client.waiting import until

ALL = {WEB_0, WEB_1, WEB_2}


def member(cluster: FakeCluster, *topics: str, **options: object) -> Consumer:
    """A member of the group ``mine`` that begins at the beginning and loses no time."""
    return Consumer(
        *topics,
        bootstrap_servers=cluster.bootstrap,
        **{  # type: ignore[arg-type]
            "group_id": "mine",
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 3_600_000,
            "retry_backoff_ms": 2,
            "retry_backoff_max_ms": 10,
            **options,
        },
    )


async def committed(cluster: FakeCluster) -> dict[TopicPartition, int]:
    async with Admin(cluster.bootstrap) as admin:
        offsets_of = await admin.group_offsets("mine")
    return {each: found.offset for each, found in offsets_of.items() if found is not None}


async def reads(consumer: Consumer, partitions: set[TopicPartition]) -> None:
    await until(lambda: consumer.assignment() == partitions)


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, set[TopicPartition]]] = []

    async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(("assigned", set(partitions)))

    async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(("revoked", set(partitions)))

    async def on_partitions_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(("lost", set(partitions)))


# --- Who reads what -----------------------------------------------------------------------------


async def test_only_member_reads_everything(trio: FakeCluster) -> None:
    for number in range(3):
        await fill(trio, 10, partition=number)

    async with member(trio, "web") as consumer:
        records = await take(consumer, 30)

    assert {record.topic_partition for record in records} == ALL


async def test_two_members_share_the_partitions(trio: FakeCluster) -> None:
    async with member(trio, "web") as one, member(trio, "web") as other:
        await until(lambda: one.assignment() | other.assignment() == ALL)
        await until(lambda: {len(one.assignment()), len(other.assignment())} == {1, 2})

        assert not one.assignment() & other.assignment()


async def test_member_that_is_left_takes_over_where_the_other_one_was_done(
    trio: FakeCluster,
) -> None:
    for number in range(3):
        await fill(trio, 10, partition=number)
    async with member(trio, "web") as one:
        async with member(trio, "web") as other:
            await until(lambda: len(other.assignment()) == 1)
            theirs = await take(other, 10)
        ours = await take(one, 20)

        assert {record.topic_partition for record in theirs}.isdisjoint(
            record.topic_partition for record in ours
        )
        await reads(one, ALL)


async def test_partition_is_given_up_only_when_its_records_are_done_with(
    trio: FakeCluster,
) -> None:
    for number in range(3):
        await fill(trio, 1, partition=number)
    async with member(trio, "web") as one:
        await take(one, 3)
        async with member(trio, "web") as other:
            await until(lambda: len(trio.groups.asked) > 8)
            assert other.assignment() == set()

            # Whoever comes back for more is done with what it had.
            await one.getmany()
            await until(lambda: len(other.assignment()) == 1)
            assert await other.getmany(timeout_ms=20) == {}


async def test_topic_that_grows_is_read_without_being_asked_for(trio: FakeCluster) -> None:
    async with member(trio, "web") as consumer:
        await reads(consumer, ALL)
        trio.create("web", 4)

        await reads(consumer, {*ALL, TopicPartition("web", 3)})


async def test_pattern_finds_topics_that_come_later(cluster: FakeCluster) -> None:
    consumer = member(cluster)
    consumer.subscribe(pattern=r"logs\..*")
    async with consumer:
        assert consumer.assignment() == set()
        cluster.create("logs.today")

        await reads(consumer, {TopicPartition("logs.today", 0)})


async def test_subscription_can_be_changed_while_reading(cluster: FakeCluster) -> None:
    cluster.create("news")
    async with member(cluster, "web") as consumer:
        await reads(consumer, {WEB_0})

        consumer.subscribe("news")

        await reads(consumer, {TopicPartition("news", 0)})


async def test_listener_is_told_what_comes_and_goes(trio: FakeCluster) -> None:
    listener = Listener()
    one = member(trio)
    one.subscribe("web", listener=listener)
    async with one:
        await until(lambda: listener.told)
        async with member(trio, "web") as other:
            await until(lambda: len(other.assignment()) == 1)
            gone = set(other.assignment())

    assert listener.told[:2] == [("assigned", ALL), ("revoked", gone)]


async def test_static_member_that_comes_back_reads_what_it_read(trio: FakeCluster) -> None:
    async with member(trio, "web", group_instance_id="a") as one:
        async with member(trio, "web", group_instance_id="b") as other:
            await until(lambda: len(other.assignment()) == 1)
            before = other.assignment()
            kept = one.assignment()
        async with member(trio, "web", group_instance_id="b") as again:
            await reads(again, before)

            assert one.assignment() == kept


# --- Commits ------------------------------------------------------------------------------------


async def test_group_goes_on_where_it_has_committed(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web") as consumer:
        await take(consumer, 4)
    async with member(cluster, "web") as consumer:
        records = await take(consumer, 6)

    assert offsets(records) == [4, 5, 6, 7, 8, 9]


async def test_record_in_hand_is_not_committed_by_itself(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", auto_commit_interval_ms=1) as consumer:
        await take(consumer, 3)
        await consumer.getone()
        await until(lambda: any(isinstance(each, CommitOffsets) for each in cluster.groups.asked))

        assert await committed(cluster) == {WEB_0: 3}


async def test_record_on_which_the_application_failed_is_read_again(cluster: FakeCluster) -> None:
    await fill(cluster, 10)

    async def fail() -> None:
        async with member(cluster, "web") as consumer:
            async for record in consumer:
                _fail_at(record, 5)

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await committed(cluster) == {WEB_0: 5}


async def test_record_after_which_the_application_ends_is_committed(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web") as consumer:
        async for record in consumer:
            if record.offset == 5:
                break

    assert await committed(cluster) == {WEB_0: 6}


async def test_without_automatic_commits_nothing_is_committed(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await take(consumer, 5)

    assert await committed(cluster) == {}


async def test_commit_by_hand_commits_everything_handed_out(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await take(consumer, 5)
        await consumer.commit()

        assert await consumer.committed() == {WEB_0: OffsetAndMetadata(5)}


async def test_what_is_said_with_an_offset_comes_back(cluster: FakeCluster) -> None:
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await reads(consumer, {WEB_0})
        said = OffsetAndMetadata(7, leader_epoch=3, metadata="half way")
        await consumer.commit({WEB_0: said})

        assert await consumer.committed([WEB_0]) == {WEB_0: said}


async def test_consumer_of_assigned_partitions_commits_for_an_empty_group(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with member(cluster) as consumer:
        consumer.assign([WEB_0])
        await take(consumer, 5)
        await consumer.commit()

    assert await committed(cluster) == {WEB_0: 5}


async def test_commit_with_an_old_epoch_is_made_again_with_the_new_one(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await take(consumer, 5)
        cluster.groups.plan = iter([StaleMemberEpochError("the fake says so")])

        await consumer.commit()

    assert await committed(cluster) == {WEB_0: 5}


async def test_lag_counts_from_where_the_application_is(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web") as consumer:
        await take(consumer, 4)

        assert await consumer.lag() == {WEB_0: 6}


@pytest.mark.parametrize("offset", [-1, OffsetAndMetadata(-5)])
async def test_negative_offset_is_not_committed(
    cluster: FakeCluster, offset: int | OffsetAndMetadata
) -> None:
    async with member(cluster, "web") as consumer:
        with pytest.raises(InvalidRequestError, match="offsets begin at 0"):
            await consumer.commit({WEB_0: offset})


async def test_consumer_without_a_group_has_nothing_to_commit_for(cluster: FakeCluster) -> None:
    async with Consumer("web", bootstrap_servers=cluster.bootstrap) as consumer:
        with pytest.raises(InvalidRequestError, match="give it a group_id"):
            await consumer.commit()
        with pytest.raises(InvalidRequestError, match="give the consumer a group_id"):
            consumer.subscribe("web")


# --- What goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [CoordinatorLoadInProgressError("later"), CoordinatorNotAvailableError("later")]
)
async def test_coordinator_that_starts_is_waited_for(
    cluster: FakeCluster, error: CoordinatorLoadInProgressError
) -> None:
    await fill(cluster, 3)
    cluster.groups.plan = iter([error, error, None, error])

    async with member(cluster, "web") as consumer:
        assert len(await take(consumer, 3)) == 3


async def test_coordinator_that_moves_is_followed_without_losing_a_partition(
    trio: FakeCluster,
) -> None:
    listener = Listener()
    consumer = member(trio)
    consumer.subscribe("web", listener=listener)
    async with consumer:
        await until(lambda: listener.told)

        trio.groups.move(to=2)
        await fill(trio, 5)
        await take(consumer, 5)
        await consumer.commit()

        assert listener.told == [("assigned", ALL)]
    assert (await committed(trio))[WEB_0] == 5


async def test_member_that_is_taken_for_dead_loses_its_partitions_and_joins_again(
    cluster: FakeCluster,
) -> None:
    listener = Listener()
    consumer = member(cluster)
    consumer.subscribe("web", listener=listener)
    async with consumer:
        await until(lambda: listener.told)

        cluster.groups.expire_members()

        await until(lambda: len(listener.told) == 3)
    assert [kind for kind, _ in listener.told] == ["assigned", "lost", "assigned", "revoked"]


async def test_member_that_is_fenced_reads_again_from_what_was_committed(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await take(consumer, 3)
        await consumer.commit()
        await take(consumer, 2)

        cluster.groups.plan = iter([FencedMemberEpochError("the fake says so")])
        cluster.groups.topics_changed()
        consumer.subscribe("web", pattern="nothing")
        await until(lambda: not consumer.assignment())
        records = await take(consumer, 7)

    assert offsets(records) == [3, 4, 5, 6, 7, 8, 9]


async def test_application_that_does_not_come_back_leaves_and_joins_when_it_does(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    consumer = member(cluster, max_poll_interval_ms=20)
    listener = Listener()
    consumer.subscribe("web", listener=listener)
    async with consumer:
        await consumer.getone()
        await until(lambda: "lost" in [kind for kind, _ in listener.told])

        assert (await consumer.getone()).offset == 0


async def test_subscription_that_makes_no_sense_ends_the_consumer(cluster: FakeCluster) -> None:
    consumer = member(cluster)
    consumer.subscribe(pattern="(")

    with pytest.raises(InvalidRegularExpressionError):
        await consumer.start()


async def test_listener_that_fails_ends_the_consumer(cluster: FakeCluster) -> None:
    class Failing(Listener):
        async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
            raise ZeroDivisionError(partitions)

    consumer = member(cluster)
    consumer.subscribe("web", listener=Failing())
    async with consumer:
        with pytest.raises(Exception, match="ZeroDivisionError"):
            await consumer.getone()


async def test_member_that_stops_leaves_the_group(cluster: FakeCluster) -> None:
    async with member(cluster, "web"):
        pass

    last = [each for each in cluster.groups.asked if isinstance(each, ConsumerHeartbeat)][-1]
    assert last.member_epoch == -1


# --- Administration -------------------------------------------------------------------------------


async def test_groups_are_listed_with_their_state(cluster: FakeCluster) -> None:
    async with member(cluster, "web") as consumer, Admin(cluster.bootstrap) as admin:
        await reads(consumer, {WEB_0})
        (listing,) = await admin.list_groups()
        none = await admin.list_groups(types=["classic"])

    assert (listing.group_id, listing.type, none) == ("mine", "consumer", [])


async def test_description_says_who_reads_what(cluster: FakeCluster) -> None:
    async with (
        member(cluster, "web", client_id="reader") as consumer,
        Admin(cluster.bootstrap) as admin,
    ):
        await reads(consumer, {WEB_0})
        described = await admin.describe_group("mine")

    (only,) = described.members
    assert (only.client_id, only.assignment) == ("reader", frozenset({WEB_0}))
    assert described.coordinator_id == 1


async def test_unknown_group_cannot_be_described(cluster: FakeCluster) -> None:
    async with Admin(cluster.bootstrap) as admin:
        with pytest.raises(GroupIdNotFoundError):
            await admin.describe_group("nobody")


async def test_group_with_members_is_not_deleted(cluster: FakeCluster) -> None:
    async with member(cluster, "web"), Admin(cluster.bootstrap) as admin:
        with pytest.raises(NonEmptyGroupError):
            await admin.delete_group("mine")


async def test_offsets_of_an_empty_group_can_be_set_and_forgotten(cluster: FakeCluster) -> None:
    async with Admin(cluster.bootstrap) as admin:
        await admin.alter_group_offsets("mine", {WEB_0: 5})
        before = await admin.group_offsets("mine")
        await admin.delete_group_offsets("mine", [WEB_0])

        assert before == {WEB_0: OffsetAndMetadata(5)}
        assert await admin.group_offsets("mine") == {}


def _fail_at(record: ConsumerRecord, offset: int) -> None:
    if record.offset == offset:
        raise ZeroDivisionError
