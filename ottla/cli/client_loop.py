"""Runs what a command asks of a broker: an event loop, and silence about retries.

The client library tells its story to the standard library's logging. A command says one sentence
when it fails and nothing while it may still succeed, so that story is not shown.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run_client(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` and return what it returns; Ctrl-C cancels it and is raised here."""
    logger = logging.getLogger("ottla.client")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    result: T = uvloop.run(main)
    return result
