"""The cluster as a client needs it, and this broker as an operator wants to see it.

Metadata is also where a topic may come into being: a client that asks for one which does not exist,
with the wish that it be created, gets it if the broker is set up to do so
(``auto.create.topics.enable``). It is created before the answer, so that the answer already names
its leaders. If it cannot be created, that is the answer for this topic, and the others that the
client asked for are none the worse for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

from ottla.cluster.hosted import HostedPartitions
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.metadata_watch import MetadataWatches
from ottla.cluster.services import (
    BrokerDescription,
    MetadataChange,
    Result,
    TopicDescription,
    TopicsService,
    TopicToCreate,
)
from ottla.cluster.topics import check_topic_count, why_unknown
from ottla.model.errors import (
    InvalidRequestError,
    OttlaError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
)
from ottla.model.ids import NO_BROKER, BrokerId, TopicPartition
from ottla.model.image import ClusterImage, TopicImage
from ottla.model.limits import (
    AUTO_CREATION_WAIT_MAX_MS,
    METADATA_TOPICS_MAX,
    TOPICS_PER_REQUEST_MAX,
)
from ottla.model.topic_names import INTERNAL_TOPICS


class BrokerClusterService:
    """See :class:`~ottla.cluster.services.ClusterService`."""

    def __init__(
        self,
        metadata: MetadataCache,
        topics: TopicsService,
        hosted: HostedPartitions,
        *,
        broker_id: BrokerId,
        version: str,
        started_at_ms: int,
        auto_create_topics: bool,
    ) -> None:
        self._metadata = metadata
        self._watches = MetadataWatches(metadata)
        self._topics = topics
        self._hosted = hosted
        self._broker_id = broker_id
        self._version = version
        self._started_at_ms = started_at_ms
        self._auto_create_topics = auto_create_topics

    @property
    def image(self) -> ClusterImage:
        return self._metadata.image

    async def metadata(
        self, names: Sequence[str], *, allow_auto_creation: bool
    ) -> list[tuple[str, Result[TopicDescription]]]:
        check_topic_count(len(names))
        failed: dict[str, OttlaError] = {}
        if allow_auto_creation and self._auto_create_topics:
            failed = await self._create_missing(names)
        return [
            (name, failed.get(name, result))
            for name, result in self._topics.describe_topics(names, include_internal=False)
        ]

    async def find_topics(
        self, names: Sequence[str], *, allow_auto_creation: bool
    ) -> list[tuple[str, Result[TopicImage]]]:
        if len(names) > METADATA_TOPICS_MAX:
            raise InvalidRequestError(
                f"the request names {len(names)} topics; name at most {METADATA_TOPICS_MAX}, or "
                "ask for all of them"
            )
        failed: dict[str, OttlaError] = {}
        if allow_auto_creation and self._auto_create_topics:
            failed = await self._create_missing(names)
        image = self.image
        return [
            # A topic that exists is an answer, even if it was not usable in time.
            (name, image.topics.get(name) or failed.get(name) or why_unknown(name))
            for name in names
        ]

    def watch(self, names: Sequence[str]) -> AsyncGenerator[MetadataChange]:
        check_topic_count(len(names))
        return self._watches.watch(names)

    def offline_partitions(self) -> int:
        offline = {
            TopicPartition(topic.name, number)
            for topic in self.image.topics.values()
            for number, part in enumerate(topic.partitions)
            if part.leader == NO_BROKER
        }
        return len(offline.union(self._hosted.offline_partitions()))

    def describe_broker(self) -> BrokerDescription:
        return BrokerDescription(
            self._broker_id,
            self._version,
            self._started_at_ms,
            self._hosted.describe_log_directories(),
        )

    async def _create_missing(self, names: Sequence[str]) -> dict[str, OttlaError]:
        """Create the topics that do not exist; return why some could not be."""
        missing = [
            name
            for name in dict.fromkeys(names)
            if name not in self.image.topics and name not in INTERNAL_TOPICS
        ][:TOPICS_PER_REQUEST_MAX]
        if not missing:
            return {}
        try:
            results = await self._topics.create_topics(
                [TopicToCreate(name) for name in missing],
                validate_only=False,
                timeout_ms=AUTO_CREATION_WAIT_MAX_MS,
            )
        except OttlaError as error:
            return dict.fromkeys(missing, error)
        failed: dict[str, OttlaError] = {}
        existing: list[str] = []
        for name, result in zip(missing, results, strict=True):
            if isinstance(result, TopicAlreadyExistsError):
                existing.append(name)
            elif isinstance(result, OttlaError):
                failed[name] = result
        await self._wait_known(existing)
        return failed

    async def _wait_known(self, names: Sequence[str]) -> None:
        """Wait until topics that somebody else has just created are known here too."""
        # If one was deleted since, nobody will ever hear of it; the answer is then that it is not.
        with suppress(RequestTimedOutError):
            await self._metadata.wait_for(
                lambda image: all(name in image.topics for name in names),
                timeout_ms=AUTO_CREATION_WAIT_MAX_MS,
                what="the creation of topics",
            )
