"""The numbers of one node of the quorum: what an operator may change, and what tests make small."""

from __future__ import annotations

from dataclasses import dataclass

from ottla.model import limits


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftSettings:
    """Times that all voters share, and bounds. Every default has its reason in ``limits``."""

    # --- Behaviour ---

    heartbeat_interval_ms: int = 100
    """How often a leader with nothing to say says that it leads."""

    election_timeout_min_ms: int = 1_000
    """A voter that hears from no leader for this long, or up to the maximum, campaigns. A
    leader that hears from no majority for this long stops leading. More than three heartbeats."""

    election_timeout_max_ms: int = 2_000
    """Drawn at random between both, so that voters seldom campaign at the same time."""

    campaign_delay_max_ms: int = 150
    """A voter that knows that nobody leads, because the link to the leader ended, campaigns at
    random within this; whoever asked without success asks again after once to twice as long. Two
    of three voters then get in each other's way once in some dozen elections, for a question and
    its answer take a few milliseconds; and nobody notices that nobody leads for so long."""

    # --- Bounds ---

    entry_bytes_max: int = limits.METADATA_ENTRY_BYTES_MAX
    proposals_max: int = limits.METADATA_PROPOSALS_MAX
    proposed_bytes_max: int = limits.METADATA_PROPOSED_BYTES_MAX
    append_bytes_max: int = limits.METADATA_APPEND_BYTES_MAX
    in_flight_bytes_max: int = limits.METADATA_IN_FLIGHT_BYTES_MAX
    log_entries_max: int = limits.METADATA_LOG_ENTRIES_MAX
    log_bytes_max: int = limits.METADATA_LOG_BYTES_MAX
    trailing_entries_max: int = limits.METADATA_TRAILING_ENTRIES_MAX
    trailing_bytes_max: int = limits.METADATA_TRAILING_BYTES_MAX
    snapshot_bytes_max: int = limits.METADATA_SNAPSHOT_BYTES_MAX
    snapshot_chunk_bytes: int = limits.METADATA_SNAPSHOT_CHUNK_BYTES

    def __post_init__(self) -> None:
        assert 0 < 3 * self.heartbeat_interval_ms < self.election_timeout_min_ms
        assert self.election_timeout_min_ms < self.election_timeout_max_ms
        assert 0 < 2 * self.campaign_delay_max_ms < self.election_timeout_min_ms
        assert self.trailing_entries_max < self.log_entries_max, "or compaction gains nothing"
        assert self.trailing_bytes_max < self.log_bytes_max, "or compaction gains nothing"
        assert 0 < self.append_bytes_max <= self.in_flight_bytes_max
        assert self.snapshot_chunk_bytes > 0
