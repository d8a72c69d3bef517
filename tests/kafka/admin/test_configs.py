"""Settings are described and changed as Kafka's tools expect."""

from __future__ import annotations

import pytest

from ottla.config.settings import SETTINGS
from ottla.config.topic_settings import INERT_SETTINGS, TOPIC_SETTINGS
from ottla.wire.messages import alter_configs, incremental_alter_configs
from ottla.wire.messages.alter_configs import AlterConfigsRequest, AlterConfigsResponse
from ottla.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from ottla.wire.messages.incremental_alter_configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from ottla.wire.messages.list_config_resources import (
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from tests.kafka.admin.door import AdminDoor

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
UNKNOWN, INVALID_TOPIC, INVALID_CONFIG, INVALID_REQUEST = 3, 17, 40, 42


async def describe(
    door: AdminDoor, kind: int, name: str, *keys: str, version: int = -1
) -> DescribeConfigsResult:
    resource = DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=list(keys) or None
    )
    request = DescribeConfigsRequest(
        resources=[resource], include_synonyms=True, include_documentation=version != 1
    )
    response = await door.ask(request, DescribeConfigsResponse, version=version)
    (result,) = response.results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


async def entries(
    door: AdminDoor, kind: int, name: str, *keys: str
) -> dict[str, DescribeConfigsResourceResult]:
    result = await describe(door, kind, name, *keys)
    assert result.error_code == 0, result.error_message
    return {entry.name: entry for entry in result.configs}


async def own(door: AdminDoor, name: str = "web") -> dict[str, str | None]:
    """Return what the topic sets itself."""
    found = await entries(door, TOPIC, name)
    return {key: entry.value for key, entry in found.items() if entry.config_source == 1}


async def replace(
    door: AdminDoor, kind: int, name: str, *, validate_only: bool = False, **configs: str | None
) -> int:
    resource = alter_configs.AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[
            alter_configs.AlterableConfig(name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ],
    )
    request = AlterConfigsRequest(resources=[resource], validate_only=validate_only)
    response = await door.ask(request, AlterConfigsResponse)
    return response.responses[0].error_code


async def change(
    door: AdminDoor, kind: int, name: str, *changes: tuple[str, int, str | None]
) -> int:
    resource = incremental_alter_configs.AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[
            incremental_alter_configs.AlterableConfig(
                name=key, config_operation=operation, value=value
            )
            for key, operation, value in changes
        ],
    )
    response = await door.ask(
        IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse
    )
    return response.responses[0].error_code


# --- DescribeConfigs ----------------------------------------------------------------


async def test_statement_11_topic_is_described_with_every_setting_of_kafka_and_ours(
    door: AdminDoor,
) -> None:
    await door.create("web")

    found = await entries(door, TOPIC, "web")

    assert set(found) == {*TOPIC_SETTINGS, *INERT_SETTINGS}
    assert set(found) >= {"cleanup.policy", "delete.retention.ms", "preallocate", "segment.bytes"}
    for entry in found.values():
        assert entry.value is not None
        assert entry.documentation
        assert entry.config_type in {1, 2, 3, 5, 6, 7}
        assert not entry.read_only
        assert not entry.is_sensitive


async def test_statement_11_values_come_with_their_sources_and_synonyms(door: AdminDoor) -> None:
    await door.create("web")
    await change(door, TOPIC, "web", ("retention.ms", SET, "5"))

    entry = (await entries(door, TOPIC, "web"))["retention.ms"]

    assert (entry.value, entry.config_source, entry.config_type) == ("5", 1, 5)
    assert [(s.name, s.value, s.source) for s in entry.synonyms] == [
        ("retention.ms", "5", 1),
        ("log.retention.ms", "7000", 4),
        ("log.retention.ms", "604800000", 5),
    ]


async def test_statement_11_only_the_keys_asked_for_are_described(door: AdminDoor) -> None:
    await door.create("web")

    found = await entries(door, TOPIC, "web", "retention.ms", "no.such")

    assert set(found) == {"retention.ms"}


async def test_broker_is_described_with_every_setting(door: AdminDoor) -> None:
    found = await entries(door, BROKER, "1")

    assert set(found) == set(SETTINGS)
    assert found["log.retention.ms"].config_source == 4
    assert found["node.id"].read_only
    assert not found["log.retention.ms"].read_only


async def test_default_of_all_brokers_is_what_is_set_there(door: AdminDoor) -> None:
    await change(door, BROKER, "", ("log.retention.ms", SET, "9"))

    found = await entries(door, BROKER, "")

    assert {key: (e.value, e.config_source) for key, e in found.items()} == {
        "log.retention.ms": ("9", 3)
    }


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (TOPIC, "nope", UNKNOWN),
        (TOPIC, "a b", INVALID_TOPIC),
        (BROKER, "2", INVALID_REQUEST),
        (BROKER, "one", INVALID_REQUEST),
        (LOGGER, "2", INVALID_REQUEST),
        (LOGGER, "", INVALID_REQUEST),
        (GROUP, "", INVALID_REQUEST),
        (CLIENT_METRICS, "", INVALID_REQUEST),
        (3, "web", INVALID_REQUEST),
        (127, "web", INVALID_REQUEST),
    ],
)
async def test_resource_that_is_not_here_is_an_error(
    door: AdminDoor, kind: int, name: str, code: int
) -> None:
    result = await describe(door, kind, name)

    assert (result.error_code, result.configs) == (code, [])
    assert result.error_message


@pytest.mark.parametrize("kind", [GROUP, CLIENT_METRICS])
async def test_what_has_no_settings_here_is_described_without_any(
    door: AdminDoor, kind: int
) -> None:
    assert await entries(door, kind, "anything") == {}


async def test_log_of_a_broker_is_one_logger(door: AdminDoor) -> None:
    found = await entries(door, LOGGER, "1")

    assert {key: (e.value, e.config_source, e.read_only) for key, e in found.items()} == {
        "root": ("INFO", 6, True)
    }


async def test_old_client_is_told_neither_type_nor_documentation(door: AdminDoor) -> None:
    await door.create("web")

    result = await describe(door, TOPIC, "web", "retention.ms", version=1)

    assert [(e.value, e.config_source, len(e.synonyms)) for e in result.configs] == [("7000", 4, 2)]


# --- AlterConfigs -------------------------------------------------------------------


async def test_statement_11_altering_replaces_all(door: AdminDoor) -> None:
    await door.create("web")
    assert await replace(door, TOPIC, "web", retention_ms="1", segment_ms="2") == 0

    assert await replace(door, TOPIC, "web", segment_ms="3", flush_ms="4") == 0

    assert await own(door) == {"segment.ms": "3", "flush.ms": "4"}


async def test_statement_11_altering_to_nothing_leaves_nothing(door: AdminDoor) -> None:
    await door.create("web")
    await replace(door, TOPIC, "web", retention_ms="1")

    assert await replace(door, TOPIC, "web") == 0

    assert await own(door) == {}


async def test_statement_11_refused_replacement_changes_nothing(door: AdminDoor) -> None:
    await door.create("web")
    await replace(door, TOPIC, "web", retention_ms="1")

    assert await replace(door, TOPIC, "web", segment_ms="soon") == INVALID_CONFIG
    assert await replace(door, TOPIC, "web", segment_ms=None) == INVALID_REQUEST
    assert await replace(door, TOPIC, "web", validate_only=True, segment_ms="4") == 0

    assert await own(door) == {"retention.ms": "1"}


async def test_statement_11_settings_of_a_broker_are_replaced_too(door: AdminDoor) -> None:
    await replace(door, BROKER, "1", log_retention_ms="1", log_roll_ms="2")

    assert await replace(door, BROKER, "1", log_roll_ms="3") == 0

    found = await entries(door, BROKER, "1")
    dynamic = {key: e.value for key, e in found.items() if e.config_source == 2}
    assert dynamic == {"log.roll.ms": "3"}


# --- IncrementalAlterConfigs --------------------------------------------------------


async def test_statement_11_lists_are_edited(door: AdminDoor) -> None:
    await door.create("web")

    assert await change(door, TOPIC, "web", ("cleanup.policy", SUBTRACT, "delete")) == 0
    assert await own(door) == {"cleanup.policy": ""}
    assert await change(door, TOPIC, "web", ("cleanup.policy", APPEND, "delete")) == 0
    assert await own(door) == {"cleanup.policy": "delete"}


async def test_statement_11_others_are_left_alone(door: AdminDoor) -> None:
    await door.create("web")
    await replace(door, TOPIC, "web", retention_ms="1", segment_ms="2")

    changes = (("retention.ms", DELETE, None), ("flush.ms", SET, "3"))
    assert await change(door, TOPIC, "web", *changes) == 0

    assert await own(door) == {"segment.ms": "2", "flush.ms": "3"}


@pytest.mark.parametrize(
    ("kind", "name", "changes", "code"),
    [
        (TOPIC, "web", (("retention.ms", APPEND, "1"),), INVALID_CONFIG),
        (TOPIC, "web", (("no.such", SET, "1"),), INVALID_CONFIG),
        (TOPIC, "web", (("cleanup.policy", APPEND, "compress"),), INVALID_CONFIG),
        (TOPIC, "web", (("retention.ms", SET, None),), INVALID_REQUEST),
        (TOPIC, "web", (("retention.ms", 9, "1"),), INVALID_REQUEST),
        (
            TOPIC,
            "web",
            (("retention.ms", SET, "1"), ("retention.ms", DELETE, None)),
            INVALID_REQUEST,
        ),
        (TOPIC, "nope", (("retention.ms", SET, "1"),), UNKNOWN),
        (BROKER, "1", (("node.id", SET, "2"),), INVALID_CONFIG),
        (BROKER, "9", (("log.roll.ms", SET, "2"),), 102),
        (LOGGER, "1", (("root", SET, "DEBUG"),), INVALID_REQUEST),
        (GROUP, "g", (("consumer.session.timeout.ms", SET, "1"),), INVALID_CONFIG),
        (CLIENT_METRICS, "m", (("interval.ms", SET, "1"),), INVALID_CONFIG),
        (99, "x", (("a", SET, "1"),), INVALID_REQUEST),
    ],
)
async def test_statement_11_change_that_cannot_be_is_refused(
    door: AdminDoor,
    kind: int,
    name: str,
    changes: tuple[tuple[str, int, str | None], ...],
    code: int,
) -> None:
    await door.create("web")

    assert await change(door, kind, name, *changes) == code
    assert await own(door) == {}


async def test_statement_11_resource_that_is_named_twice_is_refused_once(door: AdminDoor) -> None:
    await door.create("web", "app")
    resources = [
        incremental_alter_configs.AlterConfigsResource(resource_type=TOPIC, resource_name=name)
        for name in ("web", "app", "web")
    ]

    response = await door.ask(
        IncrementalAlterConfigsRequest(resources=resources), IncrementalAlterConfigsResponse
    )

    assert [(r.resource_name, r.error_code) for r in response.responses] == [
        ("web", INVALID_REQUEST),
        ("app", 0),
    ]


# --- ListConfigResources ------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "listed"),
    [
        ([], {(TOPIC, "web"), (BROKER, "1"), (BROKER, "2"), (BROKER, "3")}),
        ([TOPIC], {(TOPIC, "web")}),
        ([GROUP], set()),
    ],
)
async def test_resources_are_listed(
    door: AdminDoor, types: list[int], listed: set[tuple[int, str]]
) -> None:
    await door.create("web")

    response = await door.ask(
        ListConfigResourcesRequest(resource_types=types), ListConfigResourcesResponse
    )

    found = {(one.resource_type, one.resource_name) for one in response.config_resources}
    assert {one for one in found if one[0] != LOGGER} == listed
    assert response.error_code == 0


async def test_unknown_type_of_resource_is_not_listed(door: AdminDoor) -> None:
    request = ListConfigResourcesRequest(resource_types=[99])

    assert (await door.ask(request, ListConfigResourcesResponse)).error_code == 35


async def test_first_version_asks_for_client_metrics_of_which_there_are_none(
    door: AdminDoor,
) -> None:
    await door.create("web")

    response = await door.ask(ListConfigResourcesRequest(), ListConfigResourcesResponse, version=0)

    assert (response.error_code, response.config_resources) == (0, [])
