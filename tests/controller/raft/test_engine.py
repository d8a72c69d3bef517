"""A proposal ends in one way, told once; nothing is seen before it is durable."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ottla.controller.raft.consensus import Consensus, Outcome, Role
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.raft.fatal import NodeStoppedError
from ottla.controller.raft.messages import (
    AppendResponse,
    Entry,
    Message,
    VoteRequest,
    VoteResponse,
)
from ottla.controller.raft.transport import NoPeers
from ottla.model.ids import BrokerId
from ottla.model.limits import RAFT_TICK_PASSES_MAX
from ottla.simulation.disk import SimulatedDisk
from tests.controller.raft.cluster import SMALL_BATCHES, Answer, Cluster, Machine
from tests.controller.raft.network import VirtualClock


def refused(answer: Answer) -> bytes | None:
    return answer.value if answer.outcome is Outcome.REFUSED else None


# --- A quorum of one --------------------------------------------------------------------


def test_engine_is_a_consensus() -> None:
    engine: Consensus = Cluster(1).engines[1]

    assert engine.applied_index == 1


def test_proposals_of_one_drain_are_committed_by_one_tick_and_one_fdatasync() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    before = cluster.disks[1].counts["sync"]
    answers = [cluster.propose(1, f"entry {n}") for n in range(100)]
    cluster.tick(1)

    assert [answer.outcome for answer in answers] == [Outcome.APPLIED] * 100
    assert answers[0].value == b"3"
    assert cluster.disks[1].counts["sync"] == before + 1


def test_node_elects_itself_and_commits_what_follows_from_that_in_its_first_tick() -> None:
    disk = SimulatedDisk(seed=0)
    answer = Answer()
    engine = RaftEngine(
        node_id=BrokerId(7),
        voters=frozenset({BrokerId(7)}),
        directory=Path("/metadata"),
        machine=Machine(),
        file_system=disk,
        clock=VirtualClock(),
        draw=lambda: 0.5,
        transport=NoPeers(),
        role_changed=lambda change: engine.propose(b"I lead %d" % change.term, answer),
    )
    engine.tick()

    assert (engine.role, answer.outcome) == (Role.LEADER, Outcome.APPLIED)


def test_state_is_rebuilt_from_the_journal() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    cluster.commit(1, "a", "b")
    cluster.restart(1)
    cluster.tick(1)

    assert cluster.machines[1].texts() == ["a", "b"]
    assert cluster.engines[1].term == 2


def test_restarted_node_answers_new_proposals_at_once() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    cluster.commit(1, "a")
    cluster.restart(1)
    cluster.tick(1)
    cluster.commit(1, "b")

    assert cluster.machines[1].texts() == ["a", "b"]


# --- Outcomes ----------------------------------------------------------------------------


def test_proposal_to_a_follower_is_refused() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    answers = [cluster.propose(2, "x"), Answer()]
    cluster.engines[2].barrier(answers[1])
    cluster.tick(2)

    assert [refused(answer) for answer in answers] == [b"NOT_CONTROLLER"] * 2


def test_entry_beyond_the_bound_is_refused() -> None:
    cluster = Cluster(1, settings=replace(SMALL_BATCHES, entry_bytes_max=10))
    cluster.elect(1)
    fits, too_large = cluster.propose(1, "x" * 10), cluster.propose(1, "x" * 11)
    cluster.tick(1)

    assert fits.outcome is Outcome.APPLIED
    assert refused(too_large) == b"MESSAGE_TOO_LARGE"


@pytest.mark.parametrize("bound", [{"proposals_max": 3}, {"proposed_bytes_max": 3}])
def test_proposals_beyond_the_bound_are_refused_until_there_is_room(bound: dict[str, int]) -> None:
    cluster = Cluster(1, settings=replace(SMALL_BATCHES, **bound))
    cluster.elect(1)
    answers = [cluster.propose(1, "x") for _ in range(4)]
    cluster.tick(1)
    later = cluster.propose(1, "y")
    cluster.tick(1)

    assert [answer.outcome for answer in answers[:3]] == [Outcome.APPLIED] * 3
    assert refused(answers[3]) == b"THROTTLING_QUOTA_EXCEEDED"
    assert later.outcome is Outcome.APPLIED


def test_barriers_are_bounded_with_the_proposals() -> None:
    cluster = Cluster(1, settings=replace(SMALL_BATCHES, proposals_max=2))
    engine = cluster.elect(1)
    answers = [Answer() for _ in range(3)]
    for answer in answers:
        engine.barrier(answer)
    engine.tick()

    assert refused(answers[2]) == b"THROTTLING_QUOTA_EXCEEDED"
    assert [answer.outcome for answer in answers[:2]] == [Outcome.APPLIED] * 2


def test_leader_that_steps_down_answers_everything_unknown() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    answers = [cluster.propose(1, "a"), cluster.propose(1, "b"), Answer()]
    cluster.engines[1].barrier(answers[2])
    cluster.tick(1)
    cluster.run(3_000)

    assert [answer.outcome for answer in answers] == [Outcome.UNKNOWN] * 3


def test_unknown_outcome_may_turn_out_as_applied() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    answer = cluster.propose(1, "maybe")
    cluster.tick(1)
    cluster.network.deliver(1, 2)
    cluster.isolate(1)
    cluster.tick(2)
    cluster.run(5_000)

    assert answer.outcome is Outcome.UNKNOWN
    assert cluster.machines[2].texts() == ["maybe"]


def test_closing_answers_what_is_outstanding_and_keeps_what_was_appended() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    answer = cluster.propose(1, "late")
    engine.close()
    assert answer.outcome is Outcome.UNKNOWN

    cluster.restart(1)
    cluster.tick(1)

    assert cluster.machines[1].texts() == ["late"]


def test_closed_engine_is_not_to_be_used() -> None:
    engine = Cluster(1).engines[1]
    engine.close()
    engine.close()

    with pytest.raises(AssertionError, match="has stopped: closed"):
        engine.tick()


def test_every_proposal_is_answered_exactly_once_whatever_happens() -> None:
    cluster = Cluster(3, seed=4)
    answers = []
    for round_ in range(30):
        leader = cluster.leader
        answers += [cluster.propose(leader, f"{round_}-{n}") for n in range(10)]
        if round_ % 3 == 0:
            cluster.isolate(leader)
        cluster.tick(leader)
        cluster.run(2_500)
        cluster.heal(leader)
        cluster.run(300)

    # An answer itself refuses to be told twice.
    assert all(answer.outcomes for answer in answers)
    assert {answer.outcome for answer in answers} == {Outcome.APPLIED, Outcome.UNKNOWN}


# --- Callbacks ----------------------------------------------------------------------------


def test_callbacks_come_from_ticks_only() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    answer = cluster.propose(1, "x")

    assert answer.outcome is None


def test_callback_that_raises_is_heard_and_the_others_are_called_by_the_next_tick() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)

    def fails(_outcome: Outcome, _value: bytes) -> None:
        raise ZeroDivisionError

    before = cluster.propose(1, "before")
    engine.propose(b"fails", fails)
    after = cluster.propose(1, "after")
    with pytest.raises(ZeroDivisionError):
        engine.tick()
    assert (before.outcome, after.outcome) == (Outcome.APPLIED, None)
    engine.tick()

    assert after.outcome is Outcome.APPLIED


def test_callback_may_propose() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    chained = Answer()

    engine.propose(b"first", lambda _outcome, _value: engine.propose(b"second", chained))
    engine.tick()

    assert chained.outcome is Outcome.APPLIED


def test_callback_that_always_proposes_does_not_hold_the_thread() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)

    def again(_outcome: Outcome, _value: bytes) -> None:
        engine.propose(b"again", again)

    engine.propose(b"again", again)
    engine.tick()

    assert len(cluster.machines[1].entries) == RAFT_TICK_PASSES_MAX


def test_callback_that_retries_a_refusal_at_once_does_not_hold_the_thread() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    engine = cluster.engines[2]
    refusals = []

    def again(outcome: Outcome, _value: bytes) -> None:
        refusals.append(outcome)
        engine.propose(b"again", again)

    engine.propose(b"again", again)
    engine.tick()

    assert refusals == [Outcome.REFUSED]


def test_callback_may_close_the_engine() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    engine.propose(b"last", lambda _outcome, _value: engine.close())
    after = cluster.propose(1, "after")
    engine.tick()

    assert after.outcome is Outcome.APPLIED


def test_callback_must_not_tick() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    engine.propose(b"x", lambda _outcome, _value: engine.tick())

    with pytest.raises(AssertionError, match="must not tick"):
        engine.tick()


# --- Barriers -------------------------------------------------------------------------------


def test_barrier_is_answered_when_what_was_committed_before_it_is_applied() -> None:
    cluster = Cluster(3)
    engine = cluster.elect(1)
    order: list[str] = []
    engine.propose(b"before", lambda _outcome, _value: order.append("proposal"))
    engine.barrier(lambda outcome, _value: order.append(outcome.value))
    cluster.tick(1)
    assert order == []
    cluster.deliver_all()

    assert order == ["proposal", "applied"]


def test_barriers_of_one_drain_share_one_entry() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    last = engine.statistics().last_index
    answers = [Answer() for _ in range(50)]
    for answer in answers:
        engine.barrier(answer)
    engine.tick()

    assert engine.statistics().last_index == last + 1
    assert all(answer.outcome is Outcome.APPLIED for answer in answers)


def test_barrier_does_not_share_an_entry_that_was_sent_before_it() -> None:
    cluster = Cluster(3)
    engine = cluster.elect(1)
    cluster.propose(1, "sent already")
    cluster.tick(1)
    last = engine.statistics().last_index
    engine.barrier(Answer())

    assert engine.statistics().last_index == last + 1


def test_barrier_of_a_leader_that_slept_while_another_was_elected_is_not_answered_applied() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    cluster.clock.advance(1_000)
    cluster.engines[2]._node.expire_election_timer()
    for _ in range(3):
        cluster.tick(2)
        cluster.deliver_all()
    cluster.commit(2, "the sleeper has not heard of this")
    assert cluster.engines[1].role is Role.LEADER

    stale = Answer()
    cluster.engines[1].barrier(stale)
    cluster.heal(1)
    cluster.run(2_000)

    assert stale.outcome is Outcome.UNKNOWN


# --- Persist before speaking ------------------------------------------------------------------


def test_nothing_is_said_before_it_is_durable() -> None:
    cluster = Cluster(3, seed=2)
    said: list[Message] = []

    def spy(source: int, _target: int, message: Message) -> None:
        journal = cluster.engines[source]._journal
        assert not journal.dirty, message
        said.append(message)

    cluster.spies.append(spy)
    for node in (1, 2, 3, 1):
        cluster.elect(node)
        cluster.commit(node, "a", "b")
        cluster.isolate(node)
        cluster.propose(node, "divergent")
        cluster.run(2_500)
        cluster.heal(node)
        cluster.run(500)

    assert {type(message) for message in said} >= {VoteRequest, VoteResponse, AppendResponse}


def test_nothing_is_applied_before_it_is_durable() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    dirty_when_applied: list[bool] = []
    cluster.machines[1]._applies = lambda _index, _entry: dirty_when_applied.append(
        engine._journal.dirty
    )
    for n in range(5):
        cluster.commit(1, f"entry {n}")

    assert dirty_when_applied == [False] * 5


def test_failed_sync_stops_the_node_before_anybody_hears() -> None:
    cluster = Cluster(3)
    engine = cluster.elect(1)
    answer = cluster.propose(1, "x")
    cluster.disks[1].fail("sync", errno.EIO)
    cluster.network.under_way.clear()

    with pytest.raises(NodeStoppedError, match="Input/output error"):
        engine.tick()
    engine.close()

    assert cluster.network.busy_directions() == []
    assert answer.outcome is Outcome.UNKNOWN


def test_node_that_stopped_writes_nothing_when_it_is_closed() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    journal = engine._journal
    cluster.propose(1, "a")
    journal.append(Entry(b"\x07 unknown", journal.end_index, journal.term))
    with pytest.raises(NodeStoppedError):
        engine.tick()
    before = cluster.disks[1].operations
    engine.close()

    assert cluster.disks[1].operations == before


def test_node_is_not_run_again_after_a_bug() -> None:
    cluster = Cluster(3)
    engine = cluster.elect(1)
    journal = engine._journal
    with pytest.raises(AssertionError), engine._running():
        journal.append(Entry(b"\x00", 1_000, journal.term))

    with pytest.raises(AssertionError, match="an earlier call has failed"):
        engine.tick()


def test_failed_sync_of_a_quorum_of_one_acknowledges_nothing() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    answer = cluster.propose(1, "x")
    cluster.disks[1].fail("append", errno.ENOSPC)

    with pytest.raises(NodeStoppedError, match="No space left"):
        engine.tick()

    assert answer.outcome is None
    assert cluster.machines[1].texts() == []


# --- The state machine --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["apply", "snapshot", "restore"])
def test_state_machine_that_raises_stops_the_node(method: str) -> None:
    class Failing(Machine):
        pass

    def fail(*_arguments: object) -> bytes:
        raise ZeroDivisionError

    setattr(Failing, method, fail)
    cluster = Cluster(1)
    cluster.elect(1)
    cluster.commit(1, "x")
    cluster.engines[1].begin_snapshot()
    cluster.tick(1)
    cluster.engines[1].close()

    def use() -> None:
        engine = start_with(cluster, Failing())
        engine.tick()
        engine.propose(b"y", Answer())
        engine.tick()
        engine.begin_snapshot()

    with pytest.raises(NodeStoppedError) as stopped:
        use()

    assert isinstance(stopped.value.__context__, ZeroDivisionError)


def start_with(cluster: Cluster, machine: Machine) -> RaftEngine:
    return RaftEngine(
        node_id=BrokerId(1),
        voters=frozenset({BrokerId(1)}),
        directory=Path("/metadata"),
        machine=machine,
        file_system=cluster.disks[1],
        clock=cluster.clock,
        draw=lambda: 0.5,
        transport=NoPeers(),
        settings=cluster.settings,
    )


# --- The log is bounded -------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [{"log_entries_max": 50}, {"log_bytes_max": 5_000}])
def test_log_in_memory_and_on_the_disk_is_bounded(bound: dict[str, int]) -> None:
    cluster = Cluster(1, settings=replace(SMALL_BATCHES, **bound))
    engine = cluster.elect(1)
    for n in range(500):
        cluster.commit(1, f"{n}" + "x" * 100)
        statistics = engine.statistics()
        assert statistics.last_index - statistics.base_index <= 52
    assert len(cluster.disks[1].read(Path("/metadata/journal"))) < 10_000

    cluster.restart(1)
    cluster.tick(1)

    assert len(cluster.machines[1].entries) == 500


def test_snapshot_in_the_background_does_not_stop_the_log() -> None:
    settings = replace(SMALL_BATCHES, log_entries_max=10)
    cluster = Cluster(1, settings=settings, snapshots_wait=True)
    engine = cluster.elect(1)
    for n in range(40):
        cluster.commit(1, f"entry {n}")
    assert (engine.statistics().base_index, len(cluster.jobs[1])) == (1, 1)

    cluster.run_jobs(1)
    engine.tick()

    assert engine.statistics().base_index > 5


def test_statistics_and_repr_tell_where_a_node_is() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    cluster.commit(1, "x")
    cluster.propose(1, "y")

    statistics = engine.statistics()

    assert (statistics.role, statistics.term, statistics.leader) == (Role.LEADER, 1, 1)
    assert (statistics.applied_index, statistics.proposals_waiting) == (3, 1)
    assert "leader of 1 in term 1, applied 3" in repr(engine)


def test_jobs_in_the_background_are_given_away() -> None:
    jobs: list[Callable[[], None]] = []
    cluster = Cluster(1)
    engine = RaftEngine(
        node_id=BrokerId(1),
        voters=frozenset({BrokerId(1)}),
        directory=Path("/other"),
        machine=Machine(),
        file_system=cluster.disks[1],
        clock=cluster.clock,
        draw=lambda: 0.5,
        transport=NoPeers(),
        run_in_background=jobs.append,
    )
    engine.tick()
    engine.begin_snapshot()
    engine.begin_snapshot()

    assert len(jobs) == 1
