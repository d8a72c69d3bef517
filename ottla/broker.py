"""One broker, wired from its configuration.

What it consists of is in :mod:`ottla.cluster.parts`; this is how it lives. Starting is a list of
steps, each with what undoes it; stopping is that list in reverse, and a start that fails half way
stops what it had started.

=============  =============================================  ===================================
step           start                                          stop
=============  =============================================  ===================================
HTTP           listen; say "not ready"                        stop listening
Kafka          take the addresses                             let them go
directory      lock it, see whose it is                       close the logs, note a clean stop,
                                                              let the directory go
flusher        start the group-commit thread                  sync what was asked for, end it
gRPC           listen; only other brokers are served          close the port
quorum         recover the metadata log, link with the        end the links, close the metadata
               voters, hear which cluster this is             log
logs           open every log, with recovery if need be       (with the directory)
registration   register with the controller                   (the next start fences)
replicas       carry out the metadata log, which by now       follow it no more
               says at least that we are here
session        be heard from by the controller                be heard from no more
serving        unfence: lead, follow; let requests in, and    have others lead, let none in, wait
               listen for Kafka's protocol                    for what is under way
maintenance    look after the logs                            stop that
=============  =============================================  ===================================

gRPC comes early because the voters talk through it: no broker of three is ready before another
one listens. Clients are refused until the gate opens; on Kafka's listeners, by the kernel.

A broker that cannot go on -- a background task failed, the metadata log cannot be written -- says
so through :meth:`Broker.wait_failed`; whoever runs it ends the process. A failed data directory is
less than that: what is committed can still be read, so the broker stays, has others lead what they
can, and its health says why it should be looked at.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, NamedTuple, NoReturn
from uuid import uuid4

from ottla import __version__
from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.gate import Gate, GateState
from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.server import GrpcServer
from ottla.cluster.instruments import MetricsInstruments
from ottla.cluster.opened_logs import tell_of_log
from ottla.cluster.parts import (
    BrokerParts,
    MetadataObserver,
    between_brokers,
    services,
    wire,
)
from ottla.cluster.services import Services
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig
from ottla.controller.raft.fatal import NodeStoppedError
from ottla.controller.requests import RegisterBroker
from ottla.kafka.apis import all_apis
from ottla.kafka.door import KafkaDoor
from ottla.kafka.instruments import KafkaMetrics
from ottla.metrics.http import HttpServer
from ottla.metrics.registry import BrokerMetrics, BrokerSample
from ottla.model.errors import OttlaError, RequestTimedOutError, RetriableError, StorageError
from ottla.model.image import BrokerListener
from ottla.runtime.clock import Clock
from ottla.runtime.files import FileSystem
from ottla.runtime.logging import Event, Severity, emit
from ottla.runtime.posix import PosixFileSystem
from ottla.runtime.system_clock import SystemClock
from ottla.runtime.tasks import TaskSupervisor
from ottla.storage.log_config import LogConfig
from ottla.storage.log_manager import LogManager
from ottla.storage.quorum_voters import METADATA_DIRECTORY, remember_voters

STARTED = Event("broker.started")
STOPPED = Event("broker.stopped")
FAILED = Event("broker.failed", Severity.ERROR)
LOGS_OPENED = Event("broker.logs_opened")

WAITING_FOR_QUORUM = Event("broker.waiting_for_quorum", Severity.WARNING)

QUORUM_REMINDER_MS: Final = 10_000
"""A broker that starts waits for a majority of the voters as long as it takes, and says so."""

STOP_GRACE_MS: Final = 5_000
"""For requests under way when the broker stops: many syncs of a slow disk."""

STOP_TOGETHER_GRACE_MS: Final = 1_000
"""The same when all brokers stop: what is not done by then waits for one that has stopped."""

CALLS_END_GRACE_MS: Final = 500
"""For calls that have been ended here to be ended there; cutting them off looks like a failure."""

LEAVE_TIMEOUT_MS: Final = 5_000
"""For others to take over what the broker leads: several elections of the quorum."""

TASKS_STOP_MS: Final = 5_000


class BrokerAddresses(NamedTuple):
    """Where a broker is to be found."""

    grpc: Address
    """Where it listens."""
    advertised: Address
    """Where clients are told to connect."""
    http: Address
    kafka: Mapping[str, Address]
    """Where it listens for Kafka's protocol, by the name of the listener."""


class BrokerFailedError(OttlaError):
    """A part of the broker ended that it cannot do without."""


class Broker:
    """One broker, started once and stopped once, on the event loop that makes it."""

    def __init__(
        self,
        config: BrokerConfig,
        *,
        file_system: FileSystem | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; the file system and the clock are the machine's if none are given."""
        self._config = config
        self._file_system = file_system or PosixFileSystem(sync=not config.storage.ephemeral)
        self._clock = clock or SystemClock()
        self._gate = Gate()
        self._metrics = BrokerMetrics(version=__version__, node_id=config.node.node_id)
        self._instruments = MetricsInstruments(self._metrics)
        self._calls = Calls(gate=self._gate, instruments=self._instruments)
        self._disk_failed = asyncio.Event()
        self._directory = DataDirectory(config.storage.log_dir, failed=self._directory_failed)
        self._tasks = TaskSupervisor(self._fail)
        self._undo = AsyncExitStack()
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._logs_are_open = False
        self._hands_over = True
        self._addresses: BrokerAddresses | None = None
        self._grpc: GrpcServer | None = None
        self._kafka: KafkaDoor | None = None

    def __repr__(self) -> str:
        return f"<Broker {self._config.node.node_id} {self._gate.state.value} {self._addresses}>"

    @property
    def addresses(self) -> BrokerAddresses:
        """Where it is to be found, once it has started."""
        assert self._addresses is not None, "not started"
        return self._addresses

    @property
    def grpc_address(self) -> Address:
        """Where it serves gRPC, once it has started."""
        return self.addresses.grpc

    @property
    def http_address(self) -> Address:
        """Where it serves figures and probes, once it has started."""
        return self.addresses.http

    async def start(self) -> BrokerAddresses:
        """Start, and return where the broker serves; by then it does.

        Raises, with everything stopped again:
            StorageError: the data directory is somebody else's, in use, damaged or unusable.
            InvalidConfigError: the certificates cannot be used.
            BrokerFailedError: a part of it failed while it started.
            OSError: an address cannot be had.
        """
        started_ms = self._clock.now_ms()
        starting = asyncio.ensure_future(self._start())
        try:
            await asyncio.wait((starting, self._failed), return_when=asyncio.FIRST_COMPLETED)
            self._addresses = starting.result() if starting.done() else self._refuse_to_start()
        except BaseException:
            starting.cancel()
            await asyncio.wait((starting,))
            await self.stop()
            raise
        emit(
            STARTED,
            node_id=self._config.node.node_id,
            grpc=self._addresses.grpc,
            kafka=",".join(f"{name}://{at}" for name, at in self._addresses.kafka.items()) or None,
            http=self._addresses.http,
            took_ms=self._clock.now_ms() - started_ms,
        )
        return self._addresses

    async def stop(self, *, hand_over: bool = True) -> None:
        """Stop what was started, the last first. Harmless before a start, and a second time.

        Without ``hand_over`` nobody is asked to lead what this broker led: for brokers that all
        stop at once, of which the last would wait for a majority that is not there any more.

        Raises :exc:`StorageError` if not everything could be written down; the next start
        recovers.
        """
        self._hands_over = hand_over
        undo, self._undo = self._undo, AsyncExitStack()
        clean = False
        try:
            await undo.aclose()
            clean = True
        finally:
            if self._addresses is not None:
                emit(STOPPED, node_id=self._config.node.node_id, clean=clean)

    async def wait_failed(self) -> BaseException:
        """Wait until the broker cannot go on, and return why. The caller ends the process."""
        return await asyncio.shield(self._failed)

    # --- The start, step by step ---

    async def _start(self) -> BrokerAddresses:
        http = await self._start_http()
        kafka = await self._bind_kafka()
        parts = self._wire(await self._claim_directory())
        self._undo.push_async_callback(self._close_logs, parts)
        self._run_flusher(parts)
        served = services(parts, self._config, gate=self._gate, clock=self._clock)
        grpc = await self._start_grpc(parts, served)
        await self._run_quorum(parts)
        await self._hear_of_cluster(parts)
        clean = await self._open_logs(parts)
        self._metrics.sample_with(partial(self._sample, parts))
        advertised = self._advertised(grpc)
        await self._register(parts, advertised, kafka.registered, clean=clean)
        self._run_replicas(parts)
        self._run_until_undone("session", parts.control.session(self._config).run())
        self._run_until_undone("membership", parts.control.membership.run())
        self._run_until_undone("maintenance", parts.maintenance.run())
        self._run_until_undone("kafka connections", kafka.run())
        await self._serve(parts, served)
        if not self._config.quorum.is_alone(parts.broker_id):
            self._stop_when_undone(
                self._tasks.run("failed disk", self._lead_no_more_without_disk(parts))
            )
        return BrokerAddresses(grpc=grpc, advertised=advertised, http=http, kafka=kafka.addresses)

    def _refuse_to_start(self) -> NoReturn:
        raise BrokerFailedError(f"the broker failed while it started: {self._failed.result()}")

    async def _start_http(self) -> Address:
        listen = self._config.listeners.http
        server = HttpServer(metrics=self._metrics, health=self._health, readiness=self._readiness)
        port = await server.start(listen.host, listen.port)
        self._undo.push_async_callback(server.stop)
        return Address(listen.host, port)

    async def _bind_kafka(self) -> KafkaDoor:
        self._kafka = KafkaDoor(
            self._config.listeners.kafka,
            self._config.connections,
            self._config.tls,
            machine=socket.gethostname(),
            instruments=KafkaMetrics(self._metrics),
        )
        await self._kafka.bind()
        self._undo.callback(self._kafka.close)
        return self._kafka

    async def _claim_directory(self) -> LogManager:
        directory = self._config.storage.log_dir

        def claim() -> LogManager:
            node_id = self._config.node.node_id
            logs = LogManager.claim(
                directory,
                file_system=self._file_system,
                # The one that its directory says, or that the quorum will tell.
                cluster_id=None,
                node_id=node_id,
                new_directory_id=uuid4(),
            )
            try:
                voters = self._config.quorum.ids(node_id)
                remember_voters(directory, voters, file_system=self._file_system)
            except BaseException:
                logs.abandon()
                raise
            return logs

        return await asyncio.to_thread(claim)

    def _wire(self, logs: LogManager) -> BrokerParts:
        try:
            return wire(
                self._config,
                logs=logs,
                directory=self._directory,
                file_system=self._file_system,
                clock=self._clock,
                instruments=self._instruments,
            )
        except BaseException:
            logs.abandon()
            raise

    def _run_flusher(self, parts: BrokerParts) -> None:
        task = self._tasks.run("flusher", parts.flusher.run())

        async def stop() -> None:
            parts.flusher.stop()
            await asyncio.wait((task,))

        self._undo.push_async_callback(stop)

    async def _run_quorum(self, parts: BrokerParts) -> None:
        try:
            engine = await parts.control.raft.start()
        except NodeStoppedError as error:
            raise BrokerFailedError(f"the broker cannot start: {error}") from error
        task = self._tasks.run("raft", parts.control.raft.run(engine, MetadataObserver(parts)))

        async def stop() -> None:
            parts.control.raft.stop()
            await asyncio.wait((task,))
            # The followers of a leader that stops hear of it by the end of its links.
            parts.control.links.close()

        self._undo.push_async_callback(stop)
        for name, work in (
            ("quorum links", parts.control.links.run()),
            ("controller", parts.control.driver.run()),
            ("broker sessions", parts.control.sessions.run()),
        ):
            self._run_until_undone(name, work)
        if self._config.replication.balances_leaders:
            self._run_until_undone("leader balance", parts.control.balance.run())

    async def _hear_of_cluster(self, parts: BrokerParts) -> None:
        """Wait until the quorum says which cluster this is, and see that it is ours."""
        if self._config.quorum.is_alone(parts.broker_id):
            # Then everything that was ever committed is applied.
            await parts.control.driver.wait_active()
        while True:
            try:
                image = await parts.control.applied.wait_for(
                    lambda image: bool(image.cluster_id),
                    timeout_ms=QUORUM_REMINDER_MS,
                    what="hearing from a majority of the voters",
                )
                break
            except RequestTimedOutError as error:
                self._say_what_is_waited_for(parts, error)
        await asyncio.get_running_loop().run_in_executor(
            parts.log_thread, parts.logs.join_cluster, image.cluster_id
        )

    async def _open_logs(self, parts: BrokerParts) -> bool:
        """Open every log; return whether the last stop was clean."""
        image = parts.control.machine.image
        by_topic: dict[str, LogConfig] = {
            topic.name: parts.settings_of(topic.configs, image).log
            for topic in image.topics.values()
        }
        report = await asyncio.get_running_loop().run_in_executor(
            parts.log_thread,
            partial(
                parts.logs.open_all,
                lambda topic_partition: by_topic.get(topic_partition.topic, LogConfig()),
                wall_ms=self._clock.wall_ms(),
                opened=tell_of_log,
            ),
        )
        alone = self._config.quorum.is_alone(parts.broker_id)
        if alone and not image.brokers and (parts.logs.logs or parts.logs.offline):
            # What the metadata does not know is deleted; this much of it would be a mistake.
            raise StorageError(
                f"{self._config.storage.log_dir} has {report.opened} partitions, but its metadata "
                f"log is empty; restore the directory {METADATA_DIRECTORY}, or use another data "
                "directory"
            )
        self._logs_are_open = True
        emit(
            LOGS_OPENED,
            opened=report.opened,
            offline=len(parts.logs.offline),
            clean=report.clean,
            damaged_checkpoints=len(report.damaged_checkpoints),
        )
        return report.clean

    def _run_replicas(self, parts: BrokerParts) -> None:
        for name, work in (
            ("in-sync sets", parts.isr_changes.run()),
            ("replica fetcher", parts.fetcher.run()),
            ("replicas", parts.replicas.run()),
            ("groups", parts.groups.run()),
        ):
            self._run_until_undone(name, work)
        parts.replicas.image_applied(parts.control.applied.image)

    async def _start_grpc(self, parts: BrokerParts, served: Services) -> Address:
        tls, listen = self._config.tls, self._config.listeners.grpc
        credentials = None
        if tls.certificate is not None and tls.key is not None:
            from ottla.security.tls import server_credentials  # noqa: PLC0415 -- few brokers do

            credentials = server_credentials(
                certificate=tls.certificate,
                key=tls.key,
                ca=tls.ca,
                client_certificate_required=tls.client_certificate_required,
            )
        self._grpc = GrpcServer(
            served,
            self._clock,
            self._calls,
            credentials=credentials,
            between_brokers=between_brokers(parts),
        )
        port = await self._grpc.start(listen.host, listen.port)
        self._undo.push_async_callback(parts.control.channels.close)
        self._undo.push_async_callback(parts.control.quorum_channels.close)
        self._undo.push_async_callback(self._grpc.stop, grace_s=CALLS_END_GRACE_MS / 1000)
        self._undo.callback(parts.streams.close)
        return Address(listen.host, port)

    def _advertised(self, grpc: Address) -> Address:
        advertised = self._config.listeners.advertised
        if advertised is not None:
            return advertised
        return grpc._replace(host=socket.gethostname()) if grpc.is_wildcard else grpc

    async def _register(
        self,
        parts: BrokerParts,
        advertised: Address,
        listeners: tuple[BrokerListener, ...],
        *,
        clean: bool,
    ) -> None:
        node = self._config.node
        request = RegisterBroker(
            cluster_id=parts.logs.meta.cluster_id,
            broker_id=node.node_id,
            incarnation_id=parts.control.incarnation_id,
            host=advertised.host,
            grpc_port=advertised.port,
            rack=node.rack,
            clean_shutdown=clean,
            directory_id=parts.logs.meta.directory_id.bytes,
            voter=node.node_id in self._config.quorum.ids(node.node_id),
            listeners=listeners,
        )
        await self._until_controlled(
            partial(parts.control.membership.register, request, timeout_ms=QUORUM_REMINDER_MS),
            parts,
        )

    async def _until_controlled(
        self, work: Callable[[], Awaitable[object]], parts: BrokerParts
    ) -> None:
        """Do what needs a controller, however long there is none."""
        while True:
            try:
                await work()
            except RetriableError as error:
                self._say_what_is_waited_for(parts, error)
            else:
                return

    def _say_what_is_waited_for(self, parts: BrokerParts, error: OttlaError) -> None:
        emit(
            WAITING_FOR_QUORUM,
            voters=sorted(self._config.quorum.ids(parts.broker_id)),
            linked=sorted(parts.control.links.present),
            reason=str(error),
        )

    async def _serve(self, parts: BrokerParts, served: Services) -> None:
        assert self._grpc is not None
        assert self._kafka is not None
        unfence = partial(parts.control.membership.unfence, timeout_ms=QUORUM_REMINDER_MS)
        await self._until_controlled(unfence, parts)
        # What was recovered is synced once; then its high watermark is known and can be served.
        await parts.flusher.barrier()
        self._gate.open()
        self._undo.push_async_callback(self._cease, parts)
        self._kafka.serve(
            all_apis(
                served,
                broker_id=parts.broker_id,
                feature_levels=lambda: parts.control.machine.state.feature_levels,
                fetch_bytes_max=self._config.connections.fetch_bytes_max,
                clock=self._clock,
            )
        )
        await self._grpc.announce(serving=self._directory.failure is None)

    async def _cease(self, parts: BrokerParts) -> None:
        """Have others lead, then let no request in, and wait for those under way."""
        is_alone = self._config.quorum.is_alone(parts.broker_id)
        if self._hands_over and not is_alone and not self._failed.done():
            await self._hand_over(parts)
        self._gate.close()
        parts.groups.close()
        parts.waiters.reads.fail_all(self._gate.refusal())
        assert self._kafka is not None
        grace_ms = STOP_GRACE_MS if self._hands_over or is_alone else STOP_TOGETHER_GRACE_MS
        await asyncio.gather(
            self._calls.wait_idle(timeout_ms=grace_ms), self._kafka.stop(grace_ms=grace_ms)
        )

    async def _lead_no_more_without_disk(self, parts: BrokerParts) -> None:
        """Have others lead when the disk takes no more writes: here they would only be refused.

        Nor does a write wait any longer for this broker to have it. What nobody else can lead stays
        here, to be read.
        """
        await self._disk_failed.wait()
        while not await parts.control.membership.leave(timeout_ms=LEAVE_TIMEOUT_MS):
            broker = parts.control.applied.image.brokers.get(parts.broker_id)
            if broker is None or broker.shutting_down:
                return  # the controller knows
            await asyncio.sleep(QUORUM_REMINDER_MS / 1000)

    async def _hand_over(self, parts: BrokerParts) -> None:
        """Have others lead; give up when nobody is left who could decide it."""
        leaving = asyncio.ensure_future(parts.control.membership.leave(timeout_ms=LEAVE_TIMEOUT_MS))
        lost = asyncio.ensure_future(parts.control.majority.wait_lost())
        try:
            await asyncio.wait((leaving, lost), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            lost.cancel()

    # --- The stop ---

    def _run_until_undone(self, name: str, work: Coroutine[object, object, None]) -> None:
        self._stop_when_undone(self._tasks.run_until_stopped(name, work))

    def _stop_when_undone(self, task: asyncio.Task[None]) -> None:
        async def stop() -> None:
            await self._tasks.stop_task(task, timeout_ms=TASKS_STOP_MS)

        self._undo.push_async_callback(stop)

    async def _close_logs(self, parts: BrokerParts) -> None:
        healthy = self._directory.failure is None and not self._failed.done()
        epoch = parts.control.broker_epoch() if healthy and self._logs_are_open else None

        def close() -> None:
            if self._logs_are_open:
                parts.logs.close(parts.replicas.high_watermarks(), broker_epoch=epoch)
            else:
                parts.logs.abandon()

        parts.readers.shutdown(wait=False, cancel_futures=True)
        try:
            await asyncio.get_running_loop().run_in_executor(parts.log_thread, close)
        finally:
            parts.log_thread.shutdown(wait=False)

    # --- What goes wrong meanwhile ---

    def _fail(self, task: str, error: BaseException) -> None:
        # A disk that fails is no bug of ours: where it came up tells an operator nothing.
        if isinstance(error, NodeStoppedError) and isinstance(error.__context__, OSError):
            emit(FAILED, task=task, reason=str(error))
        else:
            emit(FAILED, task=task, error=error)
        if not self._failed.done():
            self._failed.set_result(error)

    def _directory_failed(self) -> None:
        self._disk_failed.set()
        if self._grpc is not None and self._gate.state is GateState.SERVING:
            self._tasks.run("health", self._grpc.announce(serving=False))

    def _health(self) -> str | None:
        if self._failed.done():
            return f"The broker failed: {self._failed.result()}."
        if self._directory.failure is not None:
            return f"{self._directory.path} takes no more writes: {self._directory.failure}."
        return None

    def _readiness(self) -> str | None:
        if self._gate.state is not GateState.SERVING:
            return f"The broker is {self._gate.state.value}."
        return self._health()

    def _sample(self, parts: BrokerParts) -> BrokerSample:
        return parts.description.sample(parts.control.metadata.image)
