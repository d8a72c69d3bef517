r"""Standard input as lines, whatever is at its other end.

A line ends with ``\n`` and may hold any other byte; the last one may lack its end. Lines come in
chunks, as many as one read returned, so that a file passes at the speed of ``bytes.split``.

Waiting for a terminal or a pipe must not keep Ctrl-C from being heard, so those are polled
by the event loop. A file cannot be polled and never makes anyone wait for long; it is read in a
thread, because its disk may be slow.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Final

from ottla.model.limits import BATCH_BYTES_MAX

READ_BYTES: Final = 256 * 1024
"""Some thousand lines: what a turn of the event loop costs is spread over them."""

LINE_BYTES_MAX: Final = BATCH_BYTES_MAX
"""No record is larger; input without line ends must not fill the memory."""


class LineTooLongError(Exception):
    """A line has more than :data:`LINE_BYTES_MAX` bytes."""


class LineSplitter:
    """Cuts chunks of bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, chunk: bytes) -> list[bytes]:
        """Return the lines that ``chunk`` completes; raises :exc:`LineTooLongError`."""
        lines = chunk.split(b"\n")
        lines[0] = self._rest + lines[0]
        self._rest = lines.pop()
        if len(self._rest) > LINE_BYTES_MAX:
            raise LineTooLongError
        return lines

    def end(self) -> list[bytes]:
        """Return the last line if it lacked its end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class LineReader:
    """Reads the lines of a descriptor until its end, or until :meth:`stop`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_stopped = False
        self._wake = asyncio.Event()

    def stop(self) -> None:
        """Read no more; lines that were read still come out."""
        self._is_stopped = True
        self._wake.set()

    async def chunks(self) -> AsyncIterator[list[bytes]]:
        """Yield lines, many at a time; raises :exc:`LineTooLongError`."""
        splitter = LineSplitter()
        while not self._is_stopped and (chunk := await self._read()):
            yield splitter.split(chunk)
        if last := splitter.end():
            yield last

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(self._descriptor, self._wake.set)
        except PermissionError:
            return await asyncio.to_thread(os.read, self._descriptor, READ_BYTES)
        try:
            self._wake.clear()
            if not self._is_stopped:
                await self._wake.wait()
        finally:
            loop.remove_reader(self._descriptor)
        return b"" if self._is_stopped else os.read(self._descriptor, READ_BYTES)
