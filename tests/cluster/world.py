"""One broker's partitions on a simulated disk, with the test in the place of the metadata log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.fetch import BrokerFetchService
from ottla.cluster.flusher import Flusher
from ottla.cluster.following import Copier
from ottla.cluster.gate import Gate
from ottla.cluster.instruments import TopicInstruments
from ottla.cluster.maintenance import Intervals, Maintenance
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.offsets import BrokerOffsetsService
from ottla.cluster.partition import NoCopier, Partition, PartitionContext, Waiters
from ottla.cluster.partition_settings import PartitionSettings
from ottla.cluster.produce import BrokerProduceService, PendingAppend
from ottla.cluster.replica_manager import ReplicaManager
from ottla.cluster.services import PartitionAppended, PartitionToAppend, Result
from ottla.metrics.registry import OK
from ottla.model.errors import OttlaError
from ottla.model.ids import (
    NO_BROKER,
    BrokerEpoch,
    BrokerId,
    LeaderEpoch,
    MetadataOffset,
    Offset,
    PartitionEpoch,
    TopicId,
    TopicPartition,
)
from ottla.model.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.replication.leader import ProposeIsr
from ottla.runtime.purgatory import Purgatory
from ottla.simulation.disk import SimulatedDisk
from ottla.simulation.inodes import FileNode
from ottla.storage.log_config import LogConfig
from ottla.storage.log_manager import LogManager

ME = BrokerId(1)
OTHER = BrokerId(2)
DIRECTORY = Path("/data")
START_MS = 1_700_000_000_000


class ManualClock:
    """Time passes when the test says so; both kinds together."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def now_ms(self) -> int:
        return self.passed_ms

    def wall_ms(self) -> int:
        return START_MS + self.passed_ms


class SlowDisk(SimulatedDisk):
    """A disk whose syncs of logs wait for the test, once :meth:`hold` was called."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held = False
        self._permits = threading.Semaphore(0)
        self.waiting = 0
        """Syncs that wait for the test at this moment."""

    def hold(self) -> None:
        """Let every sync wait from now on."""
        self._permits = threading.Semaphore(0)
        self._held = True

    def let_one_go(self) -> None:
        """Let one sync be done, which waits already or comes next."""
        self._permits.release()

    def let_go(self) -> None:
        """Let every sync be done at once again."""
        self._held = False
        self._permits.release(1_000)

    def sync(self, path: Path, node: FileNode) -> None:
        if self._held and path.suffix == ".log":
            self.waiting += 1
            assert self._permits.acquire(timeout=10), "nobody let go of the disk"
            self.waiting -= 1
        super().sync(path, node)


class BusyReaders:
    """Keeps the threads for reads from the disk busy, so that a read waits until it is over."""

    def __init__(self, executor: Executor) -> None:
        self._over = threading.Event()
        executor.submit(self._over.wait, 10)

    def end(self) -> None:
        self._over.set()


class CountedTopic:
    """The counters of one topic."""

    def __init__(self) -> None:
        self.batches = self.records = self.appended_bytes = self.fetched_bytes = 0

    def appended(self, *, batches: int, records: int, size_bytes: int) -> None:
        self.batches += batches
        self.records += records
        self.appended_bytes += size_bytes

    def fetched(self, size_bytes: int) -> None:
        self.fetched_bytes += size_bytes


class Counted:
    """The counters of one broker."""

    def __init__(self) -> None:
        self.topics: dict[str, CountedTopic] = {}
        self.rounds: list[int] = []
        self.requests: list[tuple[str, str]] = []
        self.open_streams = 0

    def topic(self, name: str) -> TopicInstruments:
        return self.topics.setdefault(name, CountedTopic())

    def forget_topic(self, name: str) -> None:
        self.topics.pop(name, None)

    def request_finished(self, method: str, *, seconds: float, error: str = OK) -> None:
        assert seconds >= 0
        self.requests.append((method, error))

    def stream_opened(self, method: str) -> None:
        del method
        self.open_streams += 1

    def stream_closed(self, method: str, *, error: str = OK) -> None:
        self.open_streams -= 1
        self.requests.append((method, error))

    def flush_round_finished(self, *, logs: int, seconds: float) -> None:
        assert seconds >= 0
        self.rounds.append(logs)


class World:
    """What tests of hosted partitions need, running."""

    def __init__(self, *, disk: SlowDisk | None = None, broker_id: BrokerId = ME) -> None:
        self.broker_id = broker_id
        self.clock = ManualClock()
        self.disk = disk or SlowDisk(seed=0)
        self.counted = Counted()
        self.gate = Gate()
        self.directory = DataDirectory(DIRECTORY)
        self.waiters = Waiters(commits=Purgatory(self.clock), reads=Purgatory(self.clock))
        self.flusher = Flusher(instruments=self.counted)
        self.log_thread = ThreadPoolExecutor(1)
        self.readers = ThreadPoolExecutor(1)
        self.logs = LogManager.claim(
            DIRECTORY,
            file_system=self.disk,
            cluster_id="c" * 22,
            node_id=broker_id,
            new_directory_id=UUID(int=1),
        )
        self.image = ClusterImage(cluster_id="c" * 22)
        self.metadata = MetadataCache(self.image)
        self.propose_isr: Callable[[Partition, ProposeIsr], None] = lambda _, __: None
        self.records_changed: Callable[[Partition], None] = lambda _: None
        self.replicas = ReplicaManager(
            broker_id=broker_id,
            logs=self.logs,
            context=PartitionContext(
                directory=self.directory,
                flusher=self.flusher,
                waiters=self.waiters,
                clock=self.clock,
                propose_isr=self._isr_proposed,
                records_changed=self._records_changed,
                copier=self.make_copier(),
            ),
            metadata=self.metadata,
            settings_of=lambda topic_configs, image: PartitionSettings.of(
                topic_configs,
                broker_configs=image.settings_of_broker(broker_id, {}),
                producer_id_expiration_ms=86_400_000,
            ),
            instruments=self.counted,
            log_thread=self.log_thread,
            incarnation_id=bytes(16),
        )
        self.maintenance = Maintenance(
            replicas=self.replicas,
            logs=self.logs,
            directory=self.directory,
            clock=self.clock,
            log_thread=self.log_thread,
            intervals=Intervals(
                retention_check_ms=1_000, checkpoint_ms=60_000, producer_expiry_ms=600_000
            ),
        )
        self.produce = BrokerProduceService(
            self.replicas, commits=self.waiters.commits, clock=self.clock
        )
        self.fetch = BrokerFetchService(
            self.replicas,
            reads=self.waiters.reads,
            readers=self.readers,
            clock=self.clock,
            gate=self.gate,
        )
        self.offsets = BrokerOffsetsService(
            self.replicas, readers=self.readers, remove_later=self.maintenance.remove_later
        )
        self._tasks: list[asyncio.Task[None]] = []

    def make_copier(self) -> Copier:
        """Make what copies the partitions that other brokers lead."""
        return NoCopier()

    def _isr_proposed(self, partition: Partition, effect: ProposeIsr) -> None:
        self.propose_isr(partition, effect)

    def _records_changed(self, partition: Partition) -> None:
        self.records_changed(partition)

    # --- Life ---

    async def start(self) -> None:
        """Open what is on the disk, and follow the metadata."""
        self.logs.open_all(lambda _partition: LogConfig(), wall_ms=self.clock.wall_ms())
        self.gate.open()
        self._tasks = [
            asyncio.create_task(self.flusher.run()),
            asyncio.create_task(self.replicas.run()),
        ]
        await self.publish(brokers={ME: broker(ME), OTHER: broker(OTHER)})

    async def stop(self) -> None:
        """Stop as a broker does that is killed: nothing is written down."""
        self.disk.let_go()
        self.gate.close()
        flushing, following = self._tasks
        following.cancel()
        self.flusher.stop()
        await asyncio.wait([flushing, following])
        self.logs.abandon()
        self.log_thread.shutdown()
        self.readers.shutdown()
        if not flushing.cancelled():
            flushing.result()

    # --- The metadata log, played by the test ---

    async def publish(self, **changes: object) -> None:
        """Let a new image be applied, and wait until it is carried out."""
        self.image = replace(
            self.image,
            metadata_offset=MetadataOffset(self.image.metadata_offset + 1),
            **changes,  # type: ignore[arg-type]
        )
        self.replicas.image_applied(self.image)
        await self.metadata.wait_for(
            lambda image: image.metadata_offset >= self.image.metadata_offset,
            timeout_ms=10_000,
            what="the image",
        )

    async def create_topic(self, name: str, *, partitions: int = 1, **configs: str) -> None:
        """Create a topic that this broker leads; settings have ``_`` in their names for ``.``."""
        number = len(self.image.topic_names) + self.image.metadata_offset
        topic = TopicImage(
            topic_id=TopicId(UUID(int=number)),
            name=name,
            partitions=tuple(partition() for _ in range(partitions)),
            configs={key.replace("_", "."): value for key, value in configs.items()},
        )
        await self.put_topic(topic)

    async def put_topic(self, topic: TopicImage) -> None:
        await self.publish(
            topics={**self.image.topics, topic.name: topic},
            topic_names={**self.image.topic_names, topic.topic_id: topic.name},
        )

    async def delete_topic(self, name: str) -> None:
        gone = self.image.topics[name]
        await self.publish(
            topics={n: topic for n, topic in self.image.topics.items() if n != name},
            topic_names={i: n for i, n in self.image.topic_names.items() if i != gone.topic_id},
        )

    async def alter_topic(self, name: str, **configs: str) -> None:
        new = {key.replace("_", "."): value for key, value in configs.items()}
        await self.put_topic(replace(self.image.topics[name], configs=new))

    async def change_partition(self, name: str, number: int, **changes: object) -> None:
        """Let one partition have another leader, in-sync set...; epochs rise by themselves."""
        topic = self.image.topics[name]
        before = topic.partitions[number]
        after = replace(
            before,
            partition_epoch=PartitionEpoch(before.partition_epoch + 1),
            **changes,  # type: ignore[arg-type]
        )
        if after.leader != before.leader:
            after = replace(after, leader_epoch=LeaderEpoch(before.leader_epoch + 1))
        partitions = (*topic.partitions[:number], after, *topic.partitions[number + 1 :])
        await self.put_topic(replace(topic, partitions=partitions))

    # --- Short ways ---

    def partition(self, name: str = "web", number: int = 0) -> Partition:
        return self.replicas.partitions[TopicPartition(name, number)]

    def log_end(self, name: str = "web", number: int = 0) -> int:
        return self.partition(name, number).log.log_end_offset

    def begin(
        self,
        *parts: tuple[str, int, bytes],
        acks: int = -1,
        timeout_ms: int = 30_000,
    ) -> PendingAppend:
        return self.produce.begin_produce(
            [PartitionToAppend(TopicPartition(name, number), b) for name, number, b in parts],
            acks=acks,
            timeout_ms=timeout_ms,
        )

    async def append(
        self, batches: bytes | None = None, *, name: str = "web", number: int = 0, acks: int = -1
    ) -> Result[PartitionAppended]:
        """Produce to one partition and wait for the acknowledgement."""
        sent = batch() if batches is None else batches
        (result,) = await self.begin((name, number, sent), acks=acks).wait()
        return result

    async def appended(self, batches: bytes | None = None, **where: object) -> PartitionAppended:
        result = await self.append(batches, **where)  # type: ignore[arg-type]
        assert not isinstance(result, OttlaError), result
        return result

    async def flushed(self) -> None:
        """Wait until every sync that was asked for is done."""
        await self.flusher.barrier()


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop turn until the condition holds; the test's time-out is the limit."""
    # There is nothing to wait for: what the conditions look at belongs to the code under test.
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def broker(broker_id: BrokerId, *, fenced: bool = False) -> BrokerImage:
    return BrokerImage(
        broker_id=broker_id,
        broker_epoch=BrokerEpoch(1),
        host="localhost",
        grpc_port=7092 + broker_id,
        rack="",
        incarnation_id=bytes(16),
        fenced=fenced,
    )


def partition(
    replicas: Sequence[BrokerId] = (ME,),
    *,
    leader: BrokerId = ME,
    isr: Sequence[BrokerId] | None = None,
    leader_epoch: int = 0,
) -> PartitionImage:
    return PartitionImage(
        replicas=tuple(replicas),
        in_sync_replicas=tuple(replicas if isr is None else isr),
        eligible_leader_replicas=(),
        leader=leader,
        leader_epoch=LeaderEpoch(leader_epoch),
        partition_epoch=PartitionEpoch(0),
    )


def batch(
    *values: bytes,
    codec: Codec = Codec.NONE,
    timestamp_ms: int = START_MS,
    producer_id: int = -1,
    producer_epoch: int = -1,
    sequence: int = -1,
) -> bytes:
    """A batch as a client sends it; of one record if no values are given."""
    builder = BatchBuilder(
        codec, producer_id=producer_id, producer_epoch=producer_epoch, base_sequence=sequence
    )
    for value in values or (b"value",):
        builder.append(key=None, value=value, timestamp_ms=timestamp_ms)
    return builder.build()


def error_of(result: object) -> type[OttlaError]:
    assert isinstance(result, OttlaError), result
    return type(result)


__all__ = [
    "DIRECTORY",
    "ME",
    "NO_BROKER",
    "OTHER",
    "START_MS",
    "BusyReaders",
    "Counted",
    "ManualClock",
    "Offset",
    "SlowDisk",
    "World",
    "batch",
    "broker",
    "error_of",
    "partition",
    "until",
]
