"""One leader a term, chosen by a majority, and not disturbed while it is alive."""

from __future__ import annotations

import pytest

from ottla.controller.raft.consensus import Role
from ottla.controller.raft.elections import is_majority
from ottla.controller.raft.fatal import NodeStoppedError
from ottla.controller.raft.messages import (
    AppendRequest,
    AppendResponse,
    Message,
    VoteRequest,
    VoteResponse,
)
from ottla.model.ids import BrokerId
from tests.controller.raft.cluster import Cluster


def receive(cluster: Cluster, source: int, target: int, message: Message) -> None:
    link = cluster.network.link(source, target)
    assert link is not None
    cluster.engines[target].receive(BrokerId(source), link, message)


def answers(cluster: Cluster, source: int, target: int) -> list[Message]:
    """Let ``source`` speak, and return what it says to ``target``."""
    cluster.network.under_way.clear()
    cluster.tick(source)
    return [message for _, message in cluster.network.under_way[source, target]]


def vote_request(
    cluster: Cluster, voter: int, *, term: int, pre_vote: bool = False, behind: int = 0
) -> VoteRequest:
    """Make a candidate's request whose log is as far as the voter's, or ``behind`` it."""
    journal = cluster.engines[voter]._journal
    return VoteRequest(
        campaign_term=term,
        last_log_index=journal.last_index - behind,
        last_log_term=journal.last_term,
        pre_vote=pre_vote,
    )


@pytest.mark.parametrize("voters", [1, 2, 3, 4, 5, 7])
def test_any_two_majorities_have_a_voter_in_common(voters: int) -> None:
    smallest = min(some for some in range(voters + 1) if is_majority(some, voters))

    assert 2 * smallest > voters
    assert not is_majority(smallest - 1, voters)


def test_quorum_of_one_leads_after_its_first_tick() -> None:
    cluster = Cluster(1)
    cluster.tick(1)

    engine = cluster.engines[1]
    assert (engine.role, engine.leader, engine.term) == (Role.LEADER, 1, 1)
    assert engine.applied_index == 2


@pytest.mark.parametrize("voters", [2, 3, 4, 5])
def test_cluster_finds_a_leader_within_a_few_timeouts(voters: int) -> None:
    for seed in range(5):
        cluster = Cluster(voters, seed=seed)
        cluster.run(5_000)

        assert len(cluster.leaders()) == 1
        leader = cluster.leaders()[0]
        assert {engine.leader for engine in cluster.engines.values()} == {leader}


def test_minority_elects_nobody() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.crash(1)
    cluster.disconnect(2, 3)

    cluster.run(10_000)

    assert cluster.leaders() == []


# --- Votes ---------------------------------------------------------------------------


def test_vote_is_given_once_a_term() -> None:
    cluster = Cluster(3)
    receive(cluster, 1, 2, vote_request(cluster, 2, term=5))
    receive(cluster, 3, 2, vote_request(cluster, 2, term=5))
    cluster.tick(2)

    granted = {
        to: [m.granted for _, m in cluster.network.under_way[2, to] if isinstance(m, VoteResponse)]
        for to in (1, 3)
    }
    assert granted == {1: [True], 3: [False]}


def test_vote_is_given_again_to_the_same_candidate() -> None:
    cluster = Cluster(3)
    receive(cluster, 1, 2, vote_request(cluster, 2, term=5))
    receive(cluster, 1, 2, vote_request(cluster, 2, term=5))

    responses = answers(cluster, 2, 1)

    assert [m.granted for m in responses if isinstance(m, VoteResponse)] == [True, True]


def test_vote_is_remembered_by_a_voter_that_crashed() -> None:
    cluster = Cluster(3)
    receive(cluster, 1, 2, vote_request(cluster, 2, term=5))
    cluster.tick(2)
    cluster.restart(2)
    receive(cluster, 3, 2, vote_request(cluster, 2, term=5))

    [response] = answers(cluster, 2, 3)

    assert isinstance(response, VoteResponse)
    assert not response.granted


def test_candidate_whose_log_is_behind_gets_no_vote() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.commit(1, "a", "b")
    cluster.run(200)
    cluster.isolate(1)
    cluster.clock.advance(1_000)
    cluster.engines[2]._node.restart_election_timer()
    receive(cluster, 3, 2, vote_request(cluster, 2, term=5, behind=1))

    [response] = answers(cluster, 2, 3)

    assert response == VoteResponse(term=5, campaign_term=5, pre_vote=False, granted=False)


def test_candidate_of_an_earlier_term_is_told_the_present_one() -> None:
    cluster = Cluster(3)
    receive(cluster, 1, 2, vote_request(cluster, 2, term=5))
    receive(cluster, 3, 2, vote_request(cluster, 2, term=4))

    [response] = answers(cluster, 2, 3)

    assert response == VoteResponse(term=5, campaign_term=4, pre_vote=False, granted=False)


def test_candidate_that_hears_of_a_later_term_gives_up() -> None:
    cluster = Cluster(3)
    refusal = VoteResponse(term=9, campaign_term=1, pre_vote=True, granted=False)
    receive(cluster, 2, 1, refusal)

    assert (cluster.engines[1].term, cluster.engines[1].role) == (9, Role.FOLLOWER)


def test_vote_of_another_term_does_not_count() -> None:
    cluster = Cluster(3)
    cluster.clock.advance(1)
    cluster.engines[1]._node.expire_election_timer()
    cluster.tick(1)
    cluster.network.deliver(1, 2)
    cluster.tick(2)
    cluster.network.deliver(2, 1)
    cluster.tick(1)
    candidate = cluster.engines[1]
    assert candidate.role is Role.CANDIDATE

    old = VoteResponse(
        term=candidate.term, campaign_term=candidate.term - 1, pre_vote=False, granted=True
    )
    receive(cluster, 3, 1, old)

    assert candidate.role is Role.CANDIDATE


def test_node_that_is_no_voter_neither_asks_nor_votes() -> None:
    cluster = Cluster(2, observers=1)
    receive(cluster, 3, 1, vote_request(cluster, 1, term=9))
    receive(cluster, 1, 3, vote_request(cluster, 3, term=9))

    assert answers(cluster, 1, 3) == []
    assert answers(cluster, 3, 1) == []
    assert cluster.engines[1].term < 9


# --- Pre-votes and stickiness ---------------------------------------------------------


def test_partitioned_voter_does_not_raise_its_term() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    term = cluster.engines[1].term
    cluster.isolate(3)
    cluster.connect(3, 2)
    cluster.disconnect(1, 3)

    cluster.run(20_000)

    assert cluster.engines[3].term == term
    assert cluster.leaders() == [1]


def test_returning_voter_does_not_disturb_the_leader() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    term = cluster.engines[1].term
    cluster.isolate(3)
    cluster.run(20_000)
    cluster.heal(3)
    cluster.run(5_000)

    assert [engine.term for engine in cluster.engines.values()] == [term] * 3
    assert cluster.leaders() == [1]


def test_trial_vote_changes_nothing() -> None:
    cluster = Cluster(3)
    receive(cluster, 1, 2, vote_request(cluster, 2, term=5, pre_vote=True))

    [response] = answers(cluster, 2, 1)

    assert response == VoteResponse(term=0, campaign_term=5, pre_vote=True, granted=True)
    assert cluster.engines[2]._journal.voted_for is None


def test_trial_that_a_new_term_has_overtaken_is_over() -> None:
    cluster = Cluster(3)
    node = cluster.engines[1]._node
    cluster.clock.advance(1)
    node.expire_election_timer()
    cluster.tick(1)
    node.adopt_term(1)
    cluster.network.under_way.clear()

    stale = VoteResponse(term=0, campaign_term=1, pre_vote=True, granted=True)
    receive(cluster, 2, 1, stale)
    cluster.tick(1)

    assert (cluster.engines[1].role, cluster.engines[1].term) == (Role.FOLLOWER, 1)


def test_voter_that_hears_its_leader_ignores_candidates() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    receive(cluster, 3, 2, vote_request(cluster, 2, term=leader.term + 1))
    receive(cluster, 3, 1, vote_request(cluster, 1, term=leader.term + 1))

    assert answers(cluster, 2, 3) == []
    assert not any(isinstance(message, VoteResponse) for message in answers(cluster, 1, 3))
    assert leader.role is Role.LEADER


def test_voter_whose_leader_is_silent_listens_to_candidates() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.clock.advance(cluster.settings.election_timeout_min_ms)
    receive(cluster, 3, 2, vote_request(cluster, 2, term=leader.term + 1))

    [response] = answers(cluster, 2, 3)

    assert isinstance(response, VoteResponse)
    assert response.granted


def test_voter_of_a_later_term_with_a_shorter_log_does_not_keep_others_from_leading() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.commit(1, "only here", "and there")
    cluster.run(200)
    cluster.isolate(1)
    cluster.engines[3]._node.adopt_term(50)
    cluster.connect(2, 3)

    cluster.run(15_000)

    assert cluster.leaders()[-1] == 2
    assert cluster.engines[2].term > 50


# --- Not waiting for the election timeout -----------------------------------------------


def milliseconds_until_somebody_leads(cluster: Cluster) -> int:
    """Let time pass in small steps, messages arriving at once."""
    start_ms = cluster.clock.now_ms()
    while not cluster.leaders():
        cluster.run(5, step_ms=5)
        assert cluster.clock.now_ms() < start_ms + 30_000, cluster
    return cluster.clock.now_ms() - start_ms


@pytest.mark.parametrize("voters", [3, 5])
def test_cluster_that_starts_elects_within_two_campaign_delays(voters: int) -> None:
    for seed in range(20):
        cluster = Cluster(voters, seed=seed)

        took_ms = milliseconds_until_somebody_leads(cluster)

        assert took_ms <= 2 * cluster.settings.campaign_delay_max_ms + 10


@pytest.mark.parametrize("voters", [3, 5])
def test_end_of_the_link_to_the_leader_is_followed_by_an_election(voters: int) -> None:
    for seed in range(20):
        cluster = Cluster(voters, seed=seed)
        cluster.elect(1)
        cluster.crash(1)

        took_ms = milliseconds_until_somebody_leads(cluster)

        assert took_ms <= 2 * cluster.settings.campaign_delay_max_ms + 10


def test_voter_that_hears_of_the_end_late_costs_no_election_timeout() -> None:
    for seed in range(20):
        cluster = Cluster(3, seed=seed)
        cluster.elect(1)
        cluster.disconnect(1, 2)
        cluster.run(100, step_ms=5)  # 2 may ask, and 3 is bound to the leader still
        cluster.crash(1)

        took_ms = milliseconds_until_somebody_leads(cluster)

        assert took_ms <= 2 * cluster.settings.campaign_delay_max_ms + 10


def test_voter_whose_log_is_ahead_soon_asks_after_it_refused_another() -> None:
    for seed in range(20):
        cluster = Cluster(3, seed=seed)
        cluster.elect(1)
        cluster.disconnect(1, 3)
        cluster.commit(1, "not on 3")
        cluster.run(100)
        cluster.crash(1)

        took_ms = milliseconds_until_somebody_leads(cluster)

        assert cluster.leaders() == [2]
        assert took_ms <= 4 * cluster.settings.campaign_delay_max_ms


def test_voter_that_asked_too_early_soon_asks_again() -> None:
    """The one who hears later of the end lacks an entry, so only the early one can lead."""
    for seed in range(20):
        cluster = Cluster(3, seed=seed)
        cluster.elect(1)
        cluster.propose(1, "on 1 and 2")
        cluster.tick(1)
        cluster.network.deliver(1, 2)
        cluster.tick(2)
        cluster.disconnect(1, 2)
        cluster.clock.advance(cluster.settings.campaign_delay_max_ms + 1)
        cluster.tick(2)
        cluster.network.deliver(2, 3)
        cluster.tick(3)
        assert cluster.network.busy_directions() == [(1, 3)]  # 3 is bound to 1, and says nothing
        cluster.crash(1)

        took_ms = milliseconds_until_somebody_leads(cluster)

        assert cluster.leaders() == [2]
        assert took_ms <= 2 * cluster.settings.campaign_delay_max_ms + 10


def test_voter_without_a_link_to_the_leader_does_not_disturb_those_who_have_one() -> None:
    cluster = Cluster(5)
    leader = cluster.elect(1)
    term = leader.term
    for _ in range(10):
        cluster.disconnect(1, 4, 5)
        cluster.run(1_000)
        cluster.connect(1, 4, 5)
        cluster.run(200)

    assert cluster.leaders() == [1]
    assert {engine.term for engine in cluster.engines.values()} == {term}


def test_voter_is_free_once_its_link_to_the_leader_has_ended() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.disconnect(1, 2)
    receive(cluster, 3, 2, vote_request(cluster, 2, term=leader.term + 1))

    [response] = answers(cluster, 2, 3)

    assert isinstance(response, VoteResponse)
    assert response.granted


def test_nobody_is_said_to_lead_once_the_link_to_the_leader_has_ended() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.disconnect(1, 2)

    assert (cluster.engines[2].leader, cluster.engines[3].leader) == (None, 1)


def test_nobody_is_said_to_lead_once_the_leader_is_silent() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.clock.advance(cluster.settings.election_timeout_min_ms)

    assert (leader.leader, cluster.engines[2].leader) == (1, None)


def test_end_of_the_link_to_another_follower_frees_nobody() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.disconnect(2, 3)
    cluster.connect(2, 3)
    receive(cluster, 3, 2, vote_request(cluster, 2, term=leader.term + 1))

    assert answers(cluster, 2, 3) == []


def test_voter_is_bound_again_when_it_hears_from_the_leader_on_a_new_link() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.disconnect(1, 2)
    cluster.connect(1, 2)
    cluster.clock.advance(cluster.settings.heartbeat_interval_ms + 1)
    cluster.tick(1)
    cluster.network.deliver(1, 2)
    receive(cluster, 3, 2, vote_request(cluster, 2, term=leader.term + 1))

    assert not any(isinstance(message, VoteResponse) for message in answers(cluster, 2, 3))


def test_voters_that_stood_in_each_others_way_try_again_soon() -> None:
    cluster = Cluster(2)
    candidates = list(cluster.engines.values())
    cluster.clock.advance(1)
    for engine in candidates:
        engine._node.adopt_term(1)
        engine._node.expire_election_timer()
        engine._node.elections._trial_won = True
    cluster.tick()  # both have given their vote to themselves
    assert {engine.role for engine in candidates} == {Role.CANDIDATE}

    took_ms = milliseconds_until_somebody_leads(cluster)

    assert took_ms <= 2 * cluster.settings.campaign_delay_max_ms


def test_voter_that_supports_another_holds_back() -> None:
    cluster = Cluster(3)
    for engine in cluster.engines.values():
        engine._node.restart_election_timer()
    cluster.clock.advance(1)
    cluster.engines[2]._node.bring_election_forward()
    receive(cluster, 1, 2, vote_request(cluster, 2, term=1, pre_vote=True))
    cluster.clock.advance(cluster.settings.campaign_delay_max_ms)

    asked = [message for message in answers(cluster, 2, 3) if isinstance(message, VoteRequest)]

    assert asked == []


def test_observer_does_not_ask_whatever_happens_to_its_links() -> None:
    cluster = Cluster(3, observers=1)
    cluster.elect(1)
    cluster.isolate(4)
    cluster.heal(4)
    cluster.run(1_000)
    cluster.crash(1)
    cluster.run(1_000)

    assert cluster.engines[4].role is Role.OBSERVER


# --- Leaders ---------------------------------------------------------------------------


def test_leader_that_hears_of_a_later_term_steps_down() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    receive(cluster, 2, 1, AppendResponse(term=50, accepted=False, next_index=1))

    assert (leader.role, leader.term, leader.leader) == (Role.FOLLOWER, 50, None)


def test_stale_leader_is_told_by_whoever_it_speaks_to() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    journal = cluster.engines[2]._journal
    stale = AppendRequest(
        term=journal.term - 1, previous_index=1, previous_term=0, entries=(), commit_index=1
    )
    receive(cluster, 3, 2, stale)

    [response] = answers(cluster, 2, 3)

    assert isinstance(response, AppendResponse)
    assert (response.accepted, response.term) == (False, journal.term)


@pytest.mark.parametrize("target", [1, 2])
def test_second_leader_of_a_term_stops_the_node(target: int) -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    impostor = AppendRequest(
        term=leader.term, previous_index=1, previous_term=0, entries=(), commit_index=1
    )

    with pytest.raises(NodeStoppedError, match="both lead term"):
        receive(cluster, 3, target, impostor)


def test_role_changes_are_told_once_each() -> None:
    cluster = Cluster(1)
    told: list[tuple[Role, int]] = []
    engine = cluster.engines[1]
    engine._role_changed = lambda change: told.append((change.role, change.term))
    for _ in range(3):
        engine.tick()

    assert told == [(Role.LEADER, 1)]
