"""What a broker consists of, put together and not yet running.

This and :mod:`ottla.broker` are the two modules that name every concrete class: here is who
knows whom, there in which order it lives and dies.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

from ottla import __version__
from ottla.cluster.cluster_description import BrokerClusterService
from ottla.cluster.configs import BrokerConfigsService
from ottla.cluster.controller_driver import ControllerDriver
from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.fetch import BrokerFetchService
from ottla.cluster.flusher import Flusher
from ottla.cluster.gate import Gate
from ottla.cluster.instruments import Instruments
from ottla.cluster.maintenance import Intervals, Maintenance
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.offsets import BrokerOffsetsService
from ottla.cluster.partition import PartitionContext, Waiters
from ottla.cluster.partition_settings import PartitionSettings
from ottla.cluster.produce import BrokerProduceService
from ottla.cluster.producer_ids import BrokerProducerIdsService
from ottla.cluster.raft_driver import RaftDriver
from ottla.cluster.replica_description import ReplicaDescription
from ottla.cluster.replica_manager import ReplicaManager
from ottla.cluster.services import Services
from ottla.cluster.topics import BrokerTopicsService
from ottla.config.broker_config import BrokerConfig
from ottla.controller.controller import Controller
from ottla.controller.raft.consensus import Consensus, RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.raft.transport import NoPeers
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.model.ids import BrokerEpoch, BrokerId, TopicId
from ottla.model.image import ClusterImage
from ottla.runtime.clock import Clock
from ottla.runtime.files import FileSystem
from ottla.runtime.purgatory import Purgatory
from ottla.storage.log_manager import LogManager

METADATA_DIRECTORY: Final = "metadata"
"""In the data directory, beside the partitions."""

READER_THREADS: Final = 4
"""Reads that wait for the disk at the same time: enough for a disk to sort them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerParts:
    """One broker's parts."""

    broker_id: BrokerId
    logs: LogManager
    log_thread: ThreadPoolExecutor
    readers: ThreadPoolExecutor
    settings_of: Callable[[Mapping[str, str]], PartitionSettings]
    flusher: Flusher
    waiters: Waiters
    machine: MetadataStateMachine
    metadata: MetadataCache
    replicas: ReplicaManager
    raft: RaftDriver
    controller: ControllerDriver
    maintenance: Maintenance
    description: ReplicaDescription

    def broker_epoch(self) -> BrokerEpoch:
        """Return the epoch of the present registration; 0 before there is one."""
        broker = self.metadata.image.brokers.get(self.broker_id)
        return BrokerEpoch(0) if broker is None else broker.broker_epoch


class MetadataObserver:
    """Passes on what the metadata quorum says."""

    def __init__(self, parts: BrokerParts) -> None:
        self._parts = parts

    def image_applied(self, image: ClusterImage) -> None:
        """See :class:`~ottla.cluster.raft_driver.RaftObserver`."""
        self._parts.replicas.image_applied(image)

    def role_changed(self, change: RoleChanged) -> None:
        """See :class:`~ottla.cluster.raft_driver.RaftObserver`."""
        self._parts.controller.role_changed(change)


def wire(
    config: BrokerConfig,
    *,
    logs: LogManager,
    directory: DataDirectory,
    file_system: FileSystem,
    clock: Clock,
    instruments: Instruments,
) -> BrokerParts:
    """Put the parts of a broker together; on the event loop that will run them."""
    log_thread = ThreadPoolExecutor(1, thread_name_prefix="ottla-logs")
    settings_of = partial(
        PartitionSettings.of,
        broker_configs=config.values,
        producer_id_expiration_ms=config.storage.producer_id_expiration_ms,
    )
    waiters = Waiters(commits=Purgatory(clock), reads=Purgatory(clock))
    flusher = Flusher(instruments=instruments)
    machine = MetadataStateMachine(cluster_id=logs.meta.cluster_id)
    metadata = MetadataCache(machine.image)
    replicas = ReplicaManager(
        broker_id=config.node.node_id,
        logs=logs,
        context=PartitionContext(
            directory=directory, flusher=flusher, waiters=waiters, clock=clock
        ),
        metadata=metadata,
        settings_of=settings_of,
        instruments=instruments,
        log_thread=log_thread,
    )
    raft = RaftDriver(
        start_engine=partial(_engine, config, machine, file_system, clock),
        read_image=lambda: machine.image,
    )
    return BrokerParts(
        broker_id=config.node.node_id,
        logs=logs,
        log_thread=log_thread,
        readers=ThreadPoolExecutor(READER_THREADS, thread_name_prefix="ottla-reader"),
        settings_of=settings_of,
        flusher=flusher,
        waiters=waiters,
        machine=machine,
        metadata=metadata,
        replicas=replicas,
        raft=raft,
        controller=_controller(config, machine, raft, metadata, clock),
        maintenance=Maintenance(
            replicas=replicas,
            logs=logs,
            directory=directory,
            clock=clock,
            log_thread=log_thread,
            intervals=Intervals(
                retention_check_ms=config.storage.retention_check_interval_ms,
                checkpoint_ms=config.storage.checkpoint_interval_ms,
            ),
        ),
        description=ReplicaDescription(replicas, directory, file_system),
    )


def services(parts: BrokerParts, config: BrokerConfig, *, gate: Gate, clock: Clock) -> Services:
    """Put in front of the parts what a door calls."""
    topics = BrokerTopicsService(parts.controller, parts.metadata, parts.description)
    return Services(
        produce=BrokerProduceService(parts.replicas, commits=parts.waiters.commits, clock=clock),
        fetch=BrokerFetchService(
            parts.replicas,
            reads=parts.waiters.reads,
            readers=parts.readers,
            clock=clock,
            gate=gate,
        ),
        offsets=BrokerOffsetsService(
            parts.replicas, readers=parts.readers, remove_later=parts.maintenance.remove_later
        ),
        producer_ids=BrokerProducerIdsService(
            parts.controller, broker_id=parts.broker_id, broker_epoch=parts.broker_epoch
        ),
        topics=topics,
        configs=BrokerConfigsService(parts.controller, parts.metadata, config),
        cluster=BrokerClusterService(
            parts.metadata,
            topics,
            parts.description,
            broker_id=parts.broker_id,
            version=__version__,
            started_at_ms=clock.wall_ms(),
            auto_create_topics=config.topics.auto_create,
        ),
    )


def _engine(
    config: BrokerConfig, machine: MetadataStateMachine, file_system: FileSystem, clock: Clock
) -> Consensus:
    return RaftEngine(
        node_id=config.node.node_id,
        voters=frozenset({config.node.node_id}),
        directory=config.storage.log_dir / METADATA_DIRECTORY,
        machine=machine,
        file_system=file_system,
        clock=clock,
        draw=random.SystemRandom().random,
        transport=NoPeers(),
    )


def _controller(
    config: BrokerConfig,
    machine: MetadataStateMachine,
    quorum: RaftDriver,
    metadata: MetadataCache,
    clock: Clock,
) -> ControllerDriver:
    return ControllerDriver(
        broker_id=config.node.node_id,
        quorum=quorum,
        metadata=metadata,
        controller=Controller(
            machine,
            new_topic_id=lambda: TopicId(uuid4()),
            defaults=TopicDefaults(
                partitions=config.topics.num_partitions,
                replication_factor=config.topics.replication_factor,
                broker_configs=config.values,
            ),
        ),
        clock=clock,
        client_id=secrets.randbits(63),
    )
