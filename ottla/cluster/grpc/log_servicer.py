"""``ottla.v1.Log``: append, read, find positions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ottla.cluster.grpc import convert
from ottla.cluster.grpc.calls import Call, Calls
from ottla.cluster.grpc.errors import to_message
from ottla.cluster.grpc.fetch_stream import serve_fetch_stream, size_of
from ottla.cluster.grpc.produce_stream import ProduceStream, begin_produce
from ottla.cluster.grpc.structured import in_background
from ottla.cluster.services import OffsetToFind, Services, SpecialPosition
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.ids import (
    NO_OFFSET,
    NO_TIMESTAMP_MS,
    LeaderEpoch,
    Offset,
    ProducerEpoch,
    ProducerId,
    TopicPartition,
)
from ottla.runtime.clock import Clock
from ottla.v1 import log_pb2, log_pb2_grpc

if TYPE_CHECKING:
    from ottla.cluster.grpc.errors import Context
    from ottla.cluster.grpc.fetch_stream import FetchContext
    from ottla.cluster.grpc.produce_stream import ProduceContext


class LogServicer(log_pb2_grpc.LogServicer):
    """Translates; see ``proto/ottla/v1/log.proto`` for what each method means."""

    def __init__(self, services: Services, clock: Clock, calls: Calls) -> None:
        self._services = services
        self._clock = clock
        self._calls = calls

    async def Produce(
        self, request: log_pb2.ProduceRequest, context: Context
    ) -> log_pb2.ProduceResponse:
        async with self._calls.call("Produce", context):
            return await self._produce(request)

    # The stubs know streams as generators only; reading and writing through the context, as the two
    # streams here do, is the other form that grpc.aio serves.

    async def ProduceStream(  # type: ignore[override]
        self, request_iterator: object, context: ProduceContext
    ) -> None:
        del request_iterator  # the context reads, so that reading can stop while we are behind
        stream = ProduceStream(self._services.produce, context, self._clock, self._calls.gate)
        async with self._calls.stream("ProduceStream", context):
            await stream.run()

    async def Fetch(self, request: log_pb2.FetchRequest, context: Context) -> log_pb2.FetchResponse:
        async with self._calls.call("Fetch", context) as call:
            return await self._fetch(request, call)

    async def FetchStream(  # type: ignore[override]
        self, request_iterator: object, context: FetchContext
    ) -> None:
        del request_iterator
        async with self._calls.stream("FetchStream", context):
            await serve_fetch_stream(self._services.fetch, context, self._calls.gate)

    async def ListOffsets(
        self, request: log_pb2.ListOffsetsRequest, context: Context
    ) -> log_pb2.ListOffsetsResponse:
        async with self._calls.call("ListOffsets", context):
            return await self._list_offsets(request)

    async def DeleteRecords(
        self, request: log_pb2.DeleteRecordsRequest, context: Context
    ) -> log_pb2.DeleteRecordsResponse:
        async with self._calls.call("DeleteRecords", context):
            return await self._delete_records(request)

    async def InitProducerId(
        self, request: log_pb2.InitProducerIdRequest, context: Context
    ) -> log_pb2.InitProducerIdResponse:
        async with self._calls.call("InitProducerId", context):
            return await self._init_producer_id(request)

    async def _produce(self, request: log_pb2.ProduceRequest) -> log_pb2.ProduceResponse:
        begun = await begin_produce(self._services.produce, request, self._clock)
        return await begun.response()

    async def _fetch(self, request: log_pb2.FetchRequest, call: Call) -> log_pb2.FetchResponse:
        results = await self._services.fetch.fetch(
            convert.to_fetch(request.partitions, rack=request.rack),
            max_wait_ms=request.max_wait_ms,
            min_bytes=request.min_bytes,
            max_bytes=request.max_bytes,
            waited=call.leave_out,
        )
        if not request.structured:
            return convert.fetched(results)
        return await in_background(
            size_of(results), partial(convert.fetched_records, results, max_bytes=request.max_bytes)
        )

    async def _list_offsets(
        self, request: log_pb2.ListOffsetsRequest
    ) -> log_pb2.ListOffsetsResponse:
        results = await self._services.offsets.list_offsets(
            [_offset_to_find(asked) for asked in request.partitions]
        )
        response = log_pb2.ListOffsetsResponse()
        for asked, result in zip(request.partitions, results, strict=True):
            answer = response.partitions.add(topic=asked.topic, partition=asked.partition)
            if isinstance(result, OttlaError):
                answer.error.CopyFrom(to_message(result))
                answer.offset, answer.timestamp_ms = NO_OFFSET, NO_TIMESTAMP_MS
            else:
                answer.offset, answer.timestamp_ms = result.offset, result.timestamp_ms
                answer.leader_epoch = result.leader_epoch
        return response

    async def _delete_records(
        self, request: log_pb2.DeleteRecordsRequest
    ) -> log_pb2.DeleteRecordsResponse:
        results = await self._services.offsets.delete_records(
            [
                (TopicPartition(asked.topic, asked.partition), Offset(asked.before_offset))
                for asked in request.partitions
            ]
        )
        response = log_pb2.DeleteRecordsResponse()
        for asked, result in zip(request.partitions, results, strict=True):
            answer = response.partitions.add(topic=asked.topic, partition=asked.partition)
            if isinstance(result, OttlaError):
                answer.error.CopyFrom(to_message(result))
                answer.log_start_offset = NO_OFFSET
            else:
                answer.log_start_offset = result
        return response

    async def _init_producer_id(
        self, request: log_pb2.InitProducerIdRequest
    ) -> log_pb2.InitProducerIdResponse:
        if request.HasField("producer_id") != request.HasField("producer_epoch"):
            raise InvalidRequestError("give producer_id and producer_epoch, or neither of them")
        current = None
        if request.HasField("producer_id"):
            current = ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch)
        producer_id, epoch = await self._services.producer_ids.init_producer_id(current)
        return log_pb2.InitProducerIdResponse(producer_id=producer_id, producer_epoch=epoch)


def _offset_to_find(asked: log_pb2.ListOffsetsRequest.Partition) -> OffsetToFind:
    match asked.WhichOneof("position"):
        case "earliest":
            position: SpecialPosition | int = SpecialPosition.EARLIEST
        case "latest":
            position = SpecialPosition.LATEST
        case "max_timestamp":
            position = SpecialPosition.MAX_TIMESTAMP
        case "timestamp_ms":
            position = asked.timestamp_ms
        case None:
            raise InvalidRequestError(
                f"{asked.topic}-{asked.partition}: say which position is asked for "
                "(earliest, latest, timestamp_ms or max_timestamp)"
            )
    epoch = asked.current_leader_epoch if asked.HasField("current_leader_epoch") else None
    return OffsetToFind(
        TopicPartition(asked.topic, asked.partition),
        position,
        None if epoch is None else LeaderEpoch(epoch),
    )
