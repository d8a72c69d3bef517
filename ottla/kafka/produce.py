"""``Produce``: batches of Kafka's clients into logs.

A request is appended the moment that it is handled, and its acknowledgement follows
(:class:`~ottla.kafka.handling.Begun`), so that a client with several requests in flight is served
at the speed of the log and not of the disk. Two things make the requests of a connection wait for
each other: a topic whose records are looked at, and a client that is over its quota
(:mod:`ottla.kafka.throttling`).

What Kafka checks and this door's services cannot see is checked here, because it concerns the
message and not what it carries: one batch an entry, its version, and codecs that are younger than
the version of the request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from struct import Struct
from typing import Final, TypeAlias
from uuid import UUID

from ottla.cluster.services import (
    ClientRate,
    PartitionAppended,
    PartitionToAppend,
    PendingProduce,
    ProduceService,
    QuotasService,
    Result,
)
from ottla.kafka.current_leaders import CODES, Cluster, CurrentLeaders
from ottla.kafka.handling import Begun, DisconnectError, RequestContext, Throttled
from ottla.kafka.throttling import producer_rate
from ottla.model.errors import (
    InvalidRecordError,
    InvalidTransactionStateError,
    NotLeaderOrFollowerError,
    OttlaError,
    RequestTimedOutError,
    StorageError,
    ThrottlingQuotaExceededError,
    UnknownTopicIdError,
    UnsupportedCompressionError,
)
from ottla.model.ids import NO_OFFSET, BrokerId, TopicId, TopicPartition
from ottla.model.limits import PRODUCE_TIMEOUT_MAX_MS
from ottla.record.batch import BASE_BYTES, CODEC_MASK, HEADER_BYTES, MAGIC
from ottla.record.compression import Codec
from ottla.runtime.files import Buffer
from ottla.wire.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)

_LENGTH_TO_ATTRIBUTES: Final = Struct(">iibIh")
"""From byte 8 on: length, leader epoch, magic, checksum, attributes."""
_LENGTH_POSITION: Final = 8

_TOPIC_IDS_FROM: Final = 13
_LEADERS_FROM: Final = 10
_ZSTD_FROM: Final = 7
_STORAGE_ERROR_FROM: Final = 4

_Outcome: TypeAlias = ProduceResponse | Throttled[ProduceResponse | None] | None
""":class:`~ottla.kafka.handling.Throttled` with no response: none is asked for."""


class ProduceHandler:
    """Versions 3 to 13."""

    def __init__(
        self,
        produce: ProduceService,
        cluster: Cluster,
        leaders: CurrentLeaders,
        quotas: QuotasService,
    ) -> None:
        self._produce = produce
        self._cluster = cluster
        self._leaders = leaders
        self._quotas = quotas

    def __call__(
        self, context: RequestContext, request: ProduceRequest
    ) -> Awaitable[_Outcome] | Begun[ProduceResponse]:
        """Append now, answer later; raise :exc:`DisconnectError` if nobody waits for an answer."""
        answer = _Answer(context, request.acks, self._leaders)
        parts = self._take_apart(request, answer)
        response: Awaitable[ProduceResponse | None]
        has_begun = not self._produce.needs_preparation(parts)
        if has_begun:
            response = self._append(request, parts, answer)
        else:
            response = self._prepare_and_append(request, parts, answer)
        rate = producer_rate(self._quotas, context)
        if rate is not None:
            # Whatever comes of it, it was sent.
            rate.spend(_size_bytes(request))
            if rate.wait_ms():
                return _throttled(response, rate)
        return Begun(response) if has_begun else response

    def _take_apart(self, request: ProduceRequest, answer: _Answer) -> list[PartitionToAppend]:
        version = answer.context.api_version
        parts: list[PartitionToAppend] = []
        for topic in request.topic_data:
            name: str | None = topic.name
            if version >= _TOPIC_IDS_FROM:
                name = self._cluster.image.topic_names.get(TopicId(topic.topic_id))
            results = answer.begin_topic(topic.topic_id, topic.name)
            for data in topic.partition_data:
                result = PartitionProduceResponse(index=data.index, base_offset=NO_OFFSET)
                results.append(result)
                partition = TopicPartition(name or "", data.index)
                if name is None:
                    refusal: OttlaError | None = _unknown_topic_id(topic.topic_id)
                elif request.transactional_id is not None:
                    refusal = _no_transactions(request.transactional_id)
                else:
                    refusal = _check_entry(partition, data.records, version)
                if refusal is not None:
                    answer.fail(result, partition, refusal)
                elif data.records is not None:
                    parts.append(PartitionToAppend(partition, data.records))
                    answer.expected.append((partition, result))
        return parts

    def _append(
        self, request: ProduceRequest, parts: Sequence[PartitionToAppend], answer: _Answer
    ) -> Awaitable[ProduceResponse | None]:
        try:
            pending = self._produce.begin_produce(
                parts,
                acks=request.acks,
                # Zero is no time at all in Kafka, and the default for the service.
                timeout_ms=min(max(request.timeout_ms, 1), PRODUCE_TIMEOUT_MAX_MS),
            )
        except OttlaError as error:
            answer.fail_all(error)
            return _Ready(answer.message())
        if request.acks != 0:
            return _Acknowledgement(answer, pending)
        results = pending.results()
        assert results is not None, "without acknowledgement there is nothing to wait for"
        answer.fill(results)
        answer.check_silence()
        return _Ready(None)

    async def _prepare_and_append(
        self, request: ProduceRequest, parts: Sequence[PartitionToAppend], answer: _Answer
    ) -> ProduceResponse | None:
        return await self._append(request, await self._produce.prepare(parts), answer)


async def _throttled(response: Awaitable[ProduceResponse | None], rate: ClientRate) -> _Outcome:
    answer = await response
    mute_ms = rate.wait_ms()  # what is left after the acknowledgement
    if answer is not None:
        answer.throttle_time_ms = mute_ms
    return Throttled(answer, mute_ms) if mute_ms else answer


def _size_bytes(request: ProduceRequest) -> int:
    return sum(
        len(data.records or b"") for topic in request.topic_data for data in topic.partition_data
    )


class _Answer:
    """The response of one request, as it comes to be."""

    __slots__ = ("_acks", "_leaders", "_named", "_topics", "context", "expected")

    def __init__(self, context: RequestContext, acks: int, leaders: CurrentLeaders) -> None:
        self.context = context
        self._acks = acks
        self._leaders = leaders
        self._topics: list[TopicProduceResponse] = []
        self._named: dict[BrokerId, None] = {}
        self.expected: list[tuple[TopicPartition, PartitionProduceResponse]] = []
        """What is appended to, in the order of the service's results."""

    def begin_topic(self, topic_id: UUID, name: str) -> list[PartitionProduceResponse]:
        topic = TopicProduceResponse(topic_id=topic_id, name=name)
        self._topics.append(topic)
        return topic.partition_responses

    def fill(self, results: Sequence[Result[PartitionAppended]]) -> None:
        for (partition, response), result in zip(self.expected, results, strict=True):
            if isinstance(result, OttlaError):
                self.fail(response, partition, result)
            else:
                response.base_offset = result.base_offset
                response.log_append_time_ms = result.log_append_time_ms
                response.log_start_offset = result.log_start_offset

    def fail_all(self, error: OttlaError) -> None:
        for partition, response in self.expected:
            self.fail(response, partition, error)

    def fail(
        self, response: PartitionProduceResponse, partition: TopicPartition, error: OttlaError
    ) -> None:
        version = self.context.api_version
        response.error_code = _code(error, version)
        response.error_message = str(error)
        if isinstance(error, InvalidRecordError):
            response.record_errors = [
                BatchIndexAndErrorMessage(batch_index=index) for index in error.record_indexes
            ]
        if version >= _LEADERS_FROM and response.error_code in CODES:
            leader = self._leaders.of(partition)
            if leader is not None:
                self._named[leader.broker_id] = None
                response.current_leader = LeaderIdAndEpoch(
                    leader_id=leader.broker_id, leader_epoch=leader.epoch
                )

    def check_silence(self) -> None:
        """Raise :exc:`DisconnectError` if there is something to say and nobody listens."""
        for topic in self._topics:
            for partition in topic.partition_responses:
                if partition.error_code:
                    raise DisconnectError(
                        f"partition {partition.index} of {topic.name or topic.topic_id}: "
                        f"{partition.error_message}; a client that asks for no acknowledgement "
                        "learns of it by the end of the connection"
                    )

    def message(self) -> ProduceResponse | None:
        if self._acks == 0:
            self.check_silence()
            return None
        return ProduceResponse(
            responses=self._topics,
            node_endpoints=[
                NodeEndpoint(node_id=broker_id, host=address.host, port=address.port, rack=rack)
                for broker_id, address, rack in self._leaders.endpoints(
                    self._named, self.context.connection
                )
            ],
        )


class _Ready:
    """An answer that is known already; costs nothing if nobody takes it."""

    __slots__ = ("_message",)

    def __init__(self, message: ProduceResponse | None) -> None:
        self._message = message

    def __await__(self) -> Generator[object, None, ProduceResponse | None]:
        yield from ()
        return self._message


class _Acknowledgement:
    """An answer that is given when everything is acknowledged."""

    __slots__ = ("_answer", "_pending")

    def __init__(self, answer: _Answer, pending: PendingProduce) -> None:
        self._answer = answer
        self._pending = pending

    def __await__(self) -> Generator[object, None, ProduceResponse | None]:
        results = self._pending.results()
        if results is None:
            results = yield from self._pending.wait().__await__()
        self._answer.fill(results)
        return self._answer.message()


def _check_entry(
    partition: TopicPartition, records: Buffer | None, version: int
) -> OttlaError | None:
    """Return why an entry of the request is none; what is in the batch is not looked at."""
    if not records:
        return InvalidRecordError(f"there is no batch for {partition}; send exactly one")
    if len(records) < HEADER_BYTES:
        return None  # too short for a batch, which the service says
    length, _, magic, _, attributes = _LENGTH_TO_ATTRIBUTES.unpack_from(records, _LENGTH_POSITION)
    if magic != MAGIC:
        return InvalidRecordError(
            f"the batch for {partition} has magic {magic}; only {MAGIC} is supported"
        )
    if version < _ZSTD_FROM and attributes & CODEC_MASK == Codec.ZSTD:
        return UnsupportedCompressionError(
            f"the batch for {partition} is compressed by zstd, which Produce has from version "
            f"{_ZSTD_FROM} on; the request has version {version}"
        )
    if HEADER_BYTES <= BASE_BYTES + length < len(records):
        return InvalidRecordError(
            f"a batch of {BASE_BYTES + length} bytes for {partition} is followed by "
            f"{len(records) - BASE_BYTES - length} more; send exactly one batch"
        )
    return None


def _code(error: OttlaError, version: int) -> int:
    if version < _STORAGE_ERROR_FROM and isinstance(error, StorageError):
        return NotLeaderOrFollowerError.code
    if isinstance(error, ThrottlingQuotaExceededError):
        # Of those that every client knows and tries again after, for nothing was appended.
        return RequestTimedOutError.code
    return error.code


def _unknown_topic_id(topic_id: UUID) -> UnknownTopicIdError:
    return UnknownTopicIdError(f"no topic has the id {topic_id}; ask for metadata again")


def _no_transactions(transactional_id: str) -> InvalidTransactionStateError:
    return InvalidTransactionStateError(
        f"the request belongs to a transaction of {transactional_id!r}, and this version has no "
        "transactions; send it without a transactional id"
    )
