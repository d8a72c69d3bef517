"""Settings of a topic change as asked, all of a topic's or none, and only if that makes sense."""

from __future__ import annotations

import pytest

from ottla.controller.decisions import decided
from ottla.controller.records import topic_config_changed
from ottla.controller.requests import ConfigChange, ConfigChanges, ConfigOperation
from ottla.controller.topics import TopicDefaults
from tests.controller.metadata import Metadata, codes

DELETE, APPEND, SUBTRACT = (
    ConfigOperation.DELETE,
    ConfigOperation.APPEND,
    ConfigOperation.SUBTRACT,
)


def change(
    key: str, value: str = "", operation: ConfigOperation = ConfigOperation.SET
) -> ConfigChange:
    return ConfigChange(key=key, operation=operation, value=value)


def with_topic(configs: dict[str, str], *, log_cleanup_policy: str = "delete") -> Metadata:
    defaults = TopicDefaults(broker_configs={"log.cleanup.policy": log_cleanup_policy})
    metadata = Metadata(brokers=1, defaults=defaults)
    metadata.create("web", configs=configs)
    return metadata


def test_set_changes_one_setting_and_leaves_the_others() -> None:
    metadata = with_topic({"retention.ms": "1", "segment.ms": "2"})

    metadata.alter("web", change("retention.ms", "3"))

    assert metadata.topic("web").configs == {"retention.ms": "3", "segment.ms": "2"}


def test_delete_goes_back_to_the_default() -> None:
    metadata = with_topic({"retention.ms": "1"})

    metadata.alter("web", change("retention.ms", operation=DELETE))

    assert metadata.topic("web").configs == {}


def test_change_that_changes_nothing_writes_nothing() -> None:
    metadata = with_topic({"retention.ms": "1"})
    version = metadata.machine.state.version

    result = metadata.alter(
        "web", change("retention.ms", " 01"), change("segment.ms", operation=DELETE)
    )

    assert result.error is None
    assert metadata.machine.state.version == version


@pytest.mark.parametrize(
    ("present", "operation", "value", "expected"),
    [
        ("", APPEND, "delete", "delete"),
        ("delete", APPEND, "delete", "delete"),
        ("", APPEND, "", ""),
        ("delete", SUBTRACT, "delete", ""),
        ("", SUBTRACT, "delete", ""),
    ],
)
def test_list_is_added_to_and_taken_from(
    present: str, operation: ConfigOperation, value: str, expected: str
) -> None:
    metadata = with_topic({"cleanup.policy": present})

    metadata.alter("web", change("cleanup.policy", value, operation))

    assert metadata.topic("web").configs == {"cleanup.policy": expected}


def test_list_that_the_topic_does_not_set_starts_from_the_brokers() -> None:
    metadata = with_topic({}, log_cleanup_policy="")

    metadata.alter("web", change("cleanup.policy", "delete", APPEND))

    assert metadata.topic("web").configs == {"cleanup.policy": "delete"}


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (change("retention.ms", "soon"), "INVALID_CONFIG"),
        (change("retention", "1"), "INVALID_CONFIG"),
        (change("retention", operation=DELETE), "INVALID_CONFIG"),
        (change("retention.ms", "1", APPEND), "INVALID_CONFIG"),
        (change("cleanup.policy", "compact", APPEND), "INVALID_CONFIG"),
        (change("segment.ms", "9"), "INVALID_REQUEST"),
    ],
)
def test_refused_change_leaves_all_settings_of_its_topic_as_they_were(
    wanted: ConfigChange, code: str
) -> None:
    metadata = with_topic({"retention.ms": "1"})
    metadata.create("logs")

    results = metadata.alter_all(
        ConfigChanges(name="web", changes=(change("segment.ms", "2"), wanted)),
        ConfigChanges(name="logs", changes=(change("segment.ms", "2"),)),
    )

    assert codes(results) == [code, "NONE"]
    assert metadata.topic("web").configs == {"retention.ms": "1"}
    assert metadata.topic("logs").configs == {"segment.ms": "2"}


def test_unknown_topic_is_refused() -> None:
    metadata = Metadata()

    assert codes([metadata.alter("web", change("retention.ms", "1"))]) == [
        "UNKNOWN_TOPIC_OR_PARTITION"
    ]


def test_topic_that_the_request_has_twice_is_not_changed() -> None:
    metadata = with_topic({})
    twice = ConfigChanges(name="web", changes=(change("retention.ms", "1"),))

    assert codes(metadata.alter_all(twice, twice)) == ["INVALID_REQUEST", "INVALID_REQUEST"]
    assert metadata.topic("web").configs == {}


def test_changes_that_are_only_validated_are_not_made() -> None:
    metadata = with_topic({})

    assert metadata.alter("web", change("retention.ms", "1"), validate_only=True).error is None
    assert codes([metadata.alter("web", change("retention.ms", "x"), validate_only=True)]) == [
        "INVALID_CONFIG"
    ]
    assert metadata.topic("web").configs == {}


def test_setting_of_another_version_can_be_taken_away_but_not_set() -> None:
    metadata = with_topic({})
    record = topic_config_changed(metadata.topic("web").topic_id, "old.setting", "1")
    metadata.carry_out(decided(metadata.machine.state, None, (record,)))

    assert codes([metadata.alter("web", change("old.setting", "2"))]) == ["INVALID_CONFIG"]
    metadata.alter("web", change("old.setting", operation=DELETE))

    assert metadata.topic("web").configs == {}
