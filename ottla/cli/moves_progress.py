"""How far moves of partitions have come, on standard error.

At a terminal that is a line that changes; elsewhere a line now and then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ottla.cli.output import as_size, say
from ottla.cli.status_line import StatusLine

if TYPE_CHECKING:
    from ottla.cli.moves import Moving

NAMED_MAX: Final = 4

INTERVAL_S: Final = 5.0
"""Between lines, where no terminal is."""


class MovesProgress(StatusLine):
    """Shows it while entered."""

    def __init__(self, moving: Moving, *, total: int) -> None:
        super().__init__()
        self._moving = moving
        self._total = total
        self._copied: tuple[int, int] | None = None
        self._said_at_s = time.monotonic()

    def copied(self, size_bytes: int, *, of_bytes: int) -> None:
        """Hear how much is there of what the moves under way copy."""
        self._copied = size_bytes, of_bytes
        self.show()

    def show(self) -> None:
        """Show how it stands."""
        if self.is_shown:
            self.update(self.text)
        elif time.monotonic() - self._said_at_s >= INTERVAL_S:
            self._said_at_s = time.monotonic()
            say(self.text)

    @property
    def first_text(self) -> str:
        """See :class:`StatusLine`."""
        return self.text

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
