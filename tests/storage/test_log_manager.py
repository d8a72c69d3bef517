"""The logs of a directory outlive every stop; what is wrong with one is kept from the others."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from ottla.model.errors import StorageError
from ottla.model.ids import BrokerEpoch, BrokerId, Offset, TopicPartition
from ottla.runtime.posix import PosixFileSystem
from ottla.simulation.disk import SimulatedCrash, SimulatedDisk
from ottla.storage.log_creation import NewLog
from ottla.storage.log_manager import LogManager
from tests.storage.data_directories import (
    CONFIG,
    DATA,
    ORDERS,
    OTHER_TOPIC,
    TOPIC,
    WALL_MS,
    WEB,
    append,
    claim,
    new_disk,
    start,
    started,
    stop,
)


@pytest.fixture
def disk() -> SimulatedDisk:
    return new_disk()


# --- Stopping and starting ----------------------------------------------------------------


def test_clean_stop_is_found_at_the_next_start(disk: SimulatedDisk) -> None:
    stop(started(disk), epoch=41)

    _, report = start(disk)

    assert (report.clean, report.stopped_broker_epoch) == (True, 41)


def test_stop_without_an_epoch_is_not_clean(disk: SimulatedDisk) -> None:
    stop(started(disk), epoch=None)

    assert not start(disk)[1].clean


def test_crash_after_a_clean_start_is_not_clean(disk: SimulatedDisk) -> None:
    stop(started(disk))
    started(disk)
    disk.crash()

    assert not start(disk)[1].clean


def test_records_survive_a_clean_stop(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 30)
    stop(manager)
    disk.crash()

    log = started(disk).get(WEB)

    assert log is not None
    assert log.log_end_offset == 30
    assert log.recovery.clean


def test_flushed_records_survive_a_crash(disk: SimulatedDisk) -> None:
    log = started(disk).create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    append(log, 30)
    log.flush()
    disk.crash()

    log_again = started(disk).get(WEB)

    assert log_again is not None
    assert log_again.log_end_offset >= 30
    assert not log_again.recovery.clean


def test_recovery_starts_at_the_checkpoint(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    append(log, 100)
    log.flush()
    manager.checkpoint({})
    disk.crash()

    log_again = started(disk).get(WEB)

    assert log_again is not None
    assert log_again.recovery.segments_scanned < log_again.segment_count


@pytest.mark.parametrize("restarted", [True, False])
def test_offsets_of_a_deleted_partition_do_not_live_on_in_its_successor(
    disk: SimulatedDisk, *, restarted: bool
) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    append(log, 50)
    log.delete_records_before(Offset(40))
    log.flush()
    manager.checkpoint({WEB: Offset(50)})
    manager.delete(WEB, now_ms=0)
    if restarted:
        manager.abandon()
        disk.settle()
        manager = started(disk)
    successor = manager.create(WEB, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS)
    append(successor, 1)
    successor.flush()
    disk.crash()

    found = started(disk)

    assert found.offline == {}
    log_again = found.get(WEB)
    assert log_again is not None
    assert (log_again.log_start_offset, log_again.log_end_offset) == (0, 1)
    assert found.known_high_watermark(WEB) == 0


def test_high_watermark_is_known_after_a_restart(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 30)
    manager.checkpoint({WEB: Offset(17)})
    manager.abandon()

    assert started(disk).known_high_watermark(WEB) == 17


def test_unknown_high_watermark_is_kept_as_it_was(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 30)
    stop(manager, web=17)
    stop(started(disk))

    assert started(disk).known_high_watermark(WEB) == 17


def test_deleted_records_do_not_come_back(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    append(log, 5)
    log.delete_records_before(Offset(3))
    stop(manager)

    log_again = started(disk).get(WEB)

    assert log_again is not None
    assert log_again.log_start_offset == 3


def test_every_partition_is_told_of_when_it_is_open(disk: SimulatedDisk) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    manager.create(ORDERS, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS)
    stop(manager)
    told: list[TopicPartition] = []

    claim(disk).open_all(lambda _: CONFIG, wall_ms=WALL_MS, opened=lambda p, _: told.append(p))

    assert told == [ORDERS, WEB]


def test_topic_of_a_log_is_known_after_a_restart(disk: SimulatedDisk) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    stop(manager)

    assert started(disk).topic_id(WEB) == TOPIC


def test_stop_lets_the_directory_go(disk: SimulatedDisk) -> None:
    stop(started(disk))

    claim(disk)


def test_stop_that_fails_lets_the_directory_go_and_is_not_clean(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS))
    disk.fail("sync", errno.EIO, name_suffix=".log")

    with pytest.raises(StorageError, match="closing web-0 failed"):
        stop(manager)

    assert not start(disk)[1].clean


def test_other_logs_are_closed_when_one_fails(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(ORDERS, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS))
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS))
    disk.fail("sync", errno.EIO, name_suffix=".log")
    with pytest.raises(StorageError):
        stop(manager)
    disk.crash()

    log = started(disk).get(WEB)

    assert log is not None
    assert log.log_end_offset == 1


# --- What is wrong with a directory ---------------------------------------------------------


def directory_with_damage(disk: SimulatedDisk) -> None:
    """Leave two partitions, one of which has a flipped bit below its recovery point."""
    manager = started(disk)
    for partition, topic in ((WEB, TOPIC), (ORDERS, OTHER_TOPIC)):
        log = manager.create(partition, topic, CONFIG, wall_ms=WALL_MS)
        append(log, 5)
        log.flush()
    manager.checkpoint({WEB: Offset(4)})
    manager.abandon()
    disk.flip_bit(DATA / "web-0" / "00000000000000000000.log", 80)


def test_damaged_partition_is_offline_and_the_others_open(disk: SimulatedDisk) -> None:
    directory_with_damage(disk)
    manager = started(disk)

    assert list(manager.offline) == [WEB]
    assert list(manager.logs) == [ORDERS]
    assert "damaged" in str(manager.offline[WEB])


def test_topic_of_an_offline_partition_is_known(disk: SimulatedDisk) -> None:
    directory_with_damage(disk)

    assert started(disk).topic_id(WEB) == TOPIC


def test_offline_partition_cannot_be_created_anew(disk: SimulatedDisk) -> None:
    directory_with_damage(disk)

    with pytest.raises(StorageError, match="damaged"):
        started(disk).create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)


def test_offline_partition_keeps_its_checkpoints_and_the_stop_from_being_clean(
    disk: SimulatedDisk,
) -> None:
    directory_with_damage(disk)
    stop(started(disk))
    manager, report = start(disk)

    assert not report.clean
    assert list(manager.offline) == [WEB]
    assert manager.known_high_watermark(WEB) == 4


def test_offline_partition_can_be_deleted_and_created_again(disk: SimulatedDisk) -> None:
    directory_with_damage(disk)
    manager = started(disk)
    manager.delete(WEB, now_ms=0)

    assert manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS).log_end_offset == 0


def test_partition_that_does_not_say_its_topic_is_offline(disk: SimulatedDisk) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    stop(manager)
    disk.replace(DATA / "web-0" / "partition.metadata", b"garbage")

    assert "partition.metadata is damaged" in str(started(disk).offline[WEB])


def test_log_set_aside_keeps_its_files_and_frees_its_name(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 3)

    kept_as = manager.set_aside(WEB)
    successor = manager.create(WEB, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS)
    append(successor, 1)
    stop(manager)

    again, report = start(disk)
    assert (report.removed, list(again.logs)) == ((), [WEB])
    assert kept_as.name.endswith("-stray")
    assert "00000000000000000000.log" in disk.list(kept_as)


def test_log_without_its_topics_id_is_not_taken_for_any_topics(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 3)
    stop(manager)
    disk.remove(DATA / "web-0" / "partition.metadata")

    with pytest.raises(StorageError, match=r"partition\.metadata is missing"):
        started(disk).create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)


# --- Many at once -------------------------------------------------------------------------


def new_logs(count: int) -> list[NewLog]:
    return [NewLog(TopicPartition("many", number), TOPIC, CONFIG) for number in range(count)]


def test_logs_made_together_survive_a_crash(disk: SimulatedDisk) -> None:
    wanted = new_logs(5)
    started(disk).create_all(wanted, wall_ms=WALL_MS)
    disk.crash()

    manager = started(disk)

    assert list(manager.logs) == [new.topic_partition for new in wanted]
    assert {manager.topic_id(new.topic_partition) for new in wanted} == {TOPIC}


def test_data_directory_is_synced_once_for_all_logs_made_together(disk: SimulatedDisk) -> None:
    manager = started(disk)
    before = disk.counts["sync_directory"]

    manager.create_all(new_logs(20), wall_ms=WALL_MS)

    assert disk.counts["sync_directory"] - before == 20 + 1


def test_log_that_cannot_be_made_does_not_keep_others_from_it(disk: SimulatedDisk) -> None:
    manager = started(disk)
    disk.fail("sync", errno.EIO, name_suffix="many-1/partition.metadata.tmp")

    results = manager.create_all(new_logs(3), wall_ms=WALL_MS)

    assert [isinstance(result, StorageError) for result in results] == [False, True, False]
    assert [tp.partition for tp in manager.logs] == [0, 2]


def test_no_log_is_made_if_the_data_directory_cannot_be_synced(disk: SimulatedDisk) -> None:
    manager = started(disk)
    disk.fail("sync_directory", errno.EIO, name_suffix=DATA.name)

    results = manager.create_all(new_logs(2), wall_ms=WALL_MS)

    assert all(isinstance(result, StorageError) for result in results)
    assert not manager.logs


def test_as_many_logs_are_made_together_as_there_is_room_for(disk: SimulatedDisk) -> None:
    manager = claim(disk, logs_max=2)
    manager.open_all(lambda _: CONFIG, wall_ms=WALL_MS)

    results = manager.create_all(new_logs(3), wall_ms=WALL_MS)

    assert [isinstance(result, StorageError) for result in results] == [False, False, True]


def test_crash_while_logs_are_made_together_leaves_no_damage() -> None:
    disk = new_disk()
    started(disk).create_all(new_logs(3), wall_ms=WALL_MS)
    whole_run = disk.operations
    for point in range(new_disk().operations + 1, whole_run + 1):
        disk = SimulatedDisk(point, crash_at_operation=point)
        disk.make_directory(DATA.parent)
        disk.settle()
        with suppress(SimulatedCrash):
            started(disk).create_all(new_logs(3), wall_ms=WALL_MS)
        disk.crash()

        assert not started(disk).offline, point


def test_damaged_checkpoint_is_reported_and_done_without(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    append(log, 5)
    log.flush()
    manager.checkpoint({})
    manager.abandon()
    disk.replace(DATA / "recovery-point-offset-checkpoint", b"garbage")

    manager, report = start(disk)

    assert [error.path.name for error in report.damaged_checkpoints] == [
        "recovery-point-offset-checkpoint"
    ]
    assert manager.logs[WEB].log_end_offset == 5


def test_partition_that_was_never_quite_created_is_removed(disk: SimulatedDisk) -> None:
    claim(disk).abandon()
    disk.make_directory(DATA / "web-0")

    _, report = start(disk)

    assert report.removed == ("web-0",)
    assert not disk.exists(DATA / "web-0")


def test_what_is_no_partition_is_left_alone(disk: SimulatedDisk) -> None:
    claim(disk).abandon()
    disk.make_directory(DATA / "metadata")
    disk.make_directory(DATA / "web-01")
    disk.replace(DATA / "notes-1", b"a file with the name of a partition")

    _, report = start(disk)

    assert (report.opened, report.removed, report.ignored) == (0, (), ("notes-1",))


def test_disk_that_fails_at_the_start_is_reported(disk: SimulatedDisk) -> None:
    stop(started(disk))
    disk.fail("remove", errno.EIO)

    with pytest.raises(StorageError, match=r"opening /var/data failed.*check the disk"):
        start(disk)


# --- Creating and deleting --------------------------------------------------------------------


def test_created_log_survives_a_crash_as_an_empty_one(disk: SimulatedDisk) -> None:
    started(disk).create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    disk.crash()

    manager = started(disk)

    assert manager.logs[WEB].log_end_offset == 0
    assert manager.topic_id(WEB) == TOPIC


def test_log_that_is_there_is_not_created_again(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)

    assert manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS) is log


def test_log_of_another_topic_is_not_taken_for_ours(disk: SimulatedDisk) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)

    with pytest.raises(StorageError, match="restore it, else move the directory away"):
        manager.create(WEB, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS)


def test_too_many_logs_are_refused(disk: SimulatedDisk) -> None:
    manager = claim(disk, logs_max=1)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)

    with pytest.raises(StorageError, match="holds 1 partitions, as many as"):
        manager.create(ORDERS, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS)


def test_full_disk_does_not_take_a_new_log(disk: SimulatedDisk) -> None:
    manager = started(disk)
    disk.capacity_bytes = 0

    with pytest.raises(StorageError, match=r"creating web-0 in /var/data failed.*No space left"):
        manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    assert manager.get(WEB) is None


def test_creation_that_failed_can_be_tried_again(disk: SimulatedDisk) -> None:
    manager = started(disk)
    disk.fail("sync_directory", errno.EIO)
    with pytest.raises(StorageError):
        manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)

    assert manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS).log_end_offset == 0


def test_deleted_log_is_gone_at_once_and_its_files_after_the_delay(disk: SimulatedDisk) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)

    manager.delete(WEB, now_ms=1000)

    deleted = DATA / "web-0.00000000000000000000000000000007-delete"
    assert manager.get(WEB) is None
    assert disk.exists(deleted)
    assert manager.next_removal_ms() == 1060
    assert manager.take_due_removals(now_ms=1059) == []
    for removal in manager.take_due_removals(now_ms=1060):
        removal.run()
    assert not disk.exists(deleted)


def test_reader_of_a_deleted_log_may_finish(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    append(log)
    manager.delete(WEB, now_ms=1000)

    found = log.read(Offset(0), max_bytes=1000, end_offset=Offset(1))

    assert found is not None
    assert len(found.records) > 100


def test_name_of_a_deleted_log_is_free_for_another_topic(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 5)
    manager.delete(WEB, now_ms=1000)

    assert manager.create(WEB, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS).log_end_offset == 0
    assert manager.topic_id(WEB) == OTHER_TOPIC


def test_log_that_comes_and_goes_within_the_delay_finds_a_free_name(disk: SimulatedDisk) -> None:
    manager = started(disk)
    for _ in range(3):
        manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
        manager.delete(WEB, now_ms=1000)

    assert len([name for name in disk.list(DATA) if name.endswith("-delete")]) == 3


def test_deleting_what_is_not_there_changes_nothing(disk: SimulatedDisk) -> None:
    started(disk).delete(WEB, now_ms=0)


def test_removal_that_failed_can_be_run_again(disk: SimulatedDisk) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    manager.delete(WEB, now_ms=0)
    [removal] = manager.take_due_removals(now_ms=60)
    disk.fail("remove", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        removal.run()

    removal.run()

    assert not any(name.endswith("-delete") for name in disk.list(DATA))


def test_what_was_not_removed_before_the_stop_is_removed_at_the_start(
    disk: SimulatedDisk,
) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    manager.delete(WEB, now_ms=0)
    stop(manager)

    manager, report = start(disk)

    assert report.removed == ("web-0.00000000000000000000000000000007-delete",)
    assert manager.logs == {}


def test_new_log_does_not_inherit_the_offsets_of_one_that_was_lost(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 9)
    stop(manager, web=9)
    disk.remove(DATA / "web-0")
    manager = started(disk)
    manager.delete(WEB, now_ms=0)
    manager.create(WEB, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS)

    assert manager.known_high_watermark(WEB) == 0


def test_new_log_does_not_inherit_the_offsets_of_a_deleted_one(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 9)
    stop(manager, web=9)
    manager = started(disk)
    manager.delete(WEB, now_ms=0)
    manager.create(WEB, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS)

    assert manager.known_high_watermark(WEB) == 0


def test_nothing_is_held_open_after_a_stop(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    manager = LogManager.claim(
        tmp_path,
        file_system=PosixFileSystem(sync=False),
        cluster_id="c",
        node_id=BrokerId(1),
        new_directory_id=UUID(int=5),
    )
    manager.open_all(lambda _: CONFIG, wall_ms=WALL_MS)
    for partition in range(3):
        log = manager.create(TopicPartition("web", partition), TOPIC, CONFIG, wall_ms=WALL_MS)
        append(log, 30)
    manager.remove_later(log.delete_records_before(Offset(20)), due_ms=60)
    manager.delete(WEB, now_ms=0)
    manager.close({}, broker_epoch=BrokerEpoch(1))

    assert open_files() == before
