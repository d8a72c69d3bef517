"""A batch changes the state once, on the state it was decided on, or it changes nothing."""

from __future__ import annotations

import pytest

from ottla.controller.raft.consensus import ReplicatedStateMachine
from ottla.controller.records import (
    AnswerOutcome,
    MetadataAnswer,
    controller_elected,
    encode_batch,
    feature_level,
    topic_created,
    topic_deleted,
)
from ottla.controller.requests import CreateTopics, DeleteTopics, NewTopic, SetFeatureLevel
from ottla.controller.state_machine import MetadataStateMachine
from ottla.model.ids import BrokerId, ControllerEpoch, MetadataOffset
from ottla.model.limits import METADATA_BATCHES_REMEMBERED
from ottla.v1 import metadata_record_pb2 as pb
from tests.controller.metadata import CLIENT_ID, Metadata, election

APPLIED = AnswerOutcome.APPLIED
CONFLICT = AnswerOutcome.CONFLICT
NOT_CONTROLLER = AnswerOutcome.NOT_CONTROLLER


def batch(
    metadata: Metadata, *records: pb.MetadataRecord, base: int | None = None, epoch: int = 1
) -> bytes:
    """A batch that no decision led to."""
    return encode_batch(
        records,
        controller_epoch=ControllerEpoch(epoch),
        base_version=metadata.machine.state.version if base is None else base,
        client_id=CLIENT_ID,
        sequence=metadata.next_sequence(),
    )


def create(*names: str) -> CreateTopics:
    return CreateTopics(topics=tuple(NewTopic(name=name) for name in names))


# --- What apply answers ---


def test_machine_is_what_the_consensus_engine_drives() -> None:
    machine: ReplicatedStateMachine = MetadataStateMachine()

    assert machine.snapshot() == MetadataStateMachine().snapshot()


def test_answer_says_where_the_batch_is_and_what_version_it_made() -> None:
    metadata = Metadata(brokers=1)
    (entry,) = metadata.entries(metadata.controller.decide(create("web"), 0))

    assert metadata.append(entry) == MetadataAnswer(
        outcome=APPLIED, version=5, metadata_offset=MetadataOffset(5)
    )
    assert metadata.machine.image.metadata_offset == 5
    assert metadata.machine.state.version == 5


def test_every_entry_makes_a_new_image_even_one_that_changes_nothing() -> None:
    metadata = Metadata()
    before = metadata.machine.image

    metadata.append(batch(metadata, base=99))

    assert metadata.machine.image is not before
    assert metadata.machine.image.metadata_offset == before.metadata_offset + 1


def test_indexes_that_the_engine_used_itself_are_skipped() -> None:
    machine = MetadataStateMachine()

    machine.apply(MetadataOffset(17), election(broker=1, epoch=1, sequence=1))

    assert machine.image.metadata_offset == 17
    assert machine.state.version == 1


def test_entry_below_the_last_one_stops_the_node() -> None:
    metadata = Metadata()

    with pytest.raises(AssertionError):
        metadata.machine.apply(MetadataOffset(1), election(broker=1, epoch=2, sequence=9))


# --- Races ---


def test_two_decisions_on_one_state_cannot_both_be_carried_out() -> None:
    metadata = Metadata(brokers=1)
    first = metadata.controller.decide(create("web"), 0)
    second = metadata.controller.decide(create("web"), 0)

    metadata.carry_out(first)
    (late,) = metadata.entries(second)

    assert metadata.append(late).outcome is CONFLICT
    assert metadata.topic("web").topic_id == first.response[0].topic_id


def test_decision_conflicts_even_if_what_came_between_is_about_something_else() -> None:
    metadata = Metadata(brokers=1)
    decision = metadata.controller.decide(create("web"), 0)

    metadata.create("logs")
    (late,) = metadata.entries(decision)

    assert metadata.append(late).outcome is CONFLICT


def test_conflicting_request_that_is_decided_again_gets_the_answer_of_the_new_state() -> None:
    metadata = Metadata(brokers=1)
    stale = metadata.controller.decide(DeleteTopics(names=("web",)), 0)
    assert stale.response[0].error is not None

    metadata.create("web")

    assert metadata.controller.decide(DeleteTopics(names=("web",)), 0).response[0].error is None


def test_entries_of_one_decision_may_be_proposed_without_waiting_for_each_other() -> None:
    metadata = Metadata(brokers=1)
    decision = metadata.controller.decide(create("web"), 0)
    on_top = batch(metadata, feature_level("metadata.version", 1), base=decision.base_version + 1)

    metadata.carry_out(decision)

    assert metadata.append(on_top).outcome is APPLIED


def test_entry_whose_predecessor_was_lost_changes_nothing() -> None:
    metadata = Metadata(brokers=1)
    decision = metadata.controller.decide(create("web"), 0)
    on_top = batch(metadata, feature_level("metadata.version", 1), base=decision.base_version + 1)

    assert metadata.append(on_top).outcome is CONFLICT
    assert metadata.machine.state.feature_levels == {}


# --- Controllers ---


def test_batch_of_a_deposed_controller_changes_nothing() -> None:
    metadata = Metadata(brokers=1)
    (late,) = metadata.entries(metadata.controller.decide(create("web"), 0))

    metadata.elect(broker=2, epoch=5)

    assert metadata.append(late).outcome is NOT_CONTROLLER
    assert metadata.machine.image.topics == {}


def test_batch_of_a_controller_that_was_not_elected_changes_nothing() -> None:
    metadata = Metadata()

    premature = batch(metadata, feature_level("metadata.version", 1), epoch=2)

    assert metadata.append(premature).outcome is NOT_CONTROLLER


def test_image_names_the_controller_elected_last() -> None:
    metadata = Metadata()

    assert metadata.elect(broker=2, epoch=5).outcome is APPLIED

    assert metadata.machine.image.controller_id == 2
    assert metadata.machine.image.controller_epoch == 5


def test_election_of_an_earlier_term_changes_nothing() -> None:
    metadata = Metadata(epoch=5)

    assert metadata.elect(broker=2, epoch=4).outcome is NOT_CONTROLLER
    assert metadata.machine.image.controller_id == 1


def test_controller_that_proposes_its_election_twice_is_elected() -> None:
    metadata = Metadata(epoch=5)

    assert metadata.elect(broker=1, epoch=5).outcome is APPLIED
    assert metadata.machine.image.controller_epoch == 5


def test_two_controllers_in_one_term_stop_the_node() -> None:
    metadata = Metadata(epoch=5)

    with pytest.raises(AssertionError):
        metadata.elect(broker=2, epoch=5)


# --- Retries ---


def test_retry_is_answered_as_the_first_time_and_changes_nothing() -> None:
    metadata = Metadata(brokers=1)
    (entry,) = metadata.entries(metadata.controller.decide(create("web"), 0))
    first = metadata.append(entry)
    metadata.create("logs")
    version = metadata.machine.state.version

    assert metadata.append(entry) == first
    assert metadata.machine.state.version == version


def test_retry_under_a_later_controller_is_answered_as_the_first_time() -> None:
    metadata = Metadata(brokers=1)
    (entry,) = metadata.entries(metadata.controller.decide(create("web"), 0))
    first = metadata.append(entry)

    metadata.elect(broker=2, epoch=5)

    assert metadata.append(entry) == first


def test_clients_do_not_share_sequences() -> None:
    metadata = Metadata()

    other = election(broker=2, epoch=2, sequence=1, client_id=CLIENT_ID + 1)

    assert metadata.append(other).version == 3


def test_refused_batch_that_is_tried_again_is_refused_again() -> None:
    metadata = Metadata()
    refused = batch(metadata, feature_level("metadata.version", 1), base=99)

    assert metadata.append(refused).outcome is CONFLICT
    assert metadata.append(refused).outcome is CONFLICT


def test_answers_are_remembered_up_to_a_bound() -> None:
    metadata = Metadata()
    elections = [
        election(broker=1, epoch=epoch, sequence=metadata.next_sequence())
        for epoch in range(2, METADATA_BATCHES_REMEMBERED + 2)
    ]
    first = metadata.append(elections[0])
    for entry in elections[1:]:
        metadata.append(entry)

    assert metadata.append(elections[0]) == first
    assert metadata.elect(broker=1, epoch=9_999).outcome is APPLIED
    assert metadata.append(elections[0]).outcome is NOT_CONTROLLER


def test_forgotten_batch_is_still_not_applied_twice() -> None:
    metadata = Metadata(brokers=1)
    (entry,) = metadata.entries(metadata.controller.decide(create("web"), 0))
    metadata.append(entry)
    for _ in range(METADATA_BATCHES_REMEMBERED):
        metadata.allocate(1)

    assert metadata.append(entry).outcome is CONFLICT


# --- What cannot be in the log stops the node, before anything changed ---


def test_bytes_that_are_no_batch_stop_the_node() -> None:
    metadata = Metadata()

    with pytest.raises(AssertionError, match="an entry of 3 bytes is no batch"):
        metadata.append(b"\xff\xff\xff")


def test_unknown_kind_of_record_stops_the_node() -> None:
    metadata = Metadata()
    # Field 31 of MetadataRecord, which a newer version may have.
    newer = pb.MetadataRecord.FromString(b"\xfa\x01\x00")

    with pytest.raises(AssertionError, match="a kind of record that this version does not know"):
        metadata.append(batch(metadata, newer))


def test_feature_level_above_what_this_version_reads_stops_the_node() -> None:
    for record in (feature_level("metadata.version", 2), feature_level("teleportation", 1)):
        metadata = Metadata()
        with pytest.raises(AssertionError):
            metadata.append(batch(metadata, record))


def test_election_among_other_records_stops_the_node() -> None:
    metadata = Metadata()
    elected = controller_elected(BrokerId(1), ControllerEpoch(2))

    with pytest.raises(AssertionError, match="alone in its batch"):
        metadata.append(
            batch(metadata, feature_level("metadata.version", 1), elected, base=0, epoch=2)
        )


def test_election_that_depends_on_a_state_stops_the_node() -> None:
    metadata = Metadata()
    elected = controller_elected(BrokerId(1), ControllerEpoch(2))

    with pytest.raises(AssertionError):
        metadata.append(batch(metadata, elected, epoch=2))


def test_election_in_another_epoch_than_its_batch_stops_the_node() -> None:
    metadata = Metadata()
    elected = controller_elected(BrokerId(1), ControllerEpoch(2))

    with pytest.raises(AssertionError):
        metadata.append(batch(metadata, elected, base=0, epoch=3))


def test_batch_that_depends_on_no_state_stops_the_node() -> None:
    metadata = Metadata()

    with pytest.raises(AssertionError, match="only an election depends on no state"):
        metadata.append(batch(metadata, feature_level("metadata.version", 1), base=0))


def test_batch_is_applied_whole_or_not_at_all() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    before = metadata.machine.state
    topic_id = metadata.topic("web").topic_id

    with pytest.raises(AssertionError):
        metadata.append(batch(metadata, topic_deleted(topic_id), topic_deleted(topic_id)))

    assert metadata.machine.state is before


def test_name_that_is_taken_stops_the_node_where_the_version_did_not() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    other = metadata._new_topic_id()

    with pytest.raises(AssertionError):
        metadata.append(batch(metadata, topic_created("web", other)))


def test_repr_tells_the_state_in_one_line() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web")

    state = "<MetadataState version 7 at 7: controller 1 epoch 1, 2 brokers, 1 topics>"
    assert repr(metadata.machine) == f"<MetadataStateMachine {state}>"
    assert repr(metadata.controller) == f"<Controller on {state}>"


def test_feature_level_in_use_is_part_of_the_state() -> None:
    metadata = Metadata()
    request = SetFeatureLevel(name="metadata.version", level=1)

    metadata.carry_out(metadata.controller.decide(request, 0))

    assert metadata.machine.state.feature_levels == {"metadata.version": 1}
