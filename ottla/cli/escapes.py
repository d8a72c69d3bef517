r"""Backslashes in arguments: a shell passes ``'\t'`` on as two characters."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_PLAIN: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"0": b"\0", b"\\": b"\\"}


def unescape(text: str) -> bytes:
    r"""Return the bytes that ``text`` stands for: ``\n``, ``\t``, ``\r``, ``\0``, ``\\``, ``\xHH``.

    A backslash before anything else stands for itself.
    """

    def replaced(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code.startswith(b"x"):
            return bytes((int(code[1:], 16),)) if len(code) > 1 else match[0]
        return _PLAIN.get(code, match[0])

    return _ESCAPE.sub(replaced, text.encode(errors="surrogateescape"))
