"""``Fetch``: whole batches for Kafka's consumers.

Every request goes through :mod:`ottla.kafka.fetch_sessions`, which knows what is asked for where
the reader names only what changed. Reading and waiting are the service's. An answer carries the
bytes of the log untouched.

Kafka's brokers replicate by the same request; ours do not (they have ``ottla.v1.Replication``), so
one that says that it is a broker is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from ottla.cluster.services import (
    ClientRate,
    FetchFailed,
    FetchService,
    PartitionFetched,
    PartitionToFetch,
    QuotasService,
)
from ottla.kafka.current_leaders import CODES, Cluster, CurrentLeaders
from ottla.kafka.fetch_sessions import (
    Answers,
    FetchSessions,
    PartitionKey,
    SessionFetch,
    SessionRequest,
)
from ottla.kafka.fetch_shares import FetchShares
from ottla.kafka.handling import RequestContext, Throttled
from ottla.kafka.throttling import consumer_rate
from ottla.model.errors import (
    InvalidRequestError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OttlaError,
    StorageError,
    ThrottlingQuotaExceededError,
    UnknownTopicIdError,
)
from ottla.model.ids import BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.model.image import ClusterImage
from ottla.model.limits import FETCH_WAIT_MAX_MS, KAFKA_FETCH_THROTTLE_MS
from ottla.runtime.clock import Clock
from ottla.wire.messages.fetch import (
    EpochEndOffset,
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    ForgottenTopic,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)

_TOPIC_IDS_FROM: Final = 13
_REPLICA_STATE_FROM: Final = 15
_LEADERS_FROM: Final = 16
_FOLLOWERS_FROM: Final = 11
"""Since then a consumer may be sent to a replica in its rack, and knows the errors that one gives
(KIP-392)."""
_STORAGE_ERROR_FROM: Final = 6
_READ_COMMITTED: Final = 1
_UNKNOWN: Final = -1


class FetchHandler:
    """Versions 4 to 18."""

    def __init__(
        self,
        fetch: FetchService,
        cluster: Cluster,
        leaders: CurrentLeaders,
        quotas: QuotasService,
        *,
        sessions: FetchSessions,
        shares: FetchShares,
        clock: Clock,
    ) -> None:
        self._fetch = fetch
        self._cluster = cluster
        self._leaders = leaders
        self._quotas = quotas
        self._sessions = sessions
        self._shares = shares
        self._clock = clock

    async def __call__(
        self, context: RequestContext, request: FetchRequest
    ) -> FetchResponse | Throttled[FetchResponse]:
        """Answer with what there is, waiting for ``min_bytes`` as long as the reader says."""
        asked = _asked(context, request)
        refusal = _refusal(context, request)
        if refusal is not None:
            return _response(0, [(key, _failed(key, refusal, context)) for key in asked.partitions])
        try:
            session = self._sessions.begin(asked, self._clock.now_ms())
        except OttlaError as error:
            return FetchResponse(error_code=error.code)
        rate = consumer_rate(self._quotas, context)
        if rate is not None and (mute_ms := rate.wait_ms()):
            return _throttled(session, mute_ms)
        try:
            answers = await self._answers(context, request, session, rate)
        except ThrottlingQuotaExceededError:
            return _throttled(session, KAFKA_FETCH_THROTTLE_MS)
        if rate is not None:
            rate.spend(sum(len(answer.records or b"") for _, answer in answers))
        session_id, told = session.finish(answers, self._clock.now_ms())
        response = _response(session_id, told)
        self._name_leaders(context, response, told)
        return response

    async def _answers(
        self,
        context: RequestContext,
        request: FetchRequest,
        session: SessionFetch,
        rate: ClientRate | None,
    ) -> list[tuple[PartitionKey, PartitionData]]:
        """Read every partition of the session; the answers are in its order."""
        partitions = _to_fetch(context, request, session.partitions, self._cluster.image)
        share = self._shares.share_of(context.connection.number, self._clock.now_ms())
        if rate is not None:
            share = min(share, rate.portion_bytes)
        # Something to be told now, or nothing to wait for; to the service 0 bytes are the default.
        hurries = len(partitions) < len(session.partitions) or request.min_bytes <= 0
        try:
            results: Sequence[PartitionFetched | FetchFailed] = await self._fetch.fetch(
                list(partitions.values()),
                max_wait_ms=0 if hurries else min(max(request.max_wait_ms, 0), FETCH_WAIT_MAX_MS),
                min_bytes=max(request.min_bytes, 1),
                max_bytes=min(max(request.max_bytes, 1), share),
                response_bytes_max=share,
                waited=context.leave_out,
            )
        except InvalidRequestError as error:
            results = [FetchFailed(part.topic_partition, error) for part in partitions.values()]
        by_key = dict(zip(partitions, results, strict=True))
        image = self._cluster.image
        aborted = request.isolation_level == _READ_COMMITTED
        answers = []
        for key in session.partitions:
            result = by_key.get(key)
            if result is None or _name_of(key, image) is None:
                # There was no such topic, or it has gone while we waited.
                answer = _failed(key, _unknown_topic_id(key), context)
            elif isinstance(result, FetchFailed):
                answer = _failed(key, result.error, context)
            else:
                answer = _fetched(key, result, context, read_committed=aborted)
            answers.append((key, answer))
        return answers

    def _name_leaders(
        self, context: RequestContext, response: FetchResponse, told: Answers
    ) -> None:
        if context.api_version < _LEADERS_FROM:
            return
        named: dict[BrokerId, None] = {}
        for key, answer in told:
            name = _name_of(key, self._cluster.image)
            if answer.error_code not in CODES or name is None:
                continue
            leader = self._leaders.of(TopicPartition(name, key[1]))
            if leader is not None:
                named[leader.broker_id] = None
                answer.current_leader = LeaderIdAndEpoch(
                    leader_id=leader.broker_id, leader_epoch=leader.epoch
                )
        response.node_endpoints = [
            NodeEndpoint(node_id=broker_id, host=address.host, port=address.port, rack=rack)
            for broker_id, address, rack in self._leaders.endpoints(named, context.connection)
        ]


# --- What is asked for ----------------------------------------------------------------------


def _asked(context: RequestContext, request: FetchRequest) -> SessionRequest:
    by_topic_id = context.api_version >= _TOPIC_IDS_FROM
    partitions: dict[PartitionKey, FetchPartition] = {}
    for topic in request.topics:
        named = topic.topic_id if by_topic_id else topic.topic
        for partition in topic.partitions:
            partitions[named, partition.partition] = partition
    return SessionRequest(
        session_id=request.session_id,
        epoch=request.session_epoch,
        principal=context.connection.principal,
        by_topic_id=by_topic_id,
        partitions=partitions,
        forgotten=_forgotten(request.forgotten_topics_data, by_topic_id=by_topic_id),
    )


def _forgotten(topics: Iterable[ForgottenTopic], *, by_topic_id: bool) -> list[PartitionKey]:
    return [
        (topic.topic_id if by_topic_id else topic.topic, partition)
        for topic in topics
        for partition in topic.partitions
    ]


def _refusal(context: RequestContext, request: FetchRequest) -> OttlaError | None:
    replica_id = request.replica_id
    if context.api_version >= _REPLICA_STATE_FROM:
        state = request.replica_state
        replica_id = _UNKNOWN if state is None else state.replica_id
    if replica_id < 0:
        return None
    return InvalidRequestError(
        f"the request says that it comes from broker {replica_id} of a Kafka cluster; this one is "
        "no such cluster, and is read by consumers only"
    )


def _to_fetch(
    context: RequestContext,
    request: FetchRequest,
    partitions: Mapping[PartitionKey, FetchPartition],
    image: ClusterImage,
) -> dict[PartitionKey, PartitionToFetch]:
    """Say it in the service's words, leaving out topics whose ids nobody knows."""
    read_committed = request.isolation_level == _READ_COMMITTED
    moves = context.api_version >= _FOLLOWERS_FROM
    to_fetch = {}
    for key, asked in partitions.items():
        name = _name_of(key, image)
        if name is None:
            continue
        to_fetch[key] = PartitionToFetch(
            TopicPartition(name, key[1]),
            Offset(asked.fetch_offset),
            max_bytes=max(asked.partition_max_bytes, 1),
            leader_epoch=_epoch(asked.current_leader_epoch),
            from_follower=moves,
            rack=request.rack_id if moves else "",
            goes_to_preferred=True,
            read_committed=read_committed,
            last_fetched_epoch=_epoch(asked.last_fetched_epoch),
            topic_id=TopicId(key[0]) if isinstance(key[0], UUID) else None,
        )
    return to_fetch


def _epoch(number: int) -> LeaderEpoch | None:
    return None if number < 0 else LeaderEpoch(number)


def _name_of(key: PartitionKey, image: ClusterImage) -> str | None:
    topic = key[0]
    return image.topic_names.get(TopicId(topic)) if isinstance(topic, UUID) else topic


# --- What is answered -----------------------------------------------------------------------


def _response(session_id: int, answers: Answers) -> FetchResponse:
    topics: dict[str | UUID, FetchableTopicResponse] = {}
    for (named, _), answer in answers:
        topic = topics.get(named)
        if topic is None:
            topic = topics[named] = (
                FetchableTopicResponse(topic_id=named)
                if isinstance(named, UUID)
                else FetchableTopicResponse(topic=named)
            )
        topic.partitions.append(answer)
    return FetchResponse(session_id=session_id, responses=list(topics.values()))


def _throttled(session: SessionFetch, mute_ms: int) -> Throttled[FetchResponse]:
    """Tell a reader to slow down as Kafka does: nothing, and how long to wait (KIP-219)."""
    response = FetchResponse(throttle_time_ms=mute_ms, session_id=session.session_id)
    return Throttled(response, mute_ms)


def _fetched(
    key: PartitionKey, result: PartitionFetched, context: RequestContext, *, read_committed: bool
) -> PartitionData:
    answer = PartitionData(
        partition_index=key[1],
        high_watermark=result.high_watermark,
        last_stable_offset=result.last_stable_offset,
        log_start_offset=result.log_start_offset,
        # Transactions are never aborted, because there are none; null where nobody asks.
        aborted_transactions=[] if read_committed else None,
        records=result.records,
    )
    if result.diverging is not None:
        answer.diverging_epoch = EpochEndOffset(
            epoch=result.diverging.epoch, end_offset=result.diverging.end_offset
        )
    if result.preferred_read_replica is not None and context.api_version >= _FOLLOWERS_FROM:
        answer.preferred_read_replica = result.preferred_read_replica
    return answer


def _failed(key: PartitionKey, error: OttlaError, context: RequestContext) -> PartitionData:
    return PartitionData(
        partition_index=key[1],
        error_code=_code(error, context.api_version),
        high_watermark=_UNKNOWN,
        records=b"",
    )


def _code(error: OttlaError, version: int) -> int:
    """Return the error's code, or one near it that clients of that version know."""
    if isinstance(error, StorageError) and version < _STORAGE_ERROR_FROM:
        return NotLeaderOrFollowerError.code
    if isinstance(error, OffsetNotAvailableError) and version < _FOLLOWERS_FROM:
        return NotLeaderOrFollowerError.code
    return error.code


def _unknown_topic_id(key: PartitionKey) -> UnknownTopicIdError:
    return UnknownTopicIdError(f"no topic has the id {key[0]}; ask for metadata again")
