"""How far long work has come, on standard error if a person looks at it, nowhere otherwise."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ottla.cli.output import as_size

if TYPE_CHECKING:
    from rich.status import Status


class Progress:
    """Counts records and bytes, and shows both while it is entered."""

    def __init__(self, verb: str) -> None:
        self.records = 0
        self.size_bytes = 0
        self._verb = verb
        self._started_s = time.monotonic()
        self._status: Status | None = None

    @property
    def seconds(self) -> float:
        """Since the beginning; never 0, so that it can divide."""
        return max(time.monotonic() - self._started_s, 1e-9)

    def advance(self, records: int, size_bytes: int) -> None:
        """Count; call it once for many records."""
        self.records += records
        self.size_bytes += size_bytes
        if self._status is not None:
            self._status.update(f"{self._verb} {self.summary()}")

    def summary(self) -> str:
        """Return the figures: ``1,000,000 records (95.4 MB) in 3.2 s, 312,500 records/s``."""
        return (
            f"{self.records:,} record{'' if self.records == 1 else 's'} "
            f"({as_size(self.size_bytes)}) in {self.seconds:.1f} s, "
            f"{self.records / self.seconds:,.0f} records/s"
        )

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 -- only where somebody looks
            from rich.status import Status  # noqa: PLC0415

            self._status = Status(self._verb, console=Console(stderr=True, highlight=False))
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
