"""A name that a leader gave counts while it can be true, and not after the follower failed."""

from __future__ import annotations

import pytest

from ottla.client.cluster_picture import ClusterPicture, PartitionLeader
from ottla.client.read_replicas import DISTRUST_MS, ReadReplicas
from ottla.model.ids import TopicPartition
from ottla.v1 import cluster_pb2

WEB_0 = TopicPartition("web", 0)
LEADER = PartitionLeader(1, 7)


def picture(
    *, leader: int = 1, epoch: int = 7, in_sync: tuple[int, ...] = (1, 2, 3), fenced: int = 0
) -> ClusterPicture:
    """One partition, and three brokers."""
    answer = cluster_pb2.GetMetadataResponse(cluster_id="c")
    for broker_id in (1, 2, 3):
        answer.brokers.add(id=broker_id, host="h", port=1, fenced=broker_id == fenced)
    topic = answer.topics.add(name="web")
    topic.partitions.add(leader=leader, leader_epoch=epoch, in_sync_replicas=in_sync)
    return ClusterPicture().with_metadata(answer, wanted=["web"])


@pytest.fixture
def replicas() -> ReadReplicas:
    """The leader has named broker 2, at time 0."""
    replicas = ReadReplicas(lease_ms=1_000)
    replicas.named(WEB_0, 2, LEADER, 0)
    return replicas


def test_partition_nobody_was_named_for_is_read_from_its_leader() -> None:
    assert ReadReplicas(lease_ms=1_000).follower(WEB_0, picture(), 0) is None


def test_follower_that_was_named_is_read_from_until_the_lease_ends(replicas: ReadReplicas) -> None:
    assert replicas.follower(WEB_0, picture(), 999) == 2
    assert replicas.left_ms(WEB_0, 999) == 1
    assert replicas.follower(WEB_0, picture(), 1_000) is None


def test_another_name_takes_the_place_of_the_first(replicas: ReadReplicas) -> None:
    replicas.named(WEB_0, 3, LEADER, 0)

    assert replicas.follower(WEB_0, picture(), 1) == 3


def test_leader_that_names_nobody_is_read_from(replicas: ReadReplicas) -> None:
    replicas.named(WEB_0, None, LEADER, 0)

    assert replicas.follower(WEB_0, picture(), 1) is None


@pytest.mark.parametrize(
    "now",
    [
        picture(in_sync=(1, 3)),
        picture(fenced=2),
        picture(epoch=8),
        picture(leader=3, epoch=8),
        picture(leader=2, epoch=8),
        picture(leader=-1),
        ClusterPicture(),
    ],
    ids=["not in sync", "fenced", "new epoch", "new leader", "leads", "no leader", "unknown"],
)
def test_name_does_not_count_when_metadata_says_otherwise(
    replicas: ReadReplicas, now: ClusterPicture
) -> None:
    assert replicas.follower(WEB_0, now, 1) is None


def test_follower_that_failed_is_not_read_from_for_a_while(replicas: ReadReplicas) -> None:
    replicas.failed(WEB_0, 2, 1)
    replicas.named(WEB_0, 2, LEADER, DISTRUST_MS)
    assert replicas.follower(WEB_0, picture(), DISTRUST_MS) is None

    replicas.named(WEB_0, 2, LEADER, DISTRUST_MS + 1)

    assert replicas.follower(WEB_0, picture(), DISTRUST_MS + 1) == 2


def test_follower_of_another_leader_is_read_from_as_soon_as_it_is_named_again(
    replicas: ReadReplicas,
) -> None:
    replicas.dropped(WEB_0)
    assert replicas.follower(WEB_0, picture(), 1) is None

    replicas.named(WEB_0, 2, LEADER, 1)

    assert replicas.follower(WEB_0, picture(), 1) == 2


def test_partition_that_is_read_no_more_is_forgotten(replicas: ReadReplicas) -> None:
    replicas.failed(WEB_0, 2, 1)
    replicas.forget(WEB_0)
    replicas.named(WEB_0, 2, LEADER, 1)

    assert replicas.follower(WEB_0, picture(), 1) == 2
