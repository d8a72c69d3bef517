"""What the requests of groups have in common."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from ottla.kafka.handling import Connection, RequestContext
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.limits import GROUPS_PER_REQUEST_MAX

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


def code_of(error: OttlaError | None) -> int:
    """Return the code of an outcome; 0: none went wrong."""
    return 0 if error is None else error.code


def client_host(connection: Connection) -> str:
    """Return a client's host as Kafka shows it: as Java prints an address that has no name."""
    host = connection.client.host.partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"/{host}"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return f"/{address.ipv4_mapped}"
        groups = address.exploded.split(":")
        return "/" + ":".join(f"{int(group, 16):x}" for group in groups)
    return f"/{address}"


@asynccontextmanager
async def barrier(context: RequestContext) -> AsyncIterator[None]:
    """Do what waits for other members, which says nothing of how fast the broker is."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        yield
    finally:
        context.leave_out(loop.time() - began_s)


async def of_each(
    asked: Sequence[Asked],
    answer: Callable[[Asked], Awaitable[Answered]],
    refuse: Callable[[Asked, OttlaError], Answered],
    *,
    group_of: Callable[[Asked], object] = lambda one: one,
) -> list[Answered]:
    """Answer each part of a request by itself; with its error if it fails.

    A group that is named again, as ``group_of`` tells, is not answered again: one small request
    would have a thousand times the largest answer there is.
    """
    if len(asked) > GROUPS_PER_REQUEST_MAX:
        error = InvalidRequestError(
            f"the request names {len(asked)} groups; name at most {GROUPS_PER_REQUEST_MAX}"
        )
        return [refuse(one, error) for one in asked]

    async def result(number: int, one: Asked) -> Answered:
        try:
            if first[group_of(one)] != number:
                raise InvalidRequestError(f"the request names {group_of(one)} twice; name it once")
            return await answer(one)
        except OttlaError as error:
            return refuse(one, error)

    first: dict[object, int] = {}
    for number, one in enumerate(asked):
        first.setdefault(group_of(one), number)
    return list(await asyncio.gather(*map(result, range(len(asked)), asked)))
