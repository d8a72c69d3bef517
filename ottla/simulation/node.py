"""A simulated broker: the machine it runs on, and one life of its process.

A :class:`BrokerMachine` has a disk and survives everything but being wiped. A
:class:`BrokerProcess` is one life: the real engine, metadata machine, controller, sessions, logs,
leaders and followers, wired as :mod:`ottla.broker` wires them, and driven by events, not by a loop.

Ways to die: *killed* (memory is gone, and by the seed what was not synced with it), *crashed* in
the middle of an operation of the disk, *stopped* in good order, or *failed*, because the disk did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from ottla.controller.controller import Controller
from ottla.controller.raft.consensus import RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.raft.fatal import NodeStoppedError
from ottla.controller.raft.messages import Message
from ottla.controller.raft.settings import RaftSettings
from ottla.controller.requests import EstablishCluster, RegisterBroker
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import (
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OttlaError,
    StorageError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, MetadataOffset, Offset, TopicId
from ottla.model.image import ClusterImage
from ottla.record.batch import split_batches
from ottla.replication import follower as following
from ottla.replication import leader as leading
from ottla.replication.follower import PartitionFollower
from ottla.replication.leader import PartitionLeader
from ottla.runtime.files import FileSystem
from ottla.simulation.controller_client import ControllerClient, IsrProposals
from ottla.simulation.controller_shell import ControllerShell
from ottla.simulation.conversation import (
    FOLLOW,
    QUORUM,
    SESSION,
    AskController,
    AskMetadata,
    Deleted,
    Fetch,
    Fetched,
    FollowerIdentity,
    Produce,
)
from ottla.simulation.disk import SimulatedCrash, SimulatedDisk
from ottla.simulation.follower_calls import FollowerCalls
from ottla.simulation.hosting import Hosting, topic_id_of
from ottla.simulation.leader_calls import LeaderCalls
from ottla.simulation.membership import Membership, SessionIdentity
from ottla.simulation.network import LinkEnd, Network
from ottla.simulation.process import Process, ProcessClock
from ottla.simulation.quorum import QuorumNode
from ottla.simulation.replica import Replica
from ottla.simulation.session_watch import SessionWatch
from ottla.simulation.watcher import Watcher
from ottla.simulation.world import Action, Violation, World
from ottla.storage.log_manager import LogManager

DATA: Final = Path("/data")
CHECKPOINT_INTERVAL_MS: Final = 2_500
SYNC_MIN_MS: Final = 1
SYNC_MAX_MS: Final = 5
FETCH_BYTES_MAX: Final = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What all brokers of a world have in common."""

    voters: frozenset[BrokerId]
    raft: RaftSettings
    session_timeout_ms: int
    replica_lag_time_max_ms: int
    segment_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machinery:
    """The parts whose places planted faults take."""

    leader: type[PartitionLeader] = PartitionLeader
    follower: type[PartitionFollower] = PartitionFollower
    engine: type[RaftEngine] = RaftEngine
    leader_calls: type[LeaderCalls] = LeaderCalls


class BrokerMachine:
    """What a broker runs on."""

    def __init__(
        self,
        world: World,
        network: Network,
        number: int,
        *,
        settings: ClusterSettings,
        machinery: Machinery,
        watcher: Watcher,
    ) -> None:
        """Have an empty disk, and nothing running."""
        self.world: Final = world
        self.network: Final = network
        self.id: Final = BrokerId(number)
        self.settings: Final = settings
        self.machinery: Final = machinery
        self.watcher: Final = watcher
        self.disk = self._new_disk()
        self.disk_slow_ms = 0
        self.wall_offset_ms = 0
        self.directory_id = b""
        """Of the data directory on its disk, once a broker has claimed it."""
        self.keeps_page_cache = False
        """Whether a kill leaves what was written, synced or not, as that of a process does."""
        self.disk_was_hurt = False
        """Whether the disk was made to fail, so that a broker may stop because of it."""
        self.process: BrokerProcess | None = None
        self.eavesdrop: Callable[[BrokerMachine, BrokerId, Message], None] | None = None
        """Told what its node says to the others of the quorum, for a nemesis that waits for it."""
        self.notice_proposal: Callable[[BrokerMachine], None] | None = None
        """Told when it proposes an in-sync set, likewise."""

    def __repr__(self) -> str:
        return f"<BrokerMachine {self.id} {self.process}>"

    def start(self) -> None:
        """Start a broker on it."""
        assert self.process is None
        rate = 1.0 + (self.world.random.random() - 0.5) / 5
        clock = ProcessClock(self.world, rate=rate, wall_offset_ms=self.wall_offset_ms)
        self.process = BrokerProcess(self, clock)
        self.process.perform(self.process.start)

    def kill(self, *, power: bool) -> None:
        """End the broker at once; with ``power``, the machine goes off.

        What was not synced may be lost in either case, unless :attr:`keeps_page_cache`.
        """
        process = self.process
        assert process is not None
        self.process = None
        process.die()
        self.network.died(process, silence=power)
        if self.keeps_page_cache or (not power and self.world.chance(1 / 2)):
            self.disk.settle()  # what a killed process wrote is in the page cache
        self.disk.crash()

    def stop(self) -> None:
        """Let the broker stop in good order."""
        if self.process is not None:
            self.process.run("stop", self.process.stop)

    def stopped(self, process: BrokerProcess) -> None:
        """Note that the broker ended by itself."""
        if self.process is process:
            self.process = None
            process.die()
            self.network.died(process, silence=False)

    def failed(self, process: BrokerProcess, reason: str) -> None:
        """Note that the broker cannot go on."""
        if not self.disk_was_hurt:
            raise Violation("BrokerKeepsRunning", f"broker {self.id} failed: {reason}")
        process.note(f"failed: {reason}")
        if self.process is process:
            self.kill(power=False)

    def wipe(self) -> None:
        """Put in an empty disk."""
        assert self.process is None
        self.disk = self._new_disk()

    def _new_disk(self) -> SimulatedDisk:
        return SimulatedDisk(seed=self.world.random.getrandbits(32))


class BrokerProcess(Process):
    """One life of a broker; also what its replicas need of it."""

    def __init__(self, machine: BrokerMachine, clock: ProcessClock) -> None:
        """Wire it; nothing runs before :meth:`start`."""
        super().__init__(machine.world, machine.id, f"broker {machine.id}", clock)
        self.machine: Final = machine
        self.network: Final = machine.network
        self.watcher: Watcher = machine.watcher
        self.leader_class = machine.machinery.leader
        self.follower_class = machine.machinery.follower
        self.process: Process = self
        random = machine.world.random
        self._incarnation_id = random.randbytes(16)
        self.image = ClusterImage(cluster_id="")
        """The newest that was carried out."""
        self._seen: ClusterImage | None = None
        """The newest that was applied."""
        self.started = False
        """Whether it is wired, so that it can be asked."""
        self._stopping = False
        self._logs_opened = False
        self.metadata = WatchedMetadata(machine.id, machine.watcher)
        self._file_system: FileSystem = machine.disk
        self.shell = ControllerShell(
            broker_id=machine.id,
            controller=Controller(
                self.metadata,
                new_topic_id=lambda: TopicId(UUID(int=random.getrandbits(128))),
                defaults=TopicDefaults(),
            ),
            wall_ms=clock.wall_ms,
            client_id=random.getrandbits(63),
            became_active=self._became_controller,
        )

    # --- Life ---

    def start(self) -> None:
        """Claim the directory, open the metadata log, and go on when the cluster is known."""
        machine = self.machine
        self.note("starts")
        logs = LogManager.claim(
            DATA,
            file_system=self._file_system,
            cluster_id=None,
            node_id=machine.id,
            new_directory_id=UUID(int=self.world.random.getrandbits(128)),
        )
        self._logs = logs
        machine.directory_id = logs.meta.directory_id.bytes
        self.quorum = QuorumNode(
            self,
            self.network,
            voters=machine.settings.voters,
            file_system=self._file_system,
            machine=self.metadata,
            settings=machine.settings.raft,
            engine_class=machine.machinery.engine,
            role_changed=self._role_changed,
            ticked=self._ticked,
            disk_delay_ms=self._tick_delay_ms,
            said=self._said,
            admits=self._admits,
        )
        self.shell.connect(self.quorum)
        self.client = ControllerClient(
            self, self.network, self.shell, lambda: self.quorum.engine.leader
        )
        self.sessions = SessionWatch(
            self,
            self.shell,
            session_timeout_ms=machine.settings.session_timeout_ms,
            linked=lambda: self.quorum.present,
        )
        self.membership = Membership(
            self,
            self.network,
            self.client,
            session_timeout_ms=machine.settings.session_timeout_ms,
            image=lambda: self.image,
        )
        self.hosting = Hosting(
            self,
            logs,
            incarnation_id=self._incarnation_id,
            replica_lag_time_max_ms=machine.settings.replica_lag_time_max_ms,
            segment_bytes=machine.settings.segment_bytes,
            carried_out=self._carried_out,
        )
        self.replicas = self.hosting.replicas
        self.follower_calls = FollowerCalls(self, self.network, self.replicas, self._epoch)
        self.leader_calls = machine.machinery.leader_calls(self, self.replicas)
        self.hosting.connect(self.follower_calls)
        self.isr = IsrProposals(
            self,
            self.client,
            broker_epoch=self._epoch,
            topic_id=lambda replica: topic_id_of(self.image, replica),
        )
        self.started = True
        self.network.listen(self, self)
        self.quorum.start()

    def perform(self, action: Action) -> None:
        """Do something; the disk may fail, or the power, in the midst of it."""
        try:
            action()
        except SimulatedCrash:
            self.note("crashes in the middle of a write")
            self.machine.kill(power=True)
        except (StorageError, NodeStoppedError) as error:
            if isinstance(error.__context__, Violation):
                raise error.__context__ from None
            self.machine.failed(self, str(error))

    def stop(self) -> None:
        """Hand over, close everything, and end."""
        if not self._stopping:
            self._stopping = True
            self.note("stops")
            self.membership.begin_shutdown(self._close)

    def _close(self) -> None:
        epoch = self.membership.broker_epoch
        high_watermarks = self.hosting.high_watermarks()
        self.hosting.close()
        if self._logs_opened:
            self._logs.close(high_watermarks, broker_epoch=epoch)
        else:
            self._logs.abandon()
        self.shell.close()
        self.quorum.engine.close()
        self.note("stopped")
        self.machine.stopped(self)

    # --- The metadata ---

    def _role_changed(self, change: RoleChanged) -> None:
        self.note(f"{change.role.value} in term {change.term}, leader {change.leader}")
        self.watcher.raft_role(self.machine.id, change)
        self.shell.role_changed(change)

    def _admits(self, peer: Process) -> bool:
        assert isinstance(peer, BrokerProcess)
        ours, theirs = self.metadata.image, peer.metadata.image
        directory_id = peer.machine.directory_id
        if ours.voters.get(peer.machine.id) in (None, directory_id):
            return True
        # It may have been readmitted while we were away: whoever is behind does not judge.
        was_readmitted = theirs.voters.get(peer.machine.id) == directory_id
        return was_readmitted and theirs.metadata_offset >= ours.metadata_offset

    def _said(self, peer: BrokerId, message: Message) -> None:
        if self.machine.eavesdrop is not None:
            self.machine.eavesdrop(self.machine, peer, message)

    def _became_controller(self) -> None:
        self.note("is the controller")
        self.world.counts["controllers"] += 1
        if not self.metadata.image.cluster_id:
            self.shell.submit(EstablishCluster(cluster_id="simulated"), lambda _result: None)
        self.sessions.took_over(self.metadata.image)

    def _ticked(self) -> None:
        image = self.metadata.image
        if image is self._seen or not image.cluster_id:
            return
        self._seen = image
        self.sessions.image_applied(image)
        if self._logs_opened:
            self.hosting.image_applied(image)
        else:
            self._logs_opened = True
            self._logs.join_cluster(image.cluster_id)
            clean = self.hosting.open(image)
            self.image = image
            self._register(clean=clean)
            delay_ms = self.world.between(1, CHECKPOINT_INTERVAL_MS)
            self.after(delay_ms, "checkpoint", self._checkpoint)

    def _register(self, *, clean: bool) -> None:
        request = RegisterBroker(
            cluster_id=self._logs.meta.cluster_id,
            broker_id=self.machine.id,
            incarnation_id=self._incarnation_id,
            host=f"broker{self.machine.id}",
            grpc_port=7092,
            clean_shutdown=clean,
            directory_id=self.machine.directory_id,
            voter=self.machine.id in self.machine.settings.voters,
        )
        self.membership.register(request)

    def _carried_out(self, image: ClusterImage) -> None:
        self.image = image
        self.membership.image_carried_out(image)

    def _checkpoint(self) -> None:
        if not self._stopping:
            self._logs.checkpoint(self.hosting.high_watermarks())
            self.after(CHECKPOINT_INTERVAL_MS, "checkpoint", self._checkpoint)

    def _epoch(self) -> BrokerEpoch:
        assert self.hosting.member is not None, "nobody follows or leads before it is registered"
        return self.hosting.member.broker_epoch

    # --- For replicas ---

    def flush_delay_ms(self) -> int:
        return self.world.between(SYNC_MIN_MS, SYNC_MAX_MS + self.machine.disk_slow_ms)

    def _tick_delay_ms(self) -> int:
        slow_ms = self.machine.disk_slow_ms
        return self.world.between(0, slow_ms // 4) if slow_ms else 0

    def propose_isr(self, replica: Replica, effect: leading.ProposeIsr) -> None:
        members = " ".join(str(member.broker_id) for member in effect.members)
        self.note(f"proposes {members} for {replica.topic_partition}")
        self.isr.propose(replica, effect)
        if self.machine.notice_proposal is not None:
            self.machine.notice_proposal(self.machine)

    def records_changed(self, replica: Replica) -> None:
        self.leader_calls.records_changed(replica)

    def begin_copying(self, replica: Replica, effect: following.Begin) -> None:
        self.follower_calls.begin(replica, effect)

    def acknowledge_copy(self, replica: Replica, effect: following.Acknowledge) -> None:
        self.follower_calls.acknowledge(replica, effect)

    # --- The door ---

    def accept(self, service: str, end: LinkEnd, hello: object) -> bool:
        """Take a link."""
        if service == QUORUM:
            return self.quorum.accept(end, BrokerId(end.peer.process.number))
        if service == SESSION:
            assert isinstance(hello, SessionIdentity)
            return self.sessions.accept(end, hello)
        assert service == FOLLOW, service
        assert isinstance(hello, FollowerIdentity)
        follower = self.metadata.image.brokers.get(hello.broker_id)
        if follower is not None and hello.broker_epoch < follower.broker_epoch:
            return False
        return self.leader_calls.accept(end, hello)

    def answer(self, request: object, respond: Callable[[object], None]) -> None:
        """Serve a call."""
        match request:
            case AskController():
                self.shell.submit(request.request, respond)
            case AskMetadata():
                if self.membership.serving:
                    respond(self.image)
            case Produce():
                self._produce(request, respond)
            case Fetch():
                try:
                    respond(self._fetch(request))
                except OttlaError as error:
                    respond(error)
            case _:
                raise AssertionError(request)

    def _led(self, request: Produce | Fetch) -> Replica:
        replica = self.replicas.get(request.topic_partition)
        if replica is None or replica.leader is None or not self.membership.serving:
            raise NotLeaderOrFollowerError(f"{request.topic_partition} is not led here")
        return replica

    def _produce(self, request: Produce, respond: Callable[[object], None]) -> None:
        base: list[Offset] = []

        def done(error: OttlaError | None) -> None:
            # Called before or after the append has returned its offset.
            self.after(0, "produced", lambda: respond(error or base[0]))

        try:
            replica = self._led(request)
            appended = replica.append(
                split_batches(request.batch),
                acks=request.acks,
                timeout_ms=request.timeout_ms,
                done=done,
            )
        except StorageError:
            raise
        except OttlaError as error:
            respond(error)
        else:
            base.append(appended.base_offset)

    def _fetch(self, request: Fetch) -> Fetched | Deleted:
        replica = self._led(request)
        leader = replica.leader
        assert leader is not None
        high_watermark = leader.served_high_watermark
        if high_watermark is None:
            raise OffsetNotAvailableError("the new leader does not know yet")
        self.watcher.showing(
            self.machine.id, request.topic_partition, leader.leader_epoch, high_watermark
        )
        log = replica.log
        if request.offset < log.log_start_offset:
            return Deleted(log.log_start_offset)
        records = b""
        if request.offset < high_watermark:
            read = log.read(request.offset, max_bytes=FETCH_BYTES_MAX, end_offset=high_watermark)
            assert read is not None
            records = bytes(read.records)
        return Fetched(records, high_watermark, leader.leader_epoch)


class WatchedMetadata(MetadataStateMachine):
    """The metadata machine, with somebody looking on."""

    def __init__(self, broker: BrokerId, watcher: Watcher) -> None:
        """Begin empty."""
        super().__init__(cluster_id="")
        self._broker = broker
        self._watcher = watcher

    def apply(self, index: MetadataOffset, entry: bytes) -> bytes:
        """Apply an entry, and report it."""
        answer = super().apply(index, entry)
        self._watcher.metadata_applied(self._broker, index, entry, self.image)
        return answer
