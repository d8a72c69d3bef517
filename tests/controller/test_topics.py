"""A topic is created, grown or deleted whole, or the caller is told why it was not."""

from __future__ import annotations

from uuid import UUID

import pytest

from ottla.controller.requests import CreateTopics, DeleteTopics, NewTopic
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import InvalidRequestError
from ottla.model.ids import TopicId
from ottla.model.image import PartitionImage
from ottla.model.limits import PARTITIONS_PER_TOPIC_MAX
from tests.controller.metadata import Metadata, brokers, codes


def new(name: str, partitions: int = 1, replication_factor: int = 1) -> NewTopic:
    return NewTopic(name=name, partitions=partitions, replication_factor=replication_factor)


# --- Create ---


def test_new_topic_has_its_partitions_each_with_a_leader_in_sync() -> None:
    metadata = Metadata(brokers=3)

    result = metadata.create("web", partitions=2, replication_factor=3)

    assert result.error is None
    topic = metadata.topic("web")
    assert topic.topic_id == result.topic_id
    assert len(topic.partitions) == 2
    for partition in topic.partitions:
        assert sorted(partition.replicas) == [1, 2, 3]
        assert partition == PartitionImage(
            replicas=partition.replicas,
            in_sync_replicas=partition.replicas,
            eligible_leader_replicas=(),
            leader=partition.replicas[0],
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
        )
        assert (partition.leader_epoch, partition.partition_epoch) == (0, 0)


def test_image_finds_a_topic_by_name_and_by_id() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    image = metadata.machine.image

    assert image.topic_names[image.topics["web"].topic_id] == "web"


def test_topic_that_says_nothing_gets_the_controllers_defaults() -> None:
    defaults = TopicDefaults(partitions=4, replication_factor=2)
    metadata = Metadata(brokers=3, defaults=defaults)

    result = metadata.create("web")

    assert (result.partitions, result.replication_factor) == (4, 2)
    assert [len(p.replicas) for p in metadata.topic("web").partitions] == [2, 2, 2, 2]


def test_settings_are_kept_in_canonical_form() -> None:
    metadata = Metadata(brokers=1)

    result = metadata.create("web", configs={"write.caching": "TRUE", "retention.ms": " 007"})

    assert metadata.topic("web").configs == {"retention.ms": "7", "write.caching": "true"}
    assert result.configs == metadata.topic("web").configs


def test_fenced_replica_of_a_new_partition_is_not_in_sync() -> None:
    metadata = Metadata(brokers=2)
    metadata.fence(2)

    metadata.create("web", replication_factor=2)

    assert metadata.partition("web").replicas == brokers(1, 2)
    assert metadata.partition("web").in_sync_replicas == brokers(1)


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (new("web"), "TOPIC_ALREADY_EXISTS"),
        (new("a b"), "INVALID_TOPIC_EXCEPTION"),
        (new(""), "INVALID_TOPIC_EXCEPTION"),
        (new("logs", partitions=0), "INVALID_PARTITIONS"),
        (new("logs", partitions=-1), "INVALID_PARTITIONS"),
        (new("logs", partitions=PARTITIONS_PER_TOPIC_MAX + 1), "INVALID_PARTITIONS"),
        (new("logs", replication_factor=0), "INVALID_REPLICATION_FACTOR"),
        (new("logs", replication_factor=3), "INVALID_REPLICATION_FACTOR"),
        (NewTopic(name="logs", configs={"retention.ms": "soon"}), "INVALID_CONFIG"),
        (NewTopic(name="logs", configs={"retention": "1"}), "INVALID_CONFIG"),
    ],
)
def test_impossible_topic_is_refused_and_the_others_are_created(topic: NewTopic, code: str) -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web")

    results = metadata.create_all(new("before"), topic, new("after"))

    assert codes(results) == ["NONE", code, "NONE"]
    assert list(metadata.machine.image.topics) == ["web", "before", "after"]


def test_topic_without_a_broker_that_serves_is_refused() -> None:
    metadata = Metadata(brokers=1)
    metadata.fence(1)

    (code,) = codes([metadata.create("web")])

    assert code == "INVALID_REPLICATION_FACTOR"


def test_topic_that_a_request_has_twice_is_not_created() -> None:
    metadata = Metadata(brokers=1)

    results = metadata.create_all(new("web"), new("logs"), new("web"))

    assert codes(results) == ["INVALID_REQUEST", "NONE", "INVALID_REQUEST"]
    assert list(metadata.machine.image.topics) == ["logs"]


def test_names_that_metrics_cannot_tell_apart_do_not_both_exist() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("a.b")

    results = metadata.create_all(new("a_b"), new("c_d"), new("c.d"), new("ab"))

    assert codes(results) == ["INVALID_TOPIC_EXCEPTION", "NONE", "INVALID_TOPIC_EXCEPTION", "NONE"]


def test_validation_answers_as_creation_would_and_creates_nothing() -> None:
    metadata = Metadata(brokers=1)
    version = metadata.machine.state.version

    results = metadata.create_all(
        new("web", partitions=3), new("web.x"), new("web_x"), validate_only=True
    )

    assert codes(results) == ["NONE", "NONE", "INVALID_TOPIC_EXCEPTION"]
    assert (results[0].topic_id, results[0].partitions) == (None, 3)
    assert metadata.machine.state.version == version


def test_partitions_of_different_topics_start_at_different_brokers() -> None:
    metadata = Metadata(brokers=3)
    metadata.create_all(*(new(f"topic-{number}") for number in range(30)))

    leaders = {topic.partitions[0].leader for topic in metadata.machine.image.topics.values()}

    assert leaders == set(brokers(1, 2, 3))


def test_topic_too_large_for_one_entry_of_the_log_is_refused() -> None:
    metadata = Metadata(brokers=60)

    results = metadata.create_all(new("wide", partitions=9_000, replication_factor=60))

    assert codes(results) == ["INVALID_PARTITIONS"]


def test_request_for_too_many_topics_is_refused_as_a_whole() -> None:
    metadata = Metadata(brokers=1)
    request = CreateTopics(topics=tuple(new(f"t{number}") for number in range(1_001)))

    with pytest.raises(InvalidRequestError, match="about 1001 topics is too large"):
        metadata.controller.decide(request, 0)


def test_request_for_too_many_partitions_is_refused_as_a_whole() -> None:
    metadata = Metadata(brokers=1)
    request = CreateTopics(topics=(new("a", 5_000), new("b", 5_001)))

    with pytest.raises(InvalidRequestError, match="10001 new partitions is too large"):
        metadata.controller.decide(request, 0)


def test_impossible_numbers_do_not_count_towards_the_bound_of_a_request() -> None:
    metadata = Metadata(brokers=1)

    results = metadata.create_all(new("a", 10**9), new("b", -(10**9)), new("c", 2))

    assert codes(results) == ["INVALID_PARTITIONS", "INVALID_PARTITIONS", "NONE"]


# --- Delete ---


def test_deleted_topic_is_gone() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")

    assert codes(metadata.delete("web")) == ["NONE"]

    assert metadata.machine.image.topics == {}
    assert metadata.machine.image.topic_names == {}


def test_topic_created_again_has_another_id_and_none_of_the_old_settings() -> None:
    metadata = Metadata(brokers=1)
    first = metadata.create("web", configs={"retention.ms": "1"})
    metadata.delete("web")

    second = metadata.create("web")

    assert first.topic_id != second.topic_id
    assert metadata.topic("web").configs == {}


def test_unknown_and_repeated_names_are_not_deleted_and_the_others_are() -> None:
    metadata = Metadata(brokers=1)
    metadata.create_all(new("web"), new("logs"))

    results = metadata.delete("nothing", "web", "logs", "logs")

    assert codes(results) == [
        "UNKNOWN_TOPIC_OR_PARTITION",
        "NONE",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
    ]
    assert list(metadata.machine.image.topics) == ["logs"]


def test_what_brokers_keep_for_themselves_is_neither_deleted_nor_enlarged() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("__consumer_offsets")

    assert codes(metadata.delete("__consumer_offsets")) == ["INVALID_TOPIC_EXCEPTION"]
    assert codes([metadata.grow("__consumer_offsets", 2)]) == ["INVALID_TOPIC_EXCEPTION"]


def test_topic_is_deleted_by_its_id() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    metadata.create("app")
    ids = (metadata.topic("web").topic_id, TopicId(UUID(int=1)))

    results = metadata.ask(DeleteTopics(names=("app", "no"), topic_ids=ids))

    assert [(result.name, codes([result])) for result in results] == [
        ("app", ["NONE"]),
        ("no", ["UNKNOWN_TOPIC_OR_PARTITION"]),
        ("web", ["NONE"]),
        ("", ["UNKNOWN_TOPIC_ID"]),
    ]
    assert not metadata.machine.image.topics


def test_topic_that_is_named_by_name_and_by_id_is_not_deleted() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    ids = (metadata.topic("web").topic_id,)

    results = metadata.ask(DeleteTopics(names=("web",), topic_ids=ids))

    assert codes(results) == ["INVALID_REQUEST", "INVALID_REQUEST"]


@pytest.mark.parametrize(("first", "second"), [("a.b", "a_b"), ("a_b", "a.b")])
def test_names_that_metrics_do_not_tell_apart_collide(first: str, second: str) -> None:
    metadata = Metadata(brokers=1)
    metadata.create(first)

    assert codes([metadata.create(second)]) == ["INVALID_TOPIC_EXCEPTION"]


def test_deletion_of_too_many_topics_is_refused_as_a_whole() -> None:
    metadata = Metadata()

    with pytest.raises(InvalidRequestError):
        metadata.controller.decide(DeleteTopics(names=("x",) * 1_001), 0)


# --- Grow ---


def test_new_partitions_leave_the_old_ones_as_they_are() -> None:
    metadata = Metadata(brokers=3)
    metadata.create("web", partitions=2, replication_factor=2)
    before = metadata.topic("web").partitions

    assert metadata.grow("web", 5).error is None

    after = metadata.topic("web").partitions
    assert after[:2] == before
    assert [len(partition.replicas) for partition in after] == [2, 2, 2, 2, 2]


def test_topic_that_grew_is_placed_as_if_it_had_been_created_so() -> None:
    grown, created = Metadata(brokers=3), Metadata(brokers=3)
    grown.create("web", partitions=2, replication_factor=2)
    grown.grow("web", 6)
    created.create("web", partitions=6, replication_factor=2)

    assert grown.topic("web").partitions == created.topic("web").partitions


@pytest.mark.parametrize(
    ("name", "partitions", "code"),
    [
        ("nothing", 9, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("web", 3, "INVALID_PARTITIONS"),
        ("web", 2, "INVALID_PARTITIONS"),
        ("web", PARTITIONS_PER_TOPIC_MAX + 1, "INVALID_PARTITIONS"),
    ],
)
def test_impossible_growth_is_refused(name: str, partitions: int, code: str) -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web", partitions=3)

    assert codes([metadata.grow(name, partitions)]) == [code]
    assert len(metadata.topic("web").partitions) == 3


def test_refusal_to_shrink_says_how_many_there_are() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web", partitions=3)

    assert str(metadata.grow("web", 2).error) == (
        "topic 'web' has 3 partitions already; their number can only be raised, and 2 is not more"
    )


def test_growth_of_a_topic_that_the_request_has_twice_is_refused() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")

    results = metadata.grow_all(("web", 2), ("web", 3))

    assert codes(results) == ["INVALID_REQUEST", "INVALID_REQUEST"]


def test_growth_that_is_only_validated_changes_nothing() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")

    assert metadata.grow("web", 2, validate_only=True).error is None
    assert len(metadata.topic("web").partitions) == 1


def test_growth_by_too_many_partitions_is_refused_as_a_whole() -> None:
    metadata = Metadata(brokers=1)
    metadata.create_all(new("a"), new("b"))

    with pytest.raises(InvalidRequestError, match="10001 new partitions"):
        metadata.grow_all(("a", 10_000), ("b", 3))
