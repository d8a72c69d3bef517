"""A snapshot is whole or absent, on the disk and on its way to a peer."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ottla.controller.raft.fatal import NodeStoppedError, raise_node_stopped
from ottla.controller.raft.following import IncomingSnapshot
from ottla.controller.raft.messages import Message, SnapshotChunk
from ottla.controller.raft.snapshots import Snapshot, SnapshotId, SnapshotStore, run_at_once
from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId
from ottla.simulation.disk import SimulatedCrash, SimulatedDisk
from tests.controller.raft.cluster import SMALL_BATCHES, Cluster

DIRECTORY = Path("/metadata/snapshots")
FIVE = SnapshotId(5, 1)
NINE = SnapshotId(9, 2)


def new_disk(seed: int = 0) -> SimulatedDisk:
    disk = SimulatedDisk(seed=seed)
    disk.make_directory(DIRECTORY.parent)
    disk.sync_directory(DIRECTORY.parent.parent)
    return disk


def open_store(
    disk: SimulatedDisk, run: Callable[[Callable[[], None]], None] = run_at_once
) -> SnapshotStore:
    return SnapshotStore(
        DIRECTORY, file_system=disk, run_in_background=run, fatal=raise_node_stopped
    )


def loaded_state(disk: SimulatedDisk) -> bytes | None:
    snapshot = open_store(disk).load()
    return None if snapshot is None else snapshot.state


# --- The file ---------------------------------------------------------------------


def test_snapshot_is_what_was_wrapped_up() -> None:
    snapshot = Snapshot.of(NINE, b"state")

    parsed = Snapshot.parse(snapshot.content)

    assert (parsed.id, parsed.state, parsed.checksum) == (NINE, b"state", snapshot.checksum)


def test_any_flipped_bit_is_noticed() -> None:
    content = Snapshot.of(NINE, b"some state").content
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        with pytest.raises(StorageError):
            Snapshot.parse(bytes(damaged))


def test_any_missing_end_is_noticed() -> None:
    content = Snapshot.of(NINE, b"some state").content
    for size in range(len(content)):
        with pytest.raises(StorageError):
            Snapshot.parse(content[:size])


# --- The store --------------------------------------------------------------------


def test_written_snapshot_survives_a_crash() -> None:
    disk = new_disk()
    store = open_store(disk)
    store.write(FIVE, b"state")
    assert store.finished()
    disk.crash()

    assert open_store(disk).latest == FIVE
    assert loaded_state(disk) == b"state"


def test_finish_is_told_once() -> None:
    store = open_store(new_disk())
    store.write(FIVE, b"state")

    assert [store.finished(), store.finished()] == [True, False]
    assert not store.writing


def test_previous_snapshot_is_served_while_a_new_one_is_written() -> None:
    jobs: list[Callable[[], None]] = []
    store = open_store(new_disk(), jobs.append)
    store.write(FIVE, b"old")
    jobs.pop()()
    assert store.finished()
    store.write(NINE, b"new")

    assert not store.finished()
    assert (store.latest, store.load_to_serve().state) == (FIVE, b"old")

    jobs.pop()()
    assert store.finished()
    assert (store.latest, store.load_to_serve().state) == (NINE, b"new")


def test_superseded_snapshots_are_removed() -> None:
    disk = new_disk()
    store = open_store(disk)
    for index in (5, 6, 7):
        store.write(SnapshotId(index, 1), b"state")
        store.finished()

    assert disk.list(DIRECTORY) == [SnapshotId(7, 1).file_name]


def test_snapshot_written_in_the_background_does_not_replace_a_newer_one_installed() -> None:
    disk = new_disk()
    jobs: list[Callable[[], None]] = []
    store = open_store(disk, jobs.append)
    store.write(FIVE, b"ours")
    store.install(Snapshot.of(NINE, b"the leader's"))
    jobs.pop()()
    store.finished()

    assert store.latest == NINE
    assert loaded_state(disk) == b"the leader's"


def test_unfinished_snapshots_are_removed_at_the_next_start() -> None:
    disk = new_disk()
    open_store(disk).write(FIVE, b"state")
    disk.open(DIRECTORY / f"{NINE.file_name}.tmp", create=True).append([b"half"])
    open_store(disk)

    assert disk.list(DIRECTORY) == [FIVE.file_name]


def test_older_snapshot_is_kept_if_the_newest_is_damaged() -> None:
    disk = new_disk()
    disk.make_directory(DIRECTORY)
    for snapshot in (FIVE, NINE):
        disk.replace(DIRECTORY / snapshot.file_name, Snapshot.of(snapshot, b"state").content)
    disk.flip_bit(DIRECTORY / NINE.file_name, 60)
    store = open_store(disk)
    with pytest.raises(StorageError):
        store.load()

    assert FIVE.file_name in disk.list(DIRECTORY)


def test_foreign_files_are_left_alone() -> None:
    disk = new_disk()
    disk.make_directory(DIRECTORY)
    disk.replace(DIRECTORY / "README", b"hello")
    store = open_store(disk)
    store.write(FIVE, b"state")
    store.finished()

    assert "README" in disk.list(DIRECTORY)


@pytest.mark.parametrize("install", [False, True])
@pytest.mark.parametrize("operation", range(1, 9))
def test_crash_at_any_point_leaves_the_old_snapshot_or_the_new(
    operation: int,
    install: bool,  # noqa: FBT001 - a case of the table
) -> None:
    for seed in range(8):
        disk = new_disk(seed=seed)
        store = open_store(disk)
        store.write(FIVE, b"old")
        store.finished()
        disk.crash_at_operation = disk.operations + operation
        with suppress(SimulatedCrash):
            if install:
                store.install(Snapshot.of(NINE, b"new"))
            else:
                store.write(NINE, b"new")
                store.finished()
        disk.crash()

        assert loaded_state(disk) in (b"old", b"new")


@pytest.mark.parametrize("operation", ["create", "append", "sync", "rename"])
def test_snapshot_that_cannot_be_written_stops_the_node(operation: str) -> None:
    disk = new_disk()
    store = open_store(disk)
    disk.fail(operation, errno.ENOSPC)
    store.write(FIVE, b"state")

    with pytest.raises(NodeStoppedError, match=r"writing a snapshot .*No space left"):
        store.finished()


def test_snapshot_that_cannot_be_installed_stops_the_node() -> None:
    disk = new_disk()
    store = open_store(disk)
    disk.fail("sync", errno.EIO)

    with pytest.raises(NodeStoppedError, match="installing the snapshot"):
        store.install(Snapshot.of(NINE, b"state"))


def test_damaged_snapshot_is_refused_with_its_path() -> None:
    disk = new_disk()
    open_store(disk).write(FIVE, b"state")
    disk.flip_bit(DIRECTORY / FIVE.file_name, 60)

    with pytest.raises(StorageError, match=FIVE.file_name):
        open_store(disk).load()


def test_snapshot_under_a_wrong_name_is_refused() -> None:
    disk = new_disk()
    open_store(disk).write(FIVE, b"state")
    disk.rename(DIRECTORY / FIVE.file_name, DIRECTORY / NINE.file_name)

    with pytest.raises(StorageError, match="contains the snapshot of entry 5"):
        open_store(disk).load()


def test_damaged_snapshot_that_a_peer_needs_stops_the_node() -> None:
    disk = new_disk()
    store = open_store(disk)
    store.write(FIVE, b"state")
    store.finished()
    disk.flip_bit(DIRECTORY / FIVE.file_name, 60)

    with pytest.raises(NodeStoppedError, match="checksum"):
        store.load_to_serve()


# --- On its way -----------------------------------------------------------------------


def chunks(snapshot: Snapshot, size: int = 20) -> list[SnapshotChunk]:
    content = snapshot.content
    return [
        SnapshotChunk(
            term=3,
            index=snapshot.id.index,
            index_term=snapshot.id.term,
            checksum=snapshot.checksum,
            offset=start,
            total_bytes=len(content),
            data=content[start : start + size],
        )
        for start in range(0, len(content), size)
    ]


SNAPSHOT = Snapshot.of(NINE, b"a state of some bytes")


def test_parts_in_order_make_the_snapshot() -> None:
    incoming = IncomingSnapshot(bytes_max=1_000)

    results = [incoming.add(chunk) for chunk in chunks(SNAPSHOT)]

    assert [*results[:-1], results[-1]] == [None] * (len(results) - 1) + [SNAPSHOT]


def test_repeated_part_changes_nothing() -> None:
    incoming = IncomingSnapshot(bytes_max=1_000)
    first, second, *_ = chunks(SNAPSHOT)
    for chunk in (first, first, second, first, second):
        incoming.add(chunk)

    assert incoming.received_bytes == 40


def test_part_that_is_not_the_next_is_not_kept() -> None:
    incoming = IncomingSnapshot(bytes_max=1_000)
    first, _, third, *_ = chunks(SNAPSHOT)
    incoming.add(first)
    incoming.add(third)

    assert incoming.received_bytes == 20


def test_part_of_another_snapshot_starts_over() -> None:
    incoming = IncomingSnapshot(bytes_max=1_000)
    incoming.add(chunks(SNAPSHOT)[0])
    incoming.add(chunks(Snapshot.of(NINE, b"another"))[0])

    assert incoming.received_bytes == 20
    incoming.add(chunks(SNAPSHOT)[1])
    assert incoming.received_bytes == 0


def test_part_damaged_on_its_way_is_noticed_at_the_end() -> None:
    incoming = IncomingSnapshot(bytes_max=1_000)
    *parts, last = chunks(SNAPSHOT)
    for chunk in parts:
        incoming.add(chunk)

    assert incoming.add(replace(last, data=bytes(len(last.data)))) is None
    assert incoming.received_bytes == 0


def test_snapshot_of_another_entry_than_announced_is_not_taken() -> None:
    incoming = IncomingSnapshot(bytes_max=1_000)

    assert [incoming.add(replace(chunk, index=8)) for chunk in chunks(SNAPSHOT)][-1] is None


def test_snapshot_beyond_the_bound_is_not_collected() -> None:
    incoming = IncomingSnapshot(bytes_max=50)
    incoming.add(chunks(SNAPSHOT)[0])

    assert incoming.received_bytes == 0


def lagging_cluster(entries: int = 30) -> Cluster:
    """Return a cluster whose leader 1 has a snapshot that voter 3, not linked, needs."""
    cluster = Cluster(3, settings=SMALL_BATCHES)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.commit(1, *(f"entry {n}" for n in range(entries)))
    cluster.engines[1].begin_snapshot()
    cluster.tick(1)
    assert cluster.engines[1].statistics().base_index > entries // 2
    return cluster


def test_peer_behind_the_log_catches_up_by_snapshot() -> None:
    cluster = lagging_cluster()
    term = cluster.engines[1].term
    cluster.heal(3)

    cluster.run(1_000)

    assert cluster.machines[3].entries == cluster.machines[1].entries
    assert cluster.engines[3].statistics().snapshot_index > 0
    assert cluster.engines[1].term == term


def test_snapshot_travels_through_a_link_that_keeps_breaking() -> None:
    cluster = lagging_cluster(entries=60)
    for _ in range(30):
        cluster.heal(3)
        cluster.clock.advance(110)
        cluster.tick(1)
        for _ in range(3):
            cluster.network.deliver(1, 3)
            cluster.tick(3)
            cluster.network.deliver(3, 1)
            cluster.tick(1)
        cluster.isolate(3)
    cluster.heal(3)

    cluster.run(1_000)

    assert cluster.machines[3].entries == cluster.machines[1].entries


def test_new_leader_goes_on_with_the_same_snapshot_where_the_old_one_stopped() -> None:
    cluster = lagging_cluster(entries=60)
    cluster.run(200)
    cluster.engines[2].begin_snapshot()
    cluster.tick(2)
    cluster.connect(1, 3)
    cluster.clock.advance(110)
    cluster.tick(1)
    for _ in range(3):
        cluster.network.deliver(1, 3)
        cluster.tick(3)
        cluster.network.deliver(3, 1)
        cluster.tick(1)
    assert cluster.engines[3].statistics().snapshot_index == 0
    cluster.isolate(1)
    cluster.connect(2, 3)
    cluster.elect(2)

    cluster.run(1_000)

    assert cluster.machines[3].entries == cluster.machines[2].entries


def test_leader_is_heard_while_a_part_is_slow() -> None:
    cluster = lagging_cluster()
    cluster.heal(3)
    cluster.clock.advance(110)
    cluster.tick(1)
    cluster.network.deliver(1, 3)
    cluster.tick(3)
    cluster.network.deliver(3, 1)
    cluster.tick(1)
    before = len(cluster.network.under_way[1, 3])
    for _ in range(3):
        cluster.clock.advance(110)
        cluster.tick(1)

    heartbeats = [message for _, message in cluster.network.under_way[1, 3]][before:]
    assert [getattr(message, "data", None) for message in heartbeats] == [b""] * 3


def test_every_part_is_sent_once_although_heartbeats_are_answered_too() -> None:
    cluster = lagging_cluster(entries=60)
    offsets: list[int] = []

    def spy(_source: int, _target: int, message: Message) -> None:
        if isinstance(message, SnapshotChunk) and message.data:
            offsets.append(message.offset)

    cluster.spies.append(spy)
    cluster.heal(3)
    for _ in range(40):
        for _ in range(3):
            cluster.clock.advance(110)
            cluster.tick(1)
        cluster.network.deliver(1, 3)
        cluster.tick(3)
        cluster.network.deliver(3, 1)
        cluster.network.deliver(1, 2)
        cluster.tick(2)
        cluster.network.deliver(2, 1)
        cluster.tick(1)

    assert cluster.engines[3].statistics().snapshot_index > 0
    assert len(offsets) >= 4
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("operation", range(1, 18))
def test_crash_at_any_point_of_an_installation_is_recovered_from(operation: int) -> None:
    cluster = lagging_cluster()
    cluster.heal(3)
    cluster.run(50)  # links are made, the first parts have arrived or not
    disk = cluster.disks[3]
    disk.crash_at_operation = disk.operations + operation
    with suppress(SimulatedCrash):
        cluster.run(1_000)

    cluster.restart(3)
    cluster.run(2_000)

    assert cluster.machines[3].entries == cluster.machines[1].entries


@pytest.mark.parametrize("operation", range(1, 16))
def test_term_is_not_forgotten_by_a_crash_while_its_snapshot_is_installed(operation: int) -> None:
    for seed in range(4):
        cluster = Cluster(3, seed=seed)
        link = cluster.network.link(1, 2)
        assert link is not None
        [whole] = chunks(Snapshot.of(SnapshotId(9, 5), b"[]"), size=1_000)
        disk = cluster.disks[2]
        disk.crash_at_operation = disk.operations + operation
        with suppress(SimulatedCrash):
            cluster.engines[2].receive(BrokerId(1), link, replace(whole, term=5))
            cluster.engines[2].tick()

        restarted = cluster.restart(2)

        assert (restarted.statistics().snapshot_index, restarted.term) in [(0, 0), (0, 5), (9, 5)]


def test_snapshot_that_brings_nothing_is_not_installed_and_the_log_stays() -> None:
    cluster = Cluster(3)
    leader = cluster.elect(1)
    cluster.commit(1, *(f"entry {n}" for n in range(10)))
    cluster.run(200)
    follower = cluster.engines[2]
    before = follower.statistics()
    old = Snapshot.of(SnapshotId(5, leader.term), b"[]")
    link = cluster.network.link(1, 2)
    assert link is not None

    for chunk in chunks(old, size=1_000):
        follower.receive(leader._node.node_id, link, replace(chunk, term=leader.term))
    follower.tick()

    after = follower.statistics()
    assert (after.base_index, after.last_index) == (before.base_index, before.last_index)
    assert after.snapshot_index == 0


def test_metadata_that_outgrows_a_snapshot_stops_the_node() -> None:
    cluster = Cluster(1, settings=replace(SMALL_BATCHES, snapshot_bytes_max=100))
    cluster.elect(1)
    cluster.commit(1, "x" * 200)

    with pytest.raises(NodeStoppedError, match="more than the 100"):
        cluster.engines[1].begin_snapshot()
