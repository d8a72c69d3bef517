"""One partition on its way to the application: fetched batches, decoded when they are asked for.

A state machine without clock or network. Two offsets tell where it is:

    [ delivered | fetched, in memory | not fetched )
                ^ position           ^ fetch offset

``position`` is the next record for the application, ``fetch_offset`` what the broker is to send
next. Seeking sets both. Everything received is held against ``fetch_offset``: what lies below was
asked for by an earlier fetch, and is dropped; what lies beyond leaves a gap that the broker
vouches for (compaction, deleted records). Offsets that go back within an answer, or beyond what is
committed, are damage: the checksum of a batch does not cover where it belongs.

What was read is committed, and stays: unless a leader was elected that did not have it. Then other
records have, or will have, the same offsets, and going on as if nothing had happened would hide the
loss. Each batch names the leader epoch it was appended in, and two logs that agree on the epoch of
an offset agree on everything before it (KIP-320). So at a new leader reading goes on one record
early, and the batch that comes with it is compared with the one that was read, and dropped.

Batches stay as they came, compressed perhaps, until records are taken. So memory is bounded by
what came over the wire, plus one batch a partition.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice, zip_longest

from ottla.client.cluster_picture import PartitionLeader
from ottla.client.consumer_record import ConsumerRecord
from ottla.client.errors import LogTruncatedError
from ottla.client.serialization import DeserializationPlace
from ottla.client.settings import ConsumerSettings
from ottla.model.errors import CorruptMessageError, OttlaError
from ottla.model.ids import TopicPartition
from ottla.record.batch import RecordBatch, crc_matches, split_batches
from ottla.record.records import iterate_records


class PartitionReader:
    """See above. Every method is immediate."""

    def __init__(self, topic_partition: TopicPartition, settings: ConsumerSettings) -> None:
        self.topic_partition = topic_partition
        self.position: int | None = None
        """Next for the application; ``None`` until it was seeked or looked up."""
        self.fetch_offset: int | None = None
        """Next for the broker to send."""
        self.is_paused = False
        self.is_withheld = False
        """By the group, which is about to take it, or to give it up; kept by the fetcher."""
        self.blocked_by: OttlaError | None = None
        """Why nothing can follow what is in memory, until the application seeks elsewhere."""
        self.is_error_told = False
        """Whether the application has seen ``blocked_by``."""
        self.leader: PartitionLeader | None = None
        """Who leads what is read, or was read last; kept by the fetcher."""
        self.follower: int | None = None
        """The broker that it is read from instead of the leader."""
        self.last_epoch: int | None = None
        """The leader epoch of the batch before the fetch offset, if that was read."""
        self.high_watermark: int | None = None
        """The end of what is committed, as the broker last said. Exclusive."""
        self.buffered_bytes = 0
        """In memory, as they came."""
        self._needs_proof = False
        self._settings = settings
        self._batches: deque[tuple[RecordBatch, int]] = deque()
        """Each with the offset that was asked for: batches may begin below it."""
        self._records: Iterator[ConsumerRecord] = iter(())
        self._current: RecordBatch | None = None

    # --- The application's side ---------------------------------------------------------

    def take(self, records_max: int) -> list[ConsumerRecord]:
        """Return up to ``records_max`` records from ``position`` on, and move it behind them.

        If one cannot be decoded, those before it are returned and ``blocked_by`` is set.
        """
        records: list[ConsumerRecord] = []
        while len(records) < records_max and (self._current is not None or self._next_batch()):
            if self._take_into(records, records_max - len(records)):
                self._finish_batch()
        return records

    def take_next(self) -> ConsumerRecord | None:
        """Return the next record of the batch that :meth:`take` has begun, if there is one."""
        try:
            record = next(self._records, None)
        except OttlaError as error:
            self._stop_at(error)
            return None
        if record is not None:
            self.position = record.offset + 1
        return record

    def seek(self, offset: int | None) -> None:
        """Go on at ``offset`` (``None``: not known yet) and forget what was fetched."""
        self.position = self.fetch_offset = offset
        self.blocked_by = None
        self.drop_buffer()
        self.leader = None

    def jump(self, offset: int) -> None:
        """Fetch from ``offset`` on, after delivering what was fetched so far."""
        self.fetch_offset = offset
        self._forget_epoch()
        if not self.has_buffered:
            self.position = offset

    def drop_buffer(self) -> None:
        """Free the memory; what is not delivered will be fetched again."""
        self.fetch_offset = self.position
        self._batches.clear()
        self._records = iter(())
        self._current = None
        self.buffered_bytes = 0
        self._forget_epoch()

    @property
    def is_silent(self) -> bool:
        """Whether nothing of it is to be handed out, nor fetched."""
        return self.is_paused or self.is_withheld

    @property
    def has_buffered(self) -> bool:
        """Whether there may be records to take."""
        return self._current is not None or bool(self._batches)

    def block(self, error: OttlaError) -> None:
        """Deliver what is in memory, then ``error``."""
        self.blocked_by = error
        self.is_error_told = False

    # --- The broker's side --------------------------------------------------------------

    def move_to(self, leader: PartitionLeader, *, follower: int | None = None) -> None:
        """Read from ``leader`` from now on; it has to prove that it has what was read.

        Or from a ``follower`` of it, which serves what this leader has committed: a move between
        the two needs no proof.
        """
        if self.last_epoch is not None and leader != self.leader:
            self._needs_proof = True
        self.leader = leader
        self.follower = follower

    @property
    def next_offset(self) -> int | None:
        """What to ask for: the fetch offset, or the record before it."""
        if self._needs_proof and self.fetch_offset:
            return self.fetch_offset - 1
        return self.fetch_offset

    def give_up_proof(self) -> bool:
        """Ask for no record before the fetch offset, which may be deleted; return if one was."""
        asked, self._needs_proof = self._needs_proof, False
        return asked

    def receive(self, content: bytes) -> None:
        """Keep the batches in ``content`` that were asked for.

        Raises:
            CorruptMessageError: something in it is not a whole and sound batch.
            LogTruncatedError: the log does not have any more what was read from it.

        What was kept of it is good: fetching goes on at ``fetch_offset``.
        """
        assert self.fetch_offset is not None, "nothing is fetched without a position"
        batches, error = self._split(content)
        end_offset: int | None = None
        for batch, following in zip_longest(batches, batches[1:]):
            self._check_place(batch, end_offset, following)
            end_offset = batch.header.next_offset
            self._check_epoch(batch)
            if end_offset <= self.fetch_offset:
                continue
            if self._settings.check_crcs and not crc_matches(batch):
                raise CorruptMessageError(
                    f"the batch of {self.topic_partition} at offset {batch.header.base_offset} "
                    f"does not have the checksum {batch.header.crc:#010x} that it claims"
                )
            self._batches.append((batch, self.fetch_offset))
            self.buffered_bytes += len(batch.view)
            self.fetch_offset = end_offset
            self.last_epoch = batch.header.partition_leader_epoch
        if error is not None:
            raise CorruptMessageError(
                f"what the broker sent of {self.topic_partition} is not sound after offset "
                f"{self.fetch_offset}: {error}"
            )

    # --- Inside -------------------------------------------------------------------------

    def _split(self, content: bytes) -> tuple[list[RecordBatch], CorruptMessageError | None]:
        """Return the batches up to the first that is not whole, and what is wrong with that."""
        try:
            return split_batches(content), None
        except CorruptMessageError as error:
            batches: list[RecordBatch] = []
            position = 0
            with suppress(CorruptMessageError):
                while True:  # ends: something in it is not a whole batch
                    batches.append(RecordBatch.at(content, position))
                    position += len(batches[-1].view)
            return batches, error

    def _check_place(
        self, batch: RecordBatch, end_offset: int | None, following: RecordBatch | None
    ) -> None:
        """Check the offsets of a batch against its neighbours and against what is committed.

        Of two that overlap, the one that follows on from what is before it is believed.
        """
        header = batch.header
        base_offset, next_offset = header.base_offset, header.next_offset
        asked = self.fetch_offset
        assert asked is not None, "nothing is fetched without a position"
        follows_on = base_offset <= asked if end_offset is None else base_offset == end_offset
        if (
            next_offset <= base_offset
            or (end_offset is not None and base_offset < end_offset)
            or (self.high_watermark is not None and next_offset > self.high_watermark)
            or (following and not follows_on and following.header.base_offset < next_offset)
        ):
            raise CorruptMessageError(
                f"the broker sent a batch of {self.topic_partition} with offsets {base_offset} to "
                f"{header.last_offset} where offset {end_offset or asked} should be; "
                f"{self.high_watermark} is the end of what is committed"
            )

    def _check_epoch(self, batch: RecordBatch) -> None:
        """Check that the batch with the record before the fetch offset is the one that was read."""
        header = batch.header
        assert self.fetch_offset is not None, "nothing is fetched without a position"
        if header.next_offset < self.fetch_offset:
            return
        self._needs_proof = False
        if self.last_epoch is None:
            return
        epoch = header.partition_leader_epoch
        is_same_place = header.base_offset < self.fetch_offset
        # Epochs never go back within a log.
        if epoch < self.last_epoch or (is_same_place and epoch != self.last_epoch):
            raise LogTruncatedError(
                f"{self.topic_partition} has lost records below offset {self.fetch_offset} that "
                f"were read: they were of leader epoch {self.last_epoch}, and there are others "
                f"now, of epoch {epoch}",
                topic_partition=self.topic_partition,
                offset=self.fetch_offset,
            )

    def _forget_epoch(self) -> None:
        self.last_epoch = None
        self._needs_proof = False

    def _next_batch(self) -> bool:
        """Begin to decode the next batch; return whether there is one."""
        if not self._batches:
            return False
        batch, begin = self._batches.popleft()
        self._current = batch
        self._records = iter(()) if batch.header.is_control else self._decode(batch, begin)
        return True

    def _take_into(self, records: list[ConsumerRecord], wanted: int) -> bool:
        """Add up to ``wanted`` records of the current batch; return whether it is used up."""
        before = len(records)
        error = None
        try:
            # What comes before an error is in the list when it is raised.
            records.extend(islice(self._records, wanted))
        except OttlaError as caught:
            error = caught
        taken = len(records) - before
        if taken:
            self.position = records[-1].offset + 1
        if error is not None:
            self._stop_at(error)
            return False
        return taken < wanted

    def _stop_at(self, error: OttlaError) -> None:
        """The record at the position cannot be read: none after it may take its place."""
        self.drop_buffer()
        self.block(error)

    def _finish_batch(self) -> None:
        assert self._current is not None
        # Compaction may have removed the last records of a batch, but not its range.
        self.position = self._current.header.next_offset
        self.buffered_bytes -= len(self._current.view)
        self._current = None

    def _decode(self, batch: RecordBatch, begin: int) -> Iterator[ConsumerRecord]:
        topic, partition = self.topic_partition
        timestamp_type = batch.header.timestamp_type
        key_of = self._settings.key_deserializer
        value_of = self._settings.value_deserializer
        new = tuple.__new__
        with DeserializationPlace(self.topic_partition) as place:
            for offset, timestamp_ms, key, value, headers in iterate_records(batch):
                if offset < begin:
                    continue
                place.offset = offset
                content = (
                    topic,
                    partition,
                    offset,
                    timestamp_ms,
                    timestamp_type,
                    key if key_of is None or key is None else key_of(key),
                    value if value_of is None or value is None else value_of(value),
                    headers,
                )
                # Half the price of calling the class, for every record that is read.
                yield new(ConsumerRecord, content)

    def __repr__(self) -> str:
        return (
            f"<PartitionReader {self.topic_partition} position {self.position} fetch "
            f"{self.fetch_offset} buffered {self.buffered_bytes} bytes"
            f"{' paused' if self.is_paused else ''}>"
        )
