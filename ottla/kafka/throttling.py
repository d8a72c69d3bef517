"""Keeping clients to their quotas, as Kafka's protocol does it (KIP-219).

The answer goes out at once and says how long the client should keep quiet; for as long, nothing
more of its connection is begun, whether or not the client knows of such things. A request that
brings records is carried out first, for they have been sent already. One that asks for records
gets an answer without any, and asks again.

What the quotas are and what they allow is the business of
:class:`~ottla.cluster.services.QuotasService`.
"""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import ClientRate, QuotasService
from ottla.kafka.handling import RequestContext

_USER: Final = "User:"


def producer_rate(quotas: QuotasService, context: RequestContext) -> ClientRate | None:
    """Return the rate of whoever sends records; ``None``: any."""
    return quotas.producer_rate(_user(context), context.client_id)


def consumer_rate(quotas: QuotasService, context: RequestContext) -> ClientRate | None:
    """Return the rate of whoever is sent records; ``None``: any."""
    return quotas.consumer_rate(_user(context), context.client_id)


def _user(context: RequestContext) -> str:
    return context.connection.principal.removeprefix(_USER)
