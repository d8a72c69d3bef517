"""The steps of a scenario: each prints one line, and one that fails does not end the others.

::

    steps = Steps()
    with steps("create a topic"):
        ...
    sys.exit(steps.status())
"""

from __future__ import annotations

import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PARTITIONS: Final = 4
RECORDS: Final = 100
FIRST_TIMESTAMP_MS: Final = 1_700_000_000_000
PATIENCE_S: Final = 40.0
CODECS: Final = ("gzip", "snappy", "lz4", "zstd")
REPETITIVE: Final = "the same again and again; " * 40
"""Text that compresses well."""


class Steps:
    """Counts what failed."""

    def __init__(self) -> None:
        self._failed = 0

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Run the block as one step; whatever it raises is printed and goes no further."""
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Exception):
                raise
            self._failed += 1
            why = " ".join(str(error).split()) or type(error).__name__
            print(f"not ok {name}: {why}", flush=True)
            traceback.print_exc(file=sys.stderr)
        else:
            print(f"ok {name}", flush=True)

    def skip(self, name: str, why: str) -> None:
        """Tell that the client cannot do this."""
        print(f"ok {name} # SKIP {why}", flush=True)

    def status(self) -> int:
        """Return the exit status of the program."""
        return 1 if self._failed else 0


def new_name(client: str) -> str:
    """Return a name for a topic or a group that nobody has used."""
    return f"{client}-{uuid.uuid4()}"


def wait_until(done: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Call ``done`` until it holds; :exc:`TimeoutError` after :data:`PATIENCE_S`.

    ``done`` is expected to wait a little by itself, as polling a consumer does.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline_s:
            raise TimeoutError(otherwise())
