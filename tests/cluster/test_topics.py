"""Topics are created, deleted, grown and described as ``topics.proto`` says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.cluster.services import (
    HostedPartitionDescription,
    PartitionsToCreate,
    TopicCreated,
    TopicToCreate,
)
from ottla.cluster.topics import BrokerTopicsService
from ottla.controller.requests import DeleteTopics
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import (
    InvalidRequestError,
    NotControllerError,
    OttlaError,
    RequestTimedOutError,
    StorageError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import Offset, TopicPartition
from ottla.model.limits import (
    ADMIN_TIMEOUT_DEFAULT_MS,
    ADMIN_TIMEOUT_MAX_MS,
    PARTITIONS_PER_REQUEST_MAX,
    PARTITIONS_PER_TOPIC_MAX,
    TOPIC_NAME_CHARACTERS_MAX,
    TOPICS_PER_REQUEST_MAX,
)
from tests.cluster.control_plane import ControlPlane, Hosted, code, codes, control_plane
from tests.cluster.virtual_time import let_pass, now_ms, run_in_virtual_time

DEFAULT_PARTITIONS = 3


class World:
    """One broker of two, which is the controller, with its topics."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.hosted = Hosted()
        self.service = BrokerTopicsService(plane.driver, plane.metadata, self.hosted)

    async def create(
        self, *topics: TopicToCreate | str, validate_only: bool = False, timeout_ms: int = 0
    ) -> list[TopicCreated | OttlaError]:
        wanted = [TopicToCreate(topic) if isinstance(topic, str) else topic for topic in topics]
        return await self.service.create_topics(
            wanted, validate_only=validate_only, timeout_ms=timeout_ms
        )

    async def grow(self, *totals: tuple[str, int], validate_only: bool = False) -> list[str]:
        wanted = [PartitionsToCreate(name, total) for name, total in totals]
        return codes(await self.service.create_partitions(wanted, validate_only=validate_only))

    def described(self, *names: str, include_internal: bool = False) -> dict[str, str]:
        results = self.service.describe_topics(names, include_internal=include_internal)
        return {name: code(result) for name, result in results}

    def partition_count(self, name: str) -> int:
        return len(self.plane.topic(name).partitions)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with control_plane(brokers=2, defaults=DEFAULTS) as plane:
        yield World(plane)


DEFAULTS = TopicDefaults(partitions=DEFAULT_PARTITIONS, replication_factor=2)

# --- Create -------------------------------------------------------------------------


async def test_created_topic_is_in_the_brokers_metadata_when_the_answer_comes(world: World) -> None:
    await world.create("web")

    assert "web" in world.plane.metadata.image.topics


async def test_answer_names_the_id_of_the_topic(world: World) -> None:
    (created,) = await world.create("web")

    assert isinstance(created, TopicCreated)
    assert created.topic_id == world.plane.topic("web").topic_id.bytes


async def test_topic_that_follows_another_of_its_name_has_another_id(world: World) -> None:
    (first,) = await world.create("web")
    await world.service.delete_topics(["web"])
    (second,) = await world.create("web")

    assert isinstance(first, TopicCreated)
    assert isinstance(second, TopicCreated)
    assert first.topic_id != second.topic_id


async def test_no_number_of_partitions_is_the_brokers_default(world: World) -> None:
    (created,) = await world.create(TopicToCreate("web", partitions=None))

    assert isinstance(created, TopicCreated)
    assert created.partitions == world.partition_count("web") == DEFAULT_PARTITIONS


async def test_no_number_of_replicas_is_the_brokers_default(world: World) -> None:
    (created,) = await world.create(TopicToCreate("web", replication_factor=None))

    assert isinstance(created, TopicCreated)
    assert created.replication_factor == len(world.plane.topic("web").partitions[0].replicas) == 2


async def test_numbers_that_are_given_count(world: World) -> None:
    (created,) = await world.create(TopicToCreate("web", partitions=5, replication_factor=1))

    assert isinstance(created, TopicCreated)
    assert (created.partitions, created.replication_factor) == (5, 1)


async def test_settings_are_the_topics_own(world: World) -> None:
    await world.create(TopicToCreate("web", configs={"retention.ms": "1000"}))

    assert world.plane.topic("web").configs == {"retention.ms": "1000"}


@pytest.mark.parametrize(
    ("topic", "error"),
    [
        (TopicToCreate(""), "INVALID_TOPIC_EXCEPTION"),
        (TopicToCreate("."), "INVALID_TOPIC_EXCEPTION"),
        (TopicToCreate(".."), "INVALID_TOPIC_EXCEPTION"),
        (TopicToCreate("a b"), "INVALID_TOPIC_EXCEPTION"),
        (TopicToCreate("x" * (TOPIC_NAME_CHARACTERS_MAX + 1)), "INVALID_TOPIC_EXCEPTION"),
        (TopicToCreate("x" * TOPIC_NAME_CHARACTERS_MAX), "NONE"),
        (TopicToCreate("present"), "TOPIC_ALREADY_EXISTS"),
        (TopicToCreate("web", partitions=-1), "INVALID_PARTITIONS"),
        (TopicToCreate("web", partitions=0), "INVALID_PARTITIONS"),
        (TopicToCreate("web", partitions=PARTITIONS_PER_TOPIC_MAX + 1), "INVALID_PARTITIONS"),
        (TopicToCreate("web", replication_factor=-1), "INVALID_REPLICATION_FACTOR"),
        (TopicToCreate("web", replication_factor=0), "INVALID_REPLICATION_FACTOR"),
        (TopicToCreate("web", replication_factor=3), "INVALID_REPLICATION_FACTOR"),
        (TopicToCreate("web", configs={"no.such": "1"}), "INVALID_CONFIG"),
        (TopicToCreate("web", configs={"retention.ms": "soon"}), "INVALID_CONFIG"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value}"[:60],
)
async def test_topic_that_cannot_be_created_is_answered_with_the_reason(
    world: World, topic: TopicToCreate, error: str
) -> None:
    await world.create("present")

    assert codes(await world.create(topic)) == [error]


async def test_topic_that_is_refused_does_not_disturb_the_others(world: World) -> None:
    results = await world.create("a", "?", "b")

    assert codes(results) == ["NONE", "INVALID_TOPIC_EXCEPTION", "NONE"]
    assert set(world.plane.image.topics) == {"a", "b"}


async def test_name_that_a_request_has_twice_is_refused_both_times(world: World) -> None:
    assert codes(await world.create("a", "a")) == ["INVALID_REQUEST", "INVALID_REQUEST"]


async def test_validating_creates_nothing(world: World) -> None:
    assert codes(await world.create("web", validate_only=True)) == ["NONE"]

    assert not world.plane.image.topics


async def test_validating_answers_what_would_be_made(world: World) -> None:
    assert await world.create("web", validate_only=True) == [TopicCreated(bytes(16), 3, 2)]


async def test_validating_refuses_what_creating_refuses(world: World) -> None:
    assert codes(await world.create("?", validate_only=True)) == ["INVALID_TOPIC_EXCEPTION"]


async def test_as_many_topics_as_the_limit_are_created_at_once(world: World) -> None:
    names = [f"t{number}" for number in range(TOPICS_PER_REQUEST_MAX)]

    assert codes(await world.create(*names)) == ["NONE"] * TOPICS_PER_REQUEST_MAX


async def test_more_topics_than_the_limit_are_an_invalid_request(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        await world.create(*(f"t{number}" for number in range(TOPICS_PER_REQUEST_MAX + 1)))


async def test_defaults_count_towards_the_limit_of_partitions(world: World) -> None:
    most = TopicToCreate("most", partitions=PARTITIONS_PER_REQUEST_MAX - DEFAULT_PARTITIONS + 1)

    with pytest.raises(InvalidRequestError):
        await world.create(most, "few")


@pytest.mark.parametrize("timeout_ms", [-1, ADMIN_TIMEOUT_MAX_MS + 1])
async def test_timeout_out_of_range_is_an_invalid_request(world: World, timeout_ms: int) -> None:
    with pytest.raises(InvalidRequestError):
        await world.create("web", timeout_ms=timeout_ms)


async def test_longest_timeout_is_accepted(world: World) -> None:
    assert codes(await world.create("web", timeout_ms=ADMIN_TIMEOUT_MAX_MS)) == ["NONE"]


async def test_broker_that_is_not_the_controller_says_so(world: World) -> None:
    world.plane.step_down()

    with pytest.raises(NotControllerError):
        await world.create("web")


async def test_quorum_that_is_overloaded_makes_the_request_fail(world: World) -> None:
    world.plane.quorum.failures = [ThrottlingQuotaExceededError("full")]

    with pytest.raises(ThrottlingQuotaExceededError):
        await world.create("web")


# --- Waiting for leaders ------------------------------------------------------------


def lose_leaders_once_created(world: World, *brokers: int) -> None:
    """Take these brokers, or both, out of service as soon as the next change is made."""

    def lose() -> None:
        world.plane.quorum.after_each = lambda: None
        for broker in brokers or (1, 2):
            world.plane.fence(broker)

    world.plane.quorum.after_each = lose


async def create_without_leaders(timeout_ms: int) -> tuple[list[str], int, set[str]]:
    async with control_plane(brokers=2, defaults=DEFAULTS) as plane:
        world = World(plane)
        lose_leaders_once_created(world)
        results = await world.create("web", "?", timeout_ms=timeout_ms)
        return codes(results), now_ms(), set(plane.image.topics)


def test_topic_whose_leaders_are_late_times_out_and_exists() -> None:
    answers, _, topics = run_in_virtual_time(create_without_leaders(500))

    assert answers == ["REQUEST_TIMED_OUT", "INVALID_TOPIC_EXCEPTION"]
    assert topics == {"web"}


def test_creation_waits_for_leaders_as_long_as_it_was_told() -> None:
    _, took_ms, _ = run_in_virtual_time(create_without_leaders(500))

    assert took_ms == 500


def test_timeout_of_zero_is_thirty_seconds() -> None:
    _, took_ms, _ = run_in_virtual_time(create_without_leaders(0))

    assert took_ms == ADMIN_TIMEOUT_DEFAULT_MS == 30_000


def test_only_the_topic_without_leader_is_late() -> None:
    async def scenario() -> None:
        async with control_plane(brokers=2) as plane:
            world = World(plane)
            lose_leaders_once_created(world, 1)
            results = await world.create("a", "b", timeout_ms=500)
            # The topics have one replica each, on different brokers.
            leaders = [plane.topic(name).partitions[0].leader for name in ("a", "b")]
            assert sorted(leaders) == [-1, 2]
            late = {-1: "REQUEST_TIMED_OUT", 2: "NONE"}
            assert codes(results) == [late[leader] for leader in leaders]

    run_in_virtual_time(scenario())


def test_topic_is_late_while_any_of_its_partitions_has_no_leader() -> None:
    async def scenario() -> list[str]:
        async with control_plane(brokers=2) as plane:
            world = World(plane)
            lose_leaders_once_created(world, 1)
            results = await world.create(TopicToCreate("web", partitions=2), timeout_ms=500)
            assert sorted(part.leader for part in plane.topic("web").partitions) == [-1, 2]
            return codes(results)

    assert run_in_virtual_time(scenario()) == ["REQUEST_TIMED_OUT"]


def test_creation_is_answered_once_the_leaders_are_elected() -> None:
    async def scenario() -> tuple[list[str], int]:
        async with control_plane(brokers=2, defaults=DEFAULTS) as plane:
            world = World(plane)
            lose_leaders_once_created(world)
            creating = asyncio.create_task(world.create("web", timeout_ms=500))
            await let_pass(200)
            # The last that was in sync, and so the only one that may lead.
            await plane.start_broker(2)
            return codes(await creating), now_ms()

    assert run_in_virtual_time(scenario()) == (["NONE"], 200)


def test_topic_that_is_deleted_meanwhile_is_not_waited_for() -> None:
    async def scenario() -> tuple[list[str], int]:
        async with control_plane(brokers=2, defaults=DEFAULTS) as plane:
            world = World(plane)

            def delete() -> None:
                plane.quorum.after_each = lambda: None
                plane.intrude(DeleteTopics(names=("web",)))

            plane.quorum.after_each = delete
            return codes(await world.create("web", timeout_ms=500)), now_ms()

    assert run_in_virtual_time(scenario()) == (["NONE"], 0)


def test_change_and_election_share_one_deadline() -> None:
    async def scenario() -> int:
        async with control_plane(brokers=2, defaults=DEFAULTS) as plane:
            world = World(plane)
            lose_leaders_once_created(world)
            plane.publishes = False
            creating = asyncio.create_task(world.create("web", timeout_ms=500))
            await let_pass(300)
            plane.publish()
            assert codes(await creating) == ["REQUEST_TIMED_OUT"]
            return now_ms()

    assert run_in_virtual_time(scenario()) == 500


def test_request_fails_as_a_whole_if_the_change_itself_is_late() -> None:
    async def scenario() -> None:
        async with control_plane(brokers=2, defaults=DEFAULTS) as plane:
            plane.publishes = False
            with pytest.raises(RequestTimedOutError):
                await World(plane).create("web", timeout_ms=500)

    run_in_virtual_time(scenario())


# --- Delete -------------------------------------------------------------------------


async def test_deleted_topic_is_gone_when_the_answer_comes(world: World) -> None:
    await world.create("web")

    assert await world.service.delete_topics(["web"]) == [None]
    assert "web" not in world.plane.metadata.image.topics


async def test_topic_that_is_not_there_cannot_be_deleted(world: World) -> None:
    await world.create("web")

    results = await world.service.delete_topics(["no", "web"])

    assert codes(results) == ["UNKNOWN_TOPIC_OR_PARTITION", "NONE"]


async def test_name_that_is_to_be_deleted_twice_is_refused(world: World) -> None:
    await world.create("web")

    results = await world.service.delete_topics(["web", "web"])

    assert codes(results) == ["INVALID_REQUEST", "INVALID_REQUEST"]


async def test_more_names_than_the_limit_cannot_be_deleted_at_once(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        await world.service.delete_topics(["web"] * (TOPICS_PER_REQUEST_MAX + 1))


# --- Add partitions -----------------------------------------------------------------


async def test_topic_grows_to_the_total(world: World) -> None:
    await world.create("web")

    assert await world.grow(("web", 5)) == ["NONE"]
    assert world.partition_count("web") == 5


@pytest.mark.parametrize("total", [-1, 0, 2, DEFAULT_PARTITIONS, PARTITIONS_PER_TOPIC_MAX + 1])
async def test_total_that_is_not_above_the_present_one_is_refused(world: World, total: int) -> None:
    await world.create("web")

    assert await world.grow(("web", total)) == ["INVALID_PARTITIONS"]


async def test_unknown_topic_does_not_grow(world: World) -> None:
    await world.create("web")

    assert await world.grow(("no", 5), ("web", 5)) == ["UNKNOWN_TOPIC_OR_PARTITION", "NONE"]


async def test_topic_named_twice_does_not_grow(world: World) -> None:
    await world.create("web")

    assert await world.grow(("web", 5), ("web", 6)) == ["INVALID_REQUEST", "INVALID_REQUEST"]


async def test_validating_adds_no_partitions(world: World) -> None:
    await world.create("web")

    assert await world.grow(("web", 5), validate_only=True) == ["NONE"]
    assert world.partition_count("web") == DEFAULT_PARTITIONS


async def test_more_topics_than_the_limit_do_not_grow_at_once(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        await world.grow(*((f"t{number}", 5) for number in range(TOPICS_PER_REQUEST_MAX + 1)))


async def test_partitions_that_are_there_already_do_not_count_towards_the_limit(
    world: World,
) -> None:
    size = PARTITIONS_PER_REQUEST_MAX // 2 + 1
    await world.create(TopicToCreate("a", size, 1))
    await world.create(TopicToCreate("b", size, 1))

    assert await world.grow(("a", size + 1), ("b", size + 1)) == ["NONE", "NONE"]


async def test_more_new_partitions_than_the_limit_are_an_invalid_request(world: World) -> None:
    await world.create("a", "b")
    size = PARTITIONS_PER_REQUEST_MAX // 2 + DEFAULT_PARTITIONS + 1

    with pytest.raises(InvalidRequestError):
        await world.grow(("a", size), ("b", size))


def test_new_partitions_whose_leaders_are_late_time_out() -> None:
    async def scenario() -> tuple[list[str], int]:
        async with control_plane(brokers=2, defaults=DEFAULTS) as plane:
            world = World(plane)
            await world.create("web")
            lose_leaders_once_created(world)
            return await world.grow(("web", 5), ("no", 5)), now_ms()

    answers, took_ms = run_in_virtual_time(scenario())

    assert answers == ["REQUEST_TIMED_OUT", "UNKNOWN_TOPIC_OR_PARTITION"]
    assert took_ms == ADMIN_TIMEOUT_DEFAULT_MS


# --- Describe -----------------------------------------------------------------------


async def test_topics_are_described_in_the_order_asked(world: World) -> None:
    await world.create("a", "b")

    assert list(world.described("b", "no", "a")) == ["b", "no", "a"]


async def test_topic_that_is_not_there_is_unknown_to_a_description(world: World) -> None:
    assert world.described("no") == {"no": "UNKNOWN_TOPIC_OR_PARTITION"}


async def test_name_that_no_topic_can_have_is_not_worth_asking_for_again(world: World) -> None:
    assert world.described("a b") == {"a b": "INVALID_TOPIC_EXCEPTION"}


async def test_no_names_are_all_topics_but_the_internal_ones(world: World) -> None:
    await world.create("b", "__consumer_offsets", "a")

    assert list(world.described()) == ["a", "b"]


async def test_internal_topics_are_described_if_asked_for(world: World) -> None:
    await world.create("web", "__consumer_offsets")

    assert list(world.described(include_internal=True)) == ["__consumer_offsets", "web"]


async def test_internal_topic_is_described_by_its_name(world: World) -> None:
    await world.create("__consumer_offsets")

    ((_, topic),) = world.service.describe_topics(["__consumer_offsets"], include_internal=False)

    assert not isinstance(topic, OttlaError)
    assert topic.internal


async def test_more_names_than_the_limit_are_not_described_at_once(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        world.described(*(f"t{number}" for number in range(TOPICS_PER_REQUEST_MAX + 1)))


async def test_every_partition_is_described_as_the_metadata_log_has_it(world: World) -> None:
    await world.create("web")

    ((_, topic),) = world.service.describe_topics(["web"], include_internal=False)

    assert not isinstance(topic, OttlaError)
    assert not topic.internal
    assert tuple(part.image for part in topic.partitions) == world.plane.topic("web").partitions
    assert [part.partition for part in topic.partitions] == [0, 1, 2]


async def test_figures_are_given_for_the_partitions_that_this_broker_leads(world: World) -> None:
    await world.create("web")
    led = TopicPartition("web", 1)
    world.hosted.led[led] = HostedPartitionDescription(
        led, 1000, 2, Offset(5), Offset(30), Offset(25), Offset(20)
    )

    ((_, topic),) = world.service.describe_topics(["web"], include_internal=False)

    assert not isinstance(topic, OttlaError)
    assert [
        (part.log_start_offset, part.high_watermark, part.size_bytes) for part in topic.partitions
    ] == [(-1, -1, -1), (5, 20, 1000), (-1, -1, -1)]


# --- A disk that failed ---------------------------------------------------------------


async def test_topic_whose_log_cannot_be_made_is_a_storage_error(world: World) -> None:
    world.hosted.offline[TopicPartition("web", 1)] = StorageError("the disk is full")

    (result, other) = await world.create("web", "other")

    assert code(result) == "KAFKA_STORAGE_ERROR"
    assert "partition 1 is offline: the disk is full" in str(result)
    assert code(other) == "NONE"


async def test_added_partition_whose_log_cannot_be_made_is_a_storage_error(world: World) -> None:
    await world.create("web")
    world.hosted.offline[TopicPartition("web", 3)] = StorageError("the disk is full")

    assert await world.grow(("web", 4)) == ["KAFKA_STORAGE_ERROR"]


async def test_only_broker_with_a_failed_directory_creates_nothing() -> None:
    async with control_plane() as plane:
        alone = World(plane)
        await plane.create("web")
        alone.hosted.directory_failure = StorageError("the disk is full")

        created = await alone.create("new")
        grown = await alone.grow(("web", 9))

        assert codes([*created]) + grown == ["KAFKA_STORAGE_ERROR"] * 2
        assert list(plane.image.topics) == ["web"]
        assert alone.partition_count("web") == 1


async def test_failed_directory_of_one_broker_does_not_keep_others_from_creating(
    world: World,
) -> None:
    world.hosted.directory_failure = StorageError("the disk is full")

    assert codes([*await world.create("web")]) == ["NONE"]
