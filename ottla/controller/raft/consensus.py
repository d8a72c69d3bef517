"""The seam between the metadata state machine and whatever agrees on its log.

The log is a sequence of opaque entries. Every node applies the same entries in the
same order; an entry that was applied anywhere is never taken back.

Theory of operation
-------------------
One node at a time leads, in a *term* that no other leader shares. Only the leader may
propose. A proposal has one of three outcomes, told exactly once:

* applied: the entry is committed, durable on a majority, and applied here;
* refused: it is certain that the entry will never be applied;
* unknown: leadership ended while it was under way; it may or may not be applied later,
  so a retry must be recognisable (``MetadataBatch.client_id`` and ``sequence``).

Believing to lead is not leading: a deposed leader learns late. What must not be stale
goes through the log -- :meth:`Consensus.barrier` commits an empty entry of the present
term first.

Everything here is called, and calls back, on the thread that runs the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ottla.model.ids import BrokerId, MetadataOffset


class Role(Enum):
    """What a node does in the present term."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    OBSERVER = "observer"


class Outcome(Enum):
    """How a proposal ended."""

    APPLIED = "applied"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A node's role or its idea of the leader changed."""

    role: Role
    term: int
    leader: BrokerId | None


class ReplicatedStateMachine(Protocol):
    """What the log drives. Deterministic: no clock, no randomness, no dependence on hash order."""

    def apply(self, index: MetadataOffset, entry: bytes) -> bytes:
        """Apply a committed entry and return the proposer's answer.

        Indexes rise; some are used by the engine itself and skipped here. Refusals are
        answers. An exception is a bug, and stops the node before it can diverge.
        """

    def snapshot(self) -> bytes:
        """Return the whole state, as of the last applied entry."""

    def restore(self, index: MetadataOffset, snapshot: bytes) -> None:
        """Replace the whole state by one that :meth:`snapshot` returned at ``index``."""


Answered = Callable[[Outcome, bytes], None]
"""Called once with the outcome and, if it is ``APPLIED``, with what ``apply`` returned; if it
is ``REFUSED``, with the name of the error in :mod:`ottla.model.errors` that says why:
``NOT_CONTROLLER``, ``THROTTLING_QUOTA_EXCEEDED`` or ``MESSAGE_TOO_LARGE``."""


class Consensus(Protocol):
    """One node of the quorum."""

    @property
    def role(self) -> Role:
        """What this node believes to be."""

    @property
    def term(self) -> int:
        """The latest term this node has seen."""

    @property
    def leader(self) -> BrokerId | None:
        """Whom this node believes to lead; ``None`` during an election."""

    @property
    def applied_index(self) -> MetadataOffset:
        """The last entry handed to the state machine."""

    def propose(self, entry: bytes, answered: Answered) -> None:
        """Append ``entry`` if this node leads. ``answered`` may be called before this returns."""

    def barrier(self, answered: Answered) -> None:
        """Answer ``APPLIED`` once everything committed before the call is applied here."""

    def tick(self) -> None:
        """Let time pass: elections, appends, commits. Call at least every 40 ms."""

    def close(self) -> None:
        """Answer what is outstanding with ``UNKNOWN``, sync the journal and let go of the files."""
