"""Reassignments: other brokers replicate a partition, while it is written and read (KIP-455).

::

    replicas 1 2 3, to be 4 2 1           replicas 4 2 1 3   adding 4   removing 3
    4 has caught up and is in sync        replicas 4 2 1     nobody eligible, 3 forgets it

While a reassignment is under way both the old and the new replicas belong to the partition. It is
complete as soon as all that were added are in sync and those who stay are as many in sync as were
before; the change of the in-sync set that makes it so completes it in one record
(:func:`~ottla.controller.elections.settled`). If the leader is one of those that go, another leads
from then on.

Another target takes the place of one that is under way; no target cancels it. Those who were only
being added leave at once then, unless nobody else is in sync: then it is refused.
"""

from __future__ import annotations

from dataclasses import replace

from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.elections import available_brokers, settled
from ottla.controller.in_sync_sets import check_partition_count
from ottla.controller.leaders import existing_partition
from ottla.controller.requests import PartitionResult, Reassign, Reassignment
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RuleBook
from ottla.model.errors import (
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    NoReassignmentError,
    OttlaError,
)
from ottla.model.image import PartitionImage


def reassign(
    state: MetadataState, request: Reassign, *, rules: RuleBook
) -> Decision[tuple[PartitionResult, ...]]:
    """Decide who is to replicate partitions."""
    check_partition_count(len(request.partitions))
    names = [asked.topic_partition for asked in request.partitions]
    if len(set(names)) != len(names):
        raise InvalidRequestError("the request names a partition twice; name it once")
    available = available_brokers(state.image)
    results: list[PartitionResult] = []
    steps: list[Step] = []
    for asked in request.partitions:
        name = asked.topic_partition
        try:
            before = existing_partition(state, name)
            wanted = _wanted(state, asked, before)
            if request.keeps_replication_factor:
                _check_replication_factor(asked, before)
        except OttlaError as error:
            results.append(PartitionResult(topic_partition=name, error=error))
            continue
        topic = state.image.topics[name.topic]
        after = settled(before, wanted, available=available, rules=rules.of(topic))
        results.append(PartitionResult(topic_partition=name))
        if after is not before:
            steps.append((records.partition_changed(topic.topic_id, name.partition, after),))
    return decided(state, tuple(results), *steps)


def _wanted(state: MetadataState, asked: Reassignment, before: PartitionImage) -> PartitionImage:
    """Return the partition with the replicas that it has while it is reassigned."""
    name = asked.topic_partition
    original = tuple(r for r in before.replicas if r not in before.adding_replicas)
    target = asked.replicas
    if not target:
        if not before.adding_replicas and not before.removing_replicas:
            raise NoReassignmentError(f"{name} is not being reassigned: nothing to cancel")
        target = original
    else:
        _check_target(state, asked, original)
    adding = tuple(r for r in target if r not in original)
    removing = tuple(r for r in original if r not in target)
    replicas = (*target, *removing)
    in_sync = tuple(r for r in replicas if r in before.in_sync_replicas)
    holders = before.in_sync_replicas or before.eligible_leader_replicas
    if holders and not set(holders).intersection(replicas):
        raise InvalidReplicaAssignmentError(
            f"of the replicas of {name} only {list(holders)}, which would go at once, have "
            "everything; wait until another one is in sync"
        )
    return replace(
        before,
        replicas=replicas,
        in_sync_replicas=in_sync,
        adding_replicas=adding,
        removing_replicas=removing,
    )


def _check_replication_factor(asked: Reassignment, before: PartitionImage) -> None:
    present = len(before.replicas) - len(before.adding_replicas)
    if asked.replicas and len(asked.replicas) != present:
        raise InvalidReplicationFactorError(
            f"{asked.topic_partition} has {present} replicas and would have {len(asked.replicas)}; "
            "name as many, or allow the replication factor to change"
        )


def _check_target(state: MetadataState, asked: Reassignment, original: tuple[int, ...]) -> None:
    name, target = asked.topic_partition, asked.replicas
    if len(set(target)) != len(target):
        raise InvalidReplicaAssignmentError(
            f"{list(target)} cannot replicate {name}: a broker is named twice"
        )
    for replica in target:
        broker = state.image.brokers.get(replica)
        if broker is None:
            raise InvalidReplicaAssignmentError(
                f"{list(target)} cannot replicate {name}: broker {replica} is not registered"
            )
        if broker.draining and replica not in original:
            raise InvalidReplicaAssignmentError(
                f"{list(target)} cannot replicate {name}: broker {replica} is draining, and gets "
                "no new replicas"
            )
