"""Every topic setting has one row, and a value is what its row says or is refused by name."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_type_hints

import pytest

from ottla.config.topic_settings import (
    INERT_SETTINGS,
    TOPIC_SETTINGS,
    SettingType,
    TopicSetting,
    TopicSettings,
    canonical_value,
    canonical_values,
    effective_value,
    resolve_topic_settings,
    topic_setting,
)
from ottla.model.errors import InvalidConfigError

NUMBERS = [
    row for row in TOPIC_SETTINGS.values() if row.type in {SettingType.INT, SettingType.LONG}
]
by_key = pytest.mark.parametrize("setting", TOPIC_SETTINGS.values(), ids=lambda row: row.key)


def test_defaults_are_kafkas() -> None:
    defaults = {key: row.default for key, row in TOPIC_SETTINGS.items()}

    assert defaults == {
        "cleanup.policy": "delete",
        "compression.type": "producer",
        "file.delete.delay.ms": "60000",
        "flush.messages": "9223372036854775807",
        "flush.ms": "9223372036854775807",
        "index.interval.bytes": "4096",
        "max.message.bytes": "1048588",
        "message.timestamp.after.max.ms": "3600000",
        "message.timestamp.before.max.ms": "9223372036854775807",
        "message.timestamp.type": "CreateTime",
        "min.insync.replicas": "1",
        "retention.bytes": "-1",
        "retention.ms": "604800000",
        "segment.bytes": "1073741824",
        "segment.index.bytes": "10485760",
        "segment.ms": "604800000",
        "unclean.leader.election.enable": "false",
        "write.caching": "false",  # ours
    }


def test_rows_are_in_alphabetical_order() -> None:
    assert list(TOPIC_SETTINGS) == sorted(TOPIC_SETTINGS)


def test_no_two_settings_share_a_broker_setting() -> None:
    assert len({row.synonym for row in TOPIC_SETTINGS.values()}) == len(TOPIC_SETTINGS)


@by_key
def test_default_is_a_value_in_canonical_form(setting: TopicSetting) -> None:
    assert canonical_value(setting.key, setting.default) == setting.default


@by_key
def test_documentation_is_whole_sentences(setting: TopicSetting) -> None:
    assert re.match(r"[A-Zt].*\.\Z", setting.documentation)


@by_key
def test_unit_is_the_end_of_the_key_where_the_key_has_one(setting: TopicSetting) -> None:
    last = setting.key.rpartition(".")[2]

    assert last not in {"ms", "bytes"} or setting.unit == last


@by_key
def test_type_of_the_row_is_the_type_of_the_field(setting: TopicSetting) -> None:
    declared = get_type_hints(TopicSettings)[setting.key.replace(".", "_")]

    assert isinstance(setting.parse(setting.default), getattr(declared, "__origin__", declared))


def test_every_setting_is_a_field_and_every_field_a_setting() -> None:
    names = [field.name for field in fields(TopicSettings)]

    assert names == [key.replace(".", "_") for key in TOPIC_SETTINGS]


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda row: row.key)
def test_number_takes_exactly_its_range(setting: TopicSetting) -> None:
    assert setting.parse(str(setting.minimum)) == setting.minimum
    assert setting.parse(str(setting.maximum)) == setting.maximum
    for outside in (setting.minimum - 1, setting.maximum + 1):
        with pytest.raises(InvalidConfigError):
            setting.parse(str(outside))


@pytest.mark.parametrize(
    "text", ["", "1_000_000", "+5", "1e9", "0x10", "\uff15", "7 d", "9" * 5000]
)
def test_number_is_plain_decimal_digits(text: str) -> None:
    with pytest.raises(InvalidConfigError):
        canonical_value("retention.ms", text)


def test_refusal_names_the_key_the_value_and_the_values_it_takes() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        canonical_value("segment.bytes", "10")

    assert str(refused.value) == (
        "segment.bytes cannot be '10': it takes a whole number from 1048576 to 2147483647, in bytes"
    )


def test_refusal_of_a_choice_lists_the_choices() -> None:
    with pytest.raises(InvalidConfigError, match=r"'brotli': it takes one of producer, unc.*zstd"):
        canonical_value("compression.type", "brotli")


def test_boolean_is_true_or_false_in_any_case() -> None:
    assert canonical_value("write.caching", " TRUE ") == "true"
    assert canonical_value("write.caching", "False") == "false"
    with pytest.raises(InvalidConfigError, match="'yes': it takes true or false"):
        canonical_value("write.caching", "yes")


def test_canonical_number_has_no_leading_zeros_or_blanks() -> None:
    assert canonical_value("retention.ms", " 007 ") == "7"


def test_topic_may_be_compacted_and_delete_as_well() -> None:
    assert canonical_value("cleanup.policy", "compact, delete") == "compact,delete"


def test_empty_cleanup_policy_keeps_everything() -> None:
    assert canonical_value("cleanup.policy", " ") == ""
    assert resolve_topic_settings({"cleanup.policy": ""}, {}).cleanup_policy == ()


@pytest.mark.parametrize("text", ["delete,delete", "remove", "delete,", ","])
def test_list_is_refused_for_items_that_are_unknown_or_twice_there(text: str) -> None:
    with pytest.raises(InvalidConfigError, match="takes nothing, or a comma-separated list of del"):
        canonical_value("cleanup.policy", text)


def test_unknown_key_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        topic_setting("retention.msec")

    assert str(refused.value) == (
        "unknown topic setting 'retention.msec'; did you mean retention.ms?"
    )


def test_key_like_no_other_is_answered_with_the_list() -> None:
    with pytest.raises(InvalidConfigError, match=r"there are cleanup.policy, .*, write.caching"):
        topic_setting("zzz")


def test_kafka_setting_that_we_do_not_have_is_said_to_be_kafkas() -> None:
    with pytest.raises(InvalidConfigError, match=r"Kafka.s topic setting message\.format\.version"):
        topic_setting("message.format.version")


@pytest.mark.parametrize("setting", INERT_SETTINGS.values(), ids=lambda row: row.key)
def test_setting_without_effect_takes_its_default(setting: TopicSetting) -> None:
    assert canonical_value(setting.key, setting.default) == setting.default


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("compression.zstd.level", "4"),
        ("leader.replication.throttled.replicas", "0:1"),
        ("local.retention.ms", "1000"),
        ("preallocate", "true"),
        ("remote.storage.enable", "true"),
        ("segment.jitter.ms", "1"),
    ],
)
def test_value_that_would_have_to_change_something_is_refused(key: str, text: str) -> None:
    with pytest.raises(InvalidConfigError, match=f"{key} cannot be '{text}': it takes .* only: "):
        canonical_value(key, text)


@pytest.mark.parametrize(
    ("key", "text", "canonical"),
    [
        ("delete.retention.ms", "900", "900"),
        ("min.cleanable.dirty.ratio", "0.10", "0.1"),
        ("min.cleanable.dirty.ratio", "1", "1.0"),
    ],
)
def test_setting_of_compacted_topics_takes_what_kafkas_does(
    key: str, text: str, canonical: str
) -> None:
    assert canonical_value(key, text) == canonical


@pytest.mark.parametrize("text", ["1.1", "-0.1", "nan", "inf", "0_1", ""])
def test_ratio_is_a_number_between_zero_and_one(text: str) -> None:
    with pytest.raises(InvalidConfigError, match="a number from 0 to 1"):
        canonical_value("min.cleanable.dirty.ratio", text)


def test_refusal_stays_short_whatever_was_sent() -> None:
    for key, text in (("x" * 10**6, "1"), ("retention.ms", "x" * 10**6)):
        with pytest.raises(InvalidConfigError) as refused:
            canonical_value(key, text)
        assert len(str(refused.value)) < 600


def test_first_bad_setting_in_alphabetical_order_is_the_one_reported() -> None:
    with pytest.raises(InvalidConfigError, match=r"retention\.ms"):
        canonical_values({"segment.ms": "x", "retention.ms": "x"})


def test_topic_setting_outranks_the_brokers_which_outranks_the_default() -> None:
    def value(topic: dict[str, str], broker: dict[str, str]) -> str:
        return effective_value("retention.ms", topic_configs=topic, broker_configs=broker)

    assert value({"retention.ms": "1"}, {"log.retention.ms": "2"}) == "1"
    assert value({}, {"log.retention.ms": "2", "node.id": "7"}) == "2"
    assert value({}, {}) == "604800000"


def test_resolved_settings_are_numbers_from_all_three_sources() -> None:
    settings = resolve_topic_settings({"retention.ms": "1"}, {"log.segment.bytes": "2097152"})

    assert settings.retention_ms == 1
    assert settings.segment_bytes == 2 * 2**20
    assert settings.write_caching is False
