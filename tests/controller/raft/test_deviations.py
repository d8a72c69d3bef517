"""Nothing that stock pysyncobj 0.3.17 was shown to do wrong can be done to the hardened engine.

One test, or a few, for each of d01 to d20 in the review of pysyncobj; every one of them replays the
schedule that was found to break the stock package.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from ottla.controller.raft.consensus import Outcome, Role
from ottla.controller.raft.engine import JOURNAL_FILE
from ottla.controller.raft.fatal import NodeStoppedError
from ottla.controller.raft.journal_format import (
    FILE_HEADER,
    Base,
    Committed,
    Record,
    TermBegan,
    encode_group,
    encode_record,
)
from ottla.controller.raft.messages import (
    AppendRequest,
    AppendResponse,
    Entry,
    Message,
    SnapshotChunk,
    SnapshotResponse,
    VoteResponse,
)
from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId, MetadataOffset
from ottla.simulation.disk import SimulatedCrash
from tests.controller.raft.cluster import DIRECTORY, SMALL_BATCHES, Cluster, Machine

JOURNAL = DIRECTORY / JOURNAL_FILE


def messages(cluster: Cluster, source: int, target: int) -> list[Message]:
    return [message for _, message in cluster.network.under_way[source, target]]


def link(cluster: Cluster, a: int, b: int) -> int:
    number = cluster.network.link(a, b)
    assert number is not None
    return number


def tell(cluster: Cluster, source: int, target: int, message: Message) -> None:
    """Hand a message over at once, whatever else is under way."""
    engine = cluster.engines[target]
    engine.receive(BrokerId(source), link(cluster, source, target), message)
    engine.tick()


def test_d01_part_of_a_snapshot_does_not_commit_a_divergent_tail() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.isolate(1)
    lost = cluster.propose(1, "lost")
    cluster.tick(1)
    cluster.elect(2)
    cluster.commit(2, *(f"b{n}" for n in range(20)))
    cluster.engines[2].begin_snapshot()
    cluster.tick(2)
    assert cluster.engines[2].statistics().base_index > 5

    cluster.connect(1, 2)
    for _ in range(20):
        cluster.tick(2)
        cluster.network.deliver(2, 1, 1)
        cluster.tick(1)
        cluster.network.deliver(1, 2)
        if cluster.engines[1].statistics().snapshot_index:
            break
        assert "lost" not in cluster.machines[1].texts()

    cluster.run(500)
    assert lost.outcome is Outcome.UNKNOWN
    assert cluster.machines[1].entries == cluster.machines[2].entries


def test_d02_acknowledgement_of_an_earlier_term_does_not_count() -> None:
    cluster = Cluster(5)
    leader = cluster.elect(1)
    for n in range(5):
        cluster.propose(1, f"x{n}")
    cluster.tick(1)
    cluster.network.deliver(1, 2)
    cluster.tick(2)
    for other in (3, 4, 5):
        cluster.network.under_way[1, other].clear()
    old = messages(cluster, 2, 1)
    assert any(isinstance(message, AppendResponse) and message.accepted for message in old)
    cluster.network.under_way[2, 1].clear()
    cluster.disconnect(2, 3, 4, 5)
    cluster.elect(3)
    cluster.network.under_way.clear()
    cluster.elect(1)
    for n in range(5):
        cluster.propose(1, f"w{n}")
    matched = leader._node.matched(BrokerId(2))

    for message in old:
        tell(cluster, 2, 1, message)

    assert leader._node.matched(BrokerId(2)) == matched < leader.statistics().last_index


def test_d03_late_append_does_not_take_back_acknowledged_entries() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    journal = cluster.engines[2]._journal
    last = (journal.last_index, journal.last_term)
    heartbeat = AppendRequest(
        term=leader.term,
        previous_index=last[0],
        previous_term=last[1],
        entries=(),
        commit_index=last[0],
    )
    entries = tuple(Entry(b"\x00e", last[0] + n, leader.term) for n in (1, 2, 3))
    tell(cluster, 1, 2, replace(heartbeat, entries=entries))

    tell(cluster, 1, 2, heartbeat)
    tell(cluster, 1, 2, replace(heartbeat, entries=entries[:1]))

    assert journal.last_index == last[0] + 3


def test_d03b_pipelined_appends_and_a_dead_leader_lose_nothing() -> None:
    cluster = Cluster(3, settings=replace(SMALL_BATCHES, append_bytes_max=120))
    cluster.elect(1)
    answers = [cluster.propose(1, f"p{n}" + "y" * 30) for n in range(9)]
    cluster.tick(1)
    cluster.clock.advance(200)
    cluster.tick(1)
    assert len(messages(cluster, 1, 2)) > 2
    cluster.network.deliver(1, 2)
    cluster.tick(2)
    cluster.network.deliver(2, 1, 1)
    cluster.clock.advance(110)
    cluster.tick(1)
    cluster.network.deliver(2, 1)
    cluster.tick(1)
    acknowledged = [n for n, answer in enumerate(answers) if answer.outcome is Outcome.APPLIED]
    assert acknowledged
    cluster.network.deliver(1, 2, 1)
    cluster.tick(2)
    cluster.crash(1)

    cluster.elect(2)

    texts = [text[:2] for text in cluster.machines[2].texts()]
    assert [n for n in acknowledged if f"p{n}" not in texts] == []


def test_d04_exception_in_a_callback_does_not_apply_an_entry_twice() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)

    def fails(_outcome: Outcome, _value: bytes) -> None:
        raise ZeroDivisionError

    engine.propose(b"once", fails)
    after = cluster.propose(1, "after")
    with pytest.raises(ZeroDivisionError):
        engine.tick()
    engine.tick()

    assert cluster.machines[1].texts() == ["once", "after"]
    assert after.outcome is Outcome.APPLIED


def test_d05_exception_in_the_state_machine_stops_the_node_at_once() -> None:
    class Poisoned(Machine):
        calls = 0

        def apply(self, index: MetadataOffset, entry: bytes) -> bytes:
            self.calls += 1
            raise ZeroDivisionError(f"{entry!r} at {index}")

    cluster = Cluster(1)
    engine = cluster.elect(1)
    machine = Poisoned()
    engine._node._application._machine = machine  # type: ignore[attr-defined]
    answer = cluster.propose(1, "bad")

    with pytest.raises(NodeStoppedError, match="applying entry"):
        engine.tick()
    with pytest.raises(AssertionError, match="has stopped"):
        engine.tick()
    engine.close()

    assert machine.calls == 1
    assert answer.outcome is Outcome.UNKNOWN


def test_d06_crash_between_snapshot_and_compaction_keeps_what_follows_the_snapshot() -> None:
    cluster = Cluster(1, snapshots_wait=True)
    cluster.elect(1)
    cluster.commit(1, *(f"a{n}" for n in range(10)))
    cluster.engines[1].begin_snapshot()
    cluster.commit(1, *(f"b{n}" for n in range(5)))
    cluster.run_jobs(1)  # the snapshot is durable; the node dies before it cuts the log

    cluster.restart(1)
    cluster.elect(1)

    expected = [*(f"a{n}" for n in range(10)), *(f"b{n}" for n in range(5))]
    assert cluster.machines[1].texts() == expected
    assert cluster.engines[1].statistics().snapshot_index > 10


@pytest.mark.parametrize("operation", range(1, 12))
def test_d06b_crash_inside_compaction_loses_nothing(operation: int) -> None:
    cluster = Cluster(1, seed=operation)
    engine = cluster.elect(1)
    texts = [f"a{n}" for n in range(50)]
    cluster.commit(1, *texts)
    disk = cluster.disks[1]
    disk.crash_at_operation = disk.operations + operation
    with suppress(SimulatedCrash):
        engine.begin_snapshot()
        engine.tick()

    cluster.restart(1)
    cluster.elect(1)

    assert cluster.machines[1].texts() == texts


def test_d07_state_survives_compaction_and_restart() -> None:
    cluster = Cluster(1, settings=replace(SMALL_BATCHES, log_entries_max=20))
    cluster.elect(1)
    texts = [f"a{n}" for n in range(100)]
    for text in texts:
        cluster.commit(1, text)
    assert cluster.engines[1].statistics().base_index > 50

    cluster.restart(1)
    cluster.elect(1)

    assert cluster.machines[1].texts() == texts


@pytest.mark.parametrize("size", [4095 * 2, 4096 * 2 - 33, 4096 * 2, 4096 * 3 - 5, 4096 * 3 + 1])
def test_d08_entry_larger_than_a_batch_travels_whole(size: int) -> None:
    settings = replace(SMALL_BATCHES, append_bytes_max=4096, in_flight_bytes_max=8192)
    cluster = Cluster(2, settings=settings)
    cluster.elect(1)

    cluster.commit(1, "z" * size, "after")
    cluster.run(300)

    assert cluster.machines[2].texts() == ["z" * size, "after"]


def test_d09_torn_tail_of_the_journal_is_cut() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    cluster.commit(1, "first")
    cluster.engines[1].close()
    disk = cluster.disks[1]
    disk.open(JOURNAL).append([encode_group(b"\x02torn", position=123)[:-2], bytes(4096)])

    engine = cluster.start(1)
    engine.tick()

    assert cluster.machines[1].texts() == ["first"]


def test_d09_flipped_bit_in_the_middle_of_the_journal_is_refused() -> None:
    cluster = Cluster(1)
    cluster.elect(1)
    for n in range(5):
        cluster.commit(1, f"entry {n} " + "x" * 100)
    cluster.engines[1].close()
    cluster.disks[1].flip_bit(JOURNAL, 400)

    with pytest.raises(StorageError, match="damaged at byte"):
        cluster.start(1)


def test_d10_damaged_snapshot_is_not_acknowledged() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.network.under_way.clear()
    garbage = b"OTTLASN\x01" + b"g" * 100
    chunk = SnapshotChunk(
        term=leader.term,
        index=500,
        index_term=leader.term,
        checksum=garbage[8:40],
        offset=0,
        total_bytes=len(garbage),
        data=garbage,
    )

    tell(cluster, 1, 2, chunk)

    assert messages(cluster, 2, 1) == [
        SnapshotResponse(term=leader.term, checksum=garbage[8:40], received_bytes=0)
    ]
    assert cluster.engines[2].applied_index < 500


def test_d11_vote_that_arrives_twice_is_one_vote() -> None:
    cluster = Cluster(5)
    candidate = cluster.engines[1]
    cluster.clock.advance(100)
    candidate._node.expire_election_timer()
    cluster.tick(1)
    for voter in (2, 3):
        cluster.network.deliver(1, voter)
        cluster.tick(voter)
        cluster.network.deliver(voter, 1)
    cluster.tick(1)
    assert candidate.role is Role.CANDIDATE
    granted = VoteResponse(
        term=candidate.term, campaign_term=candidate.term, pre_vote=False, granted=True
    )

    for _ in range(5):
        tell(cluster, 2, 1, granted)

    assert candidate.role is Role.CANDIDATE


def test_d12_follower_refuses_a_proposal_instead_of_forwarding_it() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.network.under_way.clear()

    answer = cluster.propose(2, "forward me")
    cluster.tick(2)

    assert (answer.outcome, answer.value) == (Outcome.REFUSED, b"NOT_CONTROLLER")
    assert messages(cluster, 2, 1) == []


def test_d13_voters_cannot_be_changed() -> None:
    cluster = Cluster(3)
    engine = cluster.elect(1)

    with pytest.raises(Exception, match="dynamicMembershipChange is disabled"):
        engine._node.addNodeToCluster("4")


def test_d13_change_of_voters_in_the_log_stops_the_node() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    journal = engine._journal
    journal.append(Entry(b"\x02add", journal.end_index, journal.term))

    with pytest.raises(NodeStoppedError, match="of kind 2"):
        engine.tick()


def test_d14_proposal_that_a_snapshot_overtakes_is_answered() -> None:
    cluster = Cluster(3)
    cluster.elect(1)
    overtaken = cluster.propose(1, "q")
    cluster.tick(1)
    cluster.network.deliver(1, 3)
    cluster.isolate(1)
    cluster.tick(3)
    cluster.elect(3)
    cluster.commit(3, *(f"b{n}" for n in range(20)))
    cluster.engines[3].begin_snapshot()
    cluster.tick(3)
    cluster.heal(1)
    cluster.run(3_000)

    assert "q" in cluster.machines[1].texts()
    assert overtaken.outcome is Outcome.UNKNOWN


def test_d15_peer_that_needs_a_snapshot_gets_the_previous_one_while_a_new_one_is_written() -> None:
    cluster = Cluster(2, observers=1, snapshots_wait=True)
    leader = cluster.elect(1)
    cluster.isolate(3)
    cluster.commit(1, *(f"a{n}" for n in range(20)))
    leader.begin_snapshot()
    cluster.run_jobs(1)
    leader.tick()
    served = leader.statistics().snapshot_index
    cluster.commit(1, "later")
    leader.begin_snapshot()
    assert cluster.jobs[1], "the new one is being written"

    cluster.heal(3)
    cluster.clock.advance(200)
    cluster.tick(1)
    sent = messages(cluster, 1, 3)
    cluster.network.deliver(1, 3)
    cluster.tick(3)
    cluster.network.deliver(3, 1)
    cluster.tick(1)
    sent += messages(cluster, 1, 3)

    assert len(sent) < 5
    chunks = [message for message in sent if isinstance(message, SnapshotChunk)]
    assert [chunk.index for chunk in chunks] == [served]


def test_d16_entry_of_an_unknown_kind_stops_the_node_and_nothing_is_applied_twice() -> None:
    cluster = Cluster(1)
    engine = cluster.elect(1)
    journal = engine._journal
    cluster.propose(1, "a")
    journal.append(Entry(b"\x03version 7", journal.end_index, journal.term))
    cluster.propose(1, "b")

    with pytest.raises(NodeStoppedError, match="of kind 3"):
        engine.tick()

    assert cluster.machines[1].texts() == ["a"]


def test_d17_isolated_leader_steps_down_within_the_election_timeout() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.isolate(1)
    answer = cluster.propose(1, "nobody hears this")

    for _ in range(11):
        cluster.clock.advance(100)
        cluster.tick(1)

    assert leader.role is Role.FOLLOWER
    assert leader.leader is None
    assert answer.outcome is Outcome.UNKNOWN


def test_d18_leader_of_the_past_with_a_long_tail_catches_up() -> None:
    settings = replace(SMALL_BATCHES, append_bytes_max=64_000, in_flight_bytes_max=256_000)
    cluster = Cluster(3, settings=settings)
    cluster.elect(1)
    cluster.isolate(1)
    for n in range(60):
        cluster.propose(1, f"dead{n}")
    cluster.tick(1)
    cluster.elect(2)
    cluster.commit(2, *(f"{n}" + "v" * 10_000 for n in range(40)))
    cluster.run(500)
    cluster.elect(3)
    cluster.heal(1)

    cluster.run(1_000)

    assert cluster.machines[1].entries == cluster.machines[3].entries


def test_d19_late_acknowledgement_of_a_peer_that_left_is_ignored() -> None:
    cluster = Cluster(2, observers=1)
    leader = cluster.elect(1)
    old_link = link(cluster, 1, 3)
    cluster.disconnect(1, 3)

    late = AppendResponse(term=leader.term, accepted=True, next_index=3)
    leader.receive(BrokerId(3), old_link, late)
    leader.receive(BrokerId(99), 1_000, late)
    leader.tick()

    assert leader.role is Role.LEADER


def test_d20_commit_index_beyond_the_journal_does_not_count() -> None:
    cluster = Cluster(3, started=False)
    records: list[Record] = [Base(1, 0), TermBegan(1, None)]
    records += [Entry(b"\x01", index, 1) for index in range(2, 91)]
    records.append(Committed(100))
    group = encode_group(b"".join(map(encode_record, records)), position=len(FILE_HEADER))
    cluster.disks[1].make_directory(DIRECTORY)
    cluster.disks[1].replace(JOURNAL, FILE_HEADER + group)
    for node in cluster.ids:
        cluster.start(node)
    cluster.connect(1, 2, 3)
    cluster.engines[1]._node.expire_election_timer()
    cluster.tick(1)
    for _ in range(2):
        cluster.network.deliver(1, 2)
        cluster.tick(2)
        cluster.network.deliver(2, 1)
        cluster.tick(1)
    assert cluster.engines[1].role is Role.LEADER
    cluster.isolate(1)

    answer = cluster.propose(1, "nobody else has it")
    cluster.tick(1)
    cluster.clock.advance(110)
    cluster.tick(1)

    assert answer.outcome is None
