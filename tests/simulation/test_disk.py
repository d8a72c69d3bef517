"""A simulated crash takes what was not synced, in every way it may, and never what was."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from ottla.simulation.disk import SimulatedCrash, SimulatedDisk

SEEDS = range(60)
DATA = Path("/data")
FILE = DATA / "file"


def disk_with(content: bytes, *, seed: int = 0) -> SimulatedDisk:
    """Make a disk with one durable file."""
    disk = SimulatedDisk(seed)
    disk.make_directory(DATA)
    disk.replace(FILE, content)
    disk.settle()
    return disk


def outcomes(
    run: Callable[[SimulatedDisk], bytes | None], content: bytes = b""
) -> set[bytes | None]:
    """What is found in the file after ``run``, over many seeds."""
    return {run(disk_with(content, seed=seed)) for seed in SEEDS}


def found(disk: SimulatedDisk, path: Path = FILE) -> bytes | None:
    disk.crash()
    return disk.read(path) if disk.exists(path) else None


# --- Content ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_synced_bytes_survive(seed: int) -> None:
    disk = disk_with(b"", seed=seed)
    file = disk.open(FILE)
    file.append([b"synced"])
    file.sync()
    file.append([b" not synced"])

    content = found(disk)

    assert content is not None
    assert content.startswith(b"synced")


def test_unsynced_bytes_survive_whole_in_part_torn_or_not_at_all() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.open(FILE).append([b"x" * 2000])
        return found(disk)

    contents = outcomes(run)

    assert b"" in contents
    assert b"x" * 2000 in contents
    assert any(
        content and set(content) == {ord("x")} and len(content) < 2000 for content in contents
    )
    assert any(content and not set(content) <= {ord("x")} for content in contents)


def test_unsynced_truncation_may_not_have_happened() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.open(FILE).truncate(2)
        return found(disk)

    assert outcomes(run, b"abcdef") == {b"ab", b"abcdef"}


def test_synced_truncation_has_happened() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        file = disk.open(FILE)
        file.truncate(2)
        file.sync()
        return found(disk)

    assert outcomes(run, b"abcdef") == {b"ab"}


def test_each_of_two_truncations_may_not_have_happened() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        file = disk.open(FILE)
        file.truncate(4)
        file.truncate(2)
        return found(disk)

    assert outcomes(run, b"abcdef") == {b"ab", b"abcd", b"abcdef"}


def test_bytes_written_after_a_truncation_do_not_mix_with_those_before_it() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        file = disk.open(FILE)
        file.truncate(2)
        file.append([b"X"])
        return found(disk)

    contents = outcomes(run, b"abcdef")

    assert {b"ab", b"abX", b"abcdef"} <= contents
    assert all(content and len(content) <= 3 for content in contents - {b"abcdef"})


def test_nothing_changes_in_a_crash_while_nothing_is_unsynced() -> None:
    assert outcomes(found, b"content") == {b"content"}


def test_second_crash_takes_nothing_more() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.open(FILE).append([b"x" * 2000])
        first = found(disk)
        assert found(disk) == first
        return None

    outcomes(run)


def test_same_seed_leaves_the_same() -> None:
    def run() -> bytes | None:
        disk = disk_with(b"start", seed=7)
        disk.open(FILE).append([b"y" * 5000])
        return found(disk)

    assert run() == run()


# --- Names --------------------------------------------------------------------------------


def test_name_that_was_not_synced_may_be_lost_with_its_synced_content() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        file = disk.open(DATA / "new", create=True)
        file.append([b"content"])
        file.sync()
        return found(disk, DATA / "new")

    assert outcomes(run) == {None, b"content"}


def test_name_that_was_synced_survives() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        file = disk.open(DATA / "new", create=True)
        file.append([b"content"])
        file.sync()
        disk.sync_directory(DATA)
        return found(disk, DATA / "new")

    assert outcomes(run) == {b"content"}


def test_unsynced_rename_leaves_one_of_the_two_names() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.rename(FILE, DATA / "other")
        disk.crash()
        return " ".join(disk.list(DATA)).encode()

    assert outcomes(run) == {b"file", b"other"}


def test_rename_over_a_file_leaves_the_old_or_the_new_content() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.replace(DATA / "new", b"new")
        disk.rename(DATA / "new", FILE)
        return found(disk)

    assert outcomes(run, b"old") == {b"old", b"new"}


def test_unsynced_removal_may_not_have_happened() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.remove(FILE)
        return found(disk)

    assert outcomes(run, b"content") == {None, b"content"}


def test_name_taken_again_is_of_the_old_or_the_new_file_or_of_none() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.remove(FILE)
        file = disk.open(FILE, create=True)
        file.append([b"new"])
        file.sync()
        return found(disk)

    assert outcomes(run, b"old") == {None, b"old", b"new"}


def test_directory_whose_parent_was_not_synced_may_be_lost_with_all_in_it() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.make_directory(DATA / "t-0")
        disk.replace(DATA / "t-0" / "log", b"content")
        return found(disk, DATA / "t-0" / "log")

    assert outcomes(run) == {None, b"content"}


def test_syncing_the_target_directory_makes_a_rename_from_another_durable() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.make_directory(Path("/elsewhere"))
        disk.settle()
        file = disk.open(DATA / "new", create=True)
        file.append([b"content"])
        file.sync()
        disk.rename(DATA / "new", Path("/elsewhere/new"))
        disk.sync_directory(Path("/elsewhere"))
        return found(disk, Path("/elsewhere/new"))

    assert outcomes(run) == {b"content"}


def test_current_directory_and_root_need_no_making() -> None:
    disk = SimulatedDisk(seed=0)
    disk.replace(Path("relative"), b"1")
    disk.replace(Path("/absolute"), b"2")
    disk.crash()

    assert (disk.read(Path("relative")), disk.read(Path("/absolute"))) == (b"1", b"2")


# --- Crash points -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_replace_leaves_the_old_file_or_the_new_at_every_crash_point(seed: int) -> None:
    disk = disk_with(b"old", seed=seed)
    disk.replace(FILE, b"new")
    points = range(disk_with(b"old").operations + 1, disk.operations + 1)
    contents = []

    for point in points:
        disk = disk_with(b"old", seed=seed)
        disk.crash_at_operation = point
        with pytest.raises(SimulatedCrash):
            disk.replace(FILE, b"new")
        contents.append(found(disk))

    assert len(points) == 5
    assert set(contents) <= {b"old", b"new"}


def test_operation_that_crashes_is_not_done() -> None:
    disk = disk_with(b"old")
    disk.crash_at_operation = disk.operations + 1

    with pytest.raises(SimulatedCrash, match="remove of /data/file"):
        disk.remove(FILE)

    assert found(disk) == b"old"


def test_append_that_crashes_may_be_half_done() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.crash_at_operation = disk.operations + 1
        with pytest.raises(SimulatedCrash):
            disk.open(FILE).append([b"abc"])
        return found(disk)

    assert {b"", b"a", b"ab"} <= outcomes(run)


def test_sync_that_crashes_may_have_saved_a_part() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        file = disk.open(FILE)
        file.append([b"abc"])
        disk.crash_at_operation = disk.operations + 1
        with pytest.raises(SimulatedCrash):
            file.sync()
        return found(disk)

    assert {b"", b"a", b"ab", b"abc"} <= outcomes(run)


def test_dying_program_reaches_the_disk_no_more() -> None:
    disk = disk_with(b"content")
    file = disk.open(FILE)
    disk.crash_at_operation = disk.operations + 1
    with pytest.raises(SimulatedCrash):
        file.append([b"x"])

    with pytest.raises(SimulatedCrash):
        file.truncate(0)
    with pytest.raises(SimulatedCrash):
        disk.read(FILE)


def test_crash_passes_every_handler_of_errors() -> None:
    assert not issubclass(SimulatedCrash, Exception)


def test_handle_of_before_the_crash_is_dead() -> None:
    disk = disk_with(b"content")
    file = disk.open(FILE)
    disk.crash()

    with pytest.raises(ValueError, match="before the crash"):
        file.read_at(0, 1)


def test_lock_does_not_survive_the_crash_of_its_holder() -> None:
    disk = disk_with(b"")
    stale = disk.lock(DATA)
    disk.crash()
    disk.lock(DATA)

    stale.release()

    with pytest.raises(BlockingIOError):
        disk.lock(DATA)


def test_page_cache_is_cold_after_a_crash_until_the_file_is_read() -> None:
    disk = disk_with(b"content")
    disk.crash()
    file = disk.open(FILE)

    assert file.read_cached(0, 7) is None
    file.read_at(0, 1)
    assert file.read_cached(0, 7) == b"content"


# --- Faults -------------------------------------------------------------------------------


def test_full_disk_refuses_a_write_that_does_not_fit_and_keeps_the_file_as_it_was() -> None:
    disk = disk_with(b"1234")
    disk.capacity_bytes = 8
    file = disk.open(FILE)

    with pytest.raises(OSError, match="No space left") as caught:
        file.append([b"56", b"789"])

    assert caught.value.errno == errno.ENOSPC
    assert disk.read(FILE) == b"1234"


def test_full_disk_takes_what_fits() -> None:
    disk = disk_with(b"1234")
    disk.capacity_bytes = 8
    disk.open(FILE).append([b"5678"])

    assert disk.usable_bytes(DATA) == (0, 8)


def test_removing_a_file_makes_room() -> None:
    disk = disk_with(b"1234")
    disk.capacity_bytes = 8
    disk.remove(FILE)

    assert disk.usable_bytes(DATA) == (8, 8)


def test_part_of_a_refused_write_may_be_found_after_a_crash() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        disk.capacity_bytes = 2
        with pytest.raises(OSError, match="No space left"):
            disk.open(FILE).append([b"abc"])
        return found(disk)

    assert {b"", b"ab"} <= outcomes(run)


@pytest.mark.parametrize("operation", ["append", "sync", "truncate", "read"])
def test_operation_told_to_fail_fails_once(operation: str) -> None:
    disk = disk_with(b"content")
    file = disk.open(FILE)
    disk.fail(operation, errno.EIO)
    operations: dict[str, Callable[[], object]] = {
        "append": lambda: file.append([b"x"]),
        "sync": file.sync,
        "truncate": lambda: file.truncate(1),
        "read": lambda: file.read_at(0, 1),
    }

    with pytest.raises(OSError, match="Input/output"):
        operations[operation]()

    operations[operation]()


def test_fault_waits_for_the_file_it_is_meant_for() -> None:
    disk = disk_with(b"content")
    other = disk.open(DATA / "other", create=True)
    disk.fail("sync", errno.EIO, name_suffix="file")
    other.sync()

    with pytest.raises(OSError, match="/data/file"):
        disk.open(FILE).sync()


def test_bytes_of_a_failed_sync_may_be_lost() -> None:
    def run(disk: SimulatedDisk) -> bytes | None:
        file = disk.open(FILE)
        file.append([b"abc"])
        disk.fail("sync", errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            file.sync()
        return found(disk)

    assert b"" in outcomes(run)


def test_replace_that_fails_leaves_the_old_file_and_no_other() -> None:
    disk = disk_with(b"old")
    disk.fail("sync", errno.EIO, name_suffix=".tmp")

    with pytest.raises(OSError, match="Input/output"):
        disk.replace(FILE, b"new")

    assert (disk.read(FILE), disk.list(DATA)) == (b"old", ["file"])


def test_flipped_bit_is_found_by_the_next_reader() -> None:
    disk = disk_with(b"abc")
    disk.flip_bit(FILE, 1, bit=0)

    assert disk.read(FILE) == b"acc"


def test_cold_file_is_read_only_by_waiting() -> None:
    disk = disk_with(b"abc")
    disk.make_cold(FILE)
    file = disk.open(FILE)

    assert file.read_cached(0, 3) is None
    assert file.read_at(0, 3) == b"abc"
