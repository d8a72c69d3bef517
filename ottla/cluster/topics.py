"""Topics: the controller changes them, this service waits until the change can be used.

A topic that was just created is known to the controller before it can be written to: the brokers
have to hear of it, make logs and begin to lead. Whoever creates a topic, or adds partitions, wants
to use them, so the answer comes when this broker knows a leader of every partition. A topic that
takes longer than the caller will wait exists nevertheless; its answer is ``REQUEST_TIMED_OUT``.

What a change may be, and how large, is the controller's to say: nothing of that is checked here.

Descriptions come from this broker's image and from its own logs; nobody is asked.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from ottla.cluster.deadline import Deadline
from ottla.cluster.hosted import HostedPartitions
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.services import (
    PartitionDescription,
    PartitionsToCreate,
    Result,
    TopicCreated,
    TopicDescription,
    TopicToCreate,
)
from ottla.cluster.submits import Submits
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
    InvalidTopicError,
    RequestTimedOutError,
    StorageError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import NO_BROKER, NO_OFFSET, TopicId, TopicPartition
from ottla.model.image import ClusterImage, TopicImage
from ottla.model.limits import (
    ADMIN_TIMEOUT_DEFAULT_MS,
    ADMIN_TIMEOUT_MAX_MS,
    TOPICS_PER_REQUEST_MAX,
)
from ottla.model.topic_names import INTERNAL_TOPICS, check_topic_name

_NO_TOPIC_ID: Final = bytes(16)


class BrokerTopicsService:
    """See :class:`~ottla.cluster.services.TopicsService`."""

    def __init__(
        self, controller: Submits, metadata: MetadataCache, hosted: HostedPartitions
    ) -> None:
        self._controller = controller
        self._metadata = metadata
        self._hosted = hosted

    async def create_topics(
        self, topics: Sequence[TopicToCreate], *, validate_only: bool, timeout_ms: int
    ) -> list[Result[TopicCreated]]:
        deadline = Deadline(_timeout(timeout_ms))
        unwritable = self._why_nowhere()
        if unwritable is not None:
            return [unwritable for _ in topics]
        created = await self._controller.submit(
            CreateTopics(topics=tuple(map(_new_topic, topics)), validate_only=validate_only),
            timeout_ms=deadline.left_ms,
        )
        late: Container[str] = ()
        if not validate_only:
            made = [topic.name for topic in created if topic.error is None]
            late = await self._wait_led(made, deadline)
        return [
            topic.error
            or (_late(topic.name) if topic.name in late else None)
            or (None if validate_only else self._why_offline(topic.name))
            or _created(topic)
            for topic in created
        ]

    async def delete_topics(
        self, topics: Sequence[str | TopicId], *, timeout_ms: int = 0
    ) -> list[Result[None]]:
        results = await self._controller.submit(
            DeleteTopics(
                names=tuple(topic for topic in topics if isinstance(topic, str)),
                topic_ids=tuple(topic for topic in topics if not isinstance(topic, str)),
            ),
            timeout_ms=_timeout(timeout_ms),
        )
        by_name = len(topics) - sum(not isinstance(topic, str) for topic in topics)
        of_names, of_ids = iter(results[:by_name]), iter(results[by_name:])
        return [next(of_names if isinstance(topic, str) else of_ids).error for topic in topics]

    async def create_partitions(
        self, topics: Sequence[PartitionsToCreate], *, validate_only: bool, timeout_ms: int = 0
    ) -> list[Result[None]]:
        deadline = Deadline(_timeout(timeout_ms))
        unwritable = self._why_nowhere()
        if unwritable is not None:
            return [unwritable for _ in topics]
        results = await self._controller.submit(
            CreatePartitions(
                topics=tuple(map(_new_partitions, topics)), validate_only=validate_only
            ),
            timeout_ms=deadline.left_ms,
        )
        late: Container[str] = ()
        if not validate_only:
            grown = [result.name for result in results if result.error is None]
            late = await self._wait_led(grown, deadline)
        return [
            result.error
            or (_late(result.name) if result.name in late else None)
            or (None if validate_only else self._why_offline(result.name))
            for result in results
        ]

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
            return why_unknown(name)
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

    def _why_nowhere(self) -> StorageError | None:
        """Say why no new partition can be had anywhere; ``None`` if some broker may take it."""
        failure = self._hosted.directory_failure
        if failure is None or len(self._metadata.image.brokers) > 1:
            return None
        return StorageError(f"nothing was created, for the only broker has no disk: {failure}")

    def _why_offline(self, name: str) -> StorageError | None:
        """Say why partitions of a topic cannot be used here; ``None`` if all can."""
        topic = self._metadata.image.topics.get(name)
        for number in range(0 if topic is None else len(topic.partitions)):
            reason = self._hosted.why_offline(TopicPartition(name, number))
            if reason is not None:
                return StorageError(
                    f"the change of topic {name!r} was made, but partition {number} is offline: "
                    f"{reason}"
                )
        return None

    async def _wait_led(self, names: Sequence[str], deadline: Deadline) -> frozenset[str]:
        """Wait until all partitions of these topics are led; return the topics that are late."""
        try:
            await self._metadata.wait_for(
                lambda image: all(_is_led(image, name) for name in names),
                timeout_ms=deadline.left_ms,
                what="the election of leaders",
            )
        except RequestTimedOutError:
            image = self._metadata.image
            return frozenset(name for name in names if not _is_led(image, name))
        return frozenset()


def check_topic_count(count: int) -> None:
    """Raise :exc:`InvalidRequestError` if a request names too many topics."""
    if count > TOPICS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"the request names {count} topics; name at most {TOPICS_PER_REQUEST_MAX}"
        )


def _timeout(timeout_ms: int) -> int:
    """Return how long to wait, which is the default for 0."""
    if not 0 <= timeout_ms <= ADMIN_TIMEOUT_MAX_MS:
        raise InvalidRequestError(
            f"a timeout of {timeout_ms} ms is out of range; use 0 to {ADMIN_TIMEOUT_MAX_MS}"
        )
    return timeout_ms or ADMIN_TIMEOUT_DEFAULT_MS


def _is_led(image: ClusterImage, name: str) -> bool:
    # A topic that somebody deleted meanwhile is nothing to wait for.
    topic = image.topics.get(name)
    return topic is None or all(part.leader != NO_BROKER for part in topic.partitions)


def _late(name: str) -> RequestTimedOutError:
    return RequestTimedOutError(
        f"the change of topic {name!r} was made, but some of its partitions had no leader in time; "
        "describe the topic to see which"
    )


def why_unknown(name: str) -> InvalidTopicError | UnknownTopicOrPartitionError:
    """Return why there is no topic of this name: there is none yet, or there can be none."""
    try:
        check_topic_name(name)
    except InvalidTopicError as error:
        return error
    return UnknownTopicOrPartitionError(
        f"there is no topic {name!r}; `ottla topic list` shows those there are"
    )


def _new_topic(topic: TopicToCreate) -> NewTopic:
    return NewTopic(
        name=topic.name,
        partitions=topic.partitions,
        replication_factor=topic.replication_factor,
        configs=topic.configs or {},
        assignments=tuple(topic.assignments),
    )


def _new_partitions(topic: PartitionsToCreate) -> NewPartitions:
    return NewPartitions(
        name=topic.name,
        partitions=topic.partitions,
        assignments=None if topic.assignments is None else tuple(map(tuple, topic.assignments)),
    )


def _created(topic: CreatedTopic) -> TopicCreated:
    topic_id = _NO_TOPIC_ID if topic.topic_id is None else topic.topic_id.bytes
    return TopicCreated(topic_id, topic.partitions, topic.replication_factor, topic.configs)
