"""Who waits for a shard: for the answer to a request, or for news of a member.

One :class:`WaitingRequests` bounds what waits in the whole broker. Each shard has its own
:class:`Waiting`, which ends with its machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ottla.coordinator.effects import Answer, Token
from ottla.coordinator.requests import CommitOffsets, GroupRequest, JoinGroup, SyncGroup
from ottla.model.errors import CoordinatorNotAvailableError, InvalidRequestError, OttlaError
from ottla.model.limits import (
    GROUP_REQUEST_BYTES_MAX,
    GROUP_REQUESTS_WAITING_BYTES_MAX,
    GROUP_REQUESTS_WAITING_MAX,
)

_OFFSET_BYTES: Final = 64
"""What a committed offset takes without its text."""


class WaitingRequests:
    """Bounds what waits for the shards of one broker."""

    def __init__(
        self,
        *,
        requests_max: int = GROUP_REQUESTS_WAITING_MAX,
        bytes_max: int = GROUP_REQUESTS_WAITING_BYTES_MAX,
    ) -> None:
        self._requests_max = requests_max
        self._bytes_max = bytes_max
        self._requests = 0
        self._bytes = 0
        self._last_token = 0

    def __repr__(self) -> str:
        return f"<WaitingRequests {self._requests} of {self._bytes} bytes>"

    def __len__(self) -> int:
        return self._requests

    def new_token(self) -> Token:
        """Return a token that was never used."""
        self._last_token += 1
        return Token(self._last_token)

    @contextmanager
    def admitted(self, size_bytes: int) -> Iterator[None]:
        """Count a request as waiting.

        Raises:
            InvalidRequestError: it is too large.
            CoordinatorNotAvailableError: too much waits already.
        """
        if size_bytes > GROUP_REQUEST_BYTES_MAX:
            raise InvalidRequestError(
                f"the request has {size_bytes} bytes of subscriptions, assignments or offsets; "
                f"at most {GROUP_REQUEST_BYTES_MAX} are possible"
            )
        if self._requests >= self._requests_max or self._bytes + size_bytes > self._bytes_max:
            raise CoordinatorNotAvailableError(
                f"{self._requests} requests with {self._bytes} bytes wait for group coordinators "
                "of this broker, as many as may; try again shortly"
            )
        self._requests += 1
        self._bytes += size_bytes
        try:
            yield
        finally:
            self._requests -= 1
            self._bytes -= size_bytes


def request_bytes(request: GroupRequest[object]) -> int:
    """Return how much a request carries, of that which clients may make long."""
    match request:
        case JoinGroup():
            return sum(len(one.metadata) + len(one.name) for one in request.protocols)
        case SyncGroup():
            return sum(map(len, request.assignments.values()))
        case CommitOffsets():
            return sum(_OFFSET_BYTES + len(one.metadata) for one in request.offsets)
        case _:
            return 0


class Waiting:
    """Who waits for one machine."""

    def __init__(self) -> None:
        self._answers: dict[Token, asyncio.Future[object]] = {}
        self._news: dict[str, dict[str, asyncio.Future[bool]]] = {}

    # --- Answers ---

    def expect(self, token: Token) -> asyncio.Future[object]:
        """Return what the answer will arrive in; to be given back with :meth:`forget`."""
        future = asyncio.get_running_loop().create_future()
        self._answers[token] = future
        return future

    def forget(self, token: Token) -> None:
        """Wait no more."""
        self._answers.pop(token, None)

    def deliver(self, answer: Answer) -> None:
        """Let an answer go; nobody may be waiting for it any more."""
        self._settle(answer.token, answer.value)

    def refuse(self, answer: Answer, error: OttlaError) -> None:
        """Let an error go instead of an answer."""
        self._settle(answer.token, error)

    def refuse_all(self, error: OttlaError) -> None:
        """Let an error go to everybody."""
        for token in list(self._answers):
            self._settle(token, error)
        self.tell_news(lambda _group_id, _member_id: True)

    def _settle(self, token: Token, value: object) -> None:
        future = self._answers.get(token)
        if future is not None and not future.done():
            future.set_result(value)

    # --- News ---

    @property
    def awaits_news(self) -> bool:
        """Whether anybody waits for news."""
        return bool(self._news)

    @contextmanager
    def news_of(self, group_id: str, member_id: str) -> Iterator[asyncio.Future[bool]]:
        """Yield what says whether a member has news; who waited for the same has waited enough."""
        self.end_news(group_id, member_id)
        future = asyncio.get_running_loop().create_future()
        self._news.setdefault(group_id, {})[member_id] = future
        try:
            yield future
        finally:
            members = self._news.get(group_id, {})
            if members.get(member_id) is future:
                del members[member_id]
                if not members:
                    del self._news[group_id]

    def end_news(self, group_id: str, member_id: str) -> None:
        """Let who waits for news of a member go without any."""
        future = self._news.get(group_id, {}).get(member_id)
        if future is not None and not future.done():
            future.set_result(False)

    def tell_news(
        self, has_news: Callable[[str, str], bool], *, group_id: str | None = None
    ) -> None:
        """Let those go of whom ``has_news`` says that there are any; of one group, or of all."""
        for name in list(self._news) if group_id is None else [group_id]:
            for member_id, future in self._news.get(name, {}).items():
                if not future.done() and has_news(name, member_id):
                    future.set_result(True)
