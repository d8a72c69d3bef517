"""A group belongs to the partition that Kafka says."""

from __future__ import annotations

from uuid import UUID

import pytest

from ottla.cluster.group_partitions import group_partition, java_hash_code, partition_number
from ottla.model.ids import TopicId, TopicPartition
from ottla.model.image import ClusterImage, TopicImage
from tests.cluster.world import partition


@pytest.mark.parametrize(
    ("text", "hash_code"),
    [
        ("", 0),
        ("a", 97),
        ("group", 98629247),
        ("payments.v2", -1539522339),
        ("polygenelubricants", -(2**31)),
        ("münchen", 977871981),
        ("\U0001f600", 1772899),
    ],
)
def test_the_hash_is_the_one_of_java(text: str, hash_code: int) -> None:
    assert java_hash_code(text) == hash_code


def test_a_negative_hash_counts_without_its_sign() -> None:
    assert partition_number("payments.v2", 50) == 1539522339 % 50


def test_the_hash_that_has_no_absolute_value_means_the_first_partition() -> None:
    assert partition_number("polygenelubricants", 50) == 0


def test_without_the_topic_a_group_has_no_partition() -> None:
    assert group_partition("group", ClusterImage(cluster_id="c" * 22)) is None


def test_the_topic_says_how_many_partitions_there_are() -> None:
    topic = TopicImage(
        topic_id=TopicId(UUID(int=1)),
        name="__consumer_offsets",
        partitions=(partition(), partition(), partition()),
        configs={},
    )
    image = ClusterImage(cluster_id="c" * 22, topics={topic.name: topic})
    assert group_partition("group", image) == TopicPartition(topic.name, 98629247 % 3)
