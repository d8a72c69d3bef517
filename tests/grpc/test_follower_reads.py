"""Where a reader is, and whether it may read from a follower, passes the door both ways."""

from __future__ import annotations

from ottla.cluster.grpc import convert
from ottla.cluster.services import PartitionFetched
from ottla.model.ids import BrokerId, Offset, TopicPartition
from ottla.v1 import log_pb2

WEB_0 = TopicPartition("web", 0)


def result(preferred: BrokerId | None) -> PartitionFetched:
    return PartitionFetched(
        WEB_0, Offset(0), b"", *(Offset(0),) * 4, preferred_read_replica=preferred
    )


def test_rack_is_that_of_all_partitions_of_a_message() -> None:
    asked = log_pb2.FetchPartition(topic="web", from_follower=True)

    (first, second) = convert.to_fetch([asked, log_pb2.FetchPartition(topic="x")], rack="r")

    assert (first.rack, first.from_follower) == ("r", True)
    assert (second.rack, second.from_follower) == ("r", False)


def test_preferred_replica_is_named_if_there_is_one() -> None:
    (named,) = convert.fetched([result(BrokerId(0))]).partitions
    (unnamed,) = convert.fetched([result(None)]).partitions

    assert named.preferred_read_replica == 0
    assert named.HasField("preferred_read_replica")
    assert not unnamed.HasField("preferred_read_replica")
