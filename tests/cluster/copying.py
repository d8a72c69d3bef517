"""Two brokers, each on its own simulated disk, that copy partitions from each other.

The test plays the metadata log for both. Between the follower's link and the leader's streams there
is no network but a pair of queues, which the test can cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

from ottla.cluster.follow_link import FollowCall
from ottla.cluster.follower_streams import FollowerStreams
from ottla.cluster.following import Copier
from ottla.cluster.replica_fetcher import ReplicaFetcher
from ottla.config.addresses import Address
from ottla.model.errors import BrokerNotAvailableError, OttlaError
from ottla.model.ids import BrokerId, LeaderEpoch, MetadataOffset, Offset, PartitionEpoch, TopicId
from ottla.model.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from ottla.v1.replication_pb2 import FollowRequest, FollowResponse
from tests.cluster.world import ME, OTHER, SlowDisk, World, broker, partition, until

ORDERS = TopicId(UUID(int=77))


class Pipe:
    """A call from one broker to another; see :class:`FollowCall`."""

    def __init__(self, streams: FollowerStreams) -> None:
        self.requests: list[FollowRequest] = []
        """What was asked, in order."""
        self._asked: asyncio.Queue[FollowRequest | None] = asyncio.Queue()
        self._answered: asyncio.Queue[FollowResponse | None] = asyncio.Queue()
        self._reason: OttlaError = BrokerNotAvailableError("the far end closed the call")
        self.serving = asyncio.create_task(self._serve(streams))

    async def _serve(self, streams: FollowerStreams) -> None:
        try:
            await streams.serve(self._said(), self._hear, check_caller=lambda _: None)
        except OttlaError as error:
            self._reason = error
        finally:
            self._answered.put_nowait(None)

    async def _said(self) -> AsyncIterator[FollowRequest]:
        while (request := await self._asked.get()) is not None:
            yield request

    async def _hear(self, response: FollowResponse) -> None:
        self._answered.put_nowait(FollowResponse.FromString(response.SerializeToString()))

    async def write(self, request: FollowRequest) -> bool:
        if self.serving.done():
            return False
        self.requests.append(request)
        self._asked.put_nowait(request)
        return True

    async def responses(self) -> AsyncIterator[FollowResponse]:
        while (response := await self._answered.get()) is not None:
            yield response
        raise self._reason

    def cancel(self) -> None:
        self.serving.cancel()
        self._answered.put_nowait(None)


class CopyingWorld(World):
    """One of two brokers."""

    def __init__(self, broker_id: BrokerId, *, disk: SlowDisk | None = None) -> None:
        super().__init__(disk=disk, broker_id=broker_id)
        self.streams = FollowerStreams(
            broker_id=broker_id,
            find=self.replicas.by_topic_id,
            metadata=self.metadata,
            readers=self.readers,
            identity_wait_ms=20,
        )
        self.records_changed = self.streams.partition_changed
        self.far: CopyingWorld | None = None
        self.catch_up_rate: int | None = None
        """Bytes a second."""
        self.pipes: list[Pipe] = []
        self.connected = asyncio.Event()
        self.connected.set()
        self._fetching: asyncio.Task[None] | None = None

    def make_copier(self) -> Copier:
        self.fetcher = ReplicaFetcher(
            broker_id=self.broker_id,
            incarnation_id=bytes(16),
            metadata=self.metadata,
            dial=self._dial,
            address_of=lambda image: Address(image.host, image.grpc_port),
            logs=self.logs,
            directory=self.directory,
            flusher=self.flusher,
            clock=self.clock,
            log_thread=self.log_thread,
            catch_up_rate=lambda: self.catch_up_rate,
        )
        return self.fetcher

    async def _dial(self, address: Address) -> FollowCall:
        del address  # there is only one
        await self.connected.wait()
        assert self.far is not None
        pipe = Pipe(self.far.streams)
        self.pipes.append(pipe)
        return pipe

    async def start(self) -> None:
        self._fetching = asyncio.create_task(self.fetcher.run())
        await super().start()

    async def stop(self) -> None:
        assert self._fetching is not None
        self._fetching.cancel()
        await asyncio.wait([self._fetching])
        for pipe in self.pipes:
            await asyncio.wait([pipe.serving])
        await super().stop()
        if not self._fetching.cancelled():
            self._fetching.result()

    async def disconnect(self) -> None:
        """Break the call to the other broker, and let there be no other."""
        await until(lambda: self.pipes)
        self.connected.clear()
        self.pipes[-1].cancel()
        await until(self.pipes[-1].serving.done)

    async def take(self, image: ClusterImage) -> None:
        """Carry an image out."""
        self.image = image
        await self.publish()


class Pair:
    """Broker 1, which leads ``orders`` at first, and broker 2, which copies it."""

    def __init__(self) -> None:
        self.one = CopyingWorld(ME)
        self.two = CopyingWorld(OTHER)
        self.one.far, self.two.far = self.two, self.one
        self.image = replace(self.one.image, brokers={id_: broker(id_) for id_ in (ME, OTHER)})

    async def start(self) -> None:
        for world in (self.one, self.two):
            world.image = self.image
            await world.start()

    async def stop(self) -> None:
        for world in (self.two, self.one):
            await world.stop()

    # --- The metadata log, played by the test ---

    async def put_orders(
        self,
        *,
        partitions: int = 1,
        part: PartitionImage | None = None,
        to: tuple[CopyingWorld, ...] = (),
        **configs: str,
    ) -> None:
        """Create the topic ``orders``."""
        configs = {key.replace("_", "."): value for key, value in configs.items()}
        topic = TopicImage(
            topic_id=ORDERS,
            name="orders",
            partitions=(part or partition((ME, OTHER)),) * partitions,
            configs=configs,
        )
        await self.put(topics={"orders": topic}, topic_names={ORDERS: "orders"}, to=to)

    async def change(self, *, to: tuple[CopyingWorld, ...] = (), **changes: object) -> None:
        """Change ``orders-0``; its leader epoch rises with another leader, or if none is given."""
        topic = self.image.topics["orders"]
        before = topic.partitions[0]
        after = replace(
            before,
            partition_epoch=PartitionEpoch(before.partition_epoch + 1),
            **changes,  # type: ignore[arg-type]
        )
        if after.leader != before.leader:
            after = replace(after, leader_epoch=LeaderEpoch(before.leader_epoch + 1))
        topic = replace(topic, partitions=(after, *topic.partitions[1:]))
        await self.put(topics={"orders": topic}, to=to)

    async def put(self, *, to: tuple[CopyingWorld, ...] = (), **changes: object) -> None:
        """Let both brokers, or those in ``to``, carry out another image."""
        self.image = replace(
            self.image,
            metadata_offset=MetadataOffset(self.image.metadata_offset + 10),
            **changes,  # type: ignore[arg-type]
        )
        for world in to or (self.one, self.two):
            await world.take(self.image)

    async def register(self, broker_image: BrokerImage) -> None:
        """Let a broker be registered anew."""
        await self.put(brokers={**self.image.brokers, broker_image.broker_id: broker_image})

    # --- Waiting ---

    async def copied(self, number: int = 0) -> None:
        """Wait until both logs have the same end, and both know all of it to be committed."""
        one, two = (world.partition("orders", number) for world in (self.one, self.two))
        await until(
            lambda: (
                one.log.log_end_offset == two.log.log_end_offset
                and one.high_watermark == two.high_watermark == one.log.log_end_offset
            )
        )

    def records(self, world: CopyingWorld, number: int = 0) -> bytes:
        """Everything in a log."""
        log = world.partition("orders", number).log
        if log.log_start_offset == log.log_end_offset:
            return b""
        read = log.read(
            Offset(log.log_start_offset), max_bytes=1 << 20, end_offset=log.log_end_offset
        )
        assert read is not None
        return bytes(read.records)
