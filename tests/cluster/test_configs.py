"""Settings are described with their sources, and changed, as ``configs.proto`` says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from ottla.cluster.admin_services import ConfigEntry, ConfigSource, Resource, ResourceType
from ottla.cluster.configs import BrokerConfigsService
from ottla.config.broker_config import broker_config
from ottla.config.settings import SETTINGS
from ottla.config.topic_settings import INERT_SETTINGS, TOPIC_SETTINGS
from ottla.controller.requests import ConfigChange, ConfigOperation
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import InvalidRequestError, NotControllerError, OttlaError
from ottla.model.ids import BrokerId
from ottla.model.image import BrokerListener
from ottla.model.limits import TOPICS_PER_REQUEST_MAX
from tests.cluster.control_plane import ControlPlane, code, codes, control_plane

NODE_ID = 1
BROKER_CONFIGS = {"log.retention.ms": "7000", "node.id": str(NODE_ID)}


class World:
    """One broker with one topic, ``web``, which sets its own ``segment.ms``."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        config = broker_config(BROKER_CONFIGS | {"log.dir": "/data"})
        self.service = BrokerConfigsService(plane.driver, plane.metadata, config)

    def entries(self, resource: Resource, *keys: str) -> dict[str, ConfigEntry]:
        (result,) = self.service.describe_configs([(resource, keys)])
        assert not isinstance(result, OttlaError), result
        return {entry.key: entry for entry in result}

    async def alter(
        self, name: str, *changes: ConfigChange, validate_only: bool = False
    ) -> OttlaError | None:
        (result,) = await self.service.alter_configs(
            [(topic(name), changes)], validate_only=validate_only
        )
        return result

    async def alter_all(self, *resources: tuple[Resource, Sequence[ConfigChange]]) -> list[str]:
        return codes(await self.service.alter_configs(resources, validate_only=False))

    def own(self, name: str = "web") -> dict[str, str]:
        return dict(self.plane.metadata.image.topics[name].configs)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with control_plane(defaults=TopicDefaults(broker_configs=BROKER_CONFIGS)) as plane:
        await plane.create("web", segment_ms="1000")
        yield World(plane)


def topic(name: str) -> Resource:
    return Resource(ResourceType.TOPIC, name)


def broker(name: str) -> Resource:
    return Resource(ResourceType.BROKER, name)


def setting(key: str, value: str) -> ConfigChange:
    return ConfigChange(key=key, value=value)


WEB = topic("web")
OWN = {"segment.ms": "1000"}

# --- Describe -----------------------------------------------------------------------


async def test_topic_is_described_with_every_setting(world: World) -> None:
    assert list(world.entries(WEB)) == sorted((*TOPIC_SETTINGS, *INERT_SETTINGS))


async def test_only_the_keys_asked_for_are_described(world: World) -> None:
    assert set(world.entries(WEB, "segment.ms", "retention.ms")) == {"segment.ms", "retention.ms"}


async def test_key_that_does_not_exist_is_left_out(world: World) -> None:
    assert set(world.entries(WEB, "segment.ms", "no.such")) == {"segment.ms"}


@pytest.mark.parametrize(
    ("key", "value", "source"),
    [
        ("segment.ms", "1000", ConfigSource.DYNAMIC_TOPIC_CONFIG),
        ("retention.ms", "7000", ConfigSource.STATIC_BROKER_CONFIG),
        ("retention.bytes", "-1", ConfigSource.DEFAULT_CONFIG),
    ],
)
async def test_value_of_a_topic_comes_from_the_nearest_source(
    world: World, key: str, value: str, source: ConfigSource
) -> None:
    entry = world.entries(WEB)[key]

    assert (entry.value, entry.source) == (value, source)


async def test_topics_own_value_outranks_the_brokers(world: World) -> None:
    await world.alter("web", setting("retention.ms", "5"))

    entry = world.entries(WEB)["retention.ms"]

    assert (entry.value, entry.source) == ("5", ConfigSource.DYNAMIC_TOPIC_CONFIG)


async def test_default_is_told_whatever_the_value(world: World) -> None:
    assert world.entries(WEB)["segment.ms"].default == TOPIC_SETTINGS["segment.ms"].default


async def test_settings_of_a_topic_can_be_changed(world: World) -> None:
    assert not any(entry.read_only for entry in world.entries(WEB).values())


async def test_every_setting_of_a_topic_is_documented(world: World) -> None:
    assert all(entry.documentation for entry in world.entries(WEB).values())


async def test_broker_is_described_with_every_setting(world: World) -> None:
    assert list(world.entries(broker("1"))) == list(SETTINGS)


@pytest.mark.parametrize(
    ("key", "value", "source"),
    [
        ("log.retention.ms", "7000", ConfigSource.STATIC_BROKER_CONFIG),
        ("num.partitions", "1", ConfigSource.DEFAULT_CONFIG),
    ],
)
async def test_value_of_a_broker_is_its_own_or_the_default(
    world: World, key: str, value: str, source: ConfigSource
) -> None:
    entry = world.entries(broker("1"))[key]

    assert (entry.value, entry.source) == (value, source)


async def test_where_clients_find_a_broker_is_described_as_they_are_told(world: World) -> None:
    image = world.plane.metadata.image
    listener = BrokerListener(name="LAN", host="a.example", port=9093, security_protocol="SSL")
    me = replace(image.brokers[BrokerId(NODE_ID)], listeners=(listener,))
    brokers = {**image.brokers, BrokerId(NODE_ID): me}
    world.plane.metadata.publish(replace(image, brokers=brokers))

    told = world.entries(broker("1"))["advertised.listeners"]

    assert (told.value, told.source) == ("LAN://a.example:9093", ConfigSource.STATIC_BROKER_CONFIG)
    assert told.read_only


async def test_of_a_broker_only_what_others_may_change_is_not_read_only(world: World) -> None:
    changeable = {k for k, entry in world.entries(broker("1")).items() if not entry.read_only}

    assert changeable == {setting.key for setting in SETTINGS.values() if setting.dynamic}
    assert "log.retention.ms" in changeable
    assert "node.id" not in changeable


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("", ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG),
        ("1", ConfigSource.DYNAMIC_BROKER_CONFIG),
    ],
)
async def test_changed_setting_of_brokers_is_the_topics_default(
    world: World, name: str, source: ConfigSource
) -> None:
    assert await world.alter_all((broker(name), [setting("log.retention.ms", "9")])) == ["NONE"]

    of_topic, of_broker = (
        world.entries(WEB)["retention.ms"],
        world.entries(broker("1"))["log.retention.ms"],
    )
    assert (of_topic.value, of_topic.source) == ("9", source)
    assert (of_broker.value, of_broker.source) == ("9", source)


async def test_brokers_own_change_outranks_that_of_all(world: World) -> None:
    await world.alter_all(
        (broker(""), [setting("log.retention.ms", "9")]),
        (broker("1"), [setting("log.retention.ms", "8")]),
    )

    entry = world.entries(WEB)["retention.ms"]
    assert (entry.value, entry.source) == ("8", ConfigSource.DYNAMIC_BROKER_CONFIG)


async def test_change_taken_back_leaves_what_the_broker_was_started_with(world: World) -> None:
    await world.alter_all((broker(""), [setting("log.retention.ms", "9")]))

    deletion = ConfigChange(key="log.retention.ms", operation=ConfigOperation.DELETE)
    await world.alter_all((broker(""), [deletion]))

    entry = world.entries(WEB)["retention.ms"]
    assert (entry.value, entry.source) == ("7000", ConfigSource.STATIC_BROKER_CONFIG)


async def test_default_of_all_brokers_is_described_by_what_is_set_there(world: World) -> None:
    await world.alter_all((broker(""), [setting("log.segment.bytes", "2000000")]))

    (entry,) = world.entries(broker("")).values()

    assert (entry.key, entry.value) == ("log.segment.bytes", "2000000")
    assert entry.source is ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG


@pytest.mark.parametrize(
    ("name", "key", "error"),
    [
        ("1", "node.id", "INVALID_CONFIG"),
        ("1", "min.insync.replicas", "INVALID_CONFIG"),
        ("7", "log.retention.ms", "BROKER_ID_NOT_REGISTERED"),
        ("one", "log.retention.ms", "INVALID_REQUEST"),
    ],
)
async def test_change_of_brokers_that_cannot_be_is_refused(
    world: World, name: str, key: str, error: str
) -> None:
    assert await world.alter_all((broker(name), [setting(key, "2")])) == [error]


@pytest.mark.parametrize(
    ("resource", "error"),
    [
        (topic("no"), "UNKNOWN_TOPIC_OR_PARTITION"),
        (topic(""), "INVALID_TOPIC_EXCEPTION"),
        (broker("2"), "RESOURCE_NOT_FOUND"),
        (broker("01"), "RESOURCE_NOT_FOUND"),
    ],
)
async def test_resource_that_is_not_known_here_is_an_error_of_its_own(
    world: World, resource: Resource, error: str
) -> None:
    results = world.service.describe_configs([(resource, ()), (WEB, ())])

    assert [code(result) for result in results] == [error, "NONE"]


async def test_more_resources_than_the_limit_are_not_described_at_once(world: World) -> None:
    world.service.describe_configs([(WEB, ("segment.ms",))] * TOPICS_PER_REQUEST_MAX)

    with pytest.raises(InvalidRequestError):
        world.service.describe_configs([(WEB, ())] * (TOPICS_PER_REQUEST_MAX + 1))


# --- Alter --------------------------------------------------------------------------


async def test_setting_changes_one_value_and_leaves_the_others(world: World) -> None:
    assert await world.alter("web", setting("retention.ms", "5")) is None
    assert world.own() == OWN | {"retention.ms": "5"}


async def test_value_is_kept_in_canonical_form(world: World) -> None:
    await world.alter("web", setting("write.caching", " TRUE"))

    assert world.own() == OWN | {"write.caching": "true"}


async def test_deleting_goes_back_to_the_default(world: World) -> None:
    await world.alter("web", ConfigChange(key="segment.ms", operation=ConfigOperation.DELETE))

    entry = world.entries(WEB)["segment.ms"]
    assert (entry.value, entry.source) == (entry.default, ConfigSource.DEFAULT_CONFIG)


async def test_item_is_taken_from_a_list(world: World) -> None:
    change = ConfigChange(key="cleanup.policy", operation=ConfigOperation.SUBTRACT, value="delete")

    assert await world.alter("web", change) is None
    assert world.own() == OWN | {"cleanup.policy": ""}


async def test_item_is_added_to_a_list(world: World) -> None:
    await world.alter("web", setting("cleanup.policy", ""))
    change = ConfigChange(key="cleanup.policy", operation=ConfigOperation.APPEND, value="delete")

    assert await world.alter("web", change) is None
    assert world.own() == OWN | {"cleanup.policy": "delete"}


async def test_item_cannot_be_added_to_what_is_no_list(world: World) -> None:
    change = ConfigChange(key="segment.ms", operation=ConfigOperation.APPEND, value="5")

    assert code(await world.alter("web", change)) == "INVALID_CONFIG"


@pytest.mark.parametrize("key", ["no.such", "retention.msx"])
async def test_unknown_setting_is_invalid(world: World, key: str) -> None:
    assert code(await world.alter("web", setting(key, "1"))) == "INVALID_CONFIG"


async def test_refusal_names_the_key_and_the_values_it_takes(world: World) -> None:
    error = await world.alter("web", setting("segment.ms", "0"))

    assert "segment.ms" in str(error)
    assert "from 1 to" in str(error)


async def test_all_changes_of_a_resource_are_made_or_none(world: World) -> None:
    changes = setting("retention.ms", "5"), setting("segment.ms", "soon")

    assert code(await world.alter("web", *changes)) == "INVALID_CONFIG"
    assert world.own() == OWN


async def test_key_that_is_changed_twice_is_refused(world: World) -> None:
    changes = setting("retention.ms", "5"), setting("retention.ms", "6")

    assert code(await world.alter("web", *changes)) == "INVALID_REQUEST"


async def test_resource_that_is_refused_does_not_disturb_the_others(world: World) -> None:
    change = [setting("retention.ms", "5")]
    await world.plane.create("other")

    answers = await world.alter_all(
        (topic("no"), change), (WEB, change), (broker("1"), change), (topic("other"), change)
    )

    assert answers == ["UNKNOWN_TOPIC_OR_PARTITION", "NONE", "INVALID_CONFIG", "NONE"]
    assert world.own() == OWN | {"retention.ms": "5"}
    assert world.own("other") == {"retention.ms": "5"}


async def test_topic_that_a_request_has_twice_is_refused_both_times(world: World) -> None:
    answers = await world.alter_all(
        (WEB, [setting("retention.ms", "5")]), (WEB, [setting("retention.bytes", "5")])
    )

    assert answers == ["INVALID_REQUEST", "INVALID_REQUEST"]
    assert world.own() == OWN


async def test_validating_changes_nothing(world: World) -> None:
    assert await world.alter("web", setting("retention.ms", "5"), validate_only=True) is None
    assert world.own() == OWN


async def test_validating_refuses_what_altering_refuses(world: World) -> None:
    error = await world.alter("web", setting("retention.ms", "soon"), validate_only=True)

    assert code(error) == "INVALID_CONFIG"


async def test_more_resources_than_the_limit_are_not_altered_at_once(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        await world.alter_all(*[(broker("1"), ())] * (TOPICS_PER_REQUEST_MAX + 1))


async def test_broker_that_is_not_the_controller_says_so(world: World) -> None:
    world.plane.step_down()

    with pytest.raises(NotControllerError):
        await world.alter("web", setting("retention.ms", "5"))
