"""Replicas that somebody chose for new partitions: what may be chosen.

Each partition needs as many replicas as the others, on different brokers that are registered, and
one of them that can lead. A broker that is draining gets nothing new, chosen or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from ottla.controller.requests import Assignment
from ottla.model.errors import InvalidReplicaAssignmentError, InvalidRequestError
from ottla.model.ids import BrokerId
from ottla.model.image import ClusterImage


def replicas_of_new_topic(
    image: ClusterImage,
    assignments: Sequence[Assignment],
    *,
    numbers_given: bool,
    electable: AbstractSet[BrokerId],
) -> list[tuple[BrokerId, ...]]:
    """Return the replicas of each partition, as they were chosen for a new topic.

    ``numbers_given``: the request says besides how many partitions or replicas there are to be.

    Raises:
        InvalidRequestError: it does so.
        InvalidReplicaAssignmentError: the choice cannot be.
    """
    if numbers_given:
        raise InvalidRequestError(
            "replicas are named for each partition, and so are numbers of partitions or replicas; "
            "give either (-1 stands for a number that is not given)"
        )
    by_partition = dict(assignments)
    if len(by_partition) != len(assignments):
        raise InvalidReplicaAssignmentError("a partition is named twice; name it once")
    numbers = sorted(by_partition)
    if numbers != list(range(len(numbers))):
        raise InvalidReplicaAssignmentError(
            f"partitions {numbers[:20]} are named; name all from 0 on, without a gap"
        )
    chosen = [by_partition[number] for number in numbers]
    check_replicas(image, chosen, first=0, replication_factor=len(chosen[0]), electable=electable)
    return chosen


def check_replicas(
    image: ClusterImage,
    chosen: Sequence[tuple[BrokerId, ...]],
    *,
    first: int,
    replication_factor: int,
    electable: AbstractSet[BrokerId],
) -> None:
    """Raise :exc:`InvalidReplicaAssignmentError` unless partitions may have these replicas.

    They are numbered from ``first`` on.
    """
    for number, replicas in enumerate(chosen, first):
        reason = _why_not(image, replicas, replication_factor, electable)
        if reason:
            raise InvalidReplicaAssignmentError(
                f"{list(replicas)[:20]} cannot replicate partition {number}: {reason}"
            )


def _why_not(  # noqa: PLR0911 - one a rule
    image: ClusterImage,
    replicas: tuple[BrokerId, ...],
    replication_factor: int,
    electable: AbstractSet[BrokerId],
) -> str:
    if not replicas:
        return "name at least one broker"
    if len(set(replicas)) != len(replicas):
        return "a broker is named twice"
    if len(replicas) != replication_factor:
        return f"the topic's other partitions have {replication_factor} replicas, so name as many"
    unknown = [replica for replica in replicas if replica not in image.brokers]
    if unknown:
        return f"broker {unknown[0]} is not registered"
    draining = [replica for replica in replicas if image.brokers[replica].draining]
    if draining:
        return f"broker {draining[0]} is draining, and gets no new replicas"
    if electable.isdisjoint(replicas):
        return "none of them can lead now; name one that is running"
    return ""
