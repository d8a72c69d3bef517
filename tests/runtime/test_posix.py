"""The real disk's end of the port survives short writes, late closes and other processes."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ottla.runtime.posix import PosixFileSystem, raise_open_files_limit

HOLD_AND_WAIT = """
import sys
from pathlib import Path
from ottla.runtime.posix import PosixFileSystem
lock = PosixFileSystem().lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let the kernel write up to ``size`` bytes of a file, then refuse with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_write_that_fails_halfway_leaves_nothing_behind(tmp_path: Path) -> None:
    file = PosixFileSystem().open(tmp_path / "file", create=True)
    file.append([b"before"])

    with files_limited_to(10), pytest.raises(OSError, match="too large") as caught:
        file.append([b"123", b"456", b"789"])

    assert caught.value.errno == errno.EFBIG
    assert file.size == 6
    assert (tmp_path / "file").read_bytes() == b"before"


def test_file_is_usable_after_a_failed_write(tmp_path: Path) -> None:
    file = PosixFileSystem().open(tmp_path / "file", create=True)
    with files_limited_to(4), pytest.raises(OSError, match="too large"):
        file.append([b"12345678"])

    file.append([b"again"])

    assert (tmp_path / "file").read_bytes() == b"again"


def test_what_a_failed_write_left_is_cut_before_the_next_if_it_could_not_be_cut_at_once(
    tmp_path: Path,
) -> None:
    file = PosixFileSystem().open(tmp_path / "file", create=True)
    file.append([b"before"])
    (tmp_path / "file").write_bytes(b"before, and a rest that the end could not cut off")
    file._trailing = True

    file.append([b"X"])

    assert (tmp_path / "file").read_bytes() == b"beforeX"


def test_reader_never_sees_what_lies_beyond_the_end(tmp_path: Path) -> None:
    file = PosixFileSystem().open(tmp_path / "file", create=True)
    file.append([b"end"])
    (tmp_path / "file").write_bytes(b"end and more")

    assert (file.read_at(0, 100), file.read_cached(1, 100)) == (b"end", b"nd")


def test_read_of_what_is_partly_cached_is_whole_or_would_wait(tmp_path: Path) -> None:
    content = os.urandom(1 << 22)
    file = PosixFileSystem().open(tmp_path / "file", create=True)
    file.append([content])
    file.sync()
    os.posix_fadvise(file._descriptor, 1 << 21, 1 << 21, os.POSIX_FADV_DONTNEED)

    # Whether the kernel follows the advice is its own affair; memory file systems cannot.
    assert file.read_cached(0, 1 << 22) in (None, content)
    assert file.read_at(0, 1 << 22) == content


def test_replace_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    disk = PosixFileSystem()
    disk.replace(tmp_path / "file", b"old")

    with files_limited_to(2), pytest.raises(OSError, match="too large"):
        disk.replace(tmp_path / "file", b"new")

    assert disk.read(tmp_path / "file") == b"old"
    assert disk.list(tmp_path) == ["file"]


def test_replace_overwrites_what_a_crash_left_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "file.tmp").write_bytes(b"a torn and longer content")

    PosixFileSystem().replace(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"


def test_sync_reaches_the_operating_system(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    pipe = PosixFileSystem().open(tmp_path / "pipe")

    # A pipe cannot be synced, and the kernel says so.
    with pytest.raises(OSError, match="Invalid argument"):
        pipe.sync()
    pipe.close()


def test_sync_of_a_throw_away_disk_does_not_reach_the_operating_system(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    pipe = PosixFileSystem(sync=False).open(tmp_path / "pipe")

    pipe.sync()
    pipe.close()


def test_descriptor_in_use_is_closed_when_its_user_is_done(tmp_path: Path) -> None:
    file = PosixFileSystem().open(tmp_path / "file", create=True)
    descriptor = file._borrow()
    file.close()
    os.fstat(descriptor)

    file._give_back()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_readers_in_other_threads_see_whole_appends(tmp_path: Path) -> None:
    file = PosixFileSystem().open(tmp_path / "file", create=True)
    wrong: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            content = file.read_at(0, 1 << 20)
            if len(content) % 8 or content != b"01234567" * (len(content) // 8):
                wrong.append(content)
            cached = file.read_cached(0, 64)
            if cached and cached != b"01234567" * (len(cached) // 8):
                wrong.append(cached)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(2000):
        file.append([b"0123", b"4567"])
    done.set()
    for reader in readers:
        reader.join()

    assert wrong == []


def test_files_are_not_inherited_by_other_programs(tmp_path: Path) -> None:
    disk = PosixFileSystem()
    file = disk.open(tmp_path / "file", create=True)

    assert not os.get_inheritable(file._descriptor)


def test_holder_of_a_directory_is_named(tmp_path: Path) -> None:
    disk = PosixFileSystem()
    held = disk.lock(tmp_path)

    with pytest.raises(BlockingIOError, match=f"held by process {os.getpid()}"):
        disk.lock(tmp_path)
    held.release()


def test_directory_is_held_against_other_processes_until_they_are_killed(tmp_path: Path) -> None:
    disk = PosixFileSystem()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_WAIT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError, match=f"held by process {holder.pid}"):
            disk.lock(tmp_path)
        holder.kill()

    disk.lock(tmp_path).release()


def test_refused_lock_leaves_no_descriptor_open(tmp_path: Path) -> None:
    disk = PosixFileSystem()
    held = disk.lock(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(BlockingIOError):
            disk.lock(tmp_path)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    held.release()


def test_process_may_open_as_many_files_as_its_hard_limit_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        assert raise_open_files_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
