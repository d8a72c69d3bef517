"""The real and the simulated disk keep every promise of the FileSystem port that a test can see."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from ottla.runtime.files import File, FileSystem
from ottla.runtime.posix import PosixFileSystem
from ottla.simulation.disk import SimulatedDisk


def _posix() -> FileSystem:
    return PosixFileSystem()


def _posix_without_sync() -> FileSystem:
    return PosixFileSystem(sync=False)


def _simulated() -> FileSystem:
    return SimulatedDisk(seed=1)


@pytest.fixture(params=[_posix, _posix_without_sync, _simulated])
def disk(request: pytest.FixtureRequest) -> FileSystem:
    make: Callable[[], FileSystem] = request.param
    return make()


@pytest.fixture
def directory(disk: FileSystem, tmp_path: Path) -> Path:
    disk.make_directory(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def file(disk: FileSystem, directory: Path) -> File:
    return disk.open(directory / "file", create=True)


# --- Files: writing ---------------------------------------------------------------------


def test_new_file_is_empty(file: File) -> None:
    assert file.size == 0


def test_buffers_of_every_kind_are_written_one_after_another(file: File) -> None:
    file.append([b"one ", bytearray(b"two "), memoryview(b"..three..")[2:7]])

    assert file.read_at(0, 100) == b"one two three"


def test_size_grows_with_every_append(file: File) -> None:
    file.append([b"12", b"345"])
    file.append([b"6"])

    assert file.size == 6


def test_appending_nothing_changes_nothing(file: File) -> None:
    file.append([])
    file.append([b"", b""])

    assert (file.size, file.read_at(0, 10)) == (0, b"")


def test_more_buffers_than_one_system_call_takes_are_all_written(file: File) -> None:
    buffers = [b"%05d" % number for number in range(3000)]

    file.append(buffers)

    assert file.read_at(0, file.size) == b"".join(buffers)


def test_append_continues_at_the_end_of_an_existing_file(disk: FileSystem, file: File) -> None:
    file.append([b"old "])
    again = disk.open(file.path)
    again.append([b"new"])

    assert again.read_at(0, 100) == b"old new"


def test_append_after_truncation_continues_at_the_new_end(file: File) -> None:
    file.append([b"abcdef"])
    file.truncate(2)
    file.append([b"X"])

    assert (file.size, file.read_at(0, 100)) == (3, b"abX")


def test_truncating_beyond_the_end_is_a_bug_of_the_caller(file: File) -> None:
    file.append([b"abc"])

    with pytest.raises(AssertionError):
        file.truncate(4)


def test_truncating_to_a_negative_size_is_a_bug_of_the_caller(file: File) -> None:
    with pytest.raises(AssertionError):
        file.truncate(-1)


def test_synced_file_has_what_was_appended(file: File) -> None:
    file.append([b"kept"])
    file.sync()

    assert file.read_at(0, 4) == b"kept"


# --- Files: reading ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "size", "expected"),
    [
        (0, 4, b"abcd"),
        (2, 3, b"cde"),
        (0, 100, b"abcdef"),
        (4, 100, b"ef"),
        (6, 1, b""),
        (60, 1, b""),
        (3, 0, b""),
    ],
)
def test_read_gives_fewer_bytes_only_at_the_end(
    file: File, position: int, size: int, expected: bytes
) -> None:
    file.append([b"abcdef"])

    assert file.read_at(position, size) == expected
    assert file.read_cached(position, size) == expected


@pytest.mark.parametrize(("position", "size"), [(-1, 1), (0, -1)])
def test_reading_at_a_negative_position_or_size_is_a_bug_of_the_caller(
    file: File, position: int, size: int
) -> None:
    with pytest.raises(AssertionError):
        file.read_at(position, size)
    with pytest.raises(AssertionError):
        file.read_cached(position, size)


def test_two_reads_do_not_share_their_bytes(file: File) -> None:
    file.append([b"first second"])

    first = file.read_cached(0, 5)
    file.read_cached(6, 6)

    assert first == b"first"


def test_large_read_is_complete(file: File) -> None:
    content = bytes(range(256)) * (3 << 12)
    file.append([content])

    assert file.read_at(1, len(content)) == content[1:]


def test_bytes_read_are_not_those_beyond_a_truncation(file: File) -> None:
    file.append([b"abcdef"])
    file.truncate(3)

    assert file.read_at(0, 6) == b"abc"


# --- Files: names and closing -----------------------------------------------------------


def test_path_is_where_the_file_was_opened_even_after_a_rename(
    disk: FileSystem, directory: Path, file: File
) -> None:
    disk.rename(file.path, directory / "other")

    assert file.path == directory / "file"


def test_open_file_follows_a_rename(disk: FileSystem, directory: Path, file: File) -> None:
    disk.rename(file.path, directory / "other")
    file.append([b"late"])

    assert disk.read(directory / "other") == b"late"


def test_removed_file_is_readable_until_it_is_closed(disk: FileSystem, file: File) -> None:
    file.append([b"still here"])
    disk.remove(file.path)

    assert file.read_at(0, 10) == b"still here"


@pytest.mark.parametrize(
    "use",
    [
        lambda file: file.append([b"x"]),
        lambda file: file.read_at(0, 1),
        lambda file: file.read_cached(0, 1),
        lambda file: file.sync(),
        lambda file: file.truncate(0),
    ],
    ids=["append", "read_at", "read_cached", "sync", "truncate"],
)
def test_closed_file_refuses_everything(file: File, use: Callable[[File], object]) -> None:
    file.close()

    with pytest.raises(ValueError, match="closed"):
        use(file)


def test_closing_twice_is_no_error(file: File) -> None:
    file.close()
    file.close()


# --- Opening ------------------------------------------------------------------------------


def test_missing_file_is_not_opened(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.open(directory / "missing")


def test_file_is_not_created_in_a_missing_directory(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.open(directory / "missing" / "file", create=True)


def test_opening_with_create_leaves_an_existing_file_as_it_is(disk: FileSystem, file: File) -> None:
    file.append([b"content"])

    assert disk.open(file.path, create=True).size == 7


def test_directory_is_not_opened_as_a_file(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(IsADirectoryError):
        disk.open(directory)


# --- Whole small files ----------------------------------------------------------------------


def test_read_returns_the_whole_file(disk: FileSystem, file: File) -> None:
    file.append([b"a", b"b"])

    assert disk.read(file.path) == b"ab"


def test_missing_file_is_not_read(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.read(directory / "missing")


def test_directory_is_not_read_as_a_file(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(IsADirectoryError):
        disk.read(directory)


def test_replace_makes_a_new_file(disk: FileSystem, directory: Path) -> None:
    disk.replace(directory / "checkpoint", b"new")

    assert disk.read(directory / "checkpoint") == b"new"


def test_replace_leaves_nothing_of_a_longer_old_file(disk: FileSystem, directory: Path) -> None:
    disk.replace(directory / "checkpoint", b"a long old content")
    disk.replace(directory / "checkpoint", b"new")

    assert disk.read(directory / "checkpoint") == b"new"


def test_replace_leaves_no_other_file(disk: FileSystem, directory: Path) -> None:
    disk.replace(directory / "checkpoint", b"old")
    disk.replace(directory / "checkpoint", b"new")

    assert disk.list(directory) == ["checkpoint"]


def test_replace_does_not_touch_who_has_the_old_file_open(
    disk: FileSystem, directory: Path
) -> None:
    disk.replace(directory / "checkpoint", b"old")
    reader = disk.open(directory / "checkpoint")
    disk.replace(directory / "checkpoint", b"new")

    assert reader.read_at(0, 10) == b"old"


def test_replace_fails_in_a_missing_directory(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.replace(directory / "missing" / "checkpoint", b"new")


def test_replacing_a_directory_fails_and_leaves_no_other_file(
    disk: FileSystem, directory: Path
) -> None:
    disk.make_directory(directory / "checkpoint")

    with pytest.raises(IsADirectoryError):
        disk.replace(directory / "checkpoint", b"new")
    assert disk.list(directory) == ["checkpoint"]


# --- Directories ------------------------------------------------------------------------------


def test_directory_is_made_with_its_parents(disk: FileSystem, directory: Path) -> None:
    disk.make_directory(directory / "a" / "b")

    assert disk.exists(directory / "a" / "b")


def test_making_a_directory_that_exists_keeps_what_is_in_it(disk: FileSystem, file: File) -> None:
    disk.make_directory(file.path.parent)

    assert disk.exists(file.path)


def test_directory_is_not_made_over_a_file(disk: FileSystem, file: File) -> None:
    with pytest.raises(FileExistsError):
        disk.make_directory(file.path)


def test_directory_is_not_made_below_a_file(disk: FileSystem, file: File) -> None:
    with pytest.raises(NotADirectoryError):
        disk.make_directory(file.path / "below")


def test_names_are_listed_in_order(disk: FileSystem, directory: Path) -> None:
    for name in ("b", "a", "C", "10"):
        disk.open(directory / name, create=True)
    disk.make_directory(directory / "aa")

    assert disk.list(directory) == ["10", "C", "a", "aa", "b"]


def test_missing_directory_is_not_listed(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.list(directory / "missing")


def test_file_is_not_listed(disk: FileSystem, file: File) -> None:
    with pytest.raises(NotADirectoryError):
        disk.list(file.path)


def test_what_does_not_exist_is_said_not_to(disk: FileSystem, file: File) -> None:
    assert disk.exists(file.path)
    assert not disk.exists(file.path.with_name("missing"))
    assert not disk.exists(file.path / "below")


def test_missing_directory_is_not_synced(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.sync_directory(directory / "missing")


def test_directory_is_synced_without_a_visible_change(disk: FileSystem, file: File) -> None:
    disk.sync_directory(file.path.parent)

    assert disk.list(file.path.parent) == ["file"]


# --- Renaming and removing ----------------------------------------------------------------------


def test_rename_replaces_a_file(disk: FileSystem, directory: Path) -> None:
    disk.replace(directory / "new", b"new")
    disk.replace(directory / "old", b"old")
    disk.rename(directory / "new", directory / "old")

    assert (disk.list(directory), disk.read(directory / "old")) == (["old"], b"new")


def test_directory_is_renamed_with_what_is_in_it(disk: FileSystem, directory: Path) -> None:
    disk.make_directory(directory / "t-0")
    disk.replace(directory / "t-0" / "file", b"content")
    disk.rename(directory / "t-0", directory / "t-0.x-delete")

    assert disk.read(directory / "t-0.x-delete" / "file") == b"content"
    assert not disk.exists(directory / "t-0")


def test_missing_file_is_not_renamed(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.rename(directory / "missing", directory / "other")


def test_file_is_not_renamed_over_a_directory(disk: FileSystem, file: File) -> None:
    disk.make_directory(file.path.with_name("directory"))

    with pytest.raises(IsADirectoryError):
        disk.rename(file.path, file.path.with_name("directory"))


def test_directory_is_not_renamed_over_a_file(disk: FileSystem, file: File) -> None:
    disk.make_directory(file.path.with_name("directory"))

    with pytest.raises(NotADirectoryError):
        disk.rename(file.path.with_name("directory"), file.path)


def test_directory_is_not_renamed_over_one_that_holds_something(
    disk: FileSystem, directory: Path
) -> None:
    disk.make_directory(directory / "a")
    disk.make_directory(directory / "b" / "c")

    with pytest.raises(OSError, match="not empty") as caught:
        disk.rename(directory / "a", directory / "b")
    assert caught.value.errno == errno.ENOTEMPTY


def test_renaming_to_the_same_name_changes_nothing(disk: FileSystem, file: File) -> None:
    file.append([b"content"])
    disk.rename(file.path, file.path)

    assert disk.read(file.path) == b"content"


def test_file_is_removed(disk: FileSystem, file: File) -> None:
    disk.remove(file.path)

    assert not disk.exists(file.path)


def test_directory_is_removed_with_everything_in_it(disk: FileSystem, directory: Path) -> None:
    disk.make_directory(directory / "a" / "b")
    disk.replace(directory / "a" / "b" / "file", b"content")
    disk.remove(directory / "a")

    assert disk.list(directory) == []


def test_missing_file_is_not_removed(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.remove(directory / "missing")


# --- Locks and room -----------------------------------------------------------------------------


def test_held_directory_is_refused_to_others(disk: FileSystem, directory: Path) -> None:
    held = disk.lock(directory)

    with pytest.raises(BlockingIOError):
        disk.lock(directory)
    held.release()


def test_released_directory_can_be_held_again(disk: FileSystem, directory: Path) -> None:
    disk.lock(directory).release()

    disk.lock(directory).release()


def test_releasing_twice_does_not_release_the_next_holder(
    disk: FileSystem, directory: Path
) -> None:
    first = disk.lock(directory)
    first.release()
    second = disk.lock(directory)
    first.release()

    with pytest.raises(BlockingIOError):
        disk.lock(directory)
    second.release()


def test_lock_is_a_file_in_the_directory(disk: FileSystem, directory: Path) -> None:
    disk.lock(directory).release()

    assert disk.list(directory) == [".lock"]


def test_missing_directory_is_not_held(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.lock(directory / "missing")


def test_free_room_is_a_part_of_the_whole(disk: FileSystem, directory: Path) -> None:
    free, total = disk.usable_bytes(directory)

    assert 0 < free <= total


def test_missing_path_has_no_room(disk: FileSystem, directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.usable_bytes(directory / "missing")
