"""Who leads a partition, and what becomes of it when brokers come and go. Pure functions.

The rules, in order:

1. A leader that is in sync and serves stays. Moving leadership costs every client a round trip.
2. Else the first replica, in the order of preference, that is in sync and serves.
3. Else, if *no* replica is in sync, the first eligible leader replica that serves: it left the
   in-sync set while the set was still large enough, so it holds everything that was committed
   (KIP-966). It is then the whole in-sync set.
4. Else nobody: the partition waits for one of those to return. Electing anyone else would lose
   acknowledged records.

A broker that is fenced leaves the in-sync set, so that writes go on without it -- unless it is
the last member. The set then keeps it: it names the replica that has everything, and an empty
set would not.

Every change raises the partition epoch; a change of leader, to nobody included, also raises the
leader epoch, by which replicas and clients tell a new reign from an old one.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import NamedTuple

from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, PartitionEpoch
from ottla.model.image import PartitionImage


class Election(NamedTuple):
    """Who leads, and the sets that go with it."""

    leader: BrokerId
    in_sync_replicas: tuple[BrokerId, ...]
    eligible_leader_replicas: tuple[BrokerId, ...]


def elect(partition: PartitionImage, *, serving: AbstractSet[BrokerId]) -> Election:
    """Choose the leader of ``partition`` among the brokers that serve; see the rules above."""
    in_sync = partition.in_sync_replicas
    eligible = partition.eligible_leader_replicas
    if partition.leader in in_sync and partition.leader in serving:
        return Election(partition.leader, in_sync, eligible)
    candidates = in_sync or eligible
    for replica in partition.replicas:
        if replica in candidates and replica in serving:
            if in_sync:
                return Election(replica, in_sync, eligible)
            return Election(replica, (replica,), _without(eligible, replica))
    return Election(NO_BROKER, in_sync, eligible)


def after_fencing(
    partition: PartitionImage, broker: BrokerId, *, serving: AbstractSet[BrokerId]
) -> PartitionImage:
    """Return ``partition`` without ``broker`` as leader or, if others are, in sync.

    ``serving`` does not contain ``broker``. The same object means that nothing changes.
    """
    assert broker not in serving, (broker, serving)
    in_sync = _without(partition.in_sync_replicas, broker) or partition.in_sync_replicas
    return _after_election(partition, replace(partition, in_sync_replicas=in_sync), serving)


def after_unfencing(partition: PartitionImage, *, serving: AbstractSet[BrokerId]) -> PartitionImage:
    """Return ``partition`` with a leader, if none of ``serving`` leads it and one of them may.

    The same object means that nothing changes.
    """
    return _after_election(partition, partition, serving)


def _after_election(
    before: PartitionImage, candidate: PartitionImage, serving: AbstractSet[BrokerId]
) -> PartitionImage:
    elected = elect(candidate, serving=serving)
    new_reign = elected.leader != before.leader
    if not new_reign and elected.in_sync_replicas == before.in_sync_replicas:
        return before
    return PartitionImage(
        replicas=before.replicas,
        in_sync_replicas=elected.in_sync_replicas,
        eligible_leader_replicas=elected.eligible_leader_replicas,
        leader=elected.leader,
        leader_epoch=LeaderEpoch(before.leader_epoch + new_reign),
        partition_epoch=PartitionEpoch(before.partition_epoch + 1),
    )


def _without(replicas: tuple[BrokerId, ...], broker: BrokerId) -> tuple[BrokerId, ...]:
    return tuple(replica for replica in replicas if replica != broker)
