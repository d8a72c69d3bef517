"""What an operator may choose about groups: names, meanings and defaults are Kafka's."""

from __future__ import annotations

from dataclasses import dataclass

from ottla.model.limits import CLASSIC_GROUP_MEMBERS_MAX, CONSUMER_GROUP_MEMBERS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """Settings of a broker's group coordinator; the name of each in Kafka is with it."""

    # --- Classic groups ---

    session_timeout_min_ms: int = 6_000
    """``group.min.session.timeout.ms``"""
    session_timeout_max_ms: int = 1_800_000
    """``group.max.session.timeout.ms``"""
    initial_rebalance_delay_ms: int = 3_000
    """``group.initial.rebalance.delay.ms``: how long an empty group waits for more members."""
    new_member_join_timeout_ms: int = 300_000
    """How long a member that has not been told its id is kept waiting; fixed in Kafka, too."""
    group_size_max: int = CLASSIC_GROUP_MEMBERS_MAX
    """``group.max.size``"""

    # --- Committed offsets ---

    offset_metadata_characters_max: int = 4_096
    """``offset.metadata.max.bytes``, which Kafka compares with characters."""
    offsets_retention_ms: int = 7 * 24 * 60 * 60_000
    """``offsets.retention.minutes``"""
    offsets_retention_check_interval_ms: int = 600_000
    """``offsets.retention.check.interval.ms``"""

    # --- Consumer groups ---

    consumer_session_timeout_ms: int = 45_000
    """``group.consumer.session.timeout.ms``"""
    consumer_heartbeat_interval_ms: int = 5_000
    """``group.consumer.heartbeat.interval.ms``: what members are told."""
    consumer_group_size_max: int = CONSUMER_GROUP_MEMBERS_MAX
    """``group.consumer.max.size``"""
    consumer_assignors: tuple[str, ...] = ("uniform", "range")
    """``group.consumer.assignors``: those that members may ask for; the first, if none does."""
    consumer_assignment_interval_ms: int = 1_000
    """``group.consumer.assignment.interval.ms``: partitions are not divided anew more often, so
    that the members of a group that starts are not each worth a division (KIP-1263)."""
