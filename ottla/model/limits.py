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

FETCH_TURN_BYTES: Final = 4 * MIB
"""Read from the page cache for one response before others get their turn of the event loop: a
millisecond or two."""

FETCH_TURN_PARTITIONS: Final = 250
"""The same for partitions that are looked at, whether they have something or not."""

KAFKA_FETCH_BYTES_MAX: Final = 512 * MIB
"""Records in all answers of Kafka's protocol that are on their way to readers. A connection has one
answer at a time, which holds at most its share, so that a thousand slow readers cost no more
memory than ten."""

KAFKA_FETCH_SHARE_BYTES_MIN: Final = 1 * MIB
"""A connection's share is not less, however many there are: one batch of the default size."""

KAFKA_FETCH_SHARE_MS: Final = 2 * 60_000
"""A connection has a share for so long after its last fetch; twice as long as a fetch may wait."""

CLIENT_RATES_MAX: Final = 10_000
"""Clients, or users, whose rates a broker keeps in one direction: a megabyte or two. Of more, those
that it has not heard from for longest begin anew."""

KAFKA_FETCH_THROTTLE_MS: Final = 1_000
"""How long a reader is asked to wait if too many wait for records already."""

FETCH_SESSIONS_MAX: Final = 1_000
"""Kafka's ``max.incremental.fetch.session.cache.slots``. A reader without a session names all its
partitions in every fetch, and is otherwise served alike."""

FETCH_SESSION_PARTITIONS_MAX: Final = 200_000
"""In all fetch sessions together: some 60 MB."""

FETCH_SESSION_EVICTED_AFTER_MS: Final = 120_000
"""A session that was used since stays, as in Kafka: the newcomer does without one."""

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

AUTO_CREATION_WAIT_MAX_MS: Final = 10_000
"""How long a request for metadata waits for a topic that is created because of it. Whatever else a
client sends on the same connection waits too, and it asks again."""

METADATA_TOPICS_MAX: Final = 10_000
"""Topics that one request for metadata names: a client asks for all at once that it uses."""

DESCRIBED_RESOURCES_MAX: Final = 10_000
"""Whose settings one request of Kafka's protocol asks for: tools ask for those of all topics."""

DESCRIBED_PARTITIONS_MAX: Final = 2_000
"""Partitions on one page of a description; Kafka's ``max.request.partition.size.limit``."""

PRODUCER_ID_WAIT_MAX_MS: Final = 10_000
"""A producer that starts would rather hear that there is no controller than wait longer."""

WIRE_CONTROL_FRAME_BYTES_MAX: Final = 1 * MIB
"""One request of Kafka's protocol that brings no records. Offsets for ten thousand partitions fill
half of it, and so does what the leader of a classic group assigns to a thousand members in some
hundred bytes each; ``WIRE_REQUEST_ELEMENTS_MAX`` bounds the work besides."""

WIRE_REQUEST_ELEMENTS_MAX: Final = 50_000
"""Elements of all arrays of one request of Kafka's protocol, and its unknown tagged fields. Five
times ``PARTITIONS_PER_REQUEST_MAX``, and read in some tens of milliseconds, which is as long as
one request may hold the event loop."""

WIRE_ELEMENTS_READ_MAX: Final = 10_000_000
"""The same for what tests and tools read from a broker that they trust."""

# --- Records and batches ---------------------------------------------------------

BATCH_BYTES_MAX: Final = REQUEST_BYTES_MAX - 64 * KIB
"""No batch is larger than this, whatever ``max.message.bytes`` says: with the names, offsets and
errors around it, it must fit in the request that brings it and in the answer that takes it away."""

RECORDS_PER_BATCH_MAX: Final = 1_000_000
"""An iterator over a batch ends after this many, whatever the header claims. A batch of
``REQUEST_BYTES_MAX`` holds at most a seventh of it uncompressed; compressed ones more."""

RECORDS_BLAMED_MAX: Final = 10_000
"""Named in the error of a batch that is refused because of some of its records."""

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

BROKER_LISTENERS_MAX: Final = 16
"""Of Kafka's protocol: one for each network that clients come from, and a few to spare."""

BROKER_LISTENER_NAME_CHARACTERS_MAX: Final = 64

# --- Connections of Kafka's protocol -------------------------------------------------------

KAFKA_ASSIGNMENT_REQUEST_BYTES_MAX: Final = 8 * MIB
"""Of the request in which the leader of a group says who consumes what: a thousand members with a
hundred partitions each."""

KAFKA_RECEIVE_BYTES: Final = 64 * KIB
"""Read at a time into a buffer that all connections share; what fits into it is copied out of it.
Larger requests are received where they stay."""

KAFKA_FRAME_GROWTH: Final = 4
"""A buffer that is full grows this much, so that memory follows what has come, not what a size
claims. Copying what was there costs a third of the request at worst, once on a connection."""

KAFKA_TRUSTED_REQUEST_BYTES_MAX: Final = 4 * MIB
"""A connection that has sent a whole request of some size gets the memory for the next one at
once, up to this: producers send many of one size."""

KAFKA_REQUESTS_READ_AHEAD_MAX: Final = 64
KAFKA_BYTES_READ_AHEAD_MAX: Final = 1 * MIB
"""Received on a connection and not begun, while an earlier request is served. One read may bring
more, all of which is kept; then nothing is read."""

KAFKA_REQUESTS_BEGUN_MAX: Final = 64
KAFKA_BYTES_BEGUN_MAX: Final = 32 * MIB
"""Begun on a connection and not answered: appends that wait for followers and the disk. A second
of a fast disk; clients have five under way, unless they were told to have more."""

KAFKA_FRAME_TIME_MIN_MS: Final = 30_000
KAFKA_FRAME_BYTES_PER_S_MIN: Final = 128 * KIB
"""A request that has begun to come is there after the first, and one second more for each of the
second; a sender that is slower than that holds memory which others could use."""

KAFKA_FIRST_REQUEST_TIME_MAX_MS: Final = 30_000
"""Clients ask for the versions of the protocol as soon as they are connected."""

KAFKA_TLS_HANDSHAKE_TIME_MAX_S: Final = 10.0
KAFKA_TLS_SHUTDOWN_TIME_MAX_S: Final = 2.0
"""For the peer to say goodbye as well, which it need not."""

KAFKA_UNSENT_BYTES_PAUSE: Final = 16 * KIB
"""Responses that the peer does not take: beyond this, its next request waits."""

KAFKA_UNSENT_BYTES_MAX: Final = 256 * MIB
"""The same over all connections; beyond it, less patience is shown to those who take nothing. Four
of the largest answers, or one for each of some hundred slow readers."""

KAFKA_STALLED_TIME_MAX_MS: Final = 60_000
"""A peer that takes nothing of its response for this long is cut off."""

KAFKA_STALLED_CROWDED_TIME_MAX_MS: Final = 5_000
"""The same while all such responses together take too much memory. A reader that is only slow takes
a little every second."""

KAFKA_SWEEP_INTERVAL_MS: Final = 1_000
"""How often connections are looked at for the times above."""

KAFKA_LOOKED_AFTER_AT_ONCE_MAX: Final = 1_000
"""Connections, before others have their turn: about a millisecond."""

KAFKA_BACKLOG: Final = 1_024
"""Connections that the kernel keeps until they are accepted: all clients of a broker that comes
back."""

KAFKA_ACCEPTED_AT_ONCE_MAX: Final = 64
"""Connections accepted before others have their turn."""

KAFKA_ACCEPT_PAUSE_MS: Final = 1_000
"""Before accepting is tried again, when the process can open no more files."""

KAFKA_SOFTWARE_NAME_CHARACTERS_MAX: Final = 100
"""Of a client's name for its library, which is told in the diagnostics."""

FEATURES_PER_REQUEST_MAX: Final = 100
"""Many more than there are; each is a request to the controller."""

QUOTA_ENTITIES_MAX: Final = 10_000
"""Users and clients with quotas of their own; all are in memory and in every snapshot."""

QUOTA_ENTITIES_PER_REQUEST_MAX: Final = 1_000
QUOTA_NAME_CHARACTERS_MAX: Final = 1_000

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

# --- Groups -----------------------------------------------------------------------------

GROUP_REQUESTS_WAITING_MAX: Final = 20_000
"""Requests of groups that wait for their answers in one broker, most of them members that wait for
the others of their group; some 40 MB with their futures."""

GROUP_REQUESTS_WAITING_BYTES_MAX: Final = 64 * MIB
"""The subscriptions, assignments and offsets that those carry."""

GROUP_REQUEST_BYTES_MAX: Final = 4 * MIB
"""Subscriptions, assignments or offsets in one request. A group's assignments are one record
together with its subscriptions, and that must fit in a batch."""

GROUP_RECORDS_PER_TURN_MAX: Final = 500
"""Records of a group log that are replayed or written anew before others get their turn of the
event loop: some milliseconds."""

GROUP_LOG_READ_BYTES: Final = 1 * MIB
"""Of a group log, read at a time."""

GROUP_LOGS_READ_AT_ONCE_MAX: Final = 2
"""Group logs that one broker reads at the same time, of those that it has begun to lead: enough
to keep a disk busy while the other's records are replayed."""

GROUP_LOG_RECORDS_MIN: Final = 100_000
"""A group log of fewer records is not written anew: it is read in a second."""

GROUP_LOG_GARBAGE_MAX: Final = 4
"""How many times as many records a group log may have as it needs, before it is written anew."""

GROUP_LOG_RETRY_MIN_MS: Final = 100
GROUP_LOG_RETRY_MAX_MS: Final = 10_000
"""Before a group log that could not be read or written is read again, doubling."""

GROUP_LOG_WRITABLE_INTERVAL_MS: Final = 200
"""How often it is looked whether a group log takes records again: a replica that was lost comes
back within seconds, and nobody tells."""

GROUPS_PER_REQUEST_MAX: Final = 1_000
"""Groups that one request names: some milliseconds of the event loop for each hundred."""

# --- Groups: what a shard holds ---------------------------------------------------------

GROUP_STRING_BYTES_MAX: Final = 32_767
"""Ids and names of groups, members, protocols: what a string in Kafka's protocol can hold."""

GROUP_RECORD_BYTES_MAX: Final = 4 * MIB
"""One record of ``__consumer_offsets``: a classic group with all subscriptions and assignments.
Half of the largest batch; a thousand members with 4 KiB each."""

CLASSIC_GROUP_MEMBERS_MAX: Final = 5_000
"""Members of one classic group, whatever ``group.max.size`` says. The leader is told of all of
them in one answer, and assigns to all of them; groups in use have tens."""

CLASSIC_PROTOCOLS_PER_MEMBER_MAX: Final = 64
"""Ways of assigning that a member knows; clients have up to four."""

CLASSIC_PENDING_MEMBERS_MAX: Final = 5_000
"""Members of a group that were given an id and have not joined with it. Each is forgotten after
its session timeout."""

CONSUMER_GROUP_MEMBERS_MAX: Final = 10_000
"""Members of one consumer group, whatever ``group.consumer.max.size`` says: dividing partitions
among so many takes some tens of milliseconds of the event loop. Groups in use have tens."""

CONSUMER_GROUP_PARTITIONS_MAX: Final = 200_000
"""Partitions that one consumer group divides; those beyond stay with nobody. A member that is
alone has all of them, in one record of some 2 MiB and in one answer of half of that."""

CONSUMER_DIVISION_ROUNDS_MAX: Final = 100
"""How often the partitions of a group whose members subscribe to different topics are evened out.
It takes a handful of rounds; what a contrived group still has uneven then stays so."""

CONSUMER_SUBSCRIPTION_BYTES_MAX: Final = 1 * MIB
"""Names in one member's subscription: some ten thousand topics, and a quarter of a record."""

TOPIC_EXPRESSION_CHARACTERS_MAX: Final = 1_000
"""A regular expression that subscribes to topics. One that people can read is shorter; matching
takes time in proportion to its length, for every topic."""

TOPIC_EXPRESSIONS_PER_GROUP_MAX: Final = 50
"""Different ones in one group, which usually has one: each is compared with every new topic."""

TOPIC_EXPRESSION_PROGRAM_BYTES: Final = 64 * KIB
"""What one is compiled in: some thousands of steps. A counted repetition is worth many."""

TOPIC_EXPRESSION_MATCHING_BYTES: Final = 2 * MIB
"""What matching one may take. It needs room for some states, each of which is in the worst case
every step of the program; with too little, it would say that nothing matches."""

CONSUMER_TOPIC_CHANGES_DELAY_MS: Final = 500
"""From a change of topics to when a consumer group looks at it: a tool that creates a hundred
topics should make its readers rebalance once or twice."""

CONSUMER_REBALANCE_TIMEOUT_MAX_MS: Final = 2**31 - 1
"""What Kafka's records hold. Clients say their ``max.poll.interval.ms``, which may be as much."""

CONSUMER_PROTOCOL_TOPICS_MAX: Final = 100_000
"""Topics in one consumer's subscription, whose count may claim anything."""

GROUPS_PER_SHARD_MAX: Final = 20_000
"""Groups in one partition of ``__consumer_offsets``: a million in all with the usual fifty."""

GROUP_BYTES_PER_SHARD_MAX: Final = 64 * MIB
"""Ids of groups, and what the members of classic ones say and are assigned, in one partition of
``__consumer_offsets``: all of it is in memory."""

COMMITTED_OFFSETS_PER_SHARD_MAX: Final = 1_000_000
"""Committed offsets in one partition of ``__consumer_offsets``, some 250 MB in memory."""

COMMITTED_OFFSET_TEXT_PER_SHARD_MAX: Final = 64 * MIB
"""Characters of topic names and of what clients say about the offsets above: some dozens each, but
4 KiB each would be gigabytes."""

EXPIRED_OFFSETS_PER_TICK_MAX: Final = 10_000
"""Offsets looked at for their age in one go, unless one group has more: some milliseconds of the
event loop."""
