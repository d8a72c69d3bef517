"""What an operator sets for groups reaches the coordinator."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.cluster.group_parts import group_settings, new_member_id
from ottla.config.broker_config import BadConfigurationError, broker_config
from ottla.coordinator.settings import GroupSettings


def settings(**values: str) -> GroupSettings:
    by_key = {key.replace("_", "."): value for key, value in values.items()}
    return group_settings(broker_config(by_key, default_log_dir=Path("/data")).groups)


def test_the_defaults_are_those_of_the_coordinator() -> None:
    assert settings() == GroupSettings()


def test_what_is_set_reaches_it() -> None:
    changed = settings(
        group_initial_rebalance_delay_ms="0",
        group_min_session_timeout_ms="10",
        group_max_session_timeout_ms="20",
        group_max_size="3",
        offset_metadata_max_bytes="5",
        offsets_retention_minutes="2",
        offsets_retention_check_interval_ms="7",
        group_consumer_session_timeout_ms="600",
        group_consumer_heartbeat_interval_ms="60",
        group_consumer_max_size="8",
        group_consumer_assignment_interval_ms="9",
    )
    assert changed == GroupSettings(
        initial_rebalance_delay_ms=0,
        session_timeout_min_ms=10,
        session_timeout_max_ms=20,
        group_size_max=3,
        offset_metadata_characters_max=5,
        offsets_retention_ms=120_000,
        offsets_retention_check_interval_ms=7,
        consumer_session_timeout_ms=600,
        consumer_heartbeat_interval_ms=60,
        consumer_group_size_max=8,
        consumer_assignment_interval_ms=9,
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("group_min_session_timeout_ms", "1800001"),
        ("group_consumer_heartbeat_interval_ms", "45000"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(key: str, value: str) -> None:
    with pytest.raises(BadConfigurationError) as refused:
        settings(**{key: value})
    assert key.replace("_", ".") in str(refused.value)


def test_no_two_members_have_the_same_id() -> None:
    assert new_member_id("client").startswith("client-")
    assert new_member_id("client") != new_member_id("client")
    assert not new_member_id("").startswith("-")
