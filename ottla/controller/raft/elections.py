"""Who may lead: votes, votes asked for on trial, and leaving a living leader alone.

pysyncobj runs the candidate's side: its timer runs out, the term rises, the vote goes to
itself. Around it stand three rules of ours:

* **Votes are attributed.** A majority is a set of voters, not a number of messages.
* **Pre-vote** (dissertation, 9.6). Before it raises its term, a node asks whether it would win.
  One that was cut off, or whose log is behind, disturbs nobody when it returns.
* **Stickiness** (dissertation, 4.2.3). A voter that heard from a leader within the shortest
  election timeout, or is a leader that a majority answered within it, ignores candidates.

A quorum of one voter wins both rounds at its first tick.

Nobody waits for the election timeout who knows better. These are about *when* a node asks; what
it is answered, and so what is safe, does not depend on them:

* **A link that ends is news.** When the one to the leader does, a voter is not bound to that leader
  any more, and asks at random within the *campaign delay*. If the leader is alive for the others,
  they go on ignoring us. A voter that knows no leader asks as soon when it is linked with a
  majority: so a cluster that starts elects at once.
* **Asking is cheap,** so whoever won no trial asks again soon. It was perhaps too early: the others
  had not heard yet of the end of their links; or a later one asked whose log is behind ours.
* **Whoever supports another holds back,** long enough for that one to win. So two that ask for
  trial votes at almost the same time seldom go on to split the real ones; who did asks again soon.

Every request is answered, unless it is ignored for stickiness; the answer carries the voter's
term, so that a candidate with an old one catches up and asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ottla.controller.raft.consensus import Role
from ottla.controller.raft.journal import Journal
from ottla.controller.raft.messages import Message, VoteRequest, VoteResponse
from ottla.controller.raft.state import RaftState
from ottla.model.ids import BrokerId

Send = Callable[[BrokerId, Message], None]
"""Say something to a peer; it leaves after the journal has been synced, or is lost."""


def is_majority(some: int, voters: int) -> bool:
    """Whether any two groups of ``some`` out of ``voters`` have a member in common."""
    return 2 * some > voters


@dataclass(slots=True)
class Ballot:
    """The votes for one campaign."""

    campaign_term: int
    granted_by: set[BrokerId] = field(default_factory=set)


class Elections:
    """The voter's rules, and the pre-vote of the candidate."""

    def __init__(
        self, raft: RaftState, journal: Journal, *, leader_lease_ms: int, send: Send
    ) -> None:
        """Make the rules for one node; ``leader_lease_ms`` is the shortest election timeout."""
        self._raft = raft
        self._journal = journal
        self._leader_lease_ms = leader_lease_ms
        self._send = send
        self._leader_heard_at_ms: int | None = None
        self._trial: Ballot | None = None
        self._trial_won = False
        self._ballot = Ballot(0)

    # --- The candidate ---

    def campaign_if_due(self) -> None:
        """Ask for pre-votes when the election timer has run out. Call before pysyncobj's tick.

        Once a majority would vote for this node the timer is left expired, and pysyncobj's tick
        holds the election.
        """
        raft = self._raft
        if self._trial_won or not self._may_campaign() or not raft.election_due:
            self._trial_won = False
            return
        raft.hold_election_back()
        self._trial = Ballot(raft.term + 1)
        self._count_trial_vote(raft.node_id, raft.term + 1)
        for voter in sorted(raft.voters - {raft.node_id}):
            self._request_vote(voter, raft.term + 1, pre_vote=True)

    def request_vote(self, voter: BrokerId) -> None:
        """Ask for a vote in the present term, which this node has just entered as a candidate."""
        self._request_vote(voter, self._raft.term, pre_vote=False)

    def on_vote_response(self, voter: BrokerId, response: VoteResponse) -> None:
        """Count a vote, or learn that the term is over."""
        raft = self._raft
        if response.term > raft.term:
            raft.adopt_term(response.term)
        elif voter in raft.voters and response.granted:
            if response.pre_vote:
                self._count_trial_vote(voter, response.campaign_term)
            elif self._is_about_our_candidacy(response):
                self._count_vote(voter)
        elif self._is_about_our_candidacy(response):
            raft.bring_election_forward()

    def leader_heard(self) -> None:
        """Note that the leader of the present term spoke: no campaign, and no votes for others."""
        self._leader_heard_at_ms = self._raft.now_ms()
        self._trial = None
        self._trial_won = False

    @property
    def leader_is_heard(self) -> bool:
        """Whether the leader, which is another node, has spoken lately on a link that is there."""
        heard_at_ms = self._leader_heard_at_ms
        return heard_at_ms is not None and (
            self._raft.now_ms() - heard_at_ms < self._leader_lease_ms
        )

    def connected(self) -> None:
        """Ask soon if nobody is known to lead and a majority, this node included, is linked."""
        raft = self._raft
        linked = 1 + len(raft.voters.intersection(raft.connected))
        if raft.leader is None and self._may_campaign() and is_majority(linked, len(raft.voters)):
            raft.bring_election_forward()

    def disconnected(self, peer: BrokerId) -> None:
        """Ask soon if it was the leader; until it speaks again we are not bound to it."""
        if peer != self._raft.leader:
            return
        self._leader_heard_at_ms = None
        if self._may_campaign():
            self._raft.bring_election_forward()

    # --- The voter ---

    def on_vote_request(self, candidate: BrokerId, request: VoteRequest) -> None:
        """Answer a candidate, or ignore it while a leader is alive."""
        raft = self._raft
        if candidate not in raft.voters or raft.role is Role.OBSERVER or self._leader_is_alive():
            return
        if request.pre_vote:
            granted = request.campaign_term > raft.term and self._log_is_current(request)
            if granted and not self._trial_won:
                raft.hold_election_back()
        else:
            granted = self._vote(candidate, request)
        response = VoteResponse(
            term=raft.term,
            campaign_term=request.campaign_term,
            pre_vote=request.pre_vote,
            granted=granted,
        )
        self._send(candidate, response)

    def _vote(self, candidate: BrokerId, request: VoteRequest) -> bool:
        raft = self._raft
        if request.campaign_term > raft.term:
            raft.adopt_term(request.campaign_term)
        may_vote = (
            request.campaign_term == raft.term
            and raft.role is Role.FOLLOWER
            and self._journal.voted_for in (None, candidate)
            and self._log_is_current(request)
        )
        if may_vote:
            raft.vote_for(candidate)
            raft.restart_election_timer()
        return may_vote

    def _log_is_current(self, request: VoteRequest) -> bool:
        """Whether the candidate's log is at least as far as ours (paper, 5.4.1)."""
        ours = (self._journal.last_term, self._journal.last_index)
        return (request.last_log_term, request.last_log_index) >= ours

    def _leader_is_alive(self) -> bool:
        raft = self._raft
        if raft.role is Role.LEADER:
            return raft.majority_heard_within(self._leader_lease_ms)
        return raft.leader is not None and self.leader_is_heard

    def _may_campaign(self) -> bool:
        return self._raft.role in (Role.FOLLOWER, Role.CANDIDATE)

    # --- Counting ---

    def _is_about_our_candidacy(self, response: VoteResponse) -> bool:
        return (
            not response.pre_vote
            and self._raft.role is Role.CANDIDATE
            and response.campaign_term == self._raft.term
        )

    def _request_vote(self, voter: BrokerId, campaign_term: int, *, pre_vote: bool) -> None:
        request = VoteRequest(
            campaign_term=campaign_term,
            last_log_index=self._journal.last_index,
            last_log_term=self._journal.last_term,
            pre_vote=pre_vote,
        )
        self._send(voter, request)

    def _count_trial_vote(self, voter: BrokerId, campaign_term: int) -> None:
        if self._trial is None or campaign_term != self._trial.campaign_term:
            return
        if campaign_term != self._raft.term + 1:
            return  # it was about a term that has come without us
        self._trial.granted_by.add(voter)
        if is_majority(len(self._trial.granted_by), len(self._raft.voters)):
            self._trial = None
            self._trial_won = True
            self._raft.expire_election_timer()

    def _count_vote(self, voter: BrokerId) -> None:
        if self._ballot.campaign_term != self._raft.term:
            self._ballot = Ballot(self._raft.term, {self._raft.node_id})
        self._ballot.granted_by.add(voter)
        if is_majority(len(self._ballot.granted_by), len(self._raft.voters)):
            self._raft.become_leader()
