"""A request that any broker can answer leaves the broker time to say why it could not."""

from __future__ import annotations

from typing import Any, cast

from ottla.client.admin_session import AdminSession
from ottla.client.any_broker import LAST_WORD_MS
from ottla.client.connections import BrokerConnection
from ottla.client.settings import ConnectionSettings, read_settings


class Answering:
    """A method of a broker that answers at once, and notes how long it might have taken."""

    def __init__(self) -> None:
        self.timeout_s = 0.0

    async def __call__(self, request: str, *, timeout: float) -> str:  # noqa: ASYNC109 -- gRPC's
        self.timeout_s = timeout
        return request


async def test_broker_that_waits_as_long_as_the_request_may_take_is_still_heard() -> None:
    method = Answering()
    options = {"request_timeout_ms": 2_000}
    session = AdminSession(read_settings(ConnectionSettings, "127.0.0.1:1", options))

    def chosen(_: BrokerConnection) -> Any:
        return cast("Any", method)

    try:
        assert await session.call_any(chosen, "question") == "question"
    finally:
        await session.stop()

    assert 2.0 < method.timeout_s <= 2.0 + LAST_WORD_MS / 1000
