"""What an admin client has between ``start`` and ``stop``, and how it asks.

A request about several things is asked again for those that may succeed later, and answers for each
by name; a request about one thing goes to one broker after another until one answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import grpc

from ottla.client.any_broker import call_any_broker
from ottla.client.backoff import Backoff
from ottla.client.connections import BrokerConnection, Connections
from ottla.client.errors import PartialFailureError
from ottla.client.metadata import MetadataCache
from ottla.client.rpc import call
from ottla.client.settings import ConnectionSettings
from ottla.model.errors import BrokerIdNotRegisteredError, OttlaError, RequestTimedOutError

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")
Result = TypeVar("Result")

Answers = dict[str, Result | OttlaError]
"""By name: what came of each part of a request."""

Method = Callable[[BrokerConnection], grpc.aio.UnaryUnaryMultiCallable[Request, Response]]


class AdminSession:
    """Connected. Made by :meth:`start`."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.connections = Connections(settings)
        self.metadata = MetadataCache(
            self.connections, settings, create_topics=False, on_update=_do_nothing
        )

    @classmethod
    async def start(cls, settings: ConnectionSettings) -> AdminSession:
        """Connect; raises as :meth:`ottla.client.Admin.start`."""
        session = cls(settings)
        try:
            await session.metadata.connect()
        except BaseException:
            await session.connections.close()
            raise
        return session

    async def stop(self) -> None:
        """Disconnect."""
        await self.connections.close()

    async def call_any(self, method: Method[Request, Response], request: Request) -> Response:
        """Return the answer of whichever broker answers first."""
        return await call_any_broker(
            self.connections, self.metadata, self.settings, method, request
        )

    async def call_one(
        self, broker_id: int, method: Method[Request, Response], request: Request
    ) -> Response:
        """Return the answer of one broker.

        Raises :exc:`BrokerIdNotRegisteredError` if there is no such broker, or it does not serve.
        """
        await self.metadata.connect()
        address = self.metadata.picture.brokers.get(broker_id)
        if address is None:
            known = ", ".join(str(each) for each in sorted(self.metadata.picture.brokers))
            raise BrokerIdNotRegisteredError(f"there is no broker {broker_id}; there are {known}")
        return await call(
            method(self.connections.to(address)),
            request,
            address=address,
            timeout_ms=self.settings.request_timeout_ms,
        )

    async def ask_each(
        self,
        items: Sequence[Item],
        name_of: Callable[[Item], str],
        ask: Callable[[Sequence[Item]], Awaitable[Answers[Result]]],
    ) -> list[Result]:
        """Ask for every item, again for those that may succeed later; results in their order."""
        deadline_ms = _now_ms() + self.settings.request_timeout_ms
        backoff = Backoff(self.settings.retry_backoff_ms, self.settings.retry_backoff_max_ms)
        answers: Answers[Result] = {}
        left = list(items)
        while left:
            answers |= await ask(left)
            delay_ms = backoff.next_delay_ms()
            left = [item for item in left if _may_pass(answers.get(name_of(item)))]
            if not left or _now_ms() + delay_ms >= deadline_ms:
                break
            await asyncio.sleep(delay_ms / 1000)
            await self.metadata.connect()
        return results_of([name_of(item) for item in items], answers)


def results_of(names: Sequence[str], answers: Mapping[str, Result | OttlaError]) -> list[Result]:
    """Return the results in order, if there is no error among the answers.

    Raises the error of the one thing that was asked for, or :exc:`PartialFailureError`.
    """
    results: list[Result] = []
    errors: dict[str, OttlaError] = {}
    for name in names:
        answer = answers.get(name, OttlaError(f"the broker did not answer for {name!r}"))
        if isinstance(answer, OttlaError):
            errors[name] = answer
        else:
            results.append(answer)
    if len(names) == 1 and errors:
        raise errors[names[0]]
    if errors:
        raise PartialFailureError(errors=errors, results=results)
    return results


def _may_pass(answer: object) -> bool:
    """Whether asking again is worth it: nothing was done, and that was nobody's mistake."""
    if not isinstance(answer, OttlaError) or isinstance(answer, RequestTimedOutError):
        return False
    return answer.retriable and answer.status != "NOT_FOUND"


def _do_nothing() -> None:
    """Nobody else uses the metadata."""


def _now_ms() -> float:
    return time.monotonic() * 1000
