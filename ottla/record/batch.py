"""A record batch as the broker sees it: 61 bytes of header, and a rest that it leaves alone.

The batch is the unit of everything: what a producer sends, what a segment holds, what followers
and consumers fetch. The layout is Kafka's record batch, version 2, big-endian:

    position  bytes  field                     position  bytes  field
           0      8  base offset                     27      8  base timestamp
           8      4  length of what follows          35      8  max timestamp
          12      4  partition leader epoch          43      8  producer id
          16      1  magic = 2                       51      2  producer epoch
          17      4  CRC-32C of bytes 21 onwards     53      4  base sequence
          21      2  attributes                      57      4  record count
          23      4  last offset delta               61      -  records, perhaps compressed

The checksum begins at the attributes. So the leader can write base offset and leader epoch, which
only it knows, into a batch that passes through, and the producer's checksum still guards the
records all the way to the consumer. :func:`restamped` and :func:`restamp_in_place` do that;
whoever changes anything else must make a new checksum, as :func:`with_log_append_time` does.

Nothing here looks behind the header: see :mod:`ottla.record.records` for that.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from crc32c import crc32c

from ottla.model.errors import CorruptMessageError, UnsupportedCompressionError
from ottla.model.limits import SEQUENCE_MAX
from ottla.record.compression import Buffer, Codec

HEADER_BYTES: Final = 61
MAGIC: Final = 2

BASE_BYTES: Final = 12
"""Base offset and length: what the length field does not count."""
STAMPED_BYTES: Final = 16
"""Up to and including the leader epoch: what re-stamping replaces."""
CHECKED_FROM: Final = 21
"""Where the bytes begin that the checksum covers."""

CODEC_MASK: Final = 0x07
LOG_APPEND_TIME_BIT: Final = 0x08
TRANSACTIONAL_BIT: Final = 0x10
CONTROL_BIT: Final = 0x20
DELETE_HORIZON_BIT: Final = 0x40

NO_PRODUCER_EPOCH: Final = -1
NO_SEQUENCE: Final = -1

HEADER: Final = Struct(">qiibIhiqqqhii")
STAMPED: Final = Struct(">qii")
CHECKED: Final = Struct(">hiqqqhii")
"""The header from the attributes on."""
_BASE_OFFSET: Final = Struct(">q")
_LEADER_EPOCH: Final = Struct(">i")
_LEADER_EPOCH_POSITION: Final = 12


class TimestampType(IntEnum):
    """Who stamps a record: its producer, or the broker when it appends it."""

    CREATE_TIME = 0
    LOG_APPEND_TIME = 1


class BatchHeader(NamedTuple):
    """The fields of a header, as they stand in the batch."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_bytes(self) -> int:
        """The whole batch, header included."""
        return BASE_BYTES + self.batch_length

    @property
    def last_offset(self) -> int:
        """The offset of the last record, even if compaction has since removed it."""
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """Where the next batch begins: the exclusive end of this one."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def codec(self) -> Codec:
        """How the records are compressed; :exc:`UnsupportedCompressionError` if nobody knows."""
        number = self.attributes & CODEC_MASK
        if number > Codec.ZSTD:
            raise UnsupportedCompressionError(
                f"the batch at offset {self.base_offset} names codec {number}; "
                f"known are 0 to {Codec.ZSTD:d} (none, gzip, snappy, lz4, zstd)"
            )
        return Codec(number)

    @property
    def timestamp_type(self) -> TimestampType:
        """Whether the records carry their own timestamps or all have ``max_timestamp``."""
        if self.attributes & LOG_APPEND_TIME_BIT:
            return TimestampType.LOG_APPEND_TIME
        return TimestampType.CREATE_TIME

    @property
    def is_transactional(self) -> bool:
        """Whether the batch is part of a transaction, or ends one."""
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        """Whether its one record is a transaction marker, which consumers do not see."""
        return bool(self.attributes & CONTROL_BIT)

    @property
    def has_delete_horizon(self) -> bool:
        """Whether ``base_timestamp`` says when compaction may drop the tombstones (KIP-534)."""
        return bool(self.attributes & DELETE_HORIZON_BIT)

    @property
    def has_producer(self) -> bool:
        """Whether an idempotent producer numbered the batch."""
        return self.producer_id >= 0

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record, which wraps from 2147483647 to 0; -1 if none."""
        if self.base_sequence < 0:
            return NO_SEQUENCE
        return (self.base_sequence + self.last_offset_delta) & SEQUENCE_MAX


class RecordBatch:
    """One whole batch: its header, read once, and a view of exactly its bytes."""

    __slots__ = ("header", "view")

    def __init__(self, header: BatchHeader, view: memoryview) -> None:
        assert BASE_BYTES + header.batch_length == len(view), (header, len(view))
        self.header = header
        self.view = view

    @classmethod
    def at(cls, buffer: Buffer, position: int = 0) -> RecordBatch:
        """Take the batch that begins at ``position``, without copying.

        Raises:
            CorruptMessageError: no whole batch of version 2 is there.
        """
        header = read_header(buffer, position)
        end = position + BASE_BYTES + header.batch_length
        if end > len(buffer):
            raise CorruptMessageError(
                f"the batch at byte {position} is {header.size_bytes} bytes long, but only "
                f"{len(buffer) - position} are there"
            )
        return cls(header, memoryview(buffer)[position:end])

    @property
    def records(self) -> memoryview:
        """What follows the header: the records, perhaps compressed."""
        return self.view[HEADER_BYTES:]

    def __repr__(self) -> str:
        header = self.header
        return (
            f"<RecordBatch [{header.base_offset},{header.last_offset}] epoch "
            f"{header.partition_leader_epoch} attributes {header.attributes:#x} "
            f"{header.record_count} records {header.size_bytes} bytes>"
        )


# --- Reading ----------------------------------------------------------------------


def read_header(buffer: Buffer, position: int = 0) -> BatchHeader:
    """Read the header of the batch that begins at ``position``; the rest need not be there.

    Raises:
        CorruptMessageError: fewer than 61 bytes are there, the magic is not 2, or the length is
            too small for a header.
    """
    assert position >= 0, position
    if len(buffer) - position < HEADER_BYTES:
        raise CorruptMessageError(
            f"{max(0, len(buffer) - position)} bytes at byte {position} are too few for a batch "
            f"header of {HEADER_BYTES}"
        )
    header = BatchHeader._make(HEADER.unpack_from(buffer, position))
    if header.magic != MAGIC:
        raise CorruptMessageError(
            f"the batch at byte {position} has magic {header.magic}; only {MAGIC} is supported"
        )
    if header.batch_length < HEADER_BYTES - BASE_BYTES:
        raise CorruptMessageError(
            f"the batch at byte {position} claims a length of {header.batch_length}; "
            f"a header alone takes {HEADER_BYTES - BASE_BYTES}"
        )
    return header


def split_batches(buffer: Buffer) -> list[RecordBatch]:
    """Take ``buffer`` apart into the batches that it holds, without copying.

    Raises:
        CorruptMessageError: something in it is not a whole batch; the message says at which byte.
    """
    view = memoryview(buffer)
    size = len(view)
    position = 0
    batches = []
    while position < size:
        batch = RecordBatch.at(view, position)
        batches.append(batch)
        position += len(batch.view)
    return batches


def computed_crc(batch: RecordBatch) -> int:
    """Return the checksum that the header should have: CRC-32C (Castagnoli, RFC 3720)."""
    return crc32c(batch.view[CHECKED_FROM:])


def crc_matches(batch: RecordBatch) -> bool:
    """Whether the checksum in the header is that of the bytes."""
    return computed_crc(batch) == batch.header.crc


# --- Writing into the header --------------------------------------------------------


def restamped(
    batch: RecordBatch, *, base_offset: int, leader_epoch: int
) -> tuple[bytes, memoryview]:
    """Give the batch its place in the log: sixteen new bytes, and a view of all the others.

    Made for a gathering write, so that the records are never copied. The checksum stays valid.
    """
    stamp = STAMPED.pack(base_offset, batch.header.batch_length, leader_epoch)
    return stamp, batch.view[STAMPED_BYTES:]


def restamp_in_place(
    buffer: bytearray | memoryview, position: int, *, base_offset: int, leader_epoch: int
) -> None:
    """Give the batch at ``position`` its place in the log, within a buffer that may be written."""
    _BASE_OFFSET.pack_into(buffer, position, base_offset)
    _LEADER_EPOCH.pack_into(buffer, position + _LEADER_EPOCH_POSITION, leader_epoch)


def with_log_append_time(batch: RecordBatch, *, now_ms: int) -> RecordBatch:
    """Copy the batch as one that the broker stamped at ``now_ms``.

    Every record then has that timestamp, which stands in the header as the maximum; what the
    records say themselves is left as it was and no longer counts (KIP-32).
    """
    header = batch.header
    return with_header(
        header._replace(attributes=header.attributes | LOG_APPEND_TIME_BIT, max_timestamp=now_ms),
        batch.records,
    )


def with_header(header: BatchHeader, records: Buffer) -> RecordBatch:
    """Assemble a batch from header fields and record bytes, with the right length and checksum."""
    checked = CHECKED.pack(*header[5:])
    crc = crc32c(records, crc32c(checked))
    header = header._replace(
        batch_length=HEADER_BYTES - BASE_BYTES + len(records), magic=MAGIC, crc=crc
    )
    return RecordBatch(header, memoryview(b"".join((HEADER.pack(*header), records))))
