"""What a partition remembers of its producers, so that a retry is not a second record.

An idempotent producer (KIP-98) numbers its records for each partition. Of each producer
the partition keeps the epoch and the last five batches -- a client has no more in flight --
and compares what arrives:

    a batch with                                            is
    ------------------------------------------------------  ------------------------------
    no known producer                                       accepted, whatever its sequence
    the sequences of one of the five                        a duplicate: answered, not appended
    the sequence after the last one (0 follows 2^31 - 1)    accepted
    any other sequence                                      OUT_OF_ORDER_SEQUENCE_NUMBER
    a newer epoch and sequence 0                            accepted; the old batches are forgotten
    a newer epoch and another sequence                      OUT_OF_ORDER_SEQUENCE_NUMBER
    an older epoch                                          INVALID_PRODUCER_EPOCH
    no transaction, while the producer has one open         INVALID_TXN_STATE

A producer that has been silent for the expiration time is forgotten, unless it has a
transaction open. Above ``PRODUCERS_PER_PARTITION_MAX`` the longest silent goes first.

Transactions hold the *last stable offset* back: to the first offset of the oldest one that
is open, or whose marker is not yet below the high watermark.

The state is a function of the log. A snapshot at an offset, in Kafka's ``.snapshot`` format,
spares reading the log below it; of the five batches it keeps the last one only.

    int16 version = 1 | uint32 CRC-32C of what follows | int32 count | count entries:
    int64 producer id, int16 epoch, int32 last sequence, int64 last offset, int32 offset delta,
    int64 timestamp, int32 coordinator epoch, int64 first offset of the open transaction or -1
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, NamedTuple

from crc32c import crc32c
from sortedcontainers import SortedDict

from ottla.model.errors import (
    InvalidProducerEpochError,
    InvalidTransactionStateError,
    OutOfOrderSequenceError,
)
from ottla.model.ids import NO_OFFSET, NO_TIMESTAMP_MS, Offset, ProducerEpoch, ProducerId
from ottla.model.limits import (
    BATCHES_REMEMBERED_PER_PRODUCER,
    PRODUCERS_PER_PARTITION_MAX,
    SEQUENCE_MAX,
)
from ottla.record.batch import NO_SEQUENCE, BatchHeader

SNAPSHOT_VERSION: Final = 1
NO_COORDINATOR_EPOCH: Final = -1

_PREFIX: Final = Struct(">hI")
_COUNT: Final = Struct(">i")
_ENTRY: Final = Struct(">qhiqiqiq")


class Duplicate(NamedTuple):
    """A batch that is in the log already: what its first append was answered."""

    base_offset: Offset
    last_offset: Offset
    timestamp_ms: int
    """The largest of its timestamps; with LogAppendTime, when it was appended."""


class CompletedTransaction(NamedTuple):
    """A transaction that its marker has ended."""

    producer_id: ProducerId
    first_offset: Offset
    last_offset: Offset
    """The marker's own."""
    aborted: bool


class ProducerEntry(NamedTuple):
    """A producer, as a snapshot has it."""

    producer_id: ProducerId
    epoch: ProducerEpoch
    last_sequence: int
    last_offset: Offset
    offset_delta: int
    timestamp_ms: int
    coordinator_epoch: int
    transaction_first_offset: Offset
    """``NO_OFFSET`` while no transaction is open."""


class _Batch(NamedTuple):
    first_sequence: int
    last_sequence: int
    last_offset: Offset
    offset_delta: int
    timestamp_ms: int


@dataclass(slots=True)
class _Producer:
    epoch: ProducerEpoch
    coordinator_epoch: int = NO_COORDINATOR_EPOCH
    timestamp_ms: int = NO_TIMESTAMP_MS
    transaction_first_offset: Offset = NO_OFFSET
    batches: deque[_Batch] = field(
        default_factory=lambda: deque(maxlen=BATCHES_REMEMBERED_PER_PRODUCER)
    )

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE


class ProducerStates:
    """The producers of one partition. Checked and changed on the thread that appends."""

    __slots__ = ("_completed", "_expiration_ms", "_open", "_producers", "_producers_max")

    def __init__(
        self, *, expiration_ms: int, producers_max: int = PRODUCERS_PER_PARTITION_MAX
    ) -> None:
        self._expiration_ms = expiration_ms
        self._producers_max = producers_max
        self._producers: dict[int, _Producer] = {}  # the longest silent first
        self._open: SortedDict[Offset, ProducerId] = SortedDict()  # by first offset
        self._completed: SortedDict[Offset, Offset] = SortedDict()  # first offset: marker's

    def __repr__(self) -> str:
        return f"ProducerStates({len(self)} producers, {len(self._open)} open transactions)"

    def __len__(self) -> int:
        return len(self._producers)

    # --- Before an append -------------------------------------------------------------

    def check(
        self, header: BatchHeader, *, previous: BatchHeader | None = None
    ) -> Duplicate | None:
        """Compare a client's batch with its producer's last ones; changes nothing.

        ``previous`` is a batch of the same producer that will be appended just before, as
        part of the same append. Returns the earlier append if this is a retry of it, else
        ``None``: it may be appended.

        Raises:
            InvalidProducerEpochError: the producer's successor has written already.
            OutOfOrderSequenceError: a batch before it is missing, or it is a retry of one
                that is no longer remembered.
            InvalidTransactionStateError: it is outside the transaction that is open.
        """
        if header.producer_id < 0:
            return None
        known = self._producers.get(header.producer_id)
        if known is not None and known.epoch == header.producer_epoch:
            duplicate = _find_duplicate(header, known.batches)
            if duplicate is not None:
                return duplicate
        if previous is not None:
            assert previous.producer_id == header.producer_id, (previous, header)
            known = _after(known, previous)
        if known is None:
            return None
        _check_epoch_and_sequence(header, known)
        if known.transaction_first_offset != NO_OFFSET and not header.is_transactional:
            raise InvalidTransactionStateError(
                f"producer {header.producer_id} has had a transaction open since offset "
                f"{known.transaction_first_offset}, and this batch is outside of it; commit or "
                "abort first"
            )
        return None

    def check_all(self, headers: Sequence[BatchHeader]) -> Duplicate | None:
        """Check batches that will be appended together; changes nothing.

        Returns the first earlier append of which one of them is a retry; then none of
        them may be appended. Raises as :meth:`check` does.
        """
        if len(headers) == 1:
            return self.check(headers[0])
        previous: dict[int, BatchHeader] = {}
        for header in headers:
            duplicate = self.check(header, previous=previous.get(header.producer_id))
            if duplicate is not None:
                return duplicate
            previous[header.producer_id] = header
        return None

    # --- After an append, and when the log is read again ----------------------------------

    def append(self, header: BatchHeader) -> None:
        """Remember a batch that is now in the log; its offsets are the final ones.

        Not for control batches: those go to :meth:`end_transaction`. Checks nothing, because a
        follower, and a recovery, take the log as it is.
        """
        assert not header.is_control, header
        if header.producer_id < 0:
            return
        producer = self._touched(ProducerId(header.producer_id))
        _remember(producer, header)
        if header.is_transactional and producer.transaction_first_offset == NO_OFFSET:
            producer.transaction_first_offset = Offset(header.base_offset)
            self._open[producer.transaction_first_offset] = ProducerId(header.producer_id)

    def end_transaction(
        self, header: BatchHeader, *, coordinator_epoch: int, aborted: bool
    ) -> CompletedTransaction | None:
        """Remember a marker that is now in the log.

        Returns the transaction that it ended; ``None`` if the producer wrote nothing to this
        partition since the last one.
        """
        assert header.is_control, header
        producer_id = ProducerId(header.producer_id)
        producer = self._touched(producer_id)
        first_offset = producer.transaction_first_offset
        _enter_epoch(producer, ProducerEpoch(header.producer_epoch))
        producer.coordinator_epoch = coordinator_epoch
        producer.timestamp_ms = header.max_timestamp
        producer.transaction_first_offset = NO_OFFSET
        if first_offset == NO_OFFSET:
            return None
        del self._open[first_offset]
        self._completed[first_offset] = Offset(header.base_offset)
        return CompletedTransaction(producer_id, first_offset, Offset(header.base_offset), aborted)

    # --- The last stable offset ---------------------------------------------------------

    def first_unstable_offset(self, high_watermark: Offset) -> Offset | None:
        """Return where the oldest transaction began whose outcome is not yet committed.

        ``None`` if there is none. Forgets the transactions whose markers are below
        ``high_watermark``, so it must not be ahead of the true one.
        """
        if not self._open and not self._completed:
            return None
        for first_offset, marker_offset in list(self._completed.items()):
            if marker_offset < high_watermark:
                del self._completed[first_offset]
        oldest = [view.peekitem(0)[0] for view in (self._open, self._completed) if view]
        return min(oldest, default=None)

    def last_stable_offset_after(self, completed: CompletedTransaction) -> Offset:
        """Return what the transaction index says of ``completed``: how far it made the log stable.

        That is the start of the oldest transaction still open, or else the marker's end.
        """
        if self._open:
            return Offset(self._open.peekitem(0)[0])
        return Offset(completed.last_offset + 1)

    # --- Forgetting -------------------------------------------------------------------

    def expire(self, now_ms: int) -> int:
        """Forget the producers that have been silent too long; return how many those were."""
        silent = [
            producer_id
            for producer_id, producer in self._producers.items()
            if producer.transaction_first_offset == NO_OFFSET
            and now_ms - producer.timestamp_ms >= self._expiration_ms
        ]
        for producer_id in silent:
            del self._producers[producer_id]
        return len(silent)

    def set_expiration(self, expiration_ms: int) -> None:
        """Change after how long a silence :meth:`expire` forgets."""
        self._expiration_ms = expiration_ms

    def delete_before(self, log_start_offset: Offset) -> None:
        """Let the log begin at ``log_start_offset``.

        Transactions that ended below it hold nothing back any more. The producers stay:
        their next batches must still follow their last ones (KIP-360).
        """
        for first_offset, marker_offset in list(self._completed.items()):
            if marker_offset < log_start_offset:
                del self._completed[first_offset]

    def clear(self) -> None:
        """Forget everything. To truncate: clear, load the snapshot below, append what follows."""
        self._producers.clear()
        self._open.clear()
        self._completed.clear()

    # --- Snapshots ------------------------------------------------------------------------

    def entries(self) -> tuple[ProducerEntry, ...]:
        """List all producers as a snapshot has them, the longest silent first."""
        return tuple(_as_entry(*item) for item in self._producers.items())

    def encode(self) -> bytes:
        """Write the content of a snapshot file."""
        body = bytearray(_COUNT.pack(len(self._producers)))
        for item in self._producers.items():
            body += _ENTRY.pack(*_as_entry(*item))
        return _PREFIX.pack(SNAPSHOT_VERSION, crc32c(body)) + body

    def load(self, content: bytes) -> None:
        """Replace everything by what a snapshot file says.

        Raises :exc:`ValueError`, saying what is wrong, if it is damaged or of an unknown
        version. An older snapshot, or the log alone, does as well.
        """
        entries = decode_entries(content)
        self.clear()
        for entry in entries:
            producer = _Producer(entry.epoch, entry.coordinator_epoch, entry.timestamp_ms)
            if entry.last_offset >= 0:
                _enter_batch(producer, entry.last_sequence, entry.last_offset, entry.offset_delta)
            if entry.transaction_first_offset >= 0:
                producer.transaction_first_offset = entry.transaction_first_offset
                self._open[entry.transaction_first_offset] = entry.producer_id
            self._producers[entry.producer_id] = producer

    @classmethod
    def decode(cls, content: bytes, *, expiration_ms: int) -> ProducerStates:
        """Make the states that a snapshot file describes; raises as :meth:`load` does."""
        states = cls(expiration_ms=expiration_ms)
        states.load(content)
        return states

    # --- Inside ----------------------------------------------------------------------------

    def _touched(self, producer_id: ProducerId) -> _Producer:
        """Find or make a producer's state, and put it behind all that have been silent longer."""
        producer = self._producers.pop(producer_id, None)
        if producer is None:
            producer = _Producer(ProducerEpoch(-1))
            if len(self._producers) >= self._producers_max:
                self._forget_longest_silent()
        self._producers[producer_id] = producer
        return producer

    def _forget_longest_silent(self) -> None:
        for producer_id, producer in self._producers.items():
            if producer.transaction_first_offset == NO_OFFSET:
                del self._producers[producer_id]
                return


def decode_entries(content: bytes) -> list[ProducerEntry]:
    """Read a snapshot file; :exc:`ValueError` as of :meth:`ProducerStates.load`."""
    if len(content) < _PREFIX.size + _COUNT.size:
        raise ValueError(f"{len(content)} bytes are too few for a producer snapshot")
    version, crc = _PREFIX.unpack_from(content)
    if version != SNAPSHOT_VERSION:
        raise ValueError(f"version {version} is not {SNAPSHOT_VERSION}, the only one known")
    body = memoryview(content)[_PREFIX.size :]
    if crc32c(body) != crc:
        raise ValueError(f"the checksum is {crc32c(body):#010x}, but the file says {crc:#010x}")
    (count,) = _COUNT.unpack_from(body)
    entries = body[_COUNT.size :]
    if len(entries) != count * _ENTRY.size:
        raise ValueError(f"{len(entries)} bytes do not hold {count} entries of {_ENTRY.size}")
    return [ProducerEntry._make(fields) for fields in _ENTRY.iter_unpack(entries)]


def _find_duplicate(header: BatchHeader, batches: Iterable[_Batch]) -> Duplicate | None:
    first, last = header.base_sequence, header.last_sequence
    for batch in batches:
        if batch.first_sequence == first and batch.last_sequence == last:
            base_offset = Offset(batch.last_offset - batch.offset_delta)
            return Duplicate(base_offset, batch.last_offset, batch.timestamp_ms)
    return None


def _check_epoch_and_sequence(header: BatchHeader, known: _Producer) -> None:
    producer_id, epoch = header.producer_id, header.producer_epoch
    if epoch < known.epoch:
        raise InvalidProducerEpochError(
            f"producer {producer_id} writes at epoch {epoch}, but this partition has seen epoch "
            f"{known.epoch}; a newer instance has taken over"
        )
    if epoch > known.epoch:
        if header.base_sequence != 0:
            raise OutOfOrderSequenceError(
                f"producer {producer_id} begins epoch {epoch} with sequence "
                f"{header.base_sequence}; after epoch {known.epoch}, it must begin with 0"
            )
        return
    expected = 0 if known.last_sequence == SEQUENCE_MAX else known.last_sequence + 1
    if header.base_sequence != expected:
        raise OutOfOrderSequenceError(
            f"producer {producer_id} at epoch {epoch} sends sequences {header.base_sequence} to "
            f"{header.last_sequence}, but {expected} is next; batches between are missing, or "
            "this is a retry older than the last "
            f"{BATCHES_REMEMBERED_PER_PRODUCER} batches"
        )


def _after(known: _Producer | None, previous: BatchHeader) -> _Producer:
    """Copy the state, with ``previous`` appended."""
    if known is None:
        copy = _Producer(ProducerEpoch(-1))
    else:
        copy = _Producer(
            known.epoch,
            known.coordinator_epoch,
            known.timestamp_ms,
            known.transaction_first_offset,
            known.batches.copy(),
        )
    _remember(copy, previous)
    if previous.is_transactional and copy.transaction_first_offset == NO_OFFSET:
        copy.transaction_first_offset = Offset(previous.base_offset)
    return copy


def _remember(producer: _Producer, header: BatchHeader) -> None:
    _enter_epoch(producer, ProducerEpoch(header.producer_epoch))
    producer.timestamp_ms = header.max_timestamp
    _enter_batch(
        producer, header.last_sequence, Offset(header.last_offset), header.last_offset_delta
    )


def _enter_epoch(producer: _Producer, epoch: ProducerEpoch) -> None:
    if producer.epoch != epoch:
        producer.batches.clear()
        producer.epoch = epoch


def _enter_batch(
    producer: _Producer, last_sequence: int, last_offset: Offset, offset_delta: int
) -> None:
    # The counter has 2^31 values; in a batch that wraps, the first is above the last.
    first_sequence = (last_sequence - offset_delta) & SEQUENCE_MAX
    producer.batches.append(
        _Batch(first_sequence, last_sequence, last_offset, offset_delta, producer.timestamp_ms)
    )


def _as_entry(producer_id: int, producer: _Producer) -> ProducerEntry:
    last = producer.batches[-1] if producer.batches else None
    return ProducerEntry(
        ProducerId(producer_id),
        producer.epoch,
        producer.last_sequence,
        last.last_offset if last else NO_OFFSET,
        last.offset_delta if last else 0,
        producer.timestamp_ms,
        producer.coordinator_epoch,
        producer.transaction_first_offset,
    )
