"""What a node does when going on could break a promise: it stops.

A failed write or sync, a state machine that raised, two leaders in one term: none of these
can be answered or tried again. The engine is handed a function that does not return: it
ends the process, or raises what ends the thread that runs the engine, which is of no use
any more.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

Fatal = Callable[[str], NoReturn]
"""Stop this node, for the reason given. Never returns."""


class NodeStoppedError(RuntimeError):
    """The node has stopped for good; the message says why and what to do."""


def raise_node_stopped(reason: str) -> NoReturn:
    """Stop a node by raising :exc:`NodeStoppedError` from whatever was called."""
    raise NodeStoppedError(reason)


@contextmanager
def stop_on_disk_error(fatal: Fatal, doing: str) -> Iterator[None]:
    """Stop the node if the block raises :exc:`OSError`; ``doing`` says what was tried."""
    try:
        yield
    except OSError as error:
        advice = (
            "the disk is full: free some space, then start the node again"
            if error.errno == errno.ENOSPC
            else "the node stops, because what is on the disk is unknown"
        )
        fatal(f"{doing} failed: {error}; {advice}")


@contextmanager
def stop_on_any_error(fatal: Fatal, doing: str) -> Iterator[None]:
    """Stop the node if the block raises at all; the exception stays in the traceback."""
    finished = False
    try:
        yield
        finished = True
    finally:
        if not finished:
            fatal(f"{doing} raised; the node stops before it can differ from the others")
