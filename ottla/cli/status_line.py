"""A line on a terminal that changes while something takes long; nothing where nobody looks."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.status import Status


class StatusLine(ABC):
    """Shown on standard error for the time of a ``with`` block, if that is a terminal."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._status: Status | None = None

    @property
    @abstractmethod
    def first_text(self) -> str:
        """What is shown at first."""

    @property
    def is_shown(self) -> bool:
        """Whether somebody looks."""
        return self._status is not None

    def update(self, text: str) -> None:
        """Show ``text`` instead, if somebody looks."""
        if self._status is not None:
            self._status.update(text)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 -- only where somebody looks
            from rich.status import Status  # noqa: PLC0415

            console = Console(stderr=True, highlight=False)
            self._status = Status(self.first_text, console=console)
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
