"""Settings of a topic change as asked, all of a topic's or none, and only if that makes sense."""

from __future__ import annotations

import pytest

from ottla.controller.decisions import decided
from ottla.controller.records import topic_config_changed
from ottla.controller.requests import (
    AlterBrokerConfigs,
    ConfigChange,
    ConfigChanges,
    ConfigOperation,
)
from ottla.controller.topics import TopicDefaults
from ottla.model.ids import NO_BROKER, BrokerId
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


@pytest.mark.parametrize("key", ["segment.ms", "message.format.version", "confluent.placement"])
def test_deletion_of_what_is_not_set_is_done_already(key: str) -> None:
    metadata = with_topic({"retention.ms": "1"})

    result = metadata.alter("web", change(key, operation=DELETE))

    assert codes([result]) == ["NONE"]
    assert metadata.topic("web").configs == {"retention.ms": "1"}


@pytest.mark.parametrize("name", ["", "1"])
def test_throttles_of_a_reassignment_can_be_taken_away_from_brokers(name: str) -> None:
    metadata = Metadata(brokers=1)
    keys = ("leader.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second")
    changes = tuple(change(key, operation=DELETE) for key in keys)

    results = metadata.ask(AlterBrokerConfigs(brokers=(ConfigChanges(name=name, changes=changes),)))

    assert codes(results) == ["NONE"]


def test_replacement_takes_away_what_it_does_not_name() -> None:
    metadata = with_topic({"retention.ms": "1", "segment.ms": "2", "flush.ms": "3"})
    changes = (change("segment.ms", "2"), change("flush.ms", "4"))

    metadata.alter_all(ConfigChanges(name="web", changes=changes, replaces=True))

    assert metadata.topic("web").configs == {"segment.ms": "2", "flush.ms": "4"}


def test_refused_replacement_takes_nothing_away() -> None:
    metadata = with_topic({"retention.ms": "1"})
    changes = (change("segment.ms", "soon"),)

    results = metadata.alter_all(ConfigChanges(name="web", changes=changes, replaces=True))

    assert codes(results) == ["INVALID_CONFIG"]
    assert metadata.topic("web").configs == {"retention.ms": "1"}


def test_replacement_takes_a_ruling_setting_away_with_its_consequences() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web", replication_factor=2, configs={"unclean.leader.election.enable": "true"})
    metadata.fence(2, 1)
    version = metadata.machine.state.version

    metadata.alter_all(ConfigChanges(name="web", changes=(), replaces=True))

    assert metadata.topic("web").configs == {}
    assert metadata.machine.state.version > version


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
        (change("retention.ms", "1", APPEND), "INVALID_CONFIG"),
        (change("cleanup.policy", "archive", APPEND), "INVALID_CONFIG"),
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


# --- What elections depend on ---


def two_eligible() -> Metadata:
    """Topics ``web`` and ``logs``, led by 1; 2 and 3 are eligible. ``logs`` has no settings."""
    defaults = TopicDefaults(broker_configs={"min.insync.replicas": "2"})
    metadata = Metadata(brokers=3, defaults=defaults)
    metadata.create("web", replication_factor=3, configs={"min.insync.replicas": "2"})
    metadata.create("logs", replication_factor=3)
    for name in ("web", "logs"):
        metadata.move(name, 1, 2, 3)
        metadata.propose(name, 1)
        assert metadata.partition(name).eligible_leader_replicas == (2, 3)
    return metadata


def test_nobody_is_eligible_any_more_where_fewer_replicas_commit() -> None:
    metadata = two_eligible()

    metadata.alter("web", change("min.insync.replicas", "1"))

    assert metadata.partition("web").eligible_leader_replicas == ()
    assert metadata.partition("logs").eligible_leader_replicas == (2, 3)


def test_default_of_all_brokers_counts_for_topics_that_do_not_say_it_themselves() -> None:
    metadata = two_eligible()

    assert alter_brokers(metadata, "", change("min.insync.replicas", "1")) == ["NONE"]

    assert metadata.partition("web").eligible_leader_replicas == (2, 3)
    assert metadata.partition("logs").eligible_leader_replicas == ()


def test_partition_that_waits_is_led_by_anyone_once_the_topic_allows_it() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web", replication_factor=2)
    metadata.move("web", 1, 2)
    metadata.fence(2, 1)
    metadata.unfence(2)
    assert metadata.partition("web").leader == NO_BROKER

    metadata.alter("web", change("unclean.leader.election.enable", "true"))

    assert metadata.partition("web").leader == 2


def test_validation_alone_has_no_consequences() -> None:
    metadata = two_eligible()
    version = metadata.machine.state.version

    metadata.alter("web", change("min.insync.replicas", "1"), validate_only=True)
    alter_brokers(metadata, "", change("min.insync.replicas", "1"), validate_only=True)

    assert metadata.machine.state.version == version


# --- Settings of brokers ---


def alter_brokers(
    metadata: Metadata, name: str, *changes: ConfigChange, validate_only: bool = False
) -> list[str]:
    wanted = ConfigChanges(name=name, changes=changes)
    request = AlterBrokerConfigs(brokers=(wanted,), validate_only=validate_only)
    return codes(metadata.ask(request))


def test_settings_of_one_broker_and_of_all_are_changed_apart() -> None:
    metadata = Metadata(brokers=2)

    alter_brokers(metadata, "", change("log.retention.ms", " 005 "), change("log.roll.ms", "7"))
    alter_brokers(metadata, "2", change("log.retention.ms", "6"))
    alter_brokers(metadata, "", change("log.roll.ms", operation=DELETE))

    assert metadata.machine.image.broker_configs == {
        None: {"log.retention.ms": "5"},
        BrokerId(2): {"log.retention.ms": "6"},
    }


def test_setting_that_is_no_default_of_topics_is_changed_too() -> None:
    metadata = Metadata(brokers=1)

    alter_brokers(metadata, "", change("follower.replication.throttled.rate", " 0500"))

    configs = metadata.machine.image.broker_configs
    assert configs == {None: {"follower.replication.throttled.rate": "500"}}


@pytest.mark.parametrize(("value", "operation"), [("0", ConfigOperation.SET), ("5", APPEND)])
def test_its_value_is_checked(value: str, operation: ConfigOperation) -> None:
    wanted = change("follower.replication.throttled.rate", value, operation)

    assert alter_brokers(Metadata(brokers=1), "1", wanted) == ["INVALID_CONFIG"]


def test_broker_goes_by_its_own_settings_then_those_of_all_then_its_file() -> None:
    metadata = Metadata(brokers=2)
    alter_brokers(metadata, "", change("log.retention.ms", "5"), change("log.roll.ms", "7"))
    alter_brokers(metadata, "2", change("log.retention.ms", "6"))
    image, file = metadata.machine.image, {"log.roll.ms": "1", "node.id": "2"}

    own = {"log.retention.ms": "6", "log.roll.ms": "7", "node.id": "2"}
    assert image.settings_of_broker(BrokerId(2), file) == own
    assert image.settings_of_broker(None, file) == {**own, "log.retention.ms": "5"}


def test_value_that_a_broker_has_already_writes_nothing() -> None:
    metadata = Metadata(brokers=1)
    alter_brokers(metadata, "1", change("log.retention.ms", "6"))
    version = metadata.machine.state.version

    alter_brokers(metadata, "1", change("log.retention.ms", "6"))

    assert metadata.machine.state.version == version


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("", change("node.id", "5"), "node.id cannot be changed while a broker runs"),
        ("", change("retention.ms", "5"), "default for all topics is log.retention.ms"),
        ("", change("log.retention.hours", "5"), "by log.retention.ms, in milliseconds"),
        ("", change("magic", "5"), "unknown setting 'magic'"),
        ("", change("log.retention.ms", "soon"), "retention.ms"),
        ("", change("log.retention.ms", "5", APPEND), "is no list"),
        ("1", change("min.insync.replicas", "2"), "cannot differ from broker to broker"),
        ("1", change("log.write.caching", "true"), "cannot differ from broker to broker"),
        ("9", change("log.retention.ms", "5"), "broker 9 is not registered"),
        ("one", change("log.retention.ms", "5"), "'one' is no broker id"),
        ("-1", change("log.retention.ms", "5"), "'-1' is no broker id"),
    ],
)
def test_impossible_change_of_a_broker_is_refused(
    name: str, wanted: ConfigChange, message: str
) -> None:
    metadata = Metadata(brokers=1)
    request = AlterBrokerConfigs(brokers=(ConfigChanges(name=name, changes=(wanted,)),))

    (result,) = metadata.ask(request)

    assert message in str(result.error)
    assert metadata.machine.image.broker_configs == {}


def test_broker_is_named_once_in_a_request() -> None:
    metadata = Metadata(brokers=1)
    wanted = ConfigChanges(name="1", changes=(change("log.roll.ms", "5"),))

    results = metadata.ask(AlterBrokerConfigs(brokers=(wanted, wanted)))

    assert codes(results) == ["INVALID_REQUEST", "INVALID_REQUEST"]


def test_list_of_all_brokers_is_added_to_where_a_topic_has_none() -> None:
    metadata = with_topic({}, log_cleanup_policy="")
    alter_brokers(metadata, "", change("log.cleanup.policy", "delete", APPEND))
    assert metadata.machine.image.broker_configs[None] == {"log.cleanup.policy": "delete"}

    metadata.alter("web", change("cleanup.policy", "delete", SUBTRACT))

    assert metadata.topic("web").configs == {"cleanup.policy": ""}
