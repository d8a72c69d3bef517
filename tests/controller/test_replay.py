"""Replay makes the next state and shares the rest; a record that does not fit stops the node."""

from __future__ import annotations

from uuid import UUID

import pytest

from ottla.controller import records
from ottla.controller.answers import RecentAnswers
from ottla.controller.state import MetadataState, Replay, replay
from ottla.model.ids import (
    NO_BROKER,
    BrokerEpoch,
    BrokerId,
    ControllerEpoch,
    LeaderEpoch,
    MetadataOffset,
    PartitionEpoch,
    ProducerId,
    TopicId,
)
from ottla.model.image import BrokerImage, ClusterImage, PartitionImage
from ottla.v1 import metadata_record_pb2 as pb
from tests.controller.metadata import Metadata, brokers

WEB = TopicId(UUID(int=1))
LOGS = TopicId(UUID(int=2))


def after(*batch: pb.MetadataRecord, state: MetadataState | None = None) -> MetadataState:
    state = state or MetadataState(image=ClusterImage(cluster_id="c"))
    return replay(state, batch, metadata_offset=MetadataOffset(state.image.metadata_offset + 1))


def broker(number: int = 1, *, epoch: int = 5, fenced: bool = True) -> BrokerImage:
    return BrokerImage(
        broker_id=BrokerId(number),
        broker_epoch=BrokerEpoch(epoch),
        host="h",
        grpc_port=1,
        rack="",
        incarnation_id=b"i",
        fenced=fenced,
        directory_id=b"d",
    )


def registered(image: BrokerImage) -> pb.MetadataRecord:
    return records.broker_registered(image, clean_shutdown=False)


def fencing(number: int, *, epoch: int = 5, fenced: bool) -> pb.MetadataRecord:
    return records.broker_fencing_changed(BrokerId(number), BrokerEpoch(epoch), fenced=fenced)


def shutting_down(number: int = 1, *, epoch: int = 5) -> pb.MetadataRecord:
    return records.broker_shutting_down(BrokerId(number), BrokerEpoch(epoch))


def draining(number: int, *, on: bool) -> pb.MetadataRecord:
    return records.broker_draining_changed(BrokerId(number), draining=on)


def partition(
    *,
    replicas: tuple[int, ...] = (1, 2),
    in_sync: tuple[int, ...] = (1, 2),
    eligible: tuple[int, ...] = (),
    leader: int = 1,
    leader_epoch: int = 0,
    partition_epoch: int = 0,
    adding: tuple[int, ...] = (),
    removing: tuple[int, ...] = (),
) -> PartitionImage:
    return PartitionImage(
        replicas=brokers(*replicas),
        in_sync_replicas=brokers(*in_sync),
        eligible_leader_replicas=brokers(*eligible),
        leader=BrokerId(leader),
        leader_epoch=LeaderEpoch(leader_epoch),
        partition_epoch=PartitionEpoch(partition_epoch),
        adding_replicas=brokers(*adding),
        removing_replicas=brokers(*removing),
    )


def changed(number: int, image: PartitionImage, topic_id: TopicId = WEB) -> pb.MetadataRecord:
    return records.partition_changed(topic_id, number, image)


def two_topics() -> MetadataState:
    return after(
        records.topic_created("web", WEB),
        changed(0, partition()),
        changed(1, partition(leader=2)),
        records.topic_created("logs", LOGS),
        changed(0, partition(), LOGS),
    )


# --- The next state ---


def test_every_kind_of_record_in_the_format_is_replayed() -> None:
    kinds = {field.name for field in pb.MetadataRecord.DESCRIPTOR.oneofs_by_name["kind"].fields}

    assert Replay(MetadataState(image=ClusterImage(cluster_id="c")))._replay_by_kind.keys() == kinds


def test_partition_changes_as_its_record_says() -> None:
    image = partition(
        replicas=(1, 2, 3),
        in_sync=(2,),
        eligible=(1,),
        leader=2,
        leader_epoch=3,
        partition_epoch=4,
        adding=(3,),
        removing=(1,),
    )

    state = after(changed(0, image), state=two_topics())

    assert state.image.topics["web"].partitions[0] == image


def test_what_a_batch_does_not_touch_is_shared_with_the_state_before() -> None:
    before = after(registered(broker()), state=two_topics())

    state = after(changed(0, partition(partition_epoch=1)), state=before)

    assert state.image.topics["logs"] is before.image.topics["logs"]
    assert state.image.topics["web"].partitions[1] is before.image.topics["web"].partitions[1]
    assert state.image.brokers is before.image.brokers


def test_batch_about_brokers_shares_all_topics() -> None:
    before = two_topics()

    state = after(registered(broker()), state=before)

    assert state.image.topics is before.image.topics
    assert state.image.topic_names is before.image.topic_names


def test_state_before_stays_as_it_was() -> None:
    def before() -> MetadataState:
        return after(registered(broker()), state=two_topics())

    state = before()

    after(
        records.topic_deleted(LOGS),
        changed(0, partition(partition_epoch=1)),
        records.topic_config_changed(WEB, "retention.ms", "1"),
        fencing(1, fenced=False),
        registered(broker(2)),
        records.feature_level("metadata.version", 1),
        state=state,
    )

    assert state == before()


def test_topic_may_be_deleted_and_created_again_in_one_batch() -> None:
    new_id = TopicId(UUID(int=3))

    state = after(
        records.topic_deleted(WEB), records.topic_created("web", new_id), state=two_topics()
    )

    assert state.image.topics["web"].topic_id == new_id
    assert set(state.image.topic_names) == {LOGS, new_id}


def test_topic_may_be_created_and_deleted_in_one_batch() -> None:
    state = after(
        records.topic_created("web", WEB),
        records.topic_deleted(WEB),
        records.topic_created("web", LOGS),
    )

    assert set(state.image.topic_names) == {LOGS}


def test_setting_without_a_value_is_taken_away_even_if_there_is_none() -> None:
    state = after(
        records.topic_config_changed(WEB, "a", "1"),
        records.topic_config_changed(WEB, "b", ""),
        records.topic_config_changed(WEB, "a", None),
        records.topic_config_changed(WEB, "c", None),
        state=two_topics(),
    )

    assert state.image.topics["web"].configs == {"b": ""}


def test_same_life_stays_unfenced_when_it_registers_again() -> None:
    state = after(registered(broker()), fencing(1, fenced=False), registered(broker()))

    assert not state.image.brokers[BrokerId(1)].fenced


def test_new_life_begins_fenced() -> None:
    state = after(registered(broker()), fencing(1, fenced=False), registered(broker(epoch=6)))

    assert state.image.brokers[BrokerId(1)] == broker(epoch=6, fenced=True)


def test_fencing_and_a_new_life_end_a_shutdown() -> None:
    stopping = after(registered(broker()), fencing(1, fenced=False), shutting_down())
    assert stopping.image.brokers[BrokerId(1)].shutting_down

    for record in (fencing(1, fenced=True), registered(broker(epoch=6))):
        assert not after(record, state=stopping).image.brokers[BrokerId(1)].shutting_down
    # The same life, amended.
    assert after(registered(broker()), state=stopping).image.brokers[BrokerId(1)].shutting_down


def test_broker_drains_through_its_lives_until_it_is_told_to_stop() -> None:
    state = after(registered(broker()), draining(1, on=True), registered(broker(epoch=6)))
    assert state.image.brokers[BrokerId(1)].draining

    assert not after(draining(1, on=False), state=state).image.brokers[BrokerId(1)].draining


def test_unregistered_broker_is_gone_with_its_settings() -> None:
    state = after(
        registered(broker(1)),
        registered(broker(2)),
        records.broker_config_changed(BrokerId(1), "a", "1"),
        records.broker_config_changed(None, "a", "2"),
        records.broker_unregistered(BrokerId(1)),
    )

    assert set(state.image.brokers) == {2}
    assert state.image.broker_configs == {None: {"a": "2"}}


def test_settings_of_a_broker_and_of_all_brokers_are_kept_apart() -> None:
    state = after(
        records.broker_config_changed(None, "a", "1"),
        records.broker_config_changed(BrokerId(0), "a", "2"),
        records.broker_config_changed(BrokerId(0), "b", "3"),
        records.broker_config_changed(None, "a", None),
    )

    assert state.image.broker_configs == {BrokerId(0): {"a": "2", "b": "3"}}


def test_cluster_gets_its_id_and_its_voters_from_the_log() -> None:
    state = after(
        records.cluster_created("c"),
        records.voter_admitted(BrokerId(0), b"old"),
        records.voter_admitted(BrokerId(1), b"other"),
        records.voter_admitted(BrokerId(0), b"new"),
        state=MetadataState(image=ClusterImage(cluster_id="")),
    )

    assert state.image.cluster_id == "c"
    assert state.image.voters == {BrokerId(0): b"new", BrokerId(1): b"other"}


def test_unfenced_brokers_are_those_that_serve() -> None:
    state = after(registered(broker(1)), registered(broker(2)), fencing(2, fenced=False))

    assert {b.broker_id for b in state.image.brokers.values() if not b.fenced} == {2}


# --- What does not fit ---


@pytest.mark.parametrize(
    "record",
    [
        records.topic_created("web", TopicId(UUID(int=9))),
        records.topic_created("new", WEB),
        pb.MetadataRecord(topic_created=pb.TopicCreated(name="new", topic_id=b"short")),
        records.topic_deleted(TopicId(UUID(int=9))),
        records.topic_config_changed(TopicId(UUID(int=9)), "key", "value"),
        changed(0, partition(partition_epoch=1), TopicId(UUID(int=9))),
        changed(3, partition()),
        changed(-1, partition()),
        changed(0, partition(partition_epoch=0)),
        changed(0, partition(partition_epoch=1, leader_epoch=-1)),
        changed(2, partition(replicas=(), in_sync=(), leader=NO_BROKER)),
        changed(2, partition(replicas=(1, 1))),
        changed(2, partition(in_sync=(1, 3))),
        changed(2, partition(in_sync=(1,), eligible=(3,))),
        changed(2, partition(eligible=(2,))),
        changed(2, partition(in_sync=(1,), leader=2)),
        changed(2, partition(adding=(3,))),
        changed(2, partition(removing=(3,))),
        changed(2, partition(adding=(2,), removing=(2,))),
        # Another leader, and the epoch of the one before.
        changed(0, partition(partition_epoch=1, leader=2)),
        records.cluster_created("another"),
        records.cluster_created(""),
        records.voter_admitted(BrokerId(1), b""),
        shutting_down(),  # of a broker that is fenced
        shutting_down(9),
        draining(9, on=True),
        records.broker_unregistered(BrokerId(9)),
        fencing(9, fenced=True),
        fencing(1, epoch=4, fenced=True),
        registered(broker(epoch=4)),
        records.producer_ids_allocated(BrokerId(1), BrokerEpoch(5), next_producer_id=ProducerId(0)),
        records.controller_elected(BrokerId(1), ControllerEpoch(0)),
        records.feature_level("metadata.version", 2),
        records.feature_level("magic", 1),
        pb.MetadataRecord(),
    ],
)
def test_record_that_does_not_fit_stops_the_node(record: pb.MetadataRecord) -> None:
    state = after(registered(broker()), state=two_topics())

    with pytest.raises(AssertionError):
        after(record, state=state)


def test_topic_created_twice_in_one_batch_stops_the_node() -> None:
    for second in (("web", LOGS), ("logs", WEB)):
        with pytest.raises(AssertionError):
            after(records.topic_created("web", WEB), records.topic_created(*second))


def test_topic_touched_after_its_deletion_stops_the_node() -> None:
    with pytest.raises(AssertionError):
        after(
            records.topic_deleted(WEB),
            records.topic_config_changed(WEB, "key", "value"),
            state=two_topics(),
        )


# --- Bounds ---


def test_answers_say_how_many_they_are() -> None:
    answers = RecentAnswers()
    answers.remember(1, 2, b"x")

    assert repr(answers) == "<RecentAnswers 1 of 1000>"
    assert list(answers) == [(1, 2, b"x")]
    with pytest.raises(AssertionError):
        answers.remember(1, 2, b"y")


def test_changing_one_partition_of_many_shares_all_others() -> None:
    metadata = Metadata(brokers=3)
    for number in range(10):
        metadata.create(f"topic-{number}", partitions=100, replication_factor=3)
    before = metadata.machine.image
    topic = metadata.topic("topic-4")
    moved = partition(
        replicas=topic.partitions[7].replicas, in_sync=(1,), leader=1, partition_epoch=1
    )

    state = after(changed(7, moved, topic.topic_id), state=metadata.machine.state)

    others = [
        (new, old)
        for name in before.topics
        for new, old in zip(
            state.image.topics[name].partitions, before.topics[name].partitions, strict=True
        )
        if new is not old
    ]
    assert len(others) == 1
