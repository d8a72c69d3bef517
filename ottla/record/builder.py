"""Make a record batch out of keys, values and headers.

A batch is filled record by record, because whoever fills it (a producer's accumulator) must
know after each whether the next one still fits. The size is exact, not an estimate: the batch
never passes ``size_bytes_max`` unless a single record does.

Speed decides the shape. What surrounds a record's key and value is, nearly always, a handful of
numbers below 8192, which :data:`~ottla.record.varint.SMALL_ENCODED` has ready. The pieces go into a
list, by reference, and are joined once, at the end. Whatever is unusual (headers, a null value,
another timestamp than the last, large numbers) takes the long way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ottla.model.errors import InvalidTimestampError, MessageTooLargeError
from ottla.model.ids import NO_PRODUCER_ID, NO_TIMESTAMP_MS
from ottla.model.limits import BATCH_BYTES_MAX, RECORDS_PER_BATCH_MAX
from ottla.record.batch import (
    HEADER_BYTES,
    NO_PRODUCER_EPOCH,
    NO_SEQUENCE,
    TRANSACTIONAL_BIT,
    BatchHeader,
    with_header,
)
from ottla.record.compression import Codec, compress
from ottla.record.varint import SMALL_ENCODED, VARINT_BYTES_MAX, VARLONG_BYTES_MAX, encode

Headers = Sequence[tuple[str, bytes | None]]

_NO_LEADER_EPOCH: Final = -1
_ATTRIBUTES: Final = b"\x00"
_NULL: Final = encode(-1)
_NO_HEADERS: Final = encode(0)
_SMALL: Final = len(SMALL_ENCODED)
_SMALL_CONTENT: Final = _SMALL - 32
"""Key and value of fewer bytes together, and the length of the whole record is in the table: what
is around them (attributes, two deltas, two lengths, header count) takes 18 bytes at most."""
_TIMESTAMP_END_MS: Final = 2**63
_RECORD_OVERHEAD_BYTES_MAX: Final = (
    VARINT_BYTES_MAX  # length of the record
    + len(_ATTRIBUTES)
    + VARLONG_BYTES_MAX  # timestamp delta
    + VARINT_BYTES_MAX  # offset delta
    + 3 * VARINT_BYTES_MAX  # lengths of key and value, number of headers
)


class BatchBuilder:
    """Fills one batch.

    Args:
        codec: how to compress the records. A batch that does not become smaller is sent plain, so
            that compression never makes it pass ``size_bytes_max``.
        producer_id: of an idempotent producer, with its ``producer_epoch`` and the sequence
            number of the first record (KIP-98).
        producer_epoch: see ``producer_id``.
        base_sequence: see ``producer_id``.
        is_transactional: whether the batch belongs to a transaction.
        size_bytes_max: what the batch may grow to before compression, header included. A single
            record may be larger, up to ``BATCH_BYTES_MAX``.
    """

    __slots__ = (
        "_base_timestamp_ms",
        "_codec",
        "_max_timestamp_ms",
        "_parts",
        "_stamp",
        "_timestamp_ms",
        "_transactional_bit",
        "base_sequence",
        "producer_epoch",
        "producer_id",
        "record_count",
        "size_bytes",
        "size_bytes_max",
    )

    def __init__(
        self,
        codec: Codec = Codec.NONE,
        *,
        producer_id: int = NO_PRODUCER_ID,
        producer_epoch: int = NO_PRODUCER_EPOCH,
        base_sequence: int = NO_SEQUENCE,
        is_transactional: bool = False,
        size_bytes_max: int = BATCH_BYTES_MAX,
    ) -> None:
        assert not is_transactional or producer_id >= 0, "a transaction has a producer"
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.base_sequence = base_sequence
        self.size_bytes_max = min(size_bytes_max, BATCH_BYTES_MAX)
        self.record_count = 0
        self.size_bytes = HEADER_BYTES
        self._codec = codec
        self._transactional_bit = TRANSACTIONAL_BIT if is_transactional else 0
        self._parts: list[bytes] = []
        self._base_timestamp_ms = NO_TIMESTAMP_MS
        self._max_timestamp_ms = NO_TIMESTAMP_MS
        self._timestamp_ms: int | None = None
        self._stamp = b""

    def try_append(
        self, *, key: bytes | None, value: bytes | None, headers: Headers = (), timestamp_ms: int
    ) -> int | None:
        """Append a record if it fits; return its offset relative to the batch, else ``None``.

        The first record always fits, up to ``BATCH_BYTES_MAX``. Nothing is copied until
        :meth:`build`.

        Raises:
            InvalidTimestampError: the timestamp is below -1 (which means "none") or so far from
                the first one that 64 bits do not hold the difference.
            MessageTooLargeError: the record is the first and larger than ``BATCH_BYTES_MAX``.
        """
        count = self.record_count
        if headers or value is None or timestamp_ms != self._timestamp_ms or count >= _SMALL:
            return self._try_append_any(key, value, headers, timestamp_ms)
        content_bytes = len(value) if key is None else len(key) + len(value)
        if content_bytes >= _SMALL_CONTENT:
            return self._try_append_any(key, value, headers, timestamp_ms)
        stamp = self._stamp
        offset_delta = SMALL_ENCODED[count]
        value_length = SMALL_ENCODED[len(value)]
        body_bytes = content_bytes + len(stamp) + len(offset_delta) + len(value_length)
        parts: tuple[bytes, ...]
        if key is None:
            body_bytes += len(_NULL) + len(_NO_HEADERS)
            length = SMALL_ENCODED[body_bytes]
            parts = (length, stamp, offset_delta, _NULL, value_length, value, _NO_HEADERS)
        else:
            key_length = SMALL_ENCODED[len(key)]
            body_bytes += len(key_length) + len(_NO_HEADERS)
            length = SMALL_ENCODED[body_bytes]
            parts = (length, stamp, offset_delta, key_length, key, value_length, value, _NO_HEADERS)
        size_bytes = self.size_bytes + len(length) + body_bytes
        if size_bytes > self.size_bytes_max:
            return None
        self._parts += parts
        self.size_bytes = size_bytes
        self.record_count = count + 1
        return count

    def append(
        self, *, key: bytes | None, value: bytes | None, headers: Headers = (), timestamp_ms: int
    ) -> int:
        """Append a record that must fit; return its offset relative to the batch.

        Raises:
            InvalidTimestampError: as :meth:`try_append`.
            MessageTooLargeError: the batch would grow past ``size_bytes_max``.
        """
        offset_delta = self.try_append(
            key=key, value=value, headers=headers, timestamp_ms=timestamp_ms
        )
        if offset_delta is None:
            raise MessageTooLargeError(
                f"a batch of {self.record_count} records and {self.size_bytes} bytes has no room "
                f"for one of {size_upper_bound(key, value, headers) - HEADER_BYTES} bytes: it may "
                f"have {RECORDS_PER_BATCH_MAX} records and {self.size_bytes_max} bytes"
            )
        return offset_delta

    def build(self) -> bytes:
        """Assemble the batch, with base offset 0 and no leader epoch: the leader fills those in.

        May be called again; the builder is left as it was. At least one record must be there.
        """
        assert self.record_count > 0, "an empty batch cannot be sent"
        codec = self._codec
        records = b"".join(self._parts)
        if codec is not Codec.NONE:
            compressed = compress(codec, records)
            if len(compressed) < len(records):
                records = compressed
            else:
                codec = Codec.NONE
        header = BatchHeader(
            base_offset=0,
            batch_length=0,
            partition_leader_epoch=_NO_LEADER_EPOCH,
            magic=0,
            crc=0,
            attributes=codec | self._transactional_bit,
            last_offset_delta=self.record_count - 1,
            base_timestamp=self._base_timestamp_ms,
            max_timestamp=self._max_timestamp_ms,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            base_sequence=self.base_sequence,
            record_count=self.record_count,
        )
        return bytes(with_header(header, records).view)

    def _try_append_any(
        self, key: bytes | None, value: bytes | None, headers: Headers, timestamp_ms: int
    ) -> int | None:
        """Append any record: nothing of the builder changes until it is known to fit."""
        count = self.record_count
        base_timestamp_ms = self._base_timestamp_ms if count else timestamp_ms
        delta_ms = timestamp_ms - base_timestamp_ms
        if timestamp_ms < NO_TIMESTAMP_MS or max(timestamp_ms, delta_ms) >= _TIMESTAMP_END_MS:
            raise InvalidTimestampError(
                f"timestamp {timestamp_ms} is not one that a record can have beside "
                f"{base_timestamp_ms}: give milliseconds since 1970, or -1 for none"
            )
        stamp = _ATTRIBUTES + encode(delta_ms)
        parts = [b"", stamp, encode(count)]
        _add(parts, key)
        _add(parts, value)
        parts.append(encode(len(headers)))
        for name, content in headers:
            _add(parts, name.encode())
            _add(parts, content)
        body_bytes = sum(map(len, parts))
        length = encode(body_bytes)
        parts[0] = length
        size_bytes = self.size_bytes + len(length) + body_bytes
        if count and (size_bytes > self.size_bytes_max or count >= RECORDS_PER_BATCH_MAX):
            return None
        if size_bytes > BATCH_BYTES_MAX:
            raise MessageTooLargeError(
                f"a record makes a batch of {size_bytes} bytes; {BATCH_BYTES_MAX} are allowed"
            )
        self._parts += parts
        self._stamp = stamp
        self._timestamp_ms = timestamp_ms
        self._base_timestamp_ms = base_timestamp_ms
        self._max_timestamp_ms = max(self._max_timestamp_ms, timestamp_ms)
        self.size_bytes = size_bytes
        self.record_count = count + 1
        return count


def size_upper_bound(key: bytes | None, value: bytes | None, headers: Headers = ()) -> int:
    """Return what an uncompressed batch with only this record takes, at most, header included."""
    size_bytes = HEADER_BYTES + _RECORD_OVERHEAD_BYTES_MAX + len(key or b"") + len(value or b"")
    for name, content in headers:
        size_bytes += 2 * VARINT_BYTES_MAX + len(name.encode()) + len(content or b"")
    return size_bytes


def _add(parts: list[bytes], content: bytes | None) -> None:
    if content is None:
        parts.append(_NULL)
    else:
        parts += (encode(len(content)), content)
