"""What the nodes of the quorum say to each other.

Six messages, all flat, all with the sender's term on them (in a vote request it follows
from ``campaign_term``), so that an old answer can never be taken for a new one:

=================== ================= ====================================================
message             from, to          answered with
=================== ================= ====================================================
VoteRequest         candidate, voter  VoteResponse, or silence while a leader is alive
AppendRequest       leader, any       AppendResponse
SnapshotChunk       leader, any       SnapshotResponse, or AppendResponse once installed
=================== ================= ====================================================

They are values: whoever encodes them for a network does so field by field. A message that
contradicts itself cannot be made (:exc:`ValueError`), so a decoder needs no checks of its own.

Source of the names: Ongaro and Ousterhout, "In Search of an Understandable Consensus
Algorithm", figures 2 and 13; pre-votes: Ongaro's dissertation, section 9.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

PROPOSED: Final = b"\x00"
"""First byte of a command that somebody proposed; what follows is the proposal."""

NO_OPERATION: Final = b"\x01"
"""The whole command of an entry that only marks a position. pysyncobj writes it as well."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. The order of the fields is pysyncobj's."""

    command: bytes
    index: int
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRequest:
    """A voter asks to lead in ``campaign_term``, or whether it would win if it asked."""

    campaign_term: int
    last_log_index: int
    last_log_term: int
    pre_vote: bool
    """Only asking: nobody's term or vote changes because of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteResponse:
    """What became of a vote request."""

    term: int
    """The voter's term after it considered the request."""
    campaign_term: int
    """The request that is answered."""
    pre_vote: bool
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRequest:
    """Entries that follow ``previous_index``, or none: then it only says who leads."""

    term: int
    previous_index: int
    previous_term: int
    entries: tuple[Entry, ...]
    commit_index: int

    def __post_init__(self) -> None:
        term = self.previous_term
        for index, entry in enumerate(self.entries, self.previous_index + 1):
            if entry.index != index or not term <= entry.term <= self.term or not entry.command:
                raise ValueError(
                    f"entry {entry.index} of term {entry.term} cannot stand at {index} after "
                    f"term {term} in a message of term {self.term}"
                )
            term = entry.term


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendResponse:
    """How far the sender's log is known to agree with the leader's."""

    term: int
    accepted: bool
    next_index: int
    """If accepted, everything below is durable and equal to the leader's log. If not, where
    the leader should go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChunk:
    """A part of a snapshot, at ``offset`` bytes; without data it only says who leads."""

    term: int
    index: int
    """The last entry that the snapshot contains."""
    index_term: int
    checksum: bytes
    """SHA-256 of the snapshot: which one this is a part of."""
    offset: int
    total_bytes: int
    data: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.offset <= self.offset + len(self.data) <= self.total_bytes:
            raise ValueError(
                f"{len(self.data)} bytes at {self.offset} are not part of {self.total_bytes}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotResponse:
    """How much of a snapshot has arrived."""

    term: int
    checksum: bytes
    received_bytes: int


Message = (
    VoteRequest | VoteResponse | AppendRequest | AppendResponse | SnapshotChunk | SnapshotResponse
)

_FIELDS_BYTES: Final = 100


def size_bytes(message: Message) -> int:
    """Return about how much memory a message takes, for those who bound what waits."""
    match message:
        case AppendRequest():
            entries_bytes = sum(_FIELDS_BYTES + len(entry.command) for entry in message.entries)
            return _FIELDS_BYTES + entries_bytes
        case SnapshotChunk():
            return _FIELDS_BYTES + len(message.data)
        case VoteRequest() | VoteResponse() | AppendResponse() | SnapshotResponse():
            return _FIELDS_BYTES
        case _:
            assert_never(message)
