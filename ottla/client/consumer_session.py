"""What a consumer has between start and stop."""

from __future__ import annotations

from ottla.client.connections import Connections
from ottla.client.errors import ClientClosedError
from ottla.client.fetcher import Fetcher
from ottla.client.group import GroupSession
from ottla.client.group_coordinator import GroupCoordinator
from ottla.client.group_member import Subscription
from ottla.client.handed_over import HandedOver
from ottla.client.metadata import MetadataCache
from ottla.client.offset_lookup import EARLIEST, OffsetLookup
from ottla.client.rebalance_listener import RebalanceListener
from ottla.client.settings import ConsumerSettings
from ottla.model.errors import InvalidRequestError
from ottla.model.ids import TopicPartition


class ConsumerSession:
    """Connections, fetching, and membership if there is a group."""

    def __init__(self, settings: ConsumerSettings, handed: HandedOver) -> None:
        self._settings = settings
        self._handed = handed
        self._topics: tuple[str, ...] = ()
        self._is_started = False
        self._connections = Connections(settings)
        self.metadata = MetadataCache(
            self._connections,
            settings,
            create_topics=settings.allow_auto_create_topics,
            on_update=self._metadata_updated,
        )
        self.lookup = OffsetLookup(self._connections, self.metadata, settings)
        self.fetcher = Fetcher(self._connections, self.metadata, settings, self.lookup)
        self.group: GroupSession | None = None
        self._coordinator = (
            None
            if settings.group_id is None
            else GroupCoordinator(settings.group_id, self._connections, self.metadata, settings)
        )

    async def start(self, topics: tuple[str, ...]) -> None:
        """Read all of some topics."""
        await self.metadata.connect()
        self._topics = topics
        for topic in topics:
            await self.metadata.topic(topic, timeout_ms=self._settings.request_timeout_ms)
        self._add_partitions(begin=None)
        self._run()

    async def start_in_group(
        self, subscription: Subscription, listener: RebalanceListener | None
    ) -> None:
        """Read what the group's coordinator says; without a subscription, what is assigned."""
        await self.metadata.connect()
        for topic in subscription.topics:
            await self.metadata.topic(topic, timeout_ms=self._settings.request_timeout_ms)
        self._run()
        if subscription != Subscription():
            await self._join(subscription, listener).start()

    def subscribe(self, subscription: Subscription, listener: RebalanceListener | None) -> None:
        """Subscribe to something else, or for the first time.

        Raises :exc:`InvalidRequestError` if partitions were assigned.
        """
        if self.group is None and self.fetcher.readers:
            raise InvalidRequestError(
                "this consumer reads partitions that were assigned to it; assign none before it "
                "subscribes, or make another"
            )
        self.metadata.want(subscription.topics)
        if self.group is not None:
            self.group.subscribe(subscription, listener)
        else:
            group = self._join(subscription, listener)
            self.fetcher.spawn(group.start(), name="ottla-consumer-joins")

    def coordinator_for(self, purpose: str) -> GroupCoordinator:
        """Return the group's coordinator; raise :exc:`InvalidRequestError` without a group."""
        if self._coordinator is None:
            raise InvalidRequestError(
                f"this consumer belongs to no group that it could {purpose} for; give it a group_id"
            )
        return self._coordinator

    async def stop(self, *, is_settled: bool) -> None:
        """End all of it; ``is_settled``: the application is done with all it was handed.

        Raises what a rebalance listener raises, at the end.
        """
        try:
            if self.group is not None:
                await self.group.stop(is_settled=is_settled)
        finally:
            self.fetcher.fail(ClientClosedError("the consumer was stopped"))
            await self.fetcher.stop()
            await self._connections.close()

    def _run(self) -> None:
        self._is_started = True
        self.fetcher.spawn(self.metadata.run(), name="ottla-consumer-metadata")
        self.fetcher.start()

    def _join(self, subscription: Subscription, listener: RebalanceListener | None) -> GroupSession:
        assert self._coordinator is not None
        self.group = GroupSession(
            self._coordinator,
            metadata=self.metadata,
            settings=self._settings,
            fetcher=self.fetcher,
            handed=self._handed,
            subscription=subscription,
            listener=listener,
        )
        return self.group

    def _metadata_updated(self) -> None:
        if self._is_started:
            # Whatever is in a partition that is new was sent after we began to read its topic.
            self._add_partitions(begin=EARLIEST)
            self.fetcher.metadata_updated()

    def _add_partitions(self, *, begin: int | None) -> None:
        for topic in self._topics:
            leaders = self.metadata.picture.topics.get(topic)
            for number in range(0 if leaders is None else len(leaders.partitions)):
                partition = TopicPartition(topic, number)
                if partition not in self.fetcher.readers:
                    self.fetcher.add(partition, begin=begin)
