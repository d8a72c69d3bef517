r"""Standard input as lines, whatever is at its other end.

A line ends with ``\n`` and may hold any other byte; the last one may lack its end. Lines come in
chunks, as many as one read returned, so that a file passes at the speed of ``bytes.split``.

Reading happens in a thread of its own, because it may have to wait: for a person, a pipe, a disk.
An event loop could wait for the first two, but would make them non-blocking for that, and with
them the terminal of whoever started us. When the input is not wanted any more the thread is left
where it is; it holds nothing, and does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from typing import Final

from ottla.model.limits import BATCH_BYTES_MAX

READ_BYTES: Final = 256 * 1024
"""Some thousand lines: what a turn of the event loop costs is spread over them."""

CHUNKS_AHEAD: Final = 2
"""One is cut into lines while the next is read."""

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
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._room = threading.Semaphore(CHUNKS_AHEAD)

    def stop(self) -> None:
        """Read no more. What has been read still comes out."""
        self._chunks.put_nowait(b"")

    async def chunks(self) -> AsyncIterator[list[bytes]]:
        """Yield lines, many at a time. To be called once.

        Raises :exc:`LineTooLongError`, and :exc:`OSError` if the descriptor cannot be read.
        """
        threading.Thread(target=self._read_all, name="ottla-input", daemon=True).start()
        splitter = LineSplitter()
        while chunk := await self._chunks.get():
            if isinstance(chunk, OSError):
                raise chunk
            self._room.release()
            yield splitter.split(chunk)
        if last := splitter.end():
            yield last

    def _read_all(self) -> None:
        chunk: bytes | OSError = b"?"
        # A loop that is closed is not interested any more.
        with contextlib.suppress(RuntimeError):
            while chunk and not isinstance(chunk, OSError):
                self._room.acquire()
                try:
                    chunk = os.read(self._descriptor, READ_BYTES)
                except OSError as error:
                    chunk = error
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
