"""Whose quotas, as Kafka's requests have it: pairs of a type and a name; null is the default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ottla.model.errors import InvalidRequestError
from ottla.model.image import DEFAULT_ENTITY, QuotaEntity

USER: Final = "user"
CLIENT_ID: Final = "client-id"
IP: Final = "ip"


def entity_of(pairs: Iterable[tuple[str, str | None]]) -> QuotaEntity:
    """Return the entity; :exc:`InvalidRequestError` if there is none that can have quotas."""
    names: dict[str, str] = {}
    for kind, name in pairs:
        if kind == IP:
            raise InvalidRequestError(
                "this version has no quotas by address; name a user or a client-id"
            )
        if kind not in {USER, CLIENT_ID}:
            raise InvalidRequestError(
                f"{kind[:100]!r} cannot have quotas; name a {USER} or a {CLIENT_ID}"
            )
        if kind in names:
            raise InvalidRequestError(f"the entity has two of {kind}; name one")
        if name == DEFAULT_ENTITY:
            raise InvalidRequestError(f"the {kind} is empty; name one, or null for the default")
        names[kind] = DEFAULT_ENTITY if name is None else name
    return QuotaEntity(user=names.get(USER), client_id=names.get(CLIENT_ID))


def pairs_of(entity: QuotaEntity) -> Iterator[tuple[str, str | None]]:
    """Yield the pairs that name ``entity``."""
    for kind, name in ((USER, entity.user), (CLIENT_ID, entity.client_id)):
        if name is not None:
            yield kind, None if name == DEFAULT_ENTITY else name
