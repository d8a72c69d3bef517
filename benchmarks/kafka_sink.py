"""A broker of Kafka's protocol that does nothing: what a client reaches at best.

It acknowledges what is produced without looking at it, and answers every fetch with the same batch
of records, numbered anew. So whoever measures a client against it measures the client, the
sockets and this little Python, which is what is left if a real broker costs nothing at all.

    python -m benchmarks.kafka_sink PORT PARTITIONS RECORD_BYTES
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, cast
from uuid import UUID

import uvloop

from benchmarks.batches import ready_made_batch
from ottla.record.batch import restamp_in_place
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import read_request
from ottla.wire.frames import read_request_header, write_response_frame
from ottla.wire.messages import (
    api_versions,
    fetch,
    find_coordinator,
    init_producer_id,
    list_offsets,
    metadata,
    produce,
)

BATCH_BYTES: Final = 1 << 20
END_OFFSET: Final = 1 << 40
"""More than anybody reads."""
TOPIC_ID: Final = UUID(int=1)
COORDINATOR_NOT_AVAILABLE: Final = 15
LOOKED_AT_BYTES: Final = 1 << 16
"""Of a request; what comes after that is records, which are not kept."""
READY: Final = "ready"

_SIZE: Final = Struct(">i")
_VERSIONS: Final = {
    ApiKey.PRODUCE: (3, 10),
    ApiKey.FETCH: (4, 16),
    ApiKey.LIST_OFFSETS: (1, 7),
    ApiKey.METADATA: (0, 12),
    ApiKey.FIND_COORDINATOR: (0, 2),
    ApiKey.API_VERSIONS: (0, 3),
    ApiKey.INIT_PRODUCER_ID: (0, 4),
}


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self, port: int, partitions: int, batch: bytes) -> None:
        self._port = port
        self._partitions = partitions
        self._batches = [bytearray(batch) for _ in range(partitions)]
        self._head = bytearray()
        self._to_come = 0
        """Bytes of the request whose size is known."""
        self._transport: asyncio.Transport | None = None
        self._answers: dict[int, Callable[[Any], Any]] = {
            ApiKey.FETCH: self._fetch,
            ApiKey.LIST_OFFSETS: self._list_offsets,
            ApiKey.METADATA: self._metadata,
            ApiKey.FIND_COORDINATOR: self._find_coordinator,
            ApiKey.API_VERSIONS: self._api_versions,
            ApiKey.INIT_PRODUCER_ID: self._init_producer_id,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not derived from it

    def data_received(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if not self._to_come:
                needed = _SIZE.size - len(self._head)
                self._head += view[:needed]
                view = view[needed:]
                if len(self._head) == _SIZE.size:
                    (self._to_come,) = _SIZE.unpack(self._head)
                    self._head.clear()
                continue
            piece = view[: self._to_come]
            if len(self._head) < LOOKED_AT_BYTES:
                self._head += piece[: LOOKED_AT_BYTES - len(self._head)]
            self._to_come -= len(piece)
            view = view[len(piece) :]
            if not self._to_come:
                self._answer(memoryview(bytes(self._head)))
                self._head.clear()

    def _answer(self, frame: memoryview) -> None:
        assert self._transport is not None
        header, position = read_request_header(frame)
        key, version = header.api_key, header.api_version
        if key == ApiKey.PRODUCE:
            response: Any = _PRODUCED
        else:
            response = self._answers[key](read_request(key, version, frame, position))
        self._transport.writelines(
            write_response_frame(key, version, header.correlation_id, response)
        )

    def _fetch(self, request: fetch.FetchRequest) -> fetch.FetchResponse:
        return fetch.FetchResponse(
            responses=[
                fetch.FetchableTopicResponse(
                    topic=topic.topic,
                    topic_id=topic.topic_id,
                    partitions=[self._fetched(asked) for asked in topic.partitions],
                )
                for topic in request.topics
            ]
        )

    def _fetched(self, asked: fetch.FetchPartition) -> fetch.PartitionData:
        # Written over while it may still be on its way? Nobody asks before he has got it.
        batch = self._batches[asked.partition]
        restamp_in_place(batch, 0, base_offset=asked.fetch_offset, leader_epoch=0)
        return fetch.PartitionData(
            partition_index=asked.partition,
            high_watermark=END_OFFSET,
            last_stable_offset=END_OFFSET,
            log_start_offset=0,
            records=batch,
        )

    def _list_offsets(
        self, request: list_offsets.ListOffsetsRequest
    ) -> list_offsets.ListOffsetsResponse:
        return list_offsets.ListOffsetsResponse(
            topics=[
                list_offsets.ListOffsetsTopicResponse(
                    name=topic.name,
                    partitions=[
                        list_offsets.ListOffsetsPartitionResponse(
                            partition_index=asked.partition_index, offset=0, leader_epoch=0
                        )
                        for asked in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )

    def _metadata(self, request: metadata.MetadataRequest) -> metadata.MetadataResponse:
        return metadata.MetadataResponse(
            brokers=[metadata.MetadataResponseBroker(node_id=0, host="127.0.0.1", port=self._port)],
            cluster_id="sink",
            controller_id=0,
            topics=[
                metadata.MetadataResponseTopic(
                    name=topic.name,
                    topic_id=TOPIC_ID,
                    partitions=[
                        metadata.MetadataResponsePartition(
                            partition_index=number,
                            leader_id=0,
                            leader_epoch=0,
                            replica_nodes=[0],
                            isr_nodes=[0],
                        )
                        for number in range(self._partitions)
                    ],
                )
                for topic in request.topics or ()
            ],
        )

    def _find_coordinator(
        self, request: find_coordinator.FindCoordinatorRequest
    ) -> find_coordinator.FindCoordinatorResponse:
        del request
        return find_coordinator.FindCoordinatorResponse(error_code=COORDINATOR_NOT_AVAILABLE)

    def _api_versions(
        self, request: api_versions.ApiVersionsRequest
    ) -> api_versions.ApiVersionsResponse:
        del request
        return api_versions.ApiVersionsResponse(
            api_keys=[
                api_versions.ApiVersion(api_key=key, min_version=first, max_version=last)
                for key, (first, last) in _VERSIONS.items()
            ]
        )

    def _init_producer_id(
        self, request: init_producer_id.InitProducerIdRequest
    ) -> init_producer_id.InitProducerIdResponse:
        del request
        return init_producer_id.InitProducerIdResponse(producer_id=1)


_PRODUCED: Final = produce.ProduceResponse(
    responses=[
        produce.TopicProduceResponse(
            name="sink", partition_responses=[produce.PartitionProduceResponse()]
        )
    ]
)


async def serve(port: int, partitions: int, record_bytes: int) -> None:
    """Serve on loopback until the process ends."""
    batch, _ = ready_made_batch(batch_bytes=BATCH_BYTES, record_bytes=record_bytes)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(port, partitions, batch), "127.0.0.1", port)
    print(READY, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(*map(int, sys.argv[1:4])))
