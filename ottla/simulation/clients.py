"""Producers and consumers of the simulated cluster.

A producer is idempotent: it numbers its batches for each partition, has one of them under way, and
sends that again, as it is, until it is answered. One that asks for all in-sync replicas never
accepts a gap: the broker's complaint about one would mean that an acknowledged batch is gone. One
that asks for the leader only accepts it, and begins anew under another producer id.

A consumer reads a partition from its leader, below the high watermark, from the beginning on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ottla.model.errors import (
    InvalidProducerEpochError,
    MetadataError,
    OttlaError,
    OutOfOrderSequenceError,
    RetriableError,
)
from ottla.model.ids import NO_BROKER, BrokerId, Offset, TopicPartition
from ottla.model.image import ClusterImage
from ottla.record.batch import split_batches
from ottla.record.builder import BatchBuilder
from ottla.replication.leader import ACKS_ALL
from ottla.simulation.checker import values_of
from ottla.simulation.conversation import AskMetadata, Deleted, Fetch, Fetched, Produce
from ottla.simulation.history import History
from ottla.simulation.network import Network
from ottla.simulation.process import Process, ProcessClock
from ottla.simulation.world import Violation, World

FIRST_CLIENT_NUMBER: Final = 100
CALL_TIMEOUT_MS: Final = 1_500
APPEND_TIMEOUT_MS: Final = 1_000
RETRY_MIN_MS: Final = 20
RETRY_MAX_MS: Final = 120


class Client(Process):
    """Something that asks brokers."""

    def __init__(self, world: World, network: Network, number: int, brokers: list[int]) -> None:
        """Be able to reach ``brokers``."""
        clock = ProcessClock(world, rate=1.0, wall_offset_ms=0)
        super().__init__(world, FIRST_CLIENT_NUMBER + number, f"client {number}", clock)
        self._network = network
        self._brokers = brokers
        self._image = ClusterImage(cluster_id="")
        self._asking = False

    def start(self) -> None:
        """Begin."""
        raise NotImplementedError

    def leader_of(self, topic_partition: TopicPartition) -> BrokerId | None:
        """Return who leads, as far as this client knows."""
        partition = self._image.partition(topic_partition)
        if partition is None or partition.leader == NO_BROKER:
            return None
        return partition.leader

    def ask_metadata(self) -> None:
        """Ask some broker who leads what."""
        if self._asking:
            return
        self._asking = True

        def replied(answer: object | None) -> None:
            self._asking = False
            # Older news would lead back to a deposed leader, which lacks what came since.
            if isinstance(answer, ClusterImage) and (
                answer.metadata_offset > self._image.metadata_offset
            ):
                self._image = answer

        broker = self.world.random.choice(self._brokers)
        self._network.call(self, broker, AskMetadata(), replied=replied, timeout_ms=200)


@dataclass(slots=True)
class _Batch:
    """A batch until it is acknowledged."""

    values: list[bytes]
    encoded: bytes


@dataclass(slots=True)
class _Sequence:
    """What a producer has sent to one partition."""

    next_sequence: int = 0
    sent: int = 0
    under_way: _Batch | None = None


@dataclass(slots=True, kw_only=True)
class Load:
    """How a producer behaves."""

    acks: int
    pause_max_ms: int
    records_max: int
    value_bytes: int = 0
    """Padding, to make segments roll."""


class ProducerIds:
    """Producer ids, each used once."""

    def __init__(self) -> None:
        """Begin with 1."""
        self._next = 1

    def take(self) -> int:
        """Return one that nobody has."""
        self._next += 1
        return self._next - 1


class SimulatedProducer(Client):
    """Sends to all of its partitions, one batch at a time to each."""

    def __init__(
        self,
        world: World,
        network: Network,
        number: int,
        brokers: list[int],
        *,
        partitions: list[TopicPartition],
        load: Load,
        ids: ProducerIds,
        history: History,
    ) -> None:
        """Be ready to send."""
        super().__init__(world, network, number, brokers)
        self._ids = ids
        self._producer_id = ids.take()
        self._load = load
        self._history = history
        self._sequences = {partition: _Sequence() for partition in partitions}
        self.sending = True
        """Set to false, it finishes what is under way."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is under way."""
        return all(sequence.under_way is None for sequence in self._sequences.values())

    def start(self) -> None:
        """Begin to send."""
        for partition in self._sequences:
            self._pause(partition)

    def _pause(self, partition: TopicPartition) -> None:
        delay_ms = self.world.between(1, self._load.pause_max_ms)
        self.after(delay_ms, "produce", lambda: self._send_next(partition))

    def _send_next(self, partition: TopicPartition) -> None:
        if not self.sending:
            return
        sequence = self._sequences[partition]
        values = []
        for _ in range(self.world.between(1, self._load.records_max)):
            values.append(b"%d:%d" % (self.number, sequence.sent))
            sequence.sent += 1
        sequence.under_way = self._batch(values, sequence)
        self._send(partition)

    def _batch(self, values: list[bytes], sequence: _Sequence) -> _Batch:
        builder = BatchBuilder(
            producer_id=self._producer_id,
            producer_epoch=0,
            base_sequence=sequence.next_sequence,
        )
        for value in values:
            key = b"k" * self._load.value_bytes or None
            builder.append(key=key, value=value, timestamp_ms=self.clock.wall_ms())
        sequence.next_sequence += len(values)
        return _Batch(values, builder.build())

    def _send(self, partition: TopicPartition) -> None:
        batch = self._sequences[partition].under_way
        assert batch is not None
        leader = self.leader_of(partition)
        if leader is None:
            self._again(partition)
            return
        request = Produce(partition, batch.encoded, self._load.acks, APPEND_TIMEOUT_MS)

        def replied(answer: object | None) -> None:
            if isinstance(answer, int):
                self._acknowledged(partition, Offset(answer))
            elif isinstance(answer, OutOfOrderSequenceError | InvalidProducerEpochError):
                self._refused(partition, answer)
            else:
                assert answer is None or isinstance(answer, RetriableError), answer
                self._again(partition)

        self._network.call(self, leader, request, replied=replied, timeout_ms=CALL_TIMEOUT_MS)

    def _again(self, partition: TopicPartition) -> None:
        self.ask_metadata()
        delay_ms = self.world.between(RETRY_MIN_MS, RETRY_MAX_MS)
        self.after(delay_ms, "retry", lambda: self._send(partition))

    def _acknowledged(self, partition: TopicPartition, base_offset: Offset) -> None:
        sequence = self._sequences[partition]
        assert sequence.under_way is not None
        by_all = self._load.acks == ACKS_ALL
        for number, value in enumerate(sequence.under_way.values):
            self._history.acknowledge(partition, value, Offset(base_offset + number), by_all=by_all)
        sequence.under_way = None
        self._pause(partition)

    def _refused(self, partition: TopicPartition, error: OttlaError) -> None:
        sequence = self._sequences[partition]
        batch = sequence.under_way
        assert batch is not None
        if self._load.acks == ACKS_ALL:
            raise Violation("NoLostWrite", f"{self.name} is refused in {partition}: {error}")
        # A batch that only the leader had is gone, and this one may be in the log already.
        self._history.of(partition).perhaps_twice.update(batch.values)
        self._producer_id = self._ids.take()
        for other in self._sequences.values():
            other.next_sequence = 0
        for each, other in self._sequences.items():
            if other.under_way is not None:
                self._history.of(each).perhaps_twice.update(other.under_way.values)
                other.under_way = self._batch(other.under_way.values, other)
        self._again(partition)


class SimulatedConsumer(Client):
    """Reads one partition from the beginning on."""

    def __init__(
        self,
        world: World,
        network: Network,
        number: int,
        brokers: list[int],
        *,
        partition: TopicPartition,
        pause_max_ms: int,
        history: History,
    ) -> None:
        """Be ready to read."""
        super().__init__(world, network, number, brokers)
        self._partition = partition
        self._pause_max_ms = pause_max_ms
        self._history = history
        self.position = Offset(0)

    @property
    def partition(self) -> TopicPartition:
        """What it reads."""
        return self._partition

    def start(self) -> None:
        """Begin to read."""
        self._pause()

    def _pause(self) -> None:
        delay_ms = self.world.between(1, self._pause_max_ms)
        self.after(delay_ms, "consume", self._fetch)

    def _fetch(self) -> None:
        leader = self.leader_of(self._partition)
        if leader is None:
            self.ask_metadata()
            self._pause()
            return

        def replied(answer: object | None) -> None:
            if isinstance(answer, Fetched):
                self._take(answer)
                if answer.records:
                    self.after(0, "consume", self._fetch)
                    return
            elif isinstance(answer, Deleted):
                self.position = max(self.position, answer.log_start_offset)
                history = self._history.of(self._partition)
                history.skipped_to = max(history.skipped_to, self.position)
            elif answer is None or isinstance(answer, MetadataError):
                self.ask_metadata()
            else:
                assert isinstance(answer, RetriableError), answer
            self._pause()

        request = Fetch(self._partition, self.position)
        self._network.call(self, leader, request, replied=replied, timeout_ms=CALL_TIMEOUT_MS)

    def _take(self, fetched: Fetched) -> None:
        for batch in split_batches(fetched.records):
            for offset, value in values_of(batch):
                if offset >= self.position:
                    self._history.read(self._partition, offset, value)
            self.position = Offset(batch.header.next_offset)
