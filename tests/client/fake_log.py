"""The partitions of the fake broker: batches in memory, checked as the real broker checks them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ottla.model.errors import (
    CorruptMessageError,
    InvalidProducerEpochError,
    InvalidRecordError,
    MessageTooLargeError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceError,
)
from ottla.model.limits import BATCHES_REMEMBERED_PER_PRODUCER, SEQUENCE_MAX
from ottla.record.batch import BatchHeader, RecordBatch, crc_matches, restamped, split_batches
from ottla.record.records import Record, iterate_records


@dataclass
class ProducerState:
    """What a partition remembers of one producer."""

    epoch: int
    batches: list[tuple[int, int, int]] = field(default_factory=list)
    """(first sequence, last sequence, base offset) of the last five."""


@dataclass
class FakeFollower:
    """What a replica that does not lead has of a log."""

    start_offset: int = 0
    end_offset: int | None = None
    """``None``: all that the leader has."""
    high_watermark: int | None = None
    """``None``: what the leader has committed."""
    is_in_sync: bool = True
    refuses: Exception | None = None


@dataclass
class FakePartition:
    """One log."""

    leader: int
    leader_epoch: int = 0
    batches: list[RecordBatch] = field(default_factory=list)
    log_start_offset: int = 0
    log_end_offset: int = 0
    producers: dict[int, ProducerState] = field(default_factory=dict)
    max_message_bytes: int = 1_048_588
    duplicates: int = 0
    """Batches that were recognised and not appended again."""
    keeps_batches: bool = True
    replicates: bool = False
    """Whether records are committed some time after they are appended, instead of at once."""
    committed: int = 0
    replicas: list[int] = field(default_factory=list)
    followers: dict[int, FakeFollower] = field(default_factory=dict)
    """By broker: those that may be read from."""
    preferred: int | None = None
    """Who the leader names to readers that say where they are."""

    @property
    def high_watermark(self) -> int:
        """The end of what is committed, which nobody loses."""
        return self.committed if self.replicates else self.log_end_offset

    def commit(self, end_offset: int) -> None:
        """Take what lies below as replicated."""
        self.committed = max(self.committed, end_offset)

    def truncate(self, end_offset: int) -> None:
        """Lose what lies at or above ``end_offset``, or in a batch across it, and who sent it."""
        self.batches = [each for each in self.batches if each.header.next_offset <= end_offset]
        last = self.batches[-1].header.next_offset if self.batches else self.log_start_offset
        self.log_end_offset = last
        self.committed = min(self.committed, last)
        self.producers.clear()
        for batch in self.batches:
            if batch.header.has_producer:
                self._remember(batch.header, batch.header.base_offset)

    def append(self, content: bytes) -> int:
        """Append one batch and return its first offset; for a duplicate, the old one."""
        (batch,) = split_batches(content)
        if not crc_matches(batch):
            raise CorruptMessageError("checksum")
        header = batch.header
        if header.record_count != header.last_offset_delta + 1 or header.record_count < 1:
            raise InvalidRecordError("counts")
        if header.size_bytes > self.max_message_bytes:
            raise MessageTooLargeError(f"{header.size_bytes} > {self.max_message_bytes}")
        duplicate = self._check_producer(header) if header.has_producer else None
        if duplicate is not None:
            self.duplicates += 1
            return duplicate
        base_offset = self.log_end_offset
        if self.keeps_batches:
            stamp, rest = restamped(batch, base_offset=base_offset, leader_epoch=self.leader_epoch)
            self.batches.append(RecordBatch.at(stamp + bytes(rest)))
        self.log_end_offset += header.record_count
        if header.has_producer:
            self._remember(header, base_offset)
        return base_offset

    def _check_producer(self, header: BatchHeader) -> int | None:
        state = self.producers.get(header.producer_id)
        if state is None:
            return None
        if header.producer_epoch < state.epoch:
            raise InvalidProducerEpochError(f"{header.producer_epoch} < {state.epoch}")
        if header.producer_epoch > state.epoch:
            if header.base_sequence != 0:
                raise OutOfOrderSequenceError(f"new epoch begins at {header.base_sequence}")
            return None
        for first, last, base_offset in state.batches:
            if (header.base_sequence, header.last_sequence) == (first, last):
                return base_offset
        expected = (state.batches[-1][1] + 1) & SEQUENCE_MAX
        if header.base_sequence != expected:
            raise OutOfOrderSequenceError(f"{header.base_sequence}, expected {expected}")
        return None

    def _remember(self, header: BatchHeader, base_offset: int) -> None:
        state = self.producers.get(header.producer_id)
        if state is None or header.producer_epoch > state.epoch:
            state = self.producers[header.producer_id] = ProducerState(header.producer_epoch)
        state.batches.append((header.base_sequence, header.last_sequence, base_offset))
        del state.batches[:-BATCHES_REMEMBERED_PER_PRODUCER]

    @property
    def in_sync_replicas(self) -> list[int]:
        """The leader and the followers that keep up."""
        keep_up = [id_ for id_, follower in self.followers.items() if follower.is_in_sync]
        return [self.leader, *(id_ for id_ in keep_up if id_ != self.leader)]

    def read_follower(self, broker: int, offset: int, max_bytes: int) -> tuple[bytes, int]:
        """Read as :meth:`read` does what a follower knows to be committed."""
        follower = self.followers[broker]
        if follower.refuses is not None:
            raise follower.refuses
        end = self.log_end_offset if follower.end_offset is None else follower.end_offset
        if offset > end:
            raise OffsetNotAvailableError(f"{offset} is asked for, and {end} is the end")
        if offset < follower.start_offset:
            raise OffsetOutOfRangeError(f"{offset} < {follower.start_offset}")
        return self.read(offset, max_bytes, end_offset=self.high_watermark_of(broker))

    def high_watermark_of(self, broker: int) -> int:
        """Return the end of what a broker knows to be committed."""
        follower = None if broker == self.leader else self.followers.get(broker)
        ends = [self.high_watermark]
        if follower is not None:
            ends += [end for end in (follower.end_offset, follower.high_watermark) if end]
        return min(ends)

    def read(
        self, offset: int, max_bytes: int, *, end_offset: int | None = None
    ) -> tuple[bytes, int]:
        """Return whole batches from ``offset`` on, at least one, and where to go on."""
        end_offset = self.high_watermark if end_offset is None else end_offset
        if not self.log_start_offset <= offset <= self.log_end_offset:
            raise OffsetOutOfRangeError(
                f"{offset} not in [{self.log_start_offset},{self.log_end_offset}]"
            )
        found = bytearray()
        for batch in self.batches:
            if batch.header.next_offset <= offset:
                continue
            if batch.header.next_offset > end_offset:
                break
            if found and len(found) + len(batch.view) > max_bytes:
                break
            found += batch.view
            offset = max(offset, batch.header.next_offset)
        return bytes(found), offset

    def delete_before(self, offset: int) -> int:
        """Delete what lies below ``offset``; whole batches only, as far as memory is concerned."""
        offset = self.log_end_offset if offset == -1 else offset
        if not self.log_start_offset <= offset <= self.log_end_offset:
            raise OffsetOutOfRangeError(f"{offset}")
        self.log_start_offset = offset
        self.batches = [each for each in self.batches if each.header.next_offset > offset]
        return offset

    def records(self) -> list[Record]:
        """Return everything in the log."""
        return [record for batch in self.batches for record in iterate_records(batch)]

    def values(self) -> list[bytes | None]:
        """Return the values of everything in the log."""
        return [record.value for record in self.records()]
