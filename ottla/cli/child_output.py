"""What children say, on one stream, so that a reader sees whose it is.

Text gets the name in front, ``broker-1 | ...``. A line that is a JSON object stays one, for the
programs that read it, and gets the name as its first field.
"""

from __future__ import annotations

import json
from typing import BinaryIO


class ChildOutput:
    """Writes children's lines to a stream, each line whole."""

    def __init__(self, stream: BinaryIO, names: list[str]) -> None:
        """Write to ``stream``; all ``names`` are known, so that what they say stands aligned."""
        self._stream = stream
        self._width = max(map(len, names), default=0)

    def show(self, name: str, line: bytes) -> None:
        """Write one line, and see it off."""
        if line.startswith(b'{"'):
            field = json.dumps({"process": name}).encode()
            self._stream.write(field[:-1] + b"," + line[1:] + b"\n")
        else:
            self._stream.write(f"{name:<{self._width}} | ".encode() + line + b"\n")
        self._stream.flush()
