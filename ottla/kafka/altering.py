"""What the two requests that change settings have in common: each resource for itself, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ottla.cluster.admin_services import ConfigsService, Resource
from ottla.cluster.services import Result
from ottla.controller.requests import ConfigChange
from ottla.kafka.config_entries import change_of, check_alterable
from ottla.model.errors import InvalidRequestError, OttlaError


class Change(NamedTuple):
    """One change of a setting as a client sent it."""

    key: str
    operation: int
    value: str | None


class Alteration(NamedTuple):
    """What a client wants for one resource."""

    type_code: int
    name: str
    changes: Sequence[Change]


async def alter(
    configs: ConfigsService,
    alterations: Sequence[Alteration],
    *,
    validate_only: bool,
    replaces: bool,
) -> list[tuple[Alteration, Result[None]]]:
    """Make the changes; a resource that the request names twice is refused, and answered once."""
    results: dict[tuple[int, str], Result[None]] = {}
    wanted: list[tuple[Resource, Sequence[ConfigChange]]] = []
    counts = Counter((asked.type_code, asked.name) for asked in alterations)
    named = {(asked.type_code, asked.name): asked for asked in alterations}
    for place, asked in named.items():
        try:
            _check_once(asked, counts[place])
            resource = check_alterable(asked.type_code, asked.name)
            wanted.append((resource, [change_of(*change) for change in asked.changes]))
        except OttlaError as error:
            results[place] = error
    try:
        done = await configs.alter_configs(wanted, validate_only=validate_only, replaces=replaces)
    except OttlaError as error:
        done = [error for _ in wanted]
    for (resource, _), result in zip(wanted, done, strict=True):
        results[resource.type.value, resource.name] = result
    return [(asked, results[place]) for place, asked in named.items()]


def _check_once(asked: Alteration, count: int) -> None:
    if count > 1:
        raise InvalidRequestError(
            f"the request names {asked.name[:100]!r} {count} times; name it once"
        )
