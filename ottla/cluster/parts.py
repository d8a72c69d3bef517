"""What a broker consists of, put together and not yet running.

This and :mod:`ottla.broker` are the two modules that name every concrete class: here is who
knows whom, there in which order it lives and dies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import grpc

from ottla import __version__
from ottla.cluster.client_rates import QuotaWindows
from ottla.cluster.cluster_administration import BrokerAdministrationService
from ottla.cluster.cluster_description import BrokerClusterService
from ottla.cluster.configs import BrokerConfigsService
from ottla.cluster.control_parts import ControlParts, wire_control
from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.fetch import BrokerFetchService
from ottla.cluster.flusher import Flusher
from ottla.cluster.follower_streams import FollowerStreams
from ottla.cluster.gate import Gate
from ottla.cluster.group_log import GroupLogContext
from ottla.cluster.group_parts import groups_service, wire_groups
from ottla.cluster.group_shards import GroupShards
from ottla.cluster.grpc.controller_servicer import ControllerServicer
from ottla.cluster.grpc.follow_call import dial_leader
from ottla.cluster.grpc.quorum_servicer import QuorumServicer
from ottla.cluster.grpc.replication_servicer import ReplicationServicer
from ottla.cluster.instruments import Instruments
from ottla.cluster.isr_changes import IsrChanges
from ottla.cluster.maintenance import Intervals, Maintenance
from ottla.cluster.offsets import BrokerOffsetsService
from ottla.cluster.partition import PartitionContext, Waiters
from ottla.cluster.partition_settings import PartitionSettings
from ottla.cluster.produce import BrokerProduceService
from ottla.cluster.producer_ids import BrokerProducerIdsService
from ottla.cluster.quotas import BrokerQuotasService
from ottla.cluster.read_replicas import ReadReplicas
from ottla.cluster.replica_description import ReplicaDescription
from ottla.cluster.replica_fetcher import ReplicaFetcher
from ottla.cluster.replica_manager import ReplicaManager, SettingsOf
from ottla.cluster.services import Services
from ottla.cluster.topics import BrokerTopicsService
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig, catch_up_rate
from ottla.controller.raft.consensus import RoleChanged
from ottla.model.ids import BrokerId
from ottla.model.image import BrokerImage, ClusterImage
from ottla.runtime.clock import Clock
from ottla.runtime.files import FileSystem
from ottla.runtime.purgatory import Purgatory
from ottla.storage.log_manager import LogManager
from ottla.v1.quorum_pb2_grpc import add_QuorumServicer_to_server

READER_THREADS: Final = 4
"""Reads that wait for the disk at the same time: enough for a disk to sort them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerParts:
    """One broker's parts."""

    broker_id: BrokerId
    control: ControlParts
    logs: LogManager
    log_thread: ThreadPoolExecutor
    readers: ThreadPoolExecutor
    settings_of: SettingsOf
    flusher: Flusher
    waiters: Waiters
    replicas: ReplicaManager
    fetcher: ReplicaFetcher
    isr_changes: IsrChanges
    streams: FollowerStreams
    maintenance: Maintenance
    description: ReplicaDescription
    groups: GroupShards


class MetadataObserver:
    """Passes on what the metadata quorum says."""

    def __init__(self, parts: BrokerParts) -> None:
        self._parts = parts

    def image_applied(self, image: ClusterImage) -> None:
        """See :class:`~ottla.cluster.raft_driver.RaftObserver`."""
        control = self._parts.control
        control.applied.publish(image)
        control.links.identity_changed()
        self._parts.replicas.image_applied(image)

    def role_changed(self, change: RoleChanged) -> None:
        """See :class:`~ottla.cluster.raft_driver.RaftObserver`."""
        self._parts.control.role_changed(change)


class _Storage(NamedTuple):
    """The logs of this broker, and what works on them."""

    logs: LogManager
    directory: DataDirectory
    clock: Clock
    log_thread: ThreadPoolExecutor


def wire(
    config: BrokerConfig,
    *,
    logs: LogManager,
    directory: DataDirectory,
    file_system: FileSystem,
    clock: Clock,
    instruments: Instruments,
) -> BrokerParts:
    """Put the parts of a broker together; on the event loop that will run them.

    Raises :exc:`InvalidConfigError` if the certificates cannot be used.
    """
    broker_id = config.node.node_id
    log_thread = ThreadPoolExecutor(1, thread_name_prefix="ottla-logs")
    readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="ottla-reader")
    settings_of = partial(_settings, config)
    waiters = Waiters(commits=Purgatory(clock), reads=Purgatory(clock))
    flusher = Flusher(instruments=instruments)
    control = wire_control(config, logs=logs, file_system=file_system, clock=clock)
    isr_changes = IsrChanges(
        control.controller, broker_id=broker_id, broker_epoch=control.broker_epoch
    )
    storage = _Storage(logs, directory, clock, log_thread)
    fetcher = _fetcher(config, control, flusher, storage)
    replicas = ReplicaManager(
        broker_id=broker_id,
        incarnation_id=control.incarnation_id,
        logs=logs,
        context=PartitionContext(
            copier=fetcher,
            directory=directory,
            flusher=flusher,
            waiters=waiters,
            clock=clock,
            replica_lag_time_max_ms=config.replication.replica_lag_time_max_ms,
            propose_isr=isr_changes.propose,
            # Late, because the streams want to find what the replica manager hosts.
            records_changed=lambda changed: parts.streams.partition_changed(changed),  # noqa: PLW0108
        ),
        metadata=control.metadata,
        settings_of=settings_of,
        instruments=instruments,
        log_thread=log_thread,
    )
    maintenance = _maintenance(config, replicas, storage)
    parts = BrokerParts(
        broker_id=broker_id,
        control=control,
        logs=logs,
        log_thread=log_thread,
        readers=readers,
        settings_of=settings_of,
        flusher=flusher,
        waiters=waiters,
        replicas=replicas,
        fetcher=fetcher,
        isr_changes=isr_changes,
        streams=_streams(control, replicas, readers),
        maintenance=maintenance,
        description=ReplicaDescription(replicas, directory, file_system),
        groups=wire_groups(
            config,
            metadata=control.metadata,
            partitions=replicas,
            log_context=GroupLogContext(waiters.commits, readers, clock, maintenance.remove_later),
            lease=control.lease,
        ),
    )
    return parts


def _streams(
    control: ControlParts, replicas: ReplicaManager, readers: ThreadPoolExecutor
) -> FollowerStreams:
    return FollowerStreams(
        broker_id=control.broker_id,
        find=replicas.by_topic_id,
        metadata=control.metadata,
        readers=readers,
    )


def _fetcher(
    config: BrokerConfig, control: ControlParts, flusher: Flusher, storage: _Storage
) -> ReplicaFetcher:
    return ReplicaFetcher(
        broker_id=control.broker_id,
        incarnation_id=control.incarnation_id,
        metadata=control.metadata,
        dial=partial(dial_leader, control.channels),
        address_of=partial(_address_of, config),
        logs=storage.logs,
        directory=storage.directory,
        flusher=flusher,
        clock=storage.clock,
        log_thread=storage.log_thread,
        catch_up_rate=lambda: catch_up_rate(
            control.metadata.image.settings_of_broker(config.node.node_id, config.values)
        ),
    )


def _maintenance(config: BrokerConfig, replicas: ReplicaManager, storage: _Storage) -> Maintenance:
    return Maintenance(
        replicas=replicas,
        logs=storage.logs,
        directory=storage.directory,
        clock=storage.clock,
        log_thread=storage.log_thread,
        intervals=Intervals(
            retention_check_ms=config.storage.retention_check_interval_ms,
            checkpoint_ms=config.storage.checkpoint_interval_ms,
        ),
    )


def services(parts: BrokerParts, config: BrokerConfig, *, gate: Gate, clock: Clock) -> Services:
    """Put in front of the parts what a door calls."""
    control = parts.control
    topics = BrokerTopicsService(control.controller, control.metadata, parts.description)
    return Services(
        produce=BrokerProduceService(parts.replicas, commits=parts.waiters.commits, clock=clock),
        fetch=BrokerFetchService(
            parts.replicas,
            reads=parts.waiters.reads,
            readers=parts.readers,
            clock=clock,
            gate=gate,
            replicas=ReadReplicas(control.metadata, broker_id=parts.broker_id),
        ),
        offsets=BrokerOffsetsService(
            parts.replicas, readers=parts.readers, remove_later=parts.maintenance.remove_later
        ),
        producer_ids=BrokerProducerIdsService(
            control.controller,
            broker_id=parts.broker_id,
            broker_epoch=control.broker_epoch,
        ),
        topics=topics,
        configs=BrokerConfigsService(control.controller, control.metadata, config),
        cluster=BrokerClusterService(
            control.metadata,
            topics,
            parts.description,
            broker_id=parts.broker_id,
            version=__version__,
            started_at_ms=clock.wall_ms(),
            auto_create_topics=config.topics.auto_create,
        ),
        administration=BrokerAdministrationService(
            control.controller,
            control.quorum,
            metadata=control.metadata,
            workers=parts.readers,
        ),
        groups=groups_service(
            config, parts.groups, metadata=control.metadata, topics=topics, lease=control.lease
        ),
        quotas=_quotas(config, control, clock),
    )


def _quotas(config: BrokerConfig, control: ControlParts, clock: Clock) -> BrokerQuotasService:
    windows = QuotaWindows(samples=config.quotas.window_count, size_ms=config.quotas.window_ms)
    return BrokerQuotasService(control.metadata, windows=windows, clock=clock)


def between_brokers(parts: BrokerParts) -> Sequence[Callable[[grpc.aio.Server], None]]:
    """Return what adds the services to a server that only other brokers call."""
    control = parts.control
    return (
        partial(add_QuorumServicer_to_server, QuorumServicer(control.links)),
        ControllerServicer(
            parts.control.driver, parts.control.sessions, broker_id=parts.broker_id
        ).add_to,
        ReplicationServicer(parts.streams).add_to,
    )


def _address_of(config: BrokerConfig, broker: BrokerImage) -> Address:
    return config.quorum.address_of(broker.broker_id, Address(broker.host, broker.grpc_port))


def _settings(
    config: BrokerConfig, topic_configs: Mapping[str, str], image: ClusterImage
) -> PartitionSettings:
    return PartitionSettings.of(
        topic_configs,
        broker_configs=image.settings_of_broker(config.node.node_id, config.values),
        producer_id_expiration_ms=config.storage.producer_id_expiration_ms,
    )
