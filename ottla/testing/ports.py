"""Ports that belong to a test for as long as it wants them, also while nobody listens.

A port that was free a moment ago may be somebody else's by the time a broker listens on it, above all
when several workers run tests side by side, and again when a broker that was killed comes back. A
socket that is bound to the port and does not listen keeps others away: whoever connects is refused,
and the system gives the port to nobody. Linux lets a server of this machine listen nevertheless if
both say ``SO_REUSEADDR``, as servers do; elsewhere the port is only known to have been free.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Final

from ottla.testing.broker_process import free_port

HOST: Final = "127.0.0.1"

_CAN_HOLD: Final = sys.platform == "linux"


class HeldPort:
    """A loopback port, held until :meth:`release`."""

    def __init__(self) -> None:
        self.port = 0
        self._holder: socket.socket | None = None
        while self._holder is None:
            with contextlib.suppress(OSError):  # taken since it was found free
                self._holder = _bound(free_port())
        self.port = self._holder.getsockname()[1]
        if not _CAN_HOLD:
            self._holder.close()

    def listener(self) -> socket.socket:
        """Return a socket that can listen on it; the caller closes that."""
        return _bound(self.port)

    def release(self) -> None:
        """Let others have it."""
        if self._holder is not None:
            self._holder.close()

    def __repr__(self) -> str:
        return f"<HeldPort {self.port}>"


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound
