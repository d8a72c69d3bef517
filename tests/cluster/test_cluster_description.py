"""Metadata names what there is, creates what may be created, and lets no topic spoil another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.cluster.cluster_description import BrokerClusterService
from ottla.cluster.services import LogDirectoryDescription
from ottla.cluster.topics import BrokerTopicsService
from ottla.controller.requests import DeleteTopics
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import (
    InvalidRequestError,
    OttlaError,
    StorageError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import NO_BROKER, TopicPartition
from ottla.model.limits import AUTO_CREATION_WAIT_MAX_MS, TOPICS_PER_REQUEST_MAX
from tests.cluster.control_plane import ME, ControlPlane, Hosted, code, control_plane, create
from tests.cluster.virtual_time import let_pass, now_ms, run_in_virtual_time

PARTITIONS = 2


class World:
    """One broker with one topic, ``web``."""

    def __init__(self, plane: ControlPlane, *, auto_create: bool = True) -> None:
        self.plane = plane
        self.hosted = Hosted()
        self.service = BrokerClusterService(
            plane.metadata,
            BrokerTopicsService(plane.driver, plane.metadata, self.hosted),
            self.hosted,
            broker_id=ME,
            version="1.2.3",
            started_at_ms=1_700_000_000_000,
            auto_create_topics=auto_create,
        )

    async def metadata(self, *names: str, create: bool = True) -> dict[str, str]:
        results = await self.service.metadata(names, allow_auto_creation=create)
        return {name: code(result) for name, result in results}


DEFAULTS = TopicDefaults(partitions=PARTITIONS)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with control_plane(defaults=DEFAULTS) as plane:
        await plane.create("web")
        yield World(plane)


# --- Metadata -----------------------------------------------------------------------


async def test_no_names_are_all_topics_but_the_internal_ones(world: World) -> None:
    await world.plane.create("__consumer_offsets")
    await world.plane.create("app")

    assert list(await world.metadata()) == ["app", "web"]


async def test_topics_come_in_the_order_asked(world: World) -> None:
    await world.plane.create("app")

    assert list(await world.metadata("web", "app")) == ["web", "app"]


async def test_image_is_the_one_that_answers_reflect(world: World) -> None:
    await world.metadata("new")

    assert world.service.image is world.plane.metadata.image
    assert "new" in world.service.image.topics


# --- Creating what is missing ---------------------------------------------------------


async def test_missing_topic_is_created_with_the_defaults_and_described(world: World) -> None:
    ((_, topic),) = await world.service.metadata(["new"], allow_auto_creation=True)

    assert not isinstance(topic, OttlaError)
    assert len(topic.partitions) == PARTITIONS
    assert all(part.image.leader != NO_BROKER for part in topic.partitions)


async def test_missing_topic_is_unknown_if_its_creation_is_not_asked_for(world: World) -> None:
    assert await world.metadata("new", create=False) == {"new": "UNKNOWN_TOPIC_OR_PARTITION"}
    assert "new" not in world.plane.image.topics


async def test_missing_topic_is_unknown_if_the_broker_is_not_to_create_any() -> None:
    async with control_plane() as plane:
        answers = await World(plane, auto_create=False).metadata("new")

        assert answers == {"new": "UNKNOWN_TOPIC_OR_PARTITION"}
        assert not plane.image.topics


async def test_present_topics_do_not_trouble_the_controller(world: World) -> None:
    before = world.plane.quorum.proposals, world.plane.quorum.barriers

    await world.metadata("web")

    assert (world.plane.quorum.proposals, world.plane.quorum.barriers) == before


async def test_internal_topic_is_not_created(world: World) -> None:
    assert await world.metadata("__consumer_offsets") == {
        "__consumer_offsets": "UNKNOWN_TOPIC_OR_PARTITION"
    }


@pytest.mark.parametrize("allowed", [True, False])
async def test_name_that_no_topic_can_have_is_invalid(world: World, *, allowed: bool) -> None:
    answers = await world.metadata("a b", "new", create=allowed)

    assert answers["a b"] == "INVALID_TOPIC_EXCEPTION"


async def test_topic_that_cannot_be_created_does_not_keep_others_from_it(world: World) -> None:
    answers = await world.metadata("a b", "new", "web")

    assert answers == {"a b": "INVALID_TOPIC_EXCEPTION", "new": "NONE", "web": "NONE"}


async def test_missing_topic_that_is_named_twice_is_created_once(world: World) -> None:
    results = await world.service.metadata(["new", "new"], allow_auto_creation=True)

    assert [(name, code(result)) for name, result in results] == [("new", "NONE"), ("new", "NONE")]


async def test_topic_is_described_although_the_controller_is_elsewhere(world: World) -> None:
    world.plane.step_down()

    assert await world.metadata("web", "new") == {"web": "NONE", "new": "NOT_CONTROLLER"}


async def test_topic_is_described_although_the_quorum_is_overloaded(world: World) -> None:
    world.plane.quorum.failures = [ThrottlingQuotaExceededError("full")]

    answers = await world.metadata("web", "new")

    assert answers == {"web": "NONE", "new": "THROTTLING_QUOTA_EXCEEDED"}


async def test_more_names_than_the_limit_create_nothing(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        await world.metadata(*["web"] * TOPICS_PER_REQUEST_MAX, "new")

    assert "new" not in world.plane.image.topics


async def test_all_who_ask_for_a_missing_topic_at_once_get_it(world: World) -> None:
    answers = await asyncio.gather(*(world.metadata("new") for _ in range(5)))

    assert answers == [{"new": "NONE"}] * 5


def test_topic_that_somebody_creates_meanwhile_is_waited_for() -> None:
    async def scenario() -> dict[str, str]:
        async with control_plane(defaults=DEFAULTS) as plane:
            plane.publishes = False
            plane.intrude(create("new"))
            asked = asyncio.create_task(World(plane).metadata("new"))
            await let_pass(100)  # by now the controller has said that there is one already
            plane.publish()
            return await asked

    assert run_in_virtual_time(scenario()) == {"new": "NONE"}


def test_topic_that_is_created_and_deleted_meanwhile_is_unknown_in_the_end() -> None:
    async def scenario() -> tuple[dict[str, str], int]:
        async with control_plane(defaults=DEFAULTS) as plane:
            await plane.create("web")
            plane.publishes = False
            plane.intrude(create("gone"))
            asked = asyncio.create_task(World(plane).metadata("gone", "web"))
            await let_pass(100)
            plane.intrude(DeleteTopics(names=("gone",)))
            plane.publish()
            return await asked, now_ms()

    answers, took_ms = run_in_virtual_time(scenario())

    assert answers == {"gone": "UNKNOWN_TOPIC_OR_PARTITION", "web": "NONE"}
    assert took_ms == AUTO_CREATION_WAIT_MAX_MS


# --- The broker -----------------------------------------------------------------------


async def test_broker_says_who_it_is(world: World) -> None:
    described = world.service.describe_broker()

    assert (described.broker_id, described.version) == (ME, "1.2.3")
    assert described.started_at_ms == 1_700_000_000_000


async def test_broker_describes_its_directories_the_failed_ones_too(world: World) -> None:
    failed = LogDirectoryDescription("/data", StorageError("the disk failed"), 100, 10, [])
    world.hosted.directories.append(failed)

    assert list(world.service.describe_broker().log_directories) == [failed]


async def test_partitions_offline_here_are_counted_once(world: World) -> None:
    world.plane.fence(ME)
    world.plane.publish()

    for number in range(PARTITIONS):
        world.hosted.offline[TopicPartition("web", number)] = StorageError("damaged")

    assert world.service.offline_partitions() == PARTITIONS


async def test_partition_with_a_leader_is_offline_if_its_log_is(world: World) -> None:
    world.hosted.offline[TopicPartition("web", 1)] = StorageError("damaged")

    assert world.service.offline_partitions() == 1
