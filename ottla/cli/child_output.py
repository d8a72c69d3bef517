"""What children say, on one stream, so that a reader sees whose it is.

Text gets the name in front, ``broker-1 | ...``. A line that is a JSON object stays one, for the
programs that read it, and gets the name as its first field.

Nobody has to read it: the stream's other end may go away while the children go on.
"""

from __future__ import annotations

import contextlib
import json
from typing import BinaryIO


class ChildOutput:
    """Writes children's lines to a stream, each line whole."""

    def __init__(self, stream: BinaryIO, names: list[str]) -> None:
        """Write to ``stream``; all ``names`` are known, so that what they say stands aligned."""
        self._stream = stream
        self._width = max(map(len, names), default=0)

    def show(self, name: str, line: bytes) -> None:
        """Write one line, and see it off. Raises nothing."""
        if line.startswith(b'{"'):
            field = json.dumps({"process": name}).encode()
            self._write(field[:-1] + b"," + line[1:])
        else:
            self._write(f"{name:<{self._width}} | ".encode() + line)

    def say(self, sentence: str) -> None:
        """Write what is not of a child, likewise."""
        self._write(f"ottla: {sentence}".encode())

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(line + b"\n")
            self._stream.flush()
