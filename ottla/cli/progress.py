"""How far long work has come, on standard error if a person looks at it, nowhere otherwise."""

from __future__ import annotations

import time

from ottla.cli.output import as_size
from ottla.cli.status_line import StatusLine


class Progress(StatusLine):
    """Counts records and bytes, and shows both while it is entered."""

    def __init__(self, verb: str) -> None:
        super().__init__()
        self.records = 0
        self.size_bytes = 0
        self._verb = verb
        self._started_s = time.monotonic()

    @property
    def first_text(self) -> str:
        """See :class:`StatusLine`."""
        return self._verb

    @property
    def seconds(self) -> float:
        """Since the beginning; never 0, so that it can divide."""
        return max(time.monotonic() - self._started_s, 1e-9)

    def advance(self, records: int, size_bytes: int) -> None:
        """Count; call it once for many records."""
        self.records += records
        self.size_bytes += size_bytes
        if self.is_shown:
            self.update(f"{self._verb} {self.summary()}")

    def summary(self) -> str:
        """Return the figures: ``1,000,000 records (95.4 MB) in 3.2 s, 312,500 records/s``."""
        return (
            f"{self.records:,} record{'' if self.records == 1 else 's'} "
            f"({as_size(self.size_bytes)}) in {self.seconds:.1f} s, "
            f"{self.records / self.seconds:,.0f} records/s"
        )
