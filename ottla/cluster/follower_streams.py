"""Serves the followers of the partitions that this broker leads.

Each follower has one stream here for all that it copies from us. Whoever changes a partition says
so (:meth:`FollowerStreams.partition_changed`), and those who copy it send what is new.

A follower is let in as what the metadata log says that it is: a broker of this cluster, in its
present life (KIP-380). What an earlier life of it has acknowledged, a later one may have lost. A
broker that opens a second stream has given up the first, whatever that one still has under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import Final, Protocol

from ottla.cluster.follower_copy import FollowerCopy
from ottla.cluster.follower_stream import FollowerStream, Write
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.partition import Partition
from ottla.model.errors import (
    BrokerNotAvailableError,
    InconsistentClusterIdError,
    InvalidRequestError,
    NotLeaderOrFollowerError,
    OttlaError,
    RequestTimedOutError,
    StaleBrokerEpochError,
    UnknownTopicIdError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, TopicId, TopicPartition
from ottla.model.image import ClusterImage
from ottla.replication.leader import IsrMember
from ottla.v1.replication_pb2 import FollowerIdentity, FollowRequest

IDENTITY_WAIT_MS: Final = 1_000
"""For the metadata log to tell of a broker that has just registered; after it, the broker is told
to try again."""


class HostedPartitions(Protocol):
    """Where partitions are found; the replica manager is one."""

    def by_topic_id(self, topic_id: TopicId, number: int) -> Partition | None:
        """Return a partition that is hosted here, whoever leads it."""


class FollowerStreams:
    """The streams of all followers. Used on one event loop."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        find: Callable[[TopicId, int], Partition | None],
        metadata: MetadataCache,
        readers: Executor,
        identity_wait_ms: int = IDENTITY_WAIT_MS,
    ) -> None:
        """Serve the partitions that ``find`` finds, which is the replica manager's `by_topic_id`.

        ``readers`` are the threads for what has to be read from the disk.
        """
        self._broker_id = broker_id
        self._find = find
        self._metadata = metadata
        self._readers = readers
        self._identity_wait_ms = identity_wait_ms
        self._streams: dict[BrokerId, FollowerStream] = {}
        self._watched: dict[Partition, dict[FollowerCopy, FollowerStream]] = {}
        self._closed = False
        metadata.subscribe(self._image_published)

    def __repr__(self) -> str:
        return f"<FollowerStreams {list(self._streams.values())}>"

    # --- What happens here ---

    def partition_changed(self, partition: Partition) -> None:
        """Hear that records were appended or committed, or that this broker leads no more."""
        copies = self._watched.get(partition)
        if copies is not None:
            for copy, stream in copies.items():
                stream.changed(copy)

    def close(self) -> None:
        """End all streams, and let none in: the broker stops."""
        self._closed = True
        for stream in self._streams.values():
            stream.end(self._stopping())

    def _image_published(self, image: ClusterImage) -> None:
        for stream in list(self._streams.values()):
            broker = image.brokers.get(stream.follower.broker_id)
            if broker is None or broker.broker_epoch > stream.follower.broker_epoch:
                stream.end(
                    StaleBrokerEpochError(
                        f"broker {stream.follower.broker_id} has registered again since it called "
                        f"with broker epoch {stream.follower.broker_epoch}, or was unregistered"
                    )
                )
            else:
                stream.image_published()

    # --- Serving ---

    async def serve(
        self, requests: AsyncIterator[FollowRequest], write: Write, *, check_caller: CheckCaller
    ) -> None:
        """Serve one follower until it ends its side.

        ``check_caller`` raises :exc:`ClusterAuthorizationError` unless the caller may speak for a
        broker.

        Raises:
            InvalidRequestError: the messages make no sense.
            ClusterAuthorizationError: the caller is not the broker that it says.
            InconsistentClusterIdError: it is one of another cluster.
            StaleBrokerEpochError: it has registered again since.
            BrokerNotAvailableError: this broker does not know the caller yet, or stops, or the
                caller has opened another stream.
        """
        first = await anext(requests, None)
        if first is None:
            return
        if not first.HasField("identity"):
            raise InvalidRequestError("the first message has no identity; say who follows")
        follower = await self._admit(first.identity, check_caller)
        if self._closed:
            raise self._stopping()
        former = self._streams.get(follower.broker_id)
        if former is not None:
            former.end(
                BrokerNotAvailableError(f"broker {follower.broker_id} has opened another stream")
            )
        stream = FollowerStream(follower, partitions=self, readers=self._readers)
        self._streams[follower.broker_id] = stream
        try:
            await stream.run(first, requests, write)
        finally:
            if self._streams.get(follower.broker_id) is stream:
                del self._streams[follower.broker_id]

    async def _admit(self, identity: FollowerIdentity, check_caller: CheckCaller) -> IsrMember:
        member = IsrMember(BrokerId(identity.broker_id), BrokerEpoch(identity.broker_epoch))
        check_caller(member.broker_id)
        self._check_cluster(identity, self._metadata.image)
        try:
            image = await self._metadata.wait_for(
                lambda image: bool(image.cluster_id) and _knows(image, member),
                timeout_ms=self._identity_wait_ms,
                what=f"hearing of broker {member.broker_id} with epoch {member.broker_epoch}",
            )
        except RequestTimedOutError as error:
            raise BrokerNotAvailableError(f"{error}; try again") from error
        self._check_cluster(identity, image)
        present = image.brokers[member.broker_id].broker_epoch
        if present > member.broker_epoch:
            raise StaleBrokerEpochError(
                f"broker {member.broker_id} calls with broker epoch {member.broker_epoch}, and has "
                f"registered again since with {present}"
            )
        return member

    def _check_cluster(self, identity: FollowerIdentity, image: ClusterImage) -> None:
        if image.cluster_id and identity.cluster_id != image.cluster_id:
            raise InconsistentClusterIdError(
                f"broker {identity.broker_id} is of cluster {identity.cluster_id!r}, and broker "
                f"{self._broker_id} of {image.cluster_id!r}; check the addresses of the voters"
            )

    def _stopping(self) -> OttlaError:
        return BrokerNotAvailableError(f"broker {self._broker_id} stops; follow who leads next")

    # --- For the streams ---

    def find(self, topic_id: TopicId, number: int) -> Partition:
        """See :class:`~ottla.cluster.follower_stream.CopiedPartitions`."""
        partition = self._find(topic_id, number)
        if partition is not None:
            return partition
        if topic_id not in self._metadata.image.topic_names:
            raise UnknownTopicIdError(f"broker {self._broker_id} knows no topic with id {topic_id}")
        raise NotLeaderOrFollowerError(
            f"broker {self._broker_id} does not serve partition {number} of topic "
            f"{self._metadata.image.topic_names[topic_id]!r}"
        )

    def is_news(self, topic_id: TopicId, number: int, leader_epoch: LeaderEpoch) -> bool:
        """See :class:`~ottla.cluster.follower_stream.CopiedPartitions`."""
        image = self._metadata.image
        name = image.topic_names.get(topic_id)
        if name is None:
            return True
        known = image.partition(TopicPartition(name, number))
        return known is None or known.leader_epoch < leader_epoch

    def watch(self, copy: FollowerCopy, stream: FollowerStream) -> None:
        """See :class:`~ottla.cluster.follower_stream.CopiedPartitions`."""
        self._watched.setdefault(copy.partition, {})[copy] = stream

    def unwatch(self, copy: FollowerCopy) -> None:
        """See :class:`~ottla.cluster.follower_stream.CopiedPartitions`."""
        copies = self._watched[copy.partition]
        del copies[copy]
        if not copies:
            del self._watched[copy.partition]


CheckCaller = Callable[[BrokerId], None]


def _knows(image: ClusterImage, member: IsrMember) -> bool:
    broker = image.brokers.get(member.broker_id)
    return broker is not None and broker.broker_epoch >= member.broker_epoch
