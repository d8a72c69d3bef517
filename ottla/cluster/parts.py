"""What a broker consists of, put together and not yet running.

This and :mod:`ottla.broker` are the two modules that name every concrete class: here is who
knows whom, there in which order it lives and dies.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

import grpc

from ottla import __version__
from ottla.cluster.broker_session import BrokerSession
from ottla.cluster.broker_sessions import BrokerSessionsShell
from ottla.cluster.cluster_administration import BrokerAdministrationService, QuorumState
from ottla.cluster.cluster_description import BrokerClusterService
from ottla.cluster.configs import BrokerConfigsService
from ottla.cluster.controller_client import ControllerClient
from ottla.cluster.controller_driver import ControllerDriver
from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.fetch import BrokerFetchService
from ottla.cluster.flusher import Flusher
from ottla.cluster.follower_streams import FollowerStreams
from ottla.cluster.gate import Gate
from ottla.cluster.grpc.channels import BrokerChannels
from ottla.cluster.grpc.controller_servicer import ControllerServicer
from ottla.cluster.grpc.far_controllers import GrpcFarControllers
from ottla.cluster.grpc.follow_call import dial_leader
from ottla.cluster.grpc.quorum_calls import dial_quorum
from ottla.cluster.grpc.quorum_servicer import QuorumServicer
from ottla.cluster.grpc.replication_servicer import ReplicationServicer
from ottla.cluster.instruments import Instruments
from ottla.cluster.isr_changes import IsrChanges
from ottla.cluster.leader_balance import LeaderBalance
from ottla.cluster.maintenance import Intervals, Maintenance
from ottla.cluster.majority import Majority
from ottla.cluster.membership import Membership
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.offsets import BrokerOffsetsService
from ottla.cluster.partition import PartitionContext, Waiters
from ottla.cluster.partition_settings import PartitionSettings
from ottla.cluster.produce import BrokerProduceService
from ottla.cluster.producer_ids import BrokerProducerIdsService
from ottla.cluster.quorum_handshake import QuorumIdentity
from ottla.cluster.quorum_links import QuorumLinks
from ottla.cluster.raft_driver import RaftDriver
from ottla.cluster.replica_description import ReplicaDescription
from ottla.cluster.replica_fetcher import ReplicaFetcher
from ottla.cluster.replica_manager import ReplicaManager, SettingsOf
from ottla.cluster.services import Services
from ottla.cluster.topics import BrokerTopicsService
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig
from ottla.controller.controller import Controller
from ottla.controller.leaders import imbalanced
from ottla.controller.raft.consensus import RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.sessions import BrokerSessions
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.model.ids import BrokerEpoch, BrokerId, TopicId
from ottla.model.image import ClusterImage
from ottla.runtime.clock import Clock
from ottla.runtime.files import FileSystem
from ottla.runtime.purgatory import Purgatory
from ottla.storage.log_manager import LogManager
from ottla.storage.quorum_voters import METADATA_DIRECTORY
from ottla.storage.uuid_text import uuid_to_text
from ottla.v1.quorum_pb2_grpc import add_QuorumServicer_to_server

SESSION_RECONNECT_GRACE_MS: Final = 150
"""Of a broker whose session broke: a dead one opens no other, a living one does so at once."""

SESSION_TAKEOVER_GRACE_MS: Final = 250
"""Of a broker that a new controller finds without a connection to the quorum."""

READER_THREADS: Final = 4
"""Reads that wait for the disk at the same time: enough for a disk to sort them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerParts:
    """One broker's parts."""

    broker_id: BrokerId
    incarnation_id: bytes
    """Random: this life of the broker."""
    logs: LogManager
    log_thread: ThreadPoolExecutor
    readers: ThreadPoolExecutor
    settings_of: SettingsOf
    flusher: Flusher
    waiters: Waiters
    machine: MetadataStateMachine
    applied: MetadataCache
    """What the metadata log says, carried out here or not yet."""
    metadata: MetadataCache
    """What this broker has carried out."""
    replicas: ReplicaManager
    fetcher: ReplicaFetcher
    raft: RaftDriver
    links: QuorumLinks
    channels: BrokerChannels
    quorum_channels: BrokerChannels
    driver: ControllerDriver
    """The controller, if this broker is it."""
    controller: ControllerClient
    """The controller, wherever it is."""
    far: GrpcFarControllers
    sessions: BrokerSessionsShell
    balance: LeaderBalance
    membership: Membership
    majority: Majority
    isr_changes: IsrChanges
    streams: FollowerStreams
    maintenance: Maintenance
    description: ReplicaDescription
    quorum: QuorumState

    def broker_epoch(self) -> BrokerEpoch:
        """Return the epoch of the present registration; 0 before there is one."""
        return _broker_epoch(self.metadata, self.broker_id)


class MetadataObserver:
    """Passes on what the metadata quorum says."""

    def __init__(self, parts: BrokerParts) -> None:
        self._parts = parts

    def image_applied(self, image: ClusterImage) -> None:
        """See :class:`~ottla.cluster.raft_driver.RaftObserver`."""
        self._parts.applied.publish(image)
        self._parts.links.identity_changed()
        self._parts.replicas.image_applied(image)

    def role_changed(self, change: RoleChanged) -> None:
        """See :class:`~ottla.cluster.raft_driver.RaftObserver`."""
        self._parts.driver.role_changed(change)
        self._parts.controller.role_changed(change)
        self._parts.quorum.role_changed(change)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    """The node of the quorum, what it applies, and the controller: here, and wherever it is."""

    applied: MetadataCache
    cache: MetadataCache
    machine: MetadataStateMachine
    raft: RaftDriver
    links: QuorumLinks
    channels: BrokerChannels
    quorum_channels: BrokerChannels
    driver: ControllerDriver
    client: ControllerClient
    far: GrpcFarControllers


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
    incarnation_id = secrets.token_bytes(16)
    log_thread = ThreadPoolExecutor(1, thread_name_prefix="ottla-logs")
    readers = ThreadPoolExecutor(READER_THREADS, thread_name_prefix="ottla-reader")
    settings_of = partial(_settings, config)
    waiters = Waiters(commits=Purgatory(clock), reads=Purgatory(clock))
    flusher = Flusher(instruments=instruments)
    metadata = _metadata(config, logs, incarnation_id, file_system, clock)
    isr_changes = IsrChanges(
        metadata.client,
        broker_id=broker_id,
        broker_epoch=lambda: _broker_epoch(metadata.cache, broker_id),
    )
    fetcher = ReplicaFetcher(
        broker_id=broker_id,
        incarnation_id=incarnation_id,
        metadata=metadata.cache,
        dial=partial(dial_leader, metadata.channels),
        address_of=lambda broker: config.quorum.address_of(
            broker.broker_id, Address(broker.host, broker.grpc_port)
        ),
        logs=logs,
        directory=directory,
        flusher=flusher,
        clock=clock,
        log_thread=log_thread,
    )
    replicas = ReplicaManager(
        broker_id=broker_id,
        incarnation_id=incarnation_id,
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
        metadata=metadata.cache,
        settings_of=settings_of,
        instruments=instruments,
        log_thread=log_thread,
    )
    parts = BrokerParts(
        broker_id=broker_id,
        incarnation_id=incarnation_id,
        logs=logs,
        log_thread=log_thread,
        readers=readers,
        settings_of=settings_of,
        flusher=flusher,
        waiters=waiters,
        machine=metadata.machine,
        applied=metadata.applied,
        metadata=metadata.cache,
        replicas=replicas,
        fetcher=fetcher,
        raft=metadata.raft,
        links=metadata.links,
        channels=metadata.channels,
        quorum_channels=metadata.quorum_channels,
        driver=metadata.driver,
        controller=metadata.client,
        far=metadata.far,
        sessions=_sessions(config, metadata, clock),
        balance=LeaderBalance(
            controller=metadata.driver,
            metadata=metadata.applied,
            imbalanced=lambda: imbalanced(metadata.machine.state),
            interval_ms=config.replication.balance_check_interval_ms,
        ),
        membership=Membership(
            broker_id=broker_id,
            controller=metadata.client,
            applied=metadata.applied,
            metadata=metadata.cache,
            clock=clock,
        ),
        majority=Majority(
            broker_id=broker_id, voters=config.quorum.ids(broker_id), links=metadata.links
        ),
        isr_changes=isr_changes,
        streams=FollowerStreams(
            broker_id=broker_id, find=replicas.by_topic_id, metadata=metadata.cache, readers=readers
        ),
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
        quorum=QuorumState(
            broker_id=broker_id,
            voters=config.quorum.ids(broker_id),
            links=metadata.links,
            metadata=metadata.cache,
        ),
    )
    return parts


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
        administration=BrokerAdministrationService(parts.controller, parts.quorum),
    )


def between_brokers(parts: BrokerParts) -> Sequence[Callable[[grpc.aio.Server], None]]:
    """Return what adds the services to a server that only other brokers call."""
    return (
        partial(add_QuorumServicer_to_server, QuorumServicer(parts.links)),
        ControllerServicer(parts.driver, parts.sessions, broker_id=parts.broker_id).add_to,
        ReplicationServicer(parts.streams).add_to,
    )


def broker_session(parts: BrokerParts, config: BrokerConfig) -> BrokerSession:
    """Return the session with the controller of the broker's present registration."""
    return BrokerSession(
        broker_id=parts.broker_id,
        broker_epoch=parts.membership.broker_epoch,
        location=parts.controller,
        local=parts.sessions,
        far=parts.far,
        metadata=parts.metadata,
        session_timeout_ms=config.replication.session_timeout_ms,
        answered=parts.membership.answered,
    )


def _settings(
    config: BrokerConfig, topic_configs: Mapping[str, str], image: ClusterImage
) -> PartitionSettings:
    return PartitionSettings.of(
        topic_configs,
        broker_configs=image.settings_of_broker(config.node.node_id, config.values),
        producer_id_expiration_ms=config.storage.producer_id_expiration_ms,
    )


# --- Metadata ---


def _broker_epoch(metadata: MetadataCache, broker_id: BrokerId) -> BrokerEpoch:
    broker = metadata.image.brokers.get(broker_id)
    return BrokerEpoch(0) if broker is None else broker.broker_epoch


def _metadata(
    config: BrokerConfig,
    logs: LogManager,
    incarnation_id: bytes,
    file_system: FileSystem,
    clock: Clock,
) -> _Metadata:
    broker_id = config.node.node_id
    machine = MetadataStateMachine()
    applied, cache = MetadataCache(machine.image), MetadataCache(machine.image)
    raft = RaftDriver(
        start_engine=lambda: _engine(config, machine, links, file_system, clock),
        read_image=lambda: machine.image,
    )
    credentials = _peer_credentials(config)
    channels = BrokerChannels(credentials)
    # Not shared: behind megabytes of records, a heartbeat would come too late.
    quorum_channels = BrokerChannels(credentials)
    links = QuorumLinks(
        node_id=broker_id,
        # A broker that is alone has no address for itself, and needs none.
        voters=config.quorum.voters or {broker_id: config.listeners.grpc},
        incarnation_id=incarnation_id,
        directory_id=logs.meta.directory_id.bytes,
        identity=lambda: QuorumIdentity(
            cluster_id=applied.image.cluster_id or logs.meta.cluster_id,
            voters=applied.image.voters,
        ),
        dial=partial(dial_quorum, quorum_channels),
        receiver=raft,
        draw=random.SystemRandom().random,
    )
    driver = ControllerDriver(
        broker_id=broker_id,
        quorum=raft,
        metadata=applied,
        controller=_controller(config, machine),
        clock=clock,
        client_id=secrets.randbits(63),
        new_cluster_id=lambda: logs.meta.cluster_id or uuid_to_text(uuid4()),
    )
    far = GrpcFarControllers(channels)
    client = ControllerClient(
        broker_id=broker_id,
        local=driver,
        far=far,
        metadata=cache,
        voters=config.quorum.voters,
        present=lambda: links.present,
    )
    return _Metadata(
        applied=applied,
        cache=cache,
        machine=machine,
        raft=raft,
        links=links,
        channels=channels,
        quorum_channels=quorum_channels,
        driver=driver,
        client=client,
        far=far,
    )


def _engine(
    config: BrokerConfig,
    machine: MetadataStateMachine,
    links: QuorumLinks,
    file_system: FileSystem,
    clock: Clock,
) -> RaftEngine:
    return RaftEngine(
        node_id=config.node.node_id,
        voters=config.quorum.ids(config.node.node_id),
        directory=config.storage.log_dir / METADATA_DIRECTORY,
        machine=machine,
        file_system=file_system,
        clock=clock,
        draw=random.SystemRandom().random,
        transport=links,
    )


def _controller(config: BrokerConfig, machine: MetadataStateMachine) -> Controller:
    return Controller(
        machine,
        new_topic_id=lambda: TopicId(uuid4()),
        defaults=TopicDefaults(
            partitions=config.topics.num_partitions,
            replication_factor=config.topics.replication_factor,
            broker_configs=config.values,
        ),
    )


def _sessions(config: BrokerConfig, metadata: _Metadata, clock: Clock) -> BrokerSessionsShell:
    timeout_ms = config.replication.session_timeout_ms
    return BrokerSessionsShell(
        broker_id=config.node.node_id,
        controller=metadata.driver,
        metadata=metadata.applied,
        clock=clock,
        linked=lambda: metadata.links.present,
        new_sessions=lambda: BrokerSessions(
            session_timeout_ms=timeout_ms,
            reconnect_grace_ms=SESSION_RECONNECT_GRACE_MS,
            takeover_grace_ms=SESSION_TAKEOVER_GRACE_MS,
        ),
        session_timeout_ms=timeout_ms,
    )


def _peer_credentials(config: BrokerConfig) -> grpc.ChannelCredentials | None:
    tls = config.tls
    if tls.certificate is None or tls.key is None:
        return None
    from ottla.security.tls import peer_credentials  # noqa: PLC0415 -- few brokers do

    return peer_credentials(certificate=tls.certificate, key=tls.key, ca=tls.ca)
