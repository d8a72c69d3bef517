"""In-sync sets: what a leader proposes, and what becomes of it (AlterPartition, KIP-497).

The leader of a partition knows who keeps up; the controller alone can put changes of the set and
elections in one order. So the leader proposes the set that it wants, on the partition epoch that
it knows. If the partition has changed since, the proposal is refused, and the leader hears of the
change and thinks again.

A broker that is to join must be electable, and in the life in which the leader saw it catch up
(KIP-903). Otherwise a broker that was restarted, or lost its disk, in between could join by what
its earlier life had. Members stay without being looked at again: when one of them is fenced, or
registers anew, it leaves the set and the partition epoch rises.

A leader proposes for all its partitions together, and each is decided on by itself. The set that
there is may be proposed too: the partition epoch rises, and with that every copy of an earlier
proposal that may still be under way is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ottla.controller import records
from ottla.controller.brokers import registered_broker
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.elections import available_brokers, settled
from ottla.controller.requests import (
    AlterPartition,
    AlterPartitions,
    PartitionResult,
    ProposedMember,
)
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RuleBook
from ottla.model.errors import (
    FencedLeaderEpochError,
    IneligibleReplicaError,
    InvalidRequestError,
    InvalidUpdateVersionError,
    OttlaError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import BrokerId, PartitionEpoch, TopicPartition
from ottla.model.image import BrokerImage, PartitionImage, TopicImage
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX


def alter_partitions(
    state: MetadataState, request: AlterPartitions, *, rules: RuleBook
) -> Decision[tuple[PartitionResult, ...]]:
    """Decide on the in-sync sets that a leader proposes."""
    registered_broker(state, request.broker_id, request.broker_epoch)
    check_partition_count(len(request.partitions))
    counts = Counter((asked.topic_id, asked.partition) for asked in request.partitions)
    image = state.image
    available = available_brokers(image)
    results: list[PartitionResult] = []
    steps: list[Step] = []
    for asked in request.partitions:
        topic_partition = TopicPartition(image.topic_names.get(asked.topic_id, ""), asked.partition)
        try:
            if counts[asked.topic_id, asked.partition] > 1:
                raise InvalidRequestError(f"the request has {topic_partition} more than once")
            topic, before = _find(state, asked)
            _check_proposal(topic_partition, before, asked, leader=request.broker_id)
            _check_newcomers(topic_partition, before, asked.isr, image.brokers)
        except OttlaError as error:
            results.append(PartitionResult(topic_partition=topic_partition, error=error))
            continue
        members = {member.broker_id for member in asked.isr}
        wanted = replace(before, in_sync_replicas=tuple(r for r in before.replicas if r in members))
        after = settled(before, wanted, available=available, rules=rules.of(topic))
        if after is before:
            # Proposing the set that there is withdraws what was proposed before on this epoch.
            after = replace(before, partition_epoch=PartitionEpoch(before.partition_epoch + 1))
        results.append(PartitionResult(topic_partition=topic_partition))
        steps.append((records.partition_changed(topic.topic_id, asked.partition, after),))
    return decided(state, tuple(results), *steps)


def check_partition_count(count: int) -> None:
    """Raise :exc:`InvalidRequestError` if a request is about more partitions than one may be."""
    if count > PARTITIONS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"a request about {count} partitions is too large; ask about at most "
            f"{PARTITIONS_PER_REQUEST_MAX} at a time"
        )


def _find(state: MetadataState, asked: AlterPartition) -> tuple[TopicImage, PartitionImage]:
    name = state.image.topic_names.get(asked.topic_id)
    if name is None:
        raise UnknownTopicIdError(f"there is no topic with id {asked.topic_id}")
    topic = state.image.topics[name]
    if not 0 <= asked.partition < len(topic.partitions):
        raise UnknownTopicOrPartitionError(f"topic {name!r} has no partition {asked.partition}")
    return topic, topic.partitions[asked.partition]


def _check_proposal(
    name: TopicPartition, partition: PartitionImage, asked: AlterPartition, *, leader: BrokerId
) -> None:
    """Check that the leader proposes, for the partition as it is now, something that can be."""
    if partition.leader != leader or partition.leader_epoch != asked.leader_epoch:
        raise FencedLeaderEpochError(
            f"broker {leader} proposes in leader epoch {asked.leader_epoch} of {name}, which "
            f"broker {partition.leader} leads in epoch {partition.leader_epoch}"
        )
    if partition.partition_epoch != asked.partition_epoch:
        raise InvalidUpdateVersionError(
            f"{name} is at partition epoch {partition.partition_epoch}, and the proposal was made "
            f"at {asked.partition_epoch}; make another when that is known"
        )
    members = [member.broker_id for member in asked.isr]
    if len(set(members)) != len(members) or not set(members).issubset(partition.replicas):
        raise InvalidRequestError(
            f"{members} cannot be in sync in {name}: its replicas are {list(partition.replicas)}"
        )
    if leader not in members:
        raise InvalidRequestError(
            f"{members} cannot be in sync in {name} without its leader {leader}"
        )


def _check_newcomers(
    name: TopicPartition,
    partition: PartitionImage,
    proposed: tuple[ProposedMember, ...],
    brokers: Mapping[BrokerId, BrokerImage],
) -> None:
    for member in proposed:
        if member.broker_id in partition.in_sync_replicas:
            continue
        broker = brokers.get(member.broker_id)
        if broker is None or broker.broker_epoch != member.broker_epoch:
            present = "not registered" if broker is None else f"at epoch {broker.broker_epoch}"
            raise IneligibleReplicaError(
                f"broker {member.broker_id} cannot join the in-sync set of {name} with broker "
                f"epoch {member.broker_epoch}: it is {present}"
            )
        if broker.fenced or broker.shutting_down:
            raise IneligibleReplicaError(
                f"broker {member.broker_id} cannot join the in-sync set of {name}: it is "
                f"{'fenced' if broker.fenced else 'shutting down'}"
            )
