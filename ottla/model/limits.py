"""Every bound in one place, each with its reason."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# --- Requests -------------------------------------------------------------------

REQUEST_BYTES_MAX: Final = 8 * MIB
"""One gRPC message. Eight default-sized batches; a larger one would hold the event loop for
milliseconds while it is copied."""

FETCH_RESPONSE_BYTES_MAX: Final = 7 * MIB
"""Records in one response: what is left of a message for names, offsets and errors."""

FETCH_RESPONSE_BYTES_DEFAULT: Final = 4 * MIB
FETCH_PARTITION_BYTES_DEFAULT: Final = 1 * MIB
"""Kafka's ``max.partition.fetch.bytes``."""

FETCH_WAIT_MAX_MS: Final = 60_000
"""A long poll outlives neither a proxy's idle timeout nor a reader's patience."""

FETCH_CREDIT_BYTES_MAX: Final = 1 * GIB
"""A client that grants more than this has lost count."""

PRODUCE_TIMEOUT_DEFAULT_MS: Final = 30_000
"""Kafka's ``request.timeout.ms``."""

PRODUCE_TIMEOUT_MAX_MS: Final = 600_000

PRODUCE_STREAM_UNANSWERED_BYTES_MAX: Final = 64 * MIB
"""Held in memory for one stream while its acknowledgements are outstanding: a second of the
fastest disk that we measured, at 64 KiB batches."""

PARTITIONS_PER_REQUEST_MAX: Final = 10_000
"""Keeps the work of one request under some tens of milliseconds of the event loop."""

TOPICS_PER_REQUEST_MAX: Final = 1_000

# --- Records and batches ---------------------------------------------------------

BATCH_BYTES_MAX: Final = REQUEST_BYTES_MAX
"""No batch is larger than the largest request, whatever ``max.message.bytes`` says."""

RECORDS_PER_BATCH_MAX: Final = 1_000_000
"""An iterator over a batch ends after this many, whatever the header claims. A batch of
``REQUEST_BYTES_MAX`` holds at most a seventh of it uncompressed; compressed ones more."""

HEADERS_PER_RECORD_MAX: Final = 10_000
"""A record's header count is a varint that may claim anything."""

DECOMPRESSED_BYTES_MAX: Final = 128 * MIB
"""What a compressed batch may expand to where the broker reads its records."""

# --- Producers ------------------------------------------------------------------

BATCHES_REMEMBERED_PER_PRODUCER: Final = 5
"""A client has at most five batches in flight for a partition (KIP-98)."""

PRODUCER_ID_BLOCK_SIZE: Final = 1_000
"""Ids that a broker takes from the controller at a time, as in Kafka."""

SEQUENCE_MAX: Final = 2**31 - 1

# --- Topics -----------------------------------------------------------------------

TOPIC_NAME_CHARACTERS_MAX: Final = 249
"""Leaves room for ``-2147483647`` in a directory name of 255 bytes, less Kafka's own margin."""

PARTITIONS_PER_TOPIC_MAX: Final = 10_000
REPLICATION_FACTOR_MAX: Final = 32_767

# --- Metadata log -------------------------------------------------------------------

METADATA_ENTRY_BYTES_MAX: Final = 1 * MIB
"""One proposal. Must stay below the append batch of the Raft engine, which never splits entries."""

METADATA_PROPOSALS_MAX: Final = 10_000
"""Proposals waiting at once; the next caller is told to come back."""
