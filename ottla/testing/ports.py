"""Ports that belong to a test for as long as it wants them, also while nobody listens.

A port that was free a moment ago may be somebody else's by the time a broker listens on it, above
all when several workers run tests side by side, and again when a broker that was killed comes back.
A socket that is bound to the port and does not listen keeps others away: whoever connects is
refused, and the system gives the port to nobody. Linux lets a server listen nevertheless if both
say ``SO_REUSEADDR``, as servers do; elsewhere the port is only known to have been free.
"""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import sys
from typing import Final

HOST: Final = "127.0.0.1"

_PORTS: Final = range(14_000, 32_000)
"""None of those that systems give to outgoing connections."""

_CAN_HOLD: Final = sys.platform == "linux"


class HeldPort:
    """A loopback port, held until :meth:`release`."""

    def __init__(self) -> None:
        """Take one; :exc:`OSError` if there is none."""
        self._holder, self.port = _take()
        if _CAN_HOLD:
            # Not before it is ours alone: two that both say so could hold the same one.
            self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            self._holder.close()

    def listener(self) -> socket.socket:
        """Return a socket that is bound to it and can listen; the caller closes it."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((HOST, self.port))
        except OSError:
            bound.close()
            raise
        return bound

    def release(self) -> None:
        """Let others have it. Harmless a second time."""
        self._holder.close()

    def __repr__(self) -> str:
        return f"<HeldPort {self.port}>"


def _take() -> tuple[socket.socket, int]:
    for port in random.sample(_PORTS, len(_PORTS)):
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with contextlib.suppress(OSError):
            holder.bind((HOST, port))
            return holder, port
        holder.close()
    raise OSError(errno.EADDRINUSE, f"every port of {_PORTS} is taken")
