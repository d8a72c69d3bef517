"""A leader sends each peer what it lacks, in bounded steps, and counts only what is proved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ottla.controller.raft.consensus import Outcome, Role
from ottla.controller.raft.fatal import NodeStoppedError
from ottla.controller.raft.messages import (
    AppendRequest,
    AppendResponse,
    Entry,
    Message,
    SnapshotChunk,
    SnapshotResponse,
)
from ottla.model.ids import BrokerId
from tests.controller.raft.cluster import SMALL_BATCHES, Cluster


def under_way(cluster: Cluster, source: int, target: int) -> list[Message]:
    return [message for _, message in cluster.network.under_way[source, target]]


def entries_of(messages: list[Message]) -> int:
    return sum(len(message.entries) for message in messages if isinstance(message, AppendRequest))


def test_entries_of_one_drain_leave_in_one_append_and_one_sync() -> None:
    settings = replace(SMALL_BATCHES, append_bytes_max=100_000, in_flight_bytes_max=100_000)
    cluster = Cluster(3, settings=settings)
    leader = cluster.elect(1)
    syncs = leader.statistics().syncs
    for n in range(100):
        cluster.propose(1, f"entry {n}")
    cluster.tick(1)

    assert [entries_of([message]) for message in under_way(cluster, 1, 2)] == [100]
    assert leader.statistics().syncs == syncs + 1


def test_follower_syncs_once_for_all_the_appends_of_one_drain() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    for n in range(12):
        cluster.propose(1, f"entry {n}")
    cluster.tick(1)
    assert len(under_way(cluster, 1, 2)) > 2
    syncs = cluster.engines[2].statistics().syncs
    cluster.network.deliver(1, 2)
    cluster.tick(2)

    assert cluster.engines[2].statistics().syncs == syncs + 1


def test_unacknowledged_entries_are_bounded() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    for n in range(200):
        cluster.propose(1, f"entry {n}")
    cluster.tick(1)
    sent = entries_of(under_way(cluster, 1, 2))
    for _ in range(5):
        cluster.tick(1)

    assert 0 < entries_of(under_way(cluster, 1, 2)) == sent < 30


def test_acknowledgement_opens_the_window() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    answers = [cluster.propose(1, f"entry {n}") for n in range(200)]
    cluster.tick(1)

    cluster.deliver_all()

    assert all(answer.outcome is Outcome.APPLIED for answer in answers)


def test_slow_peer_does_not_hold_up_the_others() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    answers = [cluster.propose(1, f"entry {n}") for n in range(200)]
    cluster.tick(1)

    cluster.deliver_all(without=[(1, 3)])

    assert all(answer.outcome is Outcome.APPLIED for answer in answers)
    assert entries_of(under_way(cluster, 1, 3)) < 30


def test_followers_hear_of_a_commit_without_waiting_for_a_heartbeat() -> None:
    cluster = Cluster(3)
    cluster.elect(1)

    cluster.commit(1, "now")

    assert [machine.texts() for machine in cluster.machines.values()] == [["now"]] * 3


def test_what_was_lost_with_a_link_is_sent_again() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.propose(1, "lost on its way")
    cluster.tick(1)
    cluster.isolate(1)
    cluster.heal(1)

    cluster.run(500)

    assert all(machine.texts() == ["lost on its way"] for machine in cluster.machines.values())


def test_answers_that_were_lost_with_a_link_are_not_missed() -> None:
    cluster = Cluster(2)
    cluster.elect(1)
    answer = cluster.propose(1, "answered into the void")
    cluster.tick(1)
    cluster.network.deliver(1, 2)
    cluster.tick(2)
    cluster.isolate(1)
    cluster.heal(1)

    cluster.run(500)

    assert answer.outcome is Outcome.APPLIED


def test_peer_one_moment_behind_a_compaction_gets_entries_and_no_snapshot() -> None:
    cluster = Cluster(3, settings=replace(SMALL_BATCHES, trailing_entries_max=10))
    cluster.elect(1)
    cluster.commit(1, *(f"entry {n}" for n in range(30)))
    cluster.isolate(3)
    cluster.commit(1, "a", "b", "c")
    cluster.engines[1].begin_snapshot()
    cluster.tick(1)
    assert cluster.engines[1].statistics().base_index > 20
    cluster.heal(3)
    seen: list[Message] = []
    cluster.spies.append(lambda _source, _target, message: seen.append(message))

    cluster.run(500)

    assert cluster.converged()
    assert not any(isinstance(message, SnapshotChunk) for message in seen)


def test_refused_append_goes_on_in_one_step() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    for n in range(60):
        cluster.propose(1, f"dead {n}")
    cluster.tick(1)
    cluster.elect(2)
    cluster.commit(2, *(f"entry {n}" for n in range(60)))
    cluster.heal(1)
    refusals: list[Message] = []

    def spy(source: int, _target: int, message: Message) -> None:
        if source == 1 and isinstance(message, AppendResponse) and not message.accepted:
            refusals.append(message)

    cluster.spies.append(spy)
    cluster.run(1_000)

    assert cluster.converged()
    assert len(refusals) <= 4


def test_entry_of_an_earlier_term_is_committed_only_with_one_of_the_present() -> None:
    """Figure 8 of the paper: an old entry on a majority may still be overwritten."""
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.propose(1, "of the first term")
    cluster.tick(1)
    old = leader.statistics().last_index
    leader._node.adopt_term(leader.term + 1)
    cluster.network.under_way.clear()
    cluster.clock.advance(1_000)
    leader._node.expire_election_timer()
    for _ in range(2):
        cluster.tick(1)
        cluster.network.deliver(1, 2)
        cluster.tick(2)
        cluster.network.deliver(2, 1)
    assert leader.role is Role.LEADER
    link = cluster.network.link(1, 2)
    assert link is not None

    has_the_old_one = AppendResponse(term=leader.term, accepted=True, next_index=old + 1)
    leader.receive(BrokerId(2), link, has_the_old_one)
    cluster.network.under_way.clear()
    cluster.tick(1)

    assert leader._node.matched(BrokerId(2)) == old
    assert leader.statistics().commit_index < old


def test_heartbeat_commits_nothing_beyond_what_it_shows_to_agree() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    follower = cluster.engines[2]
    agreed = follower.statistics().last_index
    cluster.isolate(2)
    follower._journal.append(Entry(b"\x00of a lost leader", agreed + 1, follower.term))
    link = cluster.network.connect(1, 2)
    for engine, peer in ((leader, 2), (follower, 1)):
        engine.connected(BrokerId(peer), link)
    heartbeat = AppendRequest(
        term=leader.term + 1,
        previous_index=agreed,
        previous_term=leader.term,
        entries=(),
        commit_index=agreed + 10,
    )

    follower.receive(BrokerId(1), link, heartbeat)
    follower.tick()

    assert (follower.statistics().last_index, follower.applied_index) == (agreed + 1, agreed)


def test_acknowledgement_beyond_the_log_is_not_believed() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    last = leader.statistics().last_index
    link = cluster.network.link(1, 2)
    assert link is not None

    leader.receive(
        BrokerId(2), link, AppendResponse(term=leader.term, accepted=True, next_index=last + 500)
    )
    cluster.propose(1, "not there yet")
    leader.tick()

    assert leader._node.matched(BrokerId(2)) == last
    assert leader.applied_index == last


# --- What a follower does not do ------------------------------------------------------------


def test_leader_that_contradicts_what_is_committed_stops_the_node() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.commit(1, "committed")
    cluster.run(200)
    follower = cluster.engines[2]
    link = cluster.network.link(1, 2)
    assert link is not None
    other = Entry(b"\x00another history", follower.applied_index, leader.term + 1)
    request = AppendRequest(
        term=leader.term + 1,
        previous_index=follower.applied_index - 1,
        previous_term=leader.term,
        entries=(other,),
        commit_index=0,
    )

    with pytest.raises(NodeStoppedError, match="contradicts entry"):
        follower.receive(BrokerId(1), link, request)


def test_entries_of_a_node_that_is_no_voter_are_ignored() -> None:
    cluster = Cluster(2, observers=1)
    leader = cluster.elect(1)
    link = cluster.network.link(3, 2)
    assert link is not None
    forged = AppendRequest(
        term=10**6, previous_index=1, previous_term=0, entries=(), commit_index=1
    )

    cluster.engines[2].receive(BrokerId(3), link, forged)
    cluster.engines[2].tick()

    assert cluster.engines[2].term == leader.term


def test_part_of_a_snapshot_from_a_leader_of_the_past_is_answered_with_the_present_term() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    link = cluster.network.link(3, 2)
    assert link is not None
    cluster.network.under_way.clear()
    old = SnapshotChunk(
        term=leader.term - 1,
        index=500,
        index_term=0,
        checksum=b"",
        offset=0,
        total_bytes=1,
        data=b"x",
    )

    cluster.engines[2].receive(BrokerId(3), link, old)
    cluster.engines[2].tick()

    [answer] = under_way(cluster, 2, 3)
    assert isinstance(answer, AppendResponse)
    assert (answer.accepted, answer.term) == (False, leader.term)


def test_snapshot_that_ends_within_the_log_shows_that_much_to_be_committed() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.propose(1, "a")
    cluster.propose(1, "b")
    cluster.tick(1)
    cluster.network.deliver(1, 2)
    cluster.tick(2)
    follower = cluster.engines[2]
    last = follower.statistics().last_index
    assert follower.applied_index == last - 2
    link = cluster.network.link(1, 2)
    assert link is not None
    offer = SnapshotChunk(
        term=leader.term,
        index=last - 1,
        index_term=leader.term,
        checksum=b"",
        offset=0,
        total_bytes=10,
        data=b"",
    )

    follower.receive(BrokerId(1), link, offer)
    follower.tick()

    assert follower.applied_index == last - 1
    assert follower.statistics().last_index == last


def test_answer_about_a_snapshot_that_is_not_sent_is_ignored() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    link = cluster.network.link(1, 2)
    assert link is not None

    leader.receive(
        BrokerId(2), link, SnapshotResponse(term=leader.term, checksum=b"x", received_bytes=7)
    )
    leader.tick()

    assert leader.role is Role.LEADER


# --- Observers ---------------------------------------------------------------------------


def test_observers_catch_up_by_the_log() -> None:
    cluster = Cluster(3, observers=2)
    cluster.elect(1)
    cluster.commit(1, *(f"entry {n}" for n in range(50)))
    cluster.run(300)

    assert cluster.converged()
    assert {cluster.engines[node].role for node in (4, 5)} == {Role.OBSERVER}
    assert cluster.engines[4].leader == 1


def test_observers_catch_up_by_a_snapshot() -> None:
    cluster = Cluster(3, observers=1)
    cluster.elect(1)
    cluster.isolate(4)
    cluster.commit(1, *(f"entry {n}" for n in range(50)))
    cluster.engines[1].begin_snapshot()
    cluster.tick(1)
    cluster.heal(4)
    cluster.run(500)

    assert cluster.converged()
    assert cluster.engines[4].statistics().snapshot_index > 0


def test_observers_never_count_for_a_majority() -> None:
    cluster = Cluster(3, observers=4)
    cluster.elect(1)
    cluster.crash(2)
    cluster.crash(3)
    answer = cluster.propose(1, "only observers have this")

    cluster.run(500)

    assert answer.outcome is None
    assert cluster.machines[4].texts() == []


def test_observers_never_campaign() -> None:
    cluster = Cluster(3, observers=2)
    cluster.elect(1)
    for voter in (1, 2, 3):
        cluster.crash(voter)

    cluster.run(20_000)

    assert {cluster.engines[node].role for node in (4, 5)} == {Role.OBSERVER}


def test_observer_follows_the_next_leader() -> None:
    cluster = Cluster(3, observers=1)
    cluster.elect(1)
    cluster.commit(1, "a")
    cluster.crash(1)
    cluster.elect(2)
    cluster.commit(2, "b")
    cluster.run(300)

    assert cluster.machines[4].texts() == ["a", "b"]


def test_observer_that_restarts_goes_on_from_its_own_disk() -> None:
    cluster = Cluster(3, observers=1)
    cluster.elect(1)
    cluster.commit(1, *(f"entry {n}" for n in range(10)))
    cluster.run(300)
    cluster.restart(4)
    sent: list[Message] = []

    def spy(_source: int, target: int, message: Message) -> None:
        if target == 4:
            sent.append(message)

    cluster.spies.append(spy)
    cluster.commit(1, "after")
    cluster.run(300)

    assert cluster.converged()
    assert entries_of(sent) < 5


def test_nothing_is_kept_of_observers_that_left() -> None:
    cluster = Cluster(2, observers=1)
    node = cluster.elect(1)._node
    cluster.commit(1, "a")
    cluster.run(200)
    cluster.isolate(3)

    kept = [
        name
        for name, value in vars(node).items()
        if isinstance(value, dict | set) and any(getattr(key, "id", key) == 3 for key in value)
    ]
    assert kept == []


def test_storm_of_returning_observers_ends_with_everybody_up_to_date() -> None:
    cluster = Cluster(3, observers=20)
    cluster.elect(1)
    observers = range(4, 24)
    for observer in observers:
        cluster.isolate(observer)
    cluster.commit(1, *(f"entry {n}" for n in range(60)))
    cluster.engines[1].begin_snapshot()
    cluster.tick(1)
    for _ in range(3):
        for observer in observers:
            cluster.heal(observer)
        cluster.run(100)
        for observer in observers:
            cluster.isolate(observer)
    for observer in observers:
        cluster.heal(observer)

    cluster.run(1_000)

    assert cluster.converged()
    assert cluster.leaders() == [1]
