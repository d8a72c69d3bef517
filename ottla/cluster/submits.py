"""The controller as those see it who ask it for something: that it answers, not where it is."""

from __future__ import annotations

from typing import Protocol, TypeVar

from ottla.controller.requests import Asks

Answer = TypeVar("Answer")


class Submits(Protocol):
    """See :class:`~ottla.cluster.controller_client.ControllerClient`, which says what is raised."""

    async def submit(self, request: Asks[Answer], *, timeout_ms: int) -> Answer:
        """Have the controller serve the request; by then it is in this broker's metadata."""
