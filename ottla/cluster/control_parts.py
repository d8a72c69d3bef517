"""What makes a broker a member of its cluster: metadata, and the controller wherever it is.

A node of the metadata quorum on its thread, the links that join it with others, what it applies;
the controller that this broker is when its node leads, and the way to the one that leads
elsewhere; this broker's membership, and the sessions of others. Put together and not yet running;
see :mod:`ottla.cluster.parts` for the rest of a broker.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import uuid4

import grpc

from ottla.cluster.broker_session import BrokerSession
from ottla.cluster.broker_sessions import BrokerSessionsShell
from ottla.cluster.cluster_administration import QuorumState
from ottla.cluster.controller_client import ControllerClient
from ottla.cluster.controller_driver import ControllerDriver
from ottla.cluster.grpc.channels import BrokerChannels
from ottla.cluster.grpc.far_controllers import GrpcFarControllers
from ottla.cluster.grpc.quorum_calls import dial_quorum
from ottla.cluster.leader_balance import LeaderBalance
from ottla.cluster.lease import Lease
from ottla.cluster.majority import Majority
from ottla.cluster.membership import Membership
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.quorum_handshake import QuorumIdentity
from ottla.cluster.quorum_links import QuorumLinks
from ottla.cluster.raft_driver import RaftDriver
from ottla.config.broker_config import BrokerConfig
from ottla.controller.controller import Controller
from ottla.controller.leaders import imbalanced
from ottla.controller.raft.consensus import RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.sessions import BrokerSessions
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.model.ids import BrokerEpoch, BrokerId, TopicId
from ottla.runtime.clock import Clock
from ottla.runtime.files import FileSystem
from ottla.storage.log_manager import LogManager
from ottla.storage.quorum_voters import METADATA_DIRECTORY
from ottla.storage.uuid_text import uuid_to_text

SESSION_RECONNECT_GRACE_MS: Final = 150
"""Of a broker whose session broke: a dead one opens no other, a living one does so at once."""

SESSION_TAKEOVER_GRACE_MS: Final = 250
"""Of a broker that a new controller finds without a connection to the quorum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlParts:
    """The parts of one broker that deal with the cluster as a whole."""

    broker_id: BrokerId
    incarnation_id: bytes
    """Random: this life of the broker."""
    machine: MetadataStateMachine
    applied: MetadataCache
    """What the metadata log says, carried out here or not yet."""
    metadata: MetadataCache
    """What this broker has carried out."""
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
    lease: Lease
    majority: Majority
    quorum: QuorumState

    def broker_epoch(self) -> BrokerEpoch:
        """Return the epoch of the present registration; 0 before there is one."""
        broker = self.metadata.image.brokers.get(self.broker_id)
        return BrokerEpoch(0) if broker is None else broker.broker_epoch

    def role_changed(self, change: RoleChanged) -> None:
        """Pass on the node's role: the controller here hears of it before those who ask it."""
        self.driver.role_changed(change)
        self.controller.role_changed(change)
        self.quorum.role_changed(change)

    def session(self, config: BrokerConfig) -> BrokerSession:
        """Return the session with the controller of the broker's present registration."""
        return BrokerSession(
            broker_id=self.broker_id,
            broker_epoch=self.membership.broker_epoch,
            location=self.controller,
            local=self.sessions,
            far=self.far,
            metadata=self.metadata,
            session_timeout_ms=config.replication.session_timeout_ms,
            lease=self.lease,
            answered=self.membership.answered,
        )


def wire_control(
    config: BrokerConfig, *, logs: LogManager, file_system: FileSystem, clock: Clock
) -> ControlParts:
    """Put the parts together; on the event loop that will run them.

    Raises :exc:`InvalidConfigError` if the certificates cannot be used.
    """
    broker_id, voters = config.node.node_id, config.quorum.ids(config.node.node_id)
    incarnation_id = secrets.token_bytes(16)
    machine = MetadataStateMachine()
    applied, metadata = MetadataCache(machine.image), MetadataCache(machine.image)
    raft = RaftDriver(
        start_engine=lambda: _engine(config, machine, links, file_system, clock),
        read_image=lambda: machine.image,
    )
    credentials = _peer_credentials(config)
    channels = BrokerChannels(credentials)
    # Not shared: behind megabytes of records, a heartbeat would come too late.
    quorum_channels = BrokerChannels(credentials)
    links = _links(config, logs, incarnation_id, applied, quorum_channels, raft)
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
        metadata=metadata,
        voters=config.quorum.voters,
        present=lambda: links.present,
    )
    return ControlParts(
        broker_id=broker_id,
        incarnation_id=incarnation_id,
        machine=machine,
        applied=applied,
        metadata=metadata,
        raft=raft,
        links=links,
        channels=channels,
        quorum_channels=quorum_channels,
        driver=driver,
        controller=client,
        far=far,
        sessions=_sessions(config, driver, applied, links, clock),
        balance=LeaderBalance(
            controller=driver,
            metadata=applied,
            imbalanced=lambda: imbalanced(machine.state),
            interval_ms=config.replication.balance_check_interval_ms,
        ),
        membership=Membership(
            broker_id=broker_id,
            controller=client,
            applied=applied,
            metadata=metadata,
            clock=clock,
        ),
        lease=Lease(clock, metadata, duration_ms=config.replication.session_timeout_ms),
        majority=Majority(broker_id=broker_id, voters=voters, links=links),
        quorum=QuorumState(broker_id=broker_id, voters=voters, links=links, metadata=metadata),
    )


def _links(  # noqa: PLR0917 -- one caller, right above
    config: BrokerConfig,
    logs: LogManager,
    incarnation_id: bytes,
    applied: MetadataCache,
    channels: BrokerChannels,
    raft: RaftDriver,
) -> QuorumLinks:
    return QuorumLinks(
        node_id=config.node.node_id,
        # A broker that is alone has no address for itself, and needs none.
        voters=config.quorum.voters or {config.node.node_id: config.listeners.grpc},
        incarnation_id=incarnation_id,
        directory_id=logs.meta.directory_id.bytes,
        identity=lambda: QuorumIdentity(
            cluster_id=applied.image.cluster_id or logs.meta.cluster_id,
            voters=applied.image.voters,
            metadata_offset=applied.image.metadata_offset,
        ),
        dial=partial(dial_quorum, channels),
        receiver=raft,
        draw=random.SystemRandom().random,
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


def _sessions(
    config: BrokerConfig,
    driver: ControllerDriver,
    applied: MetadataCache,
    links: QuorumLinks,
    clock: Clock,
) -> BrokerSessionsShell:
    timeout_ms = config.replication.session_timeout_ms
    return BrokerSessionsShell(
        broker_id=config.node.node_id,
        controller=driver,
        metadata=applied,
        clock=clock,
        linked=lambda: links.present,
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
