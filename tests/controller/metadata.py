"""A controller and its metadata log in memory, spoken to in plain numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from ottla.controller import records
from ottla.controller.controller import Controller
from ottla.controller.decisions import Decision, decided
from ottla.controller.records import AnswerOutcome, MetadataAnswer, encode_election
from ottla.controller.requests import (
    AllocateProducerIds,
    AlterPartition,
    AlterPartitions,
    AlterTopicConfigs,
    Asks,
    BeginShutdown,
    ConfigChange,
    ConfigChanges,
    CreatedTopic,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    EstablishCluster,
    FenceBroker,
    NewPartitions,
    NewTopic,
    PartitionResult,
    ProducerIdBlock,
    ProposedMember,
    Reassign,
    Reassignment,
    RegisterBroker,
    SetDraining,
    TopicResult,
    UnfenceBroker,
)
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.model.ids import (
    BrokerEpoch,
    BrokerId,
    ControllerEpoch,
    LeaderEpoch,
    MetadataOffset,
    PartitionEpoch,
    TopicId,
    TopicPartition,
)
from ottla.model.image import BrokerImage, BrokerListener, PartitionImage, TopicImage

CLUSTER_ID = "cluster-of-the-tests"
CLIENT_ID = 77

Answer = TypeVar("Answer")


class Metadata:
    """One node that is the controller of a cluster and alone in its quorum."""

    def __init__(
        self, *, brokers: int = 0, defaults: TopicDefaults | None = None, epoch: int = 1
    ) -> None:
        self.log: list[bytes] = []
        self.machine = MetadataStateMachine()
        self.controller = Controller(
            self.machine, new_topic_id=self._new_topic_id, defaults=defaults or TopicDefaults()
        )
        self._topic_ids = 0
        self._sequence = 0
        self.elect(broker=1, epoch=epoch)
        self.ask(EstablishCluster(cluster_id=CLUSTER_ID))
        for broker in range(1, brokers + 1):
            self.start(broker)

    def _new_topic_id(self) -> TopicId:
        # Spread over all bytes of the id, as random ones are.
        self._topic_ids += 1
        return TopicId(UUID(int=self._topic_ids * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))

    # --- The log ---

    def append(self, entry: bytes) -> MetadataAnswer:
        self.log.append(entry)
        return MetadataAnswer.decode(self.machine.apply(MetadataOffset(len(self.log)), entry))

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def elect(self, *, broker: int, epoch: int) -> MetadataAnswer:
        return self.append(election(broker=broker, epoch=epoch, sequence=self.next_sequence()))

    def entries(self, decision: Decision[object]) -> list[bytes]:
        entries = decision.entries(client_id=CLIENT_ID, first_sequence=self._sequence + 1)
        self._sequence += len(entries)
        return entries

    def carry_out(self, decision: Decision[object]) -> None:
        for entry in self.entries(decision):
            assert self.append(entry).outcome is AnswerOutcome.APPLIED

    def ask(self, request: Asks[Answer]) -> Answer:
        """Decide, carry out, answer."""
        decision = self.controller.decide(request, 0)
        self.carry_out(decision)
        return decision.response

    # --- Brokers ---

    def register(
        self,
        broker: int,
        *,
        incarnation: int = 1,
        rack: str = "",
        host: str = "",
        clean_shutdown: bool = False,
        directory: int = 0,
        voter: bool = False,
        listeners: tuple[BrokerListener, ...] = (),
    ) -> int:
        request = registration(
            broker,
            incarnation=incarnation,
            rack=rack,
            host=host,
            clean_shutdown=clean_shutdown,
            directory=directory,
            voter=voter,
            listeners=listeners,
        )
        return self.ask(request)

    def start(
        self,
        broker: int,
        *,
        incarnation: int = 1,
        rack: str = "",
        host: str = "",
        clean_shutdown: bool = False,
        directory: int = 0,
    ) -> None:
        self.register(
            broker,
            incarnation=incarnation,
            rack=rack,
            host=host,
            clean_shutdown=clean_shutdown,
            directory=directory,
        )
        self.unfence(broker)

    def fence(self, *brokers: int) -> None:
        for broker in brokers:
            epoch = self.epoch_of(broker)
            self.ask(FenceBroker(broker_id=BrokerId(broker), broker_epoch=epoch))

    def unfence(self, *brokers: int) -> None:
        for broker in brokers:
            epoch = self.epoch_of(broker)
            self.ask(UnfenceBroker(broker_id=BrokerId(broker), broker_epoch=epoch))

    def begin_shutdown(self, broker: int) -> int:
        epoch = self.epoch_of(broker)
        return self.ask(BeginShutdown(broker_id=BrokerId(broker), broker_epoch=epoch))

    def drain(self, broker: int, *, draining: bool = True) -> None:
        self.ask(SetDraining(broker_id=BrokerId(broker), draining=draining))

    def epoch_of(self, broker: int) -> BrokerEpoch:
        return self.broker(broker).broker_epoch

    def broker(self, broker: int) -> BrokerImage:
        return self.machine.image.brokers[BrokerId(broker)]

    def allocate(self, broker: int) -> ProducerIdBlock:
        request = AllocateProducerIds(
            broker_id=BrokerId(broker), broker_epoch=self.epoch_of(broker)
        )
        decision = self.controller.decide(request, 0)
        self.carry_out(decision)
        return decision.response

    # --- Topics ---

    def create(
        self,
        name: str,
        *,
        partitions: int | None = None,
        replication_factor: int | None = None,
        configs: Mapping[str, str] | None = None,
    ) -> CreatedTopic:
        topic = NewTopic(
            name=name,
            partitions=partitions,
            replication_factor=replication_factor,
            configs=configs or {},
        )
        (result,) = self.create_all(topic)
        return result

    def create_all(
        self, *topics: NewTopic, validate_only: bool = False
    ) -> tuple[CreatedTopic, ...]:
        request = CreateTopics(topics=topics, validate_only=validate_only)
        decision = self.controller.decide(request, 0)
        self.carry_out(decision)
        return decision.response

    def delete(self, *names: str) -> tuple[TopicResult, ...]:
        decision = self.controller.decide(DeleteTopics(names=names), 0)
        self.carry_out(decision)
        return decision.response

    def grow(self, name: str, partitions: int, *, validate_only: bool = False) -> TopicResult:
        (result,) = self.grow_all((name, partitions), validate_only=validate_only)
        return result

    def grow_all(
        self, *topics: tuple[str, int], validate_only: bool = False
    ) -> tuple[TopicResult, ...]:
        wanted = tuple(NewPartitions(name=name, partitions=count) for name, count in topics)
        request = CreatePartitions(topics=wanted, validate_only=validate_only)
        decision = self.controller.decide(request, 0)
        self.carry_out(decision)
        return decision.response

    def alter(self, name: str, *changes: ConfigChange, validate_only: bool = False) -> TopicResult:
        (result,) = self.alter_all(
            ConfigChanges(name=name, changes=changes), validate_only=validate_only
        )
        return result

    def alter_all(
        self, *topics: ConfigChanges, validate_only: bool = False
    ) -> tuple[TopicResult, ...]:
        request = AlterTopicConfigs(topics=topics, validate_only=validate_only)
        decision = self.controller.decide(request, 0)
        self.carry_out(decision)
        return decision.response

    # --- Partitions ---

    def propose(self, name: str, *isr: int, number: int = 0) -> str:
        """Have the leader propose an in-sync set of brokers as they are; return the error."""
        return self.ask_leader(name, self.proposal(name, *isr, number=number))

    def ask_leader(self, name: str, *proposals: AlterPartition) -> str:
        leader = self.partition(name, proposals[0].partition).leader
        request = AlterPartitions(
            broker_id=leader, broker_epoch=self.epoch_of(leader), partitions=proposals
        )
        return " ".join(codes(self.ask(request)))

    def proposal(self, name: str, *isr: int, number: int = 0) -> AlterPartition:
        partition = self.partition(name, number)
        return AlterPartition(
            topic_id=self.topic(name).topic_id,
            partition=number,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            isr=tuple(ProposedMember(BrokerId(b), self.epoch_of(b)) for b in isr),
        )

    def reassign(self, name: str, *replicas: int, number: int = 0) -> str:
        asked = Reassignment(
            topic_partition=TopicPartition(name, number), replicas=brokers(*replicas)
        )
        return " ".join(codes(self.ask(Reassign(partitions=(asked,)))))

    def elect_leader(self, name: str, *, number: int = 0, unclean: bool = False) -> str:
        request = ElectLeaders(partitions=(TopicPartition(name, number),), unclean=unclean)
        return " ".join(codes(self.ask(request)))

    def move(self, name: str, *replicas: int, number: int = 0) -> None:
        """Put a partition on just these brokers, all in sync, led by the first."""
        before = self.partition(name, number)
        after = dataclasses.replace(
            before,
            replicas=brokers(*replicas),
            in_sync_replicas=brokers(*replicas),
            eligible_leader_replicas=(),
            leader=BrokerId(replicas[0]),
            leader_epoch=LeaderEpoch(before.leader_epoch + 1),
            partition_epoch=PartitionEpoch(before.partition_epoch + 1),
        )
        topic_id = self.topic(name).topic_id
        step = (records.partition_changed(topic_id, number, after),)
        self.carry_out(decided(self.machine.state, None, step))

    def topic(self, name: str) -> TopicImage:
        return self.machine.image.topics[name]

    def partition(self, name: str, number: int = 0) -> PartitionImage:
        partition = self.machine.image.partition(TopicPartition(name, number))
        assert partition is not None
        return partition


def registration(
    broker: int,
    *,
    incarnation: int = 1,
    rack: str = "",
    host: str = "",
    clean_shutdown: bool = False,
    cluster_id: str = CLUSTER_ID,
    directory: int = 0,
    voter: bool = False,
    listeners: tuple[BrokerListener, ...] = (),
) -> RegisterBroker:
    """Directory 0 is that of a broker which does not say."""
    return RegisterBroker(
        cluster_id=cluster_id,
        broker_id=BrokerId(broker),
        incarnation_id=incarnation.to_bytes(16, "big"),
        host=host or f"host-{broker}",
        grpc_port=7092,
        rack=rack,
        clean_shutdown=clean_shutdown,
        directory_id=directory_id(directory) if directory else b"",
        voter=voter,
        listeners=listeners,
    )


def directory_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def election(*, broker: int, epoch: int, sequence: int, client_id: int = CLIENT_ID) -> bytes:
    return encode_election(
        BrokerId(broker), ControllerEpoch(epoch), client_id=client_id, sequence=sequence
    )


def brokers(*ids: int) -> tuple[BrokerId, ...]:
    return tuple(BrokerId(broker) for broker in ids)


def codes(results: Sequence[CreatedTopic | TopicResult | PartitionResult]) -> list[str]:
    return [result.error.name if result.error else "NONE" for result in results]
