"""Topics: the controller changes them, this service waits until the change can be used.

A topic that was just created is known to the controller before it can be written to: the brokers
have to hear of it, make logs and begin to lead. Whoever creates a topic wants to use it, so
:meth:`BrokerTopicsService.create_topics` answers when every partition has a leader that this broker
knows to serve. If that takes longer than the caller will wait, the topic exists nevertheless, and
the answer says ``REQUEST_TIMED_OUT``.

Descriptions come from this broker's image and from its own logs; nobody is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ottla.cluster.controller_driver import ControllerDriver
from ottla.cluster.hosted import HostedPartitions
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.services import (
    PartitionDescription,
    Result,
    TopicCreated,
    TopicDescription,
    TopicToCreate,
)
from ottla.controller.requests import (
    CreatedTopic,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    NewPartitions,
    NewTopic,
)
from ottla.model.errors import (
    InvalidRequestError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import NO_BROKER, NO_OFFSET, TopicPartition
from ottla.model.image import ClusterImage, TopicImage
from ottla.model.limits import (
    ADMIN_TIMEOUT_DEFAULT_MS,
    ADMIN_TIMEOUT_MAX_MS,
    PARTITIONS_PER_REQUEST_MAX,
    TOPICS_PER_REQUEST_MAX,
)
from ottla.model.topic_names import INTERNAL_TOPICS

_NO_TOPIC_ID: Final = bytes(16)


class BrokerTopicsService:
    """See :class:`~ottla.cluster.services.TopicsService`."""

    def __init__(
        self, controller: ControllerDriver, metadata: MetadataCache, hosted: HostedPartitions
    ) -> None:
        self._controller = controller
        self._metadata = metadata
        self._hosted = hosted

    async def create_topics(
        self, topics: Sequence[TopicToCreate], *, validate_only: bool, timeout_ms: int
    ) -> list[Result[TopicCreated]]:
        timeout_ms = check_admin_timeout(timeout_ms)
        check_topic_count(len(topics))
        _check_partition_count(sum(max(1, topic.partitions) for topic in topics))
        created = await self._controller.submit(
            CreateTopics(topics=tuple(map(_new_topic, topics)), validate_only=validate_only),
            timeout_ms=timeout_ms,
        )
        late: RequestTimedOutError | None = None
        made = [topic.name for topic in created if topic.error is None]
        if made and not validate_only:
            late = await self._wait_led(made, timeout_ms)
        return [topic.error or late or _created(topic) for topic in created]

    async def delete_topics(self, names: Sequence[str]) -> list[Result[None]]:
        check_topic_count(len(names))
        results = await self._controller.submit(
            DeleteTopics(names=tuple(names)), timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS
        )
        return [result.error for result in results]

    async def create_partitions(
        self, totals: Sequence[tuple[str, int]], *, validate_only: bool
    ) -> list[Result[None]]:
        check_topic_count(len(totals))
        _check_partition_count(sum(max(0, total) for _, total in totals))
        results = await self._controller.submit(
            CreatePartitions(
                topics=tuple(NewPartitions(name=name, partitions=total) for name, total in totals),
                validate_only=validate_only,
            ),
            timeout_ms=ADMIN_TIMEOUT_DEFAULT_MS,
        )
        late: RequestTimedOutError | None = None
        grown = [result.name for result in results if result.error is None]
        if grown and not validate_only:
            late = await self._wait_led(grown, ADMIN_TIMEOUT_DEFAULT_MS)
        return [result.error or late for result in results]

    def describe_topics(
        self, names: Sequence[str], *, include_internal: bool
    ) -> list[tuple[str, Result[TopicDescription]]]:
        check_topic_count(len(names))
        image = self._metadata.image
        if not names:
            names = sorted(
                name for name in image.topics if include_internal or name not in INTERNAL_TOPICS
            )
        return [(name, self._describe(image, name)) for name in names]

    def _describe(self, image: ClusterImage, name: str) -> Result[TopicDescription]:
        topic = image.topics.get(name)
        if topic is None:
            return UnknownTopicOrPartitionError(
                f"there is no topic {name!r}; `ottla topic list` shows those there are"
            )
        return TopicDescription(
            topic,
            name in INTERNAL_TOPICS,
            [self._describe_partition(topic, number) for number in range(len(topic.partitions))],
        )

    def _describe_partition(self, topic: TopicImage, partition: int) -> PartitionDescription:
        hosted = self._hosted.describe_partition(TopicPartition(topic.name, partition))
        image = topic.partitions[partition]
        if hosted is None:
            return PartitionDescription(partition, image, NO_OFFSET, NO_OFFSET, -1)
        return PartitionDescription(
            partition, image, hosted.log_start_offset, hosted.high_watermark, hosted.size_bytes
        )

    async def _wait_led(self, names: Sequence[str], timeout_ms: int) -> RequestTimedOutError | None:
        """Wait until the partitions of these topics can be used; the error if it takes too long."""

        def led(image: ClusterImage) -> bool:
            return all(
                part.leader != NO_BROKER
                for name in names
                # A topic that somebody deleted meanwhile is nothing to wait for.
                for part in (image.topics[name].partitions if name in image.topics else ())
            )

        try:
            await self._metadata.wait_for(
                led, timeout_ms=timeout_ms, what=f"the election of leaders for {', '.join(names)}"
            )
        except RequestTimedOutError as error:
            return error
        return None


def check_topic_count(count: int) -> None:
    """Raise :exc:`InvalidRequestError` if a request names too many topics."""
    if count > TOPICS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"the request names {count} topics; send at most {TOPICS_PER_REQUEST_MAX} at a time"
        )


def check_admin_timeout(timeout_ms: int) -> int:
    """Return the time to wait, which is the default for 0; :exc:`InvalidRequestError`."""
    if not 0 <= timeout_ms <= ADMIN_TIMEOUT_MAX_MS:
        raise InvalidRequestError(
            f"a timeout of {timeout_ms} ms is out of range; use 0 to {ADMIN_TIMEOUT_MAX_MS}"
        )
    return timeout_ms or ADMIN_TIMEOUT_DEFAULT_MS


def _check_partition_count(count: int) -> None:
    if count > PARTITIONS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"the request asks for {count} partitions; ask for at most "
            f"{PARTITIONS_PER_REQUEST_MAX} at a time"
        )


def _new_topic(topic: TopicToCreate) -> NewTopic:
    return NewTopic(
        name=topic.name,
        partitions=topic.partitions or None,
        replication_factor=topic.replication_factor or None,
        configs=topic.configs or {},
    )


def _created(topic: CreatedTopic) -> TopicCreated:
    topic_id = _NO_TOPIC_ID if topic.topic_id is None else topic.topic_id.bytes
    return TopicCreated(topic_id, topic.partitions, topic.replication_factor)
