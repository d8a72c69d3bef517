"""How requests of Kafka's protocol are handled: the types that the listener and handlers share.

A handler takes a decoded request and its :class:`RequestContext` and returns what to await for the
response. Requests of one connection are handled strictly one after another, as clients of Kafka
rely on: a commit of offsets is over before the member that sent it leaves. The one exception makes
producing fast: a handler may return :class:`Begun`, which says that everything whose order matters
has happened already and only the acknowledgement is outstanding; then the next request is begun
meanwhile. Responses always go out in the order of the requests.

Handlers raise no errors of the world: those have codes in the responses. What they cannot express
is raised as :exc:`DisconnectError` and costs the connection, as in Kafka.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ottla.config.addresses import Address
from ottla.model.errors import OttlaError
from ottla.wire.api_keys import ApiKey

Message = Any
"""A request or response of :mod:`ottla.wire.messages`."""

M = TypeVar("M")


class DisconnectError(OttlaError):
    """The connection must be closed: no response can say what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Who is asking, and through which listener."""

    listener: str
    """The listener's name, as in the setting ``listeners``."""
    client: Address
    local: Address
    """The address of ours that the client used."""
    principal: str
    """``User:ANONYMOUS``, or the name in the client's certificate."""
    number: int
    """Of this connection, never used again while the broker runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """What a handler may want to know beside the request itself."""

    api_version: int
    client_id: str
    connection: Connection
    leave_out: Callable[[float], None] = lambda _: None
    """Told for how many seconds nothing was done because the client said so, as in a long poll, so
    that the duration of the request is that of its work."""


@dataclass(frozen=True, slots=True)
class Throttled(Generic[M]):
    """A response, after which no request of the connection is begun for ``mute_ms`` (KIP-219).

    A handler, or what a :class:`Begun` waits for, gives this instead of the response. The client
    is told by a field of the response itself, and those that know it keep quiet by themselves.
    """

    response: M
    mute_ms: int


@dataclass(frozen=True, slots=True)
class Begun(Generic[M]):
    """Everything whose order matters is done; ``response`` is outstanding."""

    response: Awaitable[M | None]


Handler = Callable[[RequestContext, Message], "Awaitable[Message | None] | Begun[Message]"]
"""``None`` as a response: none is sent (Produce with acks=0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedApi:
    """An API with the versions that are served and advertised."""

    api_key: ApiKey
    min_version: int
    max_version: int
    handler: Handler
    advertised_min_version: int | None = None
    """Where it differs: Produce advertises 0, which old clients look for, and serves from 3."""


ServedApis = Sequence[ServedApi]
