"""Input becomes lines, all of them, every byte, whatever is at its other end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.cli.lines import LINE_BYTES_MAX, LineReader, LineSplitter, LineTooLongError
from ottla.cli.record_keys import key_parser


class Pipe:
    """A pipe whose read end is read by a :class:`LineReader`."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def write(self, content: bytes) -> None:
        os.write(self.write_end, content)

    def end(self) -> None:
        os.close(self.write_end)
        self.write_end = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    if pipe.write_end >= 0:
        pipe.end()
    # The read end stays: a thread may be reading it, and its number must not mean another file.


async def read_all(descriptor: int) -> list[bytes]:
    return [line async for lines in LineReader(descriptor).chunks() for line in lines]


@given(st.lists(st.binary(max_size=20)))
def test_chunks_cut_anywhere_give_the_same_lines(chunks: list[bytes]) -> None:
    splitter = LineSplitter()
    whole = b"".join(chunks)

    lines = [line for chunk in chunks if chunk for line in splitter.split(chunk)]
    lines += splitter.end()

    assert b"\n".join(lines) == whole.removesuffix(b"\n") or (not lines and whole == b"")
    assert len(lines) == whole.count(b"\n") + (not whole.endswith(b"\n") and whole != b"")


def test_line_without_an_end_cannot_grow_for_ever() -> None:
    splitter = LineSplitter()
    splitter.split(b"x" * LINE_BYTES_MAX)

    with pytest.raises(LineTooLongError):
        splitter.split(b"x")


async def test_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\r\n\n\x00\xff\nlast")
    with path.open("rb") as file:
        assert await read_all(file.fileno()) == [b"a\r", b"", b"\x00\xff", b"last"]


async def test_large_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = [b"%d" % number for number in range(200_000)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    with path.open("rb") as file:
        assert await read_all(file.fileno()) == lines


async def test_nothing_is_no_line(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    path.touch()
    with path.open("rb") as file:
        assert await read_all(file.fileno()) == []


async def test_pipe_gives_lines_as_they_come(pipe: Pipe) -> None:
    chunks = LineReader(pipe.read_end).chunks()
    pipe.write(b"first\nsec")

    assert await anext(chunks) == [b"first"]
    pipe.write(b"ond\n")
    assert await anext(chunks) == [b"second"]
    pipe.end()
    assert [lines async for lines in chunks] == []


async def test_stop_ends_a_wait_for_a_pipe(pipe: Pipe) -> None:
    reader = LineReader(pipe.read_end)
    waiting = asyncio.ensure_future(anext(reader.chunks(), None))
    await asyncio.sleep(0)

    reader.stop()

    async with asyncio.timeout(5):
        assert await waiting is None


async def test_stop_before_reading_reads_nothing(pipe: Pipe) -> None:
    reader = LineReader(pipe.read_end)
    reader.stop()
    pipe.write(b"line\n")

    assert [lines async for lines in reader.chunks()] == []


async def test_reader_leaves_the_descriptor_as_it_was(pipe: Pipe) -> None:
    chunks = LineReader(pipe.read_end).chunks()
    pipe.write(b"line\n")
    await anext(chunks)

    assert os.get_blocking(pipe.read_end)


async def test_descriptor_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            await read_all(directory)
    finally:
        os.close(directory)


def test_key_ends_at_the_first_separator() -> None:
    parse = key_parser(b"::")
    assert parse is not None

    record = parse(b"a::b::c")

    assert (record.key, record.value) == (b"a", b"b::c")


def test_key_and_value_may_be_empty() -> None:
    parse = key_parser(b":")
    assert parse is not None

    record = parse(b":")

    assert (record.key, record.value) == (b"", b"")


def test_line_without_a_separator_is_refused() -> None:
    parse = key_parser(b"\t")
    assert parse is not None

    with pytest.raises(ValueError, match=r"has no key separator '\\t'; put a key before each"):
        parse(b"line")


def test_no_separator_is_no_parser() -> None:
    assert key_parser(None) is None
