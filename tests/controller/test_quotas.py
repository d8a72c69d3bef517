"""Quotas of clients are in the metadata log, and only those that mean something."""

from __future__ import annotations

import pytest

from ottla.controller.requests import AlterClientQuotas, QuotaChanges
from ottla.controller.state_machine import MetadataStateMachine
from ottla.model.errors import InvalidRequestError
from ottla.model.ids import MetadataOffset
from ottla.model.image import DEFAULT_ENTITY, QuotaEntity
from ottla.model.limits import QUOTA_ENTITIES_MAX, QUOTA_ENTITIES_PER_REQUEST_MAX
from tests.controller.metadata import Metadata

ANN = QuotaEntity(user="ann")
APP = QuotaEntity(client_id="app")
EVERYBODY = QuotaEntity(user=DEFAULT_ENTITY)
P, C = "producer_byte_rate", "consumer_byte_rate"


def changes(entity: QuotaEntity, **rates: float | None) -> QuotaChanges:
    return QuotaChanges(entity=entity, changes=rates)


def alter(metadata: Metadata, *wanted: QuotaChanges, validate_only: bool = False) -> list[str]:
    results = metadata.ask(AlterClientQuotas(entities=wanted, validate_only=validate_only))
    assert [result.entity for result in results] == [change.entity for change in wanted]
    return ["NONE" if result.error is None else result.error.name for result in results]


def quotas(metadata: Metadata) -> dict[QuotaEntity, dict[str, float]]:
    return {entity: dict(of) for entity, of in metadata.machine.image.client_quotas.items()}


def test_quotas_of_entities_are_kept_apart() -> None:
    metadata = Metadata()

    alter(metadata, changes(ANN, **{P: 1.0}), changes(APP, **{P: 2.0, C: 3.0}))
    alter(metadata, changes(EVERYBODY, **{C: 4.0}), changes(APP, **{P: None}))

    assert quotas(metadata) == {ANN: {P: 1.0}, APP: {C: 3.0}, EVERYBODY: {C: 4.0}}


def test_entity_without_quotas_is_forgotten() -> None:
    metadata = Metadata()
    alter(metadata, changes(ANN, **{P: 1.0}))

    alter(metadata, changes(ANN, **{P: None}))

    assert quotas(metadata) == {}


def test_quota_that_is_there_already_writes_nothing() -> None:
    metadata = Metadata()
    alter(metadata, changes(ANN, **{P: 1.0}))
    entries = len(metadata.log)

    assert alter(metadata, changes(ANN, **{P: 1.0, C: None})) == ["NONE"]

    assert len(metadata.log) == entries


def test_validation_writes_nothing() -> None:
    metadata = Metadata()

    assert alter(metadata, changes(ANN, **{P: 1.0}), validate_only=True) == ["NONE"]

    assert quotas(metadata) == {}


@pytest.mark.parametrize(
    "bad",
    [
        changes(QuotaEntity(), **{P: 1.0}),
        changes(QuotaEntity(user="x" * 1_001), **{P: 1.0}),
        changes(ANN, request_percentage=1.0),
        changes(ANN, no_such=None),
        changes(ANN, **{P: 0.0}),
        changes(ANN, **{P: 2.0**63}),
        changes(ANN, **{P: float("nan")}),
    ],
    ids=str,
)
def test_bad_entity_is_refused_and_the_others_are_not(bad: QuotaChanges) -> None:
    metadata = Metadata()

    assert alter(metadata, bad, changes(APP, **{P: 1.0})) == ["INVALID_REQUEST", "NONE"]

    assert quotas(metadata) == {APP: {P: 1.0}}


def test_number_of_entities_is_bounded() -> None:
    metadata = Metadata()
    for first in range(0, QUOTA_ENTITIES_MAX, QUOTA_ENTITIES_PER_REQUEST_MAX):
        numbers = range(first, first + QUOTA_ENTITIES_PER_REQUEST_MAX)
        alter(metadata, *(changes(QuotaEntity(user=f"u{n}"), **{P: 1.0}) for n in numbers))

    results = alter(
        metadata,
        changes(QuotaEntity(user="u0"), **{P: 2.0}),
        changes(QuotaEntity(user="one too many"), **{P: 1.0}),
        changes(QuotaEntity(user="nobody"), **{P: None}),
    )

    assert results == ["NONE", "INVALID_REQUEST", "NONE"]
    assert len(quotas(metadata)) == QUOTA_ENTITIES_MAX


def test_too_many_entities_at_a_time_are_refused() -> None:
    wanted = [changes(ANN, **{P: 1.0})] * (QUOTA_ENTITIES_PER_REQUEST_MAX + 1)

    with pytest.raises(InvalidRequestError, match="at most"):
        alter(Metadata(), *wanted)


def test_replay_and_snapshot_give_the_same_quotas() -> None:
    metadata = Metadata()
    alter(
        metadata,
        changes(QuotaEntity("ann", DEFAULT_ENTITY), **{P: 1.0}),
        changes(ANN, **{P: 2.0, C: 3.0}),
        changes(APP, **{C: 4.0}),
    )
    replayed, restored = MetadataStateMachine(), MetadataStateMachine()
    for offset, entry in enumerate(metadata.log, 1):
        replayed.apply(MetadataOffset(offset), entry)

    restored.restore(MetadataOffset(len(metadata.log)), metadata.machine.snapshot())

    assert replayed.image == restored.image == metadata.machine.image
    assert replayed.snapshot() == restored.snapshot() == metadata.machine.snapshot()
