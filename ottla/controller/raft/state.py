"""What the rules of Raft need to know and change of a node: the narrow view of the engine.

:mod:`elections`, :mod:`following` and :mod:`leading` each hold the rules of one part of the
protocol. They share a node's term, role and timers through this protocol and know nothing of
pysyncobj, whose fields they are; :class:`ottla.controller.raft.hardened.HardenedSyncObj`
implements it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ottla.controller.raft.consensus import Role
from ottla.model.ids import BrokerId


class RaftState(Protocol):
    """The state of one node in the present term."""

    @property
    def node_id(self) -> BrokerId:
        """This node."""

    @property
    def voters(self) -> frozenset[BrokerId]:
        """All voters, this node included if it is one."""

    @property
    def connected(self) -> Sequence[BrokerId]:
        """The peers that can be sent to, observers included, in a fixed order."""

    @property
    def role(self) -> Role:
        """What this node is in the present term."""

    @property
    def term(self) -> int:
        """The latest term seen."""

    @property
    def leader(self) -> BrokerId | None:
        """The leader of the present term, as soon as it is known."""

    def now_ms(self) -> int:
        """Return monotonic milliseconds."""

    # --- Terms and roles ---

    def adopt_term(self, term: int) -> None:
        """Enter a later term as a follower of nobody yet, with the vote free."""

    def vote_for(self, candidate: BrokerId) -> None:
        """Give this term's vote away."""

    def follow(self, leader: BrokerId, term: int) -> None:
        """Follow the leader of ``term``, which is not earlier than the present one."""

    def become_leader(self) -> None:
        """Lead the present term, in which this node won the election."""

    # --- The election timer ---

    @property
    def election_due(self) -> bool:
        """Whether the timer has run out and there is anybody to ask."""

    def restart_election_timer(self) -> None:
        """Let it run for a random time again."""

    def expire_election_timer(self) -> None:
        """Make this node a candidate at its next tick."""

    def bring_election_forward(self) -> None:
        """Let it run out at random within the campaign delay, unless it does so earlier."""

    def hold_election_back(self) -> None:
        """Let it run for one to two campaign delays at least."""

    # --- What the leader knows of its peers ---

    def matched(self, peer: BrokerId) -> int:
        """Return the last entry up to which the peer's log is known to equal ours."""

    def set_matched(self, peer: BrokerId, index: int) -> None:
        """Remember it; what a majority of voters has matched becomes committed."""

    def heard_from(self, peer: BrokerId) -> None:
        """Note that the peer answered just now, in this term."""

    def majority_heard_within(self, milliseconds: int) -> bool:
        """Whether a majority, this node included, answered so recently."""
