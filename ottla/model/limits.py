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

GRPC_CALLS_PER_CONNECTION_MAX: Final = 1_000
"""A client needs a handful; each costs the broker some kilobytes."""

GRPC_CALLS_MAX: Final = 10_000
"""The same over all connections: some hundred megabytes of a broker that is being flooded."""

GRPC_KEEPALIVE_INTERVAL_MS: Final = 30_000
GRPC_KEEPALIVE_TIMEOUT_MS: Final = 10_000
"""A peer that vanished without a word is gone after both."""

GRPC_CLIENT_PING_INTERVAL_MIN_MS: Final = 400
"""A client that asks more often whether a connection still lives is cut off. Pings are answered
without Python; our clients send one a second."""

METADATA_WATCH_INTERVAL_MS: Final = 20
"""Between two messages of one watch of the metadata. A client can use a new leader as soon as it
hears of it; fifty times a second is often enough for what only passes."""

WAITERS_MAX: Final = 100_000
"""Requests that wait in one broker for an offset or a deadline; some 100 MB with their futures."""

ADMIN_TIMEOUT_DEFAULT_MS: Final = 30_000
"""Kafka's ``request.timeout.ms``, for requests to create, delete and change."""

ADMIN_TIMEOUT_MAX_MS: Final = 600_000

PRODUCER_ID_WAIT_MAX_MS: Final = 10_000
"""A producer that starts would rather hear that there is no controller than wait longer."""

# --- Records and batches ---------------------------------------------------------

BATCH_BYTES_MAX: Final = REQUEST_BYTES_MAX - 64 * KIB
"""No batch is larger than this, whatever ``max.message.bytes`` says: with the names, offsets and
errors around it, it must fit in the request that brings it and in the answer that takes it away."""

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

PRODUCERS_PER_PARTITION_MAX: Final = 100_000
"""Producers that a partition remembers. About 100 MB of memory if all are active; beyond it the
longest silent is forgotten, and could then repeat a batch unnoticed."""

PRODUCER_ID_BLOCK_SIZE: Final = 1_000
"""Ids that a broker takes from the controller at a time, as in Kafka."""

SEQUENCE_MAX: Final = 2**31 - 1

# --- Topics -----------------------------------------------------------------------

TOPIC_NAME_CHARACTERS_MAX: Final = 249
"""Leaves room for ``-2147483647`` in a directory name of 255 bytes, less Kafka's own margin."""

PARTITIONS_PER_TOPIC_MAX: Final = 10_000
REPLICATION_FACTOR_MAX: Final = 32_767

LOGS_PER_DIRECTORY_MAX: Final = 20_000
"""Partitions on one broker. Each takes some descriptors, a few kilobytes and its share of every
checkpoint; a start after a crash opens them one after another."""

# --- Metadata log -------------------------------------------------------------------

METADATA_ENTRY_BYTES_MAX: Final = 1 * MIB
"""One proposal. Must stay below the append batch of the Raft engine, which never splits entries."""

METADATA_PROPOSALS_MAX: Final = 10_000
"""Proposals waiting at once; the next caller is told to come back."""

METADATA_PROPOSED_BYTES_MAX: Final = 64 * MIB
"""The same in bytes: what a leader that lost its quorum may pile up in memory before it notices."""

METADATA_APPEND_BYTES_MAX: Final = 4 * MIB
"""Entries in one message between voters: several of the largest, and well below a gRPC message."""

METADATA_IN_FLIGHT_BYTES_MAX: Final = 16 * MIB
"""Entries sent to one peer and not acknowledged: keeps the link busy, and its queue short."""

METADATA_LOG_ENTRIES_MAX: Final = 5_000
"""Applied entries kept before a snapshot replaces them: a restart replays them in milliseconds."""

METADATA_LOG_BYTES_MAX: Final = 16 * MIB
"""The same in bytes; the log is in memory."""

METADATA_TRAILING_ENTRIES_MAX: Final = 500
"""Applied entries that stay behind a snapshot, so that a peer which is a moment behind is sent
those and not the whole state."""

METADATA_TRAILING_BYTES_MAX: Final = 1 * MIB

METADATA_SNAPSHOT_BYTES_MAX: Final = 512 * MIB
"""A snapshot is in memory while it is sent or received; 200,000 partitions take some 20 MiB."""

METADATA_SNAPSHOT_CHUNK_BYTES: Final = 1 * MIB
"""One message of a snapshot on its way; one is under way at a time to each peer."""

RAFT_OUTBOX_MESSAGES_MAX: Final = 1_000
"""Messages that wait for the journal to be synced; at the bound it is synced at once."""

RAFT_WAITING_MESSAGES_MAX: Final = 10_000
RAFT_WAITING_BYTES_MAX: Final = 32 * MIB
"""Messages of one link that wait to be sent, or to be taken by the engine of the receiver. Twice
the bytes that a leader has under way to one peer; a peer that is as far behind as that is better
off with a new link, which begins where it stands."""

RAFT_TICK_PASSES_MAX: Final = 8
"""How often one tick of the Raft engine starts over because answering proposed something new."""

METADATA_BATCHES_REMEMBERED: Final = 1_000
"""Whose answers a retry gets again. A proposer retries within seconds and has few under way; one
entry takes some 50 bytes of every snapshot."""

CLUSTER_ID_CHARACTERS_MAX: Final = 100
"""A UUID in any spelling, and a name that somebody chose."""

BROKERS_MAX: Final = 1_000
"""Registered with one cluster. Placement looks at every broker for every replica at worst."""

BROKER_HOST_CHARACTERS_MAX: Final = 253
"""A DNS name's."""

BROKER_RACK_CHARACTERS_MAX: Final = 255

# --- HTTP port ----------------------------------------------------------------------

HTTP_REQUEST_BYTES_MAX: Final = 16 * KIB
"""Request line and headers. What browsers and proxies send stays below half of it."""

HTTP_CONNECTIONS_MAX: Final = 64
"""A few scrapers, probes and people; each is a descriptor that the log could use."""

HTTP_REQUEST_TIMEOUT_S: Final = 15.0
"""From one request on a connection to the end of the next one's headers. Scrapers that ask more
rarely connect anew."""

HTTP_RESPONSE_TIMEOUT_S: Final = 30.0
"""For the reader to take the answer, a few megabytes with thousands of partitions."""

HTTP_LINGER_S: Final = 1.0
"""For the sender of a bad request to read what was wrong with it."""

HTTP_LINGER_READS_MAX: Final = 64
"""Pieces of up to 4 KiB that are thrown away meanwhile."""

# --- Controller -------------------------------------------------------------------------

CONTROLLER_REQUESTS_MAX: Final = 1_000
"""Changes of metadata waiting at once: some seconds of a disk that syncs in a few milliseconds."""

CONTROLLER_PROPOSAL_TIMEOUT_MS: Final = 60_000
"""A leader that hears from no majority steps down much earlier and says so; this is for the case
that it never does."""

CONTROLLER_DECISIONS_MAX: Final = 3
"""Made on one request. Another than the first is needed only if an entry came in between that
nobody knew to be on its way; if it happens again and again, somebody should hear of it."""

# --- Diagnostics ------------------------------------------------------------------------

DIAGNOSTICS_PER_EVENT_MAX: Final = 50
"""Lines a second of one kind of event. More says nothing new, and a flood of bad requests must not
become a flood of lines."""

DIAGNOSTICS_FIELD_CHARACTERS_MAX: Final = 1_000
"""Of one value; it may come from a client."""

# --- Replication ------------------------------------------------------------------------

JOIN_HOLD_MAX_MS: Final = 3_000
"""How long commits wait for a follower that caught up and is not in sync yet. Many times a round
trip and a sync, so that it can join under load; short for a producer if it dies just then."""

ISR_RETRY_BACKOFF_MS: Final = 200
"""Before a refused change of an in-sync set is proposed again. A broker that is being unfenced, a
usual reason, takes about as long."""

FOLLOW_MESSAGE_BYTES_MAX: Final = 1 * MIB
"""Batches in one message to a follower, unless a single one is larger: it is copied on the event
loop, and what is appended meanwhile waits for the next message."""

FOLLOW_TURN_BYTES_MIN: Final = 64 * KIB
"""Of one partition in one message if many have something to send: enough to read efficiently."""

FOLLOW_PARTITIONS_PER_MESSAGE_MAX: Final = 256
"""In one message to a follower: some milliseconds of the event loop if all of them are read."""

FOLLOW_COLD_READS_MAX: Final = 2
"""Reads from the disk for one follower at a time: one more than it takes to keep the link busy."""

FOLLOW_ANSWERS_MAX: Final = LOGS_PER_DIRECTORY_MAX
"""Refusals that wait for a follower to read them: one for each partition that it may ask for."""

ISR_CHANGES_PER_REQUEST_MAX: Final = 1_000
"""In-sync sets proposed to the controller at once; each takes some 60 bytes and 20 microseconds."""

FOLLOWER_BACKOFF_MIN_MS: Final = 50
FOLLOWER_BACKOFF_MAX_MS: Final = 1_000
"""Before a follower asks a leader again that refused it, doubling. A leader hears of its election
within milliseconds of its followers."""

FOLLOW_CREDIT_BYTES: Final = 16 * MIB
"""Batches that a leader may have under way to one follower: two of the largest messages, and some
milliseconds of a fast network. They are appended as they come, so that more would bring nothing."""

FOLLOW_ALIVE_INTERVAL_MS: Final = 1_000
"""Between two signs of life of a follower; a leader gives up one that it has not heard of for
``replica.lag.time.max.ms``, thirty times as long."""

FOLLOW_REDIAL_MIN_MS: Final = 50
FOLLOW_REDIAL_MAX_MS: Final = 1_000
"""Before a leader that ended the call is called again, doubling. While it cannot be reached at all,
the connection sees to that."""

LOGS_CUT_AT_ONCE_MAX: Final = 64
"""Logs cut in one go on the log thread, before those who wait for it hear of it."""
