"""How far moves of partitions have come, on standard error.

At a terminal that is a line that changes; elsewhere a line now and then.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ottla.cli.output import as_size, say

if TYPE_CHECKING:
    from rich.status import Status

    from ottla.cli.moves import Moving

NAMED_MAX: Final = 4

INTERVAL_S: Final = 5.0
"""Between lines, where no terminal is."""


class MovesProgress:
    """Shows it while entered."""

    def __init__(self, moving: Moving, *, total: int) -> None:
        self._moving = moving
        self._total = total
        self._copied: tuple[int, int] | None = None
        self._status: Status | None = None
        self._said_at_s = time.monotonic()

    def copied(self, size_bytes: int, *, of_bytes: int) -> None:
        """Hear how much is there of what the moves under way copy."""
        self._copied = size_bytes, of_bytes
        self.show()

    def show(self) -> None:
        """Show how it stands."""
        if self._status is not None:
            self._status.update(self.text)
        elif time.monotonic() - self._said_at_s >= INTERVAL_S:
            self._said_at_s = time.monotonic()
            say(self.text)

    @property
    def text(self) -> str:
        """``moved 3 of 12 partitions; under way: web-1, web-4, 1.2 GB of 3.0 GB``."""
        moving = self._moving
        text = f"moved {len(moving.done):,} of {self._total:,} partitions"
        names = [str(move.topic_partition) for move in moving.begun]
        if names:
            text += f"; under way: {', '.join(names[:NAMED_MAX])}"
        if (more := len(names) - NAMED_MAX) > 0:
            text += f" and {more:,} more"
        if names and self._copied is not None:
            copied, total = self._copied
            text += f", {as_size(copied)} of {as_size(total)}"
        return text

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 -- only where somebody looks
            from rich.status import Status  # noqa: PLC0415

            self._status = Status(self.text, console=Console(stderr=True, highlight=False))
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
