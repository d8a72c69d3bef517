"""Quotas of clients are set, described and refused as Kafka does it."""

from __future__ import annotations

import pytest

from ottla.wire.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    OpData,
    RequestEntityData,
    RequestEntryData,
)
from ottla.wire.messages.describe_client_quotas import (
    ComponentData,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
)
from tests.kafka.admin.door import AdminDoor

Entity = dict[str, str | None]

UNSUPPORTED_VERSION, INVALID_REQUEST = 35, 42
EXACT, DEFAULT, ANY = range(3)
P, C = "producer_byte_rate", "consumer_byte_rate"


def entry(entity: Entity, **quotas: float | None) -> RequestEntryData:
    return RequestEntryData(
        entity=[
            RequestEntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()
        ],
        ops=[
            OpData(key=key, value=value or 0.0, remove=value is None)
            for key, value in quotas.items()
        ],
    )


async def alter(
    door: AdminDoor, *entries: RequestEntryData, validate_only: bool = False
) -> list[int]:
    request = AlterClientQuotasRequest(entries=list(entries), validate_only=validate_only)
    response = await door.ask(request, AlterClientQuotasResponse)
    for asked, answer in zip(entries, response.entries, strict=True):
        assert [(e.entity_type, e.entity_name) for e in answer.entity] == [
            (e.entity_type, e.entity_name) for e in asked.entity
        ]
    return [answer.error_code for answer in response.entries]


async def described(
    door: AdminDoor, *components: tuple[str, int, str | None], strict: bool = False
) -> list[tuple[Entity, dict[str, float]]]:
    response = await describe(door, *components, strict=strict)
    assert response.error_code == 0, response.error_message
    return [
        (
            {part.entity_type: part.entity_name for part in found.entity},
            {value.key: value.value for value in found.values},
        )
        for found in response.entries or ()
    ]


async def describe(
    door: AdminDoor, *components: tuple[str, int, str | None], strict: bool = False
) -> DescribeClientQuotasResponse:
    request = DescribeClientQuotasRequest(
        components=[
            ComponentData(entity_type=kind, match_type=match_type, match=match)
            for kind, match_type, match in components
        ],
        strict=strict,
    )
    return await door.ask(request, DescribeClientQuotasResponse)


async def test_quotas_are_set_changed_and_removed(door: AdminDoor) -> None:
    ann: Entity = {"user": "ann"}
    assert await alter(door, entry(ann, **{P: 100.0, C: 200.0})) == [0]
    assert await alter(door, entry(ann, **{P: 300.0, C: None})) == [0]

    assert await described(door) == [(ann, {P: 300.0})]
    assert await alter(door, entry(ann, **{P: None})) == [0]
    assert await described(door) == []


async def test_validation_sets_nothing(door: AdminDoor) -> None:
    assert await alter(door, entry({"user": "ann"}, **{P: 1.0}), validate_only=True) == [0]

    assert await described(door) == []


@pytest.mark.parametrize(
    ("entity", "quotas"),
    [
        ({}, {P: 1.0}),
        ({"ip": "127.0.0.1"}, {P: 1.0}),
        ({"group": "g"}, {P: 1.0}),
        ({"user": ""}, {P: 1.0}),
        ({"user": "x" * 1_001}, {P: 1.0}),
        ({"user": "ann"}, {"request_percentage": 1.0}),
        ({"user": "ann"}, {"connection_creation_rate": 1.0}),
        ({"user": "ann"}, {"no_such": 1.0}),
        ({"user": "ann"}, {P: -1.0}),
        ({"user": "ann"}, {P: 0.5}),
        ({"user": "ann"}, {P: float("nan")}),
        ({"user": "ann"}, {P: float("inf")}),
        ({"user": "ann"}, {P: 1.0, C: 0.5}),
    ],
)
async def test_quota_that_cannot_be_is_refused_and_spoils_no_other(
    door: AdminDoor, entity: Entity, quotas: dict[str, float]
) -> None:
    good: Entity = {"client-id": "app"}

    codes = await alter(door, entry(entity, **quotas), entry(good, **{P: 5.0}))

    assert codes == [INVALID_REQUEST, 0]
    assert await described(door) == [(good, {P: 5.0})]


async def test_entity_that_is_named_twice_is_refused(door: AdminDoor) -> None:
    ann = entry({"user": "ann"}, **{P: 1.0})

    assert await alter(door, ann, ann) == [INVALID_REQUEST] * 2


async def test_key_that_is_named_twice_is_refused(door: AdminDoor) -> None:
    twice = entry({"user": "ann"}, **{P: 1.0})
    twice.ops *= 2

    assert await alter(door, twice) == [INVALID_REQUEST]


ENTITIES: list[Entity] = [
    {"user": "ann"},
    {"user": None},
    {"client-id": "app"},
    {"user": "ann", "client-id": "app"},
    {"user": "ann", "client-id": None},
]


@pytest.mark.parametrize(
    ("components", "strict", "found"),
    [
        ((), False, [0, 1, 2, 3, 4]),
        ((), True, []),
        ((("user", EXACT, "ann"),), False, [0, 3, 4]),
        ((("user", EXACT, "ann"),), True, [0]),
        ((("user", DEFAULT, None),), False, [1]),
        ((("user", ANY, None),), True, [0, 1]),
        ((("client-id", ANY, None),), False, [2, 3, 4]),
        ((("user", EXACT, "ann"), ("client-id", DEFAULT, None)), True, [4]),
        ((("user", EXACT, "bob"),), False, []),
        ((("ip", ANY, None),), False, []),
    ],
)
async def test_filter_lets_through_what_it_names(
    door: AdminDoor,
    components: tuple[tuple[str, int, str | None], ...],
    *,
    strict: bool,
    found: list[int],
) -> None:
    await alter(door, *(entry(entity, **{P: 1.0}) for entity in ENTITIES))

    entities = [entity for entity, _ in await described(door, *components, strict=strict)]

    assert entities == [ENTITIES[number] for number in found]


@pytest.mark.parametrize(
    ("components", "code"),
    [
        ((("user", EXACT, None),), INVALID_REQUEST),
        ((("user", DEFAULT, "ann"),), INVALID_REQUEST),
        ((("user", ANY, "ann"),), INVALID_REQUEST),
        ((("user", 3, None),), INVALID_REQUEST),
        ((("user", ANY, None), ("user", DEFAULT, None)), INVALID_REQUEST),
        ((("user", ANY, None), ("ip", ANY, None)), INVALID_REQUEST),
        ((("", ANY, None),), INVALID_REQUEST),
        ((("group", ANY, None),), UNSUPPORTED_VERSION),
    ],
)
async def test_filter_that_is_none_is_refused(
    door: AdminDoor, components: tuple[tuple[str, int, str | None], ...], code: int
) -> None:
    response = await describe(door, *components)

    assert response.error_code == code
    assert response.error_message
