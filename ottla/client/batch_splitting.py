"""A batch that is too large for its topic goes on in halves, which may be halved again.

The halves take the place of the batch: its sequence numbers, its order, its time. A record's handle
stays with the batch that it was put into; what becomes of the parts is gathered here, and settles
the batch when nothing is missing any more.

Whether a batch of unknown fate is in the log cannot be asked with its halves, for a broker knows a
repetition by its first *and* last sequence number. Until one half is acknowledged, "out of order"
may therefore mean that the whole is in the log already: the parts are *in doubt*.
"""

from __future__ import annotations

from itertools import islice

from ottla.client.delivery import Appended, Parts, ProducerBatch, SplitOutcome
from ottla.model.errors import OttlaError
from ottla.model.limits import SEQUENCE_MAX
from ottla.record.batch import RecordBatch
from ottla.record.builder import BatchBuilder
from ottla.record.records import Record, iterate_records


def split(batch: ProducerBatch) -> tuple[ProducerBatch, ProducerBatch]:
    """Return two batches with the records of ``batch``, which was sent and has several.

    They are to be sent in its place; :func:`part_settled` tells when all of them are settled.
    """
    assert batch.payload is not None, "it was sent"
    assert batch.record_count > 1, "a record is not divided"
    sent = RecordBatch.at(batch.payload)
    records = iterate_records(sent)
    parts = batch.parts
    if parts is None:
        parts = batch.parts = Parts(batch)
    else:
        parts.unsettled.remove(batch)
    parts.in_doubt |= batch.may_be_appended
    # Not kept: handles keep the batch.
    batch.payload = None
    middle = (batch.record_count + 1) // 2
    halves = (
        _part(batch, parts, list(islice(records, middle)), 0, sent),
        _part(batch, parts, list(records), middle, sent),
    )
    parts.unsettled += halves
    return halves


def part_settled(
    part: ProducerBatch, outcome: Appended | OttlaError
) -> tuple[ProducerBatch, SplitOutcome] | None:
    """Note what became of a part; return the whole and its outcome if that was the last."""
    parts = part.parts
    assert parts is not None
    parts.unsettled.remove(part)
    parts.outcomes[part.first_index] = outcome
    if parts.unsettled:
        return None
    return parts.whole, SplitOutcome(
        tuple((first, parts.outcomes[first]) for first in sorted(parts.outcomes))
    )


def _part(
    batch: ProducerBatch, parts: Parts, records: list[Record], begin: int, sent: RecordBatch
) -> ProducerBatch:
    """Make a batch of the records of ``batch`` from number ``begin`` on."""
    builder = BatchBuilder(sent.header.codec)
    for record in records:
        builder.append(
            key=record.key,
            value=record.value,
            headers=record.headers,
            timestamp_ms=record.timestamp_ms,
        )
    part = ProducerBatch(
        batch.topic_partition,
        builder,
        serial=batch.serial,
        created_ms=batch.created_ms,
        reserved_bytes=builder.size_bytes,
    )
    part.parts = parts
    part.first_index = batch.first_index + begin
    part.record_count = len(records)
    # What is behind it has to wait, as behind any batch that is sent again.
    part.failures = 1
    if batch.producer_id >= 0:
        part.number(
            producer_id=batch.producer_id,
            producer_epoch=batch.producer_epoch,
            base_sequence=(batch.base_sequence + begin) & SEQUENCE_MAX,
        )
    part.seal()
    return part
