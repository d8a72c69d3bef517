"""One broker, wired from its configuration.

What it consists of is in :mod:`ottla.cluster.parts`; this is how it lives. Starting is a list of
steps, each with what undoes it; stopping is that list in reverse, and a start that fails half way
stops what it had started.

=============  =============================================  ===================================
step           start                                          stop
=============  =============================================  ===================================
HTTP           listen; say "not ready"                        stop listening
directory      lock it, see whose it is                       close the logs, note a clean stop,
                                                              let the directory go
flusher        start the group-commit thread                  sync what was asked for, end it
quorum         recover the metadata log, become controller    close the metadata log
logs           open every log, with recovery if need be       (with the directory)
replicas       follow the metadata log                        follow it no more
gRPC           listen; requests are refused still             wait for what is under way
registration   register, unfence, lead                        (the next start fences)
maintenance    begin to look after the logs                   stop that
serving        let requests in, and say so                    let none in, end long waits
=============  =============================================  ===================================

A broker that cannot go on -- a background task failed, the metadata log cannot be written -- says
so through :meth:`Broker.wait_failed`; whoever runs it ends the process. A failed data directory is
less than that: what is committed can still be read, so the broker stays, and its health says why
it should be looked at.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Coroutine
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
from ottla.cluster.parts import (
    METADATA_DIRECTORY,
    BrokerParts,
    MetadataObserver,
    services,
    wire,
)
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig
from ottla.controller.raft.fatal import NodeStoppedError
from ottla.controller.requests import RegisterBroker, UnfenceBroker
from ottla.metrics.http import HttpServer
from ottla.metrics.registry import BrokerMetrics, BrokerSample
from ottla.model.errors import OttlaError, StorageError
from ottla.model.ids import TopicPartition
from ottla.runtime.clock import Clock
from ottla.runtime.files import FileSystem
from ottla.runtime.logging import Event, Severity, emit
from ottla.runtime.posix import PosixFileSystem
from ottla.runtime.system_clock import SystemClock
from ottla.runtime.tasks import TaskSupervisor
from ottla.storage.checkpoints import read_meta_properties
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import LogConfig
from ottla.storage.log_manager import LogManager
from ottla.storage.uuid_text import uuid_to_text

STARTED = Event("broker.started")
STOPPED = Event("broker.stopped")
FAILED = Event("broker.failed", Severity.ERROR)
LOGS_OPENED = Event("broker.logs_opened")
LOG_OFFLINE = Event("broker.log_offline", Severity.ERROR)
LOG_CUT = Event("broker.log_cut", Severity.WARNING)

START_TIMEOUT_MS: Final = 60_000
"""For the metadata quorum to answer while the broker starts."""

STOP_GRACE_MS: Final = 5_000
"""For requests under way when the broker stops: many syncs of a slow disk."""

TASKS_STOP_MS: Final = 5_000


class BrokerAddresses(NamedTuple):
    """Where a broker is to be found."""

    grpc: Address
    """Where it listens."""
    advertised: Address
    """Where clients are told to connect."""
    http: Address


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
        self._directory = DataDirectory(config.storage.log_dir, failed=self._directory_failed)
        self._tasks = TaskSupervisor(self._fail)
        self._undo = AsyncExitStack()
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._logs_are_open = False
        self._addresses: BrokerAddresses | None = None
        self._grpc: GrpcServer | None = None

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
            http=self._addresses.http,
            took_ms=self._clock.now_ms() - started_ms,
        )
        return self._addresses

    async def stop(self) -> None:
        """Stop what was started, the last first. Harmless before a start, and a second time.

        Raises :exc:`StorageError` if not everything could be written down; the next start
        recovers.
        """
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
        parts = wire(
            self._config,
            logs=await self._claim_directory(),
            directory=self._directory,
            file_system=self._file_system,
            clock=self._clock,
            instruments=self._instruments,
        )
        self._undo.push_async_callback(self._close_logs, parts)
        self._run_flusher(parts)
        await self._run_quorum(parts)
        clean = await self._open_logs(parts)
        self._run_until_undone("replicas", parts.replicas.run())
        self._metrics.sample_with(partial(self._sample, parts))
        grpc = await self._start_grpc(parts)
        advertised = self._advertised(grpc)
        await self._register(parts, advertised, clean=clean)
        self._run_until_undone("maintenance", parts.maintenance.run())
        await self._serve(parts)
        return BrokerAddresses(grpc=grpc, advertised=advertised, http=http)

    def _refuse_to_start(self) -> NoReturn:
        raise BrokerFailedError(f"the broker failed while it started: {self._failed.result()}")

    async def _start_http(self) -> Address:
        listen = self._config.listeners.http
        server = HttpServer(metrics=self._metrics, health=self._health, readiness=self._readiness)
        port = await server.start(listen.host, listen.port)
        self._undo.push_async_callback(server.stop)
        return Address(listen.host, port)

    async def _claim_directory(self) -> LogManager:
        directory = self._config.storage.log_dir

        def claim() -> LogManager:
            present = None
            if self._file_system.exists(directory):
                present = read_meta_properties(self._file_system, directory)
            return LogManager.claim(
                directory,
                file_system=self._file_system,
                # A broker alone belongs to the cluster that its directory says, or to a new one.
                cluster_id=uuid_to_text(uuid4()) if present is None else present.cluster_id,
                node_id=self._config.node.node_id,
                new_directory_id=uuid4(),
            )

        return await asyncio.to_thread(claim)

    def _run_flusher(self, parts: BrokerParts) -> None:
        task = self._tasks.run("flusher", parts.flusher.run())

        async def stop() -> None:
            parts.flusher.stop()
            await asyncio.wait((task,))

        self._undo.push_async_callback(stop)

    async def _run_quorum(self, parts: BrokerParts) -> None:
        try:
            engine = await parts.raft.start()
        except NodeStoppedError as error:
            raise BrokerFailedError(f"the broker cannot start: {error}") from error
        task = self._tasks.run("raft", parts.raft.run(engine, MetadataObserver(parts)))

        async def stop() -> None:
            parts.raft.stop()
            await asyncio.wait((task,))

        self._undo.push_async_callback(stop)
        self._run_until_undone("controller", parts.controller.run())
        # From here on everything that was ever committed is applied.
        await parts.controller.wait_active()

    async def _open_logs(self, parts: BrokerParts) -> bool:
        """Open every log; return whether the last stop was clean."""
        image = parts.machine.image
        by_topic: dict[str, LogConfig] = {
            topic.name: parts.settings_of(topic.configs).log for topic in image.topics.values()
        }
        report = await asyncio.get_running_loop().run_in_executor(
            parts.log_thread,
            partial(
                parts.logs.open_all,
                lambda topic_partition: by_topic.get(topic_partition.topic, LogConfig()),
                wall_ms=self._clock.wall_ms(),
                opened=_log_opened,
            ),
        )
        if not image.brokers and (parts.logs.logs or parts.logs.offline):
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

    async def _start_grpc(self, parts: BrokerParts) -> Address:
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
            services(parts, self._config, gate=self._gate, clock=self._clock),
            self._clock,
            Calls(gate=self._gate, instruments=self._instruments),
            credentials=credentials,
        )
        port = await self._grpc.start(listen.host, listen.port)
        self._undo.push_async_callback(self._grpc.stop, grace_s=STOP_GRACE_MS / 1000)
        return Address(listen.host, port)

    def _advertised(self, grpc: Address) -> Address:
        advertised = self._config.listeners.advertised
        if advertised is not None:
            return advertised
        return grpc._replace(host=socket.gethostname()) if grpc.is_wildcard else grpc

    async def _register(self, parts: BrokerParts, advertised: Address, *, clean: bool) -> None:
        node = self._config.node
        epoch = await parts.controller.submit(
            RegisterBroker(
                cluster_id=parts.logs.meta.cluster_id,
                broker_id=node.node_id,
                incarnation_id=secrets.token_bytes(16),
                host=advertised.host,
                grpc_port=advertised.port,
                rack=node.rack,
                clean_shutdown=clean,
            ),
            timeout_ms=START_TIMEOUT_MS,
        )
        await parts.controller.submit(
            UnfenceBroker(broker_id=node.node_id, broker_epoch=epoch), timeout_ms=START_TIMEOUT_MS
        )
        # What was recovered is synced once; then its high watermark is known and can be served.
        await parts.flusher.barrier()

    async def _serve(self, parts: BrokerParts) -> None:
        assert self._grpc is not None
        self._gate.open()
        await self._grpc.announce(serving=self._directory.failure is None)

        def close() -> None:
            self._gate.close()
            parts.waiters.reads.fail_all(self._gate.refusal())

        self._undo.callback(close)

    # --- The stop ---

    def _run_until_undone(self, name: str, work: Coroutine[object, object, None]) -> None:
        task = self._tasks.run_until_stopped(name, work)

        async def stop() -> None:
            await self._tasks.stop_task(task, timeout_ms=TASKS_STOP_MS)

        self._undo.push_async_callback(stop)

    async def _close_logs(self, parts: BrokerParts) -> None:
        healthy = self._directory.failure is None and not self._failed.done()
        epoch = parts.broker_epoch() if healthy and self._logs_are_open else None

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
        return parts.description.sample(parts.metadata.image)


def _log_opened(topic_partition: TopicPartition, result: PartitionLog | StorageError) -> None:
    """Tell the operator what opening a log took; on the log thread."""
    if isinstance(result, StorageError):
        emit(LOG_OFFLINE, partition=topic_partition, reason=str(result))
        return
    report = result.recovery
    if report.cut is not None:
        emit(
            LOG_CUT,
            partition=topic_partition,
            bytes_scanned=report.bytes_scanned,
            cut=report.cut,
        )
