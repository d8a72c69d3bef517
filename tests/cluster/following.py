"""A leader with its follower streams, and followers that the test moves by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from ottla.cluster.follower_streams import FollowerStreams
from ottla.model.errors import OttlaError, error_for
from ottla.model.ids import BrokerId, TopicId
from ottla.model.image import TopicImage
from ottla.record.batch import split_batches
from ottla.v1.replication_pb2 import (
    FollowAcknowledgement,
    FollowedPartition,
    FollowerIdentity,
    FollowPartition,
    FollowRequest,
    FollowResponse,
)
from tests.cluster.world import ME, OTHER, World, batch, broker, partition, until

THIRD = BrokerId(3)
CLUSTER_ID = "c" * 22
CREDIT_BYTES = 1 << 20
ORDERS = TopicId(UUID(int=77))


class Leading(World):
    """A world in which this broker leads ``orders``, which brokers 2 and 3 copy."""

    async def start(self) -> None:
        await super().start()
        self.streams = FollowerStreams(
            broker_id=ME,
            find=self.replicas.by_topic_id,
            metadata=self.metadata,
            readers=self.readers,
            identity_wait_ms=20,
        )
        self.records_changed = self.streams.partition_changed
        self.followers: list[Follower] = []
        await self.publish(brokers={id_: broker(id_) for id_ in (ME, OTHER, THIRD)})
        await self.put_orders()

    async def put_orders(self, *, partitions: int = 3, **configs: str) -> None:
        """Create the topic ``orders``."""
        part = partition((ME, OTHER, THIRD))
        configs = {key.replace("_", "."): value for key, value in configs.items()}
        await self.put_topic(
            TopicImage(
                topic_id=ORDERS, name="orders", partitions=(part,) * partitions, configs=configs
            )
        )

    async def stop(self) -> None:
        for follower in self.followers:
            await follower.leave()
        await super().stop()

    def follower(self, broker_id: int = OTHER, **identity: object) -> Follower:
        """Open a stream, with an identity that is right unless the test says otherwise."""
        follower = Follower(self.streams, BrokerId(broker_id), identity)
        self.followers.append(follower)
        return follower


class Follower:
    """The other side of a stream. It says what the test says, and notes what it is sent."""

    def __init__(
        self, streams: FollowerStreams, broker_id: BrokerId, identity: dict[str, object]
    ) -> None:
        self.messages: list[FollowResponse] = []
        self.refused_as: Callable[[BrokerId], None] = lambda _: None
        self.reads = asyncio.Event()
        self.reads.set()
        self._requests: asyncio.Queue[FollowRequest | None] = asyncio.Queue()
        described = {"cluster_id": CLUSTER_ID, "broker_id": broker_id, "broker_epoch": 1} | identity
        self.say(
            identity=FollowerIdentity(**described),  # type: ignore[arg-type]
            credit_bytes=CREDIT_BYTES,
        )
        self.call = asyncio.create_task(
            streams.serve(self._said(), self._hear, check_caller=self._check)
        )

    def _check(self, claimed: BrokerId) -> None:
        self.refused_as(claimed)

    async def _said(self) -> AsyncIterator[FollowRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _hear(self, response: FollowResponse) -> None:
        await self.reads.wait()
        self.messages.append(response)

    # --- What it says ---

    def say(self, **fields: object) -> None:
        self._requests.put_nowait(FollowRequest(**fields))  # type: ignore[arg-type]

    def begin(self, *numbers: int, **fields: object) -> None:
        """Begin to copy these partitions of ``orders``, whose handles are their numbers."""
        self.say(
            begin=[
                FollowPartition(
                    **{  # type: ignore[arg-type]
                        "handle": number,
                        "generation": 1,
                        "topic_id": ORDERS.bytes,
                        "partition": number,
                        "leader_epoch": 0,
                        "fetch_offset": 0,
                        "last_fetched_epoch": -1,
                        "durable_end_offset": 0,
                        **fields,
                    }
                )
                for number in numbers
            ]
        )

    def acknowledge(self, end_offset: int, *, handle: int = 0, generation: int = 1) -> None:
        self.say(
            acknowledgements=[
                FollowAcknowledgement(handle=handle, generation=generation, end_offset=end_offset)
            ]
        )

    async def leave(self) -> None:
        """End the call, whatever came of it."""
        self._requests.put_nowait(None)
        await asyncio.wait([self.call])

    # --- What it hears ---

    @property
    def entries(self) -> list[FollowedPartition]:
        return [entry for message in self.messages for entry in message.partitions]

    def of(self, handle: int = 0) -> list[FollowedPartition]:
        return [entry for entry in self.entries if entry.handle == handle]

    def end_offset(self, handle: int = 0) -> int:
        """Up to where it was sent records."""
        ends = [
            split_batches(entry.records)[-1].header.next_offset
            for entry in self.of(handle)
            if entry.records
        ]
        return max(ends, default=0)

    def high_watermark(self, handle: int = 0) -> int:
        return max((entry.high_watermark for entry in self.of(handle)), default=-1)

    async def heard(self, condition: Callable[[], object]) -> None:
        """Wait until what it heard is as the test says; a call that ended tells why."""
        await until(lambda: condition() or self.call.done())
        if not condition():
            self.call.result()
            raise AssertionError(f"the call ended after {self.entries}")

    async def has(self, end_offset: int, handle: int = 0) -> None:
        await self.heard(lambda: self.end_offset(handle) >= end_offset)

    async def refused(self, handle: int = 0) -> OttlaError:
        """Wait for an answer that ends a copy."""
        await self.heard(lambda: any(entry.HasField("error") for entry in self.of(handle)))
        (error,) = (entry.error for entry in self.of(handle) if entry.HasField("error"))
        return error_for(error.code, error.message)

    async def ended(self) -> OttlaError:
        """Wait for the end of the call, which is an error."""
        await asyncio.wait([self.call])
        error = self.call.exception()
        assert isinstance(error, OttlaError), error
        return error


async def turns() -> None:
    """Let everybody do what he can do now."""
    for _ in range(20):
        await asyncio.sleep(0)


def append(leading: Leading, *values: bytes, number: int = 0) -> None:
    leading.begin(("orders", number, batch(*values)), acks=1)
