"""How a cluster is, in figures to be taken in at a glance: what ``ottla cluster status`` says.

Made of three answers of the brokers, which need not be of one moment: the cluster, its topics and
its metadata quorum. Whoever is asked tells what it knows; a broker that is cut off knows old news.

A partition is *offline* while nobody leads it: it can be neither written nor read. One whose leader
cannot open its log is as well, and is counted if that leader is asked, but cannot be listed. A
partition is *under-replicated* while some replica is not in sync; those that a reassignment is only
bringing do not count yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ottla.client.admin_values import (
    BrokerAddress,
    ClusterDescription,
    PartitionDescription,
    QuorumDescription,
    TopicDescription,
)
from ottla.model.ids import NO_BROKER


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatus:
    """One broker."""

    broker_id: int
    address: str
    """Empty for a voter that has never registered."""
    rack: str
    state: str
    """``serving``, ``fenced``, ``stopping``, ``draining``, or ``unknown`` if never registered."""
    leaders: int
    replicas: int
    metadata: str
    """Its part in the metadata quorum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStatus:
    """A partition that is not as it should be."""

    topic: str
    partition: int
    leader: int
    replicas: tuple[int, ...]
    in_sync_replicas: tuple[int, ...]

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumStatus:
    """Who keeps the metadata, as the broker that was asked sees it."""

    leader_id: int
    """-1 while there is none."""
    term: int
    voters: tuple[int, ...]
    linked: tuple[int, ...]
    """The voters that the broker has a connection with, itself included."""
    wiped: tuple[int, ...]
    """The voters that are refused because they have lost their data."""

    @property
    def has_majority(self) -> bool:
        """Whether enough voters are linked to decide anything.

        Without them whoever led decides nothing any more, and what is told of the cluster may be
        old.
        """
        return 2 * len(self.linked) > len(self.voters)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """The cluster."""

    cluster_id: str
    controller_id: int
    """-1 while there is none."""
    brokers: tuple[BrokerStatus, ...]
    topics: int
    partitions: int
    offline_partitions: int
    """As many as are listed, or more."""
    offline: tuple[PartitionStatus, ...]
    under_replicated: tuple[PartitionStatus, ...]
    moving: int
    """Partitions that a reassignment is moving to other brokers."""
    quorum: QuorumStatus

    @property
    def is_available(self) -> bool:
        """Whether everything can be written, read and administrated."""
        has_controller = self.controller_id != NO_BROKER and self.quorum.has_majority
        return has_controller and not self.offline_partitions


def cluster_status(
    cluster: ClusterDescription, topics: Sequence[TopicDescription], quorum: QuorumDescription
) -> ClusterStatus:
    """Put the brokers' answers together."""
    partitions = [(topic.name, each) for topic in topics for each in topic.partitions]
    offline = tuple(_status(*each) for each in partitions if each[1].leader == NO_BROKER)
    under_replicated = tuple(
        _status(name, each)
        for name, each in partitions
        if each.leader != NO_BROKER and _is_under_replicated(each)
    )
    return ClusterStatus(
        cluster_id=cluster.cluster_id,
        controller_id=cluster.controller_id,
        brokers=_brokers(cluster, [each for _, each in partitions], quorum),
        topics=len(topics),
        partitions=len(partitions),
        offline_partitions=max(len(offline), cluster.offline_partitions),
        offline=offline,
        under_replicated=under_replicated,
        moving=sum(bool(p.adding_replicas or p.removing_replicas) for _, p in partitions),
        quorum=QuorumStatus(
            leader_id=quorum.leader_id,
            term=quorum.term,
            voters=tuple(node.broker_id for node in quorum.nodes if node.is_voter),
            linked=tuple(n.broker_id for n in quorum.nodes if n.is_voter and n.is_connected),
            wiped=tuple(node.broker_id for node in quorum.nodes if node.offered_directory_id),
        ),
    )


def _is_under_replicated(partition: PartitionDescription) -> bool:
    wanted = set(partition.replicas) - set(partition.adding_replicas)
    return not wanted <= set(partition.in_sync_replicas)


def _status(topic: str, partition: PartitionDescription) -> PartitionStatus:
    return PartitionStatus(
        topic=topic,
        partition=partition.partition,
        leader=partition.leader,
        replicas=partition.replicas,
        in_sync_replicas=partition.in_sync_replicas,
    )


def _brokers(
    cluster: ClusterDescription,
    partitions: Sequence[PartitionDescription],
    quorum: QuorumDescription,
) -> tuple[BrokerStatus, ...]:
    """Return every broker that is registered or votes, by ascending id."""
    leaders = Counter(partition.leader for partition in partitions)
    replicas = Counter(broker for partition in partitions for broker in partition.replicas)
    registered = {broker.broker_id: broker for broker in cluster.brokers}
    voters = {node.broker_id for node in quorum.nodes if node.is_voter}
    return tuple(
        BrokerStatus(
            broker_id=broker_id,
            address=str(broker.address) if broker else "",
            rack=broker.rack if broker else "",
            state=_state(broker) if broker else "unknown",
            leaders=leaders[broker_id],
            replicas=replicas[broker_id],
            metadata=_part(broker_id, quorum),
        )
        for broker_id in sorted(registered.keys() | voters)
        for broker in [registered.get(broker_id)]
    )


def _state(broker: BrokerAddress) -> str:
    if broker.is_fenced:
        return "fenced"
    if broker.is_shutting_down:
        return "stopping"
    return "draining" if broker.is_draining else "serving"


def _part(broker_id: int, quorum: QuorumDescription) -> str:
    if broker_id == quorum.leader_id:
        return "leader"
    node = next((node for node in quorum.nodes if node.broker_id == broker_id), None)
    if node is None or not node.is_voter:
        return "observer"
    if node.offered_directory_id:
        return "refused: lost its data"
    return "voter" if node.is_connected else "voter, not linked"
