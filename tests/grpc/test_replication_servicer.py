"""A follower on the network is served as one in this process, and is told why it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from ottla.cluster.grpc.errors import DETAILS_TRAILER
from ottla.cluster.grpc.replication_servicer import ReplicationServicer
from ottla.v1 import replication_pb2_grpc, types_pb2
from ottla.v1.replication_pb2 import (
    FollowAcknowledgement,
    FollowerIdentity,
    FollowPartition,
    FollowRequest,
    FollowResponse,
)
from tests.cluster.following import CLUSTER_ID, CREDIT_BYTES, ORDERS, THIRD, Leading
from tests.cluster.world import ME, OTHER, batch, until

Call = Any
"""A stream, as the stubs do not know it: read and written through the call."""


class Served(Leading):
    """A leader behind a port."""

    async def start(self) -> None:
        await super().start()
        self.server = grpc.aio.server()
        ReplicationServicer(self.streams).add_to(self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        self.channels: list[grpc.aio.Channel] = []

    async def stop(self) -> None:
        self.streams.close()
        for channel in self.channels:
            await channel.close(None)
        await self.server.stop(None)
        await super().stop()

    async def call(self, *, broker_id: int = OTHER, broker_epoch: int = 1) -> Call:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        self.channels.append(channel)
        stub: Any = replication_pb2_grpc.ReplicationStub(channel)
        call = stub.Follow()
        identity = FollowerIdentity(
            cluster_id=CLUSTER_ID, broker_id=broker_id, broker_epoch=broker_epoch
        )
        begin = FollowPartition(
            handle=5, generation=1, topic_id=ORDERS.bytes, last_fetched_epoch=-1
        )
        await call.write(FollowRequest(identity=identity, begin=[begin], credit_bytes=CREDIT_BYTES))
        return call


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    running = Served()
    await running.start()
    yield running
    await running.stop()


async def records_of(call: Call) -> bytes:
    """Wait for records, and acknowledge them."""
    while True:
        response = await call.read()
        assert isinstance(response, FollowResponse), response
        for entry in response.partitions:
            assert not entry.HasField("error"), entry
            if entry.records:
                acknowledged = FollowAcknowledgement(handle=5, generation=1, end_offset=1)
                await call.write(FollowRequest(acknowledgements=[acknowledged]))
                return entry.records


async def _read_to_the_end(call: Call) -> None:
    while await call.read():
        pass


async def error_of(call: Call) -> tuple[grpc.StatusCode, str]:
    """Wait for the end of a call; return its status and the name of its error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read_to_the_end(call)
    trailers: dict[str, Any] = dict(caught.value.trailing_metadata() or ())  # type: ignore[arg-type]
    status = status_pb2.Status.FromString(trailers[DETAILS_TRAILER])
    error = types_pb2.Error()
    assert status.details[0].Unpack(error)
    return caught.value.code(), types_pb2.Error.Code.Name(error.code)


async def test_records_go_out_and_are_committed_by_acknowledgements(served: Served) -> None:
    calls = [await served.call(), await served.call(broker_id=THIRD)]
    produced = asyncio.create_task(served.appended(batch(b"hello"), name="orders"))

    for call in calls:
        assert b"hello" in await records_of(call)

    assert (await produced).base_offset == 0


async def test_refusal_is_a_status_with_its_name(served: Served) -> None:
    call = await served.call(broker_epoch=0)

    assert await error_of(call) == (grpc.StatusCode.FAILED_PRECONDITION, "STALE_BROKER_EPOCH")


async def test_broker_that_stops_says_so(served: Served) -> None:
    call = await served.call()
    await call.read()

    served.streams.close()

    assert await error_of(call) == (grpc.StatusCode.UNAVAILABLE, "BROKER_NOT_AVAILABLE")


async def test_follower_that_vanishes_leaves_nothing_behind(served: Served) -> None:
    call = await served.call()
    await call.read()

    await served.channels[0].close(None)

    await until(lambda: "broker 2" not in repr(served.streams))
    served.begin(("orders", 0, batch(b"more")), acks=1)
    assert served.partition("orders").leader.isr == {ME, OTHER, THIRD}


async def test_call_that_the_follower_ends_ends_well(served: Served) -> None:
    call = await served.call()
    await call.read()

    await call.done_writing()

    await _read_to_the_end(call)
    assert await call.code() is grpc.StatusCode.OK
