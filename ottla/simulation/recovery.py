"""When a cluster has recovered, and what must be true then."""

from __future__ import annotations

from collections.abc import Sequence

from ottla.model.ids import TopicPartition
from ottla.model.image import ClusterImage, PartitionImage
from ottla.replication.leader import PartitionLeader
from ottla.simulation.checker import check_partition
from ottla.simulation.clients import SimulatedConsumer
from ottla.simulation.history import History
from ottla.simulation.node import BrokerMachine
from ottla.simulation.replica import Replica
from ottla.simulation.world import Violation


def who_does_not_serve(machines: Sequence[BrokerMachine], image: ClusterImage) -> str | None:
    """Say which broker is not let in; ``None`` if all are."""
    for machine in machines:
        broker = image.brokers.get(machine.id)
        if machine.process is None or broker is None or broker.fenced:
            return f"broker {machine.id} does not serve"
    return None


def what_is_missing(
    machines: Sequence[BrokerMachine],
    image: ClusterImage,
    consumers: Sequence[SimulatedConsumer],
) -> str | None:
    """Say what is not as it was before all faults; ``None`` if everything is."""
    for topic in image.topics.values():
        for number, part in enumerate(topic.partitions):
            partition = TopicPartition(topic.name, number)
            readers = [consumer for consumer in consumers if consumer.partition == partition]
            missing = _missing_of_partition(partition, part, machines, readers)
            if missing is not None:
                return f"{partition}: {missing}"
    applied = {
        machine.id: machine.process.metadata.image.metadata_offset
        for machine in machines
        if machine.process is not None
    }
    if len(set(applied.values())) > 1:
        return f"the metadata logs are applied up to {applied}"
    return None


def _missing_of_partition(
    partition: TopicPartition,
    image: PartitionImage,
    machines: Sequence[BrokerMachine],
    consumers: Sequence[SimulatedConsumer],
) -> str | None:
    if set(image.in_sync_replicas) != set(image.replicas):
        return f"in sync are {image.in_sync_replicas} of {image.replicas}"
    replicas = _replicas(partition, image, machines)
    leader = _leader(replicas, image)
    if leader is None:
        return f"broker {image.leader} does not lead"
    statistics = leader.statistics()
    end_offset = statistics.log_end_offset
    if statistics.high_watermark < end_offset:
        return f"not all is committed: {leader}"
    for replica in replicas:
        if replica.log.log_end_offset != end_offset:
            return f"{replica} does not end at {end_offset}"
    for consumer in consumers:
        if consumer.position < end_offset:
            return f"{consumer.name} has read up to {consumer.position} of {end_offset}"
    return None


def _replicas(
    partition: TopicPartition, image: PartitionImage, machines: Sequence[BrokerMachine]
) -> list[Replica]:
    return [
        machine.process.replicas[partition]
        for machine in machines
        if machine.id in image.replicas
        and machine.process is not None
        and partition in machine.process.replicas
    ]


def _leader(replicas: Sequence[Replica], image: PartitionImage) -> PartitionLeader | None:
    for replica in replicas:
        leader = replica.leader
        if leader is not None and leader.leader_epoch == image.leader_epoch:
            return leader
    return None


def check_everything(
    machines: Sequence[BrokerMachine], partitions: Sequence[TopicPartition], history: History
) -> None:
    """Raise :exc:`Violation` unless replicas, clients and metadata agree on everything."""
    processes = [machine.process for machine in machines if machine.process is not None]
    for partition in partitions:
        logs = [
            process.replicas[partition].log
            for process in processes
            if partition in process.replicas
        ]
        check_partition(partition, history.of(partition), logs)
    if len({process.metadata.snapshot() for process in processes}) > 1:
        raise Violation("MetadataLogMatching", "the brokers' metadata differs")
