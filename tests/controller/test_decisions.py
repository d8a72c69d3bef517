"""A decision becomes as few entries as hold it, cut where the state is sound."""

from __future__ import annotations

import dataclasses

import pytest

from ottla.controller.decisions import STEP_BYTES_MAX, Step, decided, step_bytes
from ottla.controller.records import decode_batch, topic_config_changed
from ottla.controller.requests import CreateTopics, FenceBroker, NewTopic
from ottla.model.ids import NO_BROKER, BrokerId, TopicId
from ottla.model.limits import METADATA_ENTRY_BYTES_MAX
from tests.controller.metadata import CLIENT_ID, Metadata


def step(value_bytes: int) -> Step:
    topic_id = TopicId(Metadata()._new_topic_id())
    return (topic_config_changed(topic_id, "key", "v" * value_bytes),)


def step_of_exactly(size: int) -> Step:
    """A step that :func:`step_bytes` says takes ``size``."""
    made = step(size - step_bytes(step(size // 2)) + size // 2)
    assert step_bytes(made) == size
    return made


def test_decision_that_fits_is_one_entry() -> None:
    metadata = Metadata(brokers=1)
    request = CreateTopics(topics=(NewTopic(name="a"), NewTopic(name="b")))
    decision = metadata.controller.decide(request, 0)

    (entry,) = decision.entries(client_id=CLIENT_ID, first_sequence=9)

    batch = decode_batch(entry)
    assert tuple(batch.records) == decision.records
    assert (batch.client_id, batch.sequence) == (CLIENT_ID, 9)
    assert (batch.controller_epoch, batch.base_version) == (1, metadata.machine.state.version)


def test_decision_without_records_is_no_entry() -> None:
    decision = decided(Metadata().machine.state, None)

    assert decision.records == ()
    assert decision.entries(client_id=CLIENT_ID, first_sequence=1) == []


def test_entries_follow_one_another_in_version_and_sequence() -> None:
    decision = decided(Metadata().machine.state, None, *[step(STEP_BYTES_MAX // 2)] * 3)

    batches = [decode_batch(e) for e in decision.entries(client_id=CLIENT_ID, first_sequence=5)]

    assert [batch.base_version for batch in batches] == [2, 3, 4]
    assert [batch.sequence for batch in batches] == [5, 6, 7]


def test_steps_share_an_entry_up_to_its_limit() -> None:
    half = STEP_BYTES_MAX // 2
    steps = (step_of_exactly(half), step_of_exactly(STEP_BYTES_MAX - half), step(1))

    entries = decided(Metadata().machine.state, None, *steps).entries(
        client_id=2**64 - 1, first_sequence=2**64 - 3
    )

    assert [len(decode_batch(entry).records) for entry in entries] == [2, 1]
    assert METADATA_ENTRY_BYTES_MAX - 100 < len(entries[0]) <= METADATA_ENTRY_BYTES_MAX


def test_step_too_large_for_an_entry_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="a step must fit in an entry"):
        decided(Metadata().machine.state, None, step(STEP_BYTES_MAX))


def test_failing_over_more_partitions_than_fit_in_an_entry_takes_several() -> None:
    metadata = Metadata(brokers=1)
    for number in range(3):
        metadata.create(f"topic-{number}", partitions=9_000)
    request = FenceBroker(broker_id=BrokerId(1), broker_epoch=metadata.epoch_of(1))
    decision = metadata.controller.decide(request, 0)

    entries = metadata.entries(decision)

    assert len(entries) > 1
    for entry in entries:
        assert not metadata.broker(1).fenced
        metadata.append(entry)
    assert metadata.broker(1).fenced
    leaders = {p.leader for t in metadata.machine.image.topics.values() for p in t.partitions}
    assert leaders == {NO_BROKER}


def test_decision_is_a_value() -> None:
    decision = decided(Metadata().machine.state, "answer")

    with pytest.raises(dataclasses.FrozenInstanceError):
        decision.response = "another"  # type: ignore[misc]
