"""Read the records of a batch. Only consumers, tools and the rare paths of a broker do this.

A record is a length and then, within exactly that length:

    attributes (1 byte, unused)   timestamp delta (varlong)   offset delta (varint)
    key length (varint, -1 null)  key                         value length, value: likewise
    header count (varint)         headers: name length, name in UTF-8, value length, value

Nothing in it is to be believed. Records number at most what the header says, which is at most
``RECORDS_PER_BATCH_MAX``; each must end where its length says; offsets rise and stay within the
batch; decompression is bounded; nothing may be left over. Whatever is wrong ends the iteration
with one of two errors, so a damaged batch cannot crash or stall who reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, NoReturn

from ottla.model.errors import InvalidRecordError, UnsupportedCompressionError
from ottla.model.limits import (
    DECOMPRESSED_BYTES_MAX,
    HEADERS_PER_RECORD_MAX,
    RECORDS_PER_BATCH_MAX,
)
from ottla.record.batch import BatchHeader, RecordBatch, TimestampType
from ottla.record.compression import decompress
from ottla.record.varint import ONE_BYTE_DECODED, read_varint, read_varlong

_NULL: Final = 0x01
"""A length of -1."""
_TIMESTAMP_MIN_MS: Final = -(2**63)
_TIMESTAMP_MAX_MS: Final = 2**63 - 1


class Record(NamedTuple):
    """One record, as a consumer gets it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def iterate_records(
    batch: RecordBatch, *, decompressed_bytes_max: int = DECOMPRESSED_BYTES_MAX
) -> Iterator[Record]:
    """Return the records of ``batch`` in order of offset, decoded one at a time as they are taken.

    The checksum is not looked at: ask :func:`~ottla.record.batch.crc_matches` first if the bytes
    come from elsewhere. The records before a damaged one come out before the error.

    Raises:
        CorruptMessageError: at once, if the records do not decompress to
            ``decompressed_bytes_max`` or less.
        InvalidRecordError: at once, if their number or codec is impossible; while iterating, if a
            record is not what the format allows.
    """
    header = batch.header
    if not 0 <= header.record_count <= RECORDS_PER_BATCH_MAX:
        raise InvalidRecordError(
            f"the batch at offset {header.base_offset} claims {header.record_count} records; "
            f"0 to {RECORDS_PER_BATCH_MAX} are possible"
        )
    return _iterate(header, record_bytes(batch, decompressed_bytes_max=decompressed_bytes_max))


def record_bytes(
    batch: RecordBatch, *, decompressed_bytes_max: int = DECOMPRESSED_BYTES_MAX
) -> bytes:
    """Return the records of ``batch`` in one piece, decompressed.

    Raises:
        CorruptMessageError: they do not decompress to ``decompressed_bytes_max`` or less.
        InvalidRecordError: the codec does not exist.
    """
    try:
        codec = batch.header.codec
    except UnsupportedCompressionError as error:
        raise InvalidRecordError(str(error)) from error
    content = batch.records
    if not content:
        # Compaction leaves empty batches behind, and an empty string is no codec's output.
        return b""
    return decompress(codec, content, size_bytes_max=decompressed_bytes_max)


def _iterate(header: BatchHeader, payload: bytes) -> Iterator[Record]:
    base_offset, base_timestamp_ms = header.base_offset, header.base_timestamp
    last_offset_delta = header.last_offset_delta
    appended = header.timestamp_type is TimestampType.LOG_APPEND_TIME
    position = 0
    offset_delta = -1
    new = tuple.__new__
    try:
        for _ in range(header.record_count):
            length, position = read_varint(payload, position)
            end = position + length
            delta_ms = ONE_BYTE_DECODED[payload[position + 1]]
            if delta_ms is not None:
                position += 2
            else:
                delta_ms, position = read_varlong(payload, position + 1)
            previous_delta = offset_delta
            offset_delta, position = read_varint(payload, position)
            if payload[position] == _NULL:
                key = None
                position += 1
            else:
                key, position = _read_bytes(payload, position)
            value, position = _read_bytes(payload, position)
            if payload[position]:
                headers, position = _read_headers(payload, position)
            else:
                headers = ()
                position += 1
            timestamp_ms = header.max_timestamp if appended else base_timestamp_ms + delta_ms
            if (
                position != end
                or not previous_delta < offset_delta <= last_offset_delta
                or not _TIMESTAMP_MIN_MS <= timestamp_ms <= _TIMESTAMP_MAX_MS
            ):
                _refuse(position - end, previous_delta, offset_delta, header, timestamp_ms)
            yield new(Record, (base_offset + offset_delta, timestamp_ms, key, value, headers))
    except (IndexError, InvalidRecordError) as error:
        reason = error if isinstance(error, InvalidRecordError) else "the bytes end within it"
        raise InvalidRecordError(
            f"the batch at offset {base_offset} claims {header.record_count} records; one is "
            f"malformed, near byte {position} of {len(payload)}: {reason}"
        ) from error
    if position != len(payload):
        raise InvalidRecordError(
            f"the batch at offset {base_offset} has {len(payload) - position} bytes left after "
            f"the {header.record_count} records that its header claims"
        )


def _refuse(
    overrun_bytes: int,
    previous_delta: int,
    offset_delta: int,
    header: BatchHeader,
    timestamp_ms: int,
) -> NoReturn:
    if overrun_bytes:
        raise InvalidRecordError(f"its fields end {overrun_bytes} bytes past what its length says")
    if not previous_delta < offset_delta <= header.last_offset_delta:
        raise InvalidRecordError(
            f"offset delta {offset_delta} follows {previous_delta}, and the header says that the "
            f"last is {header.last_offset_delta}"
        )
    raise InvalidRecordError(f"its timestamp, {timestamp_ms}, does not fit 64 bits")


def _read_bytes(payload: bytes, position: int) -> tuple[bytes | None, int]:
    length, position = read_varint(payload, position)
    if length < 0:
        if length != -1:
            raise InvalidRecordError(f"a length of {length}; only -1 (null) may be negative")
        return None, position
    end = position + length
    if end > len(payload):
        raise IndexError(end)
    return payload[position:end], end


def _read_headers(
    payload: bytes, position: int
) -> tuple[tuple[tuple[str, bytes | None], ...], int]:
    count, position = read_varint(payload, position)
    if not 0 <= count <= HEADERS_PER_RECORD_MAX:
        raise InvalidRecordError(
            f"it claims {count} headers; 0 to {HEADERS_PER_RECORD_MAX} are possible"
        )
    headers = []
    for _ in range(count):
        name, position = _read_bytes(payload, position)
        if name is None:
            raise InvalidRecordError("a header has no name")
        value, position = _read_bytes(payload, position)
        try:
            headers.append((name.decode(), value))
        except UnicodeDecodeError as error:
            raise InvalidRecordError(f"a header's name is not UTF-8: {error}") from error
    return tuple(headers), position
