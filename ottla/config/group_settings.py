"""The settings of consumer groups: their rows for the table, and their typed values.

Names, meanings and defaults are Kafka's, but for the number of members: there is a bound by
default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from ottla.config.topic_settings import INT32_MAX
from ottla.config.values import Number
from ottla.model.limits import (
    CLASSIC_GROUP_MEMBERS_MAX,
    CONSUMER_GROUP_MEMBERS_MAX,
    MIB,
    PARTITIONS_PER_TOPIC_MAX,
    REPLICATION_FACTOR_MAX,
)

_MINUTE_MS: Final = 60_000


class GroupRow(NamedTuple):
    """A setting of groups."""

    key: str
    kind: Number
    default: str
    documentation: str


GROUP_ROWS: Final = (
    GroupRow(
        "group.initial.rebalance.delay.ms",
        Number(maximum=INT32_MAX, unit="ms"),
        "3000",
        "How long the first member of an empty group waits for others, so that members which "
        "start together are assigned partitions once. `ottla up` sets 0 for its brokers: who tries "
        "something out should not wait.",
    ),
    GroupRow(
        "group.min.session.timeout.ms",
        Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        "6000",
        "The shortest session timeout that a member of a classic group may ask for.",
    ),
    GroupRow(
        "group.max.session.timeout.ms",
        Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        "1800000",
        "The longest session timeout that a member of a classic group may ask for.",
    ),
    GroupRow(
        "group.max.size",
        Number(minimum=1, maximum=INT32_MAX, unit="members"),
        str(CLASSIC_GROUP_MEMBERS_MAX),
        f"Members that one classic group may have; never more than {CLASSIC_GROUP_MEMBERS_MAX}.",
    ),
    GroupRow(
        "group.consumer.session.timeout.ms",
        Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        "45000",
        "How long a member of a consumer group (KIP-848) may be silent before its partitions are "
        "given to others.",
    ),
    GroupRow(
        "group.consumer.heartbeat.interval.ms",
        Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        "5000",
        "How often a member of a consumer group (KIP-848) is told to be heard from.",
    ),
    GroupRow(
        "group.consumer.max.size",
        Number(minimum=1, maximum=INT32_MAX, unit="members"),
        str(CONSUMER_GROUP_MEMBERS_MAX),
        "Members that one consumer group (KIP-848) may have; never more than "
        f"{CONSUMER_GROUP_MEMBERS_MAX}.",
    ),
    GroupRow(
        "group.consumer.assignment.interval.ms",
        Number(maximum=INT32_MAX, unit="ms"),
        "1000",
        "Partitions of a consumer group (KIP-848) are not divided anew more often, so that the "
        "members of a group that starts are not each worth a division. `ottla up` sets 0.",
    ),
    GroupRow(
        "offset.metadata.max.bytes",
        Number(maximum=32_767, unit="characters"),
        "4096",
        "How long the text may be that a client commits with an offset.",
    ),
    GroupRow(
        "offsets.retention.minutes",
        Number(minimum=1, maximum=INT32_MAX, unit="minutes"),
        "10080",
        "How long committed offsets are kept once a group has no members, or, of a consumer "
        "outside of any group, since they were committed.",
    ),
    GroupRow(
        "offsets.retention.check.interval.ms",
        Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        "600000",
        "How often offsets are looked at for those that may be forgotten.",
    ),
    GroupRow(
        "offsets.commit.timeout.ms",
        Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        "5000",
        "How long a client waits for what it commits to be on all in-sync replicas; then it is "
        "told to try again.",
    ),
    GroupRow(
        "offsets.topic.num.partitions",
        Number(minimum=1, maximum=PARTITIONS_PER_TOPIC_MAX, unit="partitions"),
        "50",
        "Partitions of the topic `__consumer_offsets`, in which groups are kept; their leaders "
        "share the groups. Counts when the first group makes the topic, and cannot be changed "
        "afterwards.",
    ),
    GroupRow(
        "offsets.topic.replication.factor",
        Number(minimum=1, maximum=REPLICATION_FACTOR_MAX, unit="replicas"),
        "3",
        "Replicas of the topic `__consumer_offsets`, if there are so many brokers when the first "
        "group makes it; else as many as there are.",
    ),
    GroupRow(
        "offsets.topic.segment.bytes",
        Number(minimum=MIB, maximum=INT32_MAX, unit="bytes"),
        "104857600",
        "Size of the segments of the topic `__consumer_offsets`.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsConfig:
    """The same as values. Times are milliseconds."""

    initial_rebalance_delay_ms: int
    session_timeout_min_ms: int
    session_timeout_max_ms: int
    size_max: int
    consumer_session_timeout_ms: int
    consumer_heartbeat_interval_ms: int
    consumer_size_max: int
    consumer_assignment_interval_ms: int
    offset_metadata_characters_max: int
    offsets_retention_ms: int
    offsets_retention_check_interval_ms: int
    offsets_commit_timeout_ms: int
    topic_partitions: int
    topic_replication_factor: int
    topic_segment_bytes: int


def groups_config(number: Callable[[str], int]) -> GroupsConfig:
    """Return the values; ``number`` is that of a key."""
    return GroupsConfig(
        initial_rebalance_delay_ms=number("group.initial.rebalance.delay.ms"),
        session_timeout_min_ms=number("group.min.session.timeout.ms"),
        session_timeout_max_ms=number("group.max.session.timeout.ms"),
        size_max=number("group.max.size"),
        consumer_session_timeout_ms=number("group.consumer.session.timeout.ms"),
        consumer_heartbeat_interval_ms=number("group.consumer.heartbeat.interval.ms"),
        consumer_size_max=number("group.consumer.max.size"),
        consumer_assignment_interval_ms=number("group.consumer.assignment.interval.ms"),
        offset_metadata_characters_max=number("offset.metadata.max.bytes"),
        offsets_retention_ms=number("offsets.retention.minutes") * _MINUTE_MS,
        offsets_retention_check_interval_ms=number("offsets.retention.check.interval.ms"),
        offsets_commit_timeout_ms=number("offsets.commit.timeout.ms"),
        topic_partitions=number("offsets.topic.num.partitions"),
        topic_replication_factor=number("offsets.topic.replication.factor"),
        topic_segment_bytes=number("offsets.topic.segment.bytes"),
    )


def group_contradictions(config: GroupsConfig) -> Iterator[tuple[str, str]]:
    """Say which settings are fine alone and not together: where to look, and a sentence."""
    minimum_ms, maximum_ms = config.session_timeout_min_ms, config.session_timeout_max_ms
    if minimum_ms > maximum_ms:
        sentence = (
            f"group.min.session.timeout.ms cannot be '{minimum_ms}' while "
            f"group.max.session.timeout.ms is {maximum_ms}"
        )
        yield "group.min.session.timeout.ms", sentence
    interval_ms, session_ms = (
        config.consumer_heartbeat_interval_ms,
        config.consumer_session_timeout_ms,
    )
    if interval_ms >= session_ms:
        sentence = (
            f"group.consumer.heartbeat.interval.ms cannot be '{interval_ms}' while "
            f"group.consumer.session.timeout.ms is {session_ms}: every session would end"
        )
        yield "group.consumer.heartbeat.interval.ms", sentence
